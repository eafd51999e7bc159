/* What the marker API (instrument/markers) calls: being called is all that counts, and the arguments are read by probes like those
 * of any function. Different bodies keep their addresses apart.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later */

#define MARKER(name, number) \
    void name(void); \
    __attribute__((noinline)) void name(void) { __asm__ volatile("nopl %c0(%%rax)" : : "i"(number) : "memory"); }

MARKER(memloupe_marker_operator_begin, 1)
MARKER(memloupe_marker_operator_end, 2)
MARKER(memloupe_marker_phase_begin, 3)
MARKER(memloupe_marker_phase_end, 4)
MARKER(memloupe_marker_object, 5)
MARKER(memloupe_marker_object_end, 6)
MARKER(memloupe_marker_region_begin, 7)
MARKER(memloupe_marker_region_end, 8)
