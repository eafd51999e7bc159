/* Two layers of y = tanh-like(W x), run for some steps; what it does is told by markers if compiled with -DMARKED.
 * Half of the rows are a worker's, who tells nothing. usage: marked WIDTH STEPS THREADS */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#ifdef MARKED
#include <memloupe/markers.h>
#define TELL(call) call
#else
#define TELL(call)
#endif

#define KERNEL __attribute__((noinline, noclone))

enum { LAYERS = 2 };

static long width;
static long *weights[LAYERS];
static long *x, *y;
static pthread_barrier_t begin, end;
static volatile long *matrix;
static atomic_int over;

KERNEL void rows(long from, long to) {
    for (long row = from; row < to; row++) {
        long sum = 0;
        for (long column = 0; column < width; column++)
            sum += matrix[row * width + column] * ((volatile long *)x)[column];
        y[row] = sum;
    }
}

KERNEL void squash(void) {
    for (long row = 0; row < width; row++) ((volatile long *)x)[row] = ((volatile long *)y)[row] % 100;
}

static void *work(void *nothing) {
    for (;;) {
        pthread_barrier_wait(&begin);
        if (over) return nothing;
        rows(width / 2, width);
        pthread_barrier_wait(&end);
    }
}

int main(int argc, char **argv) {
    if (argc != 4) return 2;
    width = atol(argv[1]);
    long steps = atol(argv[2]), threads = atol(argv[3]);
    pthread_t worker;
    if (threads == 2 && (pthread_barrier_init(&begin, NULL, 2) || pthread_barrier_init(&end, NULL, 2) ||
                         pthread_create(&worker, NULL, work, NULL)))
        return 3;
    x = malloc(width * sizeof *x);
    y = malloc(width * sizeof *y);
    TELL(memloupe_object("activation", "x", x, width * sizeof *x));
    TELL(memloupe_object("activation", "y", y, width * sizeof *y));
    for (long layer = 0; layer < LAYERS; layer++) {
        weights[layer] = malloc(width * width * sizeof(long));
        TELL(memloupe_object("weight", layer ? "blk.1.weight" : "blk.0.weight", weights[layer],
                             width * width * sizeof(long)));
        for (long i = 0; i < width * width; i++) weights[layer][i] = i * 7919 % 23;
    }
    for (long i = 0; i < width; i++) x[i] = i % 11;
    /* The heap grows: what has a name keeps it. */
    static char *volatile more[64];
    for (int i = 0; i < 64; i++) *(more[i] = malloc(100000)) = 1;
    for (long step = 0; step < steps; step++) {
        TELL(memloupe_phase_begin("step", step));
        for (long layer = 0; layer < LAYERS; layer++) {
            TELL(memloupe_operator_begin("MATVEC", layer ? "up-1" : "up-0", layer ? "blk.1" : "blk.0", argv[1], "I64"));
            matrix = weights[layer];
            if (threads == 2) {
                pthread_barrier_wait(&begin);
                rows(0, width / 2);
                pthread_barrier_wait(&end);
            } else {
                rows(0, width);
            }
            TELL(memloupe_operator_end());
            TELL(memloupe_operator_begin("SQUASH", NULL, layer ? "blk.1" : "blk.0", NULL, NULL));
            squash();
            TELL(memloupe_operator_end());
        }
        TELL(memloupe_phase_end());
    }
    if (threads == 2) {
        over = 1;
        pthread_barrier_wait(&begin);
        pthread_join(worker, NULL);
    }
    TELL(memloupe_object_end(y));
    long sum = 0;
    for (long row = 0; row < width; row++) sum += ((volatile long *)y)[row] + x[row];
    printf("%ld\n", sum);
    return 0;
}
