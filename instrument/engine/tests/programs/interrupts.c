/* Asynchronous signals that interrupt code whose accesses are known. The program prints what is the same in every run, and
 *   case NAME START END BYTES INSTRUCTIONS      the code range of a kernel, what it has accessed and executed
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <ucontext.h>
#include <unistd.h>

#define KERNEL(name, parameters, body)                                                                  \
    extern const char name##_end[];                                                                     \
    __attribute__((noinline, naked)) static void name parameters {                                      \
        __asm__ volatile(body "\n .globl " #name "_end\n" #name "_end: ret");                           \
    }
#define TOLD(name, bytes, instructions) \
    printf("case " #name " %#lx %#lx %ld %ld\n", (unsigned long)(name), (unsigned long)name##_end, (long)(bytes), (long)(instructions))
/* A chain that takes its time, and leaves no flag alone. */
#define SLOW "imul %rax, %rax\n imul %rax, %rax\n imul %rax, %rax\n imul %rax, %rax\n imul %rax, %rax\n imul %rax, %rax\n"

/* Two loads and a store: rdi and rsi move together. */
KERNEL(affine, (uint64_t *at, long n), "1: mov (%rdi), %rax\n" SLOW " mov %rax, 8(%rdi)\n add (%rdi), %rax\n add $8, %rdi\n dec %rsi\n jnz 1b\n")
/* The address of the next iteration is loaded. */
KERNEL(chased, (uint64_t *at, long n), "1: mov (%rdi), %rdi\n" SLOW " mov 8(%rdi), %rax\n dec %rsi\n jnz 1b\n")
/* Carries a flag from block to block; calls, returns, pushes and pops. */
KERNEL(called, (uint64_t *at, long n),
       "clc\n 1: adc (%rdi), %rax\n call 2f\n dec %rsi\n jnz 1b\n jmp 3f\n"
       "2: push %rax\n pushfq\n mov %rsp, %rcx\n incq 8(%rdi)\n popfq\n pop %rax\n ret\n 3:\n")
KERNEL(copied, (void *to, const void *from, long bytes), "mov %rdx, %rcx\n rep movsb\n")
KERNEL(abandoned, (uint64_t *at, long n), "1: incq (%rdi)\n" SLOW " dec %rsi\n jnz 1b\n")
KERNEL(counted, (uint64_t *at, long n), "1: incq (%rdi)\n dec %rsi\n jnz 1b\n")
/* Ends only if a handler makes it. */
KERNEL(endless, (uint64_t *at, long n), "1: jmp 1b\n")
KERNEL(endless_load, (uint64_t *at, long n), "1: incq (%rdi)\n jmp 1b\n")
KERNEL(breakpoint, (void), "int3\n")

static uint64_t data[1 << 16] __attribute__((aligned(4096)));
static uint8_t target[1 << 23];
static volatile sig_atomic_t ticks, wrong, nested, depth;
static sigjmp_buf back;

static greg_t *registers(void *context) { return ((ucontext_t *)context)->uc_mcontext.gregs; }
static int inside(void *context, const void *start, const char *end) {
    return registers(context)[REG_RIP] >= (long)start && registers(context)[REG_RIP] < (long)end;
}

static void tick(int number, siginfo_t *info, void *context) {
    (void)number;
    ticks++;
    if (info->si_signo != SIGALRM) wrong++;
    /* At the head of the loop both counters have moved alike. */
    if (registers(context)[REG_RIP] == (long)affine) {
        const long done = (registers(context)[REG_RDI] - (long)data) / 8;
        if (done + registers(context)[REG_RSI] != 60000) wrong++;
    }
}
static void leave_endless(int number, siginfo_t *info, void *context) {
    (void)number, (void)info;
    if (inside(context, endless, endless_end)) registers(context)[REG_RIP] = (long)endless_end, ticks++;
    if (inside(context, endless_load, endless_load_end)) registers(context)[REG_RIP] = (long)endless_load_end, ticks++;
}
static void jump_out(int number) { siglongjmp(back, number); }
static void behind_trap(int number, siginfo_t *info, void *context) {
    (void)number, (void)info;
    if (registers(context)[REG_RIP] != (long)breakpoint + 1) wrong++;
    ticks++;
}
static void nest(int number) {
    sigset_t blocked;
    sigprocmask(SIG_BLOCK, NULL, &blocked);
    if (sigismember(&blocked, SIGUSR1) || !sigismember(&blocked, SIGUSR2)) wrong++;
    nested++;
    if (++depth < 5) raise(number);
    depth--;
}
static char alternative[1 << 16];
static void on_stack(int number) {
    char here;
    (void)number;
    if (&here < alternative || &here >= alternative + sizeof alternative) wrong++;
    ticks++;
}
static int values[64], value_count;
static void queued(int number, siginfo_t *info, void *context) {
    (void)number, (void)context;
    values[value_count++] = info->si_value.sival_int;
}

static void handle(int number, void *handler, int flags) {
    struct sigaction action = {.sa_handler = (void (*)(int))handler, .sa_flags = flags};
    sigaction(number, &action, NULL);
}
static void every(long microseconds) {
    struct itimerval often = {{0, microseconds}, {0, microseconds}};
    setitimer(ITIMER_REAL, &often, NULL);
}
/* Calls the kernel until enough ticks have come while it ran. */
#define UNDER_TICKS(wanted, calls, call) \
    for (ticks = 0, calls = 0, every(400); ticks < (wanted); calls++) call; \
    every(0)

