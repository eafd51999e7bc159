/* The compute kernels on which capture is measured, each a loop nest that every tool of the field has been measured on.
 * Plain C: what vectors they use is up to the compiler's -march.
 *
 * usage: kernels NAME REPETITIONS
 * Prints NAME, the CPU seconds of one repetition, and a checksum that depends on every result. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define KERNEL __attribute__((noinline, noclone))

#ifdef __AVX512F__
enum { LANES = 16 };
#else
enum { LANES = 8 };
#endif
typedef float vector __attribute__((vector_size(LANES * 4), aligned(4), may_alias));

/* Fixed seed: the same data in every run. */
static uint32_t random_state = 1;
static uint32_t random_next(void) {
    random_state ^= random_state << 13;
    random_state ^= random_state >> 17;
    random_state ^= random_state << 5;
    return random_state;
}

static void *allocate(size_t bytes) {
    void *memory = aligned_alloc(64, bytes);
    if (!memory) {
        fprintf(stderr, "kernels: no memory for %zu bytes\n", bytes);
        exit(1);
    }
    return memory;
}

static float *random_floats(size_t count) {
    float *values = allocate(count * sizeof(float));
    for (size_t i = 0; i < count; i++) values[i] = (float)(random_next() % 1000) / 1000;
    return values;
}

static double sum(const float *values, size_t count) {
    double total = 0;
    for (size_t i = 0; i < count; i++) total += values[i];
    return total;
}

/* C += A B, 256 x 256, fp32: everything stays in the second-level cache. */
enum { GEMM = 256 };
static float *a, *b, *c;

static void gemm_setup(void) {
    a = random_floats(GEMM * GEMM);
    b = random_floats(GEMM * GEMM);
    c = random_floats(GEMM * GEMM);
}

static double gemm_checksum(void) { return sum(c, GEMM * GEMM); }

/* Tiles of 4 rows x 2 vectors stay in registers over the whole inner loop: 8 FMAs for 4 broadcasts and 2 loads. */
KERNEL static void gemm_blocked(void) {
    enum { ROWS = 4, COLUMNS = 2 * LANES };
    for (int i = 0; i < GEMM; i += ROWS) {
        for (int j = 0; j < GEMM; j += COLUMNS) {
            vector tile[ROWS][2];
            for (int row = 0; row < ROWS; row++)
                for (int half = 0; half < 2; half++)
                    tile[row][half] = *(vector *)&c[(i + row) * GEMM + j + half * LANES];
            for (int k = 0; k < GEMM; k++) {
                vector left = *(vector *)&b[k * GEMM + j], right = *(vector *)&b[k * GEMM + j + LANES];
                for (int row = 0; row < ROWS; row++) {
                    tile[row][0] += a[(i + row) * GEMM + k] * left;
                    tile[row][1] += a[(i + row) * GEMM + k] * right;
                }
            }
            for (int row = 0; row < ROWS; row++)
                for (int half = 0; half < 2; half++)
                    *(vector *)&c[(i + row) * GEMM + j + half * LANES] = tile[row][half];
        }
    }
}

/* The textbook's loops, in the order that a compiler vectorises: a load of B, a load and a store of C for each FMA. */
KERNEL static void gemm_naive(void) {
    for (int i = 0; i < GEMM; i++)
        for (int k = 0; k < GEMM; k++)
            for (int j = 0; j < GEMM; j++) c[i * GEMM + j] += a[i * GEMM + k] * b[k * GEMM + j];
}

/* The same on copies as BLAS makes them: panels of A and of B whose rows lie one behind another. */
static float *packed_a, *packed_b;

static void packed_setup(void) {
    gemm_setup();
    packed_a = allocate(GEMM * GEMM * sizeof(float));
    packed_b = allocate(GEMM * GEMM * sizeof(float));
    for (int i = 0; i < GEMM; i++)
        for (int k = 0; k < GEMM; k++) packed_a[i / 4 * 4 * GEMM + k * 4 + i % 4] = a[i * GEMM + k];
    enum { WIDTH = 2 * LANES };
    for (int k = 0; k < GEMM; k++)
        for (int j = 0; j < GEMM; j++) packed_b[j / WIDTH * WIDTH * GEMM + k * WIDTH + j % WIDTH] = b[k * GEMM + j];
}

KERNEL static void gemm_packed(void) {
    enum { ROWS = 4, COLUMNS = 2 * LANES };
    for (int j = 0; j < GEMM; j += COLUMNS) {
        for (int i = 0; i < GEMM; i += ROWS) {
            const float *left = &packed_a[i * GEMM], *right = &packed_b[j * GEMM];
            vector tile[ROWS][2];
            for (int row = 0; row < ROWS; row++)
                for (int half = 0; half < 2; half++)
                    tile[row][half] = *(vector *)&c[(i + row) * GEMM + j + half * LANES];
            for (int k = 0; k < GEMM; k++, left += ROWS, right += COLUMNS) {
                vector first = *(vector *)right, second = *(vector *)(right + LANES);
                for (int row = 0; row < ROWS; row++) {
                    tile[row][0] += left[row] * first;
                    tile[row][1] += left[row] * second;
                }
            }
            for (int row = 0; row < ROWS; row++)
                for (int half = 0; half < 2; half++)
                    *(vector *)&c[(i + row) * GEMM + j + half * LANES] = tile[row][half];
        }
    }
}

/* STREAM's Add (McCalpin), c = a + b, and a sum: 32 MB each. */
enum { STREAM = 1 << 23 };
static double summed;

