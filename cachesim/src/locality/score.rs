//! Locality scores between 0 and 1, as DAMOV computes them (Oliveira et al.: DAMOV: A New Methodology and Benchmark Suite
//! for Evaluating Data Movement Bottlenecks, IEEE Access 9, 2021), after Weinberg, McCracken, Strohmaier, Snavely:
//! Quantifying Locality in the Memory Access Patterns of HPC Applications, SC 2005. The formulas are given as remembered.
//!
//! Of each window of 32 accesses of a thread within one scope, in words of 8 bytes:
//! - *spatial*: the stride of a window is the least distance between two different words of it. The score is
//!   Σ share of the windows with stride i / i: 1 if all are neighbours, near 0 if none are. A window of one word has no
//!   stride and adds nothing.
//! - *temporal*: a word that occurs N ≥ 2 times in a window counts 2^⌊log2 N⌋ accesses as reuse. The score is these over
//!   all accesses: 0 without reuse, 1 if each window is one word.
//!
//! Windows don't overlap, and one in [`WINDOWS_APART`] is looked at.

use crate::run::Run;

/// Accesses of a window.
pub const WINDOW_ACCESSES: usize = 32;
/// One window in so many is looked at.
pub const WINDOWS_APART: u64 = 64;
/// log2 of the bytes of a word.
const WORD_SHIFT: u32 = 3;

/// The windows of one scope.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Scores {
    /// Windows looked at.
    pub windows: u64,
    /// Σ 1 / stride over the windows.
    pub inverse_strides: f64,
    /// Accesses that count as reuse.
    pub reused: u64,
}

impl Scores {
    /// The spatial locality score; none without windows.
    #[must_use]
    pub fn spatial(&self) -> Option<f64> {
        (self.windows > 0).then(|| self.inverse_strides / self.windows as f64)
    }

    /// The temporal locality score; none without windows.
    #[must_use]
    pub fn temporal(&self) -> Option<f64> {
        let accesses = self.windows as f64 * WINDOW_ACCESSES as f64;
        (self.windows > 0).then(|| self.reused as f64 / accesses)
    }

    fn add_window(&mut self, words: &mut [u64; WINDOW_ACCESSES]) {
        words.sort_unstable();
        self.windows += 1;
        let different = words
            .windows(2)
            .map(|pair| pair[1] - pair[0])
            .filter(|step| *step > 0);
        if let Some(stride) = different.min() {
            self.inverse_strides += 1.0 / stride as f64;
        }
        for same in words.chunk_by(|a, b| a == b).filter(|same| same.len() > 1) {
            self.reused += 1 << same.len().ilog2();
        }
    }
}

impl std::ops::AddAssign<&Scores> for Scores {
    fn add_assign(&mut self, other: &Scores) {
        self.windows += other.windows;
        self.inverse_strides += other.inverse_strides;
        self.reused += other.reused;
    }
}

/// A thread's present window.
#[derive(Clone, Copy, Debug)]
struct Window {
    scope: u32,
    // Accesses to pass over before it begins.
    skip: u64,
    words: [u64; WINDOW_ACCESSES],
    filled: usize,
}

impl Window {
    const NONE: Self = Self {
        scope: u32::MAX,
        skip: 0,
        words: [0; WINDOW_ACCESSES],
        filled: 0,
    };
}

/// Measures [`Scores`].
#[derive(Clone, Debug, Default)]
pub(super) struct ScoreMeter {
    // By thread.
    windows: Vec<Window>,
    // By scope.
    scores: Vec<Scores>,
}

impl ScoreMeter {
    /// Takes in a run of data operands.
    #[inline]
    pub(super) fn run(&mut self, thread: u32, scope: u32, run: Run<'_>, accesses: u64) {
        let thread = thread as usize;
        if thread >= self.windows.len() {
            self.windows.resize(thread + 1, Window::NONE);
        }
        let window = &mut self.windows[thread];
        if window.scope != scope {
            window.scope = scope;
            window.filled = 0;
        }
        if window.skip >= accesses {
            window.skip -= accesses;
            return;
        }
        self.fill(thread, run, accesses);
    }

    #[inline(never)]
    fn fill(&mut self, thread: usize, run: Run<'_>, accesses: u64) {
        let window = &mut self.windows[thread];
        let scope = window.scope as usize;
        if scope >= self.scores.len() {
            self.scores.resize(scope + 1, Scores::default());
        }
        let operands = accesses / run.iterations;
        let mut next = window.skip;
        while next < accesses {
            let (iteration, turn) = (next / operands, next % operands);
            let mut data = run.operands.iter().filter(|operand| super::is_data(operand));
            let operand = data.nth(turn as usize).expect("a turn is that of an operand");
            let step = (operand.stride as u64).wrapping_mul(iteration);
            window.words[window.filled] = operand.address.wrapping_add(step) >> WORD_SHIFT;
            window.filled += 1;
            next += 1;
            if window.filled == WINDOW_ACCESSES {
                self.scores[scope].add_window(&mut window.words);
                window.filled = 0;
                next += (WINDOWS_APART - 1) * WINDOW_ACCESSES as u64;
            }
        }
        window.skip = next - accesses;
    }

    /// The scores by scope.
    pub(super) fn finish(self) -> Vec<Scores> {
        self.scores
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::{AccessKind, Operand};

    fn scores(operands: &[(u64, i64)], iterations: u64) -> Scores {
        let operands: Vec<Operand> = operands
            .iter()
            .map(|&(address, stride)| Operand {
                address,
                stride,
                bytes: 8,
                kind: AccessKind::Load,
                owner: 0,
            })
            .collect();
        let mut meter = ScoreMeter::default();
        let run = Run {
            operands: &operands,
            iterations,
            scattered: &[],
        };
        meter.run(0, 0, run, iterations * operands.len() as u64);
        meter.finish()[0]
    }

    #[test]
    fn scores_of_plain_patterns() {
        const N: u64 = 32 * 64 * 100;
        let of = |operands: &[(u64, i64)]| {
            let scores = scores(operands, N);
            (scores.spatial().unwrap(), scores.temporal().unwrap())
        };
        assert_eq!(of(&[(0, 8)]), (1.0, 0.0), "a sweep");
        assert_eq!(of(&[(0, 64)]), (0.125, 0.0), "every eighth word");
        assert_eq!(of(&[(0, 0)]), (0.0, 1.0), "one word");
        assert_eq!(
            of(&[(0, 8), (1 << 20, 0)]),
            (1.0, 0.5),
            "a sweep and an accumulator"
        );
    }

    #[test]
    fn one_window_in_64_is_looked_at_whatever_the_runs() {
        let mut meter = ScoreMeter::default();
        let operand = Operand {
            address: 0,
            stride: 8,
            bytes: 8,
            kind: AccessKind::Load,
            owner: 0,
        };
        for iterations in (1..300).cycle().take(3000) {
            let run = Run {
                operands: &[operand],
                iterations,
                scattered: &[],
            };
            meter.run(0, 0, run, iterations);
        }
        let accesses: u64 = (1..300).cycle().take(3000).sum();
        assert_eq!(meter.finish()[0].windows, (accesses + 32 * 63) / (32 * 64));
    }
}
