/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * On persistent memory of real kernels: scenarios `c-*` of the lab run these
 * cases by name in virtual machines. What happens to the machine in between is
 * in the lab's test program: it stops, loses power, has its memory spoiled.
 */
#include "media.h"

#define PAGE ((size_t)4096)
#define DEVICE "/dev/dax0.0"

static struct pmemset *set;
static struct pmemset_source *src;
static struct pmemset_part_descriptor part;
static enum pmemset_part_state state;

/* ---- shutdown state ---------------------------------------------------- */

/* Durable before the callback returns, as a program has to. */
static void
keep_record(void)
{
	int fd = open("record.new", O_CREAT | O_TRUNC | O_WRONLY, 0600);
	int folder = open(".", O_RDONLY);

	EQUAL(write(fd, &seen.sds, sizeof seen.sds), sizeof seen.sds);
	OK(fsync(fd));
	OK(rename("record.new", "record"));
	OK(fsync(folder));
	close(fd);
	close(folder);
}

/* All zeros where none was kept. */
static struct pmemset_sds
kept_record(void)
{
	struct pmemset_sds sds = PMEMSET_SDS_INITIALIZE();
	int fd = open("record", O_RDONLY);

	if (fd >= 0) {
		EQUAL(read(fd, &sds, sizeof sds), sizeof sds);
		close(fd);
	}
	return sds;
}

/* Maps the file, whose state is judged by the record that was kept. */
static int
map_judged(uint64_t states)
{
	struct pmemset_sds sds = kept_record();

	set = watched_set(states);
	at_record = keep_record;
	OK(pmemset_xsource_from_file(&src, "judged",
			PMEMSET_SOURCE_FILE_CREATE_IF_NEEDED));
	seen.src = src;
	OK(pmemset_source_set_sds(src, &sds, &state));
	return check_map(set, src, 0, MIB, &part);
}

/* Not mapped for that state; nothing is told, and the record stays what it is. */
static void
refused(enum pmemset_part_state wanted)
{
	struct pmemset_sds before = kept_record(), after;
	size_t bytes;

	FAILS(map_judged(0), PMEMSET_E_UNDESIRABLE_PART_STATE);
	EQUAL(state, wanted);
	EQUAL(seen.updates, 0);
	EQUAL(check_parts(set, &bytes), 0);
	after = kept_record();
	CHECK(memcmp(&before, &after, sizeof before) == 0);
	check_close(&set, &src);
}

/* The record that is kept is this. */
static void
kept(int refcount, uint64_t usc)
{
	EQUAL(kept_record().refcount, refcount);
	EQUAL(kept_record().usc, usc);
	CHECK(kept_record().id[0] != '\0');
}

/* Each that ends with something mapped leaves the record dirty, as a crash. */
static void
new_record_counts_mappings(void)
{
	struct pmemset_part_descriptor more[2];
	int i;

	OK(map_judged(0));
	EQUAL(state, PMEMSET_PART_STATE_OK);
	kept(1, 5);
	for (i = 0; i < 2; i++) {
		OK(check_map(set, src, 0, MIB, &more[i]));
		EQUAL(state, PMEMSET_PART_STATE_OK_BUT_ALREADY_OPEN);
		kept(2 + i, 5);
	}
	for (i = 0; i < 2; i++)
		OK(pmemset_remove_range(set, more[i].addr, 1));
	kept(1, 5);
	EQUAL(seen.updates, 5);
	*(char *)part.addr = 1; /* not flushed */
	check_close(&set, &src);
}

static void
stopped_run_was_interrupted(void)
{
	refused(PMEMSET_PART_STATE_OK_BUT_INTERRUPTED);
	OK(map_judged(PMEMSET_PART_STATE_OK |
			PMEMSET_PART_STATE_OK_BUT_INTERRUPTED));
	EQUAL(state, PMEMSET_PART_STATE_OK_BUT_INTERRUPTED);
	kept(1, 5); /* counting starts again */
	check_close(&set, &src);
}

static void
unsafe_shutdown_corrupts(void)
{
	refused(PMEMSET_PART_STATE_CORRUPTED);
	OK(map_judged(PMEMSET_PART_STATE_OK | PMEMSET_PART_STATE_CORRUPTED));
	EQUAL(state, PMEMSET_PART_STATE_CORRUPTED);
	kept(1, 6);
	OK(pmemset_remove_range(set, part.addr, 1));
	kept(0, 6);
	check_close(&set, &src);
}

static void
count_of_a_clean_record_is_renewed(void)
{
	OK(map_judged(0));
	EQUAL(state, PMEMSET_PART_STATE_OK);
	kept(1, 7);
	check_close(&set, &src);
}

static void
record_of_another_device_says_nothing(void)
{
	refused(PMEMSET_PART_STATE_INDETERMINATE);
}

/* ---- bad blocks -------------------------------------------------------- */

/* Page 5 and a corner of page 9 of the file are bad; each page begins with its
 * number. */
