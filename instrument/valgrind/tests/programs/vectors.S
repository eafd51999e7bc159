# AVX2 and FMA forms; notation as in operands.S.
.intel_syntax noprefix
.globl _start
.text
_start:
    lea rbx, [rip+data+128]
    vmovups ymm0, [rbx]                 # = load data+128 32
    vmovaps ymm1, [rbx+32]              # = load data+160 32
    vmovups [rbx+1], ymm0               # = store data+129 32
    vmovntps [rbx], ymm0                # = store data+128 32
    vaddps ymm0, ymm1, [rbx]            # = load data+128 32; flops 8
    vfmadd231ps ymm0, ymm1, [rbx+32]    # = load data+160 32; flops 16
    vfmadd213ps xmm0, xmm1, [rbx+32]    # = load data+160 16; flops 8
    vfnmadd132pd ymm0, ymm1, [rbx+64]   # = load data+192 32; flops 8
    vfmsub231sd xmm0, xmm1, [rbx+8]     # = load data+136 8; flops 2
    vfmadd231ss xmm0, xmm1, [rbx+8]     # = load data+136 4; flops 2
    vbroadcastss ymm2, [rbx+4]          # = load data+132 4
    vbroadcastf128 ymm2, [rbx+16]       # = load data+144 16
    vpbroadcastb ymm2, [rbx+3]          # = load data+131 1
    vcvtps2pd ymm2, [rbx]               # = load data+128 16
    vpmovzxbw ymm2, [rbx]               # = load data+128 16
    vextractf128 [rbx+16], ymm0, 1      # = store data+144 16
    vinsertf128 ymm0, ymm0, [rbx], 1    # = load data+128 16
    vcvtph2ps ymm2, [rbx]               # = load data+128 16
    vpmaddubsw ymm2, ymm2, [rbx]        # = load data+128 32
masks:
    vmovdqu ymm3, [rip+mask]            # = load data+1024 32
    vpmaskmovd ymm0, ymm3, [rbx]        # = load data+128 4, load data+136 4, load data+156 4
    vmaskmovps [rbx], ymm3, ymm0        # = store data+128 4, store data+136 4, store data+156 4
    vpmaskmovq xmm0, xmm3, [rbx]        # no lane has its sign bit set
gathers:
    vmovdqu ymm4, [rip+indices]         # = load data+1056 32
    vpgatherdd ymm5, [rbx+ymm4*4], ymm3 # = load data+144 4, load data+112 4, load data+160 4
    vmovdqu ymm3, [rip+mask]            # = load data+1024 32
    vpcmpeqd xmm3, xmm3, xmm3
    vgatherdpd xmm5, [rbx+xmm4*8], xmm3 # = load data+160 8, load data+136 8
finish:
    vzeroupper
    mov eax, 231
    mov edi, 7
    syscall

.data
.balign 4096
data:
    .zero 1024
mask:
    .long -1, 0, -1, 0, 0, 0, 0, -1
indices:
    .long 4, 1, -4, 1, 1, 1, 1, 8
    .zero 2048
