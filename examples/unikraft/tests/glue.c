/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The glue over areas that behave as Unikraft's. The last line is
 * `N passed, N failed`.
 */
#define _GNU_SOURCE
#include <pmemset_unikraft.h>

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "fake.h"

#define START  0x200000UL /* where the memory is, physically */
#define LENGTH 0x800000UL

static int broken;

#define EQUAL(value, wanted) do {\
	long long value_ = (long long)(value), wanted_ = (long long)(wanted);\
	if (value_ != wanted_) {\
		broken++;\
		printf("  %d: %s is %lld, not %lld\n", __LINE__, #value, value_,\
				wanted_);\
	}\
} while (0)
#define OK(call) EQUAL(call, 0)

static struct pmemset_port_source memory;

static struct pmemset_source *open_memory(size_t alignment)
{
	struct pmemset_source *src = NULL;

	pmemset_unikraft_memory(&memory, START, LENGTH);
	memory.alignment = alignment;
	OK(pmemset_source_from_port(&src, &memory));
	return src;
}

static struct pmemset *new_set(void)
{
	static uint64_t room[PMEMSET_PORT_SET_BYTES(16, 2) / 8];
	struct pmemset_config cfg = { { 0 } };
	struct pmemset *set = NULL;

	OK(pmemset_config_set_required_store_granularity(&cfg,
			PMEM2_GRANULARITY_CACHE_LINE));
	OK(pmemset_port_config_set_memory(&cfg, room, sizeof room, 16));
	OK(pmemset_new(&set, &cfg));
	return set;
}

static void report(const struct pmemset_port_finding *finding, void *arg)
{
	int *counts = arg;

	counts[finding->outcome]++;
	if (finding->outcome == PMEMSET_PORT_BROKEN)
		printf("  %s: %s\n", finding->duty, finding->text);
}

static void every_duty_is_kept(void)
{
	int counts[3] = { 0 };
	struct pmemset_source *src = open_memory(0);

	OK(pmemset_port_contract(NULL, report, counts));
	EQUAL(counts[PMEMSET_PORT_KEPT] >= 14, 1);
	EQUAL(counts[PMEMSET_PORT_SKIPPED], 0);
	OK(pmemset_port_contract(src, report, counts));
	EQUAL(counts[PMEMSET_PORT_KEPT] >= 36, 1);
	EQUAL(counts[PMEMSET_PORT_SKIPPED] <= 7, 1);
	EQUAL(counts[PMEMSET_PORT_BROKEN], 0);
	OK(pmemset_source_delete(&src));
	EQUAL(fake_mapped(), 0);
}

static void records_are_found_again(void)
{
	char words[] = "remember me", found[sizeof words];
	__sz before = fake_free();

	for (int start = 0; start < 2; start++) {
		struct pmemset_source *src = open_memory(2 << 20);
		struct pmemset *set = new_set();
		struct pmemset_part_descriptor part;

		OK(pmemset_map(set, src, NULL, &part));
		EQUAL((uintptr_t)part.addr % (2 << 20), 0);
		EQUAL(fake_mapped(), LENGTH);
		EQUAL(fake_free(), before - LENGTH);
		if (start)
			EQUAL(memcmp(part.addr, words, sizeof words), 0);
		OK(pmemset_memcpy(set, part.addr, words, sizeof words, 0) == NULL);
		EQUAL(pread(fake.memory, found, sizeof found, START), sizeof found);
		EQUAL(memcmp(found, words, sizeof words), 0);
		OK(pmemset_remove_range(set, part.addr, part.size));
		EQUAL(fake_free(), before);
		OK(pmemset_delete(&set));
		OK(pmemset_source_delete(&src));
	}
}

static void a_part_ends_where_addresses_end(void)
{
	struct pmemset_source *src = open_memory(0);
	struct pmemset *set = new_set();
	struct pmemset_part_descriptor part, first = { NULL, 0 };
	int fits = fake_free() / LENGTH;

	OK(pmemset_set_contiguous_part_coalescing(set, PMEMSET_COALESCING_FULL));
	for (int i = 0; i < fits; i++) {
		OK(pmemset_map(set, src, NULL, &part));
		first = i ? first : part;
		EQUAL(part.addr == first.addr, 1);
	}
	EQUAL(pmemset_map(set, src, NULL, &part) != 0, 1);
	EQUAL(fake_mapped(), fits * LENGTH);
	OK(pmemset_remove_range(set, first.addr, fits * LENGTH));
	OK(pmemset_map(set, src, NULL, &part));
	OK(pmemset_remove_range(set, part.addr, part.size));
	OK(pmemset_delete(&set));
	OK(pmemset_source_delete(&src));
}

static void a_map_that_fails_leaves_its_place_reserved(void)
{
	struct pmemset_source *src = open_memory(0);
	struct pmemset *set = new_set();
	struct pmemset_part_descriptor part;
	__sz before = fake_free();

	fake.populate_fails = 1;
	EQUAL(pmemset_map(set, src, NULL, &part) != 0, 1);
	EQUAL(fake_mapped(), 0);
	EQUAL(fake_free(), before);
	OK(pmemset_map(set, src, NULL, &part));
	OK(pmemset_remove_range(set, part.addr, part.size));

	/* What somebody else has taken meanwhile is left alone. */
	fake.populate_fails = fake.steals = 1;
	EQUAL(pmemset_map(set, src, NULL, &part) != 0, 1);
	EQUAL(fake_mapped(), 0);
	EQUAL(fake_free() < before, 1);
	fake.steals = 0;
	OK(pmemset_map(set, src, NULL, &part));
	OK(pmemset_remove_range(set, part.addr, part.size));
	OK(pmemset_delete(&set));
	OK(pmemset_source_delete(&src));
}

static void areas_that_are_used_up_are_an_error(void)
{
	struct pmemset_source *src = open_memory(2 << 20);
	struct pmemset *set = new_set();
	struct pmemset_part_descriptor part;
	__sz before = fake_free();

	/*
	 * None for the reservation; none for cutting off what lies before its
	 * first 2 MiB; none for what replaces it, whose place is lost.
	 */
	for (int left = 0; left < 3; left++) {
		fake.no_areas_after = left;
		EQUAL(pmemset_map(set, src, NULL, &part) != 0, 1);
		fake.no_areas_after = -1;
		EQUAL(fake_mapped(), 0);
		EQUAL(fake_free(), before - (left == 2 ? LENGTH : 0));
	}
	OK(pmemset_delete(&set));
	OK(pmemset_source_delete(&src));
}

int main(void)
{
	static const struct {
		const char *name;
		void (*run)(void);
	} cases[] = {
		{ "every duty is kept", every_duty_is_kept },
		{ "records are found again", records_are_found_again },
		{ "a part ends where addresses end",
				a_part_ends_where_addresses_end },
		{ "a map that fails leaves its place reserved",
				a_map_that_fails_leaves_its_place_reserved },
		{ "areas that are used up are an error",
				areas_that_are_used_up_are_an_error },
	};
	int passed = 0, failed = 0;

	fake.memory = memfd_create("memory", MFD_CLOEXEC);
	OK(ftruncate(fake.memory, START + LENGTH));
	OK(pmemset_unikraft_init());
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		int before = broken;

		cases[i].run();
		printf("%s %s\n", broken == before ? "ok    " : "FAILED", cases[i].name);
		*(broken == before ? &passed : &failed) += 1;
	}
	printf("%d passed, %d failed\n", passed, failed);
	return failed != 0;
}
