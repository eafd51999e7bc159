/* Kernels whose loads and stores are known by counting: volatile makes every written access happen, once, in order.
 * usage: kernels NAME N */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define KERNEL __attribute__((noinline, noclone))

/* n loads of 8 bytes, n stores of 8 bytes */
KERNEL void copy(volatile double *to, const volatile double *from, long n) {
    for (long i = 0; i < n; i++) to[i] = from[i];
}

/* n / stride loads of 8 bytes */
KERNEL double strided_sum(const volatile double *values, long n, long stride) {
    double sum = 0;
    for (long i = 0; i < n; i += stride) sum += values[i];
    return sum;
}

/* rows * columns loads of the matrix, as many of x, rows stores of y, 4 bytes each */
KERNEL void gemv(volatile float *y, const volatile float *matrix, const volatile float *x, long rows, long columns) {
    for (long row = 0; row < rows; row++) {
        float sum = 0;
        for (long column = 0; column < columns; column++) sum += matrix[row * columns + column] * x[column];
        y[row] = sum;
    }
}

/* n loads of 4-byte indices, n loads and n stores of 8 bytes */
KERNEL void gather(volatile double *to, const volatile double *table, const volatile int *index, long n) {
    for (long i = 0; i < n; i++) to[i] = table[index[i]];
}

/* n loads of 8 bytes, each address from the load before */
KERNEL void *chase(void *start, long n) {
    void *volatile *at = start;
    for (long i = 0; i < n; i++) at = *at;
    return (void *)at;
}

/* n read-modify-writes of 8 bytes */
KERNEL void increment(long *counters, long n) {
    for (long i = 0; i < n; i++) __asm__ volatile("incq %0" : "+m"(counters[i]));
}

static void *zeroed(size_t bytes) {
    void *memory = calloc(1, bytes);
    if (!memory) exit(3);
    return memory;
}

int main(int argc, char **argv) {
    if (argc != 3) return 2;
    const char *name = argv[1];
    long n = atol(argv[2]);
    if (!strcmp(name, "copy")) {
        copy(zeroed(n * 8), zeroed(n * 8), n);
    } else if (!strcmp(name, "strided_sum")) {
        printf("%g\n", strided_sum(zeroed(n * 8), n, 8));
    } else if (!strcmp(name, "gemv")) {
        gemv(zeroed(n * 4), zeroed(n * n * 4), zeroed(n * 4), n, n);
    } else if (!strcmp(name, "gather")) {
        int *index = zeroed(n * 4);
        for (long i = 0; i < n; i++) index[i] = (int)(i * 7919 % n);
        gather(zeroed(n * 8), zeroed(n * 8), index, n);
    } else if (!strcmp(name, "chase")) {
        void **cells = zeroed(n * 64);
        for (long i = 0; i < n; i++) cells[i * 8] = &cells[(i + 17) % n * 8];
        printf("%d\n", chase(cells, n) == cells);
    } else if (!strcmp(name, "increment")) {
        increment(zeroed(n * 8), n);
    } else {
        return 2;
    }
    return 0;
}
