/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Which events are told, in which order, with which fields. */
#include "check.h"

#define MOST 64

struct seen {
	struct pmemset *set;
	size_t count;
	struct pmemset_event_context event[MOST];
	char first_byte[MOST]; /* at dest, while the callback ran */
};

static int
keep(struct pmemset *set, struct pmemset_event_context *ctx, void *arg)
{
	struct seen *seen = arg;

	CHECK(seen->set == NULL || seen->set == set);
	if (seen->count < MOST) {
		const void *dest = NULL;

		seen->event[seen->count] = *ctx;
		if (ctx->type == PMEMSET_EVENT_COPY)
			dest = ctx->data.copy.dest;
		else if (ctx->type == PMEMSET_EVENT_MOVE)
			dest = ctx->data.move.dest;
		else if (ctx->type == PMEMSET_EVENT_SET)
			dest = ctx->data.set.dest;
		if (dest != NULL)
			seen->first_byte[seen->count] = *(const char *)dest;
		seen->count++;
	}
	return -5; /* no event but BADBLOCKS_CLEARED minds */
}

static struct pmemset *
watched_set(struct seen *seen)
{
	struct pmemset_config *cfg = check_config();
	struct pmemset *set = NULL;

	memset(seen, 0, sizeof *seen);
	pmemset_config_set_event_callback(cfg, keep, seen);
	OK(pmemset_new(&set, cfg));
	OK(pmemset_config_delete(&cfg));
	seen->set = set;
	return set;
}

/* How many events of a kind there were; *last is the newest of them. */
static size_t
told(const struct seen *seen, enum pmemset_event type,
		const struct pmemset_event_context **last)
{
	size_t i, count = 0;

	for (i = 0; i < seen->count; i++) {
		if (seen->event[i].type == type) {
			count++;
			if (last != NULL)
				*last = &seen->event[i];
		}
	}
	return count;
}

static void
flush_drain_persist(void)
{
	struct seen seen;
	struct pmemset *set = watched_set(&seen);
	struct pmemset_source *src = check_source(8 * MIB);
	struct pmemset_part_descriptor desc;
	const struct pmemset_event_context *event = NULL;

	OK(pmemset_map(set, src, NULL, &desc));
	seen.count = 0;
	OK(pmemset_flush(set, desc.addr, desc.size));
	EQUAL(told(&seen, PMEMSET_EVENT_FLUSH, &event), 1);
	CHECK(event->data.flush.addr == desc.addr);
	EQUAL(event->data.flush.len, desc.size);
	EQUAL(told(&seen, PMEMSET_EVENT_DRAIN, NULL), 0);

	seen.count = 0;
	OK(pmemset_drain(set));
	EQUAL(told(&seen, PMEMSET_EVENT_DRAIN, NULL), 1);
	EQUAL(told(&seen, PMEMSET_EVENT_FLUSH, NULL), 0);

	/* One drain for two flushes. */
	seen.count = 0;
	OK(pmemset_flush(set, desc.addr, SEGMENT));
	OK(pmemset_flush(set, (char *)desc.addr + MIB, SEGMENT / 2));
	OK(pmemset_drain(set));
	EQUAL(told(&seen, PMEMSET_EVENT_FLUSH, NULL), 2);
	EQUAL(told(&seen, PMEMSET_EVENT_DRAIN, NULL), 1);

	seen.count = 0;
	OK(pmemset_persist(set, (char *)desc.addr + 100, desc.size - 100));
	EQUAL(told(&seen, PMEMSET_EVENT_FLUSH, &event), 1);
	CHECK(event->data.flush.addr == (char *)desc.addr + 100);
	EQUAL(event->data.flush.len, desc.size - 100);
	EQUAL(told(&seen, PMEMSET_EVENT_PERSIST, &event), 1);
	CHECK(event->data.persist.addr == (char *)desc.addr + 100);
	EQUAL(event->data.persist.len, desc.size - 100);
	EQUAL(told(&seen, PMEMSET_EVENT_DRAIN, NULL), 1);
	check_close(&set, &src);
}

