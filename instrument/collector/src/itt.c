/* ITT, Intel's tracing interface: a program that is linked with its static part loads the library that INTEL_LIBITTNOTIFY64
 * names and lets it fill in the functions that it is going to call. What is not filled in does nothing there.
 * The layouts are those of ittnotify_config.h, version 3 (github.com/intel/ittapi): only what is read is declared.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include <pthread.h>
#include <string.h>

#include <memloupe/markers.h>

/* One function of the interface. */
struct api {
    const char *name;
    void **function;
    void *initial;
    void *none;
    int group;
};

/* The static part's state. */
struct global {
    unsigned char magic[8];
    unsigned long version[3];
    volatile long initialized[2];
    volatile long counter;
    pthread_mutex_t mutex;
    void *library;
    void *error_handler;
    const char **library_path;
    struct api *functions; /* the last has no name */
};

struct domain {
    volatile int flags;
    const char *name;
};

struct string {
    const char *text;
};

struct id {
    unsigned long long words[3];
};

static void begin(const struct domain *domain, struct id task, struct id parent, const struct string *name)
{
    (void)task, (void)parent;
    memloupe_operator_begin(name ? name->text : "task", domain ? domain->name : NULL, NULL, NULL, NULL);
}

static void begin_at(const struct domain *domain, void *clock, unsigned long long time, struct id task,
                     struct id parent, const struct string *name)
{
    (void)clock, (void)time;
    begin(domain, task, parent, name);
}

static void begin_function(const struct domain *domain, struct id task, struct id parent, void *function)
{
    (void)function;
    begin(domain, task, parent, NULL);
}

static void end(const struct domain *domain)
{
    (void)domain;
    memloupe_operator_end();
}

static void end_at(const struct domain *domain, void *clock, unsigned long long time)
{
    (void)domain, (void)clock, (void)time;
    memloupe_operator_end();
}

static const struct {
    const char *name;
    void *function;
} collected[] = {
    {"__itt_task_begin", (void *)begin},   {"__itt_task_begin_ex", (void *)begin_at},
    {"__itt_task_end", (void *)end},       {"__itt_task_begin_fn", (void *)begin_function},
    {"__itt_task_end_ex", (void *)end_at},
};

void __itt_api_init(struct global *global, int groups);

void __itt_api_init(struct global *global, int groups)
{
    (void)groups;
    for (struct api *api = global->functions; api && api->name; api++) {
        *api->function = api->none;
        for (size_t i = 0; i < sizeof collected / sizeof *collected; i++)
            if (strcmp(api->name, collected[i].name) == 0)
                *api->function = collected[i].function;
    }
}
