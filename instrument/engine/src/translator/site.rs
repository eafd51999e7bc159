//! Entries of the site table: `struct ml_block` and its `struct ml_operand`s.

use std::sync::atomic::Ordering::Relaxed;

use iced_x86::{FlowControl, Instruction};
use memloupe_layout::{BLOCK_BYTES, BLOCK_CALL, BLOCK_LOOP, BLOCK_PART, BLOCK_RETURN, OPERAND_BYTES};

use super::block::Block;
use super::flops;
use super::layout::Layout;
use super::operand::Form;
use crate::stream;

const BLOCK_WORDS: usize = BLOCK_BYTES / 8;
const OPERAND_WORDS: usize = OPERAND_BYTES / 8;

/// A block in the site table.
#[derive(Clone, Copy)]
pub(super) struct Published {
    pub(super) block: u32,
    /// Where its entry lies in the table.
    pub(super) offset: u64,
}

/// Publishes a block and, with the ids that follow, what is executed of it when it is left by its side exits. One thread at
/// a time (the engine's lock).
pub(super) fn publish(block: &Block, layout: &Layout) -> Published {
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
        flags: ending(block) | if layout.is_loop { BLOCK_LOOP } else { 0 },
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
            flags: BLOCK_PART,
        };
        part.write(block, &mut entries);
    }
    Published {
        block: id,
        offset: stream::publish_site(&entries),
    }
}

/// The flag that says whether a block ends with a call or a return.
fn ending(block: &Block) -> u16 {
    match block.instructions.last().map(Instruction::flow_control) {
        Some(FlowControl::Call | FlowControl::IndirectCall) => BLOCK_CALL,
        Some(FlowControl::Return) => BLOCK_RETURN,
        _ => 0,
    }
}

/// How much of a block was executed before it was interrupted.
#[derive(Clone, Copy)]
pub(crate) struct Prefix {
    pub(crate) code_bytes: u64,
    pub(crate) instructions: u64,
    pub(crate) flops: u32,
    /// Operands of the instruction there too: a string of which a part is done.
    pub(crate) inclusive: bool,
}

/// Publishes the beginning of the block whose entry lies at `offset`, with all of its slots; returns its id. One thread at a
/// time (the engine's lock).
pub(crate) fn publish_prefix(offset: u64, prefix: Prefix) -> u32 {
    /// Bits of the fourth word that hold the number of slots.
    const SLOTS: u64 = 0xffff << 32;
    /// Bits of the last word that hold the number of iteration slots.
    const ITERATION_SLOTS: u64 = 0xffff << 32;
    let (whole, operands) = stream::published_site(offset).split_at(BLOCK_WORDS);
    let id = stream::header().next_block.fetch_add(1, Relaxed);
    let executed = operands
        .chunks_exact(OPERAND_WORDS)
        .take_while(|operand| {
            let at = i64::from(operand[0] as i32);
            let end = prefix.code_bytes.cast_signed();
            at < end || prefix.inclusive && at == end
        })
        .count() as u64;
    let parent = whole[0] >> 32;
    stream::publish_site(&[
        BLOCK_WORDS as u64 | u64::from(id) << 32,
        whole[1],
        prefix.code_bytes | u64::from(prefix.flops) << 32,
        prefix.instructions | executed << 16 | whole[3] & SLOTS | u64::from(BLOCK_PART) << 48,
        parent | whole[4] & ITERATION_SLOTS,
    ]);
    id
}

/// Of the repeated string instruction `code_bytes` behind the start of the block whose entry lies at `offset`: the slots
/// of its pointer before and after.
pub(crate) fn string_slots(offset: u64, code_bytes: u64) -> Option<(u16, u16)> {
    const FORM: u64 = 0xff << 48;
    let operand = stream::published_site(offset)[BLOCK_WORDS..]
        .chunks_exact(OPERAND_WORDS)
        .find(|operand| u64::from(operand[0] as u32) == code_bytes)?;
    let is_string = operand[1] & FORM == (Form::String as u64) << 48;
    is_string.then_some(((operand[1] >> 32) as u16, (operand[1] >> 16) as u16))
}

/// `struct ml_block`: the first instructions of a block.
struct Entry {
    id: u32,
    parent: u32,
    instructions: usize,
    operands: usize,
    slots: u16,
    iteration_slots: u16,
    flags: u16,
}

impl Entry {
    fn write(&self, block: &Block, entries: &mut Vec<u64>) {
        let instructions = &block.instructions[..self.instructions];
        let code_bytes = instructions.last().map_or(0, |last| last.next_ip() - block.start);
        let flops: u32 = instructions.iter().map(flops::of).sum();
        let own_operands = if self.flags & BLOCK_PART == 0 {
            self.operands
        } else {
            0
        };
        let words = BLOCK_WORDS + own_operands * OPERAND_WORDS;
        entries.push(words as u64 | u64::from(self.id) << 32);
        entries.push(block.start);
        entries.push(code_bytes | u64::from(flops) << 32);
        entries.push(
            instructions.len() as u64
                | (self.operands as u64) << 16
                | u64::from(self.slots) << 32
                | u64::from(self.flags) << 48,
        );
        entries.push(u64::from(self.parent) | u64::from(self.iteration_slots) << 32);
    }
}
