/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Together with libpmem2: its sources, and reservations of the caller's. */
#include <libpmem2.h>

#include "check.h"

static struct pmem2_vm_reservation *
reserve(size_t length)
{
	struct pmem2_vm_reservation *res = NULL;

	OK(pmem2_vm_reservation_new(&res, NULL, length));
	return res;
}

static struct pmemset *
set_inside(struct pmem2_vm_reservation *res)
{
	struct pmemset_config *cfg = check_config();
	struct pmemset *set = NULL;

	pmemset_config_set_reservation(cfg, res);
	OK(pmemset_new(&set, cfg));
	OK(pmemset_config_delete(&cfg));
	return set;
}

static void
unchanged(struct pmem2_vm_reservation *res, void *address, size_t length)
{
	CHECK(pmem2_vm_reservation_get_address(res) == address);
	EQUAL(pmem2_vm_reservation_get_size(res), length);
}

static void
source_of_libpmem2(void)
{
	struct pmemset *set = check_set();
	struct pmemset_source *src = NULL;
	struct pmem2_source *theirs = NULL;
	struct pmemset_part_descriptor desc;
	int fd = open(check_file(SEGMENT), O_RDWR);

	OK(pmem2_source_from_fd(&theirs, fd));
	OK(pmemset_source_from_pmem2(&src, theirs));
	OK(pmem2_source_delete(&theirs));
	close(fd);
	OK(pmemset_map(set, src, NULL, &desc));
	EQUAL(desc.size, SEGMENT);
	pmemset_memset(set, desc.addr, 7, SEGMENT, 0);
	OK(pmemset_source_delete(&src));
	OK(pmemset_delete(&set));

	src = (struct pmemset_source *)&src;
	OK(pmem2_source_from_anon(&theirs, SEGMENT));
	FAILS(pmemset_source_from_pmem2(&src, theirs), -100035);
	CHECK(src == NULL);
	OK(pmem2_source_delete(&theirs));
}

static struct pmem2_source *told; /* the source of the last PART_ADD */

static int
keep_source(struct pmemset *set, struct pmemset_event_context *ctx, void *arg)
{
	(void)set, (void)arg;
	if (ctx->type == PMEMSET_EVENT_PART_ADD)
		told = ctx->data.part_add.src;
	return 0;
}

/* Their descriptor is closed while the part is mapped; ours was deleted before. */
static void
their_descriptor_closes_under_a_part(void)
{
	struct pmemset_config *cfg = check_config();
	struct pmemset *set = NULL;
	struct pmemset_source *src = NULL;
	struct pmem2_source *theirs = NULL;
	struct pmemset_part_descriptor desc;
	int fd = open(check_file(SEGMENT), O_RDWR);

	pmemset_config_set_event_callback(cfg, keep_source, NULL);
	OK(pmemset_new(&set, cfg));
	OK(pmemset_config_delete(&cfg));
	OK(pmem2_source_from_fd(&theirs, fd));
	OK(pmemset_source_from_pmem2(&src, theirs));
	OK(pmemset_map(set, src, NULL, &desc));
	CHECK(told == theirs);
	OK(pmemset_source_delete(&src));
	close(fd);
	pmemset_memset(set, desc.addr, 7, SEGMENT, 0);
	OK(pmemset_persist(set, desc.addr, SEGMENT));
	OK(pmemset_delete(&set));
	OK(pmem2_source_delete(&theirs));
}

/* What libpmem2 maps and what is copied past damage are the same bytes. */
static void
copies_past_damage_and_their_maps_agree(void)
{
	int kind;

	for (kind = 0; kind < 2; kind++) {
		struct pmemset_source *src = NULL;
		struct pmem2_source *theirs = NULL;
		struct pmem2_config *cfg = NULL;
		struct pmem2_map *map = NULL;
		const char *file = check_file(SEGMENT);
		int fd = open(file, O_RDWR);
		char bytes[14] = "";

		OK(pmem2_source_from_fd(&theirs, fd));
		OK(kind ? pmemset_source_from_pmem2(&src, theirs)
				: pmemset_source_from_file(&src, file));
		OK(pmem2_config_new(&cfg));
		OK(pmem2_config_set_required_store_granularity(cfg,
				PMEM2_GRANULARITY_PAGE));
		OK(pmem2_map_new(&map, cfg, theirs));
		pmem2_get_memcpy_fn(map)(pmem2_map_get_address(map),
				"stored there", 13, 0);
		OK(pmemset_source_pread_mcsafe(src, bytes, 13, 0));
		CHECK(memcmp(bytes, "stored there", 13) == 0);
		OK(pmemset_source_pwrite_mcsafe(src, "written here!", 14, 0));
		CHECK(memcmp(pmem2_map_get_address(map), "written here!", 14)
				== 0);
		OK(pmem2_map_delete(&map));
		OK(pmem2_config_delete(&cfg));
		OK(pmem2_source_delete(&theirs));
		OK(pmemset_source_delete(&src));
		close(fd);
	}
}

