/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Mapping, coalescing, looking up and removing. */
#include "check.h"

/* Where coalescing was asked for, other mappings may be in the way. */
#define COALESCED(result)\
	((result) == 0 || (result) == PMEMSET_E_CANNOT_COALESCE_PARTS)

static void
whole_file(void)
{
	struct pmemset *set = check_set();
	struct pmemset_source *src = check_source(16 * MIB);
	struct pmemset_part_descriptor desc = { NULL, 0 };
	struct pmemset_part_map *part = NULL;

	OK(pmemset_map(set, src, NULL, &desc));
	CHECK(desc.addr != NULL);
	EQUAL(desc.size, 16 * MIB);
	memset(desc.addr, 1, desc.size);
	pmemset_first_part_map(set, &part);
	CHECK(part != NULL);
	CHECK(pmemset_descriptor_part_map(part).addr == desc.addr);
	/* Deleted with the handle out. */
	check_close(&set, &src);
}

static void
by_address_and_in_order(void)
{
	struct pmemset *set = check_set();
	struct pmemset_source *src = check_source(MIB);
	struct pmemset_part_descriptor desc[2];
	struct pmemset_part_map *part = NULL, *next = NULL;
	size_t bytes;
	int i;

	OK(check_map(set, src, 0, SEGMENT, &desc[0]));
	OK(check_map(set, src, 0, 2 * SEGMENT, &desc[1]));
	for (i = 0; i < 2; i++) {
		OK(pmemset_part_map_by_address(set, &part, desc[i].addr));
		CHECK(pmemset_descriptor_part_map(part).addr == desc[i].addr);
		EQUAL(pmemset_descriptor_part_map(part).size, desc[i].size);
		pmemset_part_map_drop(&part);
		OK(pmemset_part_map_by_address(set, &part,
				(char *)desc[i].addr + desc[i].size - 1));
		pmemset_part_map_drop(&part);
		CHECK(part == NULL);
	}
	FAILS(pmemset_part_map_by_address(set, &part, (void *)0x999),
			PMEMSET_E_CANNOT_FIND_PART_MAP);
	CHECK(part == NULL);
	EQUAL(check_parts(set, &bytes), 2);
	EQUAL(bytes, 3 * SEGMENT);
	next = (struct pmemset_part_map *)&set;
	pmemset_next_part_map(set, NULL, &next);
	CHECK(next == NULL);
	check_close(&set, &src);
}

static void
lengths_and_offsets_that_are_refused(void)
{
	struct pmemset *set = check_set();
	struct pmemset_source *src = check_source(16 * MIB - 1);
	struct pmemset_source *empty = NULL;
	struct stat stat_;
	const char *file;
	size_t bytes;

	FAILS(pmemset_map(set, src, NULL, NULL), PMEMSET_E_LENGTH_UNALIGNED);
	FAILS(check_map(set, src, 0, 100, NULL), PMEMSET_E_LENGTH_UNALIGNED);
	FAILS(check_map(set, src, 100, SEGMENT, NULL),
			PMEMSET_E_INVALID_OFFSET_VALUE);
	OK(pmemset_source_delete(&src));

	file = check_file(0);
	OK(pmemset_xsource_from_file(&empty, file,
			PMEMSET_SOURCE_FILE_DO_NOT_GROW));
	FAILS(pmemset_map(set, empty, NULL, NULL), PMEMSET_E_MAP_LENGTH_UNSET);
	FAILS(check_map(set, empty, 0, SEGMENT, NULL),
			PMEMSET_E_SOURCE_FILE_IS_TOO_SMALL);
#if SIZE_MAX > UINT32_MAX
	FAILS(check_map(set, empty, SEGMENT, SIZE_MAX - SEGMENT + 1, NULL),
			PMEMSET_E_LENGTH_OUT_OF_RANGE);
#endif
	OK(pmemset_source_delete(&empty));
	OK(pmemset_source_from_file(&empty, file));
	FAILS(pmemset_map(set, empty, NULL, NULL), PMEMSET_E_MAP_LENGTH_UNSET);
	OK(check_map(set, empty, 0, SEGMENT, NULL));
	OK(stat(file, &stat_));
	EQUAL(stat_.st_size, SEGMENT);
	OK(check_map(set, empty, SEGMENT, SEGMENT, NULL));
	OK(stat(file, &stat_));
	EQUAL(stat_.st_size, 2 * SEGMENT);
	OK(pmemset_source_delete(&empty));

	OK(pmemset_source_from_temporary(&src, "."));
	/* A file may be as long as that where lengths have 32 bits. */
	FAILS(check_map(set, src, 0, SIZE_MAX, NULL), SIZE_MAX > UINT32_MAX ?
			PMEMSET_E_CANNOT_GROW_SOURCE_FILE :
			PMEMSET_E_LENGTH_UNALIGNED);
#if SIZE_MAX > UINT32_MAX
	/* Offset and length wrap around; and more than a process can map. */
	FAILS(check_map(set, src, SEGMENT, SIZE_MAX - SEGMENT + 1, NULL),
			PMEMSET_E_CANNOT_GROW_SOURCE_FILE);
	CHECK(check_map(set, src, 0, (size_t)1 << 47, NULL) != 0);
	CHECK(pmemset_errormsg()[0] != '\0');
#endif
	OK(check_map(set, src, 0, 2 * SEGMENT, NULL));
	EQUAL(check_parts(set, &bytes), 3);
	check_close(&set, &src);
}

