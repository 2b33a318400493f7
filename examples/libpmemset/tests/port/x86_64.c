/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The port of an x86-64 machine without an operating system: 1 MiB of its
 * memory is what survives a power cut, and it is mapped where the set wants it,
 * in 4 KiB pages, by this kernel's own tables.
 */
#include <stddef.h>
#include <stdint.h>

/* Where sets have address space: the second of 512 GiB. */
#define WINDOW (1UL << 39)
/* Where the persistent memory is. */
#define PERSISTENT (64UL << 20)
/* Present, writable. */
#define PAGE_BITS 3UL

static inline void
entered(void)
{
	__asm__ volatile("" : : : "memory");
}

static inline void
forget(uintptr_t addr)
{
	__asm__ volatile("invlpg (%0)" : : "r"(addr) : "memory");
}

#include "pages.h"

static uint64_t pointers2[512] __attribute__((aligned(4096)));

_Noreturn void start_c(uintptr_t start_info);

static inline void
out8(uint16_t at, uint8_t value)
{
	__asm__ volatile("outb %0, %1" : : "a"(value), "Nd"(at));
}

static inline uint8_t
in8(uint16_t at)
{
	uint8_t value;

	__asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"(at));
	return value;
}

void
say(const char *text)
{
	for (; *text; text++) {
		while (!(in8(0x3fd) & 0x20))
			;
		out8(0x3f8, (uint8_t)*text);
	}
}

_Noreturn void
finish(int good)
{
	/* QEMU's exit device: status 2n + 1. */
	__asm__ volatile("outl %0, %1" : : "a"(good ? 16U : 17U),
			"Nd"((uint16_t)0xf4));
	for (;;)
		__asm__ volatile("hlt");
}

static const char *command_line = "";

const char *
orders(void)
{
	return command_line;
}

_Noreturn void
start_c(uintptr_t start_info)
{
	uint64_t text = *(const uint64_t *)(start_info + 24);

	if (text)
		command_line = (const char *)(uintptr_t)text;
	pointers2[0] = pages();
	root[1] = (uintptr_t)pointers2 | TABLE_BITS;
	kernel();
}
