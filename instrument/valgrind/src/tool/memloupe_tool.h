/* What the files of memloupe's Valgrind tool share. Each file's job stands at its top.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef MEMLOUPE_TOOL_H
#define MEMLOUPE_TOOL_H

#include "pub_tool_basics.h"
#include "pub_tool_aspacemgr.h"
#include "pub_tool_clientstate.h"
#include "pub_tool_clreq.h"
#include "pub_tool_guest.h"
#include "pub_tool_hashtable.h"
#include "pub_tool_libcassert.h"
#include "pub_tool_libcbase.h"
#include "pub_tool_libcfile.h"
#include "pub_tool_libcprint.h"
#include "pub_tool_libcproc.h"
#include "pub_tool_machine.h"
#include "pub_tool_mallocfree.h"
#include "pub_tool_options.h"
#include "pub_tool_stacktrace.h"
#include "pub_tool_threadstate.h"
#include "pub_tool_tooliface.h"
#include "pub_tool_vki.h"
#include "pub_tool_vkiscnums.h"
#include "pub_tool_xarray.h"
#include "memloupe_stream.h"

/* ---- stream.c: the shared file ------------------------------------------------------------------ */

/* What one superblock, or one event, may write once the cursor is at or below `ring_limit`. */
#define RECORD_SLACK_BYTES ML_MAX_RECORD_BYTES

/* The mapped file. In a forked child private zero pages lie at the same address. */
extern struct ml_header *stream;
/* False once nobody will read what is recorded: the consumer is dead, or this is a forked child. */
extern Bool stream_live;

/* Reads `--stream-fd=N`, with which Valgrind restarts itself when the target calls exec. */
Bool stream_option(const HChar *argument);
void stream_attach(void);
/* This process called exec: the stream holds records of the image before. */
Bool stream_continues(void);
/* Cuts the process off from the shared file, for good. */
void stream_detach(void);
/* Detaches if the consumer is dead. */
void stream_check_consumer(void);
/* Sleeps until `*word` differs from `seen`, at most a second. Detaches if the consumer is dead by then. */
void stream_wait(volatile UInt *word, UInt seen);
void stream_ring_doorbell(void);

/* ---- ring.c: rings and chunks ------------------------------------------------------------------- */

/* Above this the cursor must not start a superblock or an event. Read by translated code. */
extern Addr ring_limit;

/* The lowest free ring, claimed for a thread; NULL if there is none. */
struct ml_ring *ring_claim(UInt thread, UInt os_tid);
/* Rings of the image before exec: closes what they hold. */
void ring_end_orphans(void);
/* Directs records to `ring`'s next chunk; to the sink if it is NULL or the stream is dead. */
void ring_open(struct ml_ring *ring);
/* Ends the open chunk, if it holds anything. */
void ring_close(void);
void ring_end(struct ml_ring *ring);
/* Makes the cursor fit for `bytes` more. */
void ring_reserve(UInt bytes);
/* Called by translated code when the cursor is above the limit. */
void ring_refill(void);

/* ---- thread.c: the target's threads --------------------------------------------------------------- */

struct frame {
    Addr stack_pointer; /* at entry: it points to the return address */
    Addr return_address;
    UInt probe;
};

#define THREAD_FRAMES 256

struct thread {
    UInt index;
    UInt parent;
    Bool started;
    struct ml_ring *ring; /* NULL: there was none left, its records are lost and counted */
    /* Frame address of the outermost allocator call in progress, 0 if none. */
    Addr heap_frame;
    /* Probed functions that have been entered and not left, outermost first. */
    UInt frame_count;
    struct frame frames[THREAD_FRAMES];
};

/* The thread whose records are being written; NULL before the first. */
extern struct thread *thread_current;

void thread_track(void);
/* Makes the thread that holds Valgrind's lock the current one; False if there is none. */
Bool thread_enter(void);
void thread_end_all(void);

/* ---- event.c: event records ----------------------------------------------------------------------- */

void event_words(enum ml_event type, const ULong *payload, UInt words);
/* Payload words, then a text. */
void event_text(enum ml_event type, const ULong *payload, UInt words, const HChar *text);
/* Payload words, then more of them. */
void event_list(enum ml_event type, const ULong *payload, UInt words, const ULong *list, UInt list_words);

