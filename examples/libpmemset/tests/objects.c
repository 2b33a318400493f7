/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Configurations, sets and sources: made, refused, deleted in any order. */
#include "check.h"

static void
configuration(void)
{
	struct pmemset_config *cfg = NULL;

	OK(pmemset_config_delete(&cfg)); /* nothing to delete */
	OK(pmemset_config_new(&cfg));
	CHECK(cfg != NULL);
	FAILS(pmemset_config_set_required_store_granularity(cfg,
			(enum pmem2_granularity)999),
			PMEMSET_E_GRANULARITY_NOT_SUPPORTED);
	FAILS(pmemset_config_set_required_store_granularity(cfg,
			(enum pmem2_granularity)-1),
			PMEMSET_E_GRANULARITY_NOT_SUPPORTED);
	FAILS(pmemset_config_set_acceptable_states(cfg, 32),
			PMEMSET_E_INVALID_PART_STATES);
	OK(pmemset_config_set_acceptable_states(cfg, 0));
	OK(pmemset_config_set_acceptable_states(cfg, PMEMSET_PART_STATE_OK));
	pmemset_config_set_event_callback(cfg, NULL, NULL);
	pmemset_config_set_reservation(cfg, NULL);
	OK(pmemset_config_delete(&cfg));
	CHECK(cfg == NULL);
}

static void
set_without_granularity(void)
{
	struct pmemset_config *cfg = NULL;
	struct pmemset *untouched = (struct pmemset *)&cfg, *set = untouched;

	OK(pmemset_config_new(&cfg));
	FAILS(pmemset_new(&set, cfg), PMEMSET_E_GRANULARITY_NOT_SET);
	CHECK(set == untouched);
	set = NULL;
	OK(pmemset_delete(&set));
	OK(pmemset_config_delete(&cfg));
}

static void
configuration_serves_two_sets(void)
{
	struct pmemset_config *cfg = check_config();
	struct pmemset *one = NULL, *two = NULL;

	OK(pmemset_new(&one, cfg));
	OK(pmemset_new(&two, cfg));
	OK(pmemset_config_delete(&cfg));
	CHECK(one != NULL && two != NULL && one != two);
	FAILS(pmemset_set_contiguous_part_coalescing(one,
			(enum pmemset_coalescing)3),
			PMEMSET_E_INVALID_COALESCING_VALUE);
	OK(pmemset_delete(&one));
	OK(pmemset_delete(&two));
	CHECK(one == NULL && two == NULL);
}

static void
granularity_is_known_once_a_part_is_mapped(void)
{
	struct pmemset *set = check_set();
	struct pmemset_source *src = check_source(SEGMENT);
	enum pmem2_granularity g = (enum pmem2_granularity)77;

	FAILS(pmemset_get_store_granularity(set, &g),
			PMEMSET_E_NO_PART_MAPPED);
	EQUAL(g, 77);
	OK(pmemset_map(set, src, NULL, NULL));
	OK(pmemset_get_store_granularity(set, &g));
	EQUAL(g, PMEM2_GRANULARITY_PAGE);
	check_close(&set, &src);
}

static void
map_configuration(void)
{
	struct pmemset_map_config *map_cfg = NULL;
	struct pmemset *set = check_set();
	struct pmemset_part_descriptor desc = { &set, 77 };

	OK(pmemset_map_config_delete(&map_cfg));
	OK(pmemset_map_config_new(&map_cfg));
#if SIZE_MAX > UINT32_MAX /* else no offset is too large */
	FAILS(pmemset_map_config_set_offset(map_cfg, (size_t)INT64_MAX + 1),
			PMEMSET_E_OFFSET_OUT_OF_RANGE);
#endif
	FAILS(pmemset_map(set, NULL, map_cfg, &desc),
			PMEMSET_E_INVALID_SOURCE_TYPE);
	CHECK(desc.addr == &set && desc.size == 77);
	OK(pmemset_map_config_delete(&map_cfg));
	OK(pmemset_delete(&set));
}

#define NO_SOURCE(call, code) do {\
	src = (struct pmemset_source *)&src;\
	FAILS(call, code);\
	CHECK(src == NULL);\
} while (0)

