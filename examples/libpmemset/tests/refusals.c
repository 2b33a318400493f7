/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * NULL wherever a pointer goes, and errors that the other programs do not meet.
 * Those that nobody can provoke here are listed in the README.
 */
#define _GNU_SOURCE
#include <sys/mman.h>

#include "check.h"

/* Fails with EINVAL and says so; `pmemset_` is left out of the name. */
#define NO(call) FAILS(pmemset_##call, -EINVAL)

static void
null_is_refused(void)
{
	struct pmemset *set = check_set();
	struct pmemset_source *src = check_source(SEGMENT);
	struct pmemset_part_map *part = NULL;
	struct pmemset_part_descriptor desc;
	struct pmemset_badblock block = { 0, 4096 };
	struct pmemset_sds sds = { {0}, 0, 0 };
	struct pmemset_source *none = NULL;
	enum pmem2_granularity g;
	size_t alignment;
	char byte = 0;

	NO(config_new(NULL));
	OK(pmemset_config_delete(NULL));
	NO(config_set_required_store_granularity(NULL, PMEM2_GRANULARITY_PAGE));
	pmemset_config_set_event_callback(NULL, NULL, NULL);
	pmemset_config_set_reservation(NULL, NULL);
	NO(config_set_acceptable_states(NULL, 0));
	NO(new(NULL, NULL));
	NO(new(&set, NULL));
	OK(pmemset_delete(NULL));
	NO(get_store_granularity(NULL, &g));
	NO(get_store_granularity(set, NULL));
	NO(set_contiguous_part_coalescing(NULL, PMEMSET_COALESCING_NONE));

	NO(map_config_new(NULL));
	OK(pmemset_map_config_delete(NULL));
	NO(map_config_set_offset(NULL, 0));
	pmemset_map_config_set_length(NULL, 0);

	NO(source_from_pmem2(NULL, NULL));
	NO(source_from_file(NULL, "file"));
	NO(xsource_from_file(NULL, "file", 0));
	NO(source_from_temporary(NULL, "."));
	OK(pmemset_source_delete(NULL));
	NO(source_set_sds(NULL, &sds, NULL));
	NO(source_set_sds(src, NULL, NULL));
	pmemset_source_set_badblock_detection(NULL, true);
	FAILS(pmemset_source_alignment(NULL, &alignment),
			PMEMSET_E_INVALID_ALIGNMENT_VALUE);
	FAILS(pmemset_source_alignment(src, NULL),
			PMEMSET_E_INVALID_ALIGNMENT_VALUE);
	NO(source_pread_mcsafe(NULL, &byte, 1, 0));
	NO(source_pread_mcsafe(src, NULL, 1, 0));
	OK(pmemset_source_pread_mcsafe(src, NULL, 0, 0));
	NO(source_pwrite_mcsafe(NULL, &byte, 1, 0));
	NO(source_pwrite_mcsafe(src, NULL, 1, 0));
	OK(pmemset_source_pwrite_mcsafe(src, NULL, 0, 0));
	NO(badblock_clear(NULL, src));
	NO(badblock_clear(&block, NULL));

	NO(map(NULL, src, NULL, NULL));
	FAILS(pmemset_map(set, NULL, NULL, NULL), PMEMSET_E_INVALID_SOURCE_TYPE);
	OK(pmemset_map(set, src, NULL, &desc));
	part = (struct pmemset_part_map *)&part;
	pmemset_first_part_map(NULL, &part);
	CHECK(part == NULL);
	pmemset_first_part_map(set, NULL);
	part = (struct pmemset_part_map *)&part;
	pmemset_next_part_map(set, NULL, &part);
	CHECK(part == NULL);
	pmemset_next_part_map(NULL, NULL, NULL);
	part = (struct pmemset_part_map *)&part;
	NO(part_map_by_address(NULL, &part, desc.addr));
	CHECK(part == NULL);
	NO(part_map_by_address(set, NULL, desc.addr));
	CHECK(pmemset_descriptor_part_map(NULL).addr == NULL);
	pmemset_part_map_drop(NULL);
	part = NULL;
	pmemset_part_map_drop(&part);
	NO(remove_part_map(set, NULL));
	NO(remove_part_map(set, &part));
	NO(remove_part_map(NULL, &part));
	NO(remove_range(NULL, desc.addr, 1));

	NO(persist(NULL, desc.addr, 1));
	NO(flush(NULL, desc.addr, 1));
	NO(drain(NULL));
	NO(deep_flush(NULL, desc.addr, 1));
	CHECK(pmemset_memcpy(NULL, desc.addr, &byte, 1, 0) == desc.addr);
	CHECK(pmemset_memmove(NULL, desc.addr, &byte, 1, 0) == desc.addr);
	CHECK(pmemset_memset(NULL, desc.addr, 1, 1, 0) == desc.addr);
	CHECK(pmemset_memcpy(set, desc.addr, NULL, 1, 0) == desc.addr);
	CHECK(pmemset_errormsg()[0] != '\0');
	CHECK(pmemset_memset(set, NULL, 1, 1, 0) == NULL);
	EQUAL(*(char *)desc.addr, 0);
	OK(pmemset_source_delete(&none));
	check_close(&set, &src);
}

