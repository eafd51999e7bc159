/* The next lines after each one that missed or is used for the first time since it was prefetched, as a prefetcher of one's
 * own. Parameters: how many lines; 1 without. */

#include "memloupe_plugin.h"

#include <stdio.h>
#include <stdlib.h>

typedef struct next_line {
    uint32_t degree;
} next_line;

static void *create(uint64_t page_lines, const char *parameters, char *error, size_t error_bytes) {
    char *end = NULL;
    unsigned long degree = *parameters ? strtoul(parameters, &end, 10) : 1;
    if ((end && *end) || degree == 0 || degree > page_lines) {
        snprintf(error, error_bytes, "'%s' is no number of lines from 1 to %lu", parameters, (unsigned long)page_lines);
        return NULL;
    }
    next_line *state = malloc(sizeof *state);
    if (!state) {
        snprintf(error, error_bytes, "out of memory");
        return NULL;
    }
    state->degree = (uint32_t)degree;
    return state;
}

static void destroy(void *state) { free(state); }

static uint32_t next(void *opaque, const memloupe_prefetch_access *access, uint64_t *lines, uint32_t most) {
    const next_line *state = opaque;
    if (access->hit && !access->first_use) return 0;
    uint32_t count = state->degree < most ? state->degree : most;
    for (uint32_t i = 0; i < count; i++) lines[i] = access->line + 1 + i;
    return count;
}

const memloupe_prefetcher *memloupe_prefetcher_engine(void) {
    static const memloupe_prefetcher engine = {
        .version = MEMLOUPE_PLUGIN_VERSION,
        .create = create,
        .destroy = destroy,
        .access = next,
    };
    return &engine;
}
