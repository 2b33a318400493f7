/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Mapping persistent memory, PERSISTENT on, into the window page by page, by
 * tables as x86-64 and aarch64 have them, of 512 entries: the kernel has defined
 * WINDOW, PAGE_BITS, what an entry of the last level has beside the address,
 * and entered() and forget(), which tell the processor of a new translation
 * and take one out of it. Its first table is root.
 */
#ifndef PAGES_H
#define PAGES_H

#define UNIT 4096UL
#define TABLES 16
#define UNITS (TABLES * 512)
/* Of both processors: there is a table there, whose pages may be written. */
#define TABLE_BITS 3UL

#include "window.h"

extern uint64_t root[512];
static uint64_t directory[512] __attribute__((aligned(4096)));
static uint64_t entries[UNITS] __attribute__((aligned(4096)));

/* The entry that leads to the window's pages, none of which is mapped yet. */
static uint64_t
pages(void)
{
	size_t i;

	for (i = 0; i < TABLES; i++)
		directory[i] = (uintptr_t)&entries[i * 512] | TABLE_BITS;
	return (uintptr_t)directory | TABLE_BITS;
}

static int
map(const struct pmemset_port_source *src, void *addr, size_t length,
		uint64_t offset)
{
	size_t first = ((uintptr_t)addr - WINDOW) / UNIT, i;

	(void)src;
	for (i = 0; i < length / UNIT; i++)
		entries[first + i] = (PERSISTENT + offset + i * UNIT) | PAGE_BITS;
	entered();
	return 0;
}

static int
unmap(const struct pmemset_port_source *src, void *addr, size_t length,
		uint64_t offset)
{
	size_t first = ((uintptr_t)addr - WINDOW) / UNIT, i;

	(void)src, (void)offset;
	for (i = 0; i < length / UNIT; i++) {
		entries[first + i] = 0;
		forget((uintptr_t)addr + i * UNIT);
	}
	return 0;
}

static int
not_needed(const struct pmemset_port_source *src, void *addr, size_t length,
		uint64_t offset)
{
	(void)src, (void)addr, (void)length, (void)offset;
	return PMEMSET_PORT_NOT_NEEDED;
}

/* Stores are durable once their lines are written back: there is no more to do. */
const struct pmemset_port port = {
	.page = UNIT,
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

/* No handler uses the set. */
int
interrupts(struct pmemset *set, struct pmemset_source *src, size_t length)
{
	(void)set, (void)src, (void)length;
	return 0;
}

#endif
