/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* The first example: cc readme.c $(pkg-config --cflags --libs libpmemset) */
#include <libpmemset.h>
#include <stdio.h>
#include <string.h>

int
main(int argc, char **argv)
{
	struct pmemset_config *cfg = NULL;
	struct pmemset *set = NULL;
	struct pmemset_source *src = NULL;
	struct pmemset_map_config *map_cfg = NULL;
	struct pmemset_part_descriptor part;
	char words[] = "remember me";

	if (argc != 2)
		return 2;
	if (pmemset_config_new(&cfg) ||
	    pmemset_config_set_required_store_granularity(cfg,
			PMEM2_GRANULARITY_PAGE) ||
	    pmemset_new(&set, cfg) ||
	    pmemset_xsource_from_file(&src, argv[1],
			PMEMSET_SOURCE_FILE_CREATE_IF_NEEDED) ||
	    pmemset_map_config_new(&map_cfg)) {
		pmemset_perror("set up %s", argv[1]);
		return 1;
	}
	pmemset_map_config_set_length(map_cfg, 64 << 10);
	/* The file grows to 64 KiB. */
	if (pmemset_map(set, src, map_cfg, &part)) {
		pmemset_perror("map %s", argv[1]);
		return 1;
	}
	if (memcmp(part.addr, words, sizeof words) == 0)
		printf("found: %s\n", (char *)part.addr);
	else
		printf("new\n");
	/* Durable when it returns. */
	pmemset_memcpy(set, part.addr, words, sizeof words, 0);
	/* Deep-flushed, then unmapped. */
	if (pmemset_remove_range(set, part.addr, part.size)) {
		pmemset_perror("remove");
		return 1;
	}
	pmemset_map_config_delete(&map_cfg);
	pmemset_delete(&set);
	pmemset_source_delete(&src);
	pmemset_config_delete(&cfg);
	return 0;
}
