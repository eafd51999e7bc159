//! From a run to the followed lines that it touches, without visiting the others one access at a time.
//!
//! A run is cut into *stretches*: iterations in which each operand stays in its lines. An operand that touches no
//! followed line takes no part, however many lines it passes meanwhile; of a dense operand only the numbers of the lines
//! are hashed, each once.

use super::line_table::Slot;
use super::sample::Sample;
use crate::run::{AccessKind, Operand, Run};

/// An operand's hold on a followed line, for as long as a stretch lasts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Touch {
    pub(super) line: u64,
    /// Position in the run.
    pub(super) operand: u32,
    /// How many accesses of the iteration come before it.
    pub(super) turn: u32,
    /// Place in the arrays of lines; filled in by the visitor.
    pub(super) slot: Slot,
}

/// Where an operand stands.
#[derive(Clone, Copy, Debug)]
struct Cursor {
    operand: u32,
    /// From here on it does something else.
    until: u64,
    /// Whether it is in a followed line until then.
    touching: bool,
}

/// Memory of the walk over a run, kept from run to run.
#[derive(Clone, Debug, Default)]
pub(super) struct Sweep {
    cursors: Vec<Cursor>,
    touches: Vec<Touch>,
}

/// Whether locality is about this access: instruction fetches have their own.
#[inline(always)]
pub(super) fn is_data(operand: &Operand) -> bool {
    operand.kind != AccessKind::Fetch
}

impl Sweep {
    /// Calls `visit(touches, first iteration, iterations)` for every stretch of `run` with followed lines, in order.
    #[inline]
    pub(super) fn run(
        &mut self,
        run: Run<'_>,
        sample: Sample,
        line_shift: u32,
        mut visit: impl FnMut(&mut [Touch], u64, u64),
    ) {
        if run.iterations == 1 {
            self.touches.clear();
            let data = run
                .operands
                .iter()
                .zip(0..)
                .filter(|(operand, _)| is_data(operand));
            for ((operand, position), turn) in data.zip(0..) {
                self.push(operand, 0, position, turn, sample, line_shift);
            }
            if !self.touches.is_empty() {
                visit(&mut self.touches, 0, 1);
            }
            return;
        }
        self.cursors.clear();
        let data = run
            .operands
            .iter()
            .zip(0..)
            .filter(|(operand, _)| is_data(operand));
        self.cursors.extend(data.map(|(_, operand)| Cursor {
            operand,
            until: 0,
            touching: false,
        }));
        let mut iteration = 0;
        while iteration < run.iterations {
            let mut until = run.iterations;
            self.touches.clear();
            for turn in 0..self.cursors.len() {
                let position = self.cursors[turn].operand;
                let operand = &run.operands[position as usize];
                if self.cursors[turn].until == iteration {
                    self.cursors[turn] =
                        Cursor::at(position, operand, iteration, run.iterations, sample, line_shift);
                }
                if self.cursors[turn].touching {
                    self.push(operand, iteration, position, turn as u32, sample, line_shift);
                }
                until = until.min(self.cursors[turn].until);
            }
            if !self.touches.is_empty() {
                visit(&mut self.touches, iteration, until - iteration);
            }
            iteration = until;
        }
    }

    #[inline(always)]
    fn push(
        &mut self,
        operand: &Operand,
        iteration: u64,
        position: u32,
        turn: u32,
        sample: Sample,
        line_shift: u32,
    ) {
        let (first, last) = operand.lines(iteration, line_shift);
        for line in (first..=last).filter(|line| sample.takes(*line)) {
            self.touches.push(Touch {
                line,
                operand: position,
                turn,
                slot: 0,
            });
        }
    }
}

impl Cursor {
    fn at(
        position: u32,
        operand: &Operand,
        iteration: u64,
        iterations: u64,
        sample: Sample,
        line_shift: u32,
    ) -> Self {
        let (first, last) = operand.lines(iteration, line_shift);
        let touching = (first..=last).any(|line| sample.takes(line));
        let until = if touching {
            iterations.min(iteration.saturating_add(operand.dwell(iteration, line_shift)))
        } else {
            next_touch(operand, iteration, iterations, sample, line_shift)
        };
        Self {
            operand: position,
            until,
            touching,
        }
    }
}

