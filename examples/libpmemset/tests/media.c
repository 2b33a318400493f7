/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Shutdown state and bad blocks, with all of their events: in a mount namespace
 * of its own, where /sys is a tree that says that the disk of the working
 * directory is on two memory modules. For the administrator.
 */
#define _GNU_SOURCE
#include <sched.h>
#include <sys/mount.h>
#include <sys/sysmacros.h>

#include "media.h"

#define BUS "/sys/devices/ndbus0"
#define DISK BUS "/region0/pfn0.1/block/pmem0"

static void
attribute(const char *path, const char *text)
{
	char folder[256], *slash;
	FILE *file;

	snprintf(folder, sizeof folder, "%s", path);
	for (slash = strchr(folder + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		mkdir(folder, 0755);
		*slash = '/';
	}
	file = fopen(path, "w");
	if (file == NULL || fputs(text, file) < 0 || fclose(file) != 0) {
		perror(path);
		exit(2);
	}
}

/* The last shutdown of module `number` was the count-th that lost stores. */
static void
count(int number, const char *text)
{
	char path[256];

	snprintf(path, sizeof path, BUS "/nmem%d/nfit/dirty_shutdown", number);
	attribute(path, text);
}

static void
make_tree(void)
{
	char link[64];
	struct stat here;

	if (unshare(CLONE_NEWNS) || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE,
			NULL) || mount("sys", "/sys", "tmpfs", 0, NULL)) {
		perror("a /sys of its own");
		exit(2);
	}
	attribute(BUS "/provider", "ACPI.NFIT\n");
	attribute(BUS "/region0/mappings", "2\n");
	attribute(BUS "/region0/mapping0", "nmem1,0,536870912,0\n");
	attribute(BUS "/region0/mapping1", "nmem2,0,536870912,1\n");
	attribute(BUS "/nmem1/nfit/id", "8089-a2-1834-00000001\n");
	attribute(BUS "/nmem2/nfit/id", "8089-a2-1834-00000002\n");
	count(1, "3\n");
	count(2, "4\n");
	attribute(DISK "/size", "4294967296\n");
	attribute(DISK "/badblocks", "");
	attribute("/sys/dev/block/none", "");
	OK(stat(".", &here));
	snprintf(link, sizeof link, "/sys/dev/block/%u:%u", major(here.st_dev),
			minor(here.st_dev));
	OK(symlink("../../devices/ndbus0/region0/pfn0.1/block/pmem0", link));
}

/* As the kernel does, once the page was written. */
static void
forget_blocks(void)
{
	attribute(DISK "/badblocks", "");
}

/* Maps the file with a record, in a set of its own; what the state is. */
static int
map_with(const char *file, struct pmemset_sds *sds, int *state)
{
	struct pmemset *set = watched_set(0);
	struct pmemset_source *src = NULL;
	enum pmemset_part_state found = (enum pmemset_part_state)0;
	int result;

	OK(pmemset_source_from_file(&src, file));
	seen.src = src;
	OK(pmemset_source_set_sds(src, sds, &found));
	result = pmemset_map(set, src, NULL, NULL);
	*state = (int)found;
	OK(pmemset_source_delete(&src));
	OK(pmemset_delete(&set));
	return result;
}

static void
record_counts_mappings(void)
{
	struct pmemset *set = watched_set(0);
	struct pmemset_source *src = seen.src = check_source(SEGMENT);
	struct pmemset_sds sds = PMEMSET_SDS_INITIALIZE();
	enum pmemset_part_state state = (enum pmemset_part_state)0;
	struct pmemset_part_descriptor one, two;

	OK(pmemset_source_set_sds(src, &sds, &state));
	sds.usc = 77; /* copied */
	OK(pmemset_map(set, src, NULL, &one));
	EQUAL(state, PMEMSET_PART_STATE_OK);
	EQUAL(seen.updates, 1);
	EQUAL(seen.sds.refcount, 1);
	EQUAL(seen.sds.usc, 7);
	CHECK(strcmp(seen.sds.id,
			"8089-a2-1834-000000018089-a2-1834-00000002") == 0);
	OK(pmemset_map(set, src, NULL, &two));
	EQUAL(state, PMEMSET_PART_STATE_OK_BUT_ALREADY_OPEN);
	EQUAL(seen.sds.refcount, 2);
	OK(pmemset_remove_range(set, one.addr, 1));
	EQUAL(seen.sds.refcount, 1);
	OK(pmemset_remove_range(set, two.addr, 1));
	EQUAL(seen.sds.refcount, 0);
	EQUAL(seen.updates, 4);
	check_close(&set, &src);
}

