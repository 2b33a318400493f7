/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The library for kernels, as a program of this machine: address space and
 * memory come from mmap(2), and every function of the port can be made to fail.
 * All cases run twice, with the library's own lock and with the port's.
 */
#define _GNU_SOURCE
#include <pmemset_port.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
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

/* ---- cases ------------------------------------------------------------------ */

static void
tables_that_lack_something_are_refused(void)
{
	struct pmemset_port bad;
	struct pmemset_port_source description = { .length = LENGTH };
	struct pmemset_config cfg = { { 0 } };
	struct pmemset_source *src = (void *)&description;
	struct pmemset *set;

	EQUAL(pmemset_port_contract(NULL, NULL, NULL), -22);
	EQUAL(pmemset_source_from_port(&src, &description), -22);
	CHECK(src == NULL);
	OK(pmemset_config_set_required_store_granularity(&cfg,
			PMEM2_GRANULARITY_PAGE));
	EQUAL(pmemset_new(&set, &cfg), -22);

	EQUAL(pmemset_port_init(NULL), -22);
#define WITHOUT(field, value) do {\
	bad = port;\
	bad.field = value;\
	EQUAL(pmemset_port_init(&bad), -22);\
} while (0)
	WITHOUT(page, 0);
	WITHOUT(page, 3 * PAGE);
	WITHOUT(processor, 4);
	WITHOUT(reserve, NULL);
	WITHOUT(reserve_at, NULL);
	WITHOUT(release, NULL);
	WITHOUT(map, NULL);
	WITHOUT(unmap, NULL);
	WITHOUT(sync, NULL);
	WITHOUT(deep_flush, NULL);
	if (port.lock) {
		WITHOUT(lock, NULL);
		WITHOUT(unlock, NULL);
	}
	OK(pmemset_port_init(&port));
	OK(pmemset_port_init(&port));
	bad = port;
	EQUAL(pmemset_port_init(&bad), -16);
}

static void
memory_of_a_set_is_enough_or_refused(void)
{
	struct pmemset_config cfg = { { 0 } };
	struct pmemset *set = NULL;
	size_t segments, handles;
	size_t needed = pmemset_port_set_bytes(SEGMENTS, 0);

	EQUAL(pmemset_port_set_bytes(0, 1), 0);
	EQUAL(pmemset_port_set_bytes(65537, 1), 0);
	EQUAL(pmemset_port_set_bytes(1, SIZE_MAX), 0);
	EQUAL(pmemset_port_set_bytes(5, 3), pmemset_port_set_bytes(8, 3));
	for (segments = 1; segments <= 65536; segments = segments * 5 / 4 + 1)
		for (handles = 0; handles < 100; handles += 33)
			CHECK(pmemset_port_set_bytes(segments, handles) <=
				PMEMSET_PORT_SET_BYTES(segments, handles));
	CHECK(pmemset_port_set_bytes(65536, 0) != 0);

	EQUAL(pmemset_port_config_set_memory(NULL, memory, needed, SEGMENTS), -22);
	EQUAL(pmemset_port_config_set_memory(&cfg, NULL, needed, SEGMENTS), -22);
	EQUAL(pmemset_port_config_set_memory(&cfg, (char *)memory + 4, needed,
			SEGMENTS), -22);
	EQUAL(pmemset_port_config_set_memory(&cfg, memory, needed - 1, SEGMENTS),
			-22);
	EQUAL(pmemset_port_config_set_memory(&cfg, memory, needed, 0), -22);

	EQUAL(pmemset_new(&set, &cfg), PMEMSET_E_GRANULARITY_NOT_SET);
	EQUAL(pmemset_config_set_required_store_granularity(&cfg,
			(enum pmem2_granularity)3),
			PMEMSET_E_GRANULARITY_NOT_SUPPORTED);
	OK(pmemset_config_set_required_store_granularity(&cfg,
			PMEM2_GRANULARITY_CACHE_LINE));
	EQUAL(pmemset_config_set_acceptable_states(&cfg, 32),
			PMEMSET_E_INVALID_PART_STATES);
	EQUAL(pmemset_new(&set, &cfg), -22);
	CHECK(set == NULL);
	OK(pmemset_port_config_set_memory(&cfg, memory, needed, SEGMENTS));
	EQUAL(pmemset_new(NULL, &cfg), -22);
	EQUAL(pmemset_new(&set, NULL), -22);
	OK(pmemset_new(&set, &cfg));
	CHECK((void *)set == (void *)memory);
	OK(pmemset_delete(&set));
	CHECK(set == NULL);
	OK(pmemset_delete(&set));
	OK(pmemset_delete(NULL));
}

