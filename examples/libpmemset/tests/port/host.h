/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * A port on the calls of Linux, for host.c alone: address space and memory come
 * from mmap(2), and every function of it can be made to fail.
 */
#ifndef HOST_H
#define HOST_H

#include <pmemset_port.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define PAGE ((size_t)4096)
#define UNIT (4 * PAGE)
#define LENGTH (64 * PAGE)

static int broken;

#define CHECK(condition) do {\
	if (!(condition)) {\
		broken++;\
		printf("  %d: not so: %s\n", __LINE__, #condition);\
	}\
} while (0)

#define EQUAL(value, wanted) do {\
	long long value_ = (long long)(value), wanted_ = (long long)(wanted);\
	if (value_ != wanted_) {\
		broken++;\
		printf("  %d: %s is %lld (%s), not %lld\n", __LINE__, #value,\
				value_, pmemset_port_error((int)value_), wanted_);\
	}\
} while (0)

#define OK(call) EQUAL(call, 0)

/* ---- the port ------------------------------------------------------------ */

static int medium = -1; /* a file in memory */

/* What the next call of each returns, if not 0. */
static struct {
	int reserve, reserve_at, release, map, unmap, sync, deep_flush;
	int clear, read, write, device;
} fails;

static struct {
	unsigned long long unsafe_shutdowns;
	const char *id;
	struct pmemset_port_range bad[2];
	int bad_count;
	int entered, entries;
} machine = { .id = "module" };

/* With room behind what is reserved, for parts that grow. */
static int
reserve(size_t length, size_t alignment, void **addr)
{
	static char *next = (char *)0x200000000000;
	uintptr_t start = __atomic_fetch_add((uintptr_t *)&next, 64 << 20,
			__ATOMIC_RELAXED);

	start = (start + alignment - 1) & ~(alignment - 1);
	if (fails.reserve || length > 32 << 20)
		return fails.reserve ? fails.reserve : -12;
	*addr = mmap((void *)start, length, PROT_NONE, MAP_PRIVATE |
			MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0);
	return *addr == MAP_FAILED ? -12 : 0;
}

static int
reserve_at(void *addr, size_t length)
{
	void *found = mmap(addr, length, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS |
			MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0);

	if (fails.reserve_at == 1) /* lies */
		return 0;
	if (found == MAP_FAILED)
		return -17;
	return fails.reserve_at;
}

static int
release(void *addr, size_t length)
{
	return fails.release ? fails.release : munmap(addr, length);
}

static int
map(const struct pmemset_port_source *src, void *addr, size_t length,
		uint64_t offset)
{
	int fd = *(int *)src->context;

	if (fails.map)
		return fails.map;
	return mmap(addr, length, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED,
			fd, (off_t)offset) == addr ? 0 : -5;
}

static int
unmap(const struct pmemset_port_source *src, void *addr, size_t length,
		uint64_t offset)
{
	(void)src, (void)offset;
	if (fails.unmap)
		return fails.unmap;
	return mmap(addr, length, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS |
			MAP_NORESERVE | MAP_FIXED, -1, 0) == addr ? 0 : -5;
}

static int
sync_(const struct pmemset_port_source *src, void *addr, size_t length,
		uint64_t offset)
{
	(void)src, (void)offset;
	return fails.sync ? fails.sync : msync(addr, length, MS_SYNC);
}

static int
deep_flush(const struct pmemset_port_source *src, void *addr, size_t length,
		uint64_t offset)
{
	(void)src, (void)addr, (void)length, (void)offset;
	return fails.deep_flush;
}

static pthread_mutex_t mutex = PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP;

static uintptr_t
lock(void)
{
	pthread_mutex_lock(&mutex);
	machine.entries++;
	return (uintptr_t)++machine.entered;
}

static void
unlock(uintptr_t state)
{
	if (state != (uintptr_t)machine.entered--)
		abort();
	pthread_mutex_unlock(&mutex);
}

