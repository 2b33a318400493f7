/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Copies with every set of flags, compared with a reference and the file. */
#include "check.h"

#define LENGTH (4 * MIB)

static const unsigned flag_sets[] = {
	0,
	PMEMSET_F_MEM_NODRAIN,
	PMEMSET_F_MEM_NONTEMPORAL,
	PMEMSET_F_MEM_TEMPORAL,
	PMEMSET_F_MEM_NONTEMPORAL | PMEMSET_F_MEM_TEMPORAL,
	PMEMSET_F_MEM_NONTEMPORAL | PMEMSET_F_MEM_NODRAIN,
	PMEMSET_F_MEM_WC,
	PMEMSET_F_MEM_WB,
	PMEMSET_F_MEM_NOFLUSH,
	PMEMSET_F_MEM_VALID_FLAGS,
};
#define FLAG_SETS (sizeof flag_sets / sizeof flag_sets[0])

struct bed {
	struct pmemset *set;
	struct pmemset_source *src;
	struct pmemset_part_descriptor desc;
	char *part;
	char *like; /* what the part should hold */
	int fd;
};

static struct bed
bed_new(void)
{
	struct bed bed;
	const char *file = check_file(LENGTH);

	memset(&bed, 0, sizeof bed);
	bed.set = check_set();
	OK(pmemset_source_from_file(&bed.src, file));
	OK(pmemset_map(bed.set, bed.src, NULL, &bed.desc));
	bed.part = bed.desc.addr;
	bed.like = calloc(1, LENGTH);
	bed.fd = open(file, O_RDONLY);
	return bed;
}

static void
bed_matches(struct bed *bed)
{
	static char read_back[LENGTH];

	CHECK(memcmp(bed->part, bed->like, LENGTH) == 0);
	EQUAL(pread(bed->fd, read_back, LENGTH, 0), LENGTH);
	CHECK(memcmp(read_back, bed->like, LENGTH) == 0);
}

static void
bed_delete(struct bed *bed)
{
	close(bed->fd);
	free(bed->like);
	check_close(&bed->set, &bed->src);
}

typedef void *copy(struct pmemset *, void *, void *, size_t, unsigned);

/* {to, from, length} in one part; copies forwards and backwards. */
static void
copies_with(copy *call)
{
	static const size_t moves[][3] = {
		{ 0, 8192, 4096 }, { 7, 8192, 4096 }, { 7, 8201, 4096 },
		{ 0, 8201, 4096 }, { 8192, 0, 4096 }, { 8201, 7, 4096 },
		{ 21, 9000, 4096 }, { 9021, 7, 4096 }, { 64, 128, 8 },
		{ 63, 128, 4 }, { 0, 23, 4096 }, { 13, 20, 4096 },
		{ 33, 0, 2048 }, { 20, 0, 4096 }, { 2, 0, 8 },
		{ 100, 100, 2048 }, { 101, 900, 0 },
		{ LENGTH / 2, 0, LENGTH / 2 },
	};
	struct bed bed = bed_new();
	size_t i, k;

	for (k = 0; k < FLAG_SETS; k++) {
		for (i = 0; i < LENGTH; i++)
			bed.like[i] = bed.part[i] = (char)(i * 7 + k);
		for (i = 0; i < sizeof moves / sizeof moves[0]; i++) {
			char *dest = bed.part + moves[i][0];

			CHECK(call(bed.set, dest, bed.part + moves[i][1],
					moves[i][2], flag_sets[k]) == dest);
			memmove(bed.like + moves[i][0], bed.like + moves[i][1],
					moves[i][2]);
		}
		OK(pmemset_persist(bed.set, bed.part, LENGTH));
		bed_matches(&bed);
	}
	bed_delete(&bed);
}

static void
memcpy_(void)
{
	copies_with(pmemset_memcpy);
}

static void
memmove_(void)
{
	copies_with(pmemset_memmove);
}

static void
memset_(void)
{
	static const size_t fills[][2] = {
		{ 0, 8 }, { 13, 4096 }, { 4096, MIB }, { 5, 0 }, { 63, 1 },
	};
	struct bed bed = bed_new();
	size_t i, k;

	for (k = 0; k < FLAG_SETS; k++) {
		for (i = 0; i < sizeof fills / sizeof fills[0]; i++) {
			int value = (int)(0x15A + k + i);
			char *dest = bed.part + fills[i][0];

			CHECK(pmemset_memset(bed.set, dest, value, fills[i][1],
					flag_sets[k]) == dest);
			memset(bed.like + fills[i][0], value, fills[i][1]);
		}
		OK(pmemset_persist(bed.set, bed.part, LENGTH));
		bed_matches(&bed);
	}
	bed_delete(&bed);
}

static void
deep_flush(void)
{
	struct bed bed = bed_new();

	memset(bed.part, 9, SEGMENT);
	OK(pmemset_deep_flush(bed.set, bed.part, LENGTH));
	OK(pmemset_deep_flush(bed.set, bed.part + LENGTH / 2, LENGTH / 2));
	memset(bed.like, 9, SEGMENT);
	bed_matches(&bed);
	bed_delete(&bed);
}

/* Where libpmemset crashes or says 0, there is an error and a message. */
static void
ranges_that_are_not_mapped(void)
{
	struct pmemset *set = check_set();
	struct bed bed;
	char here[64] = "as it was";

	FAILS(pmemset_persist(set, here, 8), PMEMSET_E_NO_PART_MAPPED);
	FAILS(pmemset_flush(set, here, 8), PMEMSET_E_NO_PART_MAPPED);
	CHECK(pmemset_memset(set, here, 'x', 4, 0) == here);
	CHECK(pmemset_errormsg()[0] != '\0');
	CHECK(strcmp(here, "as it was") == 0);
	OK(pmemset_delete(&set));

	bed = bed_new();
	OK(pmemset_persist(bed.set, bed.part, 0));
	FAILS(pmemset_persist(bed.set, bed.part, LENGTH + 1),
			PMEMSET_E_NO_PART_MAPPED);
	FAILS(pmemset_persist(bed.set, bed.part, SIZE_MAX),
			PMEMSET_E_LENGTH_OUT_OF_RANGE); /* wraps */
	FAILS(pmemset_deep_flush(bed.set, bed.part - SEGMENT, LENGTH),
			PMEMSET_E_NO_PART_MAPPED);
	CHECK(pmemset_memcpy(bed.set, here, bed.part, 4, 0) == here);
	CHECK(strcmp(here, "as it was") == 0);
	bed_matches(&bed);
	bed_delete(&bed);
}

static const struct check_case cases[] = {
	CHECK_CASE(memcpy_), CHECK_CASE(memmove_), CHECK_CASE(memset_),
	CHECK_CASE(deep_flush), CHECK_CASE(ranges_that_are_not_mapped),
};
CHECK_MAIN(cases)
