// Arguments of every sort, for main.rs. `record`, `KEEP` and `wait_for_test` are target.rs's.

enum op { OP_NONE, OP_ADD, OP_UNARY = 7 };
enum unary { UNARY_ABS, UNARY_SILU };
enum wide { WIDE_LOW = 3, WIDE_HIGH = 200 };
enum minus { MINUS_ONE = -1, MINUS_NONE };
enum unary used_unary = UNARY_SILU;
struct buffer;
typedef struct node {
    enum op op; const struct buffer *owner; int64_t ne[4]; size_t nb[4]; int32_t params[2];
    struct node *src[3]; struct node *view; void *data; char name[24]; const char *label; short small; unsigned bits : 3;
    union { int whole; struct { short low, high; }; };
} node;
struct big { int n; const int *tokens; double scale; long more[2]; };
struct small { int a, b; };
struct mixed { double d; long l; };
struct two { long a, b; };

static node *hidden(node *n) { return n; }
__attribute__((noinline)) long nodes(void *context, node *n) { return n->op + (long)context + used_unary; }
__attribute__((noinline)) long batch(void *context, struct big b, int after) { return b.n + after + (long)context; }
__attribute__((noinline)) long smalls(struct small s, double x, struct mixed m, int last) { return s.b + m.l + last + x; }
__attribute__((noinline)) struct big returns(int n) { struct big b = {n}; return b; }
__attribute__((noinline)) long enums(enum wide w, enum minus m) { return w + m; }
__attribute__((noinline)) long many(long a, long b, long c, long d, long e, struct two t, long f, long g, short h) {
    return a + b + c + d + e + t.b + f + g + h; }
__attribute__((noinline)) long tests_long_double(long double x, __int128 i, int j, struct big b) { return x + i + j + b.n; }
__attribute__((noinline)) static long cloned(struct big *b, int unused) { return b->n; }
long record();

int main(void) {
    node weight = { OP_NONE, 0, {64, 8, 1, 1}, {2, 128, 1024, 1024}, {0}, {0}, 0, (void *)0x5000, "blk.3.weight" };
    node cache = { OP_NONE, 0, {32, 4, 1, 1}, {4, 128, 512, 512}, {0}, {0}, 0, (void *)0x9000, "cache_k_l3" };
    node view = { OP_ADD, 0, {32, 2, 1, 1}, {4, 128, 256, 256}, {0}, {0}, &cache, (void *)0x9100, "cache_k_l3 (view)" };
    node n = { OP_UNARY, 0, {576, 16, 1, 1}, {4, 2304, 36864, 36864}, {UNARY_SILU, -5}, {&weight, &view, 0}, 0,
               (void *)0x7000, "out-3", "a label", -3, 5, {0x00020001} };
    int tokens[3] = {11, 22, -33};
    struct big b = { 16, tokens, 0.5, {1, 99} };
    struct small s = { -4, 5 };
    struct mixed m = { 1.5, 77 };
    struct two t = { 101, 102 };
    ((long (*)(void *, node *))record)(0, &n); KEEP;
    ((long (*)(void *, struct big, int))record)(0, b, -9); KEEP;
    ((long (*)(struct small, double, struct mixed, int))record)(s, 2.0, m, 42); KEEP;
    ((struct big (*)(int))record)(1234); KEEP;
    ((long (*)(long, long, long, long, long, struct two, long, long, short))record)(1, 2, 3, 4, 5, t, 6, 7, -8); KEEP;
    ((long (*)(long double, __int128, int, struct big))record)(1.0L, 5, 31, b); KEEP;
    ((long (*)(enum wide, enum minus))record)(WIDE_HIGH, MINUS_ONE); KEEP;
    n.src[0] = n.src[1] = 0; b.n = 1;
    volatile long keep = nodes(0, &n) + batch(0, b, 1) + smalls(s, 2, m, 3) + returns(5).n
        + many(1, 2, 3, 4, 5, t, 6, 7, 8) + cloned(&b, 1) + enums(WIDE_LOW, MINUS_NONE) + tests_long_double(1, 2, 3, b);
    n.src[0] = &weight; n.src[1] = &view;
    wait_for_test();
    return 0;
}
