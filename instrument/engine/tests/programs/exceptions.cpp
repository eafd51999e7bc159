// Control flow that leaves frames behind: exceptions through many frames and on several threads, longjmp, code that is
// written, run and rewritten.
#include <csetjmp>
#include <cstdio>
#include <cstring>
#include <stdexcept>
#include <string>
#include <sys/mman.h>
#include <thread>
#include <vector>

struct Counter {
    int &count;
    ~Counter() { count++; }
};

static int descend(int depth, int &unwound) {
    Counter counter{unwound};
    if (depth == 0) throw std::runtime_error("bottom");
    return descend(depth - 1, unwound) + 1;
}

static std::jmp_buf back;
static void jump(int depth) {
    if (depth == 0) std::longjmp(back, 7);
    jump(depth - 1);
}

static int call_constant(unsigned char *page, unsigned char value, bool protect) {
    const unsigned char code[] = {0xb8, value, 0, 0, 0, 0xc3}; // mov eax, value; ret
    if (protect) mprotect(page, 4096, PROT_READ | PROT_WRITE);
    std::memcpy(page, code, sizeof code);
    if (protect) mprotect(page, 4096, PROT_READ | PROT_EXEC);
    return reinterpret_cast<int (*)()>(page)();
}

int main() {
    int unwound = 0, caught = 0;
    for (int i = 0; i < 10000; i++) {
        try {
            descend(i % 20, unwound);
        } catch (const std::exception &) {
            caught++;
        }
    }
    std::printf("exceptions %d %d\n", caught, unwound);
    std::vector<std::thread> threads;
    long sums[4] = {};
    for (int i = 0; i < 4; i++)
        threads.emplace_back([&sums, i] {
            for (int j = 0; j < 300; j++) {
                try {
                    if (j % 3 == 0) throw j;
                    sums[i] += j;
                } catch (int value) {
                    sums[i] -= value;
                }
            }
        });
    for (auto &thread : threads) thread.join();
    std::printf("threads %ld %ld\n", sums[0], sums[3]);
    volatile int jumps = 0;
    if (setjmp(back) != 0) jumps = jumps + 1;
    if (jumps < 100) jump(jumps);
    std::printf("jumps %d\n", jumps);
    const int anonymous = MAP_PRIVATE | MAP_ANONYMOUS;
    auto *flipped = static_cast<unsigned char *>(mmap(nullptr, 4096, PROT_READ | PROT_WRITE, anonymous, -1, 0));
    auto *open = static_cast<unsigned char *>(mmap(nullptr, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, anonymous, -1, 0));
    long flipped_sum = 0, open_sum = 0;
    for (int i = 1; i < 120; i++) {
        flipped_sum = flipped_sum * 3 % 1000003 + call_constant(flipped, i, true);
        open_sum = open_sum * 3 % 1000003 + call_constant(open, i, false);
    }
    munmap(flipped, 4096);
    std::printf("rewritten %ld %ld\n", flipped_sum, open_sum);
    return 0;
}
