/* The target's threads: their numbers, their rings, and which of them is running.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "memloupe_tool.h"

struct thread *thread_current;

static struct thread **threads; /* by Valgrind's ThreadId */
static UInt live;

static void make_current(struct thread *thread)
{
    if (thread == thread_current)
        return;
    if (thread_current != NULL)
        ring_close();
    thread_current = thread;
    ring_open(thread->ring);
    probe_thread_switched();
}

Bool thread_enter(void)
{
    ThreadId tid = VG_(get_running_tid)();
    if (threads == NULL || tid == VG_INVALID_THREADID || threads[tid] == NULL || !threads[tid]->started)
        return False;
    make_current(threads[tid]);
    return True;
}

static void on_start_client_code(ThreadId tid, ULong blocks_dispatched)
{
    make_current(threads[tid]);
}

static void on_create(ThreadId parent, ThreadId child)
{
    if (threads == NULL)
        threads = VG_(calloc)("memloupe.threads", VG_N_THREADS, sizeof *threads);
    struct thread *thread = VG_(calloc)("memloupe.thread", 1, sizeof *thread);
    thread->index = stream->next_thread++;
    thread->parent = parent == VG_INVALID_THREADID ? thread->index : threads[parent]->index;
    threads[child] = thread;
}

static void on_first_instruction(ThreadId tid)
{
    struct thread *thread = threads[tid];
    /* Not `no thread is current`: that is so as well whenever the last one to run has just ended. */
    static Bool any_started = False;
    Bool is_first = !any_started;
    any_started = True;
    UInt os_tid = VG_(gettid)();
    thread->ring = ring_claim(thread->index, os_tid);
    thread->started = True;
    live++;
    make_current(thread);
    if (is_first && stream_continues())
        event_text(ML_EVENT_EXEC, NULL, 0, VG_(args_the_exename));
    ULong start[] = {thread->index, os_tid, thread->parent, VG_(get_SP)(tid)};
    event_words(ML_EVENT_THREAD_START, start, 4);
    if (is_first)
        map_report_all();
}

static void on_exit(ThreadId tid)
{
    struct thread *thread = threads[tid];
    if (!thread->started) /* it could not be created */
        return;
    if (live == 1) /* its end is the process's, see thread_end_all */
        return;
    live--;
    make_current(thread);
    ULong index = thread->index;
    event_words(ML_EVENT_THREAD_END, &index, 1);
    ring_close();
    if (stream_live && thread->ring != NULL)
        ring_end(thread->ring);
    thread_current = NULL;
    threads[tid] = NULL;
    VG_(free)(thread);
}

void thread_end_all(void)
{
    ring_close();
    for (UInt tid = 0; tid < VG_N_THREADS; tid++) {
        if (threads[tid] != NULL && threads[tid]->ring != NULL)
            ring_end(threads[tid]->ring);
    }
}

void thread_track(void)
{
    VG_(track_pre_thread_ll_create)(on_create);
    VG_(track_pre_thread_first_insn)(on_first_instruction);
    VG_(track_pre_thread_ll_exit)(on_exit);
    VG_(track_start_client_code)(on_start_client_code);
}
