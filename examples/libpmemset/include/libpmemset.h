/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * libpmemset.h - sets of persistent-memory parts, for C and C++.
 *
 * Source- and binary-compatible with libpmemset 1.0 of PMDK. What each
 * function does differently from it is in examples/libpmemset/README.md.
 *
 * Results of type int are 0, or negative: one of the PMEMSET_E_ numbers below,
 * a number of libpmem2 (-100000 to -100037), or an errno with its sign changed.
 * After every failure pmemset_errormsg() says why, in the thread that failed.
 *
 * Threads may share sets, sources and configurations, and call everything at
 * the same time; who deletes one comes after all others.
 */
#ifndef LIBPMEMSET_H
#define LIBPMEMSET_H 1

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Of libpmem2 only the enumeration is needed. Its own header is taken where it
 * is installed, because a program that includes both must see one definition.
 */
#if defined(__has_include)
#if __has_include(<libpmem2.h>)
#define PMEMSET_HAS_LIBPMEM2_H_ 1
#endif
#endif
#ifdef PMEMSET_HAS_LIBPMEM2_H_
#include <libpmem2.h>
#endif

#ifdef __cplusplus
extern "C" {
#endif

#ifndef PMEMSET_HAS_LIBPMEM2_H_
/* How stores become durable: at once, by writing back lines, by msync(2). */
enum pmem2_granularity {
	PMEM2_GRANULARITY_BYTE,
	PMEM2_GRANULARITY_CACHE_LINE,
	PMEM2_GRANULARITY_PAGE
};
struct pmem2_source;
struct pmem2_vm_reservation;
#endif

/* Handles: only pointers to them are used. */
struct pmemset;
struct pmemset_config;
struct pmemset_map_config;
struct pmemset_source;
struct pmemset_part_map;

/* ---- errors ------------------------------------------------------------- */

#define PMEMSET_E_UNKNOWN                            (-200000)
#define PMEMSET_E_NOSUPP                             (-200001)
#define PMEMSET_E_INVALID_PMEM2_SOURCE               (-200002)
#define PMEMSET_E_INVALID_SOURCE_PATH                (-200003)
#define PMEMSET_E_INVALID_SOURCE_TYPE                (-200004)
#define PMEMSET_E_CANNOT_ALLOCATE_INTERNAL_STRUCTURE (-200005)
#define PMEMSET_E_INVALID_OFFSET_VALUE               (-200006)
#define PMEMSET_E_GRANULARITY_NOT_SUPPORTED          (-200007)
#define PMEMSET_E_INVALID_PMEM2_MAP                  (-200008)
#define PMEMSET_E_PART_EXISTS                        (-200009)
#define PMEMSET_E_GRANULARITY_NOT_SET                (-200010)
#define PMEMSET_E_GRANULARITY_MISMATCH               (-200011)
#define PMEMSET_E_NO_PART_MAPPED                     (-200012)
#define PMEMSET_E_CANNOT_FIND_PART_MAP               (-200013)
#define PMEMSET_E_CANNOT_COALESCE_PARTS              (-200014)
#define PMEMSET_E_LENGTH_UNALIGNED                   (-200015)
#define PMEMSET_E_PART_NOT_FOUND                     (-200016)
#define PMEMSET_E_INVALID_COALESCING_VALUE           (-200017)
#define PMEMSET_E_DEEP_FLUSH_FAIL                    (-200018)
#define PMEMSET_E_INVALID_SOURCE_FILE_CREATE_FLAGS   (-200019)
#define PMEMSET_E_CANNOT_CREATE_TEMP_FILE            (-200020)
#define PMEMSET_E_CANNOT_GROW_SOURCE_FILE            (-200021)
#define PMEMSET_E_PART_MAP_POSSIBLE_USE_AFTER_DROP   (-200022)
#define PMEMSET_E_CANNOT_FIT_PART_MAP                (-200023)
#define PMEMSET_E_OFFSET_OUT_OF_RANGE                (-200024)
#define PMEMSET_E_INVALID_PART_STATES                (-200025)
#define PMEMSET_E_UNDESIRABLE_PART_STATE             (-200026)
#define PMEMSET_E_SDS_ALREADY_SET                    (-200027)
#define PMEMSET_E_SDS_NOSUPP                         (-200028)
#define PMEMSET_E_SDS_DEVICE_ID_LEN_TOO_BIG          (-200029)
#define PMEMSET_E_MAP_LENGTH_UNSET                   (-200030)
#define PMEMSET_E_SOURCE_FILE_IS_TOO_SMALL           (-200031)
#define PMEMSET_E_IO_FAIL                            (-200032)
#define PMEMSET_E_LENGTH_OUT_OF_RANGE                (-200033)
#define PMEMSET_E_INVALID_ALIGNMENT_VALUE            (-200035)
#define PMEMSET_E_DAX_REGION_NOT_FOUND               (-200036)
#define PMEMSET_E_CANNOT_READ_BOUNDS                 (-200037)
#define PMEMSET_E_BADBLOCK_NOSUPP                    (-200038)

/* The last failure in this thread in words; "" before the first, never NULL. */
const char *pmemset_errormsg(void);

/* An errno for what a function returned. EINVAL for a positive number. */
int pmemset_err_to_errno(int err);

/* Writes the formatted text, ": " and pmemset_errormsg() to stderr. */
#if defined(__GNUC__)
__attribute__((format(printf, 1, 2)))
#endif
void pmemset_perror(const char *format, ...);

/* ---- shutdown state and bad blocks --------------------------------------- */

#define PMEMSET_SDS_DEVICE_ID_LEN ((size_t)512)

/* What the program keeps for a source from run to run; begins as all zeros.
 * Each SDS_UPDATE has a new one: durable before the callback returns. */
struct pmemset_sds {
	char id[PMEMSET_SDS_DEVICE_ID_LEN + 1]; /* of the device, ends in NUL */
	uint64_t usc;                           /* unsafe shutdown count */
	int refcount;                           /* mappings not yet removed */
};

#define PMEMSET_SDS_INITIALIZE() {\
	.id = {0},\
	.usc = 0,\
	.refcount = 0\
}

