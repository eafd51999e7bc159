/* Allocations and their call stacks. The target keeps its own allocator; preloaded wrappers tell of the calls.
 * Allocator functions call one another: only the outermost call counts.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "memloupe_tool.h"
#include "heap_requests.h"

#define STACK_DEPTH 24

struct call_stack {
    struct call_stack *next;
    UWord hash;
    UInt id;
    UInt depth;
    Addr frames[STACK_DEPTH];
};

static VgHashTable *stacks;

static Word compare_stacks(const void *a, const void *b)
{
    const struct call_stack *left = a, *right = b;
    return left->depth != right->depth || VG_(memcmp)(left->frames, right->frames, left->depth * sizeof(Addr)) != 0;
}

UInt heap_stack(ThreadId tid)
{
    Addr frames[STACK_DEPTH + 1];
    struct call_stack sought = {0};
    UInt count = VG_(get_StackTrace)(tid, frames, STACK_DEPTH + 1, NULL, NULL, 0);
    UInt wrapper = 0;
    while (wrapper < count && map_is_own(frames[wrapper]))
        wrapper++;
    for (UInt i = wrapper; i < count && sought.depth < STACK_DEPTH; i++) {
        /* Beyond a thread's first function the unwinder finds arguments and environment. */
        if (!VG_(am_is_valid_for_client)(frames[i], 1, VKI_PROT_EXEC))
            break;
        sought.frames[sought.depth++] = frames[i];
        sought.hash = (sought.hash ^ frames[i]) * 0x9e3779b97f4a7c15ull;
    }
    if (stacks == NULL)
        stacks = VG_(HT_construct)("memloupe.stacks");
    struct call_stack *known = VG_(HT_gen_lookup)(stacks, &sought, compare_stacks);
    if (known != NULL)
        return known->id;
    known = VG_(malloc)("memloupe.stack", sizeof *known);
    *known = sought;
    known->id = ++stream->next_stack;
    VG_(HT_add_node)(stacks, known);
    ULong id = known->id;
    event_list(ML_EVENT_STACK, &id, 1, (const ULong *)known->frames, known->depth);
    return known->id;
}

static void on_enter(Addr frame, Addr freed)
{
    struct thread *thread = thread_current;
    /* Stacks grow downwards. A frame at or above the noted one: that call was left by an exception or longjmp. */
    if (thread->heap_frame != 0 && frame < thread->heap_frame)
        return;
    thread->heap_frame = frame;
    ULong address = freed;
    if (freed != 0)
        event_words(ML_EVENT_FREE, &address, 1);
}

static void on_leave(ThreadId tid, Addr frame, Addr allocated, SizeT bytes)
{
    struct thread *thread = thread_current;
    if (thread->heap_frame != frame)
        return;
    thread->heap_frame = 0;
    if (allocated == 0)
        return;
    ULong payload[] = {allocated, bytes, heap_stack(tid)};
    event_words(ML_EVENT_ALLOC, payload, 3);
}

static Bool on_client_request(ThreadId tid, UWord *arguments, UWord *result)
{
    if (!VG_IS_TOOL_USERREQ('M', 'L', arguments[0]))
        return False;
    *result = 0;
    if (!stream_live || !thread_enter())
        return True;
    if (arguments[0] == ML_HEAP_ENTER)
        on_enter(arguments[1], arguments[2]);
    else if (arguments[0] == ML_HEAP_LEAVE)
        on_leave(tid, arguments[1], arguments[2], arguments[3]);
    return True;
}

void heap_track(void)
{
    VG_(needs_client_requests)(on_client_request);
}
