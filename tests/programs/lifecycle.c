/* Ways to live and die. usage: lifecycle WHAT */
#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static long cells[4096];

__attribute__((noinline)) static long work(long rounds) {
    long sum = 0;
    for (long round = 0; round < rounds; round++)
        for (long i = 0; i < 4096; i++) sum += ((volatile long *)cells)[i]++;
    return sum;
}

static void *thread(void *rounds) {
    work((long)rounds);
    return NULL;
}

int main(int argc, char **argv) {
    const char *what = argc > 1 ? argv[1] : "";
    work(10);
    if (!strcmp(what, "segv")) {
        static volatile int *volatile nowhere;
        *nowhere = 1;
    } else if (!strcmp(what, "avx512")) {
        __asm__ volatile("vpxorq %%zmm0, %%zmm0, %%zmm0" ::: "xmm0");
    } else if (!strcmp(what, "abort")) {
        abort();
    } else if (!strcmp(what, "kill")) {
        kill(getpid(), SIGKILL);
    } else if (!strcmp(what, "exit")) {
        exit(42);
    } else if (!strcmp(what, "fork")) {
        pid_t child = fork();
        if (child == 0) {
            work(3);
            _exit(7);
        }
        int status = 0;
        waitpid(child, &status, 0);
        work(1);
        return WEXITSTATUS(status);
    } else if (!strcmp(what, "spawn")) {
        return system("exit 5") >> 8;
    } else if (!strcmp(what, "exec")) {
        execl(argv[0], argv[0], "exit", (char *)NULL);
    } else if (!strcmp(what, "forever")) {
        puts("running");
        fflush(stdout);
        for (;;) work(1);
    } else if (!strcmp(what, "ticks")) {
        for (int tick = 0; tick < 100; tick++) {
            work(20);
            printf("tick %d of %d\n", tick, getpid());
            fflush(stdout);
        }
    } else if (!strcmp(what, "threads")) {
        pthread_t threads[3];
        for (long i = 0; i < 3; i++) pthread_create(&threads[i], NULL, thread, (void *)(i + 1));
        for (int i = 0; i < 3; i++) pthread_join(threads[i], NULL);
    } else if (*what) {
        return 2;
    }
    return 0;
}
