/* Drives the memory of a machine: random reads and writes at a steady rate, held up where the memory refuses.
 * Prints the statistics as JSON.
 *
 *   cc memory.c $(pkg-config --cflags --libs memloupe) -o memory && ./memory desktop 100000 */
#include <memloupe.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

static void must(memloupe_status status) {
    if (status != MEMLOUPE_OK) {
        fprintf(stderr, "memory: %s\n", memloupe_last_error());
        exit(1);
    }
}

struct arrivals {
    uint64_t count;
    uint64_t last_ps;
};

static void arrived(void *user_data, const memloupe_completion *completion) {
    struct arrivals *arrivals = user_data;
    arrivals->count++;
    arrivals->last_ps = completion->finished_ps;
}

int main(int argc, char **argv) {
    if (argc != 3) {
        fprintf(stderr, "usage: memory MACHINE REQUESTS\n");
        return 2;
    }
    uint64_t requests = strtoull(argv[2], NULL, 10);

    memloupe_memory *memory = NULL;
    must(memloupe_memory_create(argv[1], "latency_ps = 10000\n[controller]\nread_queue = 16\n", &memory));
    struct arrivals arrivals = {0, 0};
    must(memloupe_memory_on_completion(memory, arrived, &arrivals));

    uint64_t random = 88172645463325252u;
    uint64_t now_ps = 0;
    for (uint64_t id = 0; id < requests; id++) {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        memloupe_request request = {
            .id = id,
            .address = (random >> 8) % (64u << 20),
            .size_bytes = 1 + (uint32_t)(random >> 40) % 200,
            .kind = (uint32_t)(random >> 50) % 4,
            .core = (uint32_t)(random >> 54) % 4,
            .tag = (uint32_t)(random >> 58) % 3,
        };
        now_ps += random % 10000;
        /* A simulator has events of its own; here, time passes until the next request, or until there is room for it. */
        must(memloupe_memory_advance(memory, now_ps));
        bool accepted = false;
        must(memloupe_memory_send(memory, now_ps, &request, &accepted));
        while (!accepted) {
            must(memloupe_memory_next_event(memory, &now_ps));
            must(memloupe_memory_advance(memory, now_ps));
            must(memloupe_memory_send(memory, now_ps, &request, &accepted));
        }
    }
    must(memloupe_memory_drain(memory, NULL));
    if (arrivals.count != requests) {
        fprintf(stderr, "memory: %" PRIu64 " of %" PRIu64 " requests completed\n", arrivals.count, requests);
        return 1;
    }

    size_t needed = 0;
    memloupe_memory_statistics_json(memory, NULL, 0, &needed);
    char *text = malloc(needed);
    must(memloupe_memory_statistics_json(memory, text, needed, &needed));
    printf("%s\n", text);
    free(text);
    must(memloupe_memory_destroy(memory));
    return 0;
}
