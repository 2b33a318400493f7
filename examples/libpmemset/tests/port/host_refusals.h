/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Cases of host.c: what is refused before anything is mapped. */
#ifndef HOST_REFUSALS_H
#define HOST_REFUSALS_H

#include "host.h"

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

#endif
