//! The record of a block that is interrupted half-way: what it did until then becomes a part of the block, so that nothing
//! is lost, and nothing counted twice when the rest is executed from the interrupted instruction on.
//!
//! Not seen: what a gather or scatter that faults half-way did before the fault.

use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use memloupe_layout::{PART_BITS, PART_SHIFT};

use crate::context::Context;
use crate::dispatch::Engine;
use crate::place::{Body, Place, Shape, State};
use crate::ring::MARK_BYTES;
use crate::stream;
use crate::thread::Thread;
use crate::translator;
use crate::translator::site::{self, Prefix};

/// Completes the record of the block that `thread` is in at `place`.
pub(crate) fn settle(thread: &Thread, engine: &mut Engine, place: &Place, context: &Context) {
    let Some(body) = &place.body else { return };
    let head = thread.ring.head.load(Acquire);
    let pointer = context.general(body.pointer);
    let header_bytes = 8 + u64::from(body.header_words) * 8;
    let record = match (place.state, body.shape) {
        (State::Entry | State::Warm | State::Settled, _) => return,
        // The record is complete and counts the instruction that has not been executed.
        (State::Last, _) => head - header_bytes - if body.is_marked { MARK_BYTES } else { 0 },
        (_, Shape::Straight) => pointer,
        (_, Shape::Loop | Shape::Affine) => head,
    };
    let Some(part) = part(engine, place, body, record, context) else {
        // The code is gone meanwhile: what was executed can't be told.
        stream::header().lost_records.fetch_add(1, Relaxed);
        thread.ring.head.store(record, Release);
        return;
    };
    let count = record + header_bytes;
    let mut iterations = match body.shape {
        Shape::Straight => 0,
        Shape::Affine => pointer,
        Shape::Loop => pointer - (count + 8),
    };
    if part.is_none() && iterations == 0 {
        thread.ring.head.store(record, Release);
        return;
    }
    let first_word = match (body.shape, part) {
        (Shape::Straight, part) => u64::from(part.unwrap_or(body.block)),
        (_, None) => u64::from(body.block),
        (_, Some(part)) => u64::from(body.block) | u64::from(part - body.block) << PART_SHIFT,
    };
    let end = match body.shape {
        Shape::Straight => count,
        Shape::Affine => count + 8,
        Shape::Loop => {
            iterations += part.map_or(0, |_| u64::from(body.iteration_words) * 8);
            count + 8 + iterations
        }
    };
    // SAFETY: the unfinished record in the thread's open chunk, which has room for all of the block's words.
    unsafe {
        (record as *mut u64).write(first_word);
        if body.shape != Shape::Straight {
            (count as *mut u64).write(iterations);
        }
    }
    thread.ring.head.store(end, Release);
}

/// The id of the part of the block that was executed: none if nothing was. `None` if it can't be told.
fn part(
    engine: &mut Engine,
    place: &Place,
    body: &Body,
    record: u64,
    context: &Context,
) -> Option<Option<u32>> {
    let code_bytes = place.address - place.block_start;
    let executed = translator::executed(engine, place.block_start, place.address)?;
    let inclusive = executed.string_pointer.is_some_and(|pointer| {
        // SAFETY: the unfinished record; a string has a straight block.
        unsafe { end_string(record, body, code_bytes, context.general(pointer)) }
    });
    if executed.instructions == 0 && !inclusive {
        return Some(None);
    }
    let key = u64::from(body.block) << 32 | code_bytes << 1 | u64::from(inclusive);
    let part = *engine.cache.prefixes.entry(key).or_insert_with(|| {
        let prefix = Prefix {
            code_bytes,
            instructions: executed.instructions,
            flops: executed.flops,
            inclusive,
        };
        site::publish_prefix(body.site, prefix)
    });
    let fits = body.shape == Shape::Straight || part - body.block < 1 << PART_BITS;
    fits.then_some(Some(part))
}

/// Stores how far the repeated string instruction `code_bytes` behind the block's start got. Whether it has begun.
///
/// # Safety
/// A record of the block lies at `record`.
unsafe fn end_string(record: u64, body: &Body, code_bytes: u64, pointer: u64) -> bool {
    let Some((before, after)) = site::string_slots(body.site, code_bytes) else {
        return false;
    };
    // SAFETY: the slots are words of the record.
    unsafe {
        let word = |slot: u16| (record as *mut u64).add(1 + usize::from(slot));
        word(after).write(pointer);
        word(before).read() != pointer
    }
}
