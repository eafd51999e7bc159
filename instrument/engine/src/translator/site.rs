//! Entries of the site table: `struct ml_block` and its `struct ml_operand`s.

use std::sync::atomic::Ordering::Relaxed;

use super::affine;
use super::block::Block;
use super::flops;
use crate::stream;

const LOOP: u64 = 1;

/// Publishes a block; returns its id. One thread at a time (the engine's lock).
pub(super) fn publish(block: &Block, is_affine: bool) -> u32 {
    let id = stream::header().next_block.fetch_add(1, Relaxed);
    let recording = &block.recording;
    let operands = recording.operands.len();
    let words = 4 + operands as u64 * 4;
    let flops: u32 = block.instructions.iter().map(flops::of).sum();
    let mut entry = Vec::with_capacity(words as usize);
    entry.push(words | u64::from(id) << 32);
    entry.push(block.start);
    entry.push((block.end - block.start) | u64::from(flops) << 32);
    entry.push(
        block.instructions.len() as u64
            | (operands as u64) << 16
            | u64::from(recording.words) << 32
            | if is_affine { LOOP << 48 } else { 0 },
    );
    for operand in &recording.operands {
        let stride = if is_affine {
            affine::stride(recording, operand).unwrap_or(0)
        } else {
            0
        };
        let ip_offset = operand.ip.wrapping_sub(block.start) as u32;
        entry.push(
            u64::from(ip_offset)
                | u64::from(operand.bytes) << 32
                | (operand.kind as u64) << 48
                | u64::from(operand.flags) << 56,
        );
        entry.push(
            u64::from(operand.slot)
                | u64::from(operand.index_slot) << 16
                | u64::from(operand.mask_slot) << 32
                | (operand.form as u64) << 48
                | u64::from(operand.scale) << 56,
        );
        entry.push(operand.displacement.cast_unsigned());
        entry.push(
            u64::from(stride.cast_unsigned())
                | u64::from(operand.lanes) << 32
                | u64::from(operand.index_bytes) << 40,
        );
    }
    stream::publish_site(&entry);
    id
}
