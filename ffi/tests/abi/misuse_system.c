/* A client of memloupe.h: misuses every function, then simulates a fixed pattern and prints the counters. */
#include "memloupe.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int failures;

static void expect(int line, memloupe_status got, memloupe_status wanted, const char *text) {
    if (got != wanted || (wanted != MEMLOUPE_OK && !strstr(memloupe_last_error(), text))) {
        fprintf(stderr, "misuse_system.c:%d: status %d, wanted %d (%s): %s\n", line, (int)got, (int)wanted, text,
                memloupe_last_error());
        failures++;
    }
}
#define EXPECT(call, wanted, text) expect(__LINE__, (call), (wanted), (text))

static memloupe_status access_of(memloupe_system *system, uint32_t core, uint64_t address, uint32_t size_bytes,
                                 uint32_t kind, uint32_t owner) {
    memloupe_access access = {
        .address = address, .size_bytes = size_bytes, .kind = kind, .core = core, .owner = owner};
    return memloupe_system_access(system, &access, NULL);
}

static void misuse(void) {
    memloupe_system *system = (memloupe_system *)&failures;
    EXPECT(memloupe_system_create("desktop", NULL), MEMLOUPE_NULL_ARGUMENT, "system: NULL");
    EXPECT(memloupe_system_create(NULL, &system), MEMLOUPE_NULL_ARGUMENT, "machine: NULL");
    if (system != NULL) {
        fprintf(stderr, "misuse_system.c: a failed create must set the system to NULL\n");
        failures++;
    }
    EXPECT(memloupe_system_create("desktpo", &system), MEMLOUPE_BAD_MACHINE, "did you mean 'desktop'?");
    EXPECT(memloupe_system_create("\xff", &system), MEMLOUPE_BAD_ARGUMENT, "machine: not UTF-8");
    EXPECT(memloupe_system_create_from_toml("extends = \"desktop\"\n[core]\ncount = 0\n", &system),
           MEMLOUPE_BAD_MACHINE, "toml:3: core.count: 0 is not");
    EXPECT(memloupe_system_create_from_toml("extends = \"cxl-server\"\n[memory.tier.cxl]\nclasses = \"weight\"\n", &system),
           MEMLOUPE_BAD_MACHINE, "memory cxl: classes: owners have no object class");
    EXPECT(memloupe_system_create_from_toml(
               "extends = \"desktop\"\n[cache.l3]\npartition_by = \"class\"\npartition_ways = \"0x1 0x2\"\n", &system),
           MEMLOUPE_BAD_MACHINE, "cache l3: partition_by = \"class\": owners have no object class");
    EXPECT(memloupe_system_create_from_toml("[", &system), MEMLOUPE_BAD_MACHINE, "toml:1: ");
    EXPECT(memloupe_system_flush(NULL), MEMLOUPE_NULL_ARGUMENT, "system: NULL");
    EXPECT(memloupe_system_reserve_owners(NULL, 1), MEMLOUPE_NULL_ARGUMENT, "system: NULL");
    EXPECT(access_of(NULL, 0, 0, 8, MEMLOUPE_LOAD, 0), MEMLOUPE_NULL_ARGUMENT, "system: NULL");
    memloupe_system_destroy(NULL);

    uint32_t cores = 0;
    size_t needed = 0;
    char small[8];
    EXPECT(memloupe_system_create("desktop", &system), MEMLOUPE_OK, "");
    EXPECT(memloupe_system_core_count(system, NULL), MEMLOUPE_NULL_ARGUMENT, "core_count: NULL");
    EXPECT(memloupe_system_core_count(system, &cores), MEMLOUPE_OK, "");
    EXPECT(access_of(system, cores, 0, 8, MEMLOUPE_LOAD, 0), MEMLOUPE_BAD_ARGUMENT, "core: 8 of 8");
    EXPECT(access_of(system, 0, 0, 0, MEMLOUPE_LOAD, 0), MEMLOUPE_BAD_ARGUMENT, "size_bytes: 0");
    EXPECT(access_of(system, 0, 0, 65537, MEMLOUPE_LOAD, 0), MEMLOUPE_BAD_ARGUMENT, "size_bytes: 65537");
    EXPECT(access_of(system, 0, UINT64_MAX, 2, MEMLOUPE_LOAD, 0), MEMLOUPE_BAD_ARGUMENT, "wraps");
    EXPECT(access_of(system, 0, 0, 8, 7, 0), MEMLOUPE_BAD_ARGUMENT, "kind: 7");
    EXPECT(access_of(system, 0, 0, 8, 256, 0), MEMLOUPE_BAD_ARGUMENT, "kind: 256");
    EXPECT(access_of(system, 0, 0, 8, MEMLOUPE_LOAD, 1), MEMLOUPE_BAD_ARGUMENT, "owner: 1 of 1");
    EXPECT(memloupe_system_reserve_owners(system, UINT32_MAX), MEMLOUPE_BAD_ARGUMENT, "owner_count");
    EXPECT(memloupe_system_statistics_json(system, small, sizeof small, NULL), MEMLOUPE_NULL_ARGUMENT, "needed_bytes");
    EXPECT(memloupe_system_statistics_json(system, NULL, 8, &needed), MEMLOUPE_NULL_ARGUMENT, "buffer: NULL");
    EXPECT(memloupe_system_statistics_json(system, small, sizeof small, &needed), MEMLOUPE_BUFFER_TOO_SMALL, "needed");
    uint32_t numbers = 0;
    double value = -1;
    memloupe_statistic about;
    EXPECT(memloupe_system_statistic_count(system, NULL), MEMLOUPE_NULL_ARGUMENT, "count");
    EXPECT(memloupe_system_statistic_count(system, &numbers), MEMLOUPE_OK, "");
    EXPECT(memloupe_system_statistic_about(system, numbers, &about), MEMLOUPE_BAD_ARGUMENT, "index");
    EXPECT(memloupe_system_statistic_about(system, 0, NULL), MEMLOUPE_NULL_ARGUMENT, "about");
    EXPECT(memloupe_system_statistic_about(system, numbers - 1, &about), MEMLOUPE_OK, "");
    EXPECT(memloupe_system_statistic(system, about.name, &value), MEMLOUPE_OK, "");
    EXPECT(memloupe_system_statistic(system, "no such number", &value), MEMLOUPE_BAD_ARGUMENT, "no such number");
    EXPECT(memloupe_system_statistic(system, NULL, &value), MEMLOUPE_NULL_ARGUMENT, "name");
    memloupe_system_destroy(system);
}