static void
every_state_is_told(void)
{
	const char *file = check_file(SEGMENT);
	struct pmemset_sds sds = PMEMSET_SDS_INITIALIZE(), kept;
	int state;

	/* Mapped when the set went: the record stays dirty. */
	OK(map_with(file, &sds, &state));
	EQUAL(state, PMEMSET_PART_STATE_OK);
	kept = seen.sds;
	EQUAL(kept.refcount, 1);
	FAILS(map_with(file, &kept, &state), PMEMSET_E_UNDESIRABLE_PART_STATE);
	EQUAL(state, PMEMSET_PART_STATE_OK_BUT_INTERRUPTED);
	EQUAL(seen.updates, 0);
	count(2, "5\n");
	FAILS(map_with(file, &kept, &state), PMEMSET_E_UNDESIRABLE_PART_STATE);
	EQUAL(state, PMEMSET_PART_STATE_CORRUPTED);
	kept.id[0] = 'x';
	FAILS(map_with(file, &kept, &state), PMEMSET_E_UNDESIRABLE_PART_STATE);
	EQUAL(state, PMEMSET_PART_STATE_INDETERMINATE);
	/* Not in use then: nothing is held against it. */
	kept.refcount = 0;
	OK(map_with(file, &kept, &state));
	EQUAL(state, PMEMSET_PART_STATE_OK);
	EQUAL(seen.sds.id[0], '8');
	EQUAL(seen.sds.usc, 8);
	count(2, "4\n");
}

static void
interrupted_can_be_accepted(void)
{
	struct pmemset *set;
	struct pmemset_source *src = NULL;
	struct pmemset_sds sds = PMEMSET_SDS_INITIALIZE();
	const char *file = check_file(SEGMENT);
	enum pmemset_part_state state;
	int first;

	OK(map_with(file, &sds, &first));
	sds = seen.sds;
	set = watched_set(PMEMSET_PART_STATE_OK |
			PMEMSET_PART_STATE_OK_BUT_INTERRUPTED);
	OK(pmemset_source_from_file(&src, file));
	seen.src = src;
	OK(pmemset_source_set_sds(src, &sds, &state));
	OK(pmemset_map(set, src, NULL, NULL));
	EQUAL(state, PMEMSET_PART_STATE_OK_BUT_INTERRUPTED);
	/* Open already, which this set does not accept. */
	FAILS(pmemset_map(set, src, NULL, NULL),
			PMEMSET_E_UNDESIRABLE_PART_STATE);
	EQUAL(state, PMEMSET_PART_STATE_OK_BUT_ALREADY_OPEN);
	/* The source goes first: its record is not needed any more. */
	OK(pmemset_source_delete(&src));
	OK(pmemset_delete(&set));
}

