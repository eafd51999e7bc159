# One instruction of each addressing and access form, with what it must be recorded as:
#   = KIND PLACE BYTES, ...   in program order; data is the buffer below, stack the stack pointer at the start.
# The stream of the whole program is known: there is no C library in it.
.intel_syntax noprefix
.globl _start
.text
_start:
    mov rax, [data]                     # = load data+0 8
    mov [data+8], eax                   # = store data+8 4
    mov rax, [rip+data+3]               # = load data+3 8
    lea rbx, [rip+data+64]
    mov al, [rbx]                       # = load data+64 1
    mov [rbx+1], ah                     # = store data+65 1
    movzx eax, word ptr [rbx-2]         # = load data+62 2
    mov rcx, [rbx-3]                    # = load data+61 8
    mov ecx, 2
    mov rax, [rbx+rcx*8+8]              # = load data+88 8
    add rbx, 16
    mov rax, [rbx]                      # = load data+80 8
    sub rbx, 16
    add dword ptr [rbx], 1              # = rmw data+64 4
    not byte ptr [rbx+5]                # = rmw data+69 1
    xchg [rbx], rax                     # = rmw data+64 8
    lock add qword ptr [rbx], 1         # = rmw data+64 8
    lock xadd [rbx], rax                # = rmw data+64 8
    cmpxchg [rbx], rcx                  # = rmw data+64 8
    lock cmpxchg [rbx], ecx             # = rmw data+64 4
    lock cmpxchg16b [rbx]               # = rmw data+64 16
    xor eax, eax
    cmovne rax, [rbx+8]                 # = load data+72 8
    nop dword ptr [rbx]
    prefetcht0 [rbx]
    push rax                            # = store stack-8 8
    push qword ptr [rbx]                # = load data+64 8, store stack-16 8
    pop qword ptr [rbx+8]               # = load stack-16 8, store data+72 8
    pop rax                             # = load stack-8 8
    call function                       # = store stack-8 8
    jmp strings
function:
    push rbp                            # = store stack-16 8
    mov rbp, rsp
    push rbx                            # = store stack-24 8
    mov rbx, [rbp-8]                    # = load stack-24 8
    leave                               # = load stack-16 8
    ret                                 # = load stack-8 8
strings:
    cld
    lea rsi, [rip+data]
    lea rdi, [rip+data+256]
    movsq                               # = load data+0 8, store data+256 8
    mov ecx, 2
    rep movsb                           # = load data+8 1, store data+264 1, load data+9 1, store data+265 1
    mov ecx, 2
    rep stosd                           # = store data+266 4, store data+270 4
    xor ecx, ecx
    rep stosb
    mov ecx, 1
    repe cmpsb                          # = load data+274 1, load data+10 1
x87: # fxsave leaves the reserved end of its 512 bytes alone
    fld tbyte ptr [rbx]                 # = load data+64 10
    fstp tbyte ptr [rbx+16]             # = store data+80 10
    fild word ptr [rbx]                 # = load data+64 2
    fadd qword ptr [rbx+8]              # = load data+72 8; flops 1
    fstp dword ptr [rbx]                # = store data+64 4
    fxsave [data+512]                   # = store data+512 416
    fxrstor [data+512]                  # = load data+512 416
sse:
    pxor xmm0, xmm0
    movups xmm1, [rbx-1]                # = load data+63 16
    movaps [rbx], xmm1                  # = store data+64 16
    movntdq [rbx], xmm1                 # = store data+64 16
    movnti [rbx], rax                   # = store data+64 8
    addps xmm0, [rbx]                   # = load data+64 16; flops 4
    mulsd xmm0, [rbx]                   # = load data+64 8; flops 1
    sqrtss xmm0, [rbx]                  # = load data+64 4; flops 1
    divpd xmm0, [rbx]                   # = load data+64 16; flops 2
    movhps xmm0, [rbx+8]                # = load data+72 8
    movlps [rbx], xmm0                  # = store data+64 8
    movss xmm0, [rbx]                   # = load data+64 4
finish:
    mov eax, 231
    mov edi, 7
    syscall

.data
.balign 4096
data:
    .zero 4096