/// The next iteration after `iteration` in which the operand touches a followed line, or `iterations` if there is none.
fn next_touch(operand: &Operand, iteration: u64, iterations: u64, sample: Sample, line_shift: u32) -> u64 {
    let left = iterations - iteration - 1;
    if operand.stride == 0 || left == 0 {
        return iterations;
    }
    let step = operand.stride.unsigned_abs();
    let first_byte = operand
        .address
        .wrapping_add((operand.stride as u64).wrapping_mul(iteration));
    let last_byte = first_byte.saturating_add(u64::from(operand.bytes.max(1)) - 1);
    let way = u128::from(step) * u128::from(left);
    let room = if operand.stride > 0 {
        u64::MAX - last_byte
    } else {
        first_byte
    };
    if step > 1 << line_shift || way > u128::from(room) {
        // Lines are left out on the way, or the addresses wrap around.
        return (iteration + 1..iterations)
            .find(|i| {
                let (first, last) = operand.lines(*i, line_shift);
                (first..=last).any(|line| sample.takes(line))
            })
            .unwrap_or(iterations);
    }
    let way = way as u64;
    // No line is left out, and each is met first by the end of the access that moves ahead.
    let steps = if operand.stride > 0 {
        ((last_byte >> line_shift) + 1..=(last_byte + way) >> line_shift)
            .find(|line| sample.takes(*line))
            .map(|line| ((line << line_shift) - last_byte).div_ceil(step))
    } else {
        ((first_byte - way) >> line_shift..first_byte >> line_shift)
            .rev()
            .find(|line| sample.takes(*line))
            .map(|line| (first_byte - (line << line_shift | ((1 << line_shift) - 1))).div_ceil(step))
    };
    steps.map_or(iterations, |steps| iteration + steps)
}

/// How many line accesses an operand makes in a run: one for each iteration, and one more for each line border that
/// an access straddles.
#[inline]
pub(super) fn line_accesses(operand: &Operand, iterations: u64, line_shift: u32) -> u64 {
    let bytes = u64::from(operand.bytes.max(1));
    let offset_mask = (1u64 << line_shift) - 1;
    let stride = operand.stride as u64;
    // An access aligned to its size, a power of two, lies in one line.
    if bytes & (bytes - 1) == 0 && bytes <= 1 << line_shift && (operand.address | stride) & (bytes - 1) == 0 {
        return iterations;
    }
    let crossed = |iterations: u64| -> u64 {
        (0..iterations)
            .map(|i| {
                let offset = operand.address.wrapping_add(stride.wrapping_mul(i)) & offset_mask;
                (offset + bytes - 1) >> line_shift
            })
            .sum()
    };
    // Offsets repeat after as many iterations as a line has bytes, at the latest.
    let period = 1 << line_shift;
    let periods = if iterations < period {
        0
    } else {
        iterations / period * crossed(period)
    };
    iterations + periods + crossed(iterations % period)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn operands() -> impl Strategy<Value = Operand> {
        (
            prop_oneof![9 => 1u64 << 20..1 << 21, 1 => 0u64..200, 1 => u64::MAX - 200..u64::MAX],
            prop_oneof![
                prop::sample::select(vec![0i64, 1, 4, 8, 18, 64, -4, -8, -64, 200]),
                -300i64..300,
            ],
            prop::sample::select(vec![0u32, 1, 4, 8, 16, 64, 150]),
            prop::sample::select(AccessKind::ALL.to_vec()),
        )
            .prop_map(|(address, stride, bytes, kind)| Operand {
                address,
                stride,
                bytes,
                kind,
                owner: 0,
            })
    }

    proptest! {
        #[test]
        fn it_finds_what_a_walk_over_all_accesses_finds(
            operands in prop::collection::vec(operands(), 1..6), iterations in 1u64..200, one_in in 1u64..20,
        ) {
            let sample = Sample::new(one_in);
            let mut expected = Vec::new();
            for iteration in 0..iterations {
                let data = operands.iter().zip(0u32..).filter(|(operand, _)| is_data(operand));
                for ((operand, position), turn) in data.zip(0u32..) {
                    let (first, last) = operand.lines(iteration, 6);
                    let lines = (first..=last).filter(|line| sample.takes(*line));
                    expected.extend(lines.map(|line| (iteration, turn, position, line)));
                }
            }
            let mut found = Vec::new();
            let run = Run { operands: &operands, iterations, scattered: &[] };
            Sweep::default().run(run, sample, 6, |touches, first, count| {
                for iteration in first..first + count {
                    found.extend(touches.iter().map(|touch| (iteration, touch.turn, touch.operand, touch.line)));
                }
            });
            prop_assert_eq!(found, expected);
        }

        #[test]
        fn line_accesses_are_counted(mut operand in operands(), iterations in 0u64..300) {
            operand.address %= 1 << 30; // An access at the end of the address space is cut off.
            operand.address += 1 << 20;
            let lines = |i| { let (first, last) = operand.lines(i, 6); last - first + 1 };
            prop_assert_eq!(line_accesses(&operand, iterations, 6), (0..iterations).map(lines).sum::<u64>());
        }
    }
}