/* ---- operand.c: what a superblock accesses ------------------------------------------------------- */

struct operand {
    Int statement;    /* the first statement that needs its slot */
    Addr instruction;
    IRTemp root;      /* address = root + displacement; IRTemp_INVALID for an absolute address */
    Long displacement;
    IRExpr *address;  /* the whole address, for a conditional operand */
    IRExpr *guard;    /* NULL if unconditional */
    UShort bytes;
    UChar kind;       /* enum ml_kind */
    UShort slot;
    Bool first_of_slot;
};

struct block {
    Int first_statement;
    Int end_statement; /* the record is complete before this one */
    Addr address;
    UInt code_bytes;
    UInt flops;
    UInt instructions;
    UInt first_operand;
    UInt operands;
    UInt slots;
    UInt flags; /* ML_BLOCK_... */
    UInt id; /* SITE_NONE: not observed */
};

struct plan {
    struct block *blocks;
    UInt block_count;
    struct operand *operands;
    UInt operand_count;
};

/* Valid until the next call. */
const struct plan *operand_plan(const IRSB *superblock, Int first_statement);

/* ---- flops.c, site.c, instrument.c --------------------------------------------------------------- */

UInt flops_of(const IRExpr *expression);

#define SITE_NONE 0xffffffffu
UInt site_intern(const struct block *block, const struct operand *operands);
const struct ml_block *site_block(UInt id);
/* Code may have been replaced: blocks translated from now on are new ones. */
void site_forget_known(void);

IRSB *instrument(VgCallbackClosure *closure, IRSB *in, const VexGuestLayout *layout, const VexGuestExtents *extents,
                 const VexArchInfo *host, IRType guest_word, IRType host_word);

/* ---- probe.c: operator probes -------------------------------------------------------------------- */

/* A return that leaves the stack pointer above this leaves a probed frame. Read by translated code. */
extern Addr probe_leave_above;

/* Takes over what the consumer has added to the probe table. */
void probe_take(void);
/* Passes over what it added for the image before exec. */
void probe_skip_old(void);
/* The first of the probes at an address, NULL if none. */
const struct probe_site *probe_at(Addr address);
/* Called by translated code. */
void probe_enter(const struct probe_site *site, const VexGuestAMD64State *guest);
void probe_return(Addr stack_pointer);
/* The current thread has changed. */
void probe_thread_switched(void);

/* ---- map.c, heap.c, syscall.c: what the target does with memory ---------------------------------- */

void map_track(void);
/* Reports what is mapped when the first thread starts. */
void map_report_all(void);
/* Code of Valgrind and its preloaded objects, which is none of the target's. */
Bool map_is_own(Addr address);
/* The system call in progress is mremap, which reports itself. */
extern Bool map_remapping;
/* The thread whose system call in progress is mmap, if one is; and whether it is with MAP_STACK. */
extern ThreadId map_caller;
extern Bool map_next_is_stack;

void heap_track(void);
/* The id of a thread's call stack less the wrapper; defines it in the stream if it is new. */
UInt heap_stack(ThreadId tid);
void syscall_track(void);
/* What the target last asked to exit with. */
extern Int syscall_exit_code;

/* ---- core functions that the tool headers leave out ---------------------------------------------- */

extern SysRes VG_(am_shared_mmap_file_float_valgrind)(SizeT length, UInt protection, Int fd, Off64T offset);
extern SysRes VG_(am_do_mmap_NO_NOTIFY)(Addr start, SizeT length, UInt protection, UInt flags, Int fd, Off64T offset);
extern SysRes VG_(do_syscall)(UWord number, RegWord, RegWord, RegWord, RegWord, RegWord, RegWord, RegWord, RegWord);
extern Int VG_(safe_fd)(Int old);
extern Int VG_(fcntl)(Int fd, Int command, Addr argument);
extern Bool VG_(resolve_filename)(Int fd, const HChar **name);
extern void VG_(discard_translations)(Addr start, ULong bytes, const HChar *who); /* not from translated code */
extern Bool VG_(clo_trace_children);
extern Addr VG_(brk_base);
extern const UChar VG_(trampoline_stuff_start); /* Valgrind's code that the target may jump to */

#endif
