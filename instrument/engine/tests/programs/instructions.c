/* Runs short instruction sequences from given register values and tells what became of registers and memory.
 * usage: instructions CODE CASES RESULTS whole|steps
 * CODE is mapped at CODE_START. CASES and RESULTS are as `tests/instructions/machine.rs` lays them out. With `steps`, the CPU
 * traps after each instruction, and the registers before each go into RESULTS as well. */
#define _GNU_SOURCE
#include <asm/prctl.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#define CODE_START 0x20000000ul
#define ARENA_START 0x10000000ul
#define ARENA_BYTES 0x8000ul
#define FS_BASE 0x08000000ul
#define EXIT_CELL 0x30000000ul
#define TRAP_FLAG 0x100

enum { X87_SSE_AVX_AVX512 = 0xe7, EXTENDED_BYTES = 2688, EXTENDED_OFFSET = 192 };

typedef struct {
    uint64_t general[16], flags, instruction, signal, reserved[5];
    uint8_t extended[EXTENDED_BYTES];
} __attribute__((aligned(64))) state;

typedef struct {
    uint64_t start, end;
    state before;
} __attribute__((aligned(64))) test_case;

state current;
uint64_t own_stack, extended_mask;
static sigjmp_buf out;
static uint8_t *image;
static FILE *results;
static int stepping;
static const test_case *running;
static uint8_t former[ARENA_BYTES];
static uint64_t own_fs;

/* Loads `current`, jumps to its instruction (by the word behind EXIT_CELL: jumps relative to RIP are taken for calls, which
 * pass no flags); the code ends in a jump to `leave`, which stores it again. */
void run(void);
extern const char leave[];
__asm__("run:\n push %rbx\n push %rbp\n push %r12\n push %r13\n push %r14\n push %r15\n"
        "mov %rsp, own_stack(%rip)\n mov extended_mask(%rip), %eax\n xor %edx, %edx\n xrstor64 current+192(%rip)\n"
        "push current+128(%rip)\n"
        "mov current+8(%rip), %rcx\n mov current+16(%rip), %rdx\n mov current+24(%rip), %rbx\n mov current+40(%rip), %rbp\n"
        "mov current+48(%rip), %rsi\n mov current+56(%rip), %rdi\n mov current+64(%rip), %r8\n mov current+72(%rip), %r9\n"
        "mov current+80(%rip), %r10\n mov current+88(%rip), %r11\n mov current+96(%rip), %r12\n mov current+104(%rip), %r13\n"
        "mov current+112(%rip), %r14\n mov current+120(%rip), %r15\n mov current(%rip), %rax\n"
        "popfq\n mov current+32(%rip), %rsp\n jmp *0x30000008\n"
        "leave:\n mov %rsp, current+32(%rip)\n mov own_stack(%rip), %rsp\n pushfq\n pop current+128(%rip)\n cld\n"
        "push $2\n popfq\n"
        "mov %rax, current(%rip)\n mov %rcx, current+8(%rip)\n mov %rdx, current+16(%rip)\n mov %rbx, current+24(%rip)\n"
        "mov %rbp, current+40(%rip)\n mov %rsi, current+48(%rip)\n mov %rdi, current+56(%rip)\n mov %r8, current+64(%rip)\n"
        "mov %r9, current+72(%rip)\n mov %r10, current+80(%rip)\n mov %r11, current+88(%rip)\n mov %r12, current+96(%rip)\n"
        "mov %r13, current+104(%rip)\n mov %r14, current+112(%rip)\n mov %r15, current+120(%rip)\n"
        "mov extended_mask(%rip), %eax\n xor %edx, %edx\n xsave64 current+192(%rip)\n fninit\n ldmxcsr default_control(%rip)\n"
        "pop %r15\n pop %r14\n pop %r13\n pop %r12\n pop %rbp\n pop %rbx\n ret\n"
        "default_control: .long 0x1f80\n");

static void set_fs(uint64_t base) {
    long result;
    __asm__ volatile("syscall" : "=a"(result) : "0"((long)SYS_arch_prctl), "D"((long)ARCH_SET_FS), "S"(base) : "rcx", "r11", "memory");
}

/* What instructions may leave undefined, or what is not the same at another address: not told. */
static void normalize(state *told) {
    told->flags &= ~(uint64_t)TRAP_FLAG & ~0x10000ul;
    memset(told->extended + 8, 0, 16);           /* last x87 instruction and operand */
    memset(told->extended + 6, 0, 2);            /* last x87 opcode */
    memset(told->extended + 416, 0, 96);         /* the kernel's own */
    memset(told->extended + 512, 0, 64);         /* which components are in use */
}

