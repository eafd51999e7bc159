/* A plugin that is loaded, used and unloaded, again and again, in turns with another one that comes to the same place.
 * As a library, with -DNAME=function: that function. usage: unload ROUNDS N LIBRARY FUNCTION LIBRARY FUNCTION */
#ifdef NAME
long NAME(volatile long *numbers, long n);
long NAME(volatile long *numbers, long n) {
    long sum = 0;
    for (long i = 0; i < n; i++) sum += numbers[i];
    return sum;
}
#else
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv) {
    if (argc != 7) return 2;
    long rounds = atol(argv[1]), n = atol(argv[2]), sum = 0;
    long *numbers = malloc(n * sizeof *numbers);
    if (!numbers) return 3;
    for (long i = 0; i < n; i++) numbers[i] = i * 7919 % 1000;
    void *places[2] = {NULL, NULL};
    for (long round = 0; round < 2 * rounds; round++) {
        void *library = dlopen(argv[3 + 2 * (round % 2)], RTLD_NOW | RTLD_LOCAL);
        if (!library) return 4;
        long (*function)(volatile long *, long);
        *(void **)&function = dlsym(library, argv[4 + 2 * (round % 2)]);
        if (!function) return 5;
        places[round % 2] = *(void **)&function;
        sum += function(numbers, n);
        dlclose(library);
    }
    printf("%ld %d\n", sum, places[0] == places[1]);
    return 0;
}
#endif
