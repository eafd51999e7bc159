/* A program that has the addresses of allocator functions, and whose C library allocates: getline grows its buffer. */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int main(void) {
    /* In code, not in data: an address that the linker has to know makes the stub. */
    void *(*volatile resize)(void *, size_t) = realloc;
    void (*volatile release)(void *) = free;
    char line[3000];
    memset(line, 'x', sizeof line);
    FILE *file = fmemopen(line, sizeof line, "r");
    char *text = NULL;
    size_t room = 0;
    if (file == NULL || getline(&text, &room, file) != sizeof line) return 1;
    printf("%lu %zu\n", (unsigned long)text, room);
    release(resize(text, 10));
    return fclose(file);
}