static void
device_that_does_not_tell(void)
{
	char path[64];
	const char *file = check_file(SEGMENT);
	struct pmemset_sds sds = PMEMSET_SDS_INITIALIZE();
	struct pmemset *set = check_set();
	struct pmemset_source *src = NULL;
	char text[64];
	int state, i;

	count(1, "-1\n");
	FAILS(map_with(file, &sds, &state), PMEMSET_E_SDS_NOSUPP);
	count(1, "3\n");
	/* The ids of more modules than a record has room for. */
	for (i = 3; i <= 32; i++) {
		snprintf(path, sizeof path, BUS "/region0/mapping%d", i - 1);
		snprintf(text, sizeof text, "nmem%d,0,536870912,0\n", i);
		attribute(path, text);
		snprintf(path, sizeof path, BUS "/nmem%d/nfit/id", i);
		attribute(path, "8089-a2-1834-00000000\n");
		count(i, "0\n");
	}
	attribute(BUS "/region0/mappings", "32\n");
	FAILS(map_with(file, &sds, &state), PMEMSET_E_SDS_DEVICE_ID_LEN_TOO_BIG);
	EQUAL(seen.updates, 0);
	attribute(BUS "/region0/mappings", "2\n");

	/* A source that is mapped gets no record any more. */
	OK(pmemset_source_from_file(&src, file));
	OK(pmemset_map(set, src, NULL, NULL));
	FAILS(pmemset_source_set_sds(src, &sds, NULL), -EBUSY);
	check_close(&set, &src);
}

/* Makes all of the disk bad, but nothing that this machine has. */
#define ALL_BAD "0 4294967296\n"

static void
bad_blocks_are_told_and_cleared(void)
{
	struct pmemset *set = watched_set(0);
	const char *file = check_file(SEGMENT);
	int fd = open(file, O_RDWR);
	char page[4096];
	struct pmemset_source *src = NULL;
	struct pmemset_part_descriptor part;

	memset(page, 9, sizeof page);
	EQUAL(pwrite(fd, page, sizeof page, 8192), sizeof page);
	OK(fsync(fd));
	close(fd);
	OK(pmemset_source_from_file(&src, file));
	seen.src = src;
	attribute(DISK "/badblocks", ALL_BAD);
	OK(pmemset_map(set, src, NULL, &part)); /* nobody asks */
	OK(pmemset_remove_range(set, part.addr, 1));
	EQUAL(seen.blocks, 0);

	pmemset_source_set_badblock_detection(src, true);
	FAILS(pmemset_map(set, src, NULL, &part), PMEMSET_E_IO_FAIL);
	EQUAL(seen.blocks, 1);
	EQUAL(seen.block.offset, 0);
	EQUAL(seen.block.length, SEGMENT); /* mapping has filled its holes */
	EQUAL(seen.cleared, 0);

	at_block = forget_blocks;
	seen.clears = 1;
	seen.refuses = 1;
	CHECK(pmemset_map(set, src, NULL, &part) != 0);
	CHECK(pmemset_errormsg()[0] != '\0');
	EQUAL(seen.cleared, 1);
	attribute(DISK "/badblocks", ALL_BAD);
	seen.refuses = 0;
	OK(pmemset_map(set, src, NULL, &part));
	EQUAL(seen.blocks, 3);
	EQUAL(seen.cleared, 2);
	OK(pmemset_map(set, src, NULL, &part));
	EQUAL(seen.blocks, 3);

	/* What can be read is left alone, and stays on the list. */
	attribute(DISK "/badblocks", ALL_BAD);
	FAILS(pmemset_badblock_clear(&seen.block, src), PMEMSET_E_IO_FAIL);
	CHECK(((char *)part.addr)[8192] == 9);
	seen.block.length = MIB;
	FAILS(pmemset_badblock_clear(&seen.block, src),
			PMEMSET_E_LENGTH_OUT_OF_RANGE);
	seen.block.offset = SIZE_MAX;
	FAILS(pmemset_badblock_clear(&seen.block, src),
			PMEMSET_E_OFFSET_OUT_OF_RANGE);
	attribute(DISK "/badblocks", "");
	check_close(&set, &src);
}

static const struct check_case cases[] = {
	CHECK_CASE(record_counts_mappings),
	CHECK_CASE(every_state_is_told),
	CHECK_CASE(interrupted_can_be_accepted),
	CHECK_CASE(device_that_does_not_tell),
	CHECK_CASE(bad_blocks_are_told_and_cleared),
};

int
main(int argc, char **argv)
{
	if (argc == 2 && chdir(argv[1]) == 0)
		make_tree();
	return check_main(argc, argv, cases, sizeof cases / sizeof cases[0]);
}
