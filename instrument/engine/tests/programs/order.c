/* Two threads hand memory to and fro, by one way of synchronisation or another: each writes what the other reads next, and
 * one frees what the other allocated. Prints the addresses of the two arrays. */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ROUNDS 100
#define PATIENCE 30

static long there[ROUNDS], back[ROUNDS];

static atomic_long turn;
static atomic_int locked;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static int pipes[2][2];

static void spin_await(long wanted) {
    for (long rounds = 1; atomic_load_explicit(&turn, memory_order_acquire) != wanted; rounds++) {
        __builtin_ia32_pause();
        if (rounds % PATIENCE == 0)
            sched_yield();
    }
}

static void spin_tell(long next) { atomic_store_explicit(&turn, next, memory_order_release); }

static void lock(void) {
    for (int free = 0; !atomic_compare_exchange_weak(&locked, &free, 1); free = 0)
        sched_yield();
}

static void unlock(void) { atomic_store_explicit(&locked, 0, memory_order_release); }

static void lock_await(long wanted) {
    for (;;) {
        lock();
        long now = atomic_load_explicit(&turn, memory_order_relaxed);
        unlock();
        if (now == wanted)
            return;
        sched_yield();
    }
}

static void lock_tell(long next) {
    lock();
    atomic_store_explicit(&turn, next, memory_order_relaxed);
    unlock();
}

static void condition_await(long wanted) {
    pthread_mutex_lock(&mutex);
    while (atomic_load_explicit(&turn, memory_order_relaxed) != wanted)
        pthread_cond_wait(&changed, &mutex);
    pthread_mutex_unlock(&mutex);
}

static void condition_tell(long next) {
    pthread_mutex_lock(&mutex);
    atomic_store_explicit(&turn, next, memory_order_relaxed);
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&mutex);
}

static void pipe_await(long wanted) {
    long got;
    if (wanted > 0 && (read(pipes[wanted % 2][0], &got, sizeof got) != sizeof got || got != wanted))
        abort();
}

static void pipe_tell(long next) {
    if (write(pipes[next % 2][1], &next, sizeof next) != sizeof next)
        abort();
}

static const struct way {
    const char *name;
    void (*await)(long);
    void (*tell)(long);
} ways[] = {
    {"spin", spin_await, spin_tell},
    {"lock", lock_await, lock_tell},
    {"condition", condition_await, condition_tell},
    {"pipe", pipe_await, pipe_tell},
};

/* Kept apart so that the test finds their accesses. */
__attribute__((noinline)) void put(long *place, long value) { *(volatile long *)place = value; }
__attribute__((noinline)) long get(long *place) { return *(volatile long *)place; }

static void *other(void *argument) {
    const struct way *way = argument;
    for (long round = 0; round < ROUNDS; round++) {
        way->await(2 * round + 1);
        free((void *)get(&there[round]));
        put(&back[round], (long)malloc(16 + round % 50));
        way->tell(2 * round + 2);
    }
    return NULL;
}

int main(int count, char **arguments) {
    const struct way *way = ways;
    while (count == 2 && strcmp(way->name, arguments[1]))
        way++;
    if (pipe(pipes[0]) || pipe(pipes[1]))
        return 1;
    pthread_t thread;
    pthread_create(&thread, NULL, other, (void *)way);
    for (long round = 0; round < ROUNDS; round++) {
        put(&there[round], (long)malloc(16 + round % 50));
        way->tell(2 * round + 1);
        way->await(2 * round + 2);
        free((void *)get(&back[round]));
    }
    pthread_join(thread, NULL);
    printf("%lu %lu\n", (unsigned long)there, (unsigned long)back);
    return 0;
}
