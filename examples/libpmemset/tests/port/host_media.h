/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Cases of host.c: events of all kinds, shutdown state, bad blocks, damage. */
#ifndef HOST_MEDIA_H
#define HOST_MEDIA_H

#include "host.h"

static struct {
	int count[12];
	struct pmemset *set;
	struct pmemset_event_context last[12];
	struct pmemset_sds sds;
	struct pmemset_badblock block;
	int clears;
} told;

static int
listen(struct pmemset *set, struct pmemset_event_context *ctx, void *arg)
{
	CHECK(arg == &told);
	CHECK(set == (struct pmemset *)memory);
	told.count[ctx->type]++;
	told.last[ctx->type] = *ctx;
	if (ctx->type == PMEMSET_EVENT_SDS_UPDATE)
		told.sds = *ctx->data.sds_update.sds;
	if (ctx->type == PMEMSET_EVENT_BADBLOCK) {
		told.block = *ctx->data.badblock.bb;
		if (told.clears)
			EQUAL(pmemset_badblock_clear(ctx->data.badblock.bb,
					ctx->data.badblock.src), 0);
	}
	return 0;
}

static void
all_twelve_events_are_told(void)
{
	struct pmemset_port_source description;
	struct pmemset_source *src;
	struct pmemset *set;
	struct pmemset_part_descriptor part;
	struct pmemset_sds sds = PMEMSET_SDS_INITIALIZE();
	enum pmemset_part_state state;
	char bytes[100], *at;

	memset(&told, 0, sizeof told);
	src = new_source(&description, PMEM2_GRANULARITY_PAGE);
	set = new_set(listen, &told);
	machine.unsafe_shutdowns = 7;
	OK(pmemset_source_set_sds(src, &sds, &state));
	EQUAL(pmemset_source_set_sds(src, &sds, &state),
			PMEMSET_E_SDS_ALREADY_SET);
	pmemset_source_set_badblock_detection(src, true);
	machine.bad[0] = (struct pmemset_port_range){ 512, 512 };
	machine.bad[1] = (struct pmemset_port_range){ 2 * UNIT, 4096 };
	machine.bad_count = 2;
	EQUAL(map_part(set, src, 0, UNIT, &part), PMEMSET_E_IO_FAIL);
	EQUAL(told.block.offset, 512);
	EQUAL(told.block.length, 512);
	told.clears = 1;
	fails.clear = 0;
	OK(map_part(set, src, 0, UNIT, &part));
	EQUAL(machine.bad_count, 1);
	CHECK(told.last[PMEMSET_EVENT_BADBLOCK].data.badblock.src == src);
	EQUAL(told.count[PMEMSET_EVENT_BADBLOCKS_CLEARED], 1);
	CHECK(told.last[PMEMSET_EVENT_BADBLOCKS_CLEARED].data
			.badblocks_cleared.src == src);
	EQUAL(state, PMEMSET_PART_STATE_OK);
	EQUAL(told.count[PMEMSET_EVENT_SDS_UPDATE], 1);
	CHECK(told.last[PMEMSET_EVENT_SDS_UPDATE].data.sds_update.src == src);
	EQUAL(told.sds.refcount, 1);
	EQUAL(told.sds.usc, 7);
	CHECK(!strcmp(told.sds.id, "module"));
	EQUAL(told.count[PMEMSET_EVENT_PART_ADD], 1);
	CHECK(told.last[PMEMSET_EVENT_PART_ADD].data.part_add.addr == part.addr);
	EQUAL(told.last[PMEMSET_EVENT_PART_ADD].data.part_add.len, UNIT);
	CHECK(told.last[PMEMSET_EVENT_PART_ADD].data.part_add.src == NULL);

	at = part.addr;
	memset(bytes, 1, sizeof bytes);
	pmemset_memcpy(set, at, bytes, 100, PMEMSET_F_MEM_WC);
	EQUAL(told.count[PMEMSET_EVENT_COPY], 1);
	CHECK(told.last[PMEMSET_EVENT_COPY].data.copy.src == bytes);
	CHECK(told.last[PMEMSET_EVENT_COPY].data.copy.dest == at);
	EQUAL(told.last[PMEMSET_EVENT_COPY].data.copy.len, 100);
	EQUAL(told.last[PMEMSET_EVENT_COPY].data.copy.flags, PMEMSET_F_MEM_WC);
	EQUAL(told.count[PMEMSET_EVENT_DRAIN], 1);
	pmemset_memmove(set, at + 8, at, 100, 0);
	EQUAL(told.count[PMEMSET_EVENT_MOVE], 1);
	CHECK(told.last[PMEMSET_EVENT_MOVE].data.move.src == at);
	CHECK(told.last[PMEMSET_EVENT_MOVE].data.move.dest == at + 8);
	EQUAL(told.last[PMEMSET_EVENT_MOVE].data.move.len, 100);
	pmemset_memset(set, at, 0x1ab, 10, PMEMSET_F_MEM_NODRAIN);
	EQUAL(told.count[PMEMSET_EVENT_SET], 1);
	CHECK(told.last[PMEMSET_EVENT_SET].data.set.dest == at);
	EQUAL(told.last[PMEMSET_EVENT_SET].data.set.value, 0xab);
	EQUAL(told.last[PMEMSET_EVENT_SET].data.set.len, 10);
	EQUAL(told.last[PMEMSET_EVENT_SET].data.set.flags, PMEMSET_F_MEM_NODRAIN);
	EQUAL(told.count[PMEMSET_EVENT_DRAIN], 2);
	EQUAL(told.count[PMEMSET_EVENT_FLUSH], 0);
	OK(pmemset_persist(set, at + 100, 33));
	CHECK(told.last[PMEMSET_EVENT_FLUSH].data.flush.addr == at + 100);
	EQUAL(told.last[PMEMSET_EVENT_FLUSH].data.flush.len, 33);
	CHECK(told.last[PMEMSET_EVENT_PERSIST].data.persist.addr == at + 100);
	EQUAL(told.last[PMEMSET_EVENT_PERSIST].data.persist.len, 33);
	EQUAL(told.count[PMEMSET_EVENT_DRAIN], 3);
	OK(pmemset_remove_range(set, at + 5, 6));
	EQUAL(told.count[PMEMSET_EVENT_REMOVE_RANGE], 1);
	CHECK(told.last[PMEMSET_EVENT_REMOVE_RANGE].data.remove_range.addr ==
			at + 5);
	EQUAL(told.last[PMEMSET_EVENT_REMOVE_RANGE].data.remove_range.len, 6);
	EQUAL(told.count[PMEMSET_EVENT_PART_REMOVE], 1);
	CHECK(told.last[PMEMSET_EVENT_PART_REMOVE].data.part_remove.addr == at);
	EQUAL(told.last[PMEMSET_EVENT_PART_REMOVE].data.part_remove.len, UNIT);
	EQUAL(told.count[PMEMSET_EVENT_SDS_UPDATE], 2);
	EQUAL(told.sds.refcount, 0);
	OK(pmemset_delete(&set));
	OK(pmemset_source_delete(&src));

	/* The power went while it was mapped, and took stores along. */
	told.sds.refcount = 1;
	machine.unsafe_shutdowns = 8;
	machine.bad_count = 0;
	src = new_source(&description, PMEM2_GRANULARITY_PAGE);
	set = new_set(NULL, NULL);
	OK(pmemset_source_set_sds(src, &told.sds, &state));
	EQUAL(map_part(set, src, 0, UNIT, &part),
			PMEMSET_E_UNDESIRABLE_PART_STATE);
	EQUAL(state, PMEMSET_PART_STATE_CORRUPTED);
	fails.device = -95;
	EQUAL(map_part(set, src, 0, UNIT, &part), PMEMSET_E_SDS_NOSUPP);
	fails.device = 0;
	OK(pmemset_delete(&set));
	description.record = NULL;
	OK(pmemset_source_from_port(&src, &description));
	EQUAL(pmemset_source_set_sds(src, &sds, NULL), -12);
}

