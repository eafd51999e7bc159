/* Tells memloupe what a program does: operators, phases, data objects, regions. Outside of `memloupe run` each call costs
 * a branch, after one look-up of the names. Header only, C99 and C++11; link with -ldl where dlsym is not in the C library.
 *
 *     memloupe_phase_begin("decode", token);
 *     memloupe_operator_begin("MATMUL", "ffn_up-7", "blk.7", "1536x1", "F32");
 *     ...
 *     memloupe_operator_end();
 *     memloupe_phase_end();
 *
 * Operators belong to the thread that begins them, and to threads that it has started if these never begin any
 * themselves. They nest; the innermost one counts. Phases belong to the process and nest too. Of each text, 127 characters
 * count; a null pointer is an empty text.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef MEMLOUPE_MARKERS_H
#define MEMLOUPE_MARKERS_H

#include <dlfcn.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Functions that do nothing, exported by what memloupe preloads: being called is what counts. */
struct memloupe_markers {
    void (*operator_begin)(const char *, const char *, const char *, const char *, const char *);
    void (*operator_end)(void);
    void (*phase_begin)(const char *, int64_t);
    void (*phase_end)(void);
    void (*object)(const char *, const char *, const void *, uint64_t);
    void (*object_end)(const void *);
    void (*region_begin)(const char *);
    void (*region_end)(const char *);
};

/* Null where the program does not run under memloupe. */
static inline const struct memloupe_markers *memloupe_markers(void)
{
    static struct memloupe_markers found;
    static int searched;
    if (!__atomic_load_n(&searched, __ATOMIC_ACQUIRE)) {
        static const char *const names[] = {
            "memloupe_marker_operator_begin", "memloupe_marker_operator_end", "memloupe_marker_phase_begin",
            "memloupe_marker_phase_end",      "memloupe_marker_object",       "memloupe_marker_object_end",
            "memloupe_marker_region_begin",   "memloupe_marker_region_end",
        };
        void **place = (void **)(void *)&found;
        /* Threads that come here together store the same. */
        for (size_t i = 0; i < sizeof names / sizeof *names; i++)
            __atomic_store_n(&place[i], dlsym((void *)0, names[i]), __ATOMIC_RELAXED);
        __atomic_store_n(&searched, 1, __ATOMIC_RELEASE);
    }
    return found.operator_begin ? &found : (const struct memloupe_markers *)0;
}

/* Whether anybody listens: for programs that would have to compute what they tell. */
static inline int memloupe_is_listening(void)
{
    return memloupe_markers() != (const struct memloupe_markers *)0;
}

/* An operator begins on this thread. kind: what it computes (MATMUL); name: its own name, layer: the part of the model that it
 * belongs to (blk.7), shape: of its result (1536x16), element_type: of its result (F32); all but the kind may be null. */
static inline void memloupe_operator_begin(const char *kind, const char *name, const char *layer, const char *shape,
                                           const char *element_type)
{
    const struct memloupe_markers *markers = memloupe_markers();
    if (markers)
        markers->operator_begin(kind, name, layer, shape, element_type);
}

/* The innermost operator of this thread ends. */
static inline void memloupe_operator_end(void)
{
    const struct memloupe_markers *markers = memloupe_markers();
    if (markers)
        markers->operator_end();
}

/* A phase of the process begins: prefill, decode, forward, backward, optimizer. Its number if there are many, such as the
 * token's; a negative one if it has none. */
static inline void memloupe_phase_begin(const char *name, int64_t number)
{
    const struct memloupe_markers *markers = memloupe_markers();
    if (markers)
        markers->phase_begin(name, number);
}

/* The innermost phase ends. */
static inline void memloupe_phase_end(void)
{
    const struct memloupe_markers *markers = memloupe_markers();
    if (markers)
        markers->phase_end();
}

/* Memory gets a name. klass: weight, kv-cache, activation, gradient, optimizer-state, input or workspace. It holds until
 * the memory is freed, is named anew, or memloupe_object_end is called. */
static inline void memloupe_object(const char *klass, const char *name, const void *address, size_t bytes)
{
    const struct memloupe_markers *markers = memloupe_markers();
    if (markers)
        markers->object(klass, name, address, bytes);
}

/* The memory that begins at this address loses the name that memloupe_object gave to it. */
static inline void memloupe_object_end(const void *address)
{
    const struct memloupe_markers *markers = memloupe_markers();
    if (markers)
        markers->object_end(address);
}

/* A region for `memloupe run --region marker=NAME` begins on this thread. They nest; begin and end name the same. */
static inline void memloupe_region_begin(const char *name)
{
    const struct memloupe_markers *markers = memloupe_markers();
    if (markers)
        markers->region_begin(name);
}

static inline void memloupe_region_end(const char *name)
{
    const struct memloupe_markers *markers = memloupe_markers();
    if (markers)
        markers->region_end(name);
}

#ifdef __cplusplus
}

namespace memloupe {

/* An operator for as long as this object lives. */
class Operator {
public:
    explicit Operator(const char *kind, const char *name = nullptr, const char *layer = nullptr,
                      const char *shape = nullptr, const char *element_type = nullptr)
    {
        memloupe_operator_begin(kind, name, layer, shape, element_type);
    }
    ~Operator() { memloupe_operator_end(); }
    Operator(const Operator &) = delete;
    Operator &operator=(const Operator &) = delete;
};

/* A phase for as long as this object lives. */
class Phase {
public:
    explicit Phase(const char *name, int64_t number = -1) { memloupe_phase_begin(name, number); }
    ~Phase() { memloupe_phase_end(); }
    Phase(const Phase &) = delete;
    Phase &operator=(const Phase &) = delete;
};

} // namespace memloupe
#endif
#endif