static void
finer_granularity_than_there_is(void)
{
	struct pmemset_config *cfg = check_config();
	struct pmemset *set = NULL;
	struct pmemset_source *src = check_source(SEGMENT);

	OK(pmemset_config_set_required_store_granularity(cfg,
			PMEM2_GRANULARITY_BYTE));
	OK(pmemset_new(&set, cfg));
	OK(pmemset_config_delete(&cfg));
	FAILS(pmemset_map(set, src, NULL, NULL),
			PMEMSET_E_GRANULARITY_NOT_SUPPORTED);
	CHECK(strstr(pmemset_errormsg(), "MAP_SYNC is refused") != NULL);
	check_close(&set, &src);
}

static void
length_unset_is_the_rest(void)
{
	struct pmemset *set = check_set();
	struct pmemset_source *src = check_source(4 * SEGMENT);
	struct pmemset_part_descriptor desc;

	OK(check_map(set, src, SEGMENT, 0, &desc));
	EQUAL(desc.size, 3 * SEGMENT);
	check_close(&set, &src);
}

static void
full_coalescing(void)
{
	struct pmemset *set = check_set();
	struct pmemset_source *src = check_source(MIB);
	struct pmemset_part_descriptor first, both;
	struct pmemset_part_map *handle = NULL;
	size_t bytes;
	int result;

	OK(pmemset_set_contiguous_part_coalescing(set,
			PMEMSET_COALESCING_FULL));
	OK(check_map(set, src, 0, SEGMENT, &first)); /* nothing before it */
	pmemset_first_part_map(set, &handle);
	result = check_map(set, src, 0, 2 * SEGMENT, &both);
	CHECK(COALESCED(result));
	if (result == 0) {
		CHECK(both.addr == first.addr);
		EQUAL(both.size, 3 * SEGMENT);
		/* A handle shows what its part is now. */
		EQUAL(pmemset_descriptor_part_map(handle).size, 3 * SEGMENT);
		EQUAL(check_parts(set, &bytes), 1);
		OK(pmemset_remove_part_map(set, &handle));
		CHECK(handle == NULL);
		EQUAL(check_parts(set, &bytes), 0);
	}
	check_close(&set, &src);
}

static void
opportunistic_coalescing(void)
{
	struct pmemset *set = check_set();
	struct pmemset_source *src = check_source(MIB);
	size_t bytes;

	OK(check_map(set, src, 0, SEGMENT, NULL));
	OK(pmemset_set_contiguous_part_coalescing(set,
			PMEMSET_COALESCING_OPPORTUNISTIC));
	OK(check_map(set, src, 0, SEGMENT, NULL));
	CHECK(check_parts(set, &bytes) <= 2);
	EQUAL(bytes, 2 * SEGMENT);
	check_close(&set, &src);
}

