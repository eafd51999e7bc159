//! Entries of the site table: `struct ml_block` and its `struct ml_operand`s.

use std::sync::atomic::Ordering::Relaxed;

use super::block::Block;
use super::flops;
use super::layout::Layout;
use crate::stream;

const BLOCK_WORDS: usize = 5;
const OPERAND_WORDS: usize = 4;
const LOOP: u64 = 1;
const PART: u64 = 2;

/// Publishes a block and, with the ids that follow, what is executed of it when it is left by its side exits; returns its
/// id. One thread at a time (the engine's lock).
pub(super) fn publish(block: &Block, layout: &Layout) -> u32 {
    let exits = block.exits.len();
    let id = stream::header().next_block.fetch_add(1 + exits as u32, Relaxed);
    let operands = &block.recording.operands;
    let mut entries = Vec::with_capacity(BLOCK_WORDS * (1 + exits) + OPERAND_WORDS * operands.len());
    let whole = Entry {
        id,
        parent: 0,
        instructions: block.instructions.len(),
        operands: operands.len(),
        slots: layout.header_words,
        iteration_slots: layout.iteration_words,
        flags: if layout.is_loop { LOOP } else { 0 },
    };
    whole.write(block, &mut entries);
    for operand in operands {
        let (operand, stride) = layout.operand(operand);
        let ip_offset = operand.ip.wrapping_sub(block.start) as u32;
        entries.push(
            u64::from(ip_offset)
                | u64::from(operand.bytes) << 32
                | (operand.kind as u64) << 48
                | u64::from(operand.flags) << 56,
        );
        entries.push(
            u64::from(operand.slot)
                | u64::from(operand.index_slot) << 16
                | u64::from(operand.mask_slot) << 32
                | (operand.form as u64) << 48
                | u64::from(operand.scale) << 56,
        );
        entries.push(operand.displacement.cast_unsigned());
        entries.push(
            u64::from(stride.cast_unsigned())
                | u64::from(operand.lanes) << 32
                | u64::from(operand.index_bytes) << 40,
        );
    }
    for (number, (exit, &words)) in (1..).zip(block.exits.iter().zip(&layout.exit_words)) {
        let (slots, iteration_slots) = if layout.is_loop {
            (layout.header_words, words)
        } else {
            (words, 0)
        };
        let part = Entry {
            id: id + number,
            parent: id,
            instructions: exit.index + 1,
            operands: exit.operands,
            slots,
            iteration_slots,
            flags: PART,
        };
        part.write(block, &mut entries);
    }
    stream::publish_site(&entries);
    id
}

/// `struct ml_block`: the first instructions of a block.
struct Entry {
    id: u32,
    parent: u32,
    instructions: usize,
    operands: usize,
    slots: u16,
    iteration_slots: u16,
    flags: u64,
}

impl Entry {
    fn write(&self, block: &Block, entries: &mut Vec<u64>) {
        let instructions = &block.instructions[..self.instructions];
        let code_bytes = instructions.last().map_or(0, |last| last.next_ip() - block.start);
        let flops: u32 = instructions.iter().map(flops::of).sum();
        let own_operands = if self.flags & PART == 0 { self.operands } else { 0 };
        let words = BLOCK_WORDS + own_operands * OPERAND_WORDS;
        entries.push(words as u64 | u64::from(self.id) << 32);
        entries.push(block.start);
        entries.push(code_bytes | u64::from(flops) << 32);
        entries.push(
            instructions.len() as u64
                | (self.operands as u64) << 16
                | u64::from(self.slots) << 32
                | self.flags << 48,
        );
        entries.push(u64::from(self.parent) | u64::from(self.iteration_slots) << 32);
    }
}
