/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The port of a Cortex-M controller (QEMU's mps2-an385): memory at one address,
 * in words of four bytes, durable at once; a timer whose handler uses the set
 * that the program is changing, with interrupts masked in between.
 */
#include <stddef.h>
#include <stdint.h>

#define FRAM 0x21000000U
#define LENGTH 0x800000U
#define WINDOW FRAM
#define UNIT 1024U
#define UNITS (LENGTH / UNIT)

#include "semihosting.h"
#include "window.h"

/* ---- the start ------------------------------------------------------------- */

extern uint32_t data_start[], data_end[], data_stored[], bss_start[], bss_end[];
extern char stack_top[];

static _Noreturn void
reset(void)
{
	volatile uint32_t *to = data_start;
	const uint32_t *from = data_stored;

	while (to < data_end)
		*to++ = *from++;
	for (to = bss_start; to < bss_end; to++)
		*to = 0;
	kernel();
}

/* ---- the timer --------------------------------------------------------------- */

static struct pmemset *ticking;
static volatile uint32_t ticks, found, wrong;

static void
tick(void)
{
	struct pmemset_part_map *part = NULL;
	uint32_t count;

	ticks++;
	if (!ticking || pmemset_part_map_by_address(ticking, &part, (void *)FRAM))
		return;
	count = ++found;
	pmemset_memcpy(ticking, (char *)FRAM + LENGTH / 2 - 64, &count,
			sizeof count, 0);
	wrong += pmemset_descriptor_part_map(part).addr != (void *)FRAM;
	pmemset_part_map_drop(&part);
}

int
interrupts(struct pmemset *set, struct pmemset_source *src, size_t length)
{
	volatile uint32_t *timer = (volatile uint32_t *)0xe000e010;
	struct pmemset_map_config half = { 0, length };
	struct pmemset_part_descriptor part;
	uint32_t before = *(volatile uint32_t *)(FRAM + LENGTH / 2 - 64);
	int result = 0;

	ticking = set;
	timer[1] = 2500;
	timer[2] = 0;
	timer[0] = 7;
	while (!result && (ticks < 200 || found < 20)) {
		result = pmemset_map(set, src, &half, &part);
		/* The handler may have a handle at this moment: then it waits. */
		while (!result && (result = pmemset_remove_range(set, part.addr,
				part.size)) ==
				PMEMSET_E_PART_MAP_POSSIBLE_USE_AFTER_DROP)
			result = 0;
	}
	timer[0] = 0;
	ticking = NULL;
	*(volatile uint32_t *)(FRAM + LENGTH / 2 - 64) = before;
	say("the handler used the set in between\n");
	return result ? result : -(int)wrong;
}

__attribute__((section(".vectors"), used))
const struct {
	const void *stack;
	void (*handlers[15])(void);
} vectors = { stack_top, { reset, fault, fault, fault, fault, fault, 0, 0, 0, 0,
		fault, fault, 0, fault, tick } };

/* ---- the port ------------------------------------------------------------------ */

static int
map(const struct pmemset_port_source *src, void *addr, size_t length,
		uint64_t offset)
{
	(void)src, (void)length;
	return (uint32_t)addr == FRAM + offset ? 0 : -6;
}

static uintptr_t
mask(void)
{
	uintptr_t before;

	__asm__ volatile("mrs %0, primask\n\tcpsid i" : "=r"(before) : : "memory");
	return before;
}

static void
unmask(uintptr_t before)
{
	__asm__ volatile("msr primask, %0" : : "r"(before) : "memory");
}

const struct pmemset_port port = {
	.page = UNIT,
	.processor = PMEMSET_PORT_WHOLE_WORDS,
	.reserve = reserve,
	.reserve_at = reserve_at,
	.release = release,
	.map = map,
	.unmap = nothing,
	.sync = nothing,
	.deep_flush = nothing,
	.lock = mask,
	.unlock = unmask,
};

struct pmemset_port_source persistent = {
	.length = LENGTH,
	.granularity = PMEM2_GRANULARITY_BYTE,
	.granule = 4,
	.address = (void *)FRAM,
};