static void
removal_waits_for_handles(void)
{
	struct pmemset *set = check_set();
	struct pmemset_source *src = check_source(MIB);
	struct pmemset_part_descriptor desc;
	struct pmemset_part_map *one = NULL, *two = NULL, *kept;
	size_t bytes;

	OK(check_map(set, src, 0, SEGMENT, &desc));
	OK(pmemset_part_map_by_address(set, &one, desc.addr));
	OK(pmemset_part_map_by_address(set, &two, desc.addr));
	kept = one;
	FAILS(pmemset_remove_part_map(set, &one),
			PMEMSET_E_PART_MAP_POSSIBLE_USE_AFTER_DROP);
	CHECK(one == kept);
	FAILS(pmemset_remove_range(set, desc.addr, desc.size),
			PMEMSET_E_PART_MAP_POSSIBLE_USE_AFTER_DROP);
	EQUAL(check_parts(set, &bytes), 1);
	pmemset_part_map_drop(&two);
	OK(pmemset_remove_part_map(set, &one));
	CHECK(one == NULL);
	EQUAL(check_parts(set, &bytes), 0);
	check_close(&set, &src);
}

static void
previous_part_after_a_removal(void)
{
	struct pmemset *set = check_set();
	struct pmemset_source *src = check_source(MIB);
	struct pmemset_part_descriptor desc[2];
	struct pmemset_part_map *part = NULL;
	size_t bytes, parts;
	int result;

	OK(check_map(set, src, 0, SEGMENT, &desc[0]));
	OK(check_map(set, src, 0, SEGMENT, &desc[1]));
	OK(pmemset_part_map_by_address(set, &part, desc[1].addr));
	OK(pmemset_remove_part_map(set, &part));
	OK(pmemset_set_contiguous_part_coalescing(set,
			PMEMSET_COALESCING_FULL));
	result = check_map(set, src, 0, SEGMENT, &desc[1]);
	CHECK(COALESCED(result));
	parts = check_parts(set, &bytes);
	EQUAL(parts, 1);
	EQUAL(bytes, result == 0 ? 2 * SEGMENT : SEGMENT);
	check_close(&set, &src);
}

/* Whichever of two parts goes: the other is the first then, and grows. */
static void
survivor_grows_with_a_reference_held(void)
{
	size_t bytes, goes;

	for (goes = 0; goes < 2; goes++) {
		struct pmemset *set = check_set();
		struct pmemset_source *src = check_source(MIB);
		struct pmemset_part_descriptor desc;
		struct pmemset_part_map *part[2], *first;
		int result;

		OK(check_map(set, src, 0, SEGMENT, NULL));
		OK(check_map(set, src, 0, SEGMENT, NULL));
		pmemset_first_part_map(set, &part[0]);
		pmemset_next_part_map(set, part[0], &part[1]);
		desc = pmemset_descriptor_part_map(part[1 - goes]);
		OK(pmemset_remove_part_map(set, &part[goes]));
		pmemset_first_part_map(set, &first);
		CHECK(pmemset_descriptor_part_map(first).addr == desc.addr);
		pmemset_part_map_drop(&first);
		OK(pmemset_set_contiguous_part_coalescing(set,
				PMEMSET_COALESCING_FULL));
		result = check_map(set, src, 0, SEGMENT, &desc);
		CHECK(COALESCED(result));
		EQUAL(check_parts(set, &bytes), 1);
		EQUAL(pmemset_descriptor_part_map(part[1 - goes]).size,
				result == 0 ? 2 * SEGMENT : SEGMENT);
		check_close(&set, &src); /* with the reference held */
	}
}

