/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The port of an aarch64 machine without an operating system (QEMU's virt):
 * 1 MiB of its memory is what survives a power cut, and it is mapped where the
 * set wants it, in 4 KiB pages, by this kernel's own tables.
 */
#include <stddef.h>
#include <stdint.h>

#define UNIT 4096UL
#define TABLES 16
#define UNITS (TABLES * 512)
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

extern uint64_t root[512];
static uint64_t directory[512] __attribute__((aligned(4096)));

_Noreturn void kernel(void);
_Noreturn void start_c(void);
_Noreturn void fault(void);

_Noreturn void
fault(void)
{
	say("a fault\n");
	finish(0);
}

_Noreturn void
start_c(void)
{
	size_t i;

	for (i = 0; i < TABLES; i++)
		directory[i] = (uintptr_t)&entries[i * 512] | 3;
	root[WINDOW >> 30] = (uintptr_t)directory | 3;
	entered();
	kernel();
}