static void
copies_survive_damage(void)
{
	struct pmemset_port_source description;
	struct pmemset_source *src = new_source(&description,
			PMEM2_GRANULARITY_PAGE);
	char bytes[16] = "past the damage";

	OK(pmemset_source_pwrite_mcsafe(src, bytes, sizeof bytes, 5000));
	memset(bytes, 0, sizeof bytes);
	OK(pmemset_source_pread_mcsafe(src, bytes, sizeof bytes, 5000));
	CHECK(!strcmp(bytes, "past the damage"));
	EQUAL(pmemset_source_pread_mcsafe(src, bytes, 2, LENGTH - 1),
			PMEMSET_E_LENGTH_OUT_OF_RANGE);
	EQUAL(pmemset_source_pwrite_mcsafe(src, bytes, 2, LENGTH - 1),
			PMEMSET_E_LENGTH_OUT_OF_RANGE);
	fails.read = fails.write = -5;
	EQUAL(pmemset_source_pread_mcsafe(src, bytes, 2, 0), PMEMSET_E_IO_FAIL);
	EQUAL(pmemset_source_pwrite_mcsafe(src, bytes, 2, 0), PMEMSET_E_IO_FAIL);
	fails.read = fails.write = 0;
	OK(pmemset_source_delete(&src));
}

#endif
