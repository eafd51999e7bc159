/* Two threads on one CPU count in a restartable sequence, as per-CPU counters do: load, wait, store. What the kernel
   interrupts it restarts. Where the kernel offers no such sequences, they count atomically. */
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <sys/rseq.h>

enum { THREADS = 2, TIMES = 2000, WAIT = 100000 };

static volatile long counter;

static void *count(void *unused) {
    struct rseq *area = (struct rseq *)((char *)__builtin_thread_pointer() + __rseq_offset);
    for (int i = 0; i < TIMES; i++) {
        if ((int)area->cpu_id < 0) {
            __atomic_fetch_add(&counter, 1, __ATOMIC_RELAXED);
            continue;
        }
        __asm__ volatile(
            ".pushsection .data.sequences, \"aw\"\n"
            ".balign 32\n"
            "3: .long 0, 0\n .quad 1f, 2f - 1f, 4f\n"
            ".popsection\n"
            ".pushsection .text.aborted, \"ax\"\n"
            ".byte 0x0f, 0xb9, 0x3d\n .long 0x53053053\n"
            "4: jmp 5f\n"
            ".popsection\n"
            "5: lea 3b(%%rip), %%rax\n"
            "mov %%rax, %[sequence]\n"
            "1: mov %[counter], %%rax\n"
            "mov %[wait], %%ecx\n"
            "6: dec %%ecx\n"
            "jnz 6b\n"
            "inc %%rax\n"
            "mov %%rax, %[counter]\n"
            "2:\n"
            : [sequence] "=m"(area->rseq_cs), [counter] "+m"(counter)
            : [wait] "i"(WAIT)
            : "rax", "rcx", "memory", "cc");
    }
    return unused;
}

int main(void) {
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(sched_getcpu(), &one);
    sched_setaffinity(0, sizeof one, &one);
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++) pthread_create(&threads[i], NULL, count, NULL);
    for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
    printf("%ld, on a CPU with a number: %d\n", counter, sched_getcpu() >= 0);
    return 0;
}
