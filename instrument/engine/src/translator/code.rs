//! The target's code as the translator reads it: only where it is mapped for execution.

use std::ops::Range;

use iced_x86::{Decoder, DecoderOptions, Instruction};

use crate::maps::{Mapping, PROTECTION_EXECUTE, PROTECTION_READ};

const LONGEST_INSTRUCTION: u64 = 15;

/// An executable mapping.
pub(crate) struct Code {
    range: Range<u64>,
    /// The target can rewrite it unnoticed.
    pub(super) is_rewritable: bool,
}

impl Code {
    pub(crate) fn of(mapping: &Mapping) -> Option<Self> {
        // What can't be read, such as the vsyscall page, can't be translated.
        let needed = PROTECTION_READ | PROTECTION_EXECUTE;
        let executable = mapping.protection & needed == needed;
        executable.then(|| Self {
            range: mapping.range.clone(),
            is_rewritable: mapping.is_rewritable(),
        })
    }

    /// Its bytes from `pc` on, `length` at most.
    pub(super) fn bytes(&self, pc: u64, length: u64) -> &[u8] {
        if !self.range.contains(&pc) {
            return &[];
        }
        let length = length.min(self.range.end - pc) as usize;
        // SAFETY: mapped, executable and readable; should the target unmap it meanwhile, it would
        // take away the code that it is about to run.
        unsafe { std::slice::from_raw_parts(pc as *const u8, length) }
    }

    /// The instruction at `pc`, if it is a valid one.
    pub(super) fn decode(&self, pc: u64) -> Option<Instruction> {
        let bytes = self.bytes(pc, LONGEST_INSTRUCTION);
        let instruction = Decoder::with_ip(64, bytes, pc, DecoderOptions::NONE).decode();
        (!instruction.is_invalid()).then_some(instruction)
    }
}
