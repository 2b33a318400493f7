/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * pmemset_unikraft.h - libpmemset on Unikraft's areas of virtual memory.
 */
#ifndef PMEMSET_UNIKRAFT_H
#define PMEMSET_UNIKRAFT_H 1

#include <uk/arch/types.h>

#include <pmemset_port.h>

/* Gives the library Unikraft's functions: comes first. See pmemset_port_init(). */
int pmemset_unikraft_init(void);

/*
 * Describes persistent memory at a physical address, a multiple of the page: for
 * pmemset_source_from_port(). Its stores are written back line by line; set
 * granularity to PMEM2_GRANULARITY_BYTE where the caches are durable.
 */
void pmemset_unikraft_memory(struct pmemset_port_source *src, __paddr_t start,
		__sz length);

#endif /* PMEMSET_UNIKRAFT_H */
