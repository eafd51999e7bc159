/* Tells of its tasks by ITT or NVTX as a program that is linked with their client parts does: the library that the environment names is
 * loaded and fills in what to call. Written from the interfaces' public headers. usage: tasks itt|nvtx N */
#include <dlfcn.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define KERNEL __attribute__((noinline, noclone))

static volatile long *numbers;
static long n;

KERNEL long work(long sum) {
    for (long i = 0; i < n; i++) sum += numbers[i];
    return sum;
}

/* ITT: ittnotify_config.h, ittnotify_static.c. */
struct id { unsigned long long words[3]; };
struct string { const char *text; void *wide; int extra; void *more; struct string *next; };
struct domain { volatile int flags; const char *name; void *wide; int extra; void *more; struct domain *next; };
static void (*task_begin)(const struct domain *, struct id, struct id, struct string *);
static void (*task_end)(const struct domain *);
static void (*pause_collection)(void) = abort;
static void nothing(void) {}
/* What clients from 3.24 on have where a collector makes no domains and strings: switched off. */
static struct domain off = {0, "off", NULL, 0, NULL, NULL};
static struct domain *no_domain(const char *name) { (void)name; return &off; }
static struct string *no_string(const char *text) { (void)text; return NULL; }
static struct domain *(*create_domain)(const char *);
static struct string *(*create_string)(const char *);
struct api { const char *name; void **function; void *initial, *none; int group; };
static struct api functions[] = {
    {"__itt_pause", (void **)&pause_collection, NULL, (void *)nothing, 1},
    {"__itt_task_begin", (void **)&task_begin, NULL, (void *)nothing, 8},
    {"__itt_task_end", (void **)&task_end, NULL, (void *)nothing, 8},
    {"__itt_domain_create", (void **)&create_domain, NULL, (void *)no_domain, 4096},
    {"__itt_string_handle_create", (void **)&create_string, NULL, (void *)no_string, 4096},
    {NULL, NULL, NULL, NULL, 0},
};
static struct {
    unsigned char magic[8];
    unsigned long version[3];
    volatile long initialized[2], counter;
    pthread_mutex_t mutex;
    void *library, *error_handler;
    const char **path;
    struct api *functions;
    void *rest[16];
} global = {.functions = functions};

static long by_itt(void *library, long sum) {
    void (*init)(void *, int) = (void (*)(void *, int))dlsym(library, "__itt_api_init");
    if (!init) exit(4);
    init(&global, -1);
    struct domain *domain = create_domain("example.domain");
    struct string *outer = create_string("outer"), *inner = create_string("inner");
    struct id none = {{0, 0, 0}};
    pause_collection();
    if (create_domain("example.domain") != domain || create_string("outer") != outer) exit(5);
    /* As in ittnotify.h: a domain that is off costs a branch. */
    if (domain->flags) task_begin(domain, none, none, outer);
    sum = work(sum);
    if (domain->flags) task_begin(domain, none, none, inner);
    sum = work(work(sum));
    if (domain->flags) task_end(domain);
    sum = work(sum);
    if (domain->flags) task_end(domain);
    return work(sum);
}

/* NVTX 3: nvtxTypes.h, nvtxInit.h, nvToolsExt.h. */
struct attributes {
    uint16_t version, size;
    uint32_t category;
    int32_t color_type;
    uint32_t color;
    int32_t payload_type, reserved;
    uint64_t payload;
    int32_t message_type;
    const char *message;
};
static int (*push)(const char *);
static int (*pop)(void);
static int (*domain_push)(void *, const struct attributes *);
static int (*domain_pop)(void *);
static const char *(*register_text)(void *, const char *);
static void **core[16] = {[9] = (void **)&push, [11] = (void **)&pop};
static void **core2[16] = {[4] = (void **)&domain_push, [5] = (void **)&domain_pop, [10] = (void **)&register_text};

static int module(int number, void ****table, unsigned *size) {
    *table = number == 1 ? core : number == 5 ? core2 : NULL;
    *size = 16;
    return *table != NULL;
}
static struct { size_t size; int (*module)(int, void ****, unsigned *); } callbacks = {sizeof callbacks, module};
static const void *tables(uint32_t number) { return number == 1 ? &callbacks : NULL; }

static long by_nvtx(void *library, long sum) {
    int (*init)(const void *(*)(uint32_t)) = (int (*)(const void *(*)(uint32_t)))dlsym(library, "InitializeInjectionNvtx2");
    if (!init || !init(tables)) exit(4);
    push("outer");
    sum = work(sum);
    struct attributes attributes = {.version = 3, .size = sizeof attributes, .message_type = 3};
    char text[] = "inner";
    attributes.message = register_text(NULL, text);
    memset(text, 0, sizeof text);
    domain_push(NULL, &attributes);
    sum = work(work(sum));
    domain_pop(NULL);
    sum = work(sum);
    pop();
    return work(sum);
}

int main(int argc, char **argv) {
    if (argc != 3) return 2;
    int itt = strcmp(argv[1], "itt") == 0;
    n = atol(argv[2]);
    long *all = calloc(n, sizeof *all);
    numbers = all;
    const char *path = getenv(itt ? "INTEL_LIBITTNOTIFY64" : "NVTX_INJECTION64_PATH");
    void *library = path ? dlopen(path, RTLD_LAZY) : NULL;
    if (!library) return 3;
    printf("%ld\n", itt ? by_itt(library, 1) : by_nvtx(library, 1));
    return 0;
}
