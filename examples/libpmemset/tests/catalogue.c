/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * What libpmemset's own tests fix and the other programs do not: README.md says
 * which case is where.
 */
#include <pthread.h>

#include "check.h"

static size_t
entries(const char *path)
{
	DIR *dir = opendir(path);
	size_t count = 0;

	while (dir != NULL && readdir(dir) != NULL)
		count++;
	if (dir != NULL)
		closedir(dir);
	return count;
}

static void
temporary_source_has_one_descriptor_and_no_name(void)
{
	struct pmemset_source *src = NULL;
	size_t files, descriptors;

	files = entries(".");
	descriptors = entries("/proc/self/fd");
	OK(pmemset_source_from_temporary(&src, "."));
	EQUAL(entries(".") - files, 0);
	EQUAL(entries("/proc/self/fd") - descriptors, 1);
	OK(pmemset_source_delete(&src));
	EQUAL(entries("/proc/self/fd") - descriptors, 0);
}

static void
mode_is(const char *name, uint64_t flags, unsigned mode)
{
	struct pmemset_source *src = NULL;
	struct stat found;

	unlink(name);
	OK(pmemset_xsource_from_file(&src, name, flags));
	OK(stat(name, &found));
	EQUAL(found.st_mode & 0777, mode);
	EQUAL(found.st_size, 0);
	OK(pmemset_source_delete(&src));
}

static void
modes_of_new_files(void)
{
	umask(0);
	mode_is("r", PMEMSET_SOURCE_FILE_CREATE_ALWAYS |
			PMEMSET_SOURCE_FILE_CREATE_ALWAYS_MODE(
			PMEMSET_SOURCE_FILE_RUSR_MODE), 0400);
	mode_is("rwx", PMEMSET_SOURCE_FILE_CREATE_ALWAYS_MODE(
			PMEMSET_SOURCE_FILE_RWXU_MODE), 0700);
	mode_is("number", PMEMSET_SOURCE_FILE_CREATE_ALWAYS_MODE(0700), 0700);
	mode_is("x", PMEMSET_SOURCE_FILE_CREATE_ALWAYS_MODE(
			PMEMSET_SOURCE_FILE_XUSR_MODE), 0100);
	mode_is("needed", PMEMSET_SOURCE_FILE_CREATE_IF_NEEDED |
			PMEMSET_SOURCE_FILE_CREATE_MODE(
			PMEMSET_SOURCE_FILE_RUSR_MODE), 0400);
	umask(022);
}

static void
size_is(const char *name, size_t bytes)
{
	struct stat found;

	OK(stat(name, &found));
	EQUAL(found.st_size, bytes);
}

static void
one_path_opened_three_times(void)
{
	struct pmemset *set = check_set();
	struct pmemset_source *src[3] = { NULL, NULL, NULL };
	size_t i;

	OK(pmemset_xsource_from_file(&src[0], "thrice",
			PMEMSET_SOURCE_FILE_CREATE_IF_NEEDED |
			PMEMSET_SOURCE_FILE_DO_NOT_GROW));
	FAILS(check_map(set, src[0], 0, SEGMENT, NULL),
			PMEMSET_E_SOURCE_FILE_IS_TOO_SMALL);
	OK(pmemset_xsource_from_file(&src[1], "thrice",
			PMEMSET_SOURCE_FILE_CREATE_IF_NEEDED));
	OK(check_map(set, src[1], 0, SEGMENT, NULL));
	size_is("thrice", SEGMENT);
	OK(check_map(set, src[1], 0, 2 * SEGMENT, NULL));
	size_is("thrice", 2 * SEGMENT);
	OK(pmemset_xsource_from_file(&src[2], "thrice",
			PMEMSET_SOURCE_FILE_DO_NOT_GROW));
	FAILS(check_map(set, src[2], 0, 4 * SEGMENT, NULL),
			PMEMSET_E_SOURCE_FILE_IS_TOO_SMALL);
	size_is("thrice", 2 * SEGMENT);
	for (i = 0; i < 3; i++)
		OK(pmemset_source_delete(&src[i]));
	OK(pmemset_delete(&set));
}

static void
temporary_file_grows_with_its_parts(void)
{
	struct pmemset *set = check_set();
	struct pmemset_source *src = NULL;
	struct pmemset_part_descriptor desc[4];
	struct pmemset_part_map *part = NULL;
	size_t i, bytes;

	OK(pmemset_source_from_temporary(&src, "."));
	for (i = 0; i < 4; i++)
		OK(check_map(set, src, 0, i ? SEGMENT : 2 * SEGMENT, &desc[i]));
	EQUAL(check_parts(set, &bytes), 4);
	EQUAL(bytes, 5 * SEGMENT);
	for (i = 1; i < 3; i++) {
		OK(pmemset_part_map_by_address(set, &part, desc[i].addr));
		OK(pmemset_remove_part_map(set, &part));
	}
	EQUAL(check_parts(set, &bytes), 2);
	check_close(&set, &src);
}

