/* memloupe: cache and memory models behind a C ABI.
 *
 * Three services, each with handles of its own:
 *
 * - memloupe_memory: the memory of a machine in time. An outer simulator sends requests, is refused when queues are full,
 *   asks when to come back, lets time pass and receives completions.
 * - memloupe_system: the caches of a machine above its DRAM, access by access, with the unloaded latency of each, and the
 *   requests that leave the last level.
 * - memloupe_reader: the accesses of a program that `memloupe run --record` recorded, each with its operator, object and phase.
 *
 * Errors. Every function checks its arguments and returns a status; none aborts or unwinds into the caller. After a
 * status other than MEMLOUPE_OK, memloupe_last_error() says what was wrong, on the thread that made the call, and nothing
 * has changed, except after MEMLOUPE_INTERNAL_ERROR. What no callee can check remains the caller's duty: a pointer that is not NULL
 * points to what it says, and a handle is not used after it was destroyed.
 *
 * Threads. A handle may be used by any thread, but by one at a time: a call that comes while another is at work returns
 * MEMLOUPE_BUSY. Two handles are independent of each other. The library has no state but these and each thread's last
 * error text.
 *
 * Callbacks are made on the thread and during the call that causes them. They must return normally: no exception, no
 * longjmp. A call on the same handle from its callback returns MEMLOUPE_BUSY; what a callback wants to send it keeps and
 * sends after the call.
 *
 * Versions. MEMLOUPE_ABI_VERSION grows when something changes that a compiled program sees; within a version, functions
 * are added at most. Compare it with memloupe_abi_version() when the library is loaded at run time.
 *
 * Sizes are in bytes, times in picoseconds, addresses are byte addresses.
 */
#ifndef MEMLOUPE_H
#define MEMLOUPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define MEMLOUPE_ABI_VERSION 2u

typedef enum memloupe_status {
    MEMLOUPE_OK = 0,
    MEMLOUPE_NULL_ARGUMENT = 1,    /* a pointer that must not be NULL is */
    MEMLOUPE_BAD_ARGUMENT = 2,     /* a number is out of range, or a text is no UTF-8 */
    MEMLOUPE_BAD_MACHINE = 3,      /* the machine is unknown, or its description or configuration wrong */
    MEMLOUPE_BUFFER_TOO_SMALL = 4, /* nothing was written but the size that is needed */
    MEMLOUPE_INTERNAL_ERROR = 5,   /* a defect of memloupe; the handle can only be destroyed */
    MEMLOUPE_WRONG_HANDLE = 6,     /* the handle is of another kind */
    MEMLOUPE_BUSY = 7,             /* a call on the handle is at work: this is its callback, or another thread */
    MEMLOUPE_BAD_CHECKPOINT = 8,   /* a checkpoint is damaged or of something else */
    MEMLOUPE_BAD_RECORDING = 9     /* a recording can't be read, is damaged, or its names can't be told */
} memloupe_status;

/* Version of the ABI that the library has. */
uint32_t memloupe_abi_version(void);

/* Version of the library, such as "0.1.0". Static, never NULL. */
const char *memloupe_version(void);

/* What was wrong with the last call on this thread that failed; "" if none did. Valid until the next call that fails
 * on this thread. Never NULL. */
const char *memloupe_last_error(void);

/* Functions that write a text or bytes take a buffer, its capacity, and where to put the size that is needed (with a
 * text's NUL). Call with a capacity of 0, when the buffer may be NULL, to learn the size. */

/* ---- memloupe_memory: the memory of a machine in time ----
 *
 * The device, channels, ranks and mapping are those of the machine's [memory]; its cores and caches play no part. Further
 * memories of a machine ([memory.tier.NAME]) follow one behind the other in the address space, each as large as its capacity, with
 * the link before them; what a request finds beyond the way to [memory] is added. Which page goes where is the caller's. Time is
 * the caller's: it begins at 0 and never goes back from one call to the next. A request becomes bursts in the queues of its
 * channels' controllers; it is done when the data of its last burst is through. A larger request than a burst is
 * accepted if its first burst finds room. Writes complete like reads, at the end of their data; a host that goes on once
 * a write is accepted need not wait. Requests overtake each other as the controllers schedule them, those to one address
 * too: data is the host's to move, at acceptance.
 */
