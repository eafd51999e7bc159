/* Regions that are entered and left in every way there is. Each of the functions loads its N numbers once.
 * usage: regions CALLS N THREADS */
#include <pthread.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>

#include <memloupe/markers.h>

#define KERNEL __attribute__((noinline, noclone))

static long calls, n;
static volatile long *numbers;

KERNEL long work(long sum) {
    for (long i = 0; i < n; i++) sum += numbers[i];
    return sum;
}

KERNEL long outside(long sum) {
    for (long i = 0; i < n; i++) sum ^= numbers[i];
    return sum;
}

KERNEL long marked(long sum) {
    for (long i = 0; i < n; i++) sum -= numbers[i];
    return sum;
}

static jmp_buf landing;

/* Never returns: what is inside of it is left by a jump. */
KERNEL long leap(long sum) {
    for (long i = 0; i < n; i++) sum |= numbers[i];
    if (sum) longjmp(landing, 1);
    return sum;
}

static void *run(void *argument) {
    long sum = *(long *)argument;
    for (long call = 0; call < calls; call++) sum = outside(work(sum));
    memloupe_region_begin("inner");
    sum = marked(sum);
    memloupe_region_end("inner");
    memloupe_region_begin("other");
    sum = marked(sum);
    memloupe_region_end("other");
    *(long *)argument = outside(sum);
    return NULL;
}

int main(int argc, char **argv) {
    if (argc != 4) return 2;
    calls = atol(argv[1]);
    n = atol(argv[2]);
    long threads = atol(argv[3]);
    long *all = malloc(n * sizeof *all);
    pthread_t *others = malloc(threads * sizeof *others);
    long *sums = calloc(threads, sizeof *sums);
    if (!all || !others || !sums) return 3;
    for (long i = 0; i < n; i++) all[i] = i * 7919 % 1000;
    numbers = all;
    for (long i = 1; i < threads; i++)
        if (pthread_create(&others[i], NULL, run, &sums[i])) return 4;
    run(&sums[0]);
    for (long i = 1; i < threads; i++) pthread_join(others[i], NULL);
    for (volatile long jump = 0; jump < calls; jump++)
        if (!setjmp(landing)) leap(1);
    printf("%ld\n", outside(sums[threads - 1]));
    return 0;
}
