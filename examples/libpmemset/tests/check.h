/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * What the C programs share: each is a list of named cases, run one after
 * another in a directory given as the first argument; only those that further
 * arguments name, where there are any. The last line is `N passed, N failed`.
 * A case that ends with a descriptor more or less than it began with, or with
 * another handler of a fault, has failed.
 */
#ifndef CHECK_H
#define CHECK_H

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <libpmemset.h>

#define KIB ((size_t)1024)
#define MIB (KIB * KIB)
#define SEGMENT (64 * KIB)

static int broken; /* checks of the running case that did not hold */

#define CHECK(condition) do {\
	if (!(condition)) {\
		broken++;\
		printf("  %s:%d: not so: %s (last message: %s)\n",\
				__FILE__, __LINE__, #condition,\
				pmemset_errormsg());\
	}\
} while (0)

#define EQUAL(value, wanted) do {\
	long long value_ = (long long)(value), wanted_ = (long long)(wanted);\
	if (value_ != wanted_) {\
		broken++;\
		printf("  %s:%d: %s is %lld, not %lld (last message: %s)\n",\
				__FILE__, __LINE__, #value, value_, wanted_,\
				pmemset_errormsg());\
	}\
} while (0)

/* Fails with the number, and says something. */
#define FAILS(call, code) do {\
	EQUAL(call, code);\
	CHECK(pmemset_errormsg()[0] != '\0');\
} while (0)

#define OK(call) EQUAL(call, 0)

struct check_case {
	const char *name;
	void (*run)(void);
};

/* A fresh file of `length` bytes in the working directory; its name. */
static inline const char *
check_file(size_t length)
{
	static char name[32];
	static unsigned next;
	int fd;

	snprintf(name, sizeof name, "file%u", next++);
	fd = open(name, O_CREAT | O_TRUNC | O_RDWR, 0644);
	if (fd < 0 || ftruncate(fd, (off_t)length) != 0) {
		perror(name);
		exit(2);
	}
	close(fd);
	return name;
}

static inline struct pmemset_config *
check_config(void)
{
	struct pmemset_config *cfg = NULL;

	OK(pmemset_config_new(&cfg));
	OK(pmemset_config_set_required_store_granularity(cfg,
			PMEM2_GRANULARITY_PAGE));
	return cfg;
}

/* A set that accepts page granularity. */
static inline struct pmemset *
check_set(void)
{
	struct pmemset *set = NULL;
	struct pmemset_config *cfg = check_config();

	OK(pmemset_new(&set, cfg));
	OK(pmemset_config_delete(&cfg));
	CHECK(cfg == NULL);
	return set;
}

/* A source over a fresh file of `length` bytes. */
static inline struct pmemset_source *
check_source(size_t length)
{
	struct pmemset_source *src = NULL;

	OK(pmemset_source_from_file(&src, check_file(length)));
	CHECK(src != NULL);
	return src;
}

/* Maps `length` bytes from `offset` on. */
static inline int
check_map(struct pmemset *set, struct pmemset_source *src, size_t offset,
		size_t length, struct pmemset_part_descriptor *desc)
{
	struct pmemset_map_config *map_cfg = NULL;
	int result;

	OK(pmemset_map_config_new(&map_cfg));
	OK(pmemset_map_config_set_offset(map_cfg, offset));
	pmemset_map_config_set_length(map_cfg, length);
	result = pmemset_map(set, src, map_cfg, desc);
	OK(pmemset_map_config_delete(&map_cfg));
	CHECK(map_cfg == NULL);
	return result;
}

/* Parts in ascending order; returns how many, and their sum in bytes. */
static inline size_t
check_parts(struct pmemset *set, size_t *bytes)
{
	struct pmemset_part_map *part, *next;
	size_t count = 0;
	char *end = NULL;

	*bytes = 0;
	pmemset_first_part_map(set, &part);
	while (part != NULL) {
		struct pmemset_part_descriptor desc =
				pmemset_descriptor_part_map(part);

		CHECK((char *)desc.addr >= end);
		end = (char *)desc.addr + desc.size;
		*bytes += desc.size;
		count++;
		pmemset_next_part_map(set, part, &next);
		pmemset_part_map_drop(&part);
		CHECK(part == NULL);
		part = next;
	}
	return count;
}

static inline void
check_close(struct pmemset **set, struct pmemset_source **src)
{
	OK(pmemset_delete(set));
	CHECK(*set == NULL);
	OK(pmemset_source_delete(src));
	CHECK(*src == NULL);
}

/* The open descriptors and what they lead to, summed up. */
static inline unsigned long
check_descriptors(void)
{
	unsigned long sum = 0;
	DIR *dir = opendir("/proc/self/fd");
	struct dirent *entry;

	if (dir == NULL)
		return 0;
	while ((entry = readdir(dir)) != NULL) {
		char target[512];
		ssize_t length, i;
		int fd = atoi(entry->d_name);

		if (entry->d_name[0] == '.' || fd == dirfd(dir))
			continue;
		length = readlinkat(dirfd(dir), entry->d_name, target,
				sizeof target);
		for (i = 0; i < length; i++)
			sum = sum * 31 + (unsigned char)target[i];
		sum += (unsigned long)fd * 1000003;
	}
	closedir(dir);
	return sum;
}

/* The handlers of signals that a fault raises are the program's. */
static inline int
check_handlers(void)
{
	static const int signals[] = { SIGSEGV, SIGBUS, SIGABRT, SIGILL };
	struct sigaction action;
	size_t i;

	for (i = 0; i < sizeof signals / sizeof signals[0]; i++)
		if (sigaction(signals[i], NULL, &action) != 0 ||
				action.sa_handler != SIG_DFL)
			return 0;
	return 1;
}

static inline int
check_chosen(int argc, char **argv, const char *name)
{
	int i;

	for (i = 2; i < argc; i++)
		if (strcmp(argv[i], name) == 0)
			return 1;
	return argc == 2;
}

static inline int
check_main(int argc, char **argv, const struct check_case *cases, size_t count)
{
	size_t i, passed = 0, failed = 0;
	int handlers = check_handlers(); /* a sanitiser has its own */

	if (argc < 2 || chdir(argv[1]) != 0) {
		fprintf(stderr, "usage: %s DIRECTORY [CASE...]\n", argv[0]);
		return 2;
	}
	setvbuf(stdout, NULL, _IOLBF, 0);
	for (i = 0; i < count; i++) {
		unsigned long before = check_descriptors();

		if (!check_chosen(argc, argv, cases[i].name))
			continue;
		broken = 0;
		cases[i].run();
		if (check_descriptors() != before) {
			broken++;
			printf("  other descriptors are open than before\n");
		}
		if (handlers && !check_handlers()) {
			broken++;
			printf("  a handler is another than before\n");
		}
		printf("%s %s\n", broken ? "FAILED" : "ok", cases[i].name);
		if (broken)
			failed++;
		else
			passed++;
	}
	printf("%zu passed, %zu failed\n", passed, failed);
	return failed != 0;
}

#define CHECK_CASE(name) { #name, name }
#define CHECK_MAIN(cases) int main(int argc, char **argv)\
{\
	return check_main(argc, argv, cases, sizeof cases / sizeof cases[0]);\
}

#endif
