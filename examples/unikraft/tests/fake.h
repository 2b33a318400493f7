/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * What the glue uses of Unikraft, with the prototypes of its headers: areas of
 * virtual memory in a window of this process, physical memory in a file.
 */
#ifndef FAKE_H
#define FAKE_H 1

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

typedef unsigned long __vaddr_t;
typedef unsigned long __paddr_t;
typedef unsigned long __sz;

#define __VADDR_MAX 0xffffffffffffffffUL
#define __VADDR_ANY __VADDR_MAX
#define PAGE_SIZE   0x1000UL

#define PAGE_ATTR_PROT_RW            0x03
#define UK_VMA_MAP_POPULATE          0x01
#define UK_VMA_MAP_REPLACE           0x04
#define UK_VMA_FLAG_STRICT_VMA_CHECK 0x1000

#define UK_CRASH(...) do { fprintf(stderr, __VA_ARGS__); abort(); } while (0)
#define UK_ASSERT(x) do {\
	if (!(x))\
		UK_CRASH("%s:%d: assertion: %s\n", __FILE__, __LINE__, #x);\
} while (0)

struct uk_vas;

int ukarch_vaddr_range_isvalid(__vaddr_t start, __sz len);
struct uk_vas *uk_vas_get_active(void);
int uk_vma_reserve(struct uk_vas *vas, __vaddr_t *vaddr, __sz len);
int uk_vma_reserve_ex(struct uk_vas *vas, __vaddr_t *vaddr, __sz len,
		unsigned long attr, unsigned long flags, const char *name);
int uk_vma_map_dma(struct uk_vas *vas, __vaddr_t *vaddr, __sz len,
		unsigned long attr, unsigned long flags, const char *name,
		__paddr_t paddr);
int uk_vma_unmap(struct uk_vas *vas, __vaddr_t vaddr, __sz len,
		unsigned long flags);

/* What the tests ask and want. */
struct fake {
	int memory;           /* a file that is physical memory */
	int no_areas_after;   /* so many more areas can be made; -1: any number */
	int populate_fails;   /* the next population fails, with the area gone */
	int steals;           /* and somebody else takes the area at once */
};
extern struct fake fake;

__sz fake_free(void);     /* bytes without an area */
__sz fake_mapped(void);   /* bytes that are mapped */

#endif /* FAKE_H */