static void *spin(void *unused) {
    (void)unused;
    endless(data, 0);
    return NULL;
}
static void *spin_for_good(void *unused) {
    pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, NULL);
    endless_load(data, 0);
    return unused;
}

int main(void) {
    long calls;
    const long half = sizeof target / 2;
    handle(SIGALRM, tick, SA_SIGINFO | SA_RESTART);
    UNDER_TICKS(40, calls, affine(data, 60000));
    TOLD(affine, calls * 60000 * 24, calls * 60000 * 12);
    for (int i = 0; i < 1000; i++) data[i * 3] = (uint64_t)&data[(i + 7) % 1000 * 3];
    UNDER_TICKS(40, calls, chased(data, 60000));
    TOLD(chased, calls * 60000 * 16, calls * 60000 * 10);
    UNDER_TICKS(40, calls, called(data, 60000));
    const uint64_t before = data[1];
    called(data, 1000);
    calls = calls * 60000 + 1000;
    TOLD(called, calls * 64, calls * 11 + (calls - 1000) / 60000 * 2 + 2);
    printf("sums %d\n", data[1] == before + 1000);
    memset(data, 3, sizeof data);
    for (size_t i = 0; i < sizeof target; i++) target[i] = (uint8_t)(i * 7 >> 5);
    UNDER_TICKS(30, calls, copied(target + 1, target + half, half - 1));
    TOLD(copied, calls * 2 * (half - 1), calls * 2);
    printf("wrong %d %d\n", wrong, memcmp(target + 1, target + half, half - 1));

    handle(SIGALRM, leave_endless, SA_SIGINFO);
    every(700);
    ticks = 0;
    for (int i = 0; i < 20; i++) endless(data, 0), endless_load(data, 0);
    every(0);
    printf("left %d\n", ticks);

    handle(SIGALRM, jump_out, 0);
    volatile int jumps = 0;
    /* No tick may come before there is where to jump to. */
    if (sigsetjmp(back, 1) == 0) every(900);
    else jumps = jumps + 1;
    if (jumps < 100) for (;;) abandoned(data, 60000);
    every(0);
    /* Still observed afterwards? */
    memset(target, 0, sizeof target);
    counted(data, 1234);
    TOLD(counted, 1234 * 8, 1234 * 3);
    /* One more tick may have come before the timer stopped. */
    printf("jumps %d\n", jumps >= 100);

    handle(SIGTRAP, behind_trap, SA_SIGINFO);
    ticks = 0;
    for (int i = 0; i < 10; i++) breakpoint();
    printf("traps %d %d\n", ticks, wrong);

    struct sigaction action = {.sa_handler = nest, .sa_flags = SA_NODEFER};
    sigaddset(&action.sa_mask, SIGUSR2);
    sigaction(SIGUSR1, &action, NULL);
    raise(SIGUSR1);
    struct sigaction present;
    sigaction(SIGUSR1, NULL, &present);
    printf("nested %d %d %d\n", nested, wrong, sigismember(&present.sa_mask, SIGUSR2) && present.sa_flags & SA_NODEFER);

    stack_t stack = {.ss_sp = alternative, .ss_size = sizeof alternative};
    sigaltstack(&stack, NULL);
    handle(SIGALRM, on_stack, SA_ONSTACK);
    UNDER_TICKS(20, calls, abandoned(data, 60000));
    printf("on stack %d\n", wrong);

    handle(SIGUSR2, on_stack, SA_RESETHAND | SA_ONSTACK);
    raise(SIGUSR2);
    sigaction(SIGUSR2, NULL, &present);
    printf("reset %d\n", present.sa_handler == SIG_DFL);

    handle(SIGRTMIN + 3, queued, SA_SIGINFO);
    sigset_t realtime;
    sigemptyset(&realtime);
    sigaddset(&realtime, SIGRTMIN + 3);
    sigprocmask(SIG_BLOCK, &realtime, NULL);
    for (int i = 0; i < 20; i++) sigqueue(getpid(), SIGRTMIN + 3, (union sigval){.sival_int = i});
    sigprocmask(SIG_UNBLOCK, &realtime, NULL);
    int ordered = value_count;
    for (int i = 0; i < value_count; i++) ordered -= values[i] != i;
    printf("queued %d\n", ordered);

    handle(SIGUSR1, leave_endless, SA_SIGINFO);
    pthread_t threads[3];
    ticks = 0;
    for (int i = 0; i < 3; i++) pthread_create(&threads[i], NULL, spin, NULL);
    for (int i = 0; i < 3; i++)
        while (pthread_tryjoin_np(threads[i], NULL) != 0) {
            pthread_kill(threads[i], SIGUSR1);
            usleep(300);
        }
    pthread_create(&threads[0], NULL, spin_for_good, NULL);
    usleep(3000);
    pthread_cancel(threads[0]);
    void *result;
    pthread_join(threads[0], &result);
    printf("threads %d\n", result == PTHREAD_CANCELED);
    return 0;
}