typedef struct memloupe_memory memloupe_memory;

#define MEMLOUPE_MAX_REQUEST_BYTES 65536u
#define MEMLOUPE_MAX_TAGS 16777216u
#define MEMLOUPE_MAX_CORES 65536u
#define MEMLOUPE_MAX_TIME_PS (UINT64_C(1) << 63)
#define MEMLOUPE_NEVER_PS UINT64_MAX

typedef enum memloupe_request_kind {
    MEMLOUPE_REQUEST_READ = 0,
    MEMLOUPE_REQUEST_WRITE = 1,
    MEMLOUPE_REQUEST_PREFETCH = 2,  /* reads; counted apart */
    MEMLOUPE_REQUEST_WRITEBACK = 3  /* writes; counted apart */
} memloupe_request_kind;

typedef struct memloupe_request {
    uint64_t id;         /* the caller's name for it; comes back with the completion, need not be unique */
    uint64_t address;
    uint64_t pc;         /* instruction that it is for, 0 if not known; DRAM does not look at it */
    uint32_t size_bytes; /* 1 to MEMLOUPE_MAX_REQUEST_BYTES */
    uint32_t kind;       /* memloupe_request_kind */
    uint32_t core;       /* below MEMLOUPE_MAX_CORES, for schedulers that tell senders apart */
    uint32_t tag;        /* below MEMLOUPE_MAX_TAGS: what it is charged to, an operator for example; memory grows with the largest */
} memloupe_request;

typedef struct memloupe_completion {
    uint64_t id;
    uint64_t accepted_ps;
    uint64_t finished_ps;
    uint32_t kind;
    uint32_t tag;
} memloupe_completion;

typedef struct memloupe_tag_counters { /* arrays by memloupe_request_kind */
    uint64_t requests[4];       /* accepted */
    uint64_t bytes[4];
    uint64_t done[4];           /* completed */
    uint64_t latency_ps[4];     /* sum over those from acceptance to completion */
    uint64_t max_latency_ps[4];
    uint64_t row_hits;          /* bursts of all kinds; one that a queued write answered or took in found nothing */
    uint64_t row_misses;
    uint64_t row_conflicts;
} memloupe_tag_counters;

typedef struct memloupe_statistic {
    const char *name; /* static texts, but for a system's */
    const char *unit;
    const char *description;
    uint32_t is_count; /* 1 if it only grows: the difference of two readings says what happened between them */
    uint32_t reserved;
} memloupe_statistic;

/* Called once for each request that is done, in the order of their ends. */
typedef void (*memloupe_completion_callback)(void *user_data, const memloupe_completion *completion);

/* Creates the memory of a preset ("host", "desktop", ...) or of a machine file's path. config is TOML and may be NULL:
 *
 *   model = "dram"          # or "fixed": latency_ps for every request, whatever the machine's device
 *                           # or "library", whatever the machine's device: a memory of your own (memloupe_plugin.h), which
 *                           # has no checkpoints and counts no row hits
 *   library = "./my.so"     # that one, and the text that it gets
 *   library_parameters = ""
 *   latency_ps = 0          # added to every request, for the way to the device and back
 *   max_outstanding = 0     # requests under way beyond which others are refused; 0 is no limit but the queues'
 *   [controller]            # of each channel; these are the defaults
 *   read_queue = 32
 *   write_queue = 32
 *   write_high_watermark = 0.8
 *   write_low_watermark = 0.2
 *   scheduler = "fr-fcfs"   # "fcfs", { fr-fcfs-cap = 4 }, { bliss = { threshold = 4, clear_every = 10000 } }
 *   row_policy = "open"     # "closed", { capped = 4 }, { timeout = 200 }, "adaptive"
 *   no_refresh = false
 *
 * *memory is set to NULL on failure. */
