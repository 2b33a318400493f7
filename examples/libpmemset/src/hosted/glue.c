/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * What Rust cannot say on a stable compiler: variables of a thread, weak
 * references, and a function with a variable number of arguments.
 */
#include <stdarg.h>
#include <stdio.h>

#include <libpmemset.h>

#define HIDDEN __attribute__((visibility("hidden")))
#define WEAK __attribute__((weak))

/* What is kept for each thread: see src/thread.rs. */
struct pmemset_thread_ {
	char message[8192];
	unsigned moves;  /* 1 in pmemset_memmove, 0 in pmemset_memcpy */
	int value;       /* as it was given to pmemset_memset */
};

static __thread struct pmemset_thread_ thread;

HIDDEN struct pmemset_thread_ *
pmemset_thread_(void)
{
	return &thread;
}

const char *
pmemset_errormsg(void)
{
	return thread.message;
}

void
pmemset_perror(const char *format, ...)
{
	va_list arguments;

	flockfile(stderr);
	va_start(arguments, format);
	vfprintf(stderr, format, arguments);
	va_end(arguments);
	fprintf(stderr, ": %s\n", thread.message);
	funlockfile(stderr);
}

/* Whoever has an object of libpmem2 has linked it, so it need not be named. */
WEAK int pmem2_source_get_fd(const struct pmem2_source *src, int *fd);
WEAK void *pmem2_vm_reservation_get_address(struct pmem2_vm_reservation *rsv);
WEAK size_t pmem2_vm_reservation_get_size(struct pmem2_vm_reservation *rsv);

struct pmem2_map;
WEAK int pmem2_vm_reservation_map_find(struct pmem2_vm_reservation *rsv,
		size_t reserv_offset, size_t len, struct pmem2_map **map_ptr);
WEAK void *pmem2_map_get_address(struct pmem2_map *map);
WEAK size_t pmem2_map_get_size(struct pmem2_map *map);

/* PMEMSET_E_NOSUPP where there is no libpmem2. */
HIDDEN int
pmemset_pmem2_fd_(const struct pmem2_source *src, int *fd)
{
	return pmem2_source_get_fd == NULL ? PMEMSET_E_NOSUPP
			: pmem2_source_get_fd(src, fd);
}

HIDDEN void *
pmemset_pmem2_window_(struct pmem2_vm_reservation *rsv, size_t *size)
{
	if (pmem2_vm_reservation_get_address == NULL ||
			pmem2_vm_reservation_get_size == NULL)
		return NULL;
	*size = pmem2_vm_reservation_get_size(rsv);
	return pmem2_vm_reservation_get_address(rsv);
}

/* The lowest map of the caller's own that has a byte of these, or NULL. */
HIDDEN void *
pmemset_pmem2_map_(struct pmem2_vm_reservation *rsv, void *addr, size_t size,
		size_t *found)
{
	struct pmem2_map *map = NULL;
	size_t offset;

	if (pmem2_vm_reservation_map_find == NULL ||
			pmem2_map_get_address == NULL || pmem2_map_get_size == NULL)
		return NULL;
	offset = (size_t)((char *)addr -
			(char *)pmem2_vm_reservation_get_address(rsv));
	if (pmem2_vm_reservation_map_find(rsv, offset, size, &map) != 0)
		return NULL;
	*found = pmem2_map_get_size(map);
	return pmem2_map_get_address(map);
}

/*
 * Named by the unwinding tables of Rust's core library; a panic ends the
 * program before anything is unwound.
 */
HIDDEN void
rust_eh_personality(void)
{
}