static void
bad_blocks_of_a_file(void)
{
	struct pmemset_badblock corner = { 9 * PAGE, PAGE };
	char text[12];

	set = watched_set(0);
	OK(pmemset_source_from_file(&src, "file"));
	seen.src = src;
	OK(pmemset_source_pread_mcsafe(src, text, sizeof text, 4 * PAGE));
	CHECK(memcmp(text, "lab-page-004", sizeof text) == 0);
	FAILS(pmemset_source_pread_mcsafe(src, text, sizeof text, 5 * PAGE),
			PMEMSET_E_IO_FAIL);
	FAILS(pmemset_source_pread_mcsafe(src, text, sizeof text,
			5 * PAGE - 1), PMEMSET_E_IO_FAIL);
	FAILS(pmemset_source_pwrite_mcsafe(src, text, sizeof text,
			5 * PAGE + 8), PMEMSET_E_IO_FAIL);

	pmemset_source_set_badblock_detection(src, true);
	FAILS(check_map(set, src, 4 * PAGE, 3 * PAGE, &part),
			PMEMSET_E_IO_FAIL);
	EQUAL(seen.blocks, 1);
	EQUAL(seen.block.offset, 5 * PAGE);
	EQUAL(seen.block.length, PAGE);
	OK(check_map(set, src, 6 * PAGE, 3 * PAGE, &part)); /* apart from it */
	EQUAL(seen.blocks, 1);
	EQUAL(seen.cleared, 0);

	seen.clears = 1;
	OK(check_map(set, src, 4 * PAGE, 3 * PAGE, &part));
	EQUAL(seen.blocks, 2);
	EQUAL(seen.cleared, 1);
	CHECK(memcmp(part.addr, "lab-page-004", sizeof text) == 0);
	EQUAL(((char *)part.addr)[PAGE], 0);
	EQUAL(((char *)part.addr)[2 * PAGE - 1], 0);
	CHECK(memcmp((char *)part.addr + 2 * PAGE, "lab-page-006",
			sizeof text) == 0);
	OK(check_map(set, src, 4 * PAGE, 3 * PAGE, &part));
	EQUAL(seen.blocks, 2);
	EQUAL(seen.cleared, 1);

	FAILS(pmemset_source_pread_mcsafe(src, text, sizeof text, 9 * PAGE),
			PMEMSET_E_IO_FAIL);
	OK(pmemset_badblock_clear(&corner, src));
	OK(pmemset_source_pread_mcsafe(src, text, sizeof text, 9 * PAGE));
	EQUAL(text[0], 0);
	check_close(&set, &src);
}

/* Bytes 4096 to 8191 of the device are bad, and some of its second unit. */
static void
bad_blocks_of_a_device(void)
{
	char bytes[64];
	size_t unit = 0;

	set = watched_set(0);
	OK(pmemset_source_from_file(&src, DEVICE));
	seen.src = src;
	OK(pmemset_source_alignment(src, &unit));
	memset(bytes, 3, sizeof bytes);
	OK(pmemset_source_pwrite_mcsafe(src, bytes, sizeof bytes, 0));
	OK(pmemset_source_pread_mcsafe(src, bytes, sizeof bytes, 8192));
	FAILS(pmemset_source_pread_mcsafe(src, bytes, sizeof bytes, 4095),
			PMEMSET_E_IO_FAIL);
	FAILS(pmemset_source_pwrite_mcsafe(src, bytes, sizeof bytes, 4096),
			PMEMSET_E_IO_FAIL);

	pmemset_source_set_badblock_detection(src, true);
	FAILS(check_map(set, src, 0, unit, &part), PMEMSET_E_IO_FAIL);
	EQUAL(seen.blocks, 1);
	EQUAL(seen.block.offset, 4096);
	EQUAL(seen.block.length, 4096);
	seen.clears = 1;
	OK(check_map(set, src, 0, unit, &part));
	EQUAL(seen.blocks, 2);
	EQUAL(seen.cleared, 1);
	EQUAL(*(char *)part.addr, 3);
	EQUAL(((char *)part.addr)[4096], 0);
	OK(check_map(set, src, 0, unit, &part));
	EQUAL(seen.blocks, 2);
	EQUAL(seen.cleared, 1);
	check_close(&set, &src);
}

/* ---- parts on device DAX ----------------------------------------------- */

/* The third unit on: nothing was spoilt there. Returns the unit. */
static size_t
device(void)
{
	size_t unit = 0;

	set = check_set();
	OK(pmemset_source_from_file(&src, DEVICE));
	OK(pmemset_source_alignment(src, &unit));
	EQUAL(unit, 2 * MIB);
	return unit;
}

/* Maps a unit whose stores are durable once their lines are written back. */
static void
map_and_persist(void)
{
	size_t unit = device();
	enum pmem2_granularity g;

	OK(check_map(set, src, 2 * unit, unit, &part));
	OK(pmemset_get_store_granularity(set, &g));
	EQUAL(g, PMEM2_GRANULARITY_CACHE_LINE);
	memset(part.addr, 3, part.size);
	OK(pmemset_persist(set, part.addr, part.size));
}

