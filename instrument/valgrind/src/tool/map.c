/* The target's mappings. An executable file is followed by SYNC: the consumer looks for functions to probe in it before
 * any of its code runs.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "memloupe_tool.h"

Bool map_remapping;
Bool map_next_is_stack;
ThreadId map_caller = VG_INVALID_THREADID;

struct range {
    Addr start, end;
};

static XArray *own; /* of struct range: code that belongs to Valgrind or the wrappers */

Bool map_is_own(Addr address)
{
    if (own == NULL)
        return False;
    for (Word i = 0; i < VG_(sizeXA)(own); i++) {
        const struct range *range = VG_(indexXA)(own, i);
        if (address - range->start < range->end - range->start)
            return True;
    }
    return False;
}

static void add_own(Addr start, SizeT bytes)
{
    if (own == NULL)
        own = VG_(newXA)(VG_(malloc), "memloupe.own", VG_(free), sizeof(struct range));
    struct range range = {start, start + bytes};
    VG_(addToXA)(own, &range);
}

static Bool is_preload(const HChar *path)
{
    const HChar *name = VG_(strrchr)(path, '/');
    return name != NULL && VG_(strncmp)(name, "/vgpreload_", 11) == 0;
}

static void sync(void)
{
    ULong number = ++stream->next_sync;
    event_words(ML_EVENT_SYNC, &number, 1);
    ring_close();
    stream_ring_doorbell();
    while (stream_live) {
        ULong seen = *(volatile ULong *)&stream->sync_ack;
        if (seen >= number)
            break;
        stream_wait((volatile UInt *)&stream->sync_ack, (UInt)seen);
    }
    ring_open(thread_current->ring);
    if (stream_live)
        probe_take();
}

static void report(Addr address, SizeT bytes, UInt protection, enum ml_map kind)
{
    const NSegment *segment = VG_(am_find_nsegment)(address);
    const HChar *path = NULL;
    ULong offset = 0;
    if (segment != NULL && segment->kind == SkFileC) {
        path = VG_(am_get_filename)(segment);
        kind = ML_MAP_FILE;
        offset = segment->offset + (address - segment->start);
    }
    /* What the allocator maps is handed out later, with call stacks of its own. */
    Bool is_told = kind == ML_MAP_ANONYMOUS && map_caller != VG_INVALID_THREADID && thread_current->heap_frame == 0;
    ULong payload[] = {address, bytes, protection, kind, offset, is_told ? heap_stack(map_caller) : 0};
    event_text(ML_EVENT_MAP, payload, 6, path == NULL ? "" : path);
    if (!(protection & VKI_PROT_EXEC))
        return;
    site_forget_known();
    if (path != NULL) {
        if (is_preload(path))
            add_own(address, bytes);
        sync();
    }
}

static UInt protection_of(Bool readable, Bool writable, Bool executable)
{
    return (readable ? VKI_PROT_READ : 0) | (writable ? VKI_PROT_WRITE : 0) | (executable ? VKI_PROT_EXEC : 0);
}

/* The main thread's stack grows downwards: what it may grow to is reported at once. */
static void report_main_stack(const NSegment *segment)
{
    SizeT bytes = VG_PGROUNDUP(VG_(thread_get_stack_size)(1));
    report(segment->end + 1 - bytes, bytes, protection_of(segment->hasR, segment->hasW, segment->hasX), ML_MAP_STACK);
}

void map_report_all(void)
{
    const UInt kinds = SkFileC | SkAnonC | SkShmC;
    Int room = 64, count;
    Addr *starts = NULL;
    do {
        room *= 2;
        starts = VG_(realloc)("memloupe.segments", starts, room * sizeof *starts);
        count = VG_(am_get_segment_starts)(kinds, starts, room);
    } while (count < 0);
    Addr stack = VG_(thread_get_stack_max)(1), trampoline = (Addr)&VG_(trampoline_stuff_start);
    for (Int i = 0; i < count; i++) {
        const NSegment *segment = VG_(am_find_nsegment)(starts[i]);
        if (segment->start <= stack && stack <= segment->end)
            report_main_stack(segment);
        else if (segment->start <= trampoline && trampoline <= segment->end)
            add_own(segment->start, segment->end + 1 - segment->start);
        else if (segment->start != VG_(brk_base)) /* brk's placeholder page */
            report(segment->start, segment->end + 1 - segment->start,
                   protection_of(segment->hasR, segment->hasW, segment->hasX), ML_MAP_ANONYMOUS);
    }
    VG_(free)(starts);
}

static void on_map(Addr address, SizeT bytes, Bool readable, Bool writable, Bool executable, ULong debug_info)
{
    if (!map_remapping && thread_enter())
        report(address, bytes, protection_of(readable, writable, executable),
               map_next_is_stack ? ML_MAP_STACK : ML_MAP_ANONYMOUS);
}

/* Code made by the target itself: it is written first and executable later. */
static void on_protect(Addr address, SizeT bytes, Bool readable, Bool writable, Bool executable)
{
    if (executable && thread_enter())
        report(address, bytes, protection_of(readable, writable, executable), ML_MAP_ANONYMOUS);
}

static void on_unmap(Addr address, SizeT bytes)
{
    if (map_remapping || !thread_enter())
        return;
    ULong payload[] = {address, bytes};
    event_words(ML_EVENT_UNMAP, payload, 2);
}

static void on_brk(Addr address, SizeT bytes, ThreadId tid)
{
    if (thread_enter())
        report(address, bytes, VKI_PROT_READ | VKI_PROT_WRITE, ML_MAP_BRK);
}

void map_track(void)
{
    VG_(track_new_mem_mmap)(on_map);
    VG_(track_change_mem_mprotect)(on_protect);
    VG_(track_die_mem_munmap)(on_unmap);
    VG_(track_new_mem_brk)(on_brk);
    VG_(track_die_mem_brk)(on_unmap);
}
