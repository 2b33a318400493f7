/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The port of a Cortex-M controller (QEMU's mps2-an385): memory at one address,
 * in words of four bytes, durable at once; a timer whose handler uses the set
 * that the program is changing, with interrupts masked in between.
 */
#include "kernel.h"

#define FRAM 0x21000000U
#define LENGTH 0x800000U
#define UNIT 1024U
#define UNITS (LENGTH / UNIT)

static unsigned char taken[UNITS];

_Noreturn void kernel(void);

/* ---- the debugger: semihosting ------------------------------------------- */

static uint32_t
ask_debugger(uint32_t operation, const void *argument)
{
	register uint32_t number __asm__("r0") = operation;
	register const void *value __asm__("r1") = argument;

	__asm__ volatile("bkpt 0xab" : "+r"(number) : "r"(value) : "memory");
	return number;
}

void
say(const char *text)
{
	static uint32_t file;
	uint32_t length = 0;

	if (!file) {
		const uint32_t open[] = { (uint32_t)":tt", 4, 3 };

		file = ask_debugger(0x01, open);
	}
	while (text[length])
		length++;
	if (length) {
		const uint32_t write[] = { file, (uint32_t)text, length };

		ask_debugger(0x05, write);
	}
}

_Noreturn void
finish(int good)
{
	ask_debugger(0x18, (const void *)(uintptr_t)(good ? 0x20026 : 0x20023));
	for (;;)
		;
}

const char *
orders(void)
{
	static char text[80];
	uint32_t line[] = { (uint32_t)text, sizeof text };

	ask_debugger(0x15, line);
	return text;
}

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

static void
fault(void)
{
	say("a fault\n");
	finish(0);
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
turn(uint32_t start, size_t length, unsigned char before)
{
	uint32_t first = (start - FRAM) / UNIT, count = length / UNIT, i;

	if (start < FRAM || first >= UNITS || count > UNITS - first)
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
	uint32_t start;

	for (start = FRAM; start < FRAM + LENGTH; start += alignment)
		if (turn(start, length, 0)) {
			*addr = (void *)start;
			return 0;
		}
	return -12;
}

static int
reserve_at(void *addr, size_t length)
{
	return turn((uint32_t)addr, length, 0) ? 0 : -17;
}

static int
release(void *addr, size_t length)
{
	return turn((uint32_t)addr, length, 1) ? 0 : -22;
}

static int
map(const struct pmemset_port_source *src, void *addr, size_t length,
		uint64_t offset)
{
	(void)src, (void)length;
	return (uint32_t)addr == FRAM + offset ? 0 : -6;
}

static int
nothing(const struct pmemset_port_source *src, void *addr, size_t length,
		uint64_t offset)
{
	(void)src, (void)addr, (void)length, (void)offset;
	return 0;
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
