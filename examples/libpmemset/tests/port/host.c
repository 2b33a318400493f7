/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The library for kernels, as a program of this machine. All cases run twice,
 * with the library's own lock and with the port's.
 */
#define _GNU_SOURCE
#include <sys/wait.h>

#include "host.h"
#include "host_media.h"
#include "host_refusals.h"

/* ---- cases ------------------------------------------------------------------ */

struct duties {
	int kept, skipped, broken;
	char names[1024];
};

static void
report(const struct pmemset_port_finding *finding, void *arg)
{
	struct duties *duties = arg;

	CHECK(strlen(finding->duty) > 5);
	duties->kept += finding->outcome == PMEMSET_PORT_KEPT;
	duties->skipped += finding->outcome == PMEMSET_PORT_SKIPPED;
	duties->broken += finding->outcome == PMEMSET_PORT_BROKEN;
	CHECK((finding->outcome == PMEMSET_PORT_KEPT) == !finding->text[0]);
	if (finding->outcome == PMEMSET_PORT_BROKEN) {
		strcat(duties->names, finding->duty);
		strcat(duties->names, " ");
	}
}

static void
the_port_keeps_its_duties_and_a_flawed_one_does_not(void)
{
	static const enum pmem2_granularity all[] = { PMEM2_GRANULARITY_BYTE,
		PMEM2_GRANULARITY_CACHE_LINE, PMEM2_GRANULARITY_PAGE };
	struct pmemset_port_source description;
	struct pmemset_source *src;
	struct duties duties = { 0, 0, 0, "" };
	size_t i;

	OK(pmemset_port_contract(NULL, report, &duties));
	CHECK(duties.kept >= 14);
	EQUAL(duties.skipped, 0);
	for (i = 0; i < 3; i++) {
		memset(&duties, 0, sizeof duties);
		src = new_source(&description, all[i]);
		OK(pmemset_port_contract(src, report, &duties));
		CHECK(duties.kept >= 23);
		CHECK(duties.skipped <= 6);
		OK(pmemset_source_delete(&src));
	}

	memset(&duties, 0, sizeof duties);
	fails.reserve_at = 1;
	CHECK(pmemset_port_contract(NULL, report, &duties) > 0);
	fails.reserve_at = 0;
	CHECK(strstr(duties.names, "reservation_is_refused_where_one_is"));
	memset(&duties, 0, sizeof duties);
	src = new_source(&description, PMEM2_GRANULARITY_PAGE);
	fails.sync = -5;
	CHECK(pmemset_port_contract(src, report, &duties) > 0);
	fails.sync = 0;
	CHECK(strstr(duties.names, "sync_takes_any_page"));
}

static void
parts_are_mapped_and_found_again(void)
{
	struct pmemset_port_source description;
	struct pmemset_source *src = new_source(&description,
			PMEM2_GRANULARITY_CACHE_LINE);
	struct pmemset *set = new_set(NULL, NULL);
	struct pmemset_part_descriptor part, second, whole;
	struct pmemset_part_map *first, *next, *more, *none;
	enum pmem2_granularity g = PMEM2_GRANULARITY_BYTE;
	char words[] = "remember me", found[sizeof words];

	EQUAL(pmemset_get_store_granularity(set, &g), PMEMSET_E_NO_PART_MAPPED);
	OK(map_part(set, src, 0, UNIT, &part));
	EQUAL(part.size, UNIT);
	OK(pmemset_get_store_granularity(set, &g));
	EQUAL(g, PMEM2_GRANULARITY_CACHE_LINE);
	CHECK(pmemset_memcpy(set, part.addr, words, sizeof words, 0) == part.addr);
	EQUAL(pread(medium, found, sizeof found, 0), sizeof found);
	CHECK(memcmp(found, words, sizeof words) == 0);
	pmemset_memset(set, (char *)part.addr + 100, 'x', 50, 0);
	pmemset_memmove(set, (char *)part.addr + 120, (char *)part.addr + 90, 30,
			PMEMSET_F_MEM_NODRAIN);
	OK(pmemset_drain(set));
	CHECK(((char *)part.addr)[131] == 'x' && ((char *)part.addr)[129] == 0);
	OK(pmemset_persist(set, part.addr, UNIT));
	OK(pmemset_flush(set, part.addr, 1));
	OK(pmemset_deep_flush(set, part.addr, UNIT));
	EQUAL(pmemset_persist(set, memory, 8), PMEMSET_E_NO_PART_MAPPED);

	OK(pmemset_set_contiguous_part_coalescing(set, PMEMSET_COALESCING_FULL));
	OK(map_part(set, src, UNIT, UNIT, &whole));
	CHECK(whole.addr == part.addr && whole.size == 2 * UNIT);
	OK(pmemset_set_contiguous_part_coalescing(set, PMEMSET_COALESCING_NONE));
	OK(map_part(set, src, 0, UNIT, &second));

	/* Three handles are all that there is memory for. */
	pmemset_first_part_map(set, &first);
	pmemset_next_part_map(set, first, &next);
	CHECK(first != NULL && next != NULL);
	OK(pmemset_part_map_by_address(set, &more, second.addr));
	EQUAL(pmemset_part_map_by_address(set, &none, second.addr), -12);
	pmemset_first_part_map(set, &none);
	CHECK(none == NULL);
	pmemset_part_map_drop(&next);
	CHECK(next == NULL);
	EQUAL(pmemset_part_map_by_address(set, &none, memory),
			PMEMSET_E_CANNOT_FIND_PART_MAP);
	pmemset_part_map_drop(&more);
	OK(pmemset_part_map_by_address(set, &more, whole.addr));
	OK(pmemset_part_map_by_address(set, &next, whole.addr));
	pmemset_part_map_drop(&first);
	EQUAL(pmemset_remove_part_map(set, &next),
			PMEMSET_E_PART_MAP_POSSIBLE_USE_AFTER_DROP);
	pmemset_part_map_drop(&more);
	EQUAL(pmemset_descriptor_part_map(next).size, 2 * UNIT);
	EQUAL(pmemset_source_delete(&src), -16);
	OK(pmemset_remove_part_map(set, &next));
	CHECK(next == NULL);
	OK(pmemset_part_map_by_address(set, &next, second.addr));
	EQUAL(pmemset_remove_range(set, second.addr, 1),
			PMEMSET_E_PART_MAP_POSSIBLE_USE_AFTER_DROP);
	/* With a handle out. */
	OK(pmemset_delete(&set));
	OK(pmemset_source_delete(&src));
}

