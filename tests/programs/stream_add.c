/* STREAM's Add kernel as McCalpin's stream.c has it: c[j] = a[j] + b[j] over static arrays of doubles. They are far
 * larger than the last cache that they are meant for.
 *
 * usage: stream_add REPETITIONS */
#include <stdio.h>
#include <stdlib.h>
#include <sys/types.h>

#define ELEMENTS (1 << 20)
static double a[ELEMENTS], b[ELEMENTS], c[ELEMENTS];

__attribute__((noinline)) static void add(void) {
    ssize_t j;
    for (j = 0; j < ELEMENTS; j++) c[j] = a[j] + b[j];
}

int main(int argc, char **argv) {
    if (argc != 2) {
        fprintf(stderr, "usage: stream_add REPETITIONS\n");
        return 2;
    }
    for (ssize_t j = 0; j < ELEMENTS; j++) {
        a[j] = 1.0;
        b[j] = 2.0;
        c[j] = 0.0;
    }
    for (long i = atol(argv[1]); i > 0; i--) add();
    printf("%g\n", c[ELEMENTS - 1]);
    return 0;
}
