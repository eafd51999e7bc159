/* The site table: one entry for each block that differs from all before it.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "memloupe_tool.h"

/* A block that has been entered in the table; Valgrind may discard its translation and ask for another. */
struct known {
    struct known *next;
    UWord key;
    ULong offset; /* in the table */
};

static VgHashTable *known;
static ULong *offsets; /* by id less the first id of this image */
static UInt offset_count, offset_room, first_id;
static ULong generation;
static Bool full;

static Addr table_start(void)
{
    return (Addr)stream + stream->sites_offset;
}

const struct ml_block *site_block(UInt id)
{
    return (const struct ml_block *)(table_start() + offsets[id - first_id]);
}

void site_forget_known(void)
{
    generation++;
}

static UWord key_of(Addr address)
{
    return address ^ generation << 48;
}

static Bool same_entry(const struct ml_block *a, const struct ml_block *b)
{
    const UInt tail = offsetof(struct ml_block, address);
    return a->words == b->words &&
           VG_(memcmp)((const UChar *)a + tail, (const UChar *)b + tail, a->words * 8 - tail) == 0;
}

static Word compare_known(const void *sought, const void *present)
{
    return !same_entry((const struct ml_block *)(table_start() + ((const struct known *)sought)->offset),
                       (const struct ml_block *)(table_start() + ((const struct known *)present)->offset));
}

static void report_full(void)
{
    if (full || !thread_enter())
        return;
    full = True;
    ULong none = 0; /* the header's counter has the number */
    event_text(ML_EVENT_UNOBSERVED, &none, 1, "the site table is full: code translated from now on is not observed");
}

UInt site_intern(const struct block *block, const struct operand *operands)
{
    if (!stream_live)
        return SITE_NONE;
    if (known == NULL) {
        known = VG_(HT_construct)("memloupe.sites");
        first_id = stream->next_block;
    }
    UInt bytes = sizeof(struct ml_block) + block->operands * sizeof(struct ml_operand);
    ULong offset = stream->sites_published;
    if (offset + bytes > stream->sites_bytes || block->operands > 0xffff || block->instructions > 0xffff) {
        report_full();
        return SITE_NONE;
    }

    /* Written in its place; it counts once it is published. */
    struct ml_block *entry = (struct ml_block *)(table_start() + offset);
    *entry = (struct ml_block){
        .words = bytes / 8,
        .id = stream->next_block,
        .address = block->address,
        .code_bytes = block->code_bytes,
        .flops = block->flops,
        .instructions = block->instructions,
        .operands = block->operands,
        .slots = block->slots,
        .flags = block->flags,
    };
    struct ml_operand *out = (struct ml_operand *)(entry + 1);
    for (UInt i = 0; i < block->operands; i++) {
        const struct operand *operand = &operands[i];
        out[i] = (struct ml_operand){
            .ip_offset = (Int)(operand->instruction - block->address),
            .bytes = operand->bytes,
            .kind = operand->kind,
            .flags = operand->guard != NULL ? ML_OPERAND_CONDITIONAL : 0,
            .slot = operand->slot,
            .displacement = operand->displacement,
        };
    }

    struct known sought = {NULL, key_of(block->address), offset};
    struct known *present = VG_(HT_gen_lookup)(known, &sought, compare_known);
    if (present != NULL)
        return ((struct ml_block *)(table_start() + present->offset))->id;
    present = VG_(malloc)("memloupe.known", sizeof *present);
    *present = sought;
    VG_(HT_add_node)(known, present);
    if (offset_count == offset_room) {
        offset_room = offset_room == 0 ? 4096 : 2 * offset_room;
        offsets = VG_(realloc)("memloupe.offsets", offsets, offset_room * sizeof *offsets);
    }
    offsets[offset_count++] = offset;
    *(volatile ULong *)&stream->sites_published = offset + bytes;
    return stream->next_block++;
}
