/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Sizes, offsets and numbers of the binary interface, 64 and 32 bits. */
#include "check.h"

#define LP64 (sizeof(void *) == 8)
#define AT(type, field, wide, narrow)\
	EQUAL(offsetof(struct pmemset_##type, field), LP64 ? wide : narrow)
#define SIZE(type, wide, narrow)\
	EQUAL(sizeof(struct pmemset_##type), LP64 ? wide : narrow)

static void
structures(void)
{
	AT(part_descriptor, addr, 0, 0);
	AT(part_descriptor, size, 8, 4);
	SIZE(part_descriptor, 16, 8);
	AT(event_copy, src, 0, 0);
	AT(event_copy, dest, 8, 4);
	AT(event_copy, len, 16, 8);
	AT(event_copy, flags, 24, 12);
	SIZE(event_copy, 32, 16);
	AT(event_move, dest, 8, 4);
	SIZE(event_move, 32, 16);
	AT(event_set, dest, 0, 0);
	AT(event_set, value, 8, 4);
	AT(event_set, len, 16, 8);
	AT(event_set, flags, 24, 12);
	SIZE(event_set, 32, 16);
	SIZE(event_flush, 16, 8);
	SIZE(event_persist, 16, 8);
	SIZE(event_remove_range, 16, 8);
	SIZE(event_part_remove, 16, 8);
	AT(event_part_add, src, 16, 8);
	SIZE(event_part_add, 24, 12);
	AT(event_sds_update, sds, 0, 0);
	AT(event_sds_update, src, 8, 4);
	AT(event_badblock, src, 8, 4);
	SIZE(event_badblocks_cleared, 8, 4);
	AT(event_context, type, 0, 0);
	AT(event_context, data, 8, 4);
	SIZE(event_context, 72, 68);
	AT(sds, id, 0, 0);
	AT(sds, usc, 520, 516);
	AT(sds, refcount, 528, 524);
	SIZE(sds, 536, 528);
	AT(badblock, length, 8, 4);
	SIZE(badblock, 16, 8);
}

static void
numbers(void)
{
	uint64_t mode = PMEMSET_SOURCE_FILE_CREATE_ALWAYS_MODE(0700);

	EQUAL(PMEMSET_E_UNKNOWN, -200000);
	EQUAL(PMEMSET_E_BADBLOCK_NOSUPP, -200038);
	EQUAL(PMEMSET_EVENT_BADBLOCKS_CLEARED, 11);
	EQUAL(PMEMSET_COALESCING_FULL, 2);
	EQUAL(PMEMSET_PART_STATE_CORRUPTED, 16);
	EQUAL(PMEMSET_F_MEM_VALID_FLAGS, 63);
	EQUAL(PMEMSET_SOURCE_FILE_VALID_MODES, 0x1FF00000000);
	EQUAL(PMEMSET_SOURCE_FILE_CREATE_VALID_FLAGS, 0x1FF00000007);
	EQUAL(mode, 0x1C000000001);
	EQUAL(PMEMSET_SOURCE_FILE_CREATE_MODE_FROM_FLAG(mode), 0700);
	EQUAL(PMEM2_GRANULARITY_PAGE, 2);
	EQUAL(sizeof(enum pmemset_event), 4);
}

static const struct check_case cases[] = {
	CHECK_CASE(structures), CHECK_CASE(numbers),
};
CHECK_MAIN(cases)