static void
sources_that_are_refused(void)
{
	struct pmemset_source *src = NULL;
	const char *file = check_file(SEGMENT);

	OK(pmemset_source_delete(&src));
	NO_SOURCE(pmemset_source_from_pmem2(&src, NULL),
			PMEMSET_E_INVALID_PMEM2_SOURCE);
	NO_SOURCE(pmemset_source_from_file(&src, NULL),
			PMEMSET_E_INVALID_SOURCE_PATH);
	NO_SOURCE(pmemset_source_from_file(&src, "missing"),
			PMEMSET_E_INVALID_SOURCE_PATH);
	NO_SOURCE(pmemset_xsource_from_file(&src, "missing",
			PMEMSET_SOURCE_FILE_DO_NOT_GROW), -ENOENT);
	NO_SOURCE(pmemset_source_from_file(&src, "."), -EISDIR);
	NO_SOURCE(pmemset_source_from_file(&src, "/dev/null"), -100005);
	NO_SOURCE(pmemset_xsource_from_file(&src, file,
			PMEMSET_SOURCE_FILE_CREATE_VALID_FLAGS + 1),
			PMEMSET_E_INVALID_SOURCE_FILE_CREATE_FLAGS);
	NO_SOURCE(pmemset_xsource_from_file(&src, file,
			PMEMSET_SOURCE_FILE_CREATE_ALWAYS_MODE(90180)),
			PMEMSET_E_INVALID_SOURCE_FILE_CREATE_FLAGS);
	NO_SOURCE(pmemset_source_from_temporary(&src, NULL),
			PMEMSET_E_INVALID_SOURCE_PATH);
	NO_SOURCE(pmemset_source_from_temporary(&src, "missing"),
			PMEMSET_E_INVALID_SOURCE_PATH);
	NO_SOURCE(pmemset_source_from_temporary(&src, file),
			PMEMSET_E_CANNOT_CREATE_TEMP_FILE);
	OK(pmemset_source_delete(&src));
}

static void
source_opens(const char *file, uint64_t flags)
{
	struct pmemset_source *src = NULL;

	OK(pmemset_xsource_from_file(&src, file, flags));
	CHECK(src != NULL);
	OK(pmemset_source_delete(&src));
	CHECK(src == NULL);
}

static void
flags_of_a_source(void)
{
	struct stat stat_;
	const char *file = check_file(SEGMENT);

	source_opens(file, PMEMSET_SOURCE_FILE_CREATE_IF_NEEDED);
	OK(stat(file, &stat_));
	EQUAL(stat_.st_size, SEGMENT);
	source_opens(file, PMEMSET_SOURCE_FILE_CREATE_ALWAYS);
	OK(stat(file, &stat_));
	EQUAL(stat_.st_size, 0);

	umask(0);
	source_opens("made", PMEMSET_SOURCE_FILE_CREATE_IF_NEEDED |
			PMEMSET_SOURCE_FILE_DO_NOT_GROW |
			PMEMSET_SOURCE_FILE_CREATE_MODE(
			PMEMSET_SOURCE_FILE_RWXU_MODE |
			PMEMSET_SOURCE_FILE_ROTH_MODE));
	OK(stat("made", &stat_));
	EQUAL(stat_.st_mode & 0777, 0704);
	EQUAL(stat_.st_size, 0);
	/* A file that is there keeps its mode. */
	source_opens("made", PMEMSET_SOURCE_FILE_CREATE_IF_NEEDED |
			PMEMSET_SOURCE_FILE_CREATE_MODE(
			PMEMSET_SOURCE_FILE_RUSR_MODE));
	OK(stat("made", &stat_));
	EQUAL(stat_.st_mode & 0777, 0704);
	source_opens("plain", PMEMSET_SOURCE_FILE_CREATE_IF_NEEDED);
	OK(stat("plain", &stat_));
	EQUAL(stat_.st_mode & 0777, 0644);
	umask(022);
}

static void
alignment(void)
{
	struct pmemset_source *src = check_source(SEGMENT);
	size_t bytes = 0;

	OK(pmemset_source_alignment(src, &bytes));
	EQUAL(bytes, sysconf(_SC_PAGESIZE));
	OK(pmemset_source_delete(&src));
}

static void
copies_that_survive_damage(void)
{
	struct pmemset_source *src = check_source(SEGMENT);
	char out[14] = "", in[] = "remember this";

	OK(pmemset_source_pwrite_mcsafe(src, in, sizeof in, 100));
	OK(pmemset_source_pread_mcsafe(src, out, sizeof out, 100));
	CHECK(memcmp(in, out, sizeof in) == 0);
	OK(pmemset_source_pread_mcsafe(src, out, 4, SEGMENT - 4));
	FAILS(pmemset_source_pread_mcsafe(src, out, 4, SEGMENT - 3),
			PMEMSET_E_LENGTH_OUT_OF_RANGE);
	FAILS(pmemset_source_pread_mcsafe(src, out, 1, SEGMENT + 100),
			PMEMSET_E_LENGTH_OUT_OF_RANGE);
	FAILS(pmemset_source_pwrite_mcsafe(src, in, 4, SIZE_MAX - 1),
			PMEMSET_E_LENGTH_OUT_OF_RANGE);
	OK(pmemset_source_delete(&src));
}

static void
shutdown_state_of_an_ordinary_file(void)
{
	struct pmemset *set = check_set();
	struct pmemset_source *src = check_source(SEGMENT);
	struct pmemset_sds sds = { {0}, 0, 0 };

	OK(pmemset_source_set_sds(src, &sds, NULL));
	FAILS(pmemset_source_set_sds(src, &sds, NULL),
			PMEMSET_E_SDS_ALREADY_SET);
	FAILS(pmemset_map(set, src, NULL, NULL), PMEMSET_E_SDS_NOSUPP);
	check_close(&set, &src);
}