static void
reservation_is_filled(void)
{
	struct pmem2_vm_reservation *res = reserve(3 * SEGMENT);
	char *base = pmem2_vm_reservation_get_address(res);
	struct pmemset *set = set_inside(res);
	struct pmemset_source *src = check_source(MIB);
	struct pmemset_part_descriptor desc;
	struct pmemset_part_map *part[3];
	size_t i, bytes;

	for (i = 0; i < 3; i++) {
		OK(check_map(set, src, 0, SEGMENT, &desc));
		CHECK((char *)desc.addr == base + i * SEGMENT);
		memset(desc.addr, 1, desc.size);
	}
	EQUAL(check_parts(set, &bytes), 3);
	FAILS(check_map(set, src, 0, SEGMENT, NULL),
			PMEMSET_E_CANNOT_FIT_PART_MAP);
	OK(pmemset_remove_range(set, base + SEGMENT, 1));
	OK(check_map(set, src, 0, SEGMENT, &desc));
	CHECK((char *)desc.addr == base + SEGMENT);
	unchanged(res, base, 3 * SEGMENT);
	for (i = 0; i < 3; i++)
		OK(pmemset_part_map_by_address(set, &part[i],
				base + i * SEGMENT));
	for (i = 0; i < 3; i++)
		OK(pmemset_remove_part_map(set, &part[i]));
	EQUAL(check_parts(set, &bytes), 0);
	check_close(&set, &src);
	unchanged(res, base, 3 * SEGMENT);
	OK(pmem2_vm_reservation_delete(&res));
}

static void
coalesced_in_a_reservation(void)
{
	struct pmem2_vm_reservation *res = reserve(3 * SEGMENT);
	char *base = pmem2_vm_reservation_get_address(res);
	struct pmemset *set = set_inside(res);
	struct pmemset_source *src = check_source(MIB);
	struct pmemset_part_descriptor desc;
	struct pmemset_part_map *part;
	size_t i;

	OK(pmemset_set_contiguous_part_coalescing(set,
			PMEMSET_COALESCING_FULL));
	for (i = 0; i < 3; i++)
		OK(check_map(set, src, 0, SEGMENT, &desc));
	CHECK((char *)desc.addr == base);
	EQUAL(desc.size, 3 * SEGMENT);
	FAILS(check_map(set, src, 0, SEGMENT, NULL),
			PMEMSET_E_CANNOT_COALESCE_PARTS);
	OK(pmemset_remove_range(set, base, 1));
	OK(pmemset_remove_range(set, base + 2 * SEGMENT, 1));
	OK(check_map(set, src, 0, SEGMENT, &desc));
	pmemset_first_part_map(set, &part);
	CHECK(pmemset_descriptor_part_map(part).addr == base + SEGMENT);
	EQUAL(pmemset_descriptor_part_map(part).size, 2 * SEGMENT);
	check_close(&set, &src); /* with the handle out */
	OK(pmem2_vm_reservation_delete(&res));
}

static void
too_small_or_in_pieces(void)
{
	struct pmem2_vm_reservation *res = reserve(6 * SEGMENT);
	char *base = pmem2_vm_reservation_get_address(res);
	struct pmemset *set = set_inside(res);
	struct pmemset_source *src = check_source(MIB);
	struct pmemset_part_map *part[3];
	size_t i, bytes;

	FAILS(check_map(set, src, 0, 7 * SEGMENT, NULL),
			PMEMSET_E_CANNOT_FIT_PART_MAP);
	EQUAL(check_parts(set, &bytes), 0);
	for (i = 0; i < 6; i++)
		OK(check_map(set, src, 0, SEGMENT, NULL));
	for (i = 0; i < 6; i += 2)
		OK(pmemset_remove_range(set, base + i * SEGMENT, 1));
	for (i = 0; i < 3; i++) /* referred to until the set goes */
		OK(pmemset_part_map_by_address(set, &part[i],
				base + (2 * i + 1) * SEGMENT));
	FAILS(check_map(set, src, 0, 2 * SEGMENT, NULL),
			PMEMSET_E_CANNOT_FIT_PART_MAP);
	unchanged(res, base, 6 * SEGMENT);
	check_close(&set, &src);
	OK(pmem2_vm_reservation_delete(&res));
}

static void
two_sets_in_one_reservation(void)
{
	struct pmem2_vm_reservation *res = reserve(2 * SEGMENT);
	char *base = pmem2_vm_reservation_get_address(res);
	struct pmemset *one = set_inside(res), *two = set_inside(res);
	struct pmemset_source *src = check_source(MIB);
	struct pmemset_part_descriptor a, b;

	OK(check_map(one, src, 0, SEGMENT, &a));
	OK(check_map(two, src, 0, SEGMENT, &b));
	CHECK((char *)a.addr == base && (char *)b.addr == base + SEGMENT);
	OK(pmemset_delete(&one));
	OK(check_map(two, src, 0, SEGMENT, &a));
	CHECK((char *)a.addr == base);
	check_close(&two, &src);
	/* Another set may come afterwards. */
	one = set_inside(res);
	OK(pmemset_delete(&one));
	OK(pmem2_vm_reservation_delete(&res));
}

