//! The way outwards from the first level, for one line and for the lines of a group.
//!
//! The order of what a miss sets off is that of [`crate::levels`], line by line. Of a group, all fills come before all
//! writebacks: its lines lie in different sets at every level, so neither sees a difference but memory, which gets
//! neighbouring lines in one request.

use super::cluster::Charge;
use super::lanes::LANES;
use super::level::Level;
use super::regions::Regions;
use super::set::{Mask, Operation, Writers};
use crate::cache::{Outcome, Victim, line_address};
use crate::ledger::Ledger;
use crate::levels::{Paths, Step};
use crate::memory::Memory;

/// A core with everything that its accesses touch.
pub(super) struct Walk<'a, M> {
    pub(super) line_shift: u32,
    pub(super) paths: &'a Paths,
    // Every instance of every level.
    pub(super) levels: &'a mut [Level],
    pub(super) regions: &'a mut Regions,
    pub(super) combining: &'a mut Option<Victim>,
    pub(super) streamed: &'a mut Option<u64>,
    /// See [`super::hits::Hits`].
    pub(super) fetched: Option<(u64, u32)>,
    pub(super) ledger: &'a mut Ledger,
    pub(super) memory: &'a mut M,
}

/// An access to one line: who is charged if it misses, and who if it is written back.
#[derive(Clone, Copy, Debug)]
pub(super) struct Access {
    pub(super) line: u64,
    pub(super) owner: u32,
    pub(super) cause: usize,
    pub(super) write: bool,
    pub(super) writer: u32,
}

impl<'a, M: Memory> Walk<'a, M> {
    #[inline(always)]
    fn address(&self, line: u64) -> u64 {
        line_address(self.regions.line(line), self.line_shift)
    }

    /// One line, which the caller counts as an access of the first level of `path`.
    #[inline(always)]
    pub(super) fn line(&mut self, path: &'a [Step], access: Access) {
        let level = &mut self.levels[path[0].cache];
        match level.touch(access.line, access.write, access.writer, self.regions) {
            Outcome::Hit => {}
            outcome => self.missed(path, access, outcome),
        }
    }

    #[inline(never)]
    fn missed(&mut self, path: &'a [Step], access: Access, outcome: Outcome) {
        let Access {
            line, owner, cause, ..
        } = access;
        let level = path[0].level;
        self.ledger.miss(owner, level, cause, 1);
        let outer = &path[1..];
        match outer.first() {
            None => self.memory.read(self.address(line), 1, owner),
            Some(next) => {
                self.ledger.level_mut(owner, next.level).accesses[cause] += 1;
                match self.levels[next.cache].touch(line, false, owner, self.regions) {
                    Outcome::Hit => {}
                    outcome => self.missed(outer, access, outcome),
                }
            }
        }
        if let Outcome::MissDirty(victim) = outcome {
            self.write_back(level, victim);
        }
    }

    /// The consequences of a miss in the first cache of `path`.
    #[inline(never)]
    fn write_back(&mut self, mut level: usize, mut victim: Victim) {
        let outer = self.paths.data.partition_point(|step| step.level <= level);
        for step in &self.paths.data[outer..] {
            self.ledger.level_mut(victim.owner, level).writebacks += 1;
            let outcome = self.levels[step.cache].touch(victim.line, true, victim.owner, self.regions);
            if outcome == Outcome::Hit {
                return;
            }
            self.ledger.level_mut(victim.owner, step.level).writeback_misses += 1;
            let Outcome::MissDirty(pushed_out) = outcome else {
                return;
            };
            (level, victim) = (step.level, pushed_out);
        }
        self.ledger.level_mut(victim.owner, level).writebacks += 1;
        self.memory.write(self.address(victim.line), 1, victim.owner);
    }

