/* The access stream between a capture engine (producer, in the target process) and memloupe (consumer).
 * PROTOCOL.md is the prose; this header is the layout for C; instrument/layout is the layout for Rust.
 * Both sides assert the same offsets at compile time. All integers are little-endian.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef MEMLOUPE_STREAM_H
#define MEMLOUPE_STREAM_H

#include <stddef.h>
#include <stdint.h>

#define ML_MAGIC 0x31304d4145525453ull /* "STREAM01" read as bytes S T R E A M 0 1 */
#define ML_VERSION 5u

/* The environment variable that names the inherited descriptor of the shared file (decimal). */
#define ML_FD_VARIABLE "MEMLOUPE_STREAM_FD"

/* ---- shared file header, at offset 0, one page -------------------------------------------------- */

struct ml_header {
    /* Written by the consumer before the target starts; constant afterwards. */
    uint64_t magic;
    uint32_t version;
    uint32_t header_bytes;
    uint64_t file_bytes;
    uint64_t sites_offset;
    uint64_t sites_bytes;
    uint64_t probes_offset;
    uint64_t probes_bytes;
    uint64_t rings_offset;
    uint64_t ring_bytes;   /* distance between ring headers; a ring header page and its chunks */
    uint32_t ring_count;
    uint32_t chunk_bytes;
    uint32_t chunk_count;  /* chunks of one ring */
    uint32_t consumer_pid;
    uint32_t gate;           /* offset 88: ML_GATE_…; 0: everything is recorded. See PROTOCOL.md, "The gate" */
    uint32_t sample_count;   /* of ML_GATE_SAMPLE */
    uint64_t first_instance; /* of ML_GATE_WINDOW: before this one of each thread's instances (1, 2, 3…) nothing is wanted */
    uint64_t last_instance;  /* nor behind this one; the largest number there is: without end */
    uint32_t discards;       /* 1: nobody reads records; chunks are written again and again. See PROTOCOL.md, "Discarding" */
    uint32_t reserved0[3];

    /* offset 128: consumer side */
    uint32_t consumer_waiting; /* 1 while the consumer sleeps on `doorbell` */
    uint32_t probe_count;      /* entries of the probe table that are complete (release) */
    uint64_t sync_ack;         /* highest ML_EVENT_SYNC number the consumer has acted on; futex word is its low half */
    uint32_t closed;           /* offset 144: 1 while no thread need record anything */
    uint32_t reserved1[11];

    /* offset 192: producer side */
    uint32_t doorbell;         /* futex word: bumped whenever a chunk is closed */
    uint32_t target_pid;       /* 0 until an engine attaches */
    uint32_t engine;           /* enum ml_engine */
    uint32_t finished;         /* 1 once the engine has closed every chunk in good order */
    uint64_t sites_published;  /* bytes of the site table that are complete (release) */
    uint32_t active_ring;      /* see active_head; ML_NO_RING when unused */
    uint32_t reserved2;
    uint64_t active_head;      /* an engine that runs one thread at a time keeps that thread's `head` here */
    uint64_t next_order;       /* offset 232: where the engine's numbering goes on after `exec`: chunk order, */
    uint32_t next_thread;      /* thread index, */
    uint32_t next_block;       /* block id, */
    uint32_t next_stack;       /* call-stack id, */
    uint32_t next_sync;        /* SYNC number */

    /* offset 256: counters, producer side, monotonic */
    uint64_t lost_records;            /* records dropped although the code was observed */
    uint64_t unobserved_instructions; /* executed without observation */
    uint64_t syscalls;
    uint64_t kernel_read_bytes;       /* target memory read by the kernel inside system calls */
    uint64_t kernel_written_bytes;    /* target memory written by the kernel inside system calls */
    uint64_t unobserved_processes;    /* forked or spawned children, which run unobserved */
    uint64_t signals_delivered;
    uint64_t translated_bytes;        /* of the engine's own code cache; 0 if it does not tell */
    uint64_t discarded_bytes;         /* of chunks that were filled and not closed */
};

#define ML_HEADER_BYTES 4096u
#define ML_NO_RING 0xffffffffu

enum ml_engine { ML_ENGINE_NONE = 0, ML_ENGINE_NATIVE = 1, ML_ENGINE_VALGRIND = 2 };

/* ---- rings: one per thread ---------------------------------------------------------------------- */

struct ml_ring {
    uint32_t state;  /* enum ml_ring_state */
    uint32_t thread; /* index of the owning thread: 0, 1, 2… in order of creation, never reused */
    uint32_t os_tid;
    uint32_t reserved0;
    uint64_t base;   /* address of this struct in the producer's address space */
    uint32_t reserved1[10];