enum pmemset_part_state {
	PMEMSET_PART_STATE_INDETERMINATE = (1 << 0),
	PMEMSET_PART_STATE_OK = (1 << 1),
	PMEMSET_PART_STATE_OK_BUT_ALREADY_OPEN = (1 << 2),
	PMEMSET_PART_STATE_OK_BUT_INTERRUPTED = (1 << 3),
	PMEMSET_PART_STATE_CORRUPTED = (1 << 4)
};

/* Memory that can't be read: bytes from the start of the source. */
struct pmemset_badblock {
	size_t offset;
	size_t length;
};

/* ---- events -------------------------------------------------------------- */

enum pmemset_event {
	PMEMSET_EVENT_COPY,
	PMEMSET_EVENT_MOVE,
	PMEMSET_EVENT_SET,
	PMEMSET_EVENT_FLUSH,
	PMEMSET_EVENT_DRAIN,
	PMEMSET_EVENT_PERSIST,
	PMEMSET_EVENT_REMOVE_RANGE,
	PMEMSET_EVENT_PART_ADD,
	PMEMSET_EVENT_PART_REMOVE,
	PMEMSET_EVENT_SDS_UPDATE,
	PMEMSET_EVENT_BADBLOCK,
	PMEMSET_EVENT_BADBLOCKS_CLEARED
};

struct pmemset_event_copy {
	void *src;
	void *dest;
	size_t len;
	unsigned flags;
};

struct pmemset_event_move {
	void *src;
	void *dest;
	size_t len;
	unsigned flags;
};

struct pmemset_event_set {
	void *dest;
	int value;
	size_t len;
	unsigned flags;
};

