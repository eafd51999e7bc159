/* A memory of banks that take one burst at a time: each is busy for CYCLE nanoseconds. Its parameters: "banks=16 cycle_ns=45". */
#include <memloupe_plugin.h>

#include <stdio.h>
#include <stdlib.h>

enum { BURST_BYTES = 64, MOST_BANKS = 1024, QUEUE = 64 };

struct burst {
    uint64_t id;
    uint64_t finished_ps;
};

struct memory {
    unsigned banks;
    uint64_t cycle_ps;
    uint64_t now_ps;
    uint64_t free_ps[MOST_BANKS];
    unsigned waiting;
    struct burst queue[QUEUE]; /* by when they are done */
};

static void *create(const char *parameters, char *error, size_t error_bytes) {
    unsigned banks = 16, cycle_ns = 45;
    if (*parameters != 0 && sscanf(parameters, "banks=%u cycle_ns=%u", &banks, &cycle_ns) != 2) {
        snprintf(error, error_bytes, "'%s' is not 'banks=N cycle_ns=N'", parameters);
        return NULL;
    }
    if (banks == 0 || banks > MOST_BANKS || cycle_ns == 0) {
        snprintf(error, error_bytes, "banks: 1 to %d, cycle_ns: 1 at least", MOST_BANKS);
        return NULL;
    }
    struct memory *memory = calloc(1, sizeof *memory);
    if (memory == NULL) {
        snprintf(error, error_bytes, "no memory");
        return NULL;
    }
    memory->banks = banks;
    memory->cycle_ps = UINT64_C(1000) * cycle_ns;
    return memory;
}

static uint32_t burst_bytes(void *state) {
    (void)state;
    return BURST_BYTES;
}

static uint32_t send(void *state, uint64_t now_ps, uint64_t id, uint64_t address, uint32_t write, uint32_t core) {
    struct memory *memory = state;
    (void)write;
    (void)core;
    if (memory->waiting == QUEUE) {
        return 0;
    }
    uint64_t *free_ps = &memory->free_ps[address / BURST_BYTES % memory->banks];
    *free_ps = (*free_ps > now_ps ? *free_ps : now_ps) + memory->cycle_ps;
    unsigned place = memory->waiting++;
    while (place > 0 && memory->queue[place - 1].finished_ps > *free_ps) {
        memory->queue[place] = memory->queue[place - 1];
        place--;
    }
    memory->queue[place] = (struct burst){id, *free_ps};
    return 1;
}

static uint64_t next_event(void *state) {
    const struct memory *memory = state;
    return memory->waiting > 0 ? memory->queue[0].finished_ps : UINT64_MAX;
}

static uint32_t advance(void *state, uint64_t until_ps, memloupe_dram_completion *done, uint32_t most) {
    struct memory *memory = state;
    uint32_t count = 0;
    while (count < most && count < memory->waiting && memory->queue[count].finished_ps <= until_ps) {
        done[count] = (memloupe_dram_completion){memory->queue[count].id, memory->queue[count].finished_ps};
        count++;
    }
    memory->waiting -= count;
    for (unsigned place = 0; place < memory->waiting; place++) {
        memory->queue[place] = memory->queue[place + count];
    }
    return count;
}

const memloupe_dram *memloupe_dram_memory(void) {
    static const memloupe_dram table = {MEMLOUPE_PLUGIN_VERSION, create, free, burst_bytes, send, next_event, advance};
    return &table;
}