memloupe_status memloupe_memory_create(const char *machine, const char *config, memloupe_memory **memory);

/* The same from the text of a machine file, such as
 * "extends = \"desktop\"\n[memory]\ndevice = \"DDR5-4800BN\"\nchannels = 2\n". */
memloupe_status memloupe_memory_create_from_toml(const char *toml, const char *config, memloupe_memory **memory);

/* Frees a memory; NULL is allowed. MEMLOUPE_BUSY from its callback. */
memloupe_status memloupe_memory_destroy(memloupe_memory *memory);

/* From now on completions go to the callback; if it is NULL, they are kept for memloupe_memory_take_completions. */
memloupe_status memloupe_memory_on_completion(memloupe_memory *memory, memloupe_completion_callback callback,
                                              void *user_data);

/* Offers a request at a time. *accepted is false if it was refused: it may come again, at the latest after
 * memloupe_memory_next_event. Makes no callback. */
memloupe_status memloupe_memory_send(memloupe_memory *memory, uint64_t time_ps, const memloupe_request *request,
                                     bool *accepted);

/* When to call memloupe_memory_advance at the latest: a request may be done then or, if the last one was refused, there
 * may be room. MEMLOUPE_NEVER_PS if nothing is under way. Holds until the next send. */
memloupe_status memloupe_memory_next_event(memloupe_memory *memory, uint64_t *time_ps);

/* Lets time pass and delivers the requests that are done by then. */
memloupe_status memloupe_memory_advance(memloupe_memory *memory, uint64_t until_ps);

/* Lets time pass until everything is done; end_ps, which may be NULL, is set to when that was. */
memloupe_status memloupe_memory_drain(memloupe_memory *memory, uint64_t *end_ps);

/* Moves at most capacity kept completions to the array, the oldest first; *count is set to how many. */
memloupe_status memloupe_memory_take_completions(memloupe_memory *memory, memloupe_completion *completions,
                                                 size_t capacity, size_t *count);

/* Requests that were accepted and have not completed. */
memloupe_status memloupe_memory_outstanding(const memloupe_memory *memory, uint64_t *count);

/* Contents, for hosts that keep none: sparse, zero until written, without any time. Addresses wrap around. */
memloupe_status memloupe_memory_read_store(memloupe_memory *memory, uint64_t address, uint8_t *bytes, size_t count);
memloupe_status memloupe_memory_write_store(memloupe_memory *memory, uint64_t address, const uint8_t *bytes,
                                            size_t count);

/* Everything that changes, requests under way, contents and statistics included, as bytes. They can be restored by the
 * same version of the library, into a memory of equal machine and configuration. Kept completions must have been taken. */
memloupe_status memloupe_memory_checkpoint(const memloupe_memory *memory, uint8_t *buffer, size_t capacity_bytes,
                                           size_t *needed_bytes);
memloupe_status memloupe_memory_restore(memloupe_memory *memory, const uint8_t *bytes, size_t count);

/* {"machine": NAME, "device": NAME or null, "channels": N, "memories": [{"name": NAME, "first_address": N, ...}, ...],
 * "totals": {NAME: NUMBER or null, ...}, "tags": [{...}, ...]}; device and percentiles of latency are null for several memories. */
memloupe_status memloupe_memory_statistics_json(const memloupe_memory *memory, char *buffer, size_t capacity_bytes,
                                                size_t *needed_bytes);

/* The counts of one tag; zeros if it was never used. */
memloupe_status memloupe_memory_tag_counters(const memloupe_memory *memory, uint32_t tag,
                                             memloupe_tag_counters *counters);

/* The numbers that memloupe_memory_statistic knows: those of "totals", in that order. */
uint32_t memloupe_memory_statistic_count(void);
memloupe_status memloupe_memory_statistic_about(uint32_t index, memloupe_statistic *about);

/* One number by name; not a number if it is not known, as energy without the device's currents. */
memloupe_status memloupe_memory_statistic(const memloupe_memory *memory, const char *name, double *value);

