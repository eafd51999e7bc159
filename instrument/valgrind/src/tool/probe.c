/* Operator probes: where the consumer asks for it, the arguments of a function are read as it is entered, and its
 * leaving is reported.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "memloupe_tool.h"

struct probe_site {
    struct probe_site *next;
    UWord address;
    const struct ml_probe *probe;
    struct probe_site *also; /* another probe at the same address */
};

#define NOTHING_TO_LEAVE (~(Addr)0)

Addr probe_leave_above = NOTHING_TO_LEAVE;

static VgHashTable *sites;
static UInt taken;

#define ENTER_WORDS 3 /* probe id, stack pointer, mask */
#define VALUE_WORDS (ML_MAX_RECORD_BYTES / sizeof(ULong) - 1 - ENTER_WORDS)

static UInt value_words(const struct ml_fetch *fetch)
{
    return (fetch->bytes + 7) / 8;
}

static Bool is_sound(const struct ml_probe *probe)
{
    UInt words = 0;
    if (probe->fetches > ML_PROBE_FETCHES)
        return False;
    for (UInt i = 0; i < probe->fetches; i++) {
        const struct ml_fetch *fetch = &probe->fetch[i];
        UInt most = fetch->steps == ML_FETCH_REGISTER ? 8 : 1024;
        if (fetch->reg > 15 || fetch->bytes == 0 || fetch->bytes > most ||
            (fetch->steps > ML_PROBE_STEPS && fetch->steps != ML_FETCH_REGISTER))
            return False;
        words += value_words(fetch);
    }
    return words <= VALUE_WORDS;
}

void probe_take(void)
{
    const struct ml_probe *table = (const struct ml_probe *)((Addr)stream + stream->probes_offset);
    UInt count = *(volatile UInt *)&stream->probe_count;
    for (; taken < count; taken++) {
        const struct ml_probe *probe = &table[taken];
        if (probe->allocator != 0) /* replaced in every module */
            continue;
        if (!is_sound(probe)) {
            VG_(umsg)("memloupe: probe %u at %#llx asks for more than a record holds: ignored\n", probe->id,
                      (ULong)probe->address);
            continue;
        }
        if (sites == NULL)
            sites = VG_(HT_construct)("memloupe.probes");
        struct probe_site *site = VG_(malloc)("memloupe.probe", sizeof *site);
        *site = (struct probe_site){NULL, probe->address, probe, VG_(HT_remove)(sites, probe->address)};
        VG_(HT_add_node)(sites, site);
        VG_(discard_translations)(probe->address, 1, "memloupe probe");
    }
}

void probe_skip_old(void)
{
    taken = stream->probe_count;
}

const struct probe_site *probe_at(Addr address)
{
    return sites == NULL ? NULL : VG_(HT_lookup)(sites, address);
}

static Bool read_target(Addr address, UInt bytes, void *value)
{
    if (!VG_(am_is_valid_for_client)(address, bytes, VKI_PROT_READ))
        return False;
    VG_(memcpy)(value, (const void *)address, bytes);
    return True;
}

static Bool do_fetch(const struct ml_fetch *fetch, const ULong *registers, ULong *value)
{
    Addr pointer = registers[fetch->reg];
    if (fetch->steps == ML_FETCH_REGISTER) {
        VG_(memcpy)(value, &pointer, fetch->bytes);
        return True;
    }
    for (UInt i = 0; i < fetch->steps; i++) {
        if (pointer == 0 || !read_target(pointer + fetch->offset[i], sizeof pointer, &pointer))
            return False;
    }
    return pointer != 0 && read_target(pointer + fetch->offset[fetch->steps], fetch->bytes, value);
}

static void set_threshold(void)
{
    const struct thread *thread = thread_current;
    probe_leave_above =
        thread->frame_count == 0 ? NOTHING_TO_LEAVE : thread->frames[thread->frame_count - 1].stack_pointer;
}

void probe_thread_switched(void)
{
    set_threshold();
}

/* Leaves the frames entered below `stack_pointer`, at it too if `inclusive`. */
static void leave(Addr stack_pointer, Bool inclusive)
{
    struct thread *thread = thread_current;
    ULong outermost = 0;
    UInt kept = thread->frame_count;
    while (kept > 0 && (thread->frames[kept - 1].stack_pointer < stack_pointer ||
                        (inclusive && thread->frames[kept - 1].stack_pointer == stack_pointer)))
        outermost = thread->frames[--kept].stack_pointer;
    if (kept == thread->frame_count)
        return;
    thread->frame_count = kept;
    event_words(ML_EVENT_PROBE_LEAVE, &outermost, 1);
}

/* One stack: a signal handler's or a coroutine's stack pointer says nothing of the frames on another. */
static Bool same_stack(Addr a, Addr b)
{
    return VG_(am_find_nsegment)(a) == VG_(am_find_nsegment)(b);
}

/* A frame where one is noted already: that one was left by a non-local exit, or its function has jumped to the new one
 * as its last act. Then the return address is the same, and the two stand at one place until both are left. */
static void leave_abandoned(const struct frame *entered)
{
    const struct thread *thread = thread_current;
    if (thread->frame_count == 0 ||
        !same_stack(thread->frames[thread->frame_count - 1].stack_pointer, entered->stack_pointer))
        return;
    leave(entered->stack_pointer, False);
    for (UInt i = thread->frame_count; i > 0; i--) {
        const struct frame *present = &thread->frames[i - 1];
        if (present->stack_pointer != entered->stack_pointer)
            return;
        if (present->probe == entered->probe || present->return_address != entered->return_address) {
            leave(entered->stack_pointer, True);
            return;
        }
    }
}

static void enter(const struct ml_probe *probe, const ULong *registers, Addr stack_pointer)
{
    static ULong values[VALUE_WORDS];
    struct thread *thread = thread_current;
    struct frame frame = {stack_pointer, 0, probe->id};
    read_target(stack_pointer, sizeof(Addr), &frame.return_address);
    leave_abandoned(&frame);
    if (thread->frame_count == THREAD_FRAMES) {
        stream->lost_records++;
        return;
    }
    thread->frames[thread->frame_count++] = frame;

    ULong mask = 0;
    ULong *value = values;
    for (UInt i = 0; i < probe->fetches; i++) {
        UInt words = value_words(&probe->fetch[i]);
        VG_(memset)(value, 0, words * sizeof *value);
        if (do_fetch(&probe->fetch[i], registers, value))
            mask |= 1ull << i;
        value += words;
    }
    ULong header[ENTER_WORDS] = {probe->id, stack_pointer, mask};
    event_list(ML_EVENT_PROBE_ENTER, header, ENTER_WORDS, values, value - values);
}

void probe_enter(const struct probe_site *site, const VexGuestAMD64State *guest)
{
    /* The guest state holds them in the order of their encoding numbers. */
    const ULong *registers = &guest->guest_RAX;
    for (; site != NULL; site = site->also)
        enter(site->probe, registers, guest->guest_RSP);
    set_threshold();
}

void probe_return(Addr stack_pointer)
{
    const struct thread *thread = thread_current;
    Addr innermost = thread->frames[thread->frame_count - 1].stack_pointer;
    /* Right above the frame is its own return. Further up, another stack must be ruled out. */
    if (stack_pointer == innermost + sizeof(Addr) || same_stack(innermost, stack_pointer))
        leave(stack_pointer, False);
    set_threshold();
}
