/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * pmemset_port.h - libpmemset for kernels and firmware: no operating system, no
 * C library, no heap.
 *
 * Link libpmemset_port.a with --gc-sections: what is not called is left out. It
 * wants memcpy, memmove, memset, memcmp and pmemset_port_panic() of the program,
 * and nothing else.
 *
 * What is in libpmemset.h is as described there, but for this:
 * - A configuration is a variable, { 0 } at first; there is no _new and no
 *   _delete of it. A set's memory is the program's.
 * - Sources are described by a structure, and do not grow; there is none from a
 *   file, a directory or libpmem2, and no reservation of libpmem2.
 * - There are no messages: results are numbers. pmemset_port_error() names them.
 * - A handle to a part is one of as many as there is memory for: by_address
 *   returns -12 (ENOMEM) then, first and next give NULL.
 * - The event of a pmemset_memmove from what is not in the set is COPY, and the
 *   value in that of a pmemset_memset is the byte that is stored.
 */
#ifndef PMEMSET_PORT_H
#define PMEMSET_PORT_H 1

#include <libpmemset.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- the port: what the program does for the library --------------------- */

struct pmemset_port_source;

/* Bytes of a source. */
struct pmemset_port_range {
	uint64_t offset;
	uint64_t length;
};

/* Bits of pmemset_port.processor. */
#define PMEMSET_PORT_CACHES      1U /* write back the lines of this processor's caches */
#define PMEMSET_PORT_WHOLE_WORDS 2U /* store whole words (4 or 8 bytes) only */

/* A result of map: nobody knows what is at these addresses now. */
#define PMEMSET_PORT_WINDOW_LOST 1

/* Results of deep_flush besides 0, which is: done. */
#define PMEMSET_PORT_NOT_NEEDED    1
#define PMEMSET_PORT_NOT_PERMITTED 2

/*
 * Functions return 0, or an errno with its sign changed, and have changed
 * nothing then; the numbers are Linux's: EIO 5, ENOMEM 12, EEXIST 17, EINVAL 22,
 * EOPNOTSUPP 95. They are called by any thread that calls the library, some
 * while a lock of a set is held: they must not call the library.
 *
 * Addresses and lengths are multiples of page; those of a source also of its
 * alignment. Address space that was reserved is the set's alone until released.
 */
struct pmemset_port {
	size_t page;        /* the unit of address space in bytes, a power of two */
	unsigned processor; /* PMEMSET_PORT_CACHES, _WHOLE_WORDS, or 0 */

	/* Reserves length bytes at a multiple of alignment; no room: -ENOMEM. */
	int (*reserve)(size_t length, size_t alignment, void **addr);
	/* Reserves exactly these; something is there: -EEXIST. */
	int (*reserve_at)(void *addr, size_t length);
	/* Gives back any piece of what was reserved. */
	int (*release)(void *addr, size_t length);

	/* Puts the bytes of src from offset on at addr, which is reserved. */
	int (*map)(const struct pmemset_port_source *src, void *addr,
			size_t length, uint64_t offset);
	/* Takes away what one call of map has put there; it stays reserved. */
	int (*unmap)(const struct pmemset_port_source *src, void *addr,
			size_t length, uint64_t offset);
	/* Makes whole pages durable, where the granularity is PAGE. */
	int (*sync)(const struct pmemset_port_source *src, void *addr,
			size_t length, uint64_t offset);
	/* Pushes bytes, already durable, as far as software can: any range. */
	int (*deep_flush)(const struct pmemset_port_source *src, void *addr,
			size_t length, uint64_t offset);

	/*
	 * Keep every other thread, handler and processor out between lock and
	 * unlock, which is given what lock has returned. They nest, and the time
	 * in between includes calls of the functions above. To mask interrupts
	 * is enough on one processor; then handlers may call the library.
	 *
	 * Both NULL: the library's locks spin. Enough for several processors;
	 * handlers must not call the library then.
	 */
	uintptr_t (*lock)(void);
	void (*unlock)(uintptr_t state);

	/* Each of these may be NULL: the source does not have it. */

