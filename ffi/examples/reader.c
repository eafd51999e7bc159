/* Reads a recorded program's accesses and prints, for each operator, how many there were and how many bytes they moved.
 *
 *   memloupe run --record small.stream -- PROGRAM ...
 *   cc reader.c $(pkg-config --cflags --libs memloupe) -o reader && ./reader small.stream */
#include <memloupe.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

static void must(memloupe_status status) {
    if (status != MEMLOUPE_OK) {
        fprintf(stderr, "reader: %s\n", memloupe_last_error());
        exit(1);
    }
}

struct counts {
    uint64_t accesses;
    uint64_t bytes;
};

int main(int argc, char **argv) {
    if (argc != 2) {
        fprintf(stderr, "usage: reader RECORDING\n");
        return 2;
    }
    memloupe_reader *reader = NULL;
    must(memloupe_reader_open(argv[1], &reader));

    enum { BATCH = 4096 };
    static memloupe_recorded_access accesses[BATCH];
    struct counts *operators = NULL; /* the first is for accesses outside of operators */
    size_t operator_count = 0;
    size_t count = 0;
    do {
        must(memloupe_reader_read(reader, accesses, BATCH, &count));
        for (size_t i = 0; i < count; i++) {
            const memloupe_recorded_access *access = &accesses[i];
            if (access->kind == MEMLOUPE_FETCH || access->kind == MEMLOUPE_PREFETCH) {
                continue;
            }
            size_t place = access->operator_id == MEMLOUPE_NO_OPERATOR ? 0 : (size_t)access->operator_id + 1;
            if (place >= operator_count) {
                operators = realloc(operators, (place + 1) * sizeof *operators);
                if (operators == NULL) {
                    return 1;
                }
                while (operator_count <= place) {
                    operators[operator_count++] = (struct counts){0, 0};
                }
            }
            operators[place].accesses++;
            operators[place].bytes += access->size_bytes;
        }
    } while (count > 0);

    for (size_t place = 0; place < operator_count; place++) {
        if (operators[place].accesses == 0) {
            continue;
        }
        printf("%" PRIu64 "\t%" PRIu64 "\t", operators[place].accesses, operators[place].bytes);
        if (place == 0) {
            printf("null\n");
            continue;
        }
        size_t needed = 0;
        memloupe_reader_operator_json(reader, (uint32_t)(place - 1), NULL, 0, &needed);
        char *text = malloc(needed);
        must(memloupe_reader_operator_json(reader, (uint32_t)(place - 1), text, needed, &needed));
        printf("%s\n", text);
        free(text);
    }
    free(operators);
    must(memloupe_reader_destroy(reader));
    return 0;
}
