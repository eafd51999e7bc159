//! The fast path: runs simulated line by line and by groups of lines, with the results of access by access.
//!
//! What is modelled: what [`crate::levels`] models, for machines on which lines that share a set anywhere share their
//! class: LRU, write-back, write-allocate, neither inclusive nor exclusive, and a multiple of 16 sets at every level.
//! Counters, final tags, order, dirtiness and writers are those of access by access, to the last one; so are the
//! requests to memory but for their order, which is by group and window of a run instead of by access.
//!
//! Where the order of accesses may be changed is explained in [`schedule`], how several sets are one in [`level`].
//!
//! Memory: a line of simulated cache costs 8 bytes with 16 or 32 ways, up to 14 with others, of which pages are taken as
//! they are used.

mod cluster;
mod lanes;
mod level;
mod regions;
mod schedule;
mod sweep;
mod walk;

use std::marker::PhantomData;

use crate::cache::{Cache, Victim};
use crate::config::Config;
use crate::ledger::{Cause, Ledger};
use crate::levels::Paths;
use crate::memory::Memory;
use crate::run::{AccessKind, Operand, Run};

use cluster::{Cluster, MOST_OPERANDS};
use lanes::{Best, Isa, LANES};
use level::{Level, MOST_WAYS};
use regions::{REGION_SHIFT, Regions};
use schedule::{Limits, Looped};
use sweep::Sweep;
use walk::{Access, Walk};

/// What stands against the fast path on a machine.
pub(crate) fn obstacle(config: &Config) -> Option<String> {
    (0..config.levels.len()).find_map(|position| {
        let level = &config.levels[position];
        let sets = config.sets(position);
        if !sets.is_multiple_of(LANES as u64) {
            return Some(format!("{}: {sets} sets are no multiple of {LANES}", level.name));
        }
        (level.ways > MOST_WAYS)
            .then(|| format!("{}: {} ways are more than {MOST_WAYS}", level.name, level.ways))
    })
}

/// The state of the fast path.
#[derive(Clone, Debug)]
pub(crate) struct Runs {
    best: Best,
    limits: Limits,
    // Every instance of every level.
    levels: Vec<Level>,
    regions: Regions,
    scratch: Scratch,
}

/// Memory that is reused from run to run.
#[derive(Clone, Debug, Default)]
struct Scratch {
    sweeps: Vec<Sweep>,
    clusters: Vec<Cluster>,
    lines: Vec<(u64, u64)>,
}

/// A run had to be left to the slow path: its addresses lie in one region too many.
pub(crate) struct TooManyRegions;

/// What a simulated run changes besides the levels.
pub(crate) struct Surroundings<'a, M> {
    pub(crate) paths: &'a Paths,
    pub(crate) combining: &'a mut Option<Victim>,
    pub(crate) streamed: &'a mut Option<u64>,
    pub(crate) ledger: &'a mut Ledger,
    pub(crate) memory: &'a mut M,
}

impl Runs {
    /// Empty caches; `instances` gives the level of each. The machine must have no [`obstacle`].
    pub(crate) fn new(config: &Config, instances: impl Iterator<Item = usize>) -> Self {
        let line_shift = config.line_bytes.trailing_zeros();
        let least_shift = (0..config.levels.len())
            .map(|position| config.sets(position).trailing_zeros())
            .min()
            .unwrap_or(0);
        let first_data = config.data_path()[0];
        Self {
            best: Best::of_this_processor(),
            limits: Limits {
                line_shift,
                classes: 1 << least_shift.min(6),
                ways: config.levels[first_data].ways as usize,
            },
            levels: instances
                .map(|level| Level::new(config.sets(level), config.levels[level].ways))
                .collect(),
            // A tag is 31 bits and one more than the line's upper bits.
            regions: Regions::new(line_shift, ((1 << 31) - 1) << least_shift),
            scratch: Scratch::default(),
        }
    }

    /// Simulates `run`, or nothing of it.
    #[inline]
    pub(crate) fn run<M: Memory>(
        &mut self,
        run: Run<'_>,
        around: &mut Surroundings<'_, M>,
    ) -> Result<(), TooManyRegions> {
        match self.best {
            #[cfg(target_arch = "x86_64")]
            Best::Avx512 => lanes::Avx512::compiled(|| self.run_with::<lanes::Avx512, M>(run, around)),
            #[cfg(target_arch = "x86_64")]
            Best::Avx2 => lanes::Avx2::compiled(|| self.run_with::<lanes::Avx2, M>(run, around)),
            Best::Portable => self.run_with::<lanes::Portable, M>(run, around),
        }
    }

