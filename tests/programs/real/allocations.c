/* Allocates in every way that an allocator offers, from constructors to exit handlers, on several threads, and prints what
   it finds in the memory. errno must survive what does not fail. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { THREADS = 4, SLOTS = 200, ROUNDS = 4000 };

static char *early;
static pthread_key_t key;
static long freed_by_keys;

__attribute__((constructor(101))) static void first(void) { early = strdup("before main"); }

static void at_end_of_thread(void *block) {
    __atomic_add_fetch(&freed_by_keys, *(long *)block, __ATOMIC_SEQ_CST);
    free(block);
}

static unsigned next(unsigned *state) { return *state = *state * 1664525u + 1013904223u; }

static unsigned char *allocate(unsigned kind, size_t bytes) {
    void *block = NULL;
    switch (kind % 5) {
    case 0: return calloc(bytes, 1);
    case 1: return posix_memalign(&block, 64, bytes) == 0 ? block : NULL;
    case 2: return aligned_alloc(4096, (bytes + 4095) / 4096 * 4096);
    case 3: return memalign(256, bytes);
    default: return malloc(bytes);
    }
}

/* Blocks with known first and last bytes, resized and freed at random; returns what was read from them. */
static void *churn(void *seed) {
    unsigned state = (unsigned)(uintptr_t)seed;
    unsigned char *blocks[SLOTS] = {0};
    size_t sizes[SLOTS] = {0};
    long sum = 0;
    long *mark = malloc(sizeof *mark);
    *mark = state;
    pthread_setspecific(key, mark);
    for (int round = 0; round < ROUNDS; round++) {
        unsigned slot = next(&state) % SLOTS, kind = next(&state) >> 16;
        size_t bytes = 1 + (next(&state) >> 16) % (kind % 97 == 0 ? 300000 : 700);
        errno = 77;
        if (blocks[slot] == NULL) {
            blocks[slot] = allocate(kind, bytes);
        } else if (kind % 3 == 0) {
            sum += blocks[slot][0] + blocks[slot][sizes[slot] - 1];
            blocks[slot] = realloc(blocks[slot], bytes);
        } else {
            sum += blocks[slot][0] + blocks[slot][sizes[slot] - 1];
            free(blocks[slot]);
            blocks[slot] = NULL;
        }
        if (errno != 77) puts("errno has changed");
        sizes[slot] = bytes;
        if (blocks[slot] != NULL) blocks[slot][0] = blocks[slot][bytes - 1] = (unsigned char)round;
    }
    for (int slot = 0; slot < SLOTS; slot++) free(blocks[slot]);
    return (void *)sum;
}

static void at_exit(void) {
    printf("%s, %ld\n", early, freed_by_keys);
    free(early);
}

int main(void) {
    atexit(at_exit);
    pthread_key_create(&key, at_end_of_thread);
    pthread_t threads[THREADS];
    long sum = (long)churn((void *)1);
    for (uintptr_t i = 0; i < THREADS; i++) pthread_create(&threads[i], NULL, churn, (void *)(i + 2));
    for (int i = 0; i < THREADS; i++) {
        void *result;
        pthread_join(threads[i], &result);
        sum = sum * 31 + (long)result;
    }
    printf("%ld %d\n", sum, malloc(SIZE_MAX / 4) == NULL && errno == ENOMEM);
    for (int round = 0; round < 20; round++) {
        void *library = dlopen("libm.so.6", RTLD_NOW | RTLD_LOCAL), *resolver = dlopen("libresolv.so.2", RTLD_NOW);
        double (*cosine)(double) = (double (*)(double))dlsym(library, "cos");
        if (round % 10 == 0) printf("%.3f %d\n", cosine(round), resolver != NULL);
        dlclose(library);
        dlclose(resolver);
    }
    free(pthread_getspecific(key));
    return 0;
}
