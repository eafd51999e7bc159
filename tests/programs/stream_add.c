/* STREAM's Add kernel (McCalpin): c[i] = a[i] + b[i], in doubles, over arrays far larger than any cache.
 *
 * usage: stream_add ELEMENTS REPETITIONS */
#include <stdio.h>
#include <stdlib.h>

__attribute__((noinline, noclone)) static void add(double *c, const double *a, const double *b, long n) {
    for (long i = 0; i < n; i++) c[i] = a[i] + b[i];
}

static double *array(long n) {
    double *values = malloc(n * sizeof *values);
    if (!values) exit(1);
    for (long i = 0; i < n; i++) values[i] = i;
    return values;
}

int main(int argc, char **argv) {
    if (argc != 3) {
        fprintf(stderr, "usage: stream_add ELEMENTS REPETITIONS\n");
        return 2;
    }
    long n = atol(argv[1]), repetitions = atol(argv[2]);
    double *a = array(n), *b = array(n), *c = array(n);
    for (long i = 0; i < repetitions; i++) add(c, a, b, n);
    printf("%g\n", c[n - 1]);
    return 0;
}