static void stream_setup(void) {
    a = random_floats(STREAM);
    b = random_floats(STREAM);
    c = random_floats(STREAM);
}

KERNEL static void stream_add(void) {
    for (int i = 0; i < STREAM; i++) c[i] = a[i] + b[i];
}

KERNEL static void stream_sum(void) {
    float total = 0;
    for (int i = 0; i < STREAM; i++) total += a[i];
    summed += total;
}

static double add_checksum(void) { return sum(c, STREAM); }
static double sum_checksum(void) { return summed; }

/* y = A x with a matrix of 64 MB. */
enum { GEMV_ROWS = 4096, GEMV_COLUMNS = 4096 };
static float *x, *y;

static void gemv_setup(void) {
    a = random_floats((size_t)GEMV_ROWS * GEMV_COLUMNS);
    x = random_floats(GEMV_COLUMNS);
    y = random_floats(GEMV_ROWS);
}

KERNEL static void gemv(void) {
    for (int row = 0; row < GEMV_ROWS; row++) {
        const float *restrict values = &a[(size_t)row * GEMV_COLUMNS];
        float total = 0;
        for (int column = 0; column < GEMV_COLUMNS; column++) total += values[column] * x[column];
        y[row] = total;
    }
}

static double gemv_checksum(void) { return sum(y, GEMV_ROWS); }

/* 2^20 scalar loads at random places of 64 MB. */
enum { TABLE = 1 << 24, LOOKUPS = 1 << 20 };
static uint32_t *indices;
static double gathered;

static void gather_setup(void) {
    a = random_floats(TABLE);
    indices = allocate(LOOKUPS * sizeof(uint32_t));
    for (int i = 0; i < LOOKUPS; i++) indices[i] = random_next() % TABLE;
}

KERNEL static void gather(void) {
    float total = 0;
    for (int i = 0; i < LOOKUPS; i++) {
        total += a[indices[i]];
        __asm__("" : "+x"(total)); /* one at a time, not as vector gathers */
    }
    gathered += total;
}

static double gather_checksum(void) { return gathered; }

/* 2^18 steps along one random cycle through 16 MB. */
enum { CELLS = 1 << 18 };
static struct cell {
    struct cell *next;
    uint64_t padding[7];
} *cells, *at;

static void chase_setup(void) {
    cells = allocate(CELLS * sizeof *cells);
    for (uint32_t i = 0; i < CELLS; i++) cells[i].next = &cells[i];
    for (uint32_t i = CELLS - 1; i > 0; i--) { /* Sattolo's shuffle: a permutation of one cycle */
        uint32_t j = random_next() % i;
        struct cell *swapped = cells[i].next;
        cells[i].next = cells[j].next;
        cells[j].next = swapped;
    }
    at = cells;
}

KERNEL static void chase(void) {
    struct cell *cell = at;
    for (int i = 0; i < CELLS; i++) cell = cell->next;
    at = cell;
}

static double chase_checksum(void) { return (double)(at - cells); }

/* libc's qsort of 2^17 numbers with a comparison function: branches that nobody can predict. */
enum { NUMBERS = 1 << 17 };
static uint32_t *numbers, *shuffled;

static void sort_setup(void) {
    numbers = allocate(NUMBERS * sizeof(uint32_t));
    shuffled = allocate(NUMBERS * sizeof(uint32_t));
    for (int i = 0; i < NUMBERS; i++) shuffled[i] = random_next();
}

static int compare(const void *left, const void *right) {
    uint32_t l = *(const uint32_t *)left, r = *(const uint32_t *)right;
    return l < r ? -1 : l > r;
}

KERNEL static void sort(void) {
    memcpy(numbers, shuffled, NUMBERS * sizeof(uint32_t));
    qsort(numbers, NUMBERS, sizeof(uint32_t), compare);
}

static double sort_checksum(void) { return numbers[NUMBERS / 2]; }

static const struct {
    const char *name;
    void (*setup)(void), (*run)(void);
    double (*checksum)(void);
} KERNELS[] = {
    {"gemm-blocked", gemm_setup, gemm_blocked, gemm_checksum},
    {"gemm-naive", gemm_setup, gemm_naive, gemm_checksum},
    {"gemm-packed", packed_setup, gemm_packed, gemm_checksum},
    {"add", stream_setup, stream_add, add_checksum},
    {"sum", stream_setup, stream_sum, sum_checksum},
    {"gemv", gemv_setup, gemv, gemv_checksum},
    {"gather", gather_setup, gather, gather_checksum},
    {"chase", chase_setup, chase, chase_checksum},
    {"qsort", sort_setup, sort, sort_checksum},
};

static double cpu_seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return now.tv_sec + now.tv_nsec * 1e-9;
}

int main(int argc, char **argv) {
    for (size_t i = 0; argc == 3 && i < sizeof KERNELS / sizeof *KERNELS; i++) {
        long repetitions = atol(argv[2]);
        if (strcmp(argv[1], KERNELS[i].name) || repetitions < 1) continue;
        KERNELS[i].setup();
        double before = cpu_seconds();
        for (long repetition = 0; repetition < repetitions; repetition++) KERNELS[i].run();
        printf("%s %.9f %.9g\n", argv[1], (cpu_seconds() - before) / repetitions, KERNELS[i].checksum());
        return 0;
    }
    fprintf(stderr, "usage: kernels NAME REPETITIONS\nNAME:");
    for (size_t i = 0; i < sizeof KERNELS / sizeof *KERNELS; i++) fprintf(stderr, " %s", KERNELS[i].name);
    fprintf(stderr, "\n");
    return 2;
}
