/* ITT, Intel's tracing interface: a program that is linked with its static part loads the library that INTEL_LIBITTNOTIFY64
 * names and lets it fill in the functions that it is going to call. What is not filled in does nothing there.
 * The layouts are those of ittnotify_config.h, version 3 (github.com/intel/ittapi): only what is read is declared.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
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
    volatile int flags; /* 0: its tasks are not told */
    const char *name;
    void *wide;
    int extra;
    void *more;
    struct domain *next;
};

struct string {
    const char *text;
    void *wide;
    int extra;
    void *more;
    struct string *next;
};

struct id {
    unsigned long long words[3];
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct domain *domains;
static struct string *strings;

/* Of one name there is one. Clients from 3.24 on take none of their own when a collector is there that makes none. */
static struct domain *create_domain(const char *name)
{
    if (!name)
        return NULL;
    pthread_mutex_lock(&lock);
    struct domain *domain = domains;
    while (domain && strcmp(domain->name, name) != 0)
        domain = domain->next;
    char *copy = domain ? NULL : strdup(name);
    if (copy && (domain = calloc(1, sizeof *domain))) {
        *domain = (struct domain){.flags = 1, .name = copy, .next = domains};
        domains = domain;
    }
    pthread_mutex_unlock(&lock);
    return domain;
}

static struct string *create_string(const char *text)
{
    if (!text)
        return NULL;
    pthread_mutex_lock(&lock);
    struct string *string = strings;
    while (string && strcmp(string->text, text) != 0)
        string = string->next;
    char *copy = string ? NULL : strdup(text);
    if (copy && (string = calloc(1, sizeof *string))) {
        *string = (struct string){.text = copy, .next = strings};
        strings = string;
    }
    pthread_mutex_unlock(&lock);
    return string;
}

/* What tasks are called in the domains that begin so; elsewhere a task is an operator of that kind, named like its domain. */
static const struct naming {
    const char *domain;
    /* Put before and taken from the end of a task's name, it is the kind. */
    const char *before, *end;
    /* The task is a node of a graph, by its own name; its kind is that of the task around it. */
    int is_node;
} namings[] = {
    {"ov::op::cpu::exec", "", "::execute", 0},
    {"ov::op::cpu::details", "", "", 1},
    {"ov::phases", "host.", "", 0},
    {"dnnl::primitive::create", "host.create.", "", 0},
    {"", "", "", 0},
};

/* Tasks deeper than this have no kind from outside. */
enum { DEPTH_MAX = 16, TEXT_BYTES = 128 };

/* The tasks that a thread is in. */
static __thread struct {
    unsigned depth;
    struct {
        char kind[TEXT_BYTES];
        const char *node; /* the innermost node around it, or null */
    } tasks[DEPTH_MAX];
} open_tasks;

static void begin(const struct domain *domain, struct id task, struct id parent, const struct string *string)
{
    (void)task, (void)parent;
    if (!memloupe_is_listening())
        return;
    const char *of = domain && domain->name ? domain->name : "";
    const char *name = string && string->text ? string->text : "task";
    const struct naming *naming = namings;
    while (strncmp(of, naming->domain, strlen(naming->domain)) != 0)
        naming++;
    unsigned depth = open_tasks.depth++;
    unsigned around = depth < DEPTH_MAX ? depth : DEPTH_MAX;
    const char *node = around ? open_tasks.tasks[around - 1].node : NULL;
    char kind[TEXT_BYTES];
    if (naming->is_node) {
        node = name;
        snprintf(kind, sizeof kind, "%s", around ? open_tasks.tasks[around - 1].kind : "node");
    } else {
        size_t length = strlen(name), end = strlen(naming->end);
        if (length > end && strcmp(name + length - end, naming->end) == 0)
            length -= end;
        snprintf(kind, sizeof kind, "%s%.*s", naming->before, (int)length, name);
    }
    if (depth < DEPTH_MAX) {
        memcpy(open_tasks.tasks[depth].kind, kind, sizeof kind);
        open_tasks.tasks[depth].node = node;
    }
    memloupe_operator_begin(kind, node ? node : of, NULL, NULL, NULL);
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
    if (open_tasks.depth)
        open_tasks.depth--;
    memloupe_operator_end();
}

static void end_at(const struct domain *domain, void *clock, unsigned long long time)
{
    (void)clock, (void)time;
    end(domain);
}

static const struct {
    const char *name;
    void *function;
} collected[] = {
    {"__itt_task_begin", (void *)begin},   {"__itt_task_begin_ex", (void *)begin_at},
    {"__itt_task_end", (void *)end},       {"__itt_task_begin_fn", (void *)begin_function},
    {"__itt_task_end_ex", (void *)end_at}, {"__itt_domain_create", (void *)create_domain},
    {"__itt_string_handle_create", (void *)create_string},
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