    #[inline(always)]
    fn run_with<I: Isa, M: Memory>(
        &mut self,
        run: Run<'_>,
        around: &mut Surroundings<'_, M>,
    ) -> Result<(), TooManyRegions> {
        let mut walk: Walk<'_, I, M> = Walk {
            isa: PhantomData,
            line_shift: self.limits.line_shift,
            paths: around.paths,
            levels: &mut self.levels,
            regions: &mut self.regions,
            combining: around.combining,
            streamed: around.streamed,
            ledger: around.ledger,
            memory: around.memory,
        };
        if run.iterations == 1 {
            walk.block(&mut self.scratch.lines, run.operands)
        } else {
            walk.run(self.limits, &mut self.scratch, run)
        }
    }

    /// The caches as the slow path has them.
    pub(crate) fn to_caches(&self, into: &mut [Cache]) {
        for (level, cache) in self.levels.iter().zip(into) {
            for number in 0..level.sets() {
                let ways = level.set(number);
                let lines = ways.iter().map(|way| {
                    let short = level.line(way.tag, number as u64);
                    (self.regions.line(short), way.dirty(), way.owner)
                });
                cache.fill(number, lines);
            }
        }
    }

    /// Takes over the slow path's caches in place of its own.
    pub(crate) fn take_over(&mut self, caches: &[Cache]) -> Result<(), TooManyRegions> {
        for (level, cache) in self.levels.iter_mut().zip(caches) {
            level.clear();
            for number in 0..level.sets() {
                let mut ways = Vec::new();
                for (line, dirty, owner) in cache.set(number) {
                    let short = self.regions.shorten(line).ok_or(TooManyRegions)?;
                    ways.push(level.way(short, dirty, owner));
                }
                if !ways.is_empty() {
                    level.fill(number, ways.into_iter());
                }
            }
        }
        Ok(())
    }
}

impl<'a, I: Isa, M: Memory> Walk<'a, I, M> {
    /// An ordinary block: one iteration.
    #[inline(always)]
    fn block(&mut self, lines: &mut Vec<(u64, u64)>, operands: &[Operand]) -> Result<(), TooManyRegions> {
        lines.clear();
        for operand in operands {
            let (first, last) = operand.lines(0, self.line_shift);
            let short = self.regions.shorten(first).ok_or(TooManyRegions)?;
            if first >> REGION_SHIFT != last >> REGION_SHIFT {
                self.regions.shorten(last).ok_or(TooManyRegions)?;
            }
            lines.push((short, last - first));
        }
        for (operand, &(line, more)) in operands.iter().zip(lines.iter()) {
            self.operand(operand, line, more);
        }
        Ok(())
    }

    /// The operand's first line, and how many more it touches.
    #[inline(always)]
    fn operand(&mut self, operand: &Operand, line: u64, more: u64) {
        let paths = self.paths;
        let path = if operand.kind == AccessKind::Fetch {
            &paths.fetch
        } else {
            &paths.data
        };
        if path.is_empty() {
            return;
        }
        let cause = operand.kind.cause() as usize;
        let access = Access {
            line,
            owner: operand.owner,
            cause,
            write: operand.kind.writes(),
            writer: operand.owner,
        };
        if more == 0 && !operand.kind.is_non_temporal() {
            self.ledger.level_mut(operand.owner, path[0].level).accesses[cause] += 1;
            self.line(path, access);
            return;
        }
        if more != 0 {
            self.ledger.owner_mut(operand.owner).straddles += 1;
        }
        let first = operand.address >> self.line_shift;
        for line in first..=first + more {
            let Some(line) = self.regions.shorten(line) else {
                unreachable!("both ends' regions are known, and an access is shorter than a region")
            };
            match operand.kind {
                AccessKind::NonTemporalStore => self.non_temporal_store(line, operand.owner),
                AccessKind::NonTemporalLoad => self.non_temporal_load(line, operand.owner),
                _ => {
                    self.ledger.level_mut(operand.owner, path[0].level).accesses[cause] += 1;
                    self.line(path, Access { line, ..access });
                }
            }
        }
    }

