/* Functions that are wanted and functions that are not, on several threads. Each loads its N numbers once.
 * usage: gate CALLS N THREADS */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#define KERNEL __attribute__((noinline, noclone))

static long calls, n;
static volatile long *numbers;

KERNEL long helper(long sum) {
    for (long i = n / 2; i < n; i++) sum += numbers[i];
    return sum;
}

KERNEL long work(long sum) {
    for (long i = 0; i < n / 2; i++) sum += numbers[i];
    return helper(sum) * 3;
}

KERNEL long outside(long sum) {
    for (long i = 0; i < n; i++) sum ^= numbers[i];
    return sum;
}

static int compare(const void *a, const void *b) {
    long x = *(const long *)a, y = *(const long *)b;
    return x < y ? -1 : x > y;
}

static void *run(void *argument) {
    long sum = *(long *)argument;
    for (long call = 0; call < calls; call++) sum = outside(work(sum));
    long *copy = malloc(n * sizeof *copy);
    for (long i = 0; i < n; i++) copy[i] = numbers[i] ^ sum;
    qsort(copy, n, sizeof *copy, compare);
    *(long *)argument = copy[n / 3];
    free(copy);
    return NULL;
}

int main(int argc, char **argv) {
    if (argc != 4) return 2;
    calls = atol(argv[1]);
    n = atol(argv[2]);
    long threads = atol(argv[3]);
    long *all = malloc(n * sizeof *all), *sums = calloc(threads, sizeof *sums);
    pthread_t *others = malloc(threads * sizeof *others);
    for (long i = 0; i < n; i++) all[i] = i * 7919 % 1000;
    numbers = all;
    for (long i = 1; i < threads; i++)
        if (pthread_create(&others[i], NULL, run, &sums[i])) return 4;
    run(&sums[0]);
    for (long i = 1; i < threads; i++) pthread_join(others[i], NULL);
    for (long i = 0; i < threads; i++) printf("%ld\n", sums[i]);
    return 0;
}