	/* The memory's id, at most 511 bytes and a NUL, and how often it has
	 * lost power in a way that may have lost stores. */
	int (*device)(const struct pmemset_port_source *src, char *id,
			uint64_t *unsafe_shutdowns);
	/* Bad blocks that touch range, ascending, apart, at most room of them;
	 * returns how many there are, which may be more. */
	int (*bad_blocks)(const struct pmemset_port_source *src,
			const struct pmemset_port_range *range,
			struct pmemset_port_range *blocks, size_t room);
	/* Clears what is bad in range: these bytes are 0 then. */
	int (*clear)(const struct pmemset_port_source *src,
			const struct pmemset_port_range *range);
	/* Copies that survive damage, which is -EIO. */
	int (*read)(const struct pmemset_port_source *src, void *buf,
			size_t length, uint64_t offset);
	int (*write)(const struct pmemset_port_source *src, const void *buf,
			size_t length, uint64_t offset);
};

/*
 * Gives the library the program's functions, once and for good: *port stays.
 * Comes before anything else, and alone. -EINVAL: a function is missing, or page
 * is no power of two; -EOPNOTSUPP: the library cannot write back the lines of
 * this processor's caches; -EBUSY: there is another one already.
 */
int pmemset_port_init(const struct pmemset_port *port);

/*
 * Ends the program, which has met a fault of the library's own; the name of a
 * file, which no NUL ends, and the line in it. Must not return. Of what there is
 * here only pmemset_port_contract can need it, on some processors: a program
 * that leaves the checks out links without it.
 */
void pmemset_port_panic(const char *file, size_t length, unsigned line);

/* ---- sources ------------------------------------------------------------- */

/* For shutdown records: struct pmemset_port_source.record. */
#define PMEMSET_PORT_RECORD_WORDS 160

/* A source: all zeros, and then what is not. It stays while it is mapped. */
struct pmemset_port_source {
	void *context;      /* the program's own */
	uint64_t length;    /* in bytes */
	size_t alignment;   /* of its maps, a power of two; 0: page */
	unsigned granularity; /* enum pmem2_granularity; default: BYTE */
	unsigned granule;   /* the narrowest store that it takes, in bytes; 0: 1 */
	void *address;      /* where alone its first byte can be; NULL: anywhere */
	uint64_t *record;   /* PMEMSET_PORT_RECORD_WORDS for a shutdown record,
			     * which pmemset_source_set_sds needs; or NULL */
	uint64_t private_[8];
};

/* Makes *src lead to the source that description describes. */
int pmemset_source_from_port(struct pmemset_source **src,
		struct pmemset_port_source *description);
/* pmemset_source_delete: -EBUSY while the source is mapped. */

/* ---- configurations and sets --------------------------------------------- */

struct pmemset_config {
	uintptr_t private_[8];
};

struct pmemset_map_config {
	size_t offset;
	size_t length;
};

/*
 * The memory of one set, on a multiple of 8, with room for segments maps at a
 * time (at most 65536; 64 where addresses have 32 bits). What is more than
 * pmemset_port_set_bytes(segments, 0) is for handles. It is the program's again
 * after pmemset_delete. -EINVAL: there is not enough.
 */
int pmemset_port_config_set_memory(struct pmemset_config *cfg, void *memory,
		size_t bytes, size_t segments);

/* What a set needs; 0: there is no set of that size. Room comes in powers of two. */
size_t pmemset_port_set_bytes(size_t segments, size_t handles);

/* The same for a static array, and never less. */
#define PMEMSET_PORT_SET_BYTES(segments, handles)\
	(512 + 2 * 100 * (size_t)(segments) + 72 * (size_t)(handles))

/* ---- errors, and checks of a port ---------------------------------------- */

/* "CANNOT_FIT_PART_MAP" for PMEMSET_E_CANNOT_FIT_PART_MAP; "errno" for an errno;
 * "?" for what no function returns. */
const char *pmemset_port_error(int err);

enum pmemset_port_outcome {
	PMEMSET_PORT_KEPT,
	PMEMSET_PORT_SKIPPED, /* could not be checked: text says why */
	PMEMSET_PORT_BROKEN   /* text says what should have been */
};

/* What one duty was found to be. Texts are valid during the call. */
struct pmemset_port_finding {
	const char *duty;
	unsigned outcome;
	const char *text;
	uint64_t number; /* in question, or 0 */
	void *addr;      /* in question, or NULL */
	size_t length;
	int err;         /* what a function of the port returned, or 0 */
};

typedef void pmemset_port_report(const struct pmemset_port_finding *finding,
		void *arg);

/*
 * Checks the duties of the port (src NULL), or of a source: overwrites its first
 * four units. Returns how many are broken.
 */
int pmemset_port_contract(struct pmemset_source *src,
		pmemset_port_report *report, void *arg);

#ifdef __cplusplus
}
#endif

#endif /* PMEMSET_PORT_H */
