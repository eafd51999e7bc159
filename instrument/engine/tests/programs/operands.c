/* Instructions whose accesses are known. Each case is a function; what it must be recorded as is printed after its call:
 *   case NAME START END            the code range, without the final ret
 *   KIND ADDRESS BYTES             one line for each access, in program order
 * KIND: load, store, rmw, prefetch, nt. usage: operands [avx512|amx] */
#include <cpuid.h>
#include <immintrin.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static uint8_t data[16384] __attribute__((aligned(4096)));
static uint64_t stack_pointer;

#define CASE(name, parameters, body)                                                                    \
    extern const char name##_end[];                                                                     \
    __attribute__((noinline, naked)) static void name parameters {                                      \
        __asm__ volatile(body "\n .globl " #name "_end\n" #name "_end: ret");                           \
    }
#define BEGIN(name) printf("case " #name " %#lx %#lx\n", (unsigned long)(name), (unsigned long)name##_end)
#define EXPECT(kind, address, bytes) printf(#kind " %#lx %d\n", (unsigned long)(address), (int)(bytes))

CASE(moves, (void *at), "mov (%rdi), %rax\n lea 16(%rdi), %rdx\n mov (%rdx), %eax\n add $8, %rdx\n mov %al, 3(%rdx)\n"
                        "sub $-8, %rdx\n mov $4, %ecx\n mov 8(%rdx,%rcx,8), %rax\n inc %rdx\n movzwl -1(%rdx), %eax\n"
                        "and $-64, %rdx\n mov (%rdx), %al\n")
static void expect_moves(uint8_t *at) {
    EXPECT(load, at, 8);
    EXPECT(load, at + 16, 4);
    EXPECT(store, at + 27, 1);
    EXPECT(load, at + 32 + 8 + 32, 8);
    EXPECT(load, at + 32, 2);
    EXPECT(load, at, 1);
}

CASE(modifies, (void *at), "addl $1, (%rdi)\n notb 5(%rdi)\n lock incq 8(%rdi)\n xchg %rax, 16(%rdi)\n lock xadd %rcx, 24(%rdi)\n"
                           "xor %eax, %eax\n cmpxchg %rcx, 32(%rdi)\n testl $1, (%rdi)\n cmpb $0, 1(%rdi)\n setc 40(%rdi)\n"
                           "cmovne 48(%rdi), %rax\n btsl $3, 56(%rdi)\n lea 64(%rdi), %rax\n nopw 72(%rdi)\n")
static void expect_modifies(uint8_t *at) {
    EXPECT(rmw, at, 4);
    EXPECT(rmw, at + 5, 1);
    EXPECT(rmw, at + 8, 8);
    EXPECT(rmw, at + 16, 8);
    EXPECT(rmw, at + 24, 8);
    EXPECT(rmw, at + 32, 8);
    EXPECT(load, at, 4);
    EXPECT(load, at + 1, 1);
    EXPECT(store, at + 40, 1);
    EXPECT(load, at + 48, 8);
    EXPECT(rmw, at + 56, 4);
}

CASE(stack, (void *at), "mov %rsp, stack_pointer(%rip)\n push %rbp\n mov %rsp, %rbp\n push %rbx\n push (%rdi)\n mov -8(%rbp), %rbx\n"
                        "pop 8(%rdi)\n pop %rbx\n leave\n pushfq\n popfq\n push $7\n pop %rax\n")
static void expect_stack(uint8_t *at) {
    uint64_t top = stack_pointer;
    EXPECT(store, &stack_pointer, 8);
    EXPECT(store, top - 8, 8);
    EXPECT(store, top - 16, 8);
    EXPECT(load, at, 8);
    EXPECT(store, top - 24, 8);
    EXPECT(load, top - 16, 8);
    EXPECT(load, top - 24, 8);
    EXPECT(store, at + 8, 8);
    EXPECT(load, top - 16, 8);
    EXPECT(load, top - 8, 8);
    EXPECT(store, top - 8, 8);
    EXPECT(load, top - 8, 8);
    EXPECT(store, top - 8, 8);
    EXPECT(load, top - 8, 8);
}


/* The bit's number moves the access; a 16-bit frame pointer leaves the stack pointer's upper part alone. */
CASE(bits, (void *at, long number), "bt %rsi, (%rdi)\n bts %esi, (%rdi)\n btr %si, 8(%rdi)\n btc %rsi, (%rdi,%rsi,8)\n")
static void expect_bits(uint8_t *at, long number) {
    EXPECT(load, at + (number >> 6) * 8, 8);
    EXPECT(rmw, at + ((int)number >> 5) * 4, 4);
    EXPECT(rmw, at + 8 + ((short)number >> 4) * 2, 2);
    EXPECT(rmw, at + number * 8 + (number >> 6) * 8, 8);
}
CASE(narrow_frame, (void), "mov %rbp, %rsi\n mov %rsp, %rbp\n mov %rsp, stack_pointer(%rip)\n sub $64, %rsp\n lea -32(%rbp), %bp\n"
                           "leavew\n popw %cx\n mov stack_pointer(%rip), %rsp\n mov %rsi, %rbp\n")

CASE(segments, (void), "mov %fs:0, %rax\n mov %fs:16, %edx\n xor %ecx, %ecx\n mov %fs:8(%rcx), %rdx\n lea (%rax), %rsi\n mov %fs:1(%rcx), %cl\n")
CASE(table, (void *at, long index), "mov %rbx, %r8\n mov %rdi, %rbx\n mov %rsi, %rax\n xlatb\n mov %r8, %rbx\n")

CASE(hints, (void *at), "prefetcht0 (%rdi)\n prefetchnta 64(%rdi)\n movntps %xmm0, 128(%rdi)\n movnti %rax, 192(%rdi)\n"
                        "movaps 256(%rdi), %xmm1\n movss 3(%rdi), %xmm2\n addsd 8(%rdi), %xmm3\n fldt 320(%rdi)\n fstpt 336(%rdi)\n"
                        "clflush (%rdi)\n")
static void expect_hints(uint8_t *at) {
    EXPECT(prefetch, at, 1);
    EXPECT(prefetch, at + 64, 1);
    EXPECT(nt, at + 128, 16);
    EXPECT(nt, at + 192, 8);
    EXPECT(load, at + 256, 16);
    EXPECT(load, at + 3, 4);
    EXPECT(load, at + 8, 8);
    EXPECT(load, at + 320, 10);
    EXPECT(store, at + 336, 10);
}

CASE(move_string, (void *to, void *from, long bytes), "mov %rdx, %rcx\n rep movsb\n")
CASE(fill_string, (void *to, long words), "mov %rsi, %rcx\n xor %eax, %eax\n rep stosq\n")
CASE(fill_down, (void *to, long words), "mov %rsi, %rcx\n xor %eax, %eax\n std\n rep stosq\n cld\n")
CASE(scan_string, (void *at, long byte), "mov $-1, %rcx\n mov %esi, %eax\n repne scasb\n")
CASE(single_strings, (void *to, void *from), "lodsb\n movsq\n stosw\n scasl\n")
static void expect_pieces(const uint8_t *from, uint8_t *to, long bytes, const char *kind) {
    while (bytes > 0) {
        long piece = 64 - (long)((uint64_t)to & 63);
        if (piece > bytes) piece = bytes;
        if (from) {
            EXPECT(load, from, piece);
            from += piece;
        }
        printf("%s %#lx %ld\n", kind, (unsigned long)to, piece);
        to += piece;
        bytes -= piece;
    }
}

CASE(affine, (uint64_t *at, long n), "1: mov (%rdi), %rax\n adc 8(%rdi), %rax\n mov %rax, (%rdi)\n lea 8(%rdi), %rdi\n dec %rsi\n jnz 1b\n")
CASE(indexed, (float *at, long n), "xor %eax, %eax\n 1: movss (%rdi,%rax,4), %xmm0\n movss %xmm0, 1024(%rdi,%rax,4)\n"
                                   "inc %rax\n cmp %rsi, %rax\n jl 1b\n")
CASE(chased, (uint64_t *at, long n), "1: mov (%rdi), %rdi\n dec %rsi\n jnz 1b\n")
CASE(counted, (uint64_t *at, long n), "mov %rsi, %rcx\n 1: addq $1, (%rdi)\n loop 1b\n jrcxz 2f\n mov (%rdi), %rax\n 2: mov 8(%rdi), %rax\n")

/* Loops that are left in the middle: of constant strides, and with an index from memory. */
CASE(left_early, (uint64_t *at, uint64_t stop), "1: mov (%rdi), %rax\n cmp %rsi, %rax\n je 2f\n mov %rax, 512(%rdi)\n lea 8(%rdi), %rdi\n"
                                                "jmp 1b\n 2: mov 8(%rdi), %rax\n")
CASE(looked_up, (int *index, uint8_t *table, long n), "1: movslq (%rdi), %rax\n lea 4(%rdi), %rdi\n mov (%rsi,%rax,8), %rcx\n test %eax, %eax\n"
                                                      "js 2f\n mov %ecx, 4(%rsi,%rax,8)\n dec %rdx\n jnz 1b\n 2: mov (%rdi), %eax\n")
/* A block with side exits, whose base moves on the way. */
CASE(side_exits, (uint8_t *at, long parts), "lea 8(%rdi), %rdi\n test %rsi, %rsi\n je 1f\n mov (%rdi), %eax\n cmp $1, %rsi\n je 1f\n add $16, %rdi\n"
                                            "mov (%rdi), %ax\n mov %rdi, %rdx\n and $-16, %rdx\n cmp $2, %rsi\n je 1f\n mov 1(%rdx), %al\n 1: mov %rsi, 24(%rdi)\n")
CASE(spin, (uint64_t *at, long n), "1: pause\n cmpq $0, (%rdi)\n js 2f\n cmpb $1, 8(%rdi)\n je 2f\n dec %rsi\n jnz 1b\n 2: mov 16(%rdi), %rax\n")

CASE(mask_moves, (float *at, __m256i mask), "vmaskmovps (%rdi), %ymm0, %ymm1\n vmaskmovps %ymm1, %ymm0, 64(%rdi)\n")
CASE(gather_vex, (float *at, __m256i index, __m256i mask), "vgatherdps %ymm1, 4(%rdi,%ymm0,4), %ymm2\n")
CASE(broadcast, (float *at), "vbroadcastss 4(%rdi), %ymm0\n vaddps 32(%rdi), %ymm0, %ymm1\n vextractf128 $1, %ymm1, 64(%rdi)\n"
                             "vfmadd231ps 32(%rdi), %ymm0, %ymm1\n vinsertf128 $1, (%rdi), %ymm1, %ymm1\n vzeroupper\n")

#define AVX512 __attribute__((target("avx512f,avx512bw,avx512vl,avx512vbmi2")))
CASE(gather, (float *at, __m512i index, int mask), "kmovw %esi, %k1\n vgatherdps 4(%rdi,%zmm0,4), %zmm1{%k1}\n")
CASE(gather_quads, (float *at, __m512i index, int mask), "kmovw %esi, %k2\n vgatherqps (%rdi,%zmm0,4), %ymm1{%k2}\n")
CASE(scatter, (float *at, __m512i index, int mask), "kmovw %esi, %k1\n vscatterdps %zmm0, 8(%rdi,%zmm0,4){%k1}\n")
CASE(masked, (float *at, int mask), "kmovw %esi, %k1\n vmovups %zmm0, (%rdi){%k1}\n vmovdqu8 64(%rdi), %zmm3{%k1}{z}\n"
                                    "vaddps (%rdi){1to16}, %zmm0, %zmm1{%k1}\n vaddps 4(%rdi){1to16}, %zmm0, %zmm1\n"
                                    "vpmovdb %zmm0, 128(%rdi)\n vmovss (%rdi), %xmm1{%k1}\n")
CASE(compress, (float *at, int mask), "kmovw %esi, %k1\n vcompressps %zmm0, (%rdi){%k1}\n vpexpandb 64(%rdi), %zmm3{%k1}{z}\n")
static void expect_rows(int mask, int lanes, uint8_t *at, int bytes, const char *kind) {
    for (int lane = 0; lane < lanes;) {
        int end = lane;
        while (end < lanes && mask >> end & 1) end++;
        if (end > lane) printf("%s %#lx %d\n", kind, (unsigned long)(at + lane * bytes), (end - lane) * bytes);
        lane = end + 1;
    }
}

AVX512 static void vectors512(void) {
    int32_t index[16];
    int64_t quads[8];
    for (int i = 0; i < 16; i++) index[i] = i * 37 % 200 - 50;
    for (int i = 0; i < 8; i++) quads[i] = i * 9 - 20;
    float *at = (float *)(data + 4096);
    const int mask = 0xa5c3;
    gather(at, _mm512_loadu_si512(index), mask);
    BEGIN(gather);
    for (int i = 0; i < 16; i++)
        if (mask >> i & 1) EXPECT(load, at + 1 + index[i], 4);
    gather_quads(at, _mm512_loadu_si512(quads), 0x7d);
    BEGIN(gather_quads);
    for (int i = 0; i < 8; i++)
        if (0x7d >> i & 1) EXPECT(load, at + quads[i], 4);
    scatter(at, _mm512_loadu_si512(index), mask);
    BEGIN(scatter);
    for (int i = 0; i < 16; i++)
        if (mask >> i & 1) EXPECT(store, at + 2 + index[i], 4);
    for (int m = 0; m < 0x10000; m += 0x1235) {
        uint8_t *bytes = (uint8_t *)at;
        masked(at, m);
        BEGIN(masked);
        expect_rows(m, 16, bytes, 4, "store");
        expect_rows(m, 16, bytes + 64, 1, "load");
        if (m) EXPECT(load, at, 4);
        EXPECT(load, at + 1, 4);
        EXPECT(store, bytes + 128, 16);
        if (m & 1) EXPECT(load, at, 4);
        compress(at, m);
        BEGIN(compress);
        int active = __builtin_popcount(m);
        if (active) {
            EXPECT(store, at, active * 4);
            EXPECT(load, bytes + 64, active);
        }
    }
}

CASE(tiles, (const void *configuration, uint8_t *at, long stride),
     "ldtilecfg (%rdi)\n tileloadd 64(%rsi,%rdx,1), %tmm2\n mov $64, %ecx\n tilestored %tmm2, 8(%rsi,%rcx,2)\n tilerelease\n")
static void tile_rows(void) {
    static const struct {
        uint8_t palette, start_row, reserved[14];
        uint16_t row_bytes[16];
        uint8_t rows[16];
    } configuration = {.palette = 1, .row_bytes = {64, 64, 40}, .rows = {16, 16, 7}};
    const long request_permission = 0x1023, tile_data = 18;
    if (syscall(SYS_arch_prctl, request_permission, tile_data) != 0) return;
    uint8_t *at = data + 4096;
    tiles(&configuration, at, 192);
    BEGIN(tiles);
    EXPECT(load, &configuration, 64);
    for (int row = 0; row < 7; row++) EXPECT(load, at + 64 + row * 192, 40);
    for (int row = 0; row < 7; row++) EXPECT(store, at + 8 + row * 128, 40);
}

int main(int argc, char **argv) {
    uint8_t *at = data + 4096;
    moves(at);
    BEGIN(moves), expect_moves(at);
    modifies(at + 1);
    BEGIN(modifies), expect_modifies(at + 1);
    stack(at);
    BEGIN(stack), expect_stack(at);
    for (long number = -600; number < 600; number += 77) {
        bits(at, number);
        BEGIN(bits), expect_bits(at, number);
    }
    narrow_frame();
    BEGIN(narrow_frame);
    EXPECT(store, &stack_pointer, 8);
    EXPECT(load, ((stack_pointer - 32) & 0xffff) | (stack_pointer & ~0xffffull), 2);
    EXPECT(load, (((stack_pointer - 32) & 0xffff) | (stack_pointer & ~0xffffull)) + 2, 2);
    EXPECT(load, &stack_pointer, 8);
    hints(at);
    BEGIN(hints), expect_hints(at);
    segments();
    BEGIN(segments);
    uint8_t *thread = __builtin_thread_pointer();
    EXPECT(load, thread, 8);
    EXPECT(load, thread + 16, 4);
    EXPECT(load, thread + 8, 8);
    EXPECT(load, thread + 1, 1);
    table(at, 0x1203);
    BEGIN(table);
    EXPECT(load, at + 3, 1);
    for (long bytes = 0; bytes < 400; bytes += 57) {
        uint8_t *to = at + bytes / 3;
        move_string(to, data + 7, bytes);
        BEGIN(move_string), expect_pieces(data + 7, to, bytes, "store");
        fill_string(to, bytes / 8);
        BEGIN(fill_string), expect_pieces(NULL, to, bytes / 8 * 8, "store");
    }
    fill_down(at + 120, 10);
    BEGIN(fill_down);
    EXPECT(store, at + 64, 64);
    EXPECT(store, at + 48, 16);
    memset(at, 1, 300);
    at[203] = 9;
    scan_string(at + 1, 9);
    BEGIN(scan_string), expect_pieces(NULL, at + 1, 203, "load");
    single_strings(at, data);
    BEGIN(single_strings);
    EXPECT(load, data, 1);
    EXPECT(load, data + 1, 8);
    EXPECT(store, at, 8);
    EXPECT(store, at + 8, 2);
    EXPECT(load, at + 10, 4);
    affine((uint64_t *)at, 20);
    BEGIN(affine);
    for (int i = 0; i < 20; i++) {
        EXPECT(load, at + 8 * i, 8);
        EXPECT(load, at + 8 * i + 8, 8);
        EXPECT(store, at + 8 * i, 8);
    }
    indexed((float *)at, 33);
    BEGIN(indexed);
    for (int i = 0; i < 33; i++) {
        EXPECT(load, at + 4 * i, 4);
        EXPECT(store, at + 1024 + 4 * i, 4);
    }
    uint64_t *cells = (uint64_t *)at;
    for (int i = 0; i < 16; i++) cells[i] = (uint64_t)&cells[(i + 5) % 16];
    chased(cells, 40);
    BEGIN(chased);
    for (int i = 0; i < 40; i++) EXPECT(load, &cells[i * 5 % 16], 8);
    /* More words than a chunk holds. */
    chased(cells, 40000);
    BEGIN(chased);
    for (int i = 0; i < 40000; i++) EXPECT(load, &cells[i * 5 % 16], 8);
    for (int stop = 0; stop < 40; stop += 13) {
        for (int i = 0; i < 40; i++) cells[i] = i;
        left_early(cells, stop);
        BEGIN(left_early);
        for (int i = 0; i < stop; i++) {
            EXPECT(load, cells + i, 8);
            EXPECT(store, cells + 64 + i, 8);
        }
        EXPECT(load, cells + stop, 8);
        EXPECT(load, cells + stop + 1, 8);
    }
    int *indices = (int *)data;
    for (int n = 1; n <= 12; n++) {
        const int values[12] = {3, 9, 9, 10, 11, 12, 13, 2, 0, 7, -3, 5};
        memcpy(indices, values, sizeof values);
        looked_up(indices, at, n);
        BEGIN(looked_up);
        int last = n < 11 ? n : 11;
        for (int i = 0; i < last; i++) {
            EXPECT(load, indices + i, 4);
            EXPECT(load, at + 8 * values[i], 8);
            if (values[i] >= 0) EXPECT(store, at + 8 * values[i] + 4, 4);
        }
        EXPECT(load, indices + last, 4);
    }
    for (long parts = 0; parts < 4; parts++) {
        side_exits(at, parts);
        BEGIN(side_exits);
        if (parts > 0) EXPECT(load, at + 8, 4);
        if (parts > 1) EXPECT(load, at + 24, 2);
        if (parts > 2) EXPECT(load, (uint64_t)(at + 24) / 16 * 16 + 1, 1);
        EXPECT(store, at + (parts > 1 ? 48 : 32), 8);
    }
    memset(cells, 0, 64);
    spin(cells, 1000);
    BEGIN(spin);
    for (int i = 0; i < 1000; i++) {
        EXPECT(load, cells, 8);
        EXPECT(load, cells + 1, 1);
    }
    EXPECT(load, cells + 2, 8);
    for (int i = 0; i < 16; i++) cells[i] = (uint64_t)&cells[(i + 5) % 16];
    counted(cells, 9);
    BEGIN(counted);
    for (int i = 0; i < 9; i++) EXPECT(rmw, cells, 8);
    EXPECT(load, cells + 1, 8);
    if (argc > 1 && strstr(argv[1], "avx2")) {
        int32_t index[8], mask[8];
        for (int i = 0; i < 8; i++) index[i] = i * 37 % 200 - 50, mask[i] = i % 3 ? -1 : 0;
        float *floats = (float *)at;
        mask_moves(floats, _mm256_loadu_si256((void *)mask));
        BEGIN(mask_moves);
        expect_rows(0xb6, 8, at, 4, "load");
        expect_rows(0xb6, 8, at + 64, 4, "store");
        gather_vex(floats, _mm256_loadu_si256((void *)index), _mm256_loadu_si256((void *)mask));
        BEGIN(gather_vex);
        for (int i = 0; i < 8; i++)
            if (mask[i]) EXPECT(load, floats + 1 + index[i], 4);
        broadcast(floats);
        BEGIN(broadcast);
        EXPECT(load, at + 4, 4);
        EXPECT(load, at + 32, 32);
        EXPECT(store, at + 64, 16);
        EXPECT(load, at + 32, 32);
        EXPECT(load, at, 16);
    }
    if (argc > 1 && strstr(argv[1], "avx512")) vectors512();
    if (argc > 1 && strstr(argv[1], "amx")) tile_rows();
    return 0;
}
