/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The port of an x86-64 machine without an operating system: 1 MiB of its
 * memory is what survives a power cut, and it is mapped where the set wants it,
 * in 4 KiB pages, by this kernel's own tables.
 */
#include "kernel.h"

#define PAGE 4096UL
/* Where the persistent memory is. */
#define PERSISTENT (64UL << 20)
/* Where sets have address space: the second of 512 GiB. */
#define WINDOW (1UL << 39)
#define TABLES 16
#define PAGES (TABLES * 512)

#define PRESENT 1UL
#define WRITABLE 2UL

extern uint64_t root[512];
static uint64_t pointers2[512] __attribute__((aligned(4096)));
static uint64_t directory[512] __attribute__((aligned(4096)));
static uint64_t entries[PAGES] __attribute__((aligned(4096)));
static unsigned char taken[PAGES];

_Noreturn void kernel(void);
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

int
interrupts(struct pmemset *set, struct pmemset_source *src, size_t length)
{
	(void)set, (void)src, (void)length;
	return 0;
}

_Noreturn void
start_c(uintptr_t start_info)
{
	size_t i;
	uint64_t text = *(const uint64_t *)(start_info + 24);

	if (text)
		command_line = (const char *)(uintptr_t)text;
	pointers2[0] = (uintptr_t)directory | PRESENT | WRITABLE;
	for (i = 0; i < TABLES; i++)
		directory[i] = (uintptr_t)&entries[i * 512] | PRESENT | WRITABLE;
	root[1] = (uintptr_t)pointers2 | PRESENT | WRITABLE;
	kernel();
}

/* Turns the pages of a window, all of which have to be as they were, around. */
static int
turn(uintptr_t start, size_t length, unsigned char before)
{
	size_t first = (start - WINDOW) / PAGE, count = length / PAGE, i;

	if (start < WINDOW || first >= PAGES || count > PAGES - first)
		return 0;
	for (i = first; i < first + count; i++)
		if (taken[i] != before)
			return 0;
	for (i = first; i < first + count; i++)
		taken[i] = !before;
	return 1;
}

static int
reserve(size_t length, size_t alignment, void **addr)
{
	uintptr_t start;

	for (start = WINDOW; start < WINDOW + PAGES * PAGE; start += alignment)
		if (turn(start, length, 0)) {
			*addr = (void *)start;
			return 0;
		}
	return -12;
}

static int
reserve_at(void *addr, size_t length)
{
	return turn((uintptr_t)addr, length, 0) ? 0 : -17;
}

static int
release(void *addr, size_t length)
{
	return turn((uintptr_t)addr, length, 1) ? 0 : -22;
}

static int
map(const struct pmemset_port_source *src, void *addr, size_t length,
		uint64_t offset)
{
	size_t first = ((uintptr_t)addr - WINDOW) / PAGE, i;

	(void)src;
	for (i = 0; i < length / PAGE; i++)
		entries[first + i] = (PERSISTENT + offset + i * PAGE) | PRESENT |
				WRITABLE;
	__asm__ volatile("" : : : "memory");
	return 0;
}

static int
unmap(const struct pmemset_port_source *src, void *addr, size_t length,
		uint64_t offset)
{
	size_t first = ((uintptr_t)addr - WINDOW) / PAGE, i;

	(void)src, (void)offset;
	for (i = 0; i < length / PAGE; i++) {
		entries[first + i] = 0;
		__asm__ volatile("invlpg (%0)" : : "r"((char *)addr + i * PAGE)
				: "memory");
	}
	return 0;
}

/* Stores are durable once their lines are written back: there is no more to do. */
static int
nothing(const struct pmemset_port_source *src, void *addr, size_t length,
		uint64_t offset)
{
	(void)src, (void)addr, (void)length, (void)offset;
	return 0;
}

static int
not_needed(const struct pmemset_port_source *src, void *addr, size_t length,
		uint64_t offset)
{
	(void)src, (void)addr, (void)length, (void)offset;
	return PMEMSET_PORT_NOT_NEEDED;
}

const struct pmemset_port port = {
	.page = PAGE,
	.processor = PMEMSET_PORT_CACHES,
	.reserve = reserve,
	.reserve_at = reserve_at,
	.release = release,
	.map = map,
	.unmap = unmap,
	.sync = nothing,
	.deep_flush = not_needed,
};

struct pmemset_port_source persistent = {
	.length = 1 << 20,
	.granularity = PMEM2_GRANULARITY_CACHE_LINE,
};
