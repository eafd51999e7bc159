/* What a process can do beside computing; the first argument chooses. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;
volatile long touched[1024];

/* Allocations, each printed as the stream should tell it. */
static void *volatile kept;
static void show(const char *what, void *address, size_t bytes)
{
    printf("%s %lu %zu\n", what, (unsigned long)address, bytes);
}

__attribute__((noinline)) static void heap(void)
{
    kept = malloc(100);
    show("alloc", kept, 100);
    show("free", kept, 0);
    kept = realloc(kept, 200000);
    show("alloc", kept, 200000);
    show("free", kept, 0);
    free(kept);
    kept = calloc(3, 7);
    show("alloc", kept, 21);
    void *aligned = NULL;
    if (posix_memalign(&aligned, 64, 1000) != 0)
        abort();
    show("alloc", aligned, 1000);
    kept = aligned_alloc(64, 128);
    show("alloc", kept, 128);
}

struct work {
    long first, count;
};

static void *thread_body(void *argument)
{
    struct work *work = argument;
    for (long round = 0; round < 100; round++) {
        for (long i = 0; i < work->count; i++)
            touched[work->first + i] += 1;
        sched_yield();
    }
    return NULL;
}

static void threads(void)
{
    printf("%lu\n", (unsigned long)touched);
    pthread_t thread[4];
    struct work work[4];
    for (int i = 0; i < 4; i++) {
        work[i] = (struct work){i * 256, 16 + i};
        pthread_create(&thread[i], NULL, thread_body, &work[i]);
    }
    for (int i = 0; i < 4; i++)
        pthread_join(thread[i], NULL);
}

static void children(void)
{
    int status;
    pid_t child = fork();
    if (child == 0) {
        for (int i = 0; i < 100000; i++)
            touched[i % 1024] = i;
        free(malloc(10));
        execl("/bin/sh", "sh", "-c", "exit 9", NULL);
    }
    waitpid(child, &status, 0);
    printf("%d %d\n", child, WEXITSTATUS(status));
    char *arguments[] = {"sh", "-c", "exit 8", NULL};
    posix_spawn(&child, "/bin/sh", NULL, NULL, arguments, environ);
    waitpid(child, &status, 0);
    printf("%d %d\n", child, WEXITSTATUS(status));
}

/* From outside: of a signal to itself Valgrind makes an orderly end. */
static void killed_by_child(void)
{
    char command[32];
    snprintf(command, sizeof command, "kill -9 %d", getpid());
    if (fork() == 0)
        execl("/bin/sh", "sh", "-c", command, NULL);
    for (;;)
        pause();
}

static void *idle(void *unused)
{
    for (;;)
        pause();
}

static void exec_self(char *self)
{
    pthread_t thread;
    pthread_create(&thread, NULL, idle, NULL);
    for (int i = 0; i < 10; i++)
        touched[i] = i;
    for (int fd = 3; fd < 1024; fd++)
        close(fd); /* as daemons do: the stream must outlive it */
    char *arguments[] = {self, "heap", NULL}, *environment[] = {NULL};
    execve(self, arguments, environment);
}

struct node {
    long tag;
    struct node *next;
    char name[16];
};

__attribute__((noinline)) long probed(long depth, struct node *node)
{
    touched[depth] += node->tag;
    return depth <= 0 ? 0 : probed(depth - 1, node->next) + 1;
}

static jmp_buf escape;
__attribute__((noinline)) long jumps(long depth)
{
    touched[depth]++;
    if (depth == 0)
        longjmp(escape, 1);
    return jumps(depth - 1) + 1;
}

static void on_signal(int number)
{
    struct node node = {.tag = 30};
    probed(0, &node);
}

static void probes(void)
{
    struct node second = {.tag = 20, .name = "second"}, first = {.tag = 10, .next = &second, .name = "first"};
    probed(1, &first);
    if (setjmp(escape) == 0)
        jumps(2);
    signal(SIGUSR1, on_signal);
    raise(SIGUSR1);
}

static void memory(const char *self)
{
    long page = sysconf(_SC_PAGESIZE);
    char *area = mmap(NULL, 16 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    printf("%lu\n", (unsigned long)area);
    area[0] = 1;
    char *moved = mremap(area, 16 * page, 4096 * page, MREMAP_MAYMOVE);
    printf("%lu\n", (unsigned long)moved);
    munmap(moved + page, page);
    int fd = open(self, O_RDONLY);
    char *file = mmap(NULL, 2 * page, PROT_READ, MAP_PRIVATE, fd, page);
    printf("%lu\n", (unsigned long)file);
    static char buffer[256];
    lseek(fd, 8, SEEK_SET);
    struct iovec parts[] = {{buffer + 100, 10}, {buffer + 200, 20}};
    if (read(fd, buffer, 50) != 50 || pread(fd, buffer, 16, 64) != 16 || readv(fd, parts, 2) != 30 ||
        preadv(fd, parts, 1, 5) != 10)
        abort();
    printf("%lu\n", (unsigned long)buffer);
}

int main(int count, char **arguments)
{
    setvbuf(stdout, NULL, _IONBF, 0);
    const char *choice = count > 1 ? arguments[1] : "";
    if (strcmp(choice, "heap") == 0)
        heap();
    else if (strcmp(choice, "threads") == 0)
        threads();
    else if (strcmp(choice, "children") == 0)
        children();
    else if (strcmp(choice, "exec") == 0)
        exec_self(arguments[0]);
    else if (strcmp(choice, "probes") == 0)
        probes();
    else if (strcmp(choice, "memory") == 0)
        memory(arguments[0]);
    else if (strcmp(choice, "crash") == 0) {
        printf("%lu\n", (unsigned long)&touched[3]);
        *(volatile int *)16 = touched[3] = 4;
    } else if (strcmp(choice, "kill") == 0) {
        printf("%lu\n", (unsigned long)&touched[3]);
        touched[3] = 5;
        killed_by_child();
    }
    else
        return 2;
    return 3;
}
