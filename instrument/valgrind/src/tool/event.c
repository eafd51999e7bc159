/* Event records: written by C code, at the cursor of the running thread.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "memloupe_tool.h"

/* The longest text: a path. With any payload before it, it stays below ML_MAX_RECORD_BYTES. */
#define TEXT_BYTES 4096

static ULong *begin(enum ml_event type, UInt words)
{
    ring_reserve((1 + words) * sizeof(ULong));
    ULong *record = (ULong *)stream->active_head;
    record[0] = (ULong)ML_RECORD_EVENT << ML_RECORD_SHIFT | words << 8 | type;
    return record + 1;
}

static void publish(ULong *end)
{
    *(volatile ULong *)&stream->active_head = (Addr)end;
}

void event_words(enum ml_event type, const ULong *payload, UInt words)
{
    event_list(type, payload, words, NULL, 0);
}

void event_list(enum ml_event type, const ULong *payload, UInt words, const ULong *list, UInt list_words)
{
    ULong *out = begin(type, words + list_words);
    for (UInt i = 0; i < words; i++)
        *out++ = payload[i];
    for (UInt i = 0; i < list_words; i++)
        *out++ = list[i];
    publish(out);
}

void event_text(enum ml_event type, const ULong *payload, UInt words, const HChar *text)
{
    UInt bytes = VG_(strlen)(text);
    if (bytes > TEXT_BYTES)
        bytes = TEXT_BYTES;
    UInt text_words = (bytes + 7) / 8;
    ULong *out = begin(type, words + 1 + text_words);
    for (UInt i = 0; i < words; i++)
        *out++ = payload[i];
    *out++ = bytes;
    if (text_words > 0)
        out[text_words - 1] = 0;
    VG_(memcpy)(out, text, bytes);
    publish(out + text_words);
}
