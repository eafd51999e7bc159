/* Least recently used, as a replacement policy of one's own. Parameters: none. */

#include "memloupe_plugin.h"

#include <stdio.h>
#include <stdlib.h>

typedef struct lru {
    uint32_t ways;
    uint64_t now;
    uint64_t last_use[]; /* set after set */
} lru;

static void *create(const memloupe_cache_geometry *geometry, const char *parameters, char *error, size_t error_bytes) {
    if (*parameters) {
        snprintf(error, error_bytes, "lru takes no parameters, not '%s'", parameters);
        return NULL;
    }
    lru *state = calloc(1, sizeof *state + geometry->sets * geometry->ways * sizeof *state->last_use);
    if (!state) {
        snprintf(error, error_bytes, "out of memory");
        return NULL;
    }
    state->ways = geometry->ways;
    return state;
}

static void destroy(void *state) { free(state); }

static void use(void *opaque, uint64_t set, uint32_t way, const memloupe_line_request *request) {
    (void)request;
    lru *state = opaque;
    state->last_use[set * state->ways + way] = ++state->now;
}

static int32_t victim(void *opaque, uint64_t set, uint64_t candidates, const memloupe_line_request *request) {
    (void)request;
    lru *state = opaque;
    const uint64_t *last_use = state->last_use + set * state->ways;
    int32_t oldest = -1;
    for (uint32_t way = 0; way < state->ways; way++)
        if (candidates >> way & 1 && (oldest < 0 || last_use[way] < last_use[oldest])) oldest = (int32_t)way;
    return oldest;
}

const memloupe_replacement *memloupe_replacement_policy(void) {
    static const memloupe_replacement policy = {
        .version = MEMLOUPE_PLUGIN_VERSION,
        .create = create,
        .destroy = destroy,
        .hit = use,
        .fill = use,
        .victim = victim,
    };
    return &policy;
}