static void
a_full_set_says_so(void)
{
	struct pmemset_port_source description;
	struct pmemset_source *src = new_source(&description,
			PMEM2_GRANULARITY_PAGE);
	struct pmemset *set = new_set(NULL, NULL);
	int i;

	for (i = 0; i < SEGMENTS; i++)
		OK(map_part(set, src, 0, UNIT, NULL));
	EQUAL(map_part(set, src, 0, UNIT, NULL),
			PMEMSET_E_CANNOT_ALLOCATE_INTERNAL_STRUCTURE);
	OK(pmemset_remove_range(set, (void *)PAGE, SIZE_MAX - PAGE));
	OK(map_part(set, src, 0, UNIT, NULL));
	OK(pmemset_delete(&set));
	OK(pmemset_source_delete(&src));
}

static void
what_the_port_says_is_passed_on(void)
{
	struct pmemset_port_source description;
	struct pmemset_source *src = new_source(&description,
			PMEM2_GRANULARITY_PAGE);
	struct pmemset *set = new_set(NULL, NULL);
	struct pmemset_part_descriptor part = { NULL, 0 };

	fails.reserve = -12;
	EQUAL(map_part(set, src, 0, UNIT, &part), PMEMSET_E_CANNOT_FIT_PART_MAP);
	fails.reserve = 0;
	fails.map = -19;
	EQUAL(map_part(set, src, 0, UNIT, &part), PMEMSET_E_INVALID_PMEM2_MAP);
	fails.map = 0;
	CHECK(part.addr == NULL);
	EQUAL(map_part(set, src, PAGE, UNIT, &part),
			PMEMSET_E_INVALID_OFFSET_VALUE);
	EQUAL(map_part(set, src, 0, PAGE + 1, &part), PMEMSET_E_LENGTH_UNALIGNED);
	EQUAL(map_part(set, src, 0, LENGTH + UNIT, &part),
			PMEMSET_E_SOURCE_FILE_IS_TOO_SMALL);
	EQUAL(map_part(set, NULL, 0, UNIT, &part), PMEMSET_E_INVALID_SOURCE_TYPE);
	EQUAL(map_part(NULL, src, 0, UNIT, &part), -22);
	OK(map_part(set, src, 0, 0, &part));
	EQUAL(part.size, LENGTH);
	fails.unmap = -16;
	EQUAL(pmemset_remove_range(set, part.addr, 1), -16);
	fails.unmap = 0;
	fails.deep_flush = -5;
	EQUAL(pmemset_deep_flush(set, part.addr, 1), PMEMSET_E_DEEP_FLUSH_FAIL);
	fails.deep_flush = 0;
	/* A failed write-back stays failed. */
	EQUAL(pmemset_persist(set, part.addr, 1), -5);
	OK(pmemset_delete(&set));
	OK(pmemset_source_delete(&src));
	src = new_source(&description, PMEM2_GRANULARITY_PAGE);
	set = new_set(NULL, NULL);
	OK(map_part(set, src, 0, 0, &part));
	fails.sync = -28;
	EQUAL(pmemset_persist(set, part.addr, 1), -28);
	fails.sync = 0;
	EQUAL(pmemset_persist(set, part.addr, 1), -28);
	OK(pmemset_delete(&set));
	/* A window that is lost is used by nobody any more. */
	src = new_source(&description, PMEM2_GRANULARITY_PAGE);
	set = new_set(NULL, NULL);
	fails.map = PMEMSET_PORT_WINDOW_LOST;
	EQUAL(map_part(set, src, 0, UNIT, &part), PMEMSET_E_INVALID_PMEM2_MAP);
	fails.map = 0;
	OK(map_part(set, src, 0, UNIT, &part));
	OK(pmemset_delete(&set));
	EQUAL(pmemset_port_error(PMEMSET_E_CANNOT_FIT_PART_MAP)[0], 'C');
	CHECK(!strcmp(pmemset_port_error(PMEMSET_E_BADBLOCK_NOSUPP),
			"BADBLOCK_NOSUPP"));
	CHECK(!strcmp(pmemset_port_error(-200034), "?"));
	CHECK(!strcmp(pmemset_port_error(7), "?"));
	CHECK(!strcmp(pmemset_port_error(-7), "errno"));
}