static void
copies(void)
{
	struct seen seen;
	struct pmemset *set = watched_set(&seen);
	struct pmemset_source *src = check_source(8 * MIB);
	struct pmemset_part_descriptor desc;
	const struct pmemset_event_context *event = NULL;
	static char from[10000];
	unsigned flags[2] = { 0, PMEMSET_F_MEM_NODRAIN };
	char *base;
	int i;

	OK(pmemset_map(set, src, NULL, &desc));
	base = desc.addr;
	memset(from, 3, sizeof from);
	for (i = 0; i < 2; i++) {
		size_t drains = flags[i] ? 0 : 1;

		memset(base, 0, 40000);
		seen.count = 0;
		CHECK(pmemset_memset(set, base, 0x1AB, 10000, flags[i]) == base);
		EQUAL(told(&seen, PMEMSET_EVENT_SET, &event), 1);
		CHECK(event->data.set.dest == base);
		EQUAL(event->data.set.value, 0x1AB);
		EQUAL(event->data.set.len, 10000);
		EQUAL(event->data.set.flags, flags[i]);
		EQUAL(seen.first_byte[event - seen.event], 0); /* before */
		EQUAL((unsigned char)base[9999], 0xAB);
		EQUAL(told(&seen, PMEMSET_EVENT_DRAIN, NULL), drains);

		seen.count = 0;
		CHECK(pmemset_memcpy(set, base + 10000, from, 10000,
				flags[i]) == base + 10000);
		EQUAL(told(&seen, PMEMSET_EVENT_COPY, &event), 1);
		CHECK(event->data.copy.src == from);
		CHECK(event->data.copy.dest == base + 10000);
		EQUAL(event->data.copy.len, 10000);
		EQUAL(event->data.copy.flags, flags[i]);
		EQUAL(seen.first_byte[event - seen.event], 0);
		EQUAL(told(&seen, PMEMSET_EVENT_DRAIN, NULL), drains);

		seen.count = 0;
		CHECK(pmemset_memmove(set, base + 20000, base, 10000,
				flags[i]) == base + 20000);
		EQUAL(told(&seen, PMEMSET_EVENT_MOVE, &event), 1);
		CHECK(event->data.move.src == base);
		CHECK(event->data.move.dest == base + 20000);
		EQUAL(seen.first_byte[event - seen.event], 0);
		EQUAL(told(&seen, PMEMSET_EVENT_DRAIN, NULL), drains);
		EQUAL(told(&seen, PMEMSET_EVENT_FLUSH, NULL), 0);
	}
	check_close(&set, &src);
}

static void
parts_come_and_go(void)
{
	struct seen seen;
	struct pmemset *set = watched_set(&seen);
	struct pmemset_source *src = check_source(MIB);
	struct pmemset_part_descriptor desc[2];
	struct pmemset_part_map *part = NULL;
	const struct pmemset_event_context *event = NULL;
	size_t i, removed;
	char *from;

	for (i = 0; i < 2; i++) {
		OK(check_map(set, src, 0, (i + 1) * SEGMENT, &desc[i]));
		EQUAL(told(&seen, PMEMSET_EVENT_PART_ADD, &event), i + 1);
		CHECK(event->data.part_add.addr == desc[i].addr);
		EQUAL(event->data.part_add.len, desc[i].size);
	}
	OK(pmemset_part_map_by_address(set, &part, desc[0].addr));
	OK(pmemset_remove_part_map(set, &part));
	EQUAL(told(&seen, PMEMSET_EVENT_PART_REMOVE, &event), 1);
	CHECK(event->data.part_remove.addr == desc[0].addr);
	EQUAL(event->data.part_remove.len, SEGMENT);

	OK(check_map(set, src, 0, SEGMENT, &desc[0]));
	removed = told(&seen, PMEMSET_EVENT_PART_REMOVE, NULL);
	i = (char *)desc[0].addr < (char *)desc[1].addr ? 0 : 1;
	from = desc[i].addr;
	OK(pmemset_remove_range(set, from,
			(size_t)((char *)desc[1 - i].addr - from) + 1));
	EQUAL(told(&seen, PMEMSET_EVENT_REMOVE_RANGE, &event), 1);
	CHECK(event->data.remove_range.addr == from);
	EQUAL(event->data.remove_range.len,
			(char *)desc[1 - i].addr - from + 1);
	EQUAL(told(&seen, PMEMSET_EVENT_PART_REMOVE, NULL), removed + 2);

	/* Deleting a set tells nothing. */
	OK(pmemset_map(set, src, NULL, NULL));
	removed = told(&seen, PMEMSET_EVENT_PART_REMOVE, NULL);
	check_close(&set, &src);
	EQUAL(told(&seen, PMEMSET_EVENT_PART_REMOVE, NULL), removed);
}

static int
call_back(struct pmemset *set, struct pmemset_event_context *ctx, void *arg)
{
	size_t *parts = arg, bytes;

	if (ctx->type == PMEMSET_EVENT_PART_REMOVE ||
			ctx->type == PMEMSET_EVENT_PART_ADD)
		*parts = check_parts(set, &bytes);
	return 0;
}

static void
callback_may_call_the_set(void)
{
	struct pmemset_config *cfg = check_config();
	struct pmemset *set = NULL;
	struct pmemset_source *src = check_source(SEGMENT);
	struct pmemset_part_map *part = NULL;
	size_t parts = 77;

	pmemset_config_set_event_callback(cfg, call_back, &parts);
	OK(pmemset_new(&set, cfg));
	OK(pmemset_config_delete(&cfg));
	OK(pmemset_map(set, src, NULL, NULL));
	EQUAL(parts, 1);
	pmemset_first_part_map(set, &part);
	OK(pmemset_remove_part_map(set, &part));
	EQUAL(parts, 0);
	check_close(&set, &src);
}

static const struct check_case cases[] = {
	CHECK_CASE(flush_drain_persist),
	CHECK_CASE(copies),
	CHECK_CASE(parts_come_and_go),
	CHECK_CASE(callback_may_call_the_set),
};
CHECK_MAIN(cases)