    /// The consequences of misses of lines of the group that starts at `line` in the first cache of `path`, which holds
    /// what they replaced. `charges` says who touched them first.
    #[inline(never)]
    pub(super) fn group_missed(&mut self, path: &'a [Step], line: u64, missed: Mask, charges: &[Charge]) {
        let level = path[0].level;
        let next = path.get(1);
        for charge in charges {
            let lines = u64::from((missed & charge.lanes).count_ones());
            if lines != 0 {
                self.ledger.miss(charge.owner, level, charge.cause, lines);
                if let Some(next) = next {
                    self.ledger.level_mut(charge.owner, next.level).accesses[charge.cause] += lines;
                }
            }
        }
        match next {
            None => self.read_group(line, missed, charges),
            Some(next) => {
                let operation = Operation {
                    touched: missed,
                    written: 0,
                    writers: Writers::One(0),
                };
                let missed = self.levels[next.cache].touch_group(line, operation, self.regions);
                if missed != 0 {
                    self.group_missed(&path[1..], line, missed, charges);
                }
            }
        }
        if self.levels[path[0].cache].victims.dirty != 0 {
            self.write_back_group(level, path[0].cache, line);
        }
    }

    #[inline(always)]
    fn read_group(&mut self, line: u64, mut missed: Mask, charges: &[Charge]) {
        while missed != 0 {
            let first = missed.trailing_zeros();
            let charge = charges
                .iter()
                .find(|charge| charge.lanes >> first & 1 != 0)
                .expect("a line that missed has a charge");
            let lines = ((missed & charge.lanes) >> first).trailing_ones();
            self.memory
                .read(self.address(line + u64::from(first)), lines.into(), charge.owner);
            missed &= !stretch(first, lines);
        }
    }

    /// Moves the victims of a group outwards, those that are neighbours together. `cache` is the instance that they
    /// left.
    #[inline(never)]
    fn write_back_group(&mut self, level: usize, cache: usize, neighbour: u64) {
        let outer = self.paths.data.partition_point(|step| step.level <= level);
        let next = self.paths.data.get(outer).copied();
        while let Some((lanes, tag, owner)) = self.levels[cache].victims.take() {
            let line = self.levels[cache].line(tag, neighbour);
            self.ledger.level_mut(owner, level).writebacks += u64::from(lanes.count_ones());
            let Some(next) = next else {
                self.write_group(line, lanes, owner);
                continue;
            };
            let operation = Operation {
                touched: lanes,
                written: lanes,
                writers: Writers::One(owner),
            };
            let missed = self.levels[next.cache].touch_group(line, operation, self.regions);
            if missed != 0 {
                self.ledger.level_mut(owner, next.level).writeback_misses += u64::from(missed.count_ones());
                if self.levels[next.cache].victims.dirty != 0 {
                    self.write_back_group(next.level, next.cache, line);
                }
            }
        }
    }

    #[inline(always)]
    fn write_group(&mut self, line: u64, mut lanes: Mask, owner: u32) {
        while lanes != 0 {
            let first = lanes.trailing_zeros();
            let lines = (lanes >> first).trailing_ones();
            self.memory
                .write(self.address(line + u64::from(first)), lines.into(), owner);
            lanes &= !stretch(first, lines);
        }
    }

    pub(super) fn non_temporal_load(&mut self, short: u64, owner: u32) {
        self.ledger.owner_mut(owner).non_temporal_lines += 1;
        let line = self.regions.line(short);
        if *self.streamed == Some(line) {
            return;
        }
        if let Some(pending) = self.combining.take_if(|pending| pending.line == line) {
            self.memory
                .write(line_address(line, self.line_shift), 1, pending.owner);
        }
        for step in &self.paths.data {
            let level = &mut self.levels[step.cache];
            if level.contains(short, self.regions) {
                level.touch(short, false, owner, self.regions);
                return;
            }
        }
        *self.streamed = Some(line);
        self.memory.read(line_address(line, self.line_shift), 1, owner);
    }

    pub(super) fn non_temporal_store(&mut self, short: u64, owner: u32) {
        self.ledger.owner_mut(owner).non_temporal_lines += 1;
        let line = self.regions.line(short);
        self.streamed.take_if(|streamed| *streamed == line);
        for step in &self.paths.data {
            let level = &mut self.levels[step.cache];
            if level.contains(short, self.regions) {
                level.touch(short, true, owner, self.regions);
                return;
            }
        }
        let pending = self.combining.replace(Victim { line, owner });
        if let Some(other) = pending.filter(|pending| pending.line != line) {
            self.memory
                .write(line_address(other.line, self.line_shift), 1, other.owner);
        }
    }
}

#[inline(always)]
fn stretch(first: u32, lines: u32) -> Mask {
    const { assert!(LANES == Mask::BITS as usize) };
    (((1u32 << lines) - 1) << first) as Mask
}