/* ---- memloupe_system: caches above DRAM, access by access, without time ---- */
typedef struct memloupe_system memloupe_system;

typedef enum memloupe_access_kind {
    MEMLOUPE_LOAD = 0,
    MEMLOUPE_STORE = 1,
    MEMLOUPE_READ_MODIFY_WRITE = 2, /* one access, a read if it misses */
    MEMLOUPE_PREFETCH = 3,
    MEMLOUPE_NON_TEMPORAL_STORE = 4,
    MEMLOUPE_FETCH = 5,
    MEMLOUPE_NON_TEMPORAL_LOAD = 6
} memloupe_access_kind;

#define MEMLOUPE_MAX_ACCESS_BYTES 65536u
#define MEMLOUPE_MAX_OWNERS 16777216u

typedef struct memloupe_access {
    uint64_t address;    /* bits above the 57th do not count, save as a sign */
    uint64_t pc;         /* its instruction, for policies and prefetchers that learn by it; 0: owners stand for instructions */
    uint32_t size_bytes; /* 1 to MEMLOUPE_MAX_ACCESS_BYTES */
    uint32_t kind;       /* memloupe_access_kind */
    uint32_t core;
    uint32_t owner;      /* what it is charged to, below the number reserved */
} memloupe_access;

typedef struct memloupe_answer {
    uint32_t level;    /* that answered the slowest of its lines, in the machine's order of levels; their number for memory */
    uint32_t reserved;
    double latency_ns; /* of that level, or of memory with what the row cost; unloaded */
} memloupe_answer;

/* Called for each request that leaves the last level: a fill, or with write a dirty line. owner is who missed, or who
 * last wrote. */
typedef void (*memloupe_line_callback)(void *user_data, uint64_t line_address, uint64_t size_bytes, bool write,
                                       uint32_t owner);

/* Creates the system of a preset ("host", "desktop", ...) or of a machine file's path. *system is set to NULL on
 * failure. The system has one owner, 0. Owners have no object class: a machine that places or partitions by class is
 * MEMLOUPE_BAD_MACHINE. */
memloupe_status memloupe_system_create(const char *machine, memloupe_system **system);

/* The same from the text of a machine file. */
memloupe_status memloupe_system_create_from_toml(const char *toml, memloupe_system **system);

/* Frees a system; NULL is allowed. MEMLOUPE_BUSY from its callback. */
memloupe_status memloupe_system_destroy(memloupe_system *system);

/* How many cores the machine has. */
memloupe_status memloupe_system_core_count(const memloupe_system *system, uint32_t *core_count);

/* Gives the owners 0 to owner_count - 1 counters of their own. An owner is whatever the caller wants to tell apart.
 * Owners that exist are kept. */
memloupe_status memloupe_system_reserve_owners(memloupe_system *system, uint32_t owner_count);

/* From now on the callback is told what leaves the last level; NULL for nobody. */
memloupe_status memloupe_system_on_line(memloupe_system *system, memloupe_line_callback callback, void *user_data);

/* Simulates one access, which must not reach beyond the end of the address space. answer may be NULL. */
memloupe_status memloupe_system_access(memloupe_system *system, const memloupe_access *access,
                                       memloupe_answer *answer);

/* Writes all dirty lines to memory, charged to the owners that wrote them. */
memloupe_status memloupe_system_flush(memloupe_system *system);

/* {"machine": NAME, "totals": COUNTERS, "owners": [COUNTERS...]}, where COUNTERS is an object with, for each level such
 * as l1d, l1d_line_accesses, l1d_misses, l1d_read_misses, l1d_write_misses, l1d_prefetch_misses, l1d_fills and
 * l1d_writebacks, and straddles, non_temporal_lines, dram_read_bytes, dram_write_bytes, row_hits, row_misses,
 * row_conflicts and dram_read_latency_ps. A machine with levels beyond plain LRU caches has more for each level:
 * prefetches, classes of misses and so on. */