static struct pmemset *shared_set;
static struct pmemset_source *shared_source;

static void *
work(void *arg)
{
	int i;

	(void)arg;
	for (i = 0; i < 500; i++) {
		struct pmemset_part_descriptor part;
		struct pmemset_part_map *handle = NULL;

		if (map_part(shared_set, shared_source, 0, UNIT, &part))
			return "map";
		pmemset_memset(shared_set, part.addr, i, 64, 0);
		while (pmemset_part_map_by_address(shared_set, &handle,
				part.addr))
			;
		if (pmemset_remove_part_map(shared_set, &handle) || handle)
			return "remove";
	}
	return NULL;
}

static void
threads_share_a_set(void)
{
	struct pmemset_port_source description;
	pthread_t threads[HANDLES];
	void *wrong;
	size_t i;

	shared_source = new_source(&description, PMEM2_GRANULARITY_CACHE_LINE);
	shared_set = new_set(NULL, NULL);
	for (i = 0; i < HANDLES; i++)
		OK(pthread_create(&threads[i], NULL, work, NULL));
	for (i = 0; i < HANDLES; i++) {
		OK(pthread_join(threads[i], &wrong));
		CHECK(wrong == NULL);
	}
	OK(pmemset_delete(&shared_set));
	OK(pmemset_source_delete(&shared_source));
	EQUAL(machine.entered, 0);
	CHECK((machine.entries > 0) == (port.lock != NULL));
}

void
pmemset_port_panic(const char *file, size_t length, unsigned line)
{
	printf("panic: %.*s:%u\n", (int)length, file, line);
	abort();
}

static const struct {
	const char *name;
	void (*run)(void);
} cases[] = {
#define CASE(name) { #name, name }
	/* First, because a program has one port for good. */
	CASE(tables_that_lack_something_are_refused),
	CASE(memory_of_a_set_is_enough_or_refused),
	CASE(sources_that_make_no_sense_are_refused),
	CASE(the_port_keeps_its_duties_and_a_flawed_one_does_not),
	CASE(parts_are_mapped_and_found_again),
	CASE(a_full_set_says_so),
	CASE(what_the_port_says_is_passed_on),
	CASE(all_twelve_events_are_told),
	CASE(copies_survive_damage),
	CASE(threads_share_a_set),
};

#define CASES ((int)(sizeof cases / sizeof cases[0]))

static int
run_all(void)
{
	int i, failed = 0;

	if (ftruncate(medium, 0) || ftruncate(medium, (off_t)LENGTH))
		return CASES;
	for (i = 0; i < CASES; i++) {
		broken = 0;
		cases[i].run();
		printf("%s %s\n", broken ? "FAILED" : "ok", cases[i].name);
		failed += broken != 0;
	}
	return failed;
}

int
main(void)
{
	int status, failed = 0;

	setvbuf(stdout, NULL, _IOLBF, 0);
	medium = memfd_create("medium", 0);
	if (medium < 0)
		return 2;
	/* Each process has one port: the one without a lock is the child's. */
	if (fork() == 0)
		_exit(run_all());
	if (wait(&status) < 0 || !WIFEXITED(status)) {
		printf("the first half has ended by a signal\n");
		return 2;
	}
	failed = WEXITSTATUS(status);
	port.lock = lock;
	port.unlock = unlock;
	failed += run_all();
	printf("%d passed, %d failed\n", 2 * CASES - failed, failed);
	return failed != 0;
}