    /// Several iterations, or none.
    #[inline(always)]
    fn run(&mut self, limits: Limits, scratch: &mut Scratch, run: Run<'_>) -> Result<(), TooManyRegions> {
        if run.iterations == 0 {
            return Ok(());
        }
        let paths = self.paths;
        let separate_fetch =
            paths.fetch.first().map(|step| step.cache) != paths.data.first().map(|step| step.cache);
        let (fetch, operands) = match run.operands.split_first() {
            Some((first, rest)) if first.kind == AccessKind::Fetch && separate_fetch => (Some(first), rest),
            _ => (None, run.operands),
        };
        scratch.sweeps.clear();
        if operands.len() > MOST_OPERANDS || fetch.is_some_and(|fetch| fetch.stride != 0) {
            return self.one_by_one(&mut scratch.lines, run);
        }
        let fetched = match fetch {
            Some(fetch) if !paths.fetch.is_empty() => {
                let (first, last) = fetch.lines(0, self.line_shift);
                // Repeated fetches hit if no two of the lines share a set.
                if last - first >= self.levels[paths.fetch[0].cache].sets() as u64 {
                    return self.one_by_one(&mut scratch.lines, run);
                }
                let short = self.regions.shorten(first).ok_or(TooManyRegions)?;
                self.regions.shorten(last).ok_or(TooManyRegions)?;
                Some((fetch, short, last - first))
            }
            _ => None,
        };
        for operand in operands {
            if operand.kind.is_non_temporal() || operand.kind == AccessKind::Fetch && separate_fetch {
                return self.one_by_one(&mut scratch.lines, run);
            }
            match self.sweep(operand, run.iterations)? {
                Some(sweep) => scratch.sweeps.push(sweep),
                None => return self.one_by_one(&mut scratch.lines, run),
            }
        }
        if let Some((fetch, line, more)) = fetched {
            self.operand(fetch, line, more);
            let repeats = run.iterations - 1;
            self.ledger.level_mut(fetch.owner, paths.fetch[0].level).accesses[Cause::Read as usize] +=
                repeats * (more + 1);
            if more != 0 {
                self.ledger.owner_mut(fetch.owner).straddles += repeats;
            }
        }
        if scratch.sweeps.is_empty() {
            return Ok(());
        }
        for sweep in &scratch.sweeps {
            let (lines, straddles) = sweep.line_accesses(run.iterations, limits.line_shift);
            self.ledger.level_mut(sweep.owner, paths.data[0].level).accesses[sweep.cause as usize] += lines;
            if straddles != 0 {
                self.ledger.owner_mut(sweep.owner).straddles += straddles;
            }
        }
        cluster::gather(
            &scratch.sweeps,
            1 << limits.line_shift,
            limits.longest_cluster(),
            &mut scratch.clusters,
        );
        self.looped(&Looped {
            limits,
            sweeps: &scratch.sweeps,
            clusters: &scratch.clusters,
            iterations: run.iterations as i64,
        });
        Ok(())
    }

    /// The operand in short addresses; none if it leaves its region or wraps around.
    #[inline(always)]
    fn sweep(&mut self, operand: &Operand, iterations: u64) -> Result<Option<Sweep>, TooManyRegions> {
        let bytes = u64::from(operand.bytes.max(1));
        let ends = i64::try_from(iterations - 1)
            .ok()
            .and_then(|steps| operand.stride.checked_mul(steps))
            .and_then(|way| operand.address.checked_add_signed(way))
            .and_then(|last| {
                let (low, high) = (operand.address.min(last), operand.address.max(last));
                Some((low, high.checked_add(bytes - 1)?))
            });
        let region_shift = self.line_shift + REGION_SHIFT;
        if ends.is_none_or(|(low, high)| low >> region_shift != high >> region_shift) {
            return Ok(None);
        }
        let short = self
            .regions
            .shorten(operand.address >> self.line_shift)
            .ok_or(TooManyRegions)?;
        let offset = operand.address & ((1 << self.line_shift) - 1);
        Ok(Some(Sweep {
            base: (short << self.line_shift | offset).cast_signed(),
            stride: operand.stride,
            bytes: bytes.cast_signed(),
            owner: operand.owner,
            cause: operand.kind.cause(),
            write: operand.kind.writes(),
        }))
    }

    /// Each iteration as a block.
    #[cold]
    #[inline(never)]
    fn one_by_one(&mut self, lines: &mut Vec<(u64, u64)>, run: Run<'_>) -> Result<(), TooManyRegions> {
        for i in 0..run.iterations {
            for operand in run.operands {
                let (first, last) = operand.lines(i, self.line_shift);
                self.regions.shorten(first).ok_or(TooManyRegions)?;
                self.regions.shorten(last).ok_or(TooManyRegions)?;
            }
        }
        let mut operands = run.operands.to_vec();
        for _ in 0..run.iterations {
            self.block(lines, &operands)?;
            for operand in &mut operands {
                operand.address = operand.address.wrapping_add(operand.stride.cast_unsigned());
            }
        }
        Ok(())
    }
}
