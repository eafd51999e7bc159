/* Threads and processes made by the system call itself. usage: clones thread|memory|vfork|copy */
#define _GNU_SOURCE
#include <linux/futex.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { CELLS = 20000, STACK = 1 << 16 };

static int cells[CELLS];
static int ended = 1;

static void fill(int with) {
    for (volatile int i = 0; i < CELLS; i++) cells[i] = with;
}

static long sum(void) {
    long sum = 0;
    for (int i = 0; i < CELLS; i++) sum += cells[i];
    return sum;
}

/* Runs in what was cloned; uses neither the C library nor thread-local storage, which are the parent's. */
__attribute__((noreturn, used)) static void child(long exit_call) {
    fill(3);
    __asm__ volatile("syscall" : : "a"(exit_call), "D"(5) : "rcx", "r11", "memory");
    __builtin_unreachable();
}

/* clone() with a stack of its own, from which the child calls child(exit_call). */
static long cloned(long flags, long exit_call) {
    char *stack = mmap(NULL, STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
    long *top = (long *)(stack + STACK) - 2;
    top[0] = exit_call;
    long result = SYS_clone;
    register long r10 __asm__("r10") = (long)&ended;
    register long r8 __asm__("r8") = 0;
    __asm__ volatile("syscall\n"
                     "test %%rax, %%rax\n"
                     "jnz 1f\n"
                     "xor %%ebp, %%ebp\n"
                     "pop %%rdi\n"
                     "call child\n"
                     "1:\n"
                     : "+a"(result)
                     : "D"(flags), "S"(top), "d"(0), "r"(r10), "r"(r8)
                     : "rcx", "r11", "memory", "cc");
    return result;
}

int main(int argc, char **argv) {
    const char *what = argc > 1 ? argv[1] : "";
    int status = 0;
    if (!strcmp(what, "thread")) {
        long flags = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM;
        cloned(flags | CLONE_CHILD_CLEARTID, SYS_exit);
        while (__atomic_load_n(&ended, __ATOMIC_ACQUIRE))
            syscall(SYS_futex, &ended, FUTEX_WAIT, 1, NULL, NULL, 0);
    } else if (!strcmp(what, "memory")) {
        waitpid(cloned(CLONE_VM | SIGCHLD, SYS_exit_group), &status, 0);
    } else if (!strcmp(what, "vfork")) {
        waitpid(cloned(CLONE_VM | CLONE_VFORK | SIGCHLD, SYS_exit_group), &status, 0);
    } else if (!strcmp(what, "copy")) {
        waitpid(cloned(SIGCHLD, SYS_exit_group), &status, 0);
    }
    printf("%s %ld %d\n", what, sum(), WEXITSTATUS(status));
    fill(1);
    printf("%ld\n", sum());
    return 7;
}