/* Maps `count` segments into one part; 0 where there is no room for that. */
static int
coalesced(struct pmemset *set, struct pmemset_source *src, size_t count,
		struct pmemset_part_descriptor *desc)
{
	int result;

	OK(pmemset_set_contiguous_part_coalescing(set,
			PMEMSET_COALESCING_NONE));
	OK(check_map(set, src, 0, SEGMENT, desc));
	OK(pmemset_set_contiguous_part_coalescing(set,
			PMEMSET_COALESCING_FULL));
	while (--count > 0) {
		result = check_map(set, src, 0, SEGMENT, desc);
		CHECK(result == 0 || result == PMEMSET_E_CANNOT_COALESCE_PARTS);
		if (result != 0)
			return 0;
	}
	return 1;
}

static void
range_takes_one_segment_of_each_of_two_parts(void)
{
	struct pmemset *set = check_set();
	struct pmemset_source *src = check_source(SEGMENT);
	struct pmemset_part_descriptor a, b, low, high;
	size_t bytes;
	char *from;

	if (coalesced(set, src, 2, &a) && coalesced(set, src, 2, &b)) {
		low = (char *)a.addr < (char *)b.addr ? a : b;
		high = (char *)a.addr < (char *)b.addr ? b : a;
		from = (char *)low.addr + low.size - 1;
		OK(pmemset_remove_range(set, from,
				(size_t)((char *)high.addr - from) + 1));
		EQUAL(check_parts(set, &bytes), 2);
		EQUAL(bytes, 2 * SEGMENT);
	}
	check_close(&set, &src);
}

static void
head_and_tail_of_a_part(void)
{
	struct pmemset *set = check_set();
	struct pmemset_source *src = check_source(SEGMENT);
	struct pmemset_part_descriptor before, part, again;
	struct pmemset_part_map *handle = NULL;
	int result;

	OK(check_map(set, src, 0, SEGMENT, &before));
	if (coalesced(set, src, 3, &part)) {
		char *middle = (char *)part.addr + SEGMENT;

		OK(pmemset_remove_range(set, part.addr, 1));
		OK(pmemset_remove_range(set, middle + SEGMENT, 1));
		OK(pmemset_part_map_by_address(set, &handle, middle));
		CHECK(pmemset_descriptor_part_map(handle).addr == middle);
		EQUAL(pmemset_descriptor_part_map(handle).size, SEGMENT);
		/* What is left of it can grow again. */
		result = check_map(set, src, 0, SEGMENT, &again);
		CHECK(result == 0 || result == PMEMSET_E_CANNOT_COALESCE_PARTS);
		if (result == 0) {
			CHECK(again.addr == middle);
			EQUAL(again.size, 2 * SEGMENT);
		}
		OK(pmemset_remove_part_map(set, &handle));
	}
	check_close(&set, &src);
}

static void
two_sources_in_one_part(void)
{
	struct pmemset *set = check_set();
	const char *file[2];
	char name[2][32], found[2] = "";
	struct pmemset_source *src[2] = { NULL, NULL };
	struct pmemset_part_descriptor part;
	size_t i;
	int fd, result;

	for (i = 0; i < 2; i++) {
		snprintf(name[i], sizeof name[i], "%s", check_file(SEGMENT));
		file[i] = name[i];
		OK(pmemset_source_from_file(&src[i], file[i]));
	}
	OK(pmemset_map(set, src[0], NULL, &part));
	OK(pmemset_set_contiguous_part_coalescing(set,
			PMEMSET_COALESCING_FULL));
	result = pmemset_map(set, src[1], NULL, &part);
	CHECK(result == 0 || result == PMEMSET_E_CANNOT_COALESCE_PARTS);
	OK(pmemset_source_delete(&src[0]));
	OK(pmemset_source_delete(&src[1]));
	if (result == 0) {
		EQUAL(part.size, 2 * SEGMENT);
		/* One copy over the border, and into both files. */
		pmemset_memset(set, (char *)part.addr + SEGMENT - 1, 'b', 2, 0);
		for (i = 0; i < 2; i++) {
			fd = open(file[i], O_RDONLY);
			EQUAL(pread(fd, found, 1, i ? 0 : SEGMENT - 1), 1);
			EQUAL(found[0], 'b');
			close(fd);
		}
		OK(pmemset_deep_flush(set, (char *)part.addr + 1,
				2 * SEGMENT - 2));
		OK(pmemset_remove_range(set, part.addr, 1));
		OK(pmemset_persist(set, (char *)part.addr + SEGMENT, SEGMENT));
	}
	OK(pmemset_delete(&set));
}