    /* offset 64: producer side */
    uint64_t head;   /* producer address just behind the last complete record (in the open chunk) */
    uint64_t closed; /* chunks closed since the ring was claimed (release) */
    uint32_t reserved2[12];

    /* offset 128: consumer side */
    uint64_t tail;             /* chunks consumed since the ring was claimed (release); futex word is its low half */
    uint32_t producer_waiting; /* 1 while the producer sleeps on `tail` */
    uint32_t reserved3;
    uint64_t answered;         /* offset 144: ML_EVENT_ASKs answered; futex word is its low half */
    uint64_t answer[2];        /* ML_ANSWER_… | operator << 32, series | phase name << 32 */
    uint32_t reserved4[6];
};

#define ML_RING_HEADER_BYTES 4096u /* what lies behind struct ml_ring is the producer's own */

enum ml_ring_state {
    ML_RING_FREE = 0,  /* the producer may claim it (compare-and-swap to LIVE) */
    ML_RING_LIVE = 1,
    ML_RING_ENDED = 2, /* the thread is gone; the consumer drains it and frees it */
};

/* A chunk starts with this header; records follow, 8-byte aligned, none crosses a chunk's end. */
struct ml_chunk {
    uint64_t order;      /* of the segment that it begins with; see PROTOCOL.md, "Order" */
    uint32_t used_bytes; /* this header included; written when the chunk is closed */
    uint32_t reserved[13];
};

#define ML_CHUNK_HEADER_BYTES 64u

/* ---- site table --------------------------------------------------------------------------------- */

/* One entry per translated block, back to back, in order of `id` (0, 1, 2…). `operands` operands follow; none follow
 * where ML_BLOCK_PART is set. */
struct ml_block {
    uint32_t words; /* size of the whole entry in 8-byte words */
    uint32_t id;
    uint64_t address;      /* of the first instruction that starts in the block */
    uint32_t code_bytes;   /* contiguous guest code: [address, address + code_bytes) */
    uint32_t flops;        /* floating-point operations of one execution, an FMA counted as two */
    uint16_t instructions; /* that start in the block */
    uint16_t operands;
    uint16_t slots;        /* words in a block record after its first */
    uint16_t flags;        /* ML_BLOCK_… */
    uint32_t parent;       /* of a part: the block that it is the beginning of, which has a smaller id */
    uint16_t iteration_slots; /* words of one iteration of a loop, or of a loop's part */
    uint16_t reserved;
};

/* The block is a loop onto itself; each record stands for several executions. See PROTOCOL.md, "Loops". */
#define ML_BLOCK_LOOP 1u
/* The beginning of its parent, which was left early: its operands are the parent's first ones. */
#define ML_BLOCK_PART 2u
/* Its last instruction is a call: its last operand is the return address that this pushes. */
#define ML_BLOCK_CALL 4u
/* Its last instruction is a return: its last operand is the return address that this pops. */
#define ML_BLOCK_RETURN 8u

/* One memory operand: address = slot value (none: 0) + index slot value * scale + displacement; in a loop, + stride *
 * number of the iteration. Slot numbers beyond `slots` are the iteration's words. */
struct ml_operand {
    int32_t ip_offset; /* of its instruction from the block's address; may be negative, see PROTOCOL.md */
    uint16_t bytes;    /* of one access; of one lane in the forms that have lanes */
    uint8_t kind;      /* enum ml_kind */
    uint8_t flags;     /* ML_OPERAND_… */
    uint16_t slot;
    uint16_t index_slot;
    uint16_t mask_slot;
    uint8_t form;  /* enum ml_form */
    uint8_t scale; /* 0: no index */
    int64_t displacement;
    int32_t stride; /* in a loop block */
    uint8_t lanes;
    uint8_t index_bytes; /* width of one lane of a vector index */
    uint16_t reserved;
};

/* No base register: the displacement is the address. */
#define ML_NO_SLOT 0xffffu

/* How an operand becomes accesses; see PROTOCOL.md, "Forms". */
enum ml_form {
    ML_FORM_PLAIN = 0,    /* one access */
    ML_FORM_GATHER = 1,   /* one access for each active lane: vector index in the words from index_slot on */
    ML_FORM_MASKED = 2,   /* `lanes` lanes side by side: one access for each row of active ones */
    ML_FORM_ANY_LANE = 3, /* one access if any lane is active (a broadcast) */
    ML_FORM_COMPRESS = 4, /* one access of as many lanes as are active */
    ML_FORM_STRING = 5,   /* a `rep` string from the slot's value on; length: index slot's value - mask slot's value */
    ML_FORM_TABLE = 6,    /* xlat: the index is the low byte of the index slot */
    ML_FORM_TILE = 7,     /* AMX tile `lanes`: one access for each row; tile configuration in 8 words from mask_slot on */
    ML_FORM_BITS = 8,     /* bt with a bit number in a register, which the mask slot holds */
};