/* The pattern that tests/system.rs repeats in process. */
static void simulate(const char *machine, long accesses) {
    memloupe_system *system = NULL;
    EXPECT(memloupe_system_create(machine, &system), MEMLOUPE_OK, "");
    EXPECT(memloupe_system_reserve_owners(system, 3), MEMLOUPE_OK, "");
    uint64_t random = 88172645463325252u;
    for (long i = 0; i < accesses; i++) {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        EXPECT(access_of(system, (uint32_t)(random % 4), (random >> 8) % (8u << 20),
                                      1 + (uint32_t)(random >> 40) % 80, (uint32_t)(random >> 48) % 7,
                                      (uint32_t)(random >> 56) % 3),
               MEMLOUPE_OK, "");
    }
    EXPECT(memloupe_system_flush(system), MEMLOUPE_OK, "");

    size_t needed = 0;
    EXPECT(memloupe_system_statistics_json(system, NULL, 0, &needed), MEMLOUPE_BUFFER_TOO_SMALL, "needed");
    char *text = malloc(needed);
    EXPECT(memloupe_system_statistics_json(system, text, needed, &needed), MEMLOUPE_OK, "");
    if (strlen(text) + 1 != needed) {
        fprintf(stderr, "misuse_system.c: the text has %zu bytes, not %zu\n", strlen(text) + 1, needed);
        failures++;
    }
    printf("%s\n%s\n", memloupe_version(), text);
    free(text);
    memloupe_system_destroy(system);
}

int main(int argc, char **argv) {
    if (argc != 3) {
        fprintf(stderr, "usage: misuse_system MACHINE ACCESSES\n");
        return 2;
    }
    misuse();
    simulate(argv[1], atol(argv[2]));
    return failures != 0;
}