static void
sources_that_make_no_sense_are_refused(void)
{
	struct pmemset_port_source good = { .length = LENGTH }, bad;
	struct pmemset_source *src;
	size_t alignment = 0;

	EQUAL(pmemset_source_from_port(NULL, &good), -22);
	EQUAL(pmemset_source_from_port(&src, NULL), -22);
#define AS(field, value) do {\
	bad = good;\
	bad.field = value;\
	EQUAL(pmemset_source_from_port(&src, &bad), -22);\
	CHECK(src == NULL);\
} while (0)
	AS(length, 0);
	AS(alignment, 3 * PAGE);
	AS(granularity, 3);
	AS(granule, 3);
	OK(pmemset_source_from_port(&src, &good));
	OK(pmemset_source_alignment(src, &alignment));
	EQUAL(alignment, PAGE);
	EQUAL(pmemset_source_alignment(NULL, &alignment),
			PMEMSET_E_INVALID_ALIGNMENT_VALUE);
	OK(pmemset_source_delete(&src));
	CHECK(src == NULL);
	OK(pmemset_source_delete(&src));
	OK(pmemset_source_delete(NULL));
}

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
	EQUAL(duties.kept, 14);
	EQUAL(duties.skipped, 0);
	for (i = 0; i < 3; i++) {
		memset(&duties, 0, sizeof duties);
		src = new_source(&description, all[i]);
		OK(pmemset_port_contract(src, report, &duties));
		EQUAL(duties.kept + duties.skipped, 29);
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

static struct {
	int count[12];
	struct pmemset *set;
	struct pmemset_event_context last[12];
	struct pmemset_sds sds;
	struct pmemset_badblock block;
	int clears;
} told;

static int
listen(struct pmemset *set, struct pmemset_event_context *ctx, void *arg)
{
	CHECK(arg == &told);
	CHECK(set == (struct pmemset *)memory);
	told.count[ctx->type]++;
	told.last[ctx->type] = *ctx;
	if (ctx->type == PMEMSET_EVENT_SDS_UPDATE)
		told.sds = *ctx->data.sds_update.sds;
	if (ctx->type == PMEMSET_EVENT_BADBLOCK) {
		told.block = *ctx->data.badblock.bb;
		if (told.clears)
			EQUAL(pmemset_badblock_clear(ctx->data.badblock.bb,
					ctx->data.badblock.src), 0);
	}
	return 0;
}

static void
all_twelve_events_are_told(void)
{
	struct pmemset_port_source description;
	struct pmemset_source *src;
	struct pmemset *set;
	struct pmemset_part_descriptor part;
	struct pmemset_sds sds = PMEMSET_SDS_INITIALIZE();
	enum pmemset_part_state state;
	char bytes[100], *at;

	memset(&told, 0, sizeof told);
	src = new_source(&description, PMEM2_GRANULARITY_PAGE);
	set = new_set(listen, &told);
	machine.unsafe_shutdowns = 7;
	OK(pmemset_source_set_sds(src, &sds, &state));
	EQUAL(pmemset_source_set_sds(src, &sds, &state),
			PMEMSET_E_SDS_ALREADY_SET);
	pmemset_source_set_badblock_detection(src, true);
	machine.bad[0] = (struct pmemset_port_range){ 512, 512 };
	machine.bad[1] = (struct pmemset_port_range){ 2 * UNIT, 4096 };
	machine.bad_count = 2;
	EQUAL(map_part(set, src, 0, UNIT, &part), PMEMSET_E_IO_FAIL);
	EQUAL(told.block.offset, 512);
	EQUAL(told.block.length, 512);
	told.clears = 1;
	fails.clear = 0;
	OK(map_part(set, src, 0, UNIT, &part));
	EQUAL(machine.bad_count, 1);
	CHECK(told.last[PMEMSET_EVENT_BADBLOCK].data.badblock.src == src);
	EQUAL(told.count[PMEMSET_EVENT_BADBLOCKS_CLEARED], 1);
	CHECK(told.last[PMEMSET_EVENT_BADBLOCKS_CLEARED].data
			.badblocks_cleared.src == src);
	EQUAL(state, PMEMSET_PART_STATE_OK);
	EQUAL(told.count[PMEMSET_EVENT_SDS_UPDATE], 1);
	CHECK(told.last[PMEMSET_EVENT_SDS_UPDATE].data.sds_update.src == src);
	EQUAL(told.sds.refcount, 1);
	EQUAL(told.sds.usc, 7);
	CHECK(!strcmp(told.sds.id, "module"));
	EQUAL(told.count[PMEMSET_EVENT_PART_ADD], 1);
	CHECK(told.last[PMEMSET_EVENT_PART_ADD].data.part_add.addr == part.addr);
	EQUAL(told.last[PMEMSET_EVENT_PART_ADD].data.part_add.len, UNIT);
	CHECK(told.last[PMEMSET_EVENT_PART_ADD].data.part_add.src == NULL);

	at = part.addr;
	memset(bytes, 1, sizeof bytes);
	pmemset_memcpy(set, at, bytes, 100, PMEMSET_F_MEM_WC);
	EQUAL(told.count[PMEMSET_EVENT_COPY], 1);
	CHECK(told.last[PMEMSET_EVENT_COPY].data.copy.src == bytes);
	CHECK(told.last[PMEMSET_EVENT_COPY].data.copy.dest == at);
	EQUAL(told.last[PMEMSET_EVENT_COPY].data.copy.len, 100);
	EQUAL(told.last[PMEMSET_EVENT_COPY].data.copy.flags, PMEMSET_F_MEM_WC);
	EQUAL(told.count[PMEMSET_EVENT_DRAIN], 1);
	pmemset_memmove(set, at + 8, at, 100, 0);
	EQUAL(told.count[PMEMSET_EVENT_MOVE], 1);
	CHECK(told.last[PMEMSET_EVENT_MOVE].data.move.src == at);
	CHECK(told.last[PMEMSET_EVENT_MOVE].data.move.dest == at + 8);
	EQUAL(told.last[PMEMSET_EVENT_MOVE].data.move.len, 100);
	pmemset_memset(set, at, 0x1ab, 10, PMEMSET_F_MEM_NODRAIN);
	EQUAL(told.count[PMEMSET_EVENT_SET], 1);
	CHECK(told.last[PMEMSET_EVENT_SET].data.set.dest == at);
	EQUAL(told.last[PMEMSET_EVENT_SET].data.set.value, 0xab);
	EQUAL(told.last[PMEMSET_EVENT_SET].data.set.len, 10);
	EQUAL(told.last[PMEMSET_EVENT_SET].data.set.flags, PMEMSET_F_MEM_NODRAIN);
	EQUAL(told.count[PMEMSET_EVENT_DRAIN], 2);
	EQUAL(told.count[PMEMSET_EVENT_FLUSH], 0);
	OK(pmemset_persist(set, at + 100, 33));
	CHECK(told.last[PMEMSET_EVENT_FLUSH].data.flush.addr == at + 100);
	EQUAL(told.last[PMEMSET_EVENT_FLUSH].data.flush.len, 33);
	CHECK(told.last[PMEMSET_EVENT_PERSIST].data.persist.addr == at + 100);
	EQUAL(told.last[PMEMSET_EVENT_PERSIST].data.persist.len, 33);
	EQUAL(told.count[PMEMSET_EVENT_DRAIN], 3);
	OK(pmemset_remove_range(set, at + 5, 6));
	EQUAL(told.count[PMEMSET_EVENT_REMOVE_RANGE], 1);
	CHECK(told.last[PMEMSET_EVENT_REMOVE_RANGE].data.remove_range.addr ==
			at + 5);
	EQUAL(told.last[PMEMSET_EVENT_REMOVE_RANGE].data.remove_range.len, 6);
	EQUAL(told.count[PMEMSET_EVENT_PART_REMOVE], 1);
	CHECK(told.last[PMEMSET_EVENT_PART_REMOVE].data.part_remove.addr == at);
	EQUAL(told.last[PMEMSET_EVENT_PART_REMOVE].data.part_remove.len, UNIT);
	EQUAL(told.count[PMEMSET_EVENT_SDS_UPDATE], 2);
	EQUAL(told.sds.refcount, 0);
	OK(pmemset_delete(&set));
	OK(pmemset_source_delete(&src));

	/* The power went while it was mapped, and took stores along. */
	told.sds.refcount = 1;
	machine.unsafe_shutdowns = 8;
	machine.bad_count = 0;
	src = new_source(&description, PMEM2_GRANULARITY_PAGE);
	set = new_set(NULL, NULL);
	OK(pmemset_source_set_sds(src, &told.sds, &state));
	EQUAL(map_part(set, src, 0, UNIT, &part),
			PMEMSET_E_UNDESIRABLE_PART_STATE);
	EQUAL(state, PMEMSET_PART_STATE_CORRUPTED);
	fails.device = -95;
	EQUAL(map_part(set, src, 0, UNIT, &part), PMEMSET_E_SDS_NOSUPP);
	fails.device = 0;
	OK(pmemset_delete(&set));
	description.record = NULL;
	OK(pmemset_source_from_port(&src, &description));
	EQUAL(pmemset_source_set_sds(src, &sds, NULL), -12);
}

static void
copies_survive_damage(void)
{
	struct pmemset_port_source description;
	struct pmemset_source *src = new_source(&description,
			PMEM2_GRANULARITY_PAGE);
	char bytes[16] = "past the damage";

	OK(pmemset_source_pwrite_mcsafe(src, bytes, sizeof bytes, 5000));
	memset(bytes, 0, sizeof bytes);
	OK(pmemset_source_pread_mcsafe(src, bytes, sizeof bytes, 5000));
	CHECK(!strcmp(bytes, "past the damage"));
	EQUAL(pmemset_source_pread_mcsafe(src, bytes, 2, LENGTH - 1),
			PMEMSET_E_LENGTH_OUT_OF_RANGE);
	EQUAL(pmemset_source_pwrite_mcsafe(src, bytes, 2, LENGTH - 1),
			PMEMSET_E_LENGTH_OUT_OF_RANGE);
	fails.read = fails.write = -5;
	EQUAL(pmemset_source_pread_mcsafe(src, bytes, 2, 0), PMEMSET_E_IO_FAIL);
	EQUAL(pmemset_source_pwrite_mcsafe(src, bytes, 2, 0), PMEMSET_E_IO_FAIL);
	fails.read = fails.write = 0;
	OK(pmemset_source_delete(&src));
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