enum ml_kind {
    ML_LOAD = 0,
    ML_STORE = 1,
    ML_READ_MODIFY_WRITE = 2,
    ML_PREFETCH = 3,
    ML_NON_TEMPORAL_STORE = 4,
};

/* The access happens only if the slot's value is not ML_ABSENT. Such an operand has a slot of its own. */
#define ML_OPERAND_CONDITIONAL 1u
#define ML_ABSENT 0xffffffffffffffffull
/* The address is relative to the thread's FS base (ML_EVENT_SEGMENT_BASE). */
#define ML_OPERAND_FS 2u
/* The sum is cut to 32 bits before the segment's base is added. */
#define ML_OPERAND_ADDRESS_32 4u
/* The mask is the sign bit of each lane of a vector; without this flag, the low bits of one word. */
#define ML_OPERAND_VECTOR_MASK 8u

/* ---- records ------------------------------------------------------------------------------------ */

/* First word of a record: bits 63-56 type, low 32 bits argument.
 * ML_RECORD_BLOCK: argument = block id; `slots` words follow. Of a loop, bits 55-32 are 0 or say which part the last
 * iteration was: block id + them; behind the slots, the number of whole iterations, or if the block has iteration slots,
 * the bytes of the words of all iterations, which follow.
 * ML_RECORD_EVENT: argument = event type | payload words << 8; the payload follows. */
#define ML_RECORD_BLOCK 0x00u
#define ML_RECORD_EVENT 0x01u
#define ML_RECORD_SHIFT 56

/* Payload words in order. `text`: one word byte length, then the bytes padded with zeros to words. */
enum ml_event {
    ML_EVENT_THREAD_START = 1, /* thread, os_tid, parent thread, stack pointer */
    ML_EVENT_THREAD_END = 2,   /* thread */
    ML_EVENT_MAP = 3,          /* address, bytes, protection (PROT_… bits), enum ml_map, file offset,
                                * stack id (0: unknown), text path */
    ML_EVENT_UNMAP = 4,        /* address, bytes */
    ML_EVENT_REMAP = 5,        /* old address, old bytes, new address, new bytes */
    ML_EVENT_ALLOC = 6,        /* address, bytes, stack id (never 0) */
    ML_EVENT_FREE = 7,         /* address */
    ML_EVENT_STACK = 8,        /* stack id, then the call stack's instruction addresses, innermost first */
    ML_EVENT_FILE_READ = 9,    /* address, bytes, file offset, text path */
    ML_EVENT_PROBE_ENTER = 10, /* probe id, stack pointer, mask of fetches that could be read, their values padded to words */
    ML_EVENT_PROBE_LEAVE = 11, /* stack pointer: every probed frame entered at or below it is left */
    ML_EVENT_SYNC = 12,        /* number: the producer waits until sync_ack reaches it */
    ML_EVENT_FORK = 13,        /* child's process id, which runs unobserved */
    ML_EVENT_EXEC = 14,        /* text path: mappings, threads and objects are gone; the stream goes on */
    ML_EVENT_EXIT = 15,        /* exit code, fatal signal (0 if none) */
    ML_EVENT_UNOBSERVED = 16,  /* instructions, text cause */
    ML_EVENT_SEGMENT_BASE = 17, /* the thread's FS base from here on */
    ML_EVENT_ORDER = 18,       /* clock: what follows in this ring has this `order` */
    ML_EVENT_ASK = 19,         /* the producer waits to be told what its last PROBE_ENTER means */
    ML_EVENT_DRAW = 20,        /* series, number of the instance in it: the operator that the last PROBE_ENTER has begun */
};

enum ml_map { ML_MAP_ANONYMOUS = 0, ML_MAP_FILE = 1, ML_MAP_STACK = 2, ML_MAP_BRK = 3 };

#define ML_MAX_RECORD_BYTES 16384u

/* ---- probe table -------------------------------------------------------------------------------- */

#define ML_PROBE_STEPS 4
#define ML_PROBE_FETCHES 40
#define ML_PROBE_KEYS 264

