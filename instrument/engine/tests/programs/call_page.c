/* Calls `time` and `gettimeofday` where old programs do: at fixed addresses. Then works. */
#include <stdio.h>
#include <sys/time.h>

static volatile int cells[4096];

int main(void) {
    struct timeval now = {0};
    long (*time_there)(long *) = (long (*)(long *))0xffffffffff600400ul;
    int (*now_there)(struct timeval *, void *) = (int (*)(struct timeval *, void *))0xffffffffff600000ul;
    int result = now_there(&now, NULL);
    long seconds = time_there(NULL);
    for (int round = 0; round < 10; round++)
        for (int cell = 0; cell < 4096; cell++)
            cells[cell] += cell;
    printf("%d %d %d\n", result, seconds - now.tv_sec < 2, cells[4095]);
    return 0;
}
