/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * libpmemset's port to Unikraft: a reservation is a reserved area, a mapping
 * replaces some of it by a direct-mapped one, and a reserved one replaces that
 * again. What ukvmem would assert on, or return from with its lock held, is
 * refused before it is asked.
 */
#include <errno.h>

#include <uk/arch/paging.h>
#include <uk/assert.h>
#include <uk/vma_types.h>

#include <pmemset_unikraft.h>

#define LENGTH_MAX (1UL << 46)

static int give_back(void *addr, size_t length)
{
	return uk_vma_unmap(uk_vas_get_active(), (__vaddr_t)addr, length,
			    UK_VMA_FLAG_STRICT_VMA_CHECK);
}

/* The area found is only on a page: what it has too much goes back. */
static int reserve(size_t length, size_t alignment, void **addr)
{
	size_t more = alignment > PAGE_SIZE ? alignment : 0;
	__vaddr_t found = __VADDR_ANY, start, end;
	int rc;

	if (length > LENGTH_MAX || more > LENGTH_MAX)
		return -ENOMEM;
	rc = uk_vma_reserve(uk_vas_get_active(), &found, length + more);
	if (rc || !more) {
		*addr = (void *)found;
		return rc;
	}
	start = (found + alignment - 1) & ~(alignment - 1);
	end = found + length + more;
	if (start > found)
		rc = give_back((void *)found, start - found);
	if (!rc && start + length < end)
		rc = give_back((void *)(start + length), end - start - length);
	if (rc)
		uk_vma_unmap(uk_vas_get_active(), found, length + more, 0);
	*addr = (void *)start;
	return rc;
}

static int reserve_at(void *addr, size_t length)
{
	__vaddr_t at = (__vaddr_t)addr;

	if (length > LENGTH_MAX || !ukarch_vaddr_range_isvalid(at, length))
		return -EEXIST;
	return uk_vma_reserve(uk_vas_get_active(), &at, length);
}

/*
 * Where the pages cannot be had, the area is gone with what it has replaced, and
 * another thread may have taken the place. What is still there may be ours: that
 * cannot be told.
 */
static int map(const struct pmemset_port_source *src, void *addr, size_t length,
	       uint64_t offset)
{
	__vaddr_t at = (__vaddr_t)addr;
	int rc = uk_vma_map_dma(uk_vas_get_active(), &at, length,
				PAGE_ATTR_PROT_RW,
				UK_VMA_MAP_REPLACE | UK_VMA_MAP_POPULATE,
				"pmemset",
				(__paddr_t)(uintptr_t)src->context + offset);

	return rc && reserve_at(addr, length) ? PMEMSET_PORT_WINDOW_LOST : rc;
}

static int unmap(const struct pmemset_port_source *src, void *addr,
		 size_t length, uint64_t offset)
{
	__vaddr_t at = (__vaddr_t)addr;

	(void)src, (void)offset;
	return uk_vma_reserve_ex(uk_vas_get_active(), &at, length, 0,
				 UK_VMA_MAP_REPLACE, NULL);
}

static int no_pages(const struct pmemset_port_source *src, void *addr,
		    size_t length, uint64_t offset)
{
	(void)src, (void)addr, (void)length, (void)offset;
	return -EOPNOTSUPP;
}

static int no_deeper(const struct pmemset_port_source *src, void *addr,
		     size_t length, uint64_t offset)
{
	(void)src, (void)addr, (void)length, (void)offset;
	return PMEMSET_PORT_NOT_NEEDED;
}

int pmemset_unikraft_init(void)
{
	static const struct pmemset_port port = {
		.page = PAGE_SIZE, .processor = PMEMSET_PORT_CACHES,
		.reserve = reserve, .reserve_at = reserve_at,
		.release = give_back, .map = map, .unmap = unmap,
		.sync = no_pages, .deep_flush = no_deeper,
	};

	return pmemset_port_init(&port);
}

void pmemset_unikraft_memory(struct pmemset_port_source *src, __paddr_t start,
			     __sz length)
{
	*src = (struct pmemset_port_source){
		.context = (void *)(uintptr_t)start, .length = length,
		.granularity = PMEM2_GRANULARITY_CACHE_LINE,
	};
}

void pmemset_port_panic(const char *file, size_t length, unsigned line)
{
	UK_CRASH("libpmemset: %.*s:%u\n", (int)length, file, line);
}
