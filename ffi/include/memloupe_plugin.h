/* memloupe: models of your own, loaded from a shared library.
 *
 * A library has one function for each kind of model that it brings, named below. It returns a table of functions that
 * lives as long as the program. A machine file names the library where it would name a model that is built in:
 *
 *     [cache.l2]
 *     replacement = "./my_policy.so"
 *     replacement_parameters = "threshold=3"
 *
 * What holds for every kind:
 * - `version` is MEMLOUPE_PLUGIN_VERSION of the header that the library was compiled with. Another version is refused.
 *   A later version only adds kinds, or members at the end of a table.
 * - `create` makes the state of one model; each cache of each core has its own. It returns NULL and writes a line to
 *   `error` (zero-terminated, `error_bytes` at most) if it can't. `parameters` is the text of the machine file, "" without.
 * - All calls with one state come one after the other, not always on the same thread. Calls with different states may
 *   come at the same time: what they share, the library must guard.
 * - A function returns to its caller: no longjmp, no C++ exception across it, no exit of the thread. It may be called
 *   hundreds of millions of times: it should neither allocate nor lock.
 * - What a function returns is checked; a wrong value can spoil the result, not the program. What it writes elsewhere can't be
 *   checked: a library is code in the process like any other.
 * - Libraries are never unloaded.
 *
 * Compile with: cc -O2 -shared -fPIC -I... -o my_policy.so my_policy.c
 */
#ifndef MEMLOUPE_PLUGIN_H
#define MEMLOUPE_PLUGIN_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define MEMLOUPE_PLUGIN_VERSION 1u

/* --- Replacement policies: const memloupe_replacement *memloupe_replacement_policy(void); ------------------------- */

typedef struct memloupe_cache_geometry {
    uint64_t sets;
    uint32_t ways;          /* at most 64 */
    uint32_t reserved;
    uint64_t seed;          /* for policies that draw lots */
} memloupe_cache_geometry;

enum memloupe_purpose {
    MEMLOUPE_PURPOSE_LOAD = 0,      /* a load or a read-modify-write, or a miss of one further in */
    MEMLOUPE_PURPOSE_STORE = 1,
    MEMLOUPE_PURPOSE_FETCH = 2,     /* of instructions */
    MEMLOUPE_PURPOSE_PREFETCH = 3,  /* software or hardware */
    MEMLOUPE_PURPOSE_WRITEBACK = 4  /* a victim of a cache further in */
};

typedef struct memloupe_line_request {
    uint64_t line;          /* of a sectored cache, the number of the block that shares a tag */
    uint32_t site;          /* the instruction, as a number */
    uint32_t purpose;       /* enum memloupe_purpose */
} memloupe_line_request;

/* The cache finds lines and knows which ways are empty. It calls `hit` if the line is there, `fill` for an empty way, or
 * else `victim`, `leave` for the way that it chose, and `fill`. */
typedef struct memloupe_replacement {
    uint32_t version;
    void *(*create)(const memloupe_cache_geometry *geometry, const char *parameters, char *error, size_t error_bytes);
    void (*destroy)(void *state);
    void (*hit)(void *state, uint64_t set, uint32_t way, const memloupe_line_request *request);
    void (*fill)(void *state, uint64_t set, uint32_t way, const memloupe_line_request *request);
    /* One of the ways whose bits are set in `candidates`, which is never 0; any other value lets the line go past the cache. */
    int32_t (*victim)(void *state, uint64_t set, uint64_t candidates, const memloupe_line_request *request);
    /* The line in `way` is gone; may be NULL. */
    void (*leave)(void *state, uint64_t set, uint32_t way);
} memloupe_replacement;

/* --- Prefetchers: const memloupe_prefetcher *memloupe_prefetcher_engine(void); ------------------------------------- */

typedef struct memloupe_prefetch_access {
    uint64_t line;
    uint32_t site;          /* the instruction, as a number */
    uint8_t hit;            /* 1 if the line was there */
    uint8_t first_use;      /* 1 if it was there because of a prefetch and is used for the first time */
    uint16_t reserved;
} memloupe_prefetch_access;

typedef struct memloupe_prefetcher {
    uint32_t version;
    /* `page_lines`: lines of a page of 4 KiB. Lines in another page than that of the access are not prefetched. */
    void *(*create)(uint64_t page_lines, const char *parameters, char *error, size_t error_bytes);
    void (*destroy)(void *state);
    /* A demand access; writes the lines to prefetch to `lines`, `most` at most, and returns how many. */
    uint32_t (*access)(void *state, const memloupe_prefetch_access *access, uint64_t *lines, uint32_t most);
    /* A line came in, `prefetched` or on demand; a line was replaced or taken away. Either may be NULL. */
    void (*filled)(void *state, uint64_t line, uint32_t prefetched);
    void (*left)(void *state, uint64_t line);
} memloupe_prefetcher;

/* --- Memories: const memloupe_dram *memloupe_dram_memory(void); ----------------------------------------------------
 *
 * Not in machine files: the configuration of a memloupe_memory (memloupe.h) names it, as model = "library". */

typedef struct memloupe_dram_completion {
    uint64_t id;
    uint64_t finished_ps;   /* not later than the time that was passed to */
} memloupe_dram_completion;

/* Time is the caller's, in picoseconds: it never goes back from one call to the next. A model that works by clocks does
 * those that lie between. */
typedef struct memloupe_dram {
    uint32_t version;
    void *(*create)(const char *parameters, char *error, size_t error_bytes);
    void (*destroy)(void *state);
    /* What a request is cut into: a power of two up to 4096. */
    uint32_t (*burst_bytes)(void *state);
    /* Offers a burst, aligned to its size; returns 0 to refuse it. `id` comes back with the completion, once: it is used again
     * for other bursts of its request and later for other requests. */
    uint32_t (*send)(void *state, uint64_t now_ps, uint64_t id, uint64_t address, uint32_t write, uint32_t core);
    /* When to come back at the latest: a burst may be done then or, if the last one was refused, there may be room.
     * UINT64_MAX if nothing is under way. Later than the time that was passed to. */
    uint64_t (*next_event)(void *state);
    /* Lets time pass and writes bursts that are done by then to `done`, `most` at most; returns how many. It is called again
     * until they are fewer than `most`. */
    uint32_t (*advance)(void *state, uint64_t until_ps, memloupe_dram_completion *done, uint32_t most);
} memloupe_dram;

/* What a library exports, of these what it has. */
const memloupe_dram *memloupe_dram_memory(void);
const memloupe_replacement *memloupe_replacement_policy(void);
const memloupe_prefetcher *memloupe_prefetcher_engine(void);

#ifdef __cplusplus
}
#endif

#endif
