/* Wrappers of the allocator's functions, preloaded into the target: each tells the tool before and after the call and
 * leaves the work to the target's own allocator, whichever object holds it (the soname "VgSoSynsomalloc" stands for
 * any). The tool records none of this object's code.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include <stddef.h>

#include "heap_requests.h"

#define WRAPPER(function) I_WRAP_SONAME_FNNAME_ZU(VgSoSynsomalloc, function)
#define QUOTED(symbol) QUOTED_AS_IS(symbol)
#define QUOTED_AS_IS(symbol) #symbol
#define FRAME ((unsigned long)__builtin_frame_address(0))

static inline __attribute__((always_inline)) void enter(unsigned long frame, const void *freed)
{
    VALGRIND_DO_CLIENT_REQUEST_STMT(ML_HEAP_ENTER, frame, freed, 0, 0, 0);
}

static inline __attribute__((always_inline)) void leave(unsigned long frame, const void *allocated, size_t bytes)
{
    VALGRIND_DO_CLIENT_REQUEST_STMT(ML_HEAP_LEAVE, frame, allocated, bytes, 0, 0);
}

/* void *f(size) */
#define ALLOCATE_W(function) \
    void *WRAPPER(function)(size_t bytes); \
    void *WRAPPER(function)(size_t bytes) \
    { \
        OrigFn original; \
        void *result; \
        VALGRIND_GET_ORIG_FN(original); \
        enter(FRAME, NULL); \
        CALL_FN_W_W(result, original, bytes); \
        leave(FRAME, result, bytes); \
        return result; \
    }

/* void *f(a, b), of `bytes_expression` */
#define ALLOCATE_WW(function, a_type, a, b_type, b, freed, bytes_expression) \
    void *WRAPPER(function)(a_type a, b_type b); \
    void *WRAPPER(function)(a_type a, b_type b) \
    { \
        OrigFn original; \
        void *result; \
        VALGRIND_GET_ORIG_FN(original); \
        enter(FRAME, freed); \
        CALL_FN_W_WW(result, original, a, b); \
        leave(FRAME, result, bytes_expression); \
        return result; \
    }

/* void *f(size, alignment, const nothrow_t &) */
#define ALLOCATE_WWW(function) \
    void *WRAPPER(function)(size_t bytes, size_t alignment, const void *tag); \
    void *WRAPPER(function)(size_t bytes, size_t alignment, const void *tag) \
    { \
        OrigFn original; \
        void *result; \
        VALGRIND_GET_ORIG_FN(original); \
        enter(FRAME, NULL); \
        CALL_FN_W_WWW(result, original, bytes, alignment, tag); \
        leave(FRAME, result, bytes); \
        return result; \
    }

/* void f(memory, ...): further arguments are sizes, alignments and tags */
#define RELEASE(function) \
    void WRAPPER(function)(void *memory, size_t second, size_t third); \
    void WRAPPER(function)(void *memory, size_t second, size_t third) \
    { \
        OrigFn original; \
        unsigned long ignored; \
        VALGRIND_GET_ORIG_FN(original); \
        enter(FRAME, memory); \
        CALL_FN_W_WWW(ignored, original, memory, second, third); \
        (void)ignored; \
        leave(FRAME, NULL, 0); \
    }

ALLOCATE_W(malloc)
ALLOCATE_W(valloc)
ALLOCATE_W(pvalloc)
ALLOCATE_WW(calloc, size_t, count, size_t, bytes, NULL, count *bytes)
ALLOCATE_WW(realloc, void *, memory, size_t, bytes, memory, bytes)
ALLOCATE_WW(memalign, size_t, alignment, size_t, bytes, NULL, bytes)
ALLOCATE_WW(aligned_alloc, size_t, alignment, size_t, bytes, NULL, bytes)
RELEASE(free)

int WRAPPER(posix_memalign)(void **memory, size_t alignment, size_t bytes);
int WRAPPER(posix_memalign)(void **memory, size_t alignment, size_t bytes)
{
    OrigFn original;
    int error;
    VALGRIND_GET_ORIG_FN(original);
    enter(FRAME, NULL);
    CALL_FN_W_WWW(error, original, memory, alignment, bytes);
    leave(FRAME, error == 0 ? *memory : NULL, bytes);
    return error;
}

/* Any soname matches strong symbols only, and this one is weak in the C library. */
int I_WRAP_SONAME_FNNAME_ZU(libcZdsoZa, posix_memalign)(void **memory, size_t alignment, size_t bytes)
    __attribute__((alias(QUOTED(WRAPPER(posix_memalign)))));

/* C++: libstdc++'s operator new calls malloc, those of other allocators need not. */
ALLOCATE_W(_Znwm)
ALLOCATE_W(_Znam)
ALLOCATE_WW(_ZnwmRKSt9nothrow_t, size_t, bytes, const void *, tag, NULL, bytes)
ALLOCATE_WW(_ZnamRKSt9nothrow_t, size_t, bytes, const void *, tag, NULL, bytes)
ALLOCATE_WW(_ZnwmSt11align_val_t, size_t, bytes, size_t, alignment, NULL, bytes)
ALLOCATE_WW(_ZnamSt11align_val_t, size_t, bytes, size_t, alignment, NULL, bytes)
ALLOCATE_WWW(_ZnwmSt11align_val_tRKSt9nothrow_t)
ALLOCATE_WWW(_ZnamSt11align_val_tRKSt9nothrow_t)
RELEASE(_ZdlPv)
RELEASE(_ZdaPv)
RELEASE(_ZdlPvm)
RELEASE(_ZdaPvm)
RELEASE(_ZdlPvRKSt9nothrow_t)
RELEASE(_ZdaPvRKSt9nothrow_t)
RELEASE(_ZdlPvSt11align_val_t)
RELEASE(_ZdaPvSt11align_val_t)
RELEASE(_ZdlPvmSt11align_val_t)
RELEASE(_ZdaPvmSt11align_val_t)
