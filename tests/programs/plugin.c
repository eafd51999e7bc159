/* A C program whose plugin brings the C++ library along and allocates with its operator new. With -DPLUGIN: the plugin, to be
 * linked with -lstdc++. usage: plugin N LIBRARY */
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#ifdef PLUGIN
void *_Znwm(size_t bytes);
void _ZdlPv(void *block);
long sum(long n);
long sum(long n) {
    volatile long *numbers = _Znwm(n * sizeof *numbers);
    long result = 0;
    for (long i = 0; i < n; i++) numbers[i] = i;
    for (long i = 0; i < n; i++) result += numbers[i];
    _ZdlPv((void *)numbers);
    return result;
}
#else
#include <dlfcn.h>

int main(int argc, char **argv) {
    if (argc != 3) return 2;
    void *library = dlopen(argv[2], RTLD_NOW | RTLD_LOCAL);
    if (!library) return 3;
    long (*function)(long);
    *(void **)&function = dlsym(library, "sum");
    if (!function) return 4;
    printf("%ld\n", function(atol(argv[1])));
    return 0;
}
#endif
