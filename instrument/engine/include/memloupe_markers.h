/* Marks regions for `memloupe run --region marker=NAME`. Costs a look-up by name once and a branch from then on where the
 * program does not run under memloupe. Header only; link with -ldl where dlsym is not in the C library.
 *
 * A marked region belongs to the thread that marks it. Regions nest; begin and end name the same region.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef MEMLOUPE_MARKERS_H
#define MEMLOUPE_MARKERS_H

#include <dlfcn.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef void (*memloupe_marker)(const char *name);

/* The library that memloupe preloads has these two functions, which do nothing: being called is what counts. */
static inline memloupe_marker memloupe_find_marker(const char *symbol, memloupe_marker *found, int *searched)
{
    if (!__atomic_load_n(searched, __ATOMIC_ACQUIRE)) {
        /* Threads that come here together store the same. */
        __atomic_store_n(found, (memloupe_marker)(unsigned long)dlsym((void *)0, symbol), __ATOMIC_RELAXED);
        __atomic_store_n(searched, 1, __ATOMIC_RELEASE);
    }
    return __atomic_load_n(found, __ATOMIC_RELAXED);
}

/* `name`: what is compared with --region's GLOB; 31 characters count. */
static inline void memloupe_mark_begin(const char *name)
{
    static memloupe_marker found;
    static int searched;
    memloupe_marker begin = memloupe_find_marker("memloupe_region_begin", &found, &searched);
    if (begin)
        begin(name);
}

static inline void memloupe_mark_end(const char *name)
{
    static memloupe_marker found;
    static int searched;
    memloupe_marker end = memloupe_find_marker("memloupe_region_end", &found, &searched);
    if (end)
        end(name);
}

#ifdef __cplusplus
}
#endif
#endif