static void
deep_flush_of_ranges(void)
{
	struct pmemset *set = check_set();
	struct pmemset_source *src = check_source(SEGMENT);
	struct pmemset_part_descriptor part;
	struct pmemset_part_map *handle = NULL;
	char *base;

	if (coalesced(set, src, 8, &part)) {
		base = part.addr;
		OK(pmemset_deep_flush(set, base, part.size));
		OK(pmemset_deep_flush(set, base + SEGMENT / 2, 2 * SEGMENT));
		OK(pmemset_deep_flush(set, base + 2 * SEGMENT + SEGMENT / 4,
				SEGMENT / 4));
		OK(pmemset_deep_flush(set, base + 5 * SEGMENT, SEGMENT));
		OK(pmemset_deep_flush(set, base + 5 * SEGMENT,
				SEGMENT + SEGMENT / 2));
		OK(pmemset_deep_flush(set, base, 0));
		/* Past the end, and before: nothing is done, and said so. */
		FAILS(pmemset_deep_flush(set, base + part.size / 2, part.size),
				PMEMSET_E_NO_PART_MAPPED);
		FAILS(pmemset_deep_flush(set, base - SEGMENT, SEGMENT / 2),
				PMEMSET_E_NO_PART_MAPPED);
	}
	/* None of them has kept a reference. */
	pmemset_first_part_map(set, &handle);
	OK(pmemset_remove_part_map(set, &handle));
	check_close(&set, &src);
}

static void
look_up_overwrites_the_handle(void)
{
	struct pmemset *set = check_set();
	struct pmemset_source *src = check_source(SEGMENT);
	struct pmemset_part_descriptor desc;
	struct pmemset_part_map *handle = NULL;

	OK(pmemset_map(set, src, NULL, &desc));
	OK(pmemset_part_map_by_address(set, &handle, desc.addr));
	CHECK(pmemset_descriptor_part_map(handle).addr == desc.addr);
	FAILS(pmemset_part_map_by_address(set, &handle, (void *)0x999),
			PMEMSET_E_CANNOT_FIND_PART_MAP);
	CHECK(handle == NULL);
	/* Its reference is lost, and goes with the set. */
	check_close(&set, &src);
}

static struct pmemset *shared;

static void *
grow(void *number)
{
	struct pmemset_source *src = NULL;
	size_t length = (*(size_t *)number + 1) * SEGMENT;
	int i;

	if (pmemset_source_from_file(&src, "grown") != 0)
		return "open";
	for (i = 0; i < 50; i++) {
		struct pmemset_part_descriptor desc;
		struct pmemset_map_config *map_cfg = NULL;

		if (pmemset_map_config_new(&map_cfg) != 0)
			return "configure";
		pmemset_map_config_set_length(map_cfg, length);
		if (pmemset_map(shared, src, map_cfg, &desc) != 0)
			return "map";
		((char *)desc.addr)[length - 1] = 1;
		if (pmemset_remove_range(shared, desc.addr, 1) != 0)
			return "remove";
		pmemset_map_config_delete(&map_cfg);
	}
	pmemset_source_delete(&src);
	return NULL;
}

static void
threads_grow_one_file(void)
{
	pthread_t thread[8];
	size_t number[8], i;
	void *failed;
	FILE *file = fopen("grown", "w");

	fclose(file);
	shared = check_set();
	for (i = 0; i < 8; i++) {
		number[i] = i;
		OK(pthread_create(&thread[i], NULL, grow, &number[i]));
	}
	for (i = 0; i < 8; i++) {
		OK(pthread_join(thread[i], &failed));
		if (failed != NULL)
			printf("  failed: %s\n", (char *)failed);
		CHECK(failed == NULL);
	}
	size_is("grown", 8 * SEGMENT);
	OK(pmemset_delete(&shared));
}

static const struct check_case cases[] = {
	CHECK_CASE(temporary_source_has_one_descriptor_and_no_name),
	CHECK_CASE(modes_of_new_files),
	CHECK_CASE(one_path_opened_three_times),
	CHECK_CASE(temporary_file_grows_with_its_parts),
	CHECK_CASE(range_takes_one_segment_of_each_of_two_parts),
	CHECK_CASE(head_and_tail_of_a_part),
	CHECK_CASE(two_sources_in_one_part),
	CHECK_CASE(deep_flush_of_ranges),
	CHECK_CASE(look_up_overwrites_the_handle),
	CHECK_CASE(threads_grow_one_file),
};
CHECK_MAIN(cases)
