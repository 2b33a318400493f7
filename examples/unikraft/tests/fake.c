/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Areas of virtual memory as ukvmem keeps them: first fit, -EEXIST, replacement,
 * assertions on ranges that cannot be, and a lock that stays taken where a range
 * is no range of addresses.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "fake.h"

#define BASE  0x300000000000UL
#define PAGES 0x4000UL /* 64 MiB */
#define END   (BASE + PAGES * PAGE_SIZE)

enum area { NONE, RESERVED, MAPPED };

struct fake fake = { .memory = -1, .no_areas_after = -1 };

static unsigned char areas[PAGES];
static int locked;

static unsigned char *area(__vaddr_t at)
{
	UK_ASSERT(at >= BASE && at < END);
	return &areas[(at - BASE) / PAGE_SIZE];
}

static int all_are(__vaddr_t at, __sz len, enum area kind)
{
	for (; len; at += PAGE_SIZE, len -= PAGE_SIZE)
		if (*area(at) != kind)
			return 0;
	return 1;
}

static int any_is(__vaddr_t at, __sz len)
{
	return !all_are(at, len, NONE);
}

/* What is at these addresses from now on. */
static void set(__vaddr_t at, __sz len, enum area kind, __paddr_t paddr)
{
	int prot = kind == MAPPED ? PROT_READ | PROT_WRITE : PROT_NONE;
	int flags = kind == MAPPED ? MAP_SHARED : MAP_PRIVATE | MAP_ANONYMOUS;
	int fd = kind == MAPPED ? fake.memory : -1;
	void *addr = (void *)at;

	memset(area(at), kind, len / PAGE_SIZE);
	UK_ASSERT(mmap(addr, len, prot, flags | MAP_FIXED | MAP_NORESERVE, fd,
			(long)paddr) == addr);
}

int ukarch_vaddr_range_isvalid(__vaddr_t start, __sz len)
{
	return start >= BASE && len <= END - BASE && start <= END - len;
}

struct uk_vas *uk_vas_get_active(void)
{
	return (struct uk_vas *)&fake;
}

static int make(struct uk_vas *vas, __vaddr_t *vaddr, __sz len,
		unsigned long flags, enum area kind, __paddr_t paddr)
{
	__vaddr_t at = *vaddr;

	UK_ASSERT(vas == uk_vas_get_active());
	UK_ASSERT(len > 0);
	if (len % PAGE_SIZE)
		return -EINVAL;
	UK_ASSERT(!locked);
	if (at == __VADDR_ANY) {
		for (at = BASE; len <= END - at && any_is(at, len);)
			at += PAGE_SIZE;
		UK_ASSERT(at <= __VADDR_MAX - len);
		if (!ukarch_vaddr_range_isvalid(at, len)) {
			/* There are 2^47 addresses, and more areas only here. */
			locked = len > 1UL << 46;
			return -ENOMEM;
		}
	} else {
		if (at % PAGE_SIZE)
			return -EINVAL;
		UK_ASSERT(at <= __VADDR_MAX - len);
		if (!ukarch_vaddr_range_isvalid(at, len)) {
			locked = 1;
			return -ENOMEM;
		}
	}
	if (any_is(at, len) && !(flags & UK_VMA_MAP_REPLACE))
		return -EEXIST;
	if (fake.no_areas_after == 0)
		return -ENOMEM;
	fake.no_areas_after -= fake.no_areas_after > 0;
	if (fake.populate_fails && (flags & UK_VMA_MAP_POPULATE)) {
		fake.populate_fails = 0;
		set(at, len, NONE, 0);
		if (fake.steals)
			*area(at) = RESERVED;
		return -ENOMEM;
	}
	set(at, len, kind, paddr);
	*vaddr = at;
	return 0;
}

int uk_vma_reserve(struct uk_vas *vas, __vaddr_t *vaddr, __sz len)
{
	return make(vas, vaddr, len, 0, RESERVED, 0);
}

int uk_vma_reserve_ex(struct uk_vas *vas, __vaddr_t *vaddr, __sz len,
		unsigned long attr, unsigned long flags, const char *name)
{
	(void)name;
	UK_ASSERT(attr == 0);
	UK_ASSERT(flags == 0 || flags & UK_VMA_MAP_REPLACE);
	return make(vas, vaddr, len, flags, RESERVED, 0);
}

int uk_vma_map_dma(struct uk_vas *vas, __vaddr_t *vaddr, __sz len,
		unsigned long attr, unsigned long flags, const char *name,
		__paddr_t paddr)
{
	(void)name;
	UK_ASSERT(paddr % PAGE_SIZE == 0);
	UK_ASSERT(attr == PAGE_ATTR_PROT_RW);
	return make(vas, vaddr, len, flags, MAPPED, paddr);
}

int uk_vma_unmap(struct uk_vas *vas, __vaddr_t vaddr, __sz len,
		unsigned long flags)
{
	int strict = (flags & UK_VMA_FLAG_STRICT_VMA_CHECK) != 0;

	UK_ASSERT(vas == uk_vas_get_active());
	if (len == 0)
		return 0;
	UK_ASSERT(vaddr <= __VADDR_MAX - len);
	if (vaddr % PAGE_SIZE || len % PAGE_SIZE)
		return -EINVAL;
	for (__sz at = 0; strict && at < len; at += PAGE_SIZE)
		if (!*area(vaddr + at))
			return -ENOENT;
	/* Two areas come of one that is cut in the middle. */
	if (vaddr > BASE && vaddr + len < END && *area(vaddr - PAGE_SIZE) &&
			*area(vaddr + len)) {
		if (fake.no_areas_after == 0)
			return -ENOMEM;
		fake.no_areas_after -= fake.no_areas_after > 0;
	}
	set(vaddr, len, NONE, 0);
	return 0;
}

static __sz count(enum area kind)
{
	__sz found = 0;

	for (__sz page = 0; page < PAGES; page++)
		found += areas[page] == kind;
	return found * PAGE_SIZE;
}

__sz fake_free(void)
{
	return count(NONE);
}

__sz fake_mapped(void)
{
	return count(MAPPED);
}