static void
hundred_parts_from_the_middle(void)
{
	struct pmemset *set = check_set();
	struct pmemset_source *src = check_source(SEGMENT);
	size_t left, bytes;

	for (left = 0; left < 100; left++)
		OK(check_map(set, src, 0, SEGMENT, NULL));
	EQUAL(check_parts(set, &bytes), 100);
	for (; left > 0; left--) {
		struct pmemset_part_map *part, *next;
		size_t i;

		pmemset_first_part_map(set, &part);
		for (i = 0; i < (left - 1) / 2; i++) {
			pmemset_next_part_map(set, part, &next);
			pmemset_part_map_drop(&part);
			part = next;
		}
		OK(pmemset_remove_part_map(set, &part));
		EQUAL(check_parts(set, &bytes), left - 1);
	}
	check_close(&set, &src);
}

static void
range_over_two_parts(void)
{
	struct pmemset *set = check_set();
	struct pmemset_source *src = check_source(MIB);
	struct pmemset_part_descriptor a, b, low, high;
	size_t bytes;
	char *from;

	OK(check_map(set, src, 0, SEGMENT, &a));
	OK(check_map(set, src, 0, SEGMENT, &b));
	low = (char *)a.addr < (char *)b.addr ? a : b;
	high = (char *)a.addr < (char *)b.addr ? b : a;
	from = (char *)low.addr + low.size - 1;
	OK(pmemset_remove_range(set, from,
			(size_t)((char *)high.addr - from) + 1));
	EQUAL(check_parts(set, &bytes), 0);
	OK(pmemset_remove_range(set, from, 1)); /* nothing there */
	OK(pmemset_remove_range(set, from, 0));
	check_close(&set, &src);
}

static void
range_inside_a_coalesced_part(void)
{
	struct pmemset *set = check_set();
	struct pmemset_source *src = check_source(SEGMENT);
	struct pmemset_part_descriptor desc;
	size_t bytes, i;
	int result = 0;

	OK(pmemset_set_contiguous_part_coalescing(set,
			PMEMSET_COALESCING_FULL));
	for (i = 0; i < 5 && result == 0; i++)
		result = check_map(set, src, 0, SEGMENT, &desc);
	CHECK(COALESCED(result));
	if (result == 0) {
		char *base = desc.addr;

		EQUAL(desc.size, 5 * SEGMENT);
		OK(pmemset_remove_range(set, base, 0));
		EQUAL(check_parts(set, &bytes), 1);
		OK(pmemset_remove_range(set, base + SEGMENT, 1));
		EQUAL(check_parts(set, &bytes), 2);
		OK(pmemset_remove_range(set, base + 3 * SEGMENT + 9, 1));
		EQUAL(check_parts(set, &bytes), 3);
		EQUAL(bytes, 3 * SEGMENT);
		OK(pmemset_remove_range(set, base, SIZE_MAX)); /* the rest */
		EQUAL(check_parts(set, &bytes), 0);
	}
	check_close(&set, &src);
}

static void
same_bytes_in_two_sets(void)
{
	struct pmemset *one = check_set(), *two = check_set();
	struct pmemset_source *src = check_source(SEGMENT);
	struct pmemset_part_descriptor a, b;

	OK(pmemset_map(one, src, NULL, &a));
	OK(pmemset_map(two, src, NULL, &b));
	pmemset_memcpy(one, a.addr, (char[]){ "seen by both" }, 13, 0);
	CHECK(memcmp(b.addr, "seen by both", 13) == 0);
	OK(pmemset_delete(&two));
	check_close(&one, &src);
}

static const struct check_case cases[] = {
	CHECK_CASE(whole_file),
	CHECK_CASE(by_address_and_in_order),
	CHECK_CASE(lengths_and_offsets_that_are_refused),
	CHECK_CASE(finer_granularity_than_there_is),
	CHECK_CASE(length_unset_is_the_rest),
	CHECK_CASE(full_coalescing),
	CHECK_CASE(opportunistic_coalescing),
	CHECK_CASE(removal_waits_for_handles),
	CHECK_CASE(previous_part_after_a_removal),
	CHECK_CASE(survivor_grows_with_a_reference_held),
	CHECK_CASE(hundred_parts_from_the_middle),
	CHECK_CASE(range_over_two_parts),
	CHECK_CASE(range_inside_a_coalesced_part),
	CHECK_CASE(same_bytes_in_two_sets),
};
CHECK_MAIN(cases)
