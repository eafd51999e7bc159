/* System calls: what the kernel reads and writes, files read into memory, remapping, forks.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "memloupe_tool.h"

#define LINUX_MAP_STACK 0x20000

Int syscall_exit_code;

static Bool forked; /* the system call in progress has made a process */

static void on_before(ThreadId tid, UInt number, UWord *arguments, UInt count)
{
    map_remapping = number == __NR_mremap;
    map_caller = number == __NR_mmap ? tid : VG_INVALID_THREADID;
    map_next_is_stack = number == __NR_mmap && (arguments[3] & LINUX_MAP_STACK) != 0;
    if (number == __NR_exit_group || number == __NR_exit)
        syscall_exit_code = arguments[0] & 0xff;
}

static void report_read(Addr address, SizeT bytes, ULong offset, const HChar *path)
{
    ULong payload[] = {address, bytes, offset};
    event_text(ML_EVENT_FILE_READ, payload, 3, path);
}

static void report_file_read(UInt number, const UWord *arguments, SizeT bytes)
{
    Int fd = arguments[0];
    struct vg_stat file;
    const HChar *path;
    if (VG_(fstat)(fd, &file) != 0 || !VKI_S_ISREG(file.mode) || !VG_(resolve_filename)(fd, &path))
        return;
    Bool positioned = number == __NR_pread64 || number == __NR_preadv || number == __NR_preadv2;
    /* preadv2 with offset -1 uses the file's position. */
    ULong offset = positioned && (Long)arguments[3] != -1 ? arguments[3] : VG_(lseek)(fd, 0, VKI_SEEK_CUR) - bytes;
    if (number == __NR_read || number == __NR_pread64) {
        report_read(arguments[1], bytes, offset, path);
        return;
    }
    const struct vki_iovec *parts = (const struct vki_iovec *)arguments[1];
    for (UWord i = 0; i < arguments[2] && bytes > 0; i++) {
        SizeT part = parts[i].iov_len < bytes ? parts[i].iov_len : bytes;
        report_read((Addr)parts[i].iov_base, part, offset, path);
        offset += part;
        bytes -= part;
    }
}

static void on_after(ThreadId tid, UInt number, UWord *arguments, UInt count, SysRes result)
{
    map_remapping = map_next_is_stack = False;
    map_caller = VG_INVALID_THREADID;
    if (!stream_live || !thread_enter())
        return;
    stream->syscalls++;
    if (sr_isError(result))
        return;
    switch (number) {
    case __NR_read:
    case __NR_pread64:
    case __NR_readv:
    case __NR_preadv:
    case __NR_preadv2:
        if (sr_Res(result) > 0)
            report_file_read(number, arguments, sr_Res(result));
        break;
    case __NR_mremap: {
        ULong payload[] = {arguments[0], VG_PGROUNDUP(arguments[1]), sr_Res(result), VG_PGROUNDUP(arguments[2])};
        event_words(ML_EVENT_REMAP, payload, 4);
        break;
    }
    case __NR_fork:
    case __NR_vfork:
    case __NR_clone:
        if (forked) {
            ULong child = sr_Res(result);
            stream->unobserved_processes++;
            event_words(ML_EVENT_FORK, &child, 1);
        }
        break;
    default:
        break;
    }
    forked = False;
}

static void on_fork_parent(ThreadId tid)
{
    forked = True;
}

/* The child runs unobserved: it must not touch the stream, and what it executes runs natively. */
static void on_fork_child(ThreadId tid)
{
    VG_(clo_trace_children) = False;
    if (stream_live)
        stream_detach();
}

static void on_kernel_reads(CorePart part, ThreadId tid, const HChar *what, Addr address, SizeT bytes)
{
    if (part == Vg_CoreSysCall)
        stream->kernel_read_bytes += bytes;
}

static void on_kernel_reads_text(CorePart part, ThreadId tid, const HChar *what, Addr address)
{
    /* A bad pointer is the target's to make and the kernel's to refuse. */
    if (part == Vg_CoreSysCall && VG_(am_is_valid_for_client)(address, 1, VKI_PROT_READ))
        stream->kernel_read_bytes += VG_(strlen)((const HChar *)address) + 1;
}

static void on_kernel_writes(CorePart part, ThreadId tid, Addr address, SizeT bytes)
{
    if (part == Vg_CoreSysCall)
        stream->kernel_written_bytes += bytes;
}

static void on_signal(ThreadId tid, Int signal, Bool alternative_stack)
{
    stream->signals_delivered++;
}

void syscall_track(void)
{
    VG_(needs_syscall_wrapper)(on_before, on_after);
    VG_(track_pre_mem_read)(on_kernel_reads);
    VG_(track_pre_mem_read_asciiz)(on_kernel_reads_text);
    VG_(track_post_mem_write)(on_kernel_writes);
    VG_(track_pre_deliver_signal)(on_signal);
    VG_(atfork)(NULL, on_fork_parent, on_fork_child);
}
