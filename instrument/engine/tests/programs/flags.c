/* Jumps through variables with flags that their targets read, as hand-written dispatchers have them. */
#include <stdio.h>

long carried(long first, long second);
long behind_a_jump(long first, long second);

__asm__(".globl carried, behind_a_jump\n"
        "carried:\n"
        "    mov counts(%rip), %rax\n"
        "    inc %rax\n"
        "    mov %rax, counts(%rip)\n"
        "    cmp %rsi, %rdi\n"
        "    jmp *less(%rip)\n"
        "1:  setl %al\n"
        "    movzbl %al, %eax\n"
        "    ret\n"
        "behind_a_jump:\n"
        "    mov counts(%rip), %rax\n"
        "    inc %rax\n"
        "    mov %rax, counts(%rip)\n"
        "    cmp %rsi, %rdi\n"
        "    jmp 3f\n"
        "    nop\n"
        "3:  mov %rsi, %rdx\n"
        "    jmp *below(%rip)\n"
        "2:  setb %al\n"
        "    movzbl %al, %eax\n"
        "    ret\n"
        ".data\n"
        ".balign 8\n"
        "less: .quad 1b\n"
        "below: .quad 2b\n"
        "counts: .quad 0\n"
        ".text\n");

int main(void) {
    long less = 0, below = 0;
    for (long first = -50; first < 50; first++)
        for (long second = -50; second < 50; second++) {
            less += carried(first, second) * (first + 60);
            below += behind_a_jump(first, second) * (second + 60);
        }
    printf("%ld %ld\n", less, below);
    return 0;
}
