/* Client requests from the preloaded allocator wrappers to the tool.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef MEMLOUPE_HEAP_REQUESTS_H
#define MEMLOUPE_HEAP_REQUESTS_H

#include "valgrind.h"

enum {
    ML_HEAP_ENTER = VG_USERREQ_TOOL_BASE('M', 'L'), /* wrapper's frame, memory about to be freed or 0 */
    ML_HEAP_LEAVE,                                  /* wrapper's frame, memory handed out or 0, bytes */
};

#endif
