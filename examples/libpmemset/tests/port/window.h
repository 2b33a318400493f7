/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Address space for sets: UNITS units of UNIT bytes from WINDOW on, which the
 * kernel has defined before; and what a source does that has nothing to do.
 */
#ifndef WINDOW_H
#define WINDOW_H

#include "kernel.h"

static unsigned char taken[UNITS];

/* Turns the units of a window, all of which have to be as they were, around. */
static int
turn(uintptr_t start, size_t length, unsigned char before)
{
	size_t first = (start - WINDOW) / UNIT, count = length / UNIT, i;

	if (start < WINDOW || first >= UNITS || count > UNITS - first)
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

	for (start = WINDOW; start < WINDOW + UNITS * UNIT; start += alignment)
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
nothing(const struct pmemset_port_source *src, void *addr, size_t length,
		uint64_t offset)
{
	(void)src, (void)addr, (void)length, (void)offset;
	return 0;
}

#endif
