/* Ways to use the GS segment and the shadow stack. usage: segments rdgsbase|wrgsbase|selector|get|shadow */
#define _GNU_SOURCE
#include <asm/prctl.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define ARCH_SHSTK_ENABLE 0x5001

static long of_its_own[8] = {11, 22, 33};

static long rdgsbase(void) {
    long base;
    __asm__ volatile("rdgsbase %0" : "=r"(base));
    return base;
}

/* The base that is written is the one that is used and read. */
static void wrgsbase(void) {
    long value;
    __asm__ volatile("wrgsbase %1\n mov %%gs:16, %0" : "=r"(value) : "r"(of_its_own));
    printf("%ld %d\n", value, rdgsbase() == (long)of_its_own);
}

/* Loading a null selector clears the base. */
static void selector(void) {
    unsigned selector;
    __asm__ volatile("mov %%gs, %0" : "=r"(selector));
    __asm__ volatile("mov %0, %%gs" : : "r"(selector));
    printf("%u %ld\n", selector, rdgsbase());
}

static void get(void) {
    long base = -1;
    long result = syscall(SYS_arch_prctl, ARCH_GET_GS, &base);
    printf("%ld %ld\n", result, base);
}

/* A jump table with landing pads, and the shadow stack's pointer, which is 0 without one. */
static __attribute__((noinline)) int landing(int which) {
    switch (which) {
    case 0: return 3;
    case 1: return puts("one");
    case 2: return puts("two");
    case 3: return -1;
    case 4: return puts("four");
    default: return 9;
    }
}

static void shadow(void) {
    int (*volatile indirect)(int) = landing;
    long pointer = 0;
    int sum = 0;
    for (int i = 0; i < 60; i++) sum += indirect(i % 6);
    __asm__ volatile("rdsspq %0" : "+r"(pointer));
    long result = syscall(SYS_arch_prctl, ARCH_SHSTK_ENABLE, 1);
    printf("%d %ld %ld\n", sum, pointer, result);
}

int main(int argc, char **argv) {
    const char *what = argc > 1 ? argv[1] : "";
    volatile long sum = 0;
    for (long i = 0; i < 50000; i++) sum += i;
    if (!strcmp(what, "rdgsbase")) printf("%ld\n", rdgsbase());
    if (!strcmp(what, "wrgsbase")) wrgsbase();
    if (!strcmp(what, "selector")) selector();
    if (!strcmp(what, "get")) get();
    if (!strcmp(what, "shadow")) shadow();
    return 7;
}