memloupe_status memloupe_system_statistics_json(const memloupe_system *system, char *buffer, size_t capacity_bytes,
                                                size_t *needed_bytes);

/* The numbers that memloupe_system_statistic knows: those of "totals", which depend on the machine's levels. Texts live as
 * long as the system. */
memloupe_status memloupe_system_statistic_count(const memloupe_system *system, uint32_t *count);
memloupe_status memloupe_system_statistic_about(const memloupe_system *system, uint32_t index,
                                                memloupe_statistic *about);

/* One number by name, over all owners. */
memloupe_status memloupe_system_statistic(const memloupe_system *system, const char *name, double *value);

/* ---- memloupe_reader: the accesses of a recorded program, with names ----
 *
 * Accesses come in the order of the recording: each thread's as the program made them, those of several threads in the
 * order of the segments in which they were recorded. Ids are numbers from 0 on that hold for the reader; names are known once
 * an access with the id was read. The files of the program and its libraries must be where they were, or said to be moved:
 * functions that announce operators are looked up in them.
 */
typedef struct memloupe_reader memloupe_reader;

#define MEMLOUPE_NO_OPERATOR UINT32_MAX

typedef struct memloupe_recorded_access {
    uint64_t address;
    uint64_t pc;          /* its instruction; of a fetch, the first one of the block */
    uint32_t size_bytes;  /* 0 for a prefetch; of a fetch, the block's */
    uint32_t kind;        /* memloupe_access_kind */
    uint32_t thread;      /* 0 for the first one */
    uint32_t operator_id; /* that the thread is in, or MEMLOUPE_NO_OPERATOR */
    uint32_t object_id;   /* that the access touches */
    uint32_t phase_id;
} memloupe_recorded_access;

/* Opens a recording. *reader is set to NULL on failure. */
memloupe_status memloupe_reader_open(const char *recording, memloupe_reader **reader);

/* Frees a reader; NULL is allowed. */
memloupe_status memloupe_reader_destroy(memloupe_reader *reader);

/* Files of the program that were below from are below to. To be said before the first read. */
memloupe_status memloupe_reader_moved(memloupe_reader *reader, const char *from, const char *to);

/* Writes the next accesses to the array and their number to *count: fewer than capacity only at the end or before damage, and 0
 * once at the end. MEMLOUPE_BAD_RECORDING where the recording is damaged, once everything before it was read; nothing comes
 * behind that. */
memloupe_status memloupe_reader_read(memloupe_reader *reader, memloupe_recorded_access *accesses, size_t capacity,
                                     size_t *count);

/* {"kind": "MUL_MAT", "name": "ffn_up-7", "layer": "blk.7" or null, "shape": "576x16", "type": "f32", "sources": "..."} */
memloupe_status memloupe_reader_operator_json(const memloupe_reader *reader, uint32_t operator_id, char *buffer,
                                              size_t capacity_bytes, size_t *needed_bytes);

/* {"name": "blk.7.ffn_up.weight", "class": "weight", "bytes": 1769472}: bytes is the most that it had so far. */
memloupe_status memloupe_reader_object_json(const memloupe_reader *reader, uint32_t object_id, char *buffer,
                                            size_t capacity_bytes, size_t *needed_bytes);

/* {"name": "decode", "index": 3 or null}: numbered phases from 16 on share the id of the first of their octave (16 to 31,
 * 32 to 63 and so on). */
memloupe_status memloupe_reader_phase_json(const memloupe_reader *reader, uint32_t phase_id, char *buffer,
                                           size_t capacity_bytes, size_t *needed_bytes);

/* {"command": [...], "executable": PATH, "started_unix_seconds": N, "engine": "native" or "valgrind" or null, "threads": N,
 * "lost_records": N, "unobserved_instructions": N, "is_complete": false}: what comes from the end of the recording is null, 0 or
 * false before that was read. */
memloupe_status memloupe_reader_about_json(const memloupe_reader *reader, char *buffer, size_t capacity_bytes,
                                           size_t *needed_bytes);

#ifdef __cplusplus
}
#endif

#endif
