/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * A kernel that keeps records: says what it finds (`found N`), and acknowledges
 * each record that is durable (`ack N`) until the power goes. Orders: `few`
 * ends after ten, `careless` acknowledges what it has not flushed, `contract`
 * checks the port's duties instead, `flawed` those of a port that breaks some.
 */
#include "kernel.h"

struct record {
	uint64_t number;
	uint64_t sum;
	char text[48];
};

static uint64_t memory[PMEMSET_PORT_SET_BYTES(4, 2) / 8];

static int
ordered(const char *word)
{
	const char *text, *at, *w;

	for (text = orders(); *text; text++) {
		for (at = text, w = word; *w && *at == *w; at++, w++)
			;
		if (!*w)
			return 1;
	}
	return 0;
}

static void
say_number(const char *before, uint32_t number)
{
	char digits[11], *at = digits + 10;

	*at = '\0';
	do {
		*--at = (char)('0' + number % 10);
		number /= 10;
	} while (number);
	say(before);
	say(at);
	say("\n");
}

/* Ends the kernel, and says which call has failed and why. */
static void
must(const char *what, int result)
{
	if (result == 0)
		return;
	say("failed ");
	say(what);
	say(": ");
	say(pmemset_port_error(result));
	say_number(" -", 0U - (uint32_t)result);
	finish(0);
}

static struct record
record_of(uint32_t number)
{
	struct record record = { number, number * 0x9e3779b97f4a7c15, { 0 } };
	uint32_t i;

	for (i = 0; i < sizeof record.text; i++)
		record.text[i] = (char)('a' + (number + i) % 26);
	return record;
}

static int
is_there(const struct record *place, uint32_t number)
{
	struct record wanted = record_of(number);
	const char *a = (const char *)place, *b = (const char *)&wanted;
	size_t i;

	for (i = 0; i < sizeof wanted; i++)
		if (a[i] != b[i])
			return 0;
	return 1;
}

/* Makes a record durable: by a copy, or by stores and a persist. */
static void
keep(struct pmemset *set, struct record *place, uint32_t number, int careless)
{
	struct record record = record_of(number);

	if (careless || number % 2) {
		pmemset_memcpy(set, place, &record, sizeof record,
				careless ? PMEMSET_F_MEM_NOFLUSH : 0);
	} else {
		*(volatile struct record *)place = record;
		must("persist", pmemset_persist(set, place, sizeof *place));
	}
}

static void
record_for_ever(struct pmemset_source *src)
{
	struct pmemset_config cfg = { { 0 } };
	struct pmemset_map_config half = { 0, (size_t)persistent.length / 2 };
	struct pmemset_part_descriptor part;
	struct pmemset *set = NULL;
	int careless = ordered("careless"), few = ordered("few");
	uint32_t number = 0, last, room;

	must("granularity", pmemset_config_set_required_store_granularity(&cfg,
			PMEM2_GRANULARITY_CACHE_LINE));
	must("memory", pmemset_port_config_set_memory(&cfg, memory,
			sizeof memory, 4));
	must("new", pmemset_new(&set, &cfg));
	must("interrupts", interrupts(set, src, half.length));
	must("map", pmemset_map(set, src, &half, &part));
	must("coalescing", pmemset_set_contiguous_part_coalescing(set,
			PMEMSET_COALESCING_FULL));
	half.offset = half.length;
	must("map the rest", pmemset_map(set, src, &half, &part));
	if (part.size != persistent.length)
		must("one part", -1);

	room = (uint32_t)(part.size / sizeof(struct record));
	while (number < room && is_there((struct record *)part.addr + number,
			number + 1))
		number++;
	say_number("found ", number);
	last = few ? number + 10 : room;
	if (last > room)
		last = room;
	for (; number < last; number++) {
		keep(set, (struct record *)part.addr + number, number + 1,
				careless);
		say_number("ack ", number + 1);
	}
	must("remove", pmemset_remove_range(set, part.addr, part.size));
	must("delete", pmemset_delete(&set));
	must("delete the source", pmemset_source_delete(&src));
	say("good\n");
	finish(1);
}

#ifndef WITHOUT_CONTRACT
static unsigned kept, skipped;

static void
report(const struct pmemset_port_finding *finding, void *arg)
{
	static const char *const words[] = { "kept ", "skipped ", "broken " };

	(void)arg;
	say(words[finding->outcome]);
	say(finding->duty);
	say(finding->outcome == PMEMSET_PORT_KEPT ? "" : ": ");
	say(finding->text);
	say("\n");
	kept += finding->outcome == PMEMSET_PORT_KEPT;
	skipped += finding->outcome == PMEMSET_PORT_SKIPPED;
}

void
pmemset_port_panic(const char *file, size_t length, unsigned line)
{
	(void)file, (void)length;
	say_number("panic in line ", line);
	finish(0);
}
#endif

static int
reserve_anything(void *addr, size_t length)
{
	(void)port.reserve_at(addr, length);
	return 0;
}

_Noreturn void
kernel(void)
{
	static struct pmemset_port ours;
	struct pmemset_source *src = NULL;

	/* Not by assignment: the compiler would not ask for memcpy then. */
	__builtin_memcpy(&ours, &port, sizeof ours);
	if (ordered("flawed"))
		ours.reserve_at = reserve_anything;
	must("port", pmemset_port_init(&ours));
	must("source", pmemset_source_from_port(&src, &persistent));
#ifndef WITHOUT_CONTRACT
	if (ordered("contract") || ordered("flawed")) {
		int wrong = pmemset_port_contract(NULL, report, NULL);

		wrong += pmemset_port_contract(src, report, NULL);
		say_number("duties kept ", kept);
		say_number("duties skipped ", skipped);
		finish(wrong == 0);
	}
#endif
	record_for_ever(src);
	finish(0);
}