static void
handle_of_another_set(void)
{
	struct pmemset *set = check_set(), *other = check_set();
	struct pmemset_source *src = check_source(SEGMENT);
	struct pmemset_part_map *part = NULL, *kept;

	OK(pmemset_map(set, src, NULL, NULL));
	pmemset_first_part_map(set, &part);
	kept = part;
	FAILS(pmemset_remove_part_map(other, &part), PMEMSET_E_PART_NOT_FOUND);
	CHECK(part == kept);
	OK(pmemset_remove_part_map(set, &part));
	OK(pmemset_delete(&other));
	check_close(&set, &src);
}

static void
granularities_do_not_mix(void)
{
	struct pmemset *set = check_set();
	struct pmemset_source *src = check_source(SEGMENT);
	size_t bytes;

	OK(pmemset_map(set, src, NULL, NULL));
	setenv("PMEM2_FORCE_GRANULARITY", "byte", 1);
	FAILS(pmemset_map(set, src, NULL, NULL), PMEMSET_E_GRANULARITY_MISMATCH);
	unsetenv("PMEM2_FORCE_GRANULARITY");
	EQUAL(check_parts(set, &bytes), 1);
	check_close(&set, &src);
}

static void
file_that_may_not_be_mapped(void)
{
	struct pmemset *set = check_set();
	struct pmemset_source *src = NULL;
	char path[64];
	int fd = memfd_create("sealed", MFD_ALLOW_SEALING);

	OK(ftruncate(fd, SEGMENT));
	snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	OK(pmemset_source_from_file(&src, path));
	OK(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE));
	FAILS(pmemset_map(set, src, NULL, NULL), PMEMSET_E_INVALID_PMEM2_MAP);
	close(fd);
	check_close(&set, &src);
}

static void
no_libpmem2(void)
{
	struct pmemset_source *src = NULL;
	struct pmemset_config *cfg = check_config();
	struct pmemset *set = NULL;
	int fake = 0;

	/* Nobody who has an object of it is without the library. */
	FAILS(pmemset_source_from_pmem2(&src, (struct pmem2_source *)&fake),
			PMEMSET_E_NOSUPP);
	pmemset_config_set_reservation(cfg,
			(struct pmem2_vm_reservation *)&fake);
	FAILS(pmemset_new(&set, cfg), -EOPNOTSUPP);
	CHECK(set == NULL);
	OK(pmemset_config_delete(&cfg));
}

static int
refuse(struct pmemset *set, struct pmemset_event_context *ctx, void *arg)
{
	enum pmem2_granularity g;

	/* In the middle of everything, the set can be asked. */
	*(int *)arg += pmemset_get_store_granularity(set, &g) <= 0 && ctx != NULL;
	return -1;
}

static void
data_before_the_first_map(void)
{
	struct pmemset_config *cfg = check_config();
	struct pmemset *set = NULL;
	char bytes[64] = "";
	int told = 0;

	pmemset_config_set_event_callback(cfg, refuse, &told);
	OK(pmemset_new(&set, cfg));
	OK(pmemset_config_delete(&cfg));
	FAILS(pmemset_persist(set, bytes, 8), PMEMSET_E_NO_PART_MAPPED);
	FAILS(pmemset_flush(set, bytes, 8), PMEMSET_E_NO_PART_MAPPED);
	FAILS(pmemset_deep_flush(set, bytes, 8), PMEMSET_E_NO_PART_MAPPED);
	OK(pmemset_drain(set));
	CHECK(pmemset_memset(set, bytes, 1, 8, 0) == bytes);
	EQUAL(bytes[0], 0);
	OK(pmemset_persist(set, bytes, 0));
	OK(pmemset_remove_range(set, bytes, 64));
	OK(pmemset_remove_range(set, NULL, 0));
	CHECK(told > 0);
	OK(pmemset_delete(&set));
}

/* Address space of this process, in pages. */
static long
address_space(void)
{
	FILE *file = fopen("/proc/self/statm", "r");
	long pages = -1;

	if (file != NULL) {
		if (fscanf(file, "%ld", &pages) != 1)
			pages = -1;
		fclose(file);
	}
	return pages;
}

static void
maps_and_removals_balance(void)
{
	struct pmemset *set = check_set();
	struct pmemset_source *src = check_source(SEGMENT);
	struct pmemset_part_descriptor desc;
	long before = 0;
	int i;

	for (i = 0; i < 2100; i++) {
		OK(pmemset_map(set, src, NULL, &desc));
		OK(pmemset_remove_range(set, desc.addr, desc.size));
		if (i == 99)
			before = address_space();
	}
	EQUAL(address_space(), before);
	check_close(&set, &src);
}

static const struct check_case cases[] = {
	CHECK_CASE(null_is_refused),
	CHECK_CASE(handle_of_another_set),
	CHECK_CASE(granularities_do_not_mix),
	CHECK_CASE(file_that_may_not_be_mapped),
	CHECK_CASE(no_libpmem2),
	CHECK_CASE(data_before_the_first_map),
	CHECK_CASE(maps_and_removals_balance),
};
CHECK_MAIN(cases)
