/* The framework of instrument/attribute/presets/README.md: three blocks of a product and a softmax. usage: tutorial N */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

struct node { const char *name; int op; int64_t shape[4]; struct buffer *weight; };
struct buffer { const char *name; void *data; int64_t extents[2], strides[2]; };
enum op { OP_MATMUL, OP_SOFTMAX };
struct context { long sum; };

enum op unused; /* so that the debug information has the type */

__attribute__((noipa)) void engine_compute(struct context *context, struct node *node) {
    if (!node->weight) return;
    volatile long *values = node->weight->data;
    for (int64_t i = 0; i < node->weight->extents[0] * node->weight->extents[1]; i++) context->sum += values[i];
}

int main(int argc, char **argv) {
    if (argc != 2) return 2;
    int64_t n = atol(argv[1]);
    struct context context = {0};
    for (int block = 0; block < 3; block++) {
        char name[32], weight_name[32];
        snprintf(name, sizeof name, "block%d/q", block);
        snprintf(weight_name, sizeof weight_name, "block%d/q.weight", block);
        struct buffer weight = {weight_name, calloc(n * n, sizeof(long)), {n, n}, {sizeof(long), n * sizeof(long)}};
        struct node product = {name, OP_MATMUL, {n, 2, 1, 1}, &weight};
        engine_compute(&context, &product);
        snprintf(name, sizeof name, "block%d/softmax", block);
        struct node softmax = {name, OP_SOFTMAX, {n, 1, 1, 1}, NULL};
        engine_compute(&context, &softmax);
    }
    printf("%ld\n", context.sum);
    return 0;
}