struct pmemset_event_flush {
	void *addr;
	size_t len;
};

struct pmemset_event_persist {
	void *addr;
	size_t len;
};

struct pmemset_event_remove_range {
	void *addr;
	size_t len;
};

struct pmemset_event_part_remove {
	void *addr;
	size_t len;
};

struct pmemset_event_part_add {
	void *addr;
	size_t len;
	struct pmem2_source *src; /* the caller's own, else NULL */
};

struct pmemset_event_sds_update {
	struct pmemset_sds *sds;
	struct pmemset_source *src;
};

struct pmemset_event_badblock {
	struct pmemset_badblock *bb;
	struct pmemset_source *src;
};

struct pmemset_event_badblocks_cleared {
	struct pmemset_source *src;
};

#define PMEMSET_EVENT_CONTEXT_SIZE (64)

struct pmemset_event_context {
	enum pmemset_event type;
	union {
		char _data[PMEMSET_EVENT_CONTEXT_SIZE];
		struct pmemset_event_copy copy;
		struct pmemset_event_move move;
		struct pmemset_event_set set;
		struct pmemset_event_flush flush;
		struct pmemset_event_persist persist;
		struct pmemset_event_remove_range remove_range;
		struct pmemset_event_part_remove part_remove;
		struct pmemset_event_part_add part_add;
		struct pmemset_event_sds_update sds_update;
		struct pmemset_event_badblock badblock;
		struct pmemset_event_badblocks_cleared badblocks_cleared;
	} data;
};

/* Called in the thread that caused the event, with no lock held: it may call
 * the set. What ctx leads to lives as long as the call. A result other than 0
 * stops a map at BADBLOCKS_CLEARED, and means nothing elsewhere. */
typedef int pmemset_event_callback(struct pmemset *set,
		struct pmemset_event_context *ctx, void *arg);

/* ---- configuration of a set: copied by pmemset_new ----------------------- */

int pmemset_config_new(struct pmemset_config **cfg);
int pmemset_config_delete(struct pmemset_config **cfg);
/* The coarsest granularity that is acceptable; has to be set. */
int pmemset_config_set_required_store_granularity(struct pmemset_config *cfg,
		enum pmem2_granularity g);
void pmemset_config_set_event_callback(struct pmemset_config *cfg,
		pmemset_event_callback *callback, void *arg);
/* Parts go into res alone. The set has to be deleted before it. */
void pmemset_config_set_reservation(struct pmemset_config *cfg,
		struct pmem2_vm_reservation *res);
/* Bits of enum pmemset_part_state; default: OK and OK_BUT_ALREADY_OPEN. */
int pmemset_config_set_acceptable_states(struct pmemset_config *cfg,
		uint64_t states);

/* ---- sets ---------------------------------------------------------------- */

enum pmemset_coalescing {
	PMEMSET_COALESCING_NONE,
	PMEMSET_COALESCING_OPPORTUNISTIC, /* behind the previous part if it fits */
	PMEMSET_COALESCING_FULL           /* behind the previous part, or fail */
};

int pmemset_new(struct pmemset **set, struct pmemset_config *cfg);
/* Unmaps everything, whatever handles are out; flushes nothing. */
int pmemset_delete(struct pmemset **set);
int pmemset_get_store_granularity(struct pmemset *set,
		enum pmem2_granularity *g);
int pmemset_set_contiguous_part_coalescing(struct pmemset *set,
		enum pmemset_coalescing value);

/* ---- sources: deletable while mapped ------------------------------------- */

/* CREATE_ALWAYS empties a file that is there. Maps make a file longer where it
 * ends before them, unless DO_NOT_GROW. */
#define PMEMSET_SOURCE_FILE_CREATE_ALWAYS    (1U << 0)
#define PMEMSET_SOURCE_FILE_CREATE_IF_NEEDED (1U << 1)
#define PMEMSET_SOURCE_FILE_DO_NOT_GROW      (1U << 2)

