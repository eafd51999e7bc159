//! Operands and what they touch, in closed form.

use crate::ledger::Cause;
use crate::run::SCATTERED;

/// An operand of a run in short addresses (short line number × line size + offset), which do not wrap around.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sweep {
    /// Address in the first iteration; of one that is scattered, its number among those.
    pub(crate) base: i64,
    pub(crate) stride: i64,
    pub(crate) bytes: i64,
    pub(crate) owner: u32,
    pub(crate) cause: Cause,
    pub(crate) write: bool,
}

/// The addresses of operands that are scattered, in short addresses, iteration after iteration.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scattered<'s> {
    pub(crate) addresses: &'s [i64],
    /// How many operands they belong to.
    pub(crate) operands: usize,
    /// Bits of these.
    pub(crate) members: u64,
}

impl Scattered<'_> {
    /// That of an operand in iteration `i`.
    #[inline(always)]
    pub(crate) fn at(&self, sweep: &Sweep, i: i64) -> i64 {
        self.addresses[i as usize * self.operands + sweep.base as usize]
    }
}

/// Consecutive iterations of a run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Window {
    pub(crate) from: i64,
    pub(crate) iterations: i64,
}

impl Sweep {
    /// Whether its addresses are no progression.
    #[inline(always)]
    pub(crate) fn is_scattered(&self) -> bool {
        self.stride == SCATTERED
    }

    /// Line accesses, if it is scattered, and how many straddle lines.
    #[inline(always)]
    pub(crate) fn scattered_accesses(&self, scattered: Scattered<'_>, line_shift: u32) -> (u64, u64) {
        let (mut lines, mut straddles) = (0, 0);
        for &low in scattered.addresses[self.base as usize..]
            .iter()
            .step_by(scattered.operands)
        {
            let more = ((low + self.bytes - 1) >> line_shift) - (low >> line_shift);
            lines += 1 + more.cast_unsigned();
            straddles += u64::from(more > 0);
        }
        (lines, straddles)
    }

    /// Address in iteration `i`.
    #[inline(always)]
    pub(crate) fn at(&self, i: i64) -> i64 {
        self.base + self.stride * i
    }

    /// How many iterations from `i` on, `i` included, touch the same lines as `i` does.
    #[inline(always)]
    pub(crate) fn dwell(&self, i: i64, line_bytes: i64) -> i64 {
        if self.stride == 0 {
            return i64::MAX;
        }
        let offset = line_bytes - 1;
        let (low, high) = (self.at(i), self.at(i) + self.bytes - 1);
        let slack = if self.stride > 0 {
            offset - (low & offset).max(high & offset)
        } else {
            (low & offset).min(high & offset)
        };
        quotient(slack, self.stride.abs()) + 1
    }

    /// Whether iteration `i` touches the line whose first byte is `start`.
    #[inline(always)]
    pub(crate) fn touches(&self, i: i64, start: i64, line_bytes: i64) -> bool {
        let low = self.at(i);
        low < start + line_bytes && low + self.bytes > start
    }

    /// Line accesses of `iterations` iterations, and how many of these straddle lines.
    #[inline(always)]
    pub(crate) fn line_accesses(&self, iterations: u64, line_shift: u32) -> (u64, u64) {
        let line = 1i64 << line_shift;
        let size = self.bytes;
        // An aligned power of two never straddles.
        if size & (size - 1) == 0 && size <= line && (self.base | self.stride) & (size - 1) == 0 {
            return (iterations, 0);
        }
        let (whole, rest) = ((size - 1) >> line_shift, (size - 1) & (line - 1));
        let crossing = crossings(self.base, self.stride, line - rest, iterations, line_shift);
        let lines = iterations * (whole as u64 + 1) + crossing;
        (lines, if whole > 0 { iterations } else { crossing })
    }
}

/// A division of small numbers, which processors do faster.
#[inline(always)]
pub(super) fn quotient(room: i64, step: i64) -> i64 {
    if step > room {
        0
    } else if step & (step - 1) == 0 {
        room >> step.trailing_zeros()
    } else {
        i64::from(room as u32 / step as u32)
    }
}

/// How many of `iterations` addresses have an offset in their line of at least `least`.
#[inline(always)]
fn crossings(base: i64, stride: i64, least: i64, iterations: u64, line_shift: u32) -> u64 {
    let line = 1i64 << line_shift;
    let mut offset = base & (line - 1);
    let step = stride & (line - 1);
    if step == 0 {
        return if offset >= least { iterations } else { 0 };
    }
    // Offsets repeat after `period` iterations, in which they take each value that equals the first modulo `grain`.
    let grain_shift = step.trailing_zeros();
    let grain = 1i64 << grain_shift;
    let period = (line >> grain_shift) as u64;
    let low = offset & (grain - 1);
    let below = ((least - low + grain - 1).max(0) >> grain_shift).min(period as i64);
    let (full, rest) = (
        iterations >> (line_shift - grain_shift),
        iterations & (period - 1),
    );
    let mut crossing = full * (period - below as u64);
    for _ in 0..rest {
        crossing += u64::from(offset >= least);
        offset = (offset + step) & (line - 1);
    }
    crossing
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]
        #[test]
        fn closed_forms_equal_counting(
            base in 5000i64..5400, stride in prop_oneof![-200i64..200, Just(64), Just(-64), Just(0), Just(1536)],
            bytes in 1i64..200, iterations in 1i64..200, line_shift in 4u32..8, from in 0i64..50, line in 50i64..120,
        ) {
            let sweep = Sweep { base, stride, bytes, owner: 0, cause: Cause::Read, write: false };
            let base = base + 400_000; // no negative addresses
            let sweep = Sweep { base, ..sweep };
            let line_bytes = 1 << line_shift;
            let lines = |i: i64| (sweep.at(i) >> line_shift, (sweep.at(i) + bytes - 1) >> line_shift);
            let expected = (0..iterations).fold((0, 0), |(sum, straddles), i| {
                let (first, last) = lines(i);
                (sum + (last - first + 1) as u64, straddles + u64::from(first != last))
            });
            prop_assert_eq!(sweep.line_accesses(iterations as u64, line_shift), expected);

            let line = (base >> line_shift) + line - 80;
            for i in from..from + iterations {
                let (first, last) = lines(i);
                let touches = first <= line && line <= last;
                prop_assert_eq!(sweep.touches(i, line << line_shift, line_bytes), touches);
            }
        }
    }
}