static int
device(const struct pmemset_port_source *src, char *id, uint64_t *count)
{
	(void)src;
	strcpy(id, machine.id);
	*count = machine.unsafe_shutdowns;
	return fails.device;
}

static int
bad_blocks(const struct pmemset_port_source *src,
		const struct pmemset_port_range *range,
		struct pmemset_port_range *blocks, size_t room)
{
	int i, count = 0;

	(void)src;
	for (i = 0; i < machine.bad_count; i++) {
		const struct pmemset_port_range *bad = &machine.bad[i];

		if (bad->offset >= range->offset + range->length ||
				bad->offset + bad->length <= range->offset)
			continue;
		if ((size_t)count < room)
			blocks[count] = *bad;
		count++;
	}
	return count;
}

static int
clear(const struct pmemset_port_source *src,
		const struct pmemset_port_range *range)
{
	(void)src;
	if (fails.clear)
		return fails.clear;
	if (machine.bad_count && machine.bad[0].offset == range->offset) {
		machine.bad[0] = machine.bad[1];
		machine.bad_count--;
	}
	return 0;
}

static int
read_(const struct pmemset_port_source *src, void *buf, size_t length,
		uint64_t offset)
{
	if (fails.read)
		return fails.read;
	return pread(*(int *)src->context, buf, length, (off_t)offset) ==
			(ssize_t)length ? 0 : -5;
}

static int
write_(const struct pmemset_port_source *src, const void *buf, size_t length,
		uint64_t offset)
{
	if (fails.write)
		return fails.write;
	return pwrite(*(int *)src->context, buf, length, (off_t)offset) ==
			(ssize_t)length ? 0 : -5;
}

static struct pmemset_port port = {
	.page = PAGE,
	.processor = PMEMSET_PORT_CACHES,
	.reserve = reserve,
	.reserve_at = reserve_at,
	.release = release,
	.map = map,
	.unmap = unmap,
	.sync = sync_,
	.deep_flush = deep_flush,
	.device = device,
	.bad_blocks = bad_blocks,
	.clear = clear,
	.read = read_,
	.write = write_,
};

/* ---- what the cases share ------------------------------------------------- */

#define SEGMENTS 8
#define HANDLES 3

static uint64_t memory[PMEMSET_PORT_SET_BYTES(SEGMENTS, HANDLES) / 8 + 1];

static struct pmemset *
new_set(pmemset_event_callback *callback, void *arg)
{
	struct pmemset_config cfg = { { 0 } };
	struct pmemset *set = NULL;

	/* Whatever is in the memory does not matter. */
	memset(memory, 0xa5, sizeof memory);
	OK(pmemset_config_set_required_store_granularity(&cfg,
			PMEM2_GRANULARITY_PAGE));
	pmemset_config_set_event_callback(&cfg, callback, arg);
	OK(pmemset_port_config_set_memory(&cfg, memory,
			pmemset_port_set_bytes(SEGMENTS, HANDLES), SEGMENTS));
	OK(pmemset_new(&set, &cfg));
	return set;
}

static uint64_t record[PMEMSET_PORT_RECORD_WORDS];

static struct pmemset_source *
new_source(struct pmemset_port_source *description, enum pmem2_granularity g)
{
	struct pmemset_source *src = NULL;

	memset(description, 0xa5, sizeof *description);
	*description = (struct pmemset_port_source){
		.context = &medium,
		.length = LENGTH,
		.alignment = UNIT,
		.granularity = (unsigned)g,
		.record = record,
	};
	OK(pmemset_source_from_port(&src, description));
	return src;
}

static int
map_part(struct pmemset *set, struct pmemset_source *src, size_t offset,
		size_t length, struct pmemset_part_descriptor *part)
{
	struct pmemset_map_config map_cfg = { 0, 0 };

	OK(pmemset_map_config_set_offset(&map_cfg, offset));
	pmemset_map_config_set_length(&map_cfg, length);
	return pmemset_map(set, src, &map_cfg, part);
}

#endif