#define PMEMSET_SOURCE_FILE_RWXU_MODE 0700
#define PMEMSET_SOURCE_FILE_RWU_MODE  0600
#define PMEMSET_SOURCE_FILE_RUSR_MODE 0400
#define PMEMSET_SOURCE_FILE_WUSR_MODE 0200
#define PMEMSET_SOURCE_FILE_XUSR_MODE 0100
#define PMEMSET_SOURCE_FILE_RWXG_MODE 0070
#define PMEMSET_SOURCE_FILE_RWG_MODE  0060
#define PMEMSET_SOURCE_FILE_RGRP_MODE 0040
#define PMEMSET_SOURCE_FILE_WGRP_MODE 0020
#define PMEMSET_SOURCE_FILE_XGRP_MODE 0010
#define PMEMSET_SOURCE_FILE_RWXO_MODE 0007
#define PMEMSET_SOURCE_FILE_RWO_MODE  0006
#define PMEMSET_SOURCE_FILE_ROTH_MODE 0004
#define PMEMSET_SOURCE_FILE_WOTH_MODE 0002
#define PMEMSET_SOURCE_FILE_XOTH_MODE 0001

/* Permissions of a file that is created, in bits 32 to 40 of the flags, less
 * the umask; 0644 where there are none. */
#define PMEMSET_SOURCE_FILE_CREATE_MODE(mode) ((uint64_t)(mode) << 32)
#define PMEMSET_SOURCE_FILE_CREATE_ALWAYS_MODE(mode)\
	(PMEMSET_SOURCE_FILE_CREATE_ALWAYS |\
	PMEMSET_SOURCE_FILE_CREATE_MODE(mode))
#define PMEMSET_SOURCE_FILE_VALID_MODES\
	PMEMSET_SOURCE_FILE_CREATE_MODE(0777)
#define PMEMSET_SOURCE_FILE_CREATE_VALID_FLAGS\
	(PMEMSET_SOURCE_FILE_CREATE_ALWAYS |\
	PMEMSET_SOURCE_FILE_CREATE_IF_NEEDED |\
	PMEMSET_SOURCE_FILE_DO_NOT_GROW |\
	PMEMSET_SOURCE_FILE_VALID_MODES)
#define PMEMSET_SOURCE_FILE_CREATE_MODE_FROM_FLAG(flags)\
	((uint32_t)((flags) >> 32))

/* All makers set *src to NULL first, and leave it NULL when they fail. */
int pmemset_source_from_pmem2(struct pmemset_source **src,
		struct pmem2_source *pmem2_src);
int pmemset_source_from_file(struct pmemset_source **src, const char *file);
int pmemset_xsource_from_file(struct pmemset_source **src, const char *file,
		uint64_t flags);
int pmemset_source_from_temporary(struct pmemset_source **src,
		const char *dir);
int pmemset_source_delete(struct pmemset_source **src);

/* Copies *sds; *state_ptr, if not NULL, is written by each later map. */
int pmemset_source_set_sds(struct pmemset_source *src,
		struct pmemset_sds *sds, enum pmemset_part_state *state_ptr);
void pmemset_source_set_badblock_detection(struct pmemset_source *src,
		bool value);
/* In bytes, of offset and length of maps. */
int pmemset_source_alignment(struct pmemset_source *src, size_t *alignment);
/* Copies that survive memory that can't be read. */
int pmemset_source_pread_mcsafe(struct pmemset_source *src, void *buf,
		size_t size, size_t offset);
int pmemset_source_pwrite_mcsafe(struct pmemset_source *src, void *buf,
		size_t size, size_t offset);
/* A block that BADBLOCK has told: its bytes are 0 afterwards. */
int pmemset_badblock_clear(struct pmemset_badblock *bb,
		struct pmemset_source *src);

/* ---- mapping: pmemset_map reads its configuration, and keeps none -------- */

