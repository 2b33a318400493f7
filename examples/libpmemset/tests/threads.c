/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* 32 threads map, look up and remove, 1,000 times each, in one set, and end each other's handles. */
#include <pthread.h>

#include "check.h"

#define THREADS 32
#define ROUNDS 1000

static struct pmemset *set;
static struct pmemset_source *src;
static struct pmemset_map_config *map_cfg;

/* The first call that failed in a thread, or NULL. */
static void *
work(void *unused)
{
	int i;

	(void)unused;
	for (i = 0; i < ROUNDS; i++) {
		struct pmemset_part_descriptor desc;
		struct pmemset_part_map *part;

		if (pmemset_map(set, src, map_cfg, &desc) != 0)
			return "map";
		if (pmemset_part_map_by_address(set, &part, desc.addr) != 0)
			return "by_address";
		if (pmemset_remove_part_map(set, &part) != 0)
			return "remove";
		if (part != NULL)
			return "handle";
	}
	return NULL;
}

/* Has all threads do the work, each with its own part if there are any. */
static void
all_do(void *(*work_of_one)(void *),
	const struct pmemset_part_descriptor *desc)
{
	pthread_t thread[THREADS];
	int i;

	for (i = 0; i < THREADS; i++)
		OK(pthread_create(&thread[i], NULL, work_of_one,
				desc != NULL ? desc[i].addr : NULL));
	for (i = 0; i < THREADS; i++) {
		void *failed = NULL;

		OK(pthread_join(thread[i], &failed));
		if (failed != NULL)
			printf("  failed: %s\n", (char *)failed);
		CHECK(failed == NULL);
	}
}

static void
map_look_up_remove(void)
{
	size_t bytes;

	set = check_set();
	src = check_source(SEGMENT);
	OK(pmemset_map_config_new(&map_cfg));
	pmemset_map_config_set_length(map_cfg, SEGMENT);
	all_do(work, NULL);
	EQUAL(check_parts(set, &bytes), 0);
	OK(pmemset_map_config_delete(&map_cfg));
	check_close(&set, &src);
}

#define KEPT 4
#define LATER 2

/* A handle, and where its part lies. */
struct held {
	struct pmemset_part_map *part;
	void *addr;
};

/* Handles that wait for a thread, which is seldom the one that made them. */
static struct held waiting[THREADS];
static pthread_mutex_t waiting_lock = PTHREAD_MUTEX_INITIALIZER;

/* Whether it is one to the part that it was made for; drops it. */
static int
drop_held(struct held *held)
{
	int good = pmemset_descriptor_part_map(held->part).addr == held->addr;

	pmemset_part_map_drop(&held->part);
	return good && held->part == NULL;
}

/* Keeps several handles, and has others drop half of them. */
static void *
keep_and_pass_on(void *addr)
{
	struct held held[KEPT];
	int i, j;

	for (i = 0; i < ROUNDS; i++) {
		for (j = 0; j < KEPT; j++) {
			held[j].addr = addr;
			if (pmemset_part_map_by_address(set, &held[j].part, addr) != 0)
				return "by_address";
			if (j > 0 && held[j].part == held[j - 1].part)
				return "two handles are one";
		}
		for (j = 0; j < KEPT; j += 2) {
			struct held *place = &waiting[(i + 7 * j) % THREADS];
			struct held other;

			pthread_mutex_lock(&waiting_lock);
			other = *place;
			*place = held[j];
			pthread_mutex_unlock(&waiting_lock);
			if (other.part != NULL && !drop_held(&other))
				return "another's handle";
			if (!drop_held(&held[j + 1]))
				return "handle";
		}
	}
	return NULL;
}

static void
handles_of_one_thread_end_in_another(void)
{
	struct pmemset_part_descriptor desc[THREADS];
	size_t bytes;
	int generation, i;

	set = check_set();
	src = check_source(SEGMENT);
	for (i = 0; i < THREADS; i++)
		OK(check_map(set, src, 0, SEGMENT, &desc[i]));
	/* Later threads come where others have been. */
	for (generation = 0; generation < LATER; generation++)
		all_do(keep_and_pass_on, desc);
	for (i = 0; i < THREADS; i++) {
		CHECK(waiting[i].part == NULL || drop_held(&waiting[i]));
		waiting[i].part = NULL;
	}
	/* None is counted twice, or not at all. */
	for (i = 0; i < THREADS; i++)
		OK(pmemset_remove_range(set, desc[i].addr, desc[i].size));
	EQUAL(check_parts(set, &bytes), 0);
	check_close(&set, &src);
}

static void *
fail_here(void *seen)
{
	struct pmemset_source *none = NULL;

	/* A thread begins without a message, and keeps its own. */
	*(int *)seen = pmemset_errormsg()[0] == '\0';
	pmemset_source_from_file(&none, NULL);
	*(int *)seen += pmemset_errormsg()[0] != '\0';
	return NULL;
}

static void
message_belongs_to_the_thread(void)
{
	struct pmemset_source *none = NULL;
	char before[256];
	pthread_t thread;
	int seen = 0;

	pmemset_source_from_file(&none, "missing");
	snprintf(before, sizeof before, "%s", pmemset_errormsg());
	OK(pthread_create(&thread, NULL, fail_here, &seen));
	OK(pthread_join(thread, NULL));
	EQUAL(seen, 2);
	CHECK(strncmp(before, pmemset_errormsg(), sizeof before - 1) == 0);
}

static void *
say_nothing(void *unused)
{
	pmemset_perror("nothing %s", "yet");
	return unused;
}

static void
perror_without_a_message(void)
{
	pthread_t thread;
	char text[64] = "";
	int fd = open("nothing", O_CREAT | O_TRUNC | O_RDWR, 0600);
	int kept = dup(2);

	fflush(stderr);
	dup2(fd, 2);
	OK(pthread_create(&thread, NULL, say_nothing, NULL));
	OK(pthread_join(thread, NULL));
	fflush(stderr);
	dup2(kept, 2);
	close(kept);
	CHECK(pread(fd, text, sizeof text - 1, 0) > 0);
	close(fd);
	CHECK(strcmp(text, "nothing yet: \n") == 0);
}

static const struct check_case cases[] = {
	CHECK_CASE(map_look_up_remove),
	CHECK_CASE(handles_of_one_thread_end_in_another),
	CHECK_CASE(message_belongs_to_the_thread),
	CHECK_CASE(perror_without_a_message),
};
CHECK_MAIN(cases)
