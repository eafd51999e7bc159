//! The levels as one core sees them: the path of an access through the caches, and what a miss sets off.
//!
//! On a miss the line is taken in at once and asked for one level further out; then the victim, if dirty, is
//! written back to that level. So an L1 miss is, in this order: the L2 access (on a miss there the L3 access, the
//! memory read and the L3 victim's memory write, then the L2 victim's writeback to L3), then the L1 victim's
//! writeback to L2. A writeback is a write of a full line: where it hits, the line becomes dirty and most recently
//! used; where it misses, it takes a line without fetching it.

use crate::cache::{Cache, Outcome, Victim, line_address};
use crate::ledger::Ledger;
use crate::memory::Memory;
use crate::run::{AccessKind, Operand, Run};

/// One level on the way outwards.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Step {
    /// Position of the level in the configuration.
    pub(crate) level: usize,
    /// Index of the instance that the core uses.
    pub(crate) cache: usize,
}

/// Where the accesses of one core go.
#[derive(Clone, Debug)]
pub(crate) struct Paths {
    pub(crate) core: usize,
    pub(crate) data: Vec<Step>,
    pub(crate) fetch: Vec<Step>,
}

/// What the cores share.
#[derive(Clone, Debug)]
pub(crate) struct State {
    pub(crate) line_shift: u32,
    // Every instance of every level.
    pub(crate) caches: Vec<Cache>,
    // By core.
    pub(crate) combining: Vec<Option<Victim>>,
    // By core: the line that the last non-temporal load brought past the caches.
    pub(crate) streamed: Vec<Option<u64>>,
    pub(crate) ledger: Ledger,
}

/// A core with everything that its accesses touch.
pub(crate) struct Core<'a, M> {
    pub(crate) paths: &'a Paths,
    pub(crate) state: &'a mut State,
    pub(crate) memory: &'a mut M,
}

impl<'a, M: Memory> Core<'a, M> {
    #[inline]
    pub(crate) fn run(&mut self, run: Run<'_>) {
        if run.iterations == 1 {
            for operand in run.operands {
                self.operand(operand, 0);
            }
        } else {
            self.run_loop(run);
        }
    }

    fn run_loop(&mut self, run: Run<'_>) {
        if self.may_dwell(run.operands) {
            return self.run_dwelling(run);
        }
        for i in 0..run.iterations {
            for operand in run.operands {
                self.operand(operand, i);
            }
        }
    }

    // Worth the arithmetic only if an iteration stays in its lines for a while: four iterations to a line at least.
    // Non-temporal accesses are left out, because their repetition is not a hit in the first level.
    fn may_dwell(&self, operands: &[Operand]) -> bool {
        let longest_stride = (1u64 << self.state.line_shift) / 4;
        operands
            .iter()
            .all(|operand| operand.stride.unsigned_abs() <= longest_stride && !operand.kind.is_non_temporal())
    }

    /// Simulates one iteration, then skips those that touch the same lines again.
    ///
    /// This is exact: if an iteration touches no more lines than a set has ways, all of them are in the first level
    /// after it, ordered by their last touch. Repeating it hits each time and ends in the same order, with the same
    /// lines dirty and the same last writers.
    fn run_dwelling(&mut self, run: Run<'_>) {
        let first_steps = [self.paths.data.first(), self.paths.fetch.first()];
        let ways = first_steps
            .iter()
            .flatten()
            .map(|step| self.state.caches[step.cache].ways() as u64)
            .min()
            .unwrap_or(0);
        let mut i = 0;
        while i < run.iterations {
            let mut lines_touched = 0;
            let mut dwell = run.iterations - i;
            for operand in run.operands {
                lines_touched += self.operand(operand, i);
                dwell = dwell.min(operand.dwell(i, self.state.line_shift));
            }
            if dwell > 1 && lines_touched <= ways {
                for operand in run.operands {
                    self.repeat_hits(operand, i, dwell - 1);
                }
                i += dwell;
            } else {
                i += 1;
            }
        }
    }

    fn repeat_hits(&mut self, operand: &Operand, i: u64, times: u64) {
        let Some(step) = self.path(operand.kind).first() else {
            return;
        };
        let (first, last) = operand.lines(i, self.state.line_shift);
        let counters = self.state.ledger.level_mut(operand.owner, step.level);
        counters.accesses[operand.kind.cause() as usize] += times * (last - first + 1);
        if first != last {
            self.state.ledger.owner_mut(operand.owner).straddles += times;
        }
    }

