/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Mapping persistent memory, PERSISTENT on, into the window page by page: the
 * kernel has defined PAGE_BITS, what an entry has beside the address, and
 * forget(), which takes a translation out of the processor.
 */
#ifndef PAGES_H
#define PAGES_H

#include "window.h"

static uint64_t entries[UNITS] __attribute__((aligned(4096)));

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
