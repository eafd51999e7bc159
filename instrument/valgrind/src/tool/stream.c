/* The shared file: attaching to it, waiting for the consumer, letting go of it.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "memloupe_tool.h"

struct ml_header *stream;
Bool stream_live;

static Int stream_fd = -1;
static Bool continues;
static Bool consumer_is_parent;

#define LINUX_ETIMEDOUT 110 /* Valgrind's kernel headers leave it out */
#define FUTEX_WAIT_SHARED 0
#define FUTEX_WAKE_SHARED 1

Bool stream_option(const HChar *argument)
{
    return VG_INT_CLO(argument, "--stream-fd", stream_fd);
}

Bool stream_continues(void)
{
    return continues;
}

__attribute__((noreturn, format(printf, 1, 2))) static void refuse(const HChar *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    VG_(umsg)("memloupe: ");
    VG_(vmessage)(Vg_UserMsg, format, arguments);
    va_end(arguments);
    VG_(exit)(1);
}

static void check_header(SizeT file_bytes)
{
    if (file_bytes < ML_HEADER_BYTES)
        refuse("the stream's file has %lu bytes, less than its header\n", file_bytes);
    if (stream->magic != ML_MAGIC)
        refuse("the inherited descriptor %d holds no access stream (magic %llx)\n", stream_fd, (ULong)stream->magic);
    if (stream->version != ML_VERSION)
        refuse("the stream has version %u, this tool speaks version %u: reinstall memloupe\n", stream->version,
               ML_VERSION);
    ULong ring_bytes = ML_RING_HEADER_BYTES + (ULong)stream->chunk_count * stream->chunk_bytes;
    if (stream->file_bytes > file_bytes || stream->sites_offset + stream->sites_bytes > file_bytes ||
        stream->probes_offset + stream->probes_bytes > file_bytes || stream->ring_bytes < ring_bytes ||
        stream->rings_offset + stream->ring_count * stream->ring_bytes > file_bytes)
        refuse("the stream's parts do not fit in its %lu bytes\n", file_bytes);
    if (stream->chunk_count < 2 || stream->chunk_bytes < ML_CHUNK_HEADER_BYTES + 2 * RECORD_SLACK_BYTES)
        refuse("the stream's chunks are too few or too small: %u of %u bytes\n", stream->chunk_count,
               stream->chunk_bytes);
}

void stream_attach(void)
{
    const HChar *variable = VG_(getenv)(ML_FD_VARIABLE);
    if (stream_fd < 0) {
        if (variable == NULL)
            refuse("this tool records for the program memloupe; start it by `memloupe run` (" ML_FD_VARIABLE
                   " is not set)\n");
        stream_fd = (Int)VG_(strtoll10)(variable, NULL);
    }
    struct vg_stat file;
    if (VG_(fstat)(stream_fd, &file) != 0)
        refuse("the stream's descriptor %d is not open\n", stream_fd);
    SysRes mapped = VG_(am_shared_mmap_file_float_valgrind)(file.size, VKI_PROT_READ | VKI_PROT_WRITE, stream_fd, 0);
    if (sr_isError(mapped))
        refuse("cannot map the stream's %lld bytes (error %lu)\n", file.size, sr_Err(mapped));
    stream = (struct ml_header *)sr_Res(mapped);
    check_header(file.size);

    UInt pid = VG_(getpid)();
    UInt owner = __sync_val_compare_and_swap(&stream->target_pid, 0, pid);
    if (owner != 0 && owner != pid) {
        stream_detach();
        return;
    }
    continues = owner == pid;
    stream_live = True;
    stream->engine = ML_ENGINE_VALGRIND;
    consumer_is_parent = VG_(getppid)() == (Int)stream->consumer_pid;

    /* Out of the target's reach, yet open across exec; the option tells Valgrind's next start its number, whatever
     * environment the target passes on. */
    stream_fd = VG_(safe_fd)(stream_fd);
    VG_(fcntl)(stream_fd, VKI_F_SETFD, 0);
    HChar option[32];
    VG_(sprintf)(option, "--stream-fd=%d", stream_fd);
    const HChar *kept = VG_(strdup)("memloupe.option", option);
    VG_(addToXA)(VG_(args_for_valgrind), &kept);
}

void stream_detach(void)
{
    stream_live = False;
    SysRes zeros = VG_(am_do_mmap_NO_NOTIFY)(
        (Addr)stream, VG_PGROUNDUP(stream->file_bytes), VKI_PROT_READ | VKI_PROT_WRITE,
        VKI_MAP_PRIVATE | VKI_MAP_FIXED | VKI_MAP_ANONYMOUS | VKI_MAP_NORESERVE, -1, 0);
    tl_assert(!sr_isError(zeros));
    VG_(close)(stream_fd);
    ring_open(NULL);
}

static Bool consumer_is_alive(void)
{
    /* A dead parent that nobody has waited for still answers kill(). */
    if (consumer_is_parent)
        return VG_(getppid)() == (Int)stream->consumer_pid;
    return !sr_isError(VG_(do_syscall)(__NR_kill, stream->consumer_pid, 0, 0, 0, 0, 0, 0, 0));
}

void stream_check_consumer(void)
{
    if (stream_live && !consumer_is_alive())
        stream_detach();
}

void stream_wait(volatile UInt *word, UInt seen)
{
    struct vki_timespec second = {1, 0};
    SysRes woken = VG_(do_syscall)(__NR_futex, (RegWord)word, FUTEX_WAIT_SHARED, seen, (RegWord)&second, 0, 0, 0, 0);
    if (sr_isError(woken) && sr_Err(woken) == LINUX_ETIMEDOUT)
        stream_check_consumer();
}

void stream_ring_doorbell(void)
{
    __sync_fetch_and_add(&stream->doorbell, 1);
    if (*(volatile UInt *)&stream->consumer_waiting)
        VG_(do_syscall)(__NR_futex, (RegWord)&stream->doorbell, FUTEX_WAKE_SHARED, 0x7fffffff, 0, 0, 0, 0, 0);
}