    #[inline(always)]
    fn path(&self, kind: AccessKind) -> &'a [Step] {
        if kind == AccessKind::Fetch {
            &self.paths.fetch
        } else {
            &self.paths.data
        }
    }

    /// One operand of one iteration; returns how many lines it touched.
    #[inline(always)]
    fn operand(&mut self, operand: &Operand, i: u64) -> u64 {
        let (first, last) = operand.lines(i, self.state.line_shift);
        let path = self.path(operand.kind);
        if path.is_empty() {
            return 0;
        }
        if first == last && !operand.kind.is_non_temporal() {
            self.line(path, first, operand);
        } else {
            self.several_lines(path, first, last, operand);
        }
        last - first + 1
    }

    #[inline(never)]
    fn several_lines(&mut self, path: &'a [Step], first: u64, last: u64, operand: &Operand) {
        if first != last {
            self.state.ledger.owner_mut(operand.owner).straddles += 1;
        }
        for line in first..=last {
            match operand.kind {
                AccessKind::NonTemporalStore => self.non_temporal_store(line, operand.owner),
                AccessKind::NonTemporalLoad => self.non_temporal_load(line, operand.owner),
                _ => self.line(path, line, operand),
            }
        }
    }

    #[inline(always)]
    fn line(&mut self, path: &'a [Step], line: u64, operand: &Operand) {
        let (cause, owner) = (operand.kind.cause() as usize, operand.owner);
        let Step { level, cache } = path[0];
        self.state.ledger.level_mut(owner, level).accesses[cause] += 1;
        match self.state.caches[cache].access(line, operand.kind.writes(), owner) {
            Outcome::Hit => {}
            outcome => self.miss(path, line, cause, owner, outcome),
        }
    }

    /// The consequences of a miss in the first cache of `path`.
    fn miss(&mut self, path: &'a [Step], line: u64, cause: usize, owner: u32, outcome: Outcome) {
        let level = path[0].level;
        self.state.ledger.miss(owner, level, cause, 1);
        let outer = &path[1..];
        match outer.first() {
            None => self
                .memory
                .read(line_address(line, self.state.line_shift), 1, owner),
            Some(next) => {
                self.state.ledger.level_mut(owner, next.level).accesses[cause] += 1;
                match self.state.caches[next.cache].access(line, false, owner) {
                    Outcome::Hit => {}
                    outcome => self.miss(outer, line, cause, owner, outcome),
                }
            }
        }
        if let Outcome::MissDirty(victim) = outcome {
            self.write_back(level, victim);
        }
    }

    /// Moves a dirty victim of `level` outwards until it finds its line or a clean or empty way.
    pub(crate) fn write_back(&mut self, mut level: usize, mut victim: Victim) {
        // Only data is ever dirty.
        let outer = self.paths.data.partition_point(|step| step.level <= level);
        for step in &self.paths.data[outer..] {
            self.state.ledger.level_mut(victim.owner, level).writebacks += 1;
            let outcome = self.state.caches[step.cache].access(victim.line, true, victim.owner);
            if outcome == Outcome::Hit {
                return;
            }
            self.state
                .ledger
                .level_mut(victim.owner, step.level)
                .writeback_misses += 1;
            let Outcome::MissDirty(pushed_out) = outcome else {
                return;
            };
            (level, victim) = (step.level, pushed_out);
        }
        self.state.ledger.level_mut(victim.owner, level).writebacks += 1;
        self.memory
            .write(line_address(victim.line, self.state.line_shift), 1, victim.owner);
    }

    fn non_temporal_store(&mut self, line: u64, owner: u32) {
        self.state.ledger.owner_mut(owner).non_temporal_lines += 1;
        self.state.streamed[self.paths.core].take_if(|streamed| *streamed == line);
        for step in &self.paths.data {
            let cache = &mut self.state.caches[step.cache];
            if cache.contains(line) {
                cache.access(line, true, owner);
                return;
            }
        }
        let pending = self.state.combining[self.paths.core].replace(Victim { line, owner });
        if let Some(other) = pending.filter(|pending| pending.line != line) {
            self.memory
                .write(line_address(other.line, self.state.line_shift), 1, other.owner);
        }
    }

    fn non_temporal_load(&mut self, line: u64, owner: u32) {
        self.state.ledger.owner_mut(owner).non_temporal_lines += 1;
        if self.state.streamed[self.paths.core] == Some(line) {
            return;
        }
        if self.state.combining[self.paths.core].is_some_and(|pending| pending.line == line) {
            self.drain();
        }
        for step in &self.paths.data {
            let cache = &mut self.state.caches[step.cache];
            if cache.contains(line) {
                cache.access(line, false, owner);
                return;
            }
        }
        self.state.streamed[self.paths.core] = Some(line);
        self.memory
            .read(line_address(line, self.state.line_shift), 1, owner);
    }

    /// Empties the write-combining buffer.
    pub(crate) fn drain(&mut self) {
        if let Some(pending) = self.state.combining[self.paths.core].take() {
            self.memory.write(
                line_address(pending.line, self.state.line_shift),
                1,
                pending.owner,
            );
        }
    }
}