/* Read `bytes` of target memory: p = register; p = load64(p + offset[i]) for i < steps; value at p + offset[steps].
 * With steps == ML_FETCH_REGISTER the value is the register itself. A null or unreadable pointer leaves the
 * value zero and its mask bit clear. */
struct ml_fetch {
    uint8_t reg; /* amd64 encoding number: rax 0, rcx 1, rdx 2, rbx 3, rsp 4, rbp 5, rsi 6, rdi 7, r8… */
    uint8_t steps;
    uint16_t bytes; /* 1…1024 */
    int32_t offset[ML_PROBE_STEPS + 1];
};
#define ML_FETCH_REGISTER 0xffu

/* Bytes of what is fetched that an answer depends on: `start` from the first value's first byte on. */
struct ml_key {
    uint16_t start;
    uint16_t bytes; /* bits 15-14: enum ml_key_kind */
};
enum ml_key_kind { ML_KEY_BYTES = 0, ML_KEY_TEXT = 1 /* up to a zero */, ML_KEY_PRESENCE = 2 /* whether all are zero */ };
#define ML_ALL_KEYS 0xffffu

/* Bits of ml_header.gate. */
#define ML_GATE_REGION 1u
#define ML_GATE_SAMPLE 2u
#define ML_GATE_WINDOW 4u

/* Bits of an answer's first word: what entering a function means. */
#define ML_ANSWER_OPERATOR 1u   /* an operator begins, or a part of one that has */
#define ML_ANSWER_UNTIL_NEXT 2u /* which goes on in the enclosing call until the next begins */
#define ML_ANSWER_REGION 4u     /* it is part of the region */
#define ML_ANSWER_PHASE 8u      /* a phase of the process begins: not to be remembered, ask again each time */
#define ML_ANSWER_MARK_BEGIN 16u
#define ML_ANSWER_MARK_END 32u
#define ML_ANSWER_UNTIL_ENDED 64u    /* the operator goes on until it is ended; so does the phase, which else ends with the call */
#define ML_ANSWER_ENDS_OPERATOR 128u /* the innermost operator of those is over */
#define ML_ANSWER_PHASE_REGION 256u  /* the phase that begins is the region */
#define ML_ANSWER_ENDS_PHASE 512u    /* the innermost phase of those that go on until they are ended is over */

/* Executed when a thread reaches `address`, before the instruction there; an entry of 2048 bytes. */
#define ML_ALLOCATOR_NEW 1u
#define ML_ALLOCATOR_DELETE 2u

struct ml_probe {
    uint64_t address; /* run-time address of the function's entry, where rsp points to the return address */
    uint32_t id;      /* index in the table */
    uint16_t fetches;
    uint16_t keys; /* ML_ALL_KEYS: all that is fetched is one */
    struct ml_fetch fetch[ML_PROBE_FETCHES];
    struct ml_key key[ML_PROBE_KEYS];
    uint64_t allocator; /* not 0: C++'s operator new (ML_ALLOCATOR_NEW) or delete, to be told as an allocation, not as this probe */
    uint64_t reserved0;
};

#define ML_ASSERT(name, condition) typedef char ml_assert_##name[(condition) ? 1 : -1]
ML_ASSERT(header, sizeof(struct ml_header) == 328);
ML_ASSERT(header_gate, offsetof(struct ml_header, gate) == 88);
ML_ASSERT(header_consumer, offsetof(struct ml_header, consumer_waiting) == 128);
ML_ASSERT(header_closed, offsetof(struct ml_header, closed) == 144);
ML_ASSERT(header_producer, offsetof(struct ml_header, doorbell) == 192);
ML_ASSERT(header_active, offsetof(struct ml_header, active_head) == 224);
ML_ASSERT(header_counters, offsetof(struct ml_header, lost_records) == 256);
ML_ASSERT(ring, sizeof(struct ml_ring) == 192);
ML_ASSERT(ring_head, offsetof(struct ml_ring, head) == 64);
ML_ASSERT(ring_tail, offsetof(struct ml_ring, tail) == 128);
ML_ASSERT(ring_answered, offsetof(struct ml_ring, answered) == 144);
ML_ASSERT(chunk, sizeof(struct ml_chunk) == ML_CHUNK_HEADER_BYTES);
ML_ASSERT(block, sizeof(struct ml_block) == 40);
ML_ASSERT(operand, sizeof(struct ml_operand) == 32);
ML_ASSERT(fetch, sizeof(struct ml_fetch) == 24);
ML_ASSERT(probe, sizeof(struct ml_probe) == 2048);
ML_ASSERT(probe_key, offsetof(struct ml_probe, key) == 976);

#endif
