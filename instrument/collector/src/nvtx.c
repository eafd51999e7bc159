/* NVTX, NVIDIA's tracing interface, version 3: a program loads the library that NVTX_INJECTION64_PATH names and gives it
 * tables of the functions that it is going to call, to be filled in. The layouts and numbers are those of
 * nvtx3/nvtxDetail/nvtxTypes.h and nvToolsExt.h (github.com/NVIDIA/NVTX): only what is read is declared.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include <string.h>

#include <memloupe/markers.h>

enum { TABLE_CALLBACKS = 1 };
enum { MODULE_CORE = 1, MODULE_CORE2 = 5 };
enum { CORE_PUSH_EX = 8, CORE_PUSH = 9, CORE_POP = 11, CORE2_PUSH_EX = 4, CORE2_POP = 5, CORE2_REGISTER = 10 };
enum { MESSAGE_TEXT = 1, MESSAGE_REGISTERED = 3 };

typedef void (*function)(void);
typedef const void *(*get_table)(uint32_t);

struct callbacks {
    size_t bytes;
    /* Places of a module's functions by number. */
    int (*module)(int module, function ***functions, unsigned *count);
};

struct attributes {
    uint16_t version, bytes;
    uint32_t category;
    int32_t color_type;
    uint32_t color;
    int32_t payload_type, reserved;
    uint64_t payload;
    int32_t message_type;
    const char *message;
};

static int begin(const char *text)
{
    memloupe_operator_begin(text ? text : "range", NULL, NULL, NULL, NULL);
    return 0;
}

static int push_ex(const struct attributes *attributes)
{
    int is_text = attributes && (attributes->message_type == MESSAGE_TEXT || attributes->message_type == MESSAGE_REGISTERED);
    return begin(is_text ? attributes->message : NULL);
}

static int pop(void)
{
    memloupe_operator_end();
    return 0;
}

static int domain_push_ex(void *domain, const struct attributes *attributes)
{
    (void)domain;
    return push_ex(attributes);
}

static int domain_pop(void *domain)
{
    (void)domain;
    return pop();
}

/* A registered text goes by the address of a copy, which stays as long as the program may use it. */
static const char *domain_register(void *domain, const char *text)
{
    (void)domain;
    return text ? strdup(text) : NULL;
}

struct entry {
    unsigned number;
    function function;
};

static void fill(const struct callbacks *callbacks, int module, const struct entry *entries, unsigned count)
{
    function **functions;
    unsigned size;
    if (!callbacks->module(module, &functions, &size))
        return;
    for (unsigned i = 0; i < count; i++)
        if (entries[i].number < size && functions[entries[i].number])
            *functions[entries[i].number] = entries[i].function;
}

int InitializeInjectionNvtx2(get_table get);

int InitializeInjectionNvtx2(get_table get)
{
    static const struct entry core[] = {
        {CORE_PUSH_EX, (function)push_ex}, {CORE_PUSH, (function)begin}, {CORE_POP, (function)pop}};
    static const struct entry core2[] = {{CORE2_PUSH_EX, (function)domain_push_ex},
                                         {CORE2_POP, (function)domain_pop},
                                         {CORE2_REGISTER, (function)domain_register}};
    const struct callbacks *callbacks = get(TABLE_CALLBACKS);
    if (!callbacks || callbacks->bytes < sizeof *callbacks)
        return 0;
    fill(callbacks, MODULE_CORE, core, sizeof core / sizeof *core);
    fill(callbacks, MODULE_CORE2, core2, sizeof core2 / sizeof *core2);
    return 1;
}
