/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* What the programs about shutdown state and bad blocks share: who listens. */
#ifndef MEDIA_H
#define MEDIA_H

#include "check.h"

static struct {
	struct pmemset *set;
	struct pmemset_source *src;
	int updates, blocks, cleared;
	struct pmemset_sds sds;        /* of the last SDS_UPDATE */
	struct pmemset_badblock block; /* of the last BADBLOCK */
	int clears, refuses;           /* what to do at bad blocks */
} seen;

/* What the program does besides, at a record and before a block is cleared. */
static void (*at_record)(void), (*at_block)(void);

static int
listen(struct pmemset *set, struct pmemset_event_context *ctx, void *arg)
{
	CHECK(arg == &seen);
	CHECK(set == seen.set);
	if (ctx->type == PMEMSET_EVENT_SDS_UPDATE) {
		seen.updates++;
		seen.sds = *ctx->data.sds_update.sds;
		CHECK(ctx->data.sds_update.src == seen.src);
		if (at_record != NULL)
			at_record();
	} else if (ctx->type == PMEMSET_EVENT_BADBLOCK) {
		seen.blocks++;
		seen.block = *ctx->data.badblock.bb;
		CHECK(ctx->data.badblock.src == seen.src);
		if (seen.clears) {
			if (at_block != NULL)
				at_block();
			OK(pmemset_badblock_clear(ctx->data.badblock.bb,
					ctx->data.badblock.src));
		}
	} else if (ctx->type == PMEMSET_EVENT_BADBLOCKS_CLEARED) {
		seen.cleared++;
		CHECK(ctx->data.badblocks_cleared.src == seen.src);
		return seen.refuses ? -7 : 0;
	}
	return 0;
}

/* A set that is listened to, and accepts `states`, or what sets do by default. */
static struct pmemset *
watched_set(uint64_t states)
{
	struct pmemset_config *cfg = check_config();

	memset(&seen, 0, sizeof seen);
	pmemset_config_set_event_callback(cfg, listen, &seen);
	if (states != 0)
		OK(pmemset_config_set_acceptable_states(cfg, states));
	OK(pmemset_new(&seen.set, cfg));
	OK(pmemset_config_delete(&cfg));
	return seen.set;
}

#endif
