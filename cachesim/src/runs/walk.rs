//! The way outwards from the first level, for one line and for the lines of a group.
//!
//! The order of what a miss sets off is that of [`crate::levels`], line by line. Of a group, all fills come before all
//! writebacks: its lines lie in different sets at every level, so neither sees a difference but memory, which gets
//! neighbouring lines in one request.

use std::marker::PhantomData;

use super::cluster::Charges;
use super::lanes::{Isa, LANES};
use super::level::{Level, Mask, Victims, Writers};
use super::regions::Regions;
use crate::cache::{Outcome, Victim, line_address};
use crate::ledger::Ledger;
use crate::levels::{Paths, Step};
use crate::memory::Memory;

/// A core with everything that its accesses touch.
pub(super) struct Walk<'a, I, M> {
    pub(super) isa: PhantomData<I>,
    pub(super) line_shift: u32,
    pub(super) paths: &'a Paths,
    // Every instance of every level.
    pub(super) levels: &'a mut [Level],
    pub(super) regions: &'a mut Regions,
    pub(super) combining: &'a mut Option<Victim>,
    pub(super) streamed: &'a mut Option<u64>,
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

impl<'a, I: Isa, M: Memory> Walk<'a, I, M> {
    #[inline(always)]
    fn address(&self, line: u64) -> u64 {
        line_address(self.regions.line(line), self.line_shift)
    }

    /// One line, which the caller counts as an access of the first level of `path`.
    #[inline(always)]
    pub(super) fn line(&mut self, path: &'a [Step], access: Access) {
        let level = &mut self.levels[path[0].cache];
        if !level.is_front(access.line, access.write, access.writer, self.regions) {
            self.line_behind_front(path, access);
        }
    }

    #[inline(never)]
    fn line_behind_front(&mut self, path: &'a [Step], access: Access) {
        I::compiled(|| {
            let level = &mut self.levels[path[0].cache];
            match level.touch::<I>(access.line, access.write, access.writer, self.regions) {
                Outcome::Hit => {}
                outcome => self.missed(path, access, outcome),
            }
        });
    }

    #[inline(never)]
    fn missed(&mut self, path: &'a [Step], access: Access, outcome: Outcome) {
        I::compiled(|| {
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
                    match self.levels[next.cache].touch::<I>(line, false, owner, self.regions) {
                        Outcome::Hit => {}
                        outcome => self.missed(outer, access, outcome),
                    }
                }
            }
            if let Outcome::MissDirty(victim) = outcome {
                self.write_back(level, victim);
            }
        });
    }

    fn write_back(&mut self, mut level: usize, mut victim: Victim) {
        let outer = self.paths.data.partition_point(|step| step.level <= level);
        for step in &self.paths.data[outer..] {
            self.ledger.level_mut(victim.owner, level).writebacks += 1;
            let outcome = self.levels[step.cache].touch::<I>(victim.line, true, victim.owner, self.regions);
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

    /// Lines of the group that starts at `line`, which the caller counts as accesses of the first level of `path`.
    /// `charges` says who touches the lines that missed.
    #[inline(always)]
    pub(super) fn group(
        &mut self,
        path: &'a [Step],
        line: u64,
        touched: Mask,
        written: Mask,
        writers: Writers<'_>,
        charges: impl FnOnce(Mask) -> Charges,
    ) {
        let mut victims = Victims::NONE;
        let level = &mut self.levels[path[0].cache];
        let missed = level.touch_group::<I>(line, touched, written, writers, &mut victims, self.regions);
        if missed != 0 {
            let charges = charges(missed);
            self.group_missed(path, line, missed, &charges, &mut victims);
        }
    }

    #[inline(never)]
    fn group_missed(
        &mut self,
        path: &'a [Step],
        line: u64,
        missed: Mask,
        charges: &Charges,
        victims: &mut Victims,
    ) {
        I::compiled(|| {
            let level = path[0].level;
            let next = path.get(1);
            for charge in charges.iter() {
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
                    let mut outer_victims = Victims::NONE;
                    let outer_missed = self.levels[next.cache].touch_group::<I>(
                        line,
                        missed,
                        0,
                        Writers::One(0),
                        &mut outer_victims,
                        self.regions,
                    );
                    if outer_missed != 0 {
                        self.group_missed(&path[1..], line, outer_missed, charges, &mut outer_victims);
                    }
                }
            }
            if victims.dirty != 0 {
                self.write_back_group(level, path[0].cache, line, victims);
            }
        });
    }

    #[inline(always)]
    fn read_group(&mut self, line: u64, mut missed: Mask, charges: &Charges) {
        while missed != 0 {
            let first = missed.trailing_zeros();
            let charge = charges.of(first);
            let lines = ((missed & charge.lanes) >> first).trailing_ones();
            self.memory
                .read(self.address(line + u64::from(first)), lines.into(), charge.owner);
            missed &= !stretch(first, lines);
        }
    }

    /// Moves the victims of a group outwards, those that are neighbours together. `cache` is the instance that they
    /// left.
    #[inline(never)]
    fn write_back_group(&mut self, level: usize, cache: usize, neighbour: u64, victims: &mut Victims) {
        let outer = self.paths.data.partition_point(|step| step.level <= level);
        let next = self.paths.data.get(outer).copied();
        while let Some((lanes, tag, owner)) = victims.take() {
            let lines = u64::from(lanes.count_ones());
            let line = self.levels[cache].line(tag, neighbour);
            self.ledger.level_mut(owner, level).writebacks += lines;
            let Some(next) = next else {
                let mut rest = lanes;
                while rest != 0 {
                    let first = rest.trailing_zeros();
                    let lines = (rest >> first).trailing_ones();
                    self.memory
                        .write(self.address(line + u64::from(first)), lines.into(), owner);
                    rest &= !stretch(first, lines);
                }
                continue;
            };
            let mut pushed_out = Victims::NONE;
            let missed = I::compiled(|| {
                self.levels[next.cache].touch_group::<I>(
                    line,
                    lanes,
                    lanes,
                    Writers::One(owner),
                    &mut pushed_out,
                    self.regions,
                )
            });
            if missed != 0 {
                self.ledger.level_mut(owner, next.level).writeback_misses += u64::from(missed.count_ones());
                if pushed_out.dirty != 0 {
                    self.write_back_group(next.level, next.cache, line, &mut pushed_out);
                }
            }
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
                level.touch::<I>(short, false, owner, self.regions);
                return;
            }
        }
        *self.streamed = Some(line);
        self.memory.read(line_address(line, self.line_shift), 1, owner);
    }

    pub(super) fn non_temporal_store(&mut self, line: u64, owner: u32) {
        self.ledger.owner_mut(owner).non_temporal_lines += 1;
        for step in &self.paths.data {
            let level = &mut self.levels[step.cache];
            if level.contains(line, self.regions) {
                level.touch::<I>(line, true, owner, self.regions);
                return;
            }
        }
        let line = self.regions.line(line);
        self.streamed.take_if(|streamed| *streamed == line);
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