int pmemset_map_config_new(struct pmemset_map_config **map_cfg);
int pmemset_map_config_delete(struct pmemset_map_config **map_cfg);
/* In bytes; 0 unless set. */
int pmemset_map_config_set_offset(struct pmemset_map_config *map_cfg,
		size_t offset);
/* In bytes; 0 is the rest of the source. */
void pmemset_map_config_set_length(struct pmemset_map_config *map_cfg,
		size_t length);

/* A part: what it is at the moment of asking. */
struct pmemset_part_descriptor {
	void *addr;
	size_t size; /* in bytes */
};

/* map_cfg and desc may be NULL. *desc is the whole part, also coalesced. */
int pmemset_map(struct pmemset *set, struct pmemset_source *src,
		struct pmemset_map_config *map_cfg,
		struct pmemset_part_descriptor *desc);

/* Each handle given out counts as a use of the part until it is dropped. */
void pmemset_first_part_map(struct pmemset *set,
		struct pmemset_part_map **pmap);
void pmemset_next_part_map(struct pmemset *set, struct pmemset_part_map *cur,
		struct pmemset_part_map **next);
int pmemset_part_map_by_address(struct pmemset *set,
		struct pmemset_part_map **pmap, void *addr);
struct pmemset_part_descriptor pmemset_descriptor_part_map(
		struct pmemset_part_map *pmap);
void pmemset_part_map_drop(struct pmemset_part_map **pmap);

/* Takes the handle along; refused while another handle is out. */
int pmemset_remove_part_map(struct pmemset *set,
		struct pmemset_part_map **pmap);
/* Removes each map that the range touches, whole. */
int pmemset_remove_range(struct pmemset *set, void *addr, size_t len);

/* ---- bytes --------------------------------------------------------------- */

#define PMEMSET_F_MEM_NODRAIN     (1U << 0) /* durable after pmemset_drain */
#define PMEMSET_F_MEM_NONTEMPORAL (1U << 1) /* past the cache, if possible */
#define PMEMSET_F_MEM_TEMPORAL    (1U << 2) /* through the cache */
#define PMEMSET_F_MEM_WC          (1U << 3) /* as NONTEMPORAL */
#define PMEMSET_F_MEM_WB          (1U << 4) /* as TEMPORAL */
#define PMEMSET_F_MEM_NOFLUSH     (1U << 5) /* durable after pmemset_persist */
#define PMEMSET_F_MEM_VALID_FLAGS\
	(PMEMSET_F_MEM_NODRAIN | PMEMSET_F_MEM_NONTEMPORAL |\
	PMEMSET_F_MEM_TEMPORAL | PMEMSET_F_MEM_WC | PMEMSET_F_MEM_WB |\
	PMEMSET_F_MEM_NOFLUSH)

/* Makes stores durable: a flush, and a drain. */
int pmemset_persist(struct pmemset *set, void *ptr, size_t size);
/* Begins to make them durable; they are after the next drain. */
int pmemset_flush(struct pmemset *set, void *ptr, size_t size);
int pmemset_drain(struct pmemset *set);
/* Pushes what is durable on, out of buffers that reserve power empties. */
int pmemset_deep_flush(struct pmemset *set, void *ptr, size_t size);

/*
 * Durable when they return, unless flags say otherwise. They return dest, also
 * where they are refused or the write-back fails, and leave a message then. Who
 * needs a number copies with NOFLUSH, and takes that of pmemset_persist.
 */
void *pmemset_memmove(struct pmemset *set, void *dest, void *src,
		size_t len, unsigned flags);
void *pmemset_memcpy(struct pmemset *set, void *dest, void *src,
		size_t len, unsigned flags);
void *pmemset_memset(struct pmemset *set, void *dest, int c, size_t len,
		unsigned flags);

#ifdef __cplusplus
}
#endif

#endif /* LIBPMEMSET_H */
