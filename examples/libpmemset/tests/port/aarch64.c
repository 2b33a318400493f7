/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The port of an aarch64 machine without an operating system (QEMU's virt):
 * 1 MiB of its memory is what survives a power cut, and it is mapped where the
 * set wants it, in 4 KiB pages, by this kernel's own tables.
 */
#include <stddef.h>
#include <stdint.h>

/* Where sets have address space: the 65th GiB. */
#define WINDOW (1UL << 36)
/* Where the persistent memory is: 64 MiB into the RAM. */
#define PERSISTENT (0x40000000UL + (64UL << 20))
/* A page, normal memory, inner shareable, accessed. */
#define PAGE_BITS 0x707UL

static inline void
entered(void)
{
	__asm__ volatile("dsb ishst\n\tisb" : : : "memory");
}

static inline void
forget(uintptr_t addr)
{
	__asm__ volatile("dsb ishst\n\ttlbi vaae1is, %0\n\tdsb ish\n\tisb" : :
			"r"(addr >> 12) : "memory");
}

#include "pages.h"
#include "semihosting.h"

_Noreturn void start_c(void);

_Noreturn void
start_c(void)
{
	root[WINDOW >> 30] = pages();
	entered();
	kernel();
}
