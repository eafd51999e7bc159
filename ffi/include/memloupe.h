/* memloupe: cache and memory models behind a C ABI.
 *
 * A system is one machine at work: caches per core, shared levels, DRAM. Accesses go in, one after the other,
 * counters come out. Time is not simulated here.
 *
 * Every function checks its arguments and returns a status; none aborts or unwinds into the caller. After a status
 * other than MEMLOUPE_OK, memloupe_last_error() says what was wrong, on the thread that made the call.
 *
 * A system may be used by any thread, but by one at a time. Two systems are independent of each other; the library
 * has no other state.
 *
 * Sizes are in bytes, addresses are byte addresses; bits above the 57th do not count, save as a sign.
 */
#ifndef MEMLOUPE_H
#define MEMLOUPE_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct memloupe_system memloupe_system;

typedef enum memloupe_status {
    MEMLOUPE_OK = 0,
    MEMLOUPE_NULL_ARGUMENT = 1,     /* a pointer that must not be NULL is */
    MEMLOUPE_BAD_ARGUMENT = 2,      /* a number is out of range, or a text is no UTF-8 */
    MEMLOUPE_BAD_MACHINE = 3,       /* the machine is unknown or its description wrong */
    MEMLOUPE_BUFFER_TOO_SMALL = 4,  /* nothing was written but the size that is needed */
    MEMLOUPE_INTERNAL_ERROR = 5     /* a defect of memloupe; the system can only be destroyed */
} memloupe_status;

typedef enum memloupe_access_kind {
    MEMLOUPE_LOAD = 0,
    MEMLOUPE_STORE = 1,
    MEMLOUPE_READ_MODIFY_WRITE = 2, /* one access, a read if it misses */
    MEMLOUPE_PREFETCH = 3,
    MEMLOUPE_NON_TEMPORAL_STORE = 4,
    MEMLOUPE_FETCH = 5,
    MEMLOUPE_NON_TEMPORAL_LOAD = 6
} memloupe_access_kind;

/* The largest access that memloupe_system_access takes. */
#define MEMLOUPE_MAX_ACCESS_BYTES 65536u

/* The largest number of owners of a system. */
#define MEMLOUPE_MAX_OWNERS 16777216u

/* Version of the library, such as "0.1.0". Static, never NULL. */
const char *memloupe_version(void);

/* What was wrong with the last call on this thread that failed; "" if none did. Valid until the next call that fails
 * on this thread. Never NULL. */
const char *memloupe_last_error(void);

/* Creates the system of a preset ("host", "desktop", ...) or of a machine file's path. *system is set to NULL on
 * failure. The system has one owner, 0. */
memloupe_status memloupe_system_create(const char *machine, memloupe_system **system);

/* The same from the text of a machine file. */
memloupe_status memloupe_system_create_from_toml(const char *toml, memloupe_system **system);

/* Frees a system; NULL is allowed. */
void memloupe_system_destroy(memloupe_system *system);

/* How many cores the machine has. */
memloupe_status memloupe_system_core_count(const memloupe_system *system, uint32_t *core_count);

/* Gives the owners 0 to owner_count - 1 counters of their own. An owner is whatever the caller wants to tell apart.
 * Owners that exist are kept. */
memloupe_status memloupe_system_reserve_owners(memloupe_system *system, uint32_t owner_count);

/* Simulates one access of size_bytes, 1 to MEMLOUPE_MAX_ACCESS_BYTES, that must not reach beyond the end of the
 * address space. kind is a memloupe_access_kind. */
memloupe_status memloupe_system_access(memloupe_system *system, uint32_t core, uint64_t address, uint32_t size_bytes,
                                       uint32_t kind, uint32_t owner);

/* Writes all dirty lines to memory, charged to the owners that wrote them. */
memloupe_status memloupe_system_flush(memloupe_system *system);

/* Writes the counters as a NUL-terminated JSON text: {"machine": NAME, "totals": COUNTERS, "owners": [COUNTERS...]},
 * where COUNTERS is an object with, for each level such as l1d, l1d_line_accesses, l1d_misses, l1d_read_misses,
 * l1d_write_misses, l1d_prefetch_misses, l1d_fills and l1d_writebacks, and straddles, non_temporal_lines,
 * dram_read_bytes, dram_write_bytes, row_hits, row_misses, row_conflicts and dram_read_latency_ps.
 * A machine with levels beyond plain LRU caches has more for each level: prefetches, classes of misses and so on.
 * *needed_bytes is set to the size of the text with its NUL; buffer may be NULL if capacity_bytes is 0. */
memloupe_status memloupe_system_statistics_json(const memloupe_system *system, char *buffer, size_t capacity_bytes,
                                                size_t *needed_bytes);

#ifdef __cplusplus
}
#endif

#endif
