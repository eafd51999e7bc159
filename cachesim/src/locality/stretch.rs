//! A stretch of a run, as the meters take it.

use super::sweep::Touch;
use crate::run::{Operand, Run};

/// Iterations of a run in which every operand stays in its lines, and what they touch of the followed lines.
#[derive(Clone, Copy)]
pub(super) struct Stretch<'a> {
    pub(super) thread: u32,
    pub(super) run: Run<'a>,
    /// In the order of an iteration.
    pub(super) touches: &'a [Touch],
    /// Its first iteration within the run.
    pub(super) first: u64,
    pub(super) iterations: u64,
    /// Accesses before its first iteration.
    pub(super) clock: u64,
    /// Accesses of one iteration.
    pub(super) period: u64,
    /// How many lines each followed line stands for.
    pub(super) one_in: u64,
    /// Groups by owner.
    pub(super) groups: &'a [u32],
}

impl Stretch<'_> {
    #[inline]
    pub(super) fn operand(&self, touch: &Touch) -> &Operand {
        &self.run.operands[touch.operand as usize]
    }

    #[inline]
    pub(super) fn group(&self, touch: &Touch) -> u32 {
        self.groups[self.operand(touch).owner as usize]
    }

    /// When the touch happens in the first iteration; the first access of all is at 1.
    #[inline]
    pub(super) fn time(&self, touch: &Touch) -> u64 {
        self.clock + u64::from(touch.turn) + 1
    }

    /// The parts of its line that a touch uses in an iteration of the stretch, a bit for each: 64 to a line, so that a
    /// part is a byte of a line of 64 bytes.
    #[inline]
    pub(super) fn parts(&self, touch: &Touch, iteration: u64, line_shift: u32) -> u64 {
        let operand = self.operand(touch);
        let step = (operand.stride as u64).wrapping_mul(self.first + iteration);
        let first_byte = operand.address.wrapping_add(step);
        let last_byte = first_byte.saturating_add(u64::from(operand.bytes.max(1)) - 1);
        let line_start = touch.line << line_shift;
        // Of an access that straddles lines, what lies in this one.
        let first = first_byte.saturating_sub(line_start);
        let last = (last_byte - line_start).min((1 << line_shift) - 1);
        let first_part = (first << 6) >> line_shift;
        let last_part = (((last + 1) << 6) - 1) >> line_shift;
        (u64::MAX >> (63 - last_part)) & (u64::MAX << first_part)
    }
}