/* The registers before a step, and which bytes of the arena the step before has changed. */
static void tell_step(const state *before) {
    static uint32_t changed[ARENA_BYTES];
    uint32_t count = 0;
    for (uint32_t i = 0; i < ARENA_BYTES; i++)
        if (former[i] != ((uint8_t *)ARENA_START)[i]) changed[count++] = i;
    memcpy(former, (void *)ARENA_START, ARENA_BYTES);
    const uint64_t words[2] = {1, count};
    fwrite(words, sizeof words, 1, results);
    fwrite(changed, 4, count, results);
    fwrite(before, sizeof *before, 1, results);
}

static void interrupted(int number, siginfo_t *info, void *context) {
    set_fs(own_fs);
    ucontext_t *saved = context;
    const greg_t *registers = saved->uc_mcontext.gregs;
    static const int places[16] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
                                   REG_R8,  REG_R9,  REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15};
    state now;
    for (int i = 0; i < 16; i++) now.general[i] = registers[places[i]];
    now.flags = registers[REG_EFL];
    now.instruction = registers[REG_RIP];
    now.signal = number;
    memset(now.reserved, 0, sizeof now.reserved);
    memcpy(now.extended, saved->uc_mcontext.fpregs, sizeof now.extended);
    normalize(&now);
    if (stepping && number == SIGTRAP && info->si_code == TRAP_TRACE) {
        if (now.instruction >= running->start && now.instruction < running->end) tell_step(&now);
        set_fs(FS_BASE);
        return;
    }
    current = now;
    siglongjmp(out, 1);
}

static void *file(const char *path, void *at, int protection) {
    const int descriptor = open(path, O_RDONLY);
    struct stat status;
    if (descriptor < 0 || fstat(descriptor, &status) != 0) exit(3);
    void *map = mmap(at, status.st_size, protection, MAP_PRIVATE | (at ? MAP_FIXED_NOREPLACE : 0), descriptor, 0);
    if (map == MAP_FAILED) exit(4);
    return map;
}

int main(int argc, char **argv) {
    if (argc != 5) return 2;
    stepping = strcmp(argv[4], "steps") == 0;
    file(argv[1], (void *)CODE_START, PROT_READ | PROT_EXEC);
    const uint64_t *cases = file(argv[2], NULL, PROT_READ);
    results = fopen(argv[3], "w");
    const uint64_t count = cases[0];
    extended_mask = cases[1];
    image = (uint8_t *)cases + 64;
    const test_case *all = (const test_case *)(image + ARENA_BYTES);
    /* Nothing else may lie where a sequence may stray to: it has to fault as it does natively. */
    const uint64_t holes[][2] = {{0x01000000, ARENA_START}, {ARENA_START + ARENA_BYTES, CODE_START}};
    for (int i = 0; i < 2; i++)
        if (mmap((void *)holes[i][0], holes[i][1] - holes[i][0], PROT_NONE,
                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0) == MAP_FAILED) return 7;
    const int fixed = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE;
    if (mmap((void *)ARENA_START, ARENA_BYTES, PROT_READ | PROT_WRITE, fixed, -1, 0) == MAP_FAILED) return 5;
    uint64_t *cell = mmap((void *)EXIT_CELL, 4096, PROT_READ | PROT_WRITE, fixed, -1, 0);
    if (cell == MAP_FAILED) return 6;
    *cell = (uint64_t)leave;
    syscall(SYS_arch_prctl, ARCH_GET_FS, &own_fs);
    static char alternative[1 << 18];
    const stack_t stack = {.ss_sp = alternative, .ss_size = sizeof alternative};
    sigaltstack(&stack, NULL);
    struct sigaction action = {.sa_sigaction = interrupted, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    const int signals[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP};
    for (int i = 0; i < 5; i++) sigaction(signals[i], &action, NULL);
    for (uint64_t i = 0; i < count; i++) {
        running = &all[i];
        memcpy((void *)ARENA_START, image, ARENA_BYTES);
        memcpy(former, image, ARENA_BYTES);
        current = running->before;
        current.instruction = running->start;
        if (stepping) current.flags |= TRAP_FLAG;
        if (sigsetjmp(out, 1) == 0) {
            set_fs(FS_BASE);
            cell[1] = current.instruction;
            run();
            set_fs(own_fs);
            normalize(&current);
            current.instruction = running->end;
        }
        if (stepping) tell_step(&current);
        const uint64_t end = 2;
        fwrite(&end, 8, 1, results);
        fwrite(&current, sizeof current, 1, results);
        uint64_t hash = 0;
        for (const uint64_t *word = (void *)ARENA_START; word < (uint64_t *)(ARENA_START + ARENA_BYTES); word++)
            hash = (hash ^ *word) * 0x9e3779b97f4a7c15, hash ^= hash >> 29;
        fwrite(&hash, 8, 1, results);
    }
    return fclose(results) != 0;
}