/* Nothing is removed, which would flush deeply, too. */
static void
persisted_only(void)
{
	map_and_persist();
	check_close(&set, &src);
}

static void
flushed_deeply(void)
{
	map_and_persist();
	OK(pmemset_deep_flush(set, (char *)part.addr + PAGE, 1));
	check_close(&set, &src);
}

static void
parts_of_a_device(void)
{
	size_t unit = device(), bytes;
	struct pmemset_part_descriptor more;
	struct pmemset_part_map *handle = NULL;

	FAILS(check_map(set, src, 0, SEGMENT, NULL), PMEMSET_E_LENGTH_UNALIGNED);
	FAILS(check_map(set, src, SEGMENT, unit, NULL),
			PMEMSET_E_INVALID_OFFSET_VALUE);
	FAILS(check_map(set, src, 0, 1024 * MIB, NULL),
			PMEMSET_E_SOURCE_FILE_IS_TOO_SMALL);
	OK(check_map(set, src, 2 * unit, unit, &part));
	EQUAL(part.size, unit);
	memset(part.addr, 1, part.size);
	OK(pmemset_persist(set, part.addr, part.size));
	OK(check_map(set, src, 2 * unit, 2 * unit, &more));
	EQUAL(more.size, 2 * unit);
	EQUAL(*(char *)more.addr, 1);
	EQUAL(check_parts(set, &bytes), 2);
	OK(pmemset_part_map_by_address(set, &handle, part.addr));
	EQUAL(pmemset_descriptor_part_map(handle).size, unit);
	pmemset_part_map_drop(&handle);
	FAILS(pmemset_part_map_by_address(set, &handle, (void *)0x999),
			PMEMSET_E_CANNOT_FIND_PART_MAP);
	OK(pmemset_part_map_by_address(set, &handle, more.addr));
	OK(pmemset_remove_part_map(set, &handle));
	EQUAL(check_parts(set, &bytes), 1);
	pmemset_first_part_map(set, &handle);
	CHECK(pmemset_descriptor_part_map(handle).addr == part.addr);
	check_close(&set, &src); /* with the handle out */
}

/* Coalescing of both kinds, chosen before the first map and behind it. */
static void
parts_of_a_device_grow(void)
{
	struct pmemset_part_descriptor whole;
	size_t bytes;
	int i;

	for (i = 0; i < 4; i++) {
		enum pmemset_coalescing value = i & 1 ?
				PMEMSET_COALESCING_FULL :
				PMEMSET_COALESCING_OPPORTUNISTIC;
		size_t unit = device();
		int result;

		if (i & 2)
			OK(pmemset_set_contiguous_part_coalescing(set, value));
		OK(check_map(set, src, 2 * unit, unit, &part));
		OK(pmemset_set_contiguous_part_coalescing(set, value));
		result = check_map(set, src, 3 * unit, unit, &whole);
		CHECK(result == 0 || (result ==
				PMEMSET_E_CANNOT_COALESCE_PARTS && i & 1));
		if (result == 0 && whole.size != unit) {
			CHECK(whole.addr == part.addr);
			EQUAL(whole.size, 2 * unit);
			EQUAL(check_parts(set, &bytes), 1);
			/* One fill over the border of two segments. */
			pmemset_memset(set, (char *)part.addr + unit - 1, 4, 2,
					0);
		}
		check_close(&set, &src);
	}
}

static void
copies_past_damage_and_parts_agree(void)
{
	size_t unit = device();
	char bytes[14] = "";

	OK(check_map(set, src, 2 * unit, unit, &part));
	pmemset_memcpy(set, part.addr, (char[]){ "stored there" }, 13, 0);
	OK(pmemset_source_pread_mcsafe(src, bytes, 13, 2 * unit));
	CHECK(memcmp(bytes, "stored there", 13) == 0);
	OK(pmemset_source_pwrite_mcsafe(src, (char[]){ "written here!" }, 14,
			2 * unit));
	CHECK(memcmp(part.addr, "written here!", 14) == 0);
	OK(pmemset_remove_range(set, part.addr, 1));
	OK(check_map(set, src, 2 * unit, unit, &part));
	CHECK(memcmp(part.addr, "written here!", 14) == 0);
	check_close(&set, &src);
}

static const struct check_case cases[] = {
	CHECK_CASE(new_record_counts_mappings),
	CHECK_CASE(stopped_run_was_interrupted),
	CHECK_CASE(unsafe_shutdown_corrupts),
	CHECK_CASE(count_of_a_clean_record_is_renewed),
	CHECK_CASE(record_of_another_device_says_nothing),
	CHECK_CASE(bad_blocks_of_a_file),
	CHECK_CASE(bad_blocks_of_a_device),
	CHECK_CASE(persisted_only),
	CHECK_CASE(flushed_deeply),
	CHECK_CASE(parts_of_a_device),
	CHECK_CASE(parts_of_a_device_grow),
	CHECK_CASE(copies_past_damage_and_parts_agree),
};
CHECK_MAIN(cases)
