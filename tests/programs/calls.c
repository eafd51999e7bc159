/* Leaves that read their array through different paths of calls: `calls N` tells nothing, its callers are the test. */
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>

#define APART __attribute__((noipa))

static volatile long numbers[64];
static jmp_buf landing;

APART static long leaf(long n)
{
    long sum = 0;
    for (long i = 0; i < n; i++)
        sum += numbers[i % 64];
    return sum;
}

APART static long left(long n)
{
    return leaf(n) + 1;
}

/* Two call sites in one function: one path. */
APART static long right(long n)
{
    long sum = leaf(2 * n);
    return sum + leaf(n);
}

APART static long again(long n, long depth)
{
    return (depth == 0 ? leaf(n) : again(n, depth - 1)) / 2; /* an addition would make it a loop */
}

APART static long through(long (*function)(long), long n)
{
    return function(n) + 1;
}

/* Jumps to another function: what that calls is called by our caller. */
APART static long tail(long n)
{
    return right(n);
}

APART static long deep(long n, long depth)
{
    long sum = depth > 0 ? deep(n, depth - 1) : leaf(n);
    if (sum == 0)
        longjmp(landing, 1);
    return sum + 1;
}

/* Leaves five functions at once, then calls. */
APART static long lands(long n)
{
    if (setjmp(landing) == 0)
        deep(n, 4);
    return leaf(5 * n) + 1;
}

APART static int compare(const void *left_number, const void *right_number)
{
    leaf(1);
    return (*(const int *)left_number > *(const int *)right_number) - (*(const int *)left_number < *(const int *)right_number);
}

int main(int count, char **arguments)
{
    long n = count > 1 ? atol(arguments[1]) : 1000;
    int pair[2] = {2, 1};
    long sum = left(n) + right(n) + again(n, 3) + through(leaf, n) + tail(n) + lands(n);
    qsort(pair, 2, sizeof pair[0], compare);
    printf("%ld %d\n", sum, pair[0]);
    return 0;
}
