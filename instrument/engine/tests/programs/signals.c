/* Signals as programs use them: faults that a handler mends, skips over or jumps out of; timers; interrupted calls. */
#define _GNU_SOURCE
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

static sigjmp_buf back;
static volatile sig_atomic_t mended, skipped, ticks, children;
static volatile int seen_inside;
static long page;

__attribute__((noinline, naked)) static long load_at(const long *address) {
    __asm__("mov (%rdi), %rax\n .globl after_load\n after_load: ret");
}
extern const char after_load[];

static void mend(int number, siginfo_t *info, void *context) {
    (void)number, (void)context;
    mprotect((void *)((long)info->si_addr & -page), page, PROT_READ | PROT_WRITE);
    mended++;
}

static void skip(int number, siginfo_t *info, void *context) {
    (void)number, (void)info;
    greg_t *registers = ((ucontext_t *)context)->uc_mcontext.gregs;
    seen_inside = registers[REG_RIP] == (long)load_at && registers[REG_RDI] == 16;
    registers[REG_RIP] = (long)after_load;
    registers[REG_RAX] = 4321;
    skipped++;
}

static void jump_out(int number) { siglongjmp(back, number); }
static void tick(int number) { (void)number, ticks++; }
static void child_ended(int number) { (void)number, children++; }

static void handle(int number, void (*with_info)(int, siginfo_t *, void *), void (*plain)(int), int flags) {
    struct sigaction action = {.sa_flags = flags};
    if (with_info) {
        action.sa_sigaction = with_info;
        action.sa_flags |= SA_SIGINFO;
    } else {
        action.sa_handler = plain;
    }
    sigaction(number, &action, NULL);
    struct sigaction present;
    sigaction(number, NULL, &present);
    if (with_info ? present.sa_sigaction != with_info : present.sa_handler != plain) puts("another handler is installed");
}

static long deep(long depth) {
    volatile char frame[4096];
    frame[0] = (char)depth;
    return deep(depth + 1) + frame[0];
}

int main(void) {
    page = sysconf(_SC_PAGESIZE);
    handle(SIGSEGV, mend, NULL, 0);
    char *memory = mmap(NULL, 10 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    for (long i = 0; i < 10 * page; i++) memory[i] = (char)i;
    printf("mended %d %d\n", mended, memory[3 * page + 77]);

    handle(SIGSEGV, skip, NULL, 0);
    long value = load_at((const long *)16);
    printf("skipped %d %ld %d\n", skipped, value, seen_inside);

    static char alternative[1 << 16];
    stack_t stack = {.ss_sp = alternative, .ss_size = sizeof alternative};
    sigaltstack(&stack, NULL);
    handle(SIGSEGV, NULL, jump_out, SA_ONSTACK);
    for (volatile int i = 0; i < 50; i++)
        if (sigsetjmp(back, 1) == 0) *(volatile int *)8 = 1;
    if (sigsetjmp(back, 1) == 0) printf("%ld\n", deep(0));
    handle(SIGFPE, NULL, jump_out, 0);
    volatile int zero = 0;
    int number = sigsetjmp(back, 1);
    if (number == 0) zero = 100 / zero;
    printf("jumped %d\n", number);

    handle(SIGALRM, NULL, tick, SA_RESTART);
    struct itimerval often = {{0, 500}, {0, 500}}, never = {{0, 0}, {0, 0}};
    setitimer(ITIMER_REAL, &often, NULL);
    volatile double sum = 1;
    while (ticks < 50) sum = sum * 1.0000001 + 0.1;
    setitimer(ITIMER_REAL, &never, NULL);
    printf("ticks %d\n", ticks >= 50);

    handle(SIGALRM, NULL, jump_out, 0);
    if ((number = sigsetjmp(back, 1)) == 0) {
        struct itimerval soon = {{0, 0}, {0, 2000}};
        setitimer(ITIMER_REAL, &soon, NULL);
        for (;;) pause();
    }
    printf("paused %d\n", number);
    handle(SIGALRM, NULL, tick, 0);
    struct itimerval soon = {{0, 0}, {0, 2000}};
    setitimer(ITIMER_REAL, &soon, NULL);
    errno = 0;
    const int result = usleep(5000000);
    printf("interrupted %d %d\n", result, errno == EINTR);

    handle(SIGCHLD, NULL, child_ended, SA_RESTART);
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) raise(SIGKILL);
    int status = 0;
    waitpid(child, &status, 0);
    printf("child %d %d\n", children, WTERMSIG(status));
    signal(SIGSEGV, SIG_DFL);
    handle(SIGUSR1, NULL, tick, 0);
    raise(SIGUSR1);
    printf("done %d\n", ticks >= 52);
    return 0;
}
