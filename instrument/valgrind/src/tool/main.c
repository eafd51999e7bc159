/* The Valgrind tool "memloupe": it records the target's blocks, accesses and events to memloupe's access stream.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "memloupe_tool.h"

static void print_no_usage(void)
{
    VG_(printf)("    (memloupe sets the tool's one option, --stream-fd, by itself)\n");
}

static void on_finish(Int always_zero)
{
    if (!stream_live || !thread_enter())
        return;
    /* Valgrind does not tell tools of a fatal signal; it dies of the same one, so the wait status has it. */
    ULong payload[] = {syscall_exit_code, 0};
    event_words(ML_EVENT_EXIT, payload, 2);
    thread_end_all();
    *(volatile UInt *)&stream->finished = 1;
    stream_ring_doorbell();
}

static void on_options_processed(void)
{
    stream_attach();
    if (stream_continues()) {
        ring_end_orphans();
        probe_skip_old();
    }
}

static void on_load(void)
{
    VG_(details_name)("memloupe");
    VG_(details_version)(NULL);
    VG_(details_description)("records memory accesses for the program memloupe");
    VG_(details_copyright_author)("the memloupe authors, GPL-2.0-or-later.");
    VG_(details_bug_reports_to)("the memloupe project");
    VG_(details_avg_translation_sizeB)(480);
    VG_(basic_tool_funcs)(on_options_processed, instrument, on_finish);
    VG_(needs_command_line_options)(stream_option, print_no_usage, print_no_usage);
    /* A superblock starts wherever the target jumps to: function entries that VEX would inline could not be probed, and
     * its merging of "a && b" would turn accesses into conditional ones. */
    VG_(clo_vex_control).guest_chase = False;
    /* Otherwise VEX drops a load whose register is overwritten unread further down. */
    VG_(clo_vex_control).iropt_register_updates_default = VexRegUpdAllregsAtEachInsn;
    thread_track();
    map_track();
    heap_track();
    syscall_track();
}

VG_DETERMINE_INTERFACE_VERSION(on_load)