static void
bad_blocks_of_an_ordinary_file(void)
{
	struct pmemset *set = check_set();
	struct pmemset_source *src = check_source(SEGMENT);
	struct pmemset_badblock block = { 0, 4096 };
	int result;

	pmemset_source_set_badblock_detection(src, true);
	result = pmemset_map(set, src, NULL, NULL);
	CHECK(result == PMEMSET_E_BADBLOCK_NOSUPP ||
			result == PMEMSET_E_DAX_REGION_NOT_FOUND);
	pmemset_source_set_badblock_detection(src, false);
	OK(pmemset_map(set, src, NULL, NULL));
	result = pmemset_badblock_clear(&block, src);
	CHECK(result == PMEMSET_E_BADBLOCK_NOSUPP ||
			result == PMEMSET_E_DAX_REGION_NOT_FOUND);
	check_close(&set, &src);
}

static void
source_goes_before_the_set(void)
{
	struct pmemset *set = check_set();
	struct pmemset_source *src = check_source(SEGMENT);
	struct pmemset_part_descriptor desc;

	OK(pmemset_map(set, src, NULL, &desc));
	OK(pmemset_source_delete(&src));
	memset(desc.addr, 0x5a, desc.size);
	OK(pmemset_persist(set, desc.addr, desc.size));
	OK(pmemset_delete(&set));
}

/* Source, configurations and set go in this order, with four handles out. */
static void
set_goes_last_with_handles_out(void)
{
	struct pmemset_config *cfg = check_config();
	struct pmemset_map_config *map_cfg = NULL;
	struct pmemset *set = NULL;
	struct pmemset_source *src = check_source(MIB);
	struct pmemset_part_map *part[4];
	size_t i;

	OK(pmemset_map_config_new(&map_cfg));
	OK(pmemset_new(&set, cfg));
	OK(pmemset_map(set, src, map_cfg, NULL));
	OK(pmemset_map(set, src, map_cfg, NULL));
	for (i = 0; i < 4; i += 2) {
		pmemset_first_part_map(set, &part[i]);
		pmemset_next_part_map(set, part[i], &part[i + 1]);
		CHECK(part[i] != NULL && part[i + 1] != NULL);
	}
	OK(pmemset_source_delete(&src));
	OK(pmemset_config_delete(&cfg));
	OK(pmemset_map_config_delete(&map_cfg));
	OK(pmemset_delete(&set));
	CHECK(!src && !cfg && !map_cfg && !set);
}

static void
messages(void)
{
	struct pmemset_source *src = NULL;
	const char *message = pmemset_errormsg();

	pmemset_source_from_file(&src, NULL);
	CHECK(message == pmemset_errormsg()); /* one buffer a thread */
	CHECK(message[0] != '\0');
	EQUAL(pmemset_err_to_errno(PMEMSET_E_NOSUPP), ENOTSUP);
	EQUAL(pmemset_err_to_errno(PMEMSET_E_UNKNOWN), EINVAL);
	EQUAL(pmemset_err_to_errno(-ENOTSUP), ENOTSUP);
	EQUAL(pmemset_err_to_errno(0), 0);
	EQUAL(pmemset_err_to_errno(5), EINVAL);
}

static void
perror_writes_what_was_said(void)
{
	struct pmemset_source *src = NULL;
	char text[9000], wanted[9000];
	int fd = open("stderr", O_CREAT | O_TRUNC | O_RDWR, 0600);
	int kept = dup(2);
	ssize_t length;

	pmemset_source_from_file(&src, "missing");
	fflush(stderr);
	dup2(fd, 2);
	pmemset_perror("case %d", 7);
	fflush(stderr);
	dup2(kept, 2);
	close(kept);
	length = pread(fd, text, sizeof text - 1, 0);
	close(fd);
	CHECK(length > 0);
	text[length > 0 ? length : 0] = '\0';
	snprintf(wanted, sizeof wanted, "case 7: %s\n", pmemset_errormsg());
	CHECK(strcmp(text, wanted) == 0);
}

static const struct check_case cases[] = {
	CHECK_CASE(configuration),
	CHECK_CASE(set_without_granularity),
	CHECK_CASE(configuration_serves_two_sets),
	CHECK_CASE(granularity_is_known_once_a_part_is_mapped),
	CHECK_CASE(map_configuration),
	CHECK_CASE(sources_that_are_refused),
	CHECK_CASE(flags_of_a_source),
	CHECK_CASE(alignment),
	CHECK_CASE(copies_that_survive_damage),
	CHECK_CASE(shutdown_state_of_an_ordinary_file),
	CHECK_CASE(bad_blocks_of_an_ordinary_file),
	CHECK_CASE(source_goes_before_the_set),
	CHECK_CASE(set_goes_last_with_handles_out),
	CHECK_CASE(messages),
	CHECK_CASE(perror_writes_what_was_said),
};
CHECK_MAIN(cases)
