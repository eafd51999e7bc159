/* What the native engine can't observe, or can't survive. usage: refused gs|engine */
#define _GNU_SOURCE
#include <asm/prctl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

static long of_its_own[8] = {11, 22, 33};

/* A thread that has the GS segment for itself. */
static int gs(void) {
    long value;
    syscall(SYS_arch_prctl, ARCH_SET_GS, of_its_own);
    __asm__ volatile("mov %%gs:8, %0" : "=r"(value));
    printf("gs %ld\n", value);
    return 7;
}

/* Takes the engine's heap away from it: the one private mapping of 8 GB. */
static int engine(void) {
    FILE *maps = fopen("/proc/self/maps", "r");
    char line[512];
    while (fgets(line, sizeof line, maps)) {
        unsigned long start, end;
        if (sscanf(line, "%lx-%lx", &start, &end) == 2 && end - start >= 8ul << 30) {
            puts("found");
            fflush(stdout);
            mprotect((void *)start, end - start, PROT_NONE);
        }
    }
    return 0;
}

int main(int argc, char **argv) {
    volatile long sum = 0;
    for (long i = 0; i < 50000; i++) sum += i;
    if (argc > 1 && strcmp(argv[1], "gs") == 0) return gs();
    return engine();
}