static void
opportunistic_until_it_is_full(void)
{
	struct pmem2_vm_reservation *res = reserve(3 * SEGMENT);
	char *base = pmem2_vm_reservation_get_address(res);
	struct pmemset *set = set_inside(res);
	struct pmemset_source *src = check_source(MIB);
	size_t i, bytes;

	OK(pmemset_set_contiguous_part_coalescing(set,
			PMEMSET_COALESCING_OPPORTUNISTIC));
	for (i = 0; i < 3; i++)
		OK(check_map(set, src, 0, SEGMENT, NULL));
	EQUAL(check_parts(set, &bytes), 1);
	FAILS(check_map(set, src, 0, SEGMENT, NULL),
			PMEMSET_E_CANNOT_FIT_PART_MAP);
	/* A range across what is now two parts. */
	OK(pmemset_remove_range(set, base + SEGMENT, 1));
	EQUAL(check_parts(set, &bytes), 2);
	OK(pmemset_remove_range(set, base + SEGMENT - 1, SEGMENT + 2));
	EQUAL(check_parts(set, &bytes), 0);
	check_close(&set, &src);
	OK(pmem2_vm_reservation_delete(&res));
}

static void
own_maps_of_the_caller_are_left_alone(void)
{
	struct pmem2_vm_reservation *res = reserve(4 * SEGMENT);
	char *base = pmem2_vm_reservation_get_address(res);
	struct pmemset *set = set_inside(res);
	struct pmemset_source *src = check_source(MIB);
	struct pmemset_part_descriptor desc;
	struct pmem2_config *cfg;
	struct pmem2_source *theirs;
	struct pmem2_map *map = NULL, *found = NULL;
	int fd = open(check_file(SEGMENT), O_RDWR);
	size_t i, bytes;

	OK(pmem2_source_from_fd(&theirs, fd));
	OK(pmem2_config_new(&cfg));
	OK(pmem2_config_set_required_store_granularity(cfg,
			PMEM2_GRANULARITY_PAGE));
	OK(pmem2_config_set_vm_reservation(cfg, res, SEGMENT));
	OK(pmem2_map_new(&map, cfg, theirs));
	CHECK((char *)pmem2_map_get_address(map) == base + SEGMENT);
	memset(base + SEGMENT, 0x77, SEGMENT);

	for (i = 0; i < 4; i++) {
		if (i == 1)
			continue;
		OK(check_map(set, src, 0, SEGMENT, &desc));
		CHECK((char *)desc.addr == base + i * SEGMENT);
		memset(desc.addr, 0x11, desc.size);
	}
	FAILS(check_map(set, src, 0, SEGMENT, NULL),
			PMEMSET_E_CANNOT_FIT_PART_MAP);
	for (i = 0; i < SEGMENT; i++)
		if (base[SEGMENT + i] != 0x77)
			break;
	EQUAL(i, SEGMENT);
	OK(pmem2_vm_reservation_map_find(res, SEGMENT, 1, &found));
	CHECK(found == map);
	/* A part does not grow over it either. */
	OK(pmemset_remove_range(set, base, 4 * SEGMENT));
	EQUAL(check_parts(set, &bytes), 0);
	OK(check_map(set, src, 0, SEGMENT, &desc));
	CHECK((char *)desc.addr == base);
	OK(pmemset_set_contiguous_part_coalescing(set,
			PMEMSET_COALESCING_FULL));
	FAILS(check_map(set, src, 0, SEGMENT, NULL),
			PMEMSET_E_CANNOT_COALESCE_PARTS);
	/* Once it is gone there is room. */
	OK(pmem2_map_delete(&map));
	OK(check_map(set, src, 0, SEGMENT, &desc));
	CHECK((char *)desc.addr == base);
	EQUAL(desc.size, 2 * SEGMENT);
	OK(pmem2_config_delete(&cfg));
	OK(pmem2_source_delete(&theirs));
	close(fd);
	check_close(&set, &src);
	OK(pmem2_vm_reservation_delete(&res));
}

static const struct check_case cases[] = {
	CHECK_CASE(source_of_libpmem2),
	CHECK_CASE(their_descriptor_closes_under_a_part),
	CHECK_CASE(copies_past_damage_and_their_maps_agree),
	CHECK_CASE(reservation_is_filled),
	CHECK_CASE(coalesced_in_a_reservation),
	CHECK_CASE(too_small_or_in_pieces),
	CHECK_CASE(two_sets_in_one_reservation),
	CHECK_CASE(opportunistic_until_it_is_full),
	CHECK_CASE(own_maps_of_the_caller_are_left_alone),
};
CHECK_MAIN(cases)
