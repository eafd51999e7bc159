/* Rings and chunks. Only the running thread has an open chunk: the cursor is `stream->active_head`, a constant address
 * for translated code. When there is no ring to write to, the cursor runs through a private sink instead.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "memloupe_tool.h"

Addr ring_limit;

static struct ml_ring *open_ring; /* NULL: the sink, or nothing is open */
static Addr open_start;           /* where the open chunk's records start */

static ULong sink[4 * RECORD_SLACK_BYTES / sizeof(ULong)];

static struct ml_ring *ring_at(UInt index)
{
    return (struct ml_ring *)((Addr)stream + stream->rings_offset + index * stream->ring_bytes);
}

static UInt ring_index(const struct ml_ring *ring)
{
    return ((Addr)ring - (Addr)stream - stream->rings_offset) / stream->ring_bytes;
}

static struct ml_chunk *chunk_place(struct ml_ring *ring)
{
    return (struct ml_chunk *)((Addr)ring + ML_RING_HEADER_BYTES +
                               ring->closed % stream->chunk_count * stream->chunk_bytes);
}

static volatile UInt *low_half(uint64_t *word)
{
    return (volatile UInt *)word;
}

/* A free ring; waits for one that the consumer is about to free. NULL if all belong to living threads. */
static struct ml_ring *find_free(void)
{
    while (stream_live) {
        Bool one_ends = False;
        for (UInt i = 0; i < stream->ring_count; i++) {
            UInt state = *(volatile UInt *)&ring_at(i)->state;
            if (state == ML_RING_FREE)
                return ring_at(i);
            one_ends |= state == ML_RING_ENDED;
        }
        if (!one_ends)
            return NULL;
        VG_(poll)(NULL, 0, 1);
        stream_check_consumer();
    }
    return NULL;
}

struct ml_ring *ring_claim(UInt thread, UInt os_tid)
{
    struct ml_ring *ring = find_free();
    if (ring != NULL) {
        /* In this order the consumer never sees a chunk that is not there. */
        *(volatile ULong *)&ring->closed = 0;
        *(volatile ULong *)&ring->tail = 0;
        ring->thread = thread;
        ring->os_tid = os_tid;
        ring->head = 0;
        *(volatile ULong *)&ring->base = (Addr)ring;
        __sync_bool_compare_and_swap(&ring->state, ML_RING_FREE, ML_RING_LIVE);
    }
    return ring;
}

static void close_chunk(struct ml_ring *ring, struct ml_chunk *chunk, UInt used_bytes)
{
    chunk->used_bytes = used_bytes;
    stream->next_order++;
    ring->head = 0;
    if (stream->discards) {
        stream->discarded_bytes += used_bytes;
        return;
    }
    __sync_fetch_and_add(&ring->closed, 1);
    stream_ring_doorbell();
}

void ring_end_orphans(void)
{
    for (UInt i = 0; i < stream->ring_count; i++) {
        struct ml_ring *ring = ring_at(i);
        if (ring->state != ML_RING_LIVE)
            continue;
        Addr head = i == stream->active_ring ? stream->active_head : ring->head;
        Addr start = ring->base + ((Addr)chunk_place(ring) - (Addr)ring);
        if (head > start + ML_CHUNK_HEADER_BYTES && head <= start + stream->chunk_bytes)
            close_chunk(ring, chunk_place(ring), head - start);
        ring_end(ring);
    }
    stream->active_ring = ML_NO_RING;
}

static Bool wait_for_room(struct ml_ring *ring)
{
    while (stream_live) {
        UInt seen = *low_half(&ring->tail);
        if (ring->closed - *(volatile ULong *)&ring->tail < stream->chunk_count)
            return True;
        __sync_lock_test_and_set(&ring->producer_waiting, 1);
        stream_wait(low_half(&ring->tail), seen);
        if (stream_live)
            ring->producer_waiting = 0;
    }
    return False;
}

void ring_open(struct ml_ring *ring)
{
    open_ring = NULL;
    if (ring != NULL && stream_live && wait_for_room(ring)) {
        struct ml_chunk *chunk = chunk_place(ring);
        chunk->order = stream->next_order;
        open_ring = ring;
        open_start = (Addr)chunk + ML_CHUNK_HEADER_BYTES;
        ring_limit = (Addr)chunk + stream->chunk_bytes - RECORD_SLACK_BYTES;
        *(volatile ULong *)&stream->active_head = open_start;
        *(volatile UInt *)&stream->active_ring = ring_index(ring);
        return;
    }
    *(volatile UInt *)&stream->active_ring = ML_NO_RING;
    open_start = (Addr)sink;
    ring_limit = (Addr)sink + sizeof sink - RECORD_SLACK_BYTES;
    stream->active_head = open_start;
}

/* What went to the sink although somebody reads the stream: there were more threads than rings. */
static void account_sink(void)
{
    const ULong *end = (const ULong *)stream->active_head;
    for (const ULong *record = sink; record < end;) {
        UInt argument = (UInt)*record;
        stream->lost_records++;
        if (*record >> ML_RECORD_SHIFT == ML_RECORD_EVENT) {
            record += 1 + (argument >> 8);
        } else {
            stream->unobserved_instructions += site_block(argument)->instructions;
            record += 1 + site_block(argument)->slots;
        }
    }
}

void ring_close(void)
{
    Addr head = stream->active_head;
    if (open_ring == NULL) {
        if (stream_live && head != 0)
            account_sink();
    } else {
        struct ml_ring *ring = open_ring;
        open_ring = NULL;
        /* No head outside the open chunk: between two chunks there is nothing to rescue. */
        if (head > open_start) {
            struct ml_chunk *chunk = chunk_place(ring);
            close_chunk(ring, chunk, head - (Addr)chunk);
        }
    }
    stream->active_head = 0;
}

void ring_end(struct ml_ring *ring)
{
    *(volatile UInt *)&ring->state = ML_RING_ENDED;
    stream_ring_doorbell();
}

void ring_reserve(UInt bytes)
{
    if (stream->active_head + bytes > ring_limit)
        ring_refill();
}

void ring_refill(void)
{
    struct ml_ring *ring = thread_current->ring;
    ring_close();
    ring_open(ring);
}
