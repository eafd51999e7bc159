/* A library that keeps no promise but its layout; what it does wrong is chosen when it is compiled. */

#include "memloupe_plugin.h"

#include <stdlib.h>

#ifndef VERSION
#define VERSION MEMLOUPE_PLUGIN_VERSION
#endif
#ifdef NO_VICTIM
#define HAS_VICTIM 0
#else
#define HAS_VICTIM 1
#endif

static uint32_t random_state = 1;

static uint32_t next_random(void) { return random_state = random_state * 1664525u + 1013904223u; }

static void *policy(const memloupe_cache_geometry *geometry, const char *parameters, char *error, size_t error_bytes) {
    (void)parameters;
    /* No zero at the end. */
    for (size_t i = 0; i < error_bytes; i++) error[i] = 'x';
    return geometry->ways == 1 ? NULL : malloc(1);
}

static void *engine(uint64_t page_lines, const char *parameters, char *error, size_t error_bytes) {
    (void)page_lines, (void)error, (void)error_bytes;
    return *parameters ? NULL : malloc(1);
}

static void touch(void *state, uint64_t set, uint32_t way, const memloupe_line_request *request) {
    (void)state, (void)set, (void)way, (void)request;
}

static int32_t victim(void *state, uint64_t set, uint64_t candidates, const memloupe_line_request *request) {
    (void)state, (void)set, (void)candidates, (void)request;
    return (int32_t)next_random();
}

static uint32_t prefetch(void *state, const memloupe_prefetch_access *access, uint64_t *lines, uint32_t most) {
    (void)state;
    for (uint32_t i = 0; i < most; i++) lines[i] = i % 2 ? access->line + i : next_random() * 0x100000001ull;
    return UINT32_MAX;
}

const memloupe_replacement *memloupe_replacement_policy(void) {
    static const memloupe_replacement table = {
        .version = VERSION,
        .create = policy,
        .destroy = free,
        .hit = touch,
        .fill = touch,
        .victim = HAS_VICTIM ? victim : NULL,
    };
    return &table;
}

const memloupe_prefetcher *memloupe_prefetcher_engine(void) {
    static const memloupe_prefetcher table = {
        .version = VERSION,
        .create = engine,
        .destroy = free,
        .access = prefetch,
    };
    return &table;
}
