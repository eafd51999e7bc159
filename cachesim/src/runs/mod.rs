//! The fast path: runs simulated line by line and by groups of lines, with the results of access by access.
//!
//! What is modelled: what [`crate::levels`] models, for machines on which lines that share a set anywhere share their
//! class: LRU, write-back, write-allocate, neither inclusive nor exclusive, and a multiple of 16 sets at every level.
//! Counters, final tags, order, dirtiness and writers are those of access by access, to the last one; so are the
//! requests to memory but for their order, which is by group and window of a run instead of by access.
//!
//! Where the order of accesses may be changed is explained in [`schedule`], how several sets are one in [`level`].
//!
//! Memory: a line of simulated cache reserves 8.5 bytes × (ways rounded up to a multiple of 16) / ways, and 12 for the slow
//! path behind this one, which the runs of a machine may never need; the table of regions, 4 MiB. Pages are taken as they
//! are used: of a uniform group half a byte a line. `tests/memory.rs` measures it.

mod cluster;
mod hits;
mod lanes;
mod level;
mod regions;
mod schedule;
mod set;
mod sweep;
mod walk;

use crate::cache::{Cache, Victim};
use crate::config::Config;
use crate::ledger::{Cause, Ledger};
use crate::levels::{Paths, Step};
use crate::memory::Memory;
use crate::run::{AccessKind, Operand, Run, SCATTERED};

use cluster::{Cluster, MOST_OPERANDS};
use hits::{Fetches, Hits};
use lanes::{Best, LANES};
use level::{Level, MOST_WAYS};
use regions::{REGION_SHIFT, Regions};
use schedule::{Limits, Looped};
use sweep::{Scattered, Sweep};
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
    limits: Limits,
    // Every instance of every level.
    levels: Vec<Level>,
    regions: Regions,
    scratch: Scratch,
}

/// Operands by which a miss looks ahead for more of them.
const AHEAD: usize = 16;

/// Memory that is reused from run to run.
#[derive(Clone, Debug, Default)]
struct Scratch {
    sweeps: Vec<Sweep>,
    clusters: Vec<Cluster>,
    scattered: Vec<i64>,
}

/// The addresses of a run lie in one region too many.
struct TooManyRegions {
    /// Operands that were simulated before that came out; only of a run of one iteration.
    operands_done: usize,
}

/// What is left to the slow path, before the runs that follow.
pub(crate) struct Left<'r> {
    pub(crate) run: Run<'r>,
}

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
        let best = Best::of_this_processor();
        let first_data = config.data_path()[0];
        Self {
            limits: Limits {
                line_shift,
                classes: 1 << least_shift.min(6),
                ways: config.levels[first_data].ways as usize,
            },
            levels: instances
                .map(|level| Level::new(best, config.sets(level), config.levels[level].ways))
                .collect(),
            // A tag is 31 bits and one more than the line's upper bits.
            regions: Regions::new(line_shift, ((1 << 31) - 1) << least_shift),
            scratch: Scratch::default(),
        }
    }

    /// Simulates `runs` up to one that has to be left to the slow path.
    #[inline]
    pub(crate) fn runs<'r, M: Memory>(
        &mut self,
        runs: &mut impl Iterator<Item = Run<'r>>,
        around: &mut Surroundings<'_, M>,
    ) -> Result<(), Left<'r>> {
        let mut walk: Walk<'_, M> = Walk {
            line_shift: self.limits.line_shift,
            paths: around.paths,
            levels: &mut self.levels,
            regions: &mut self.regions,
            combining: around.combining,
            streamed: around.streamed,
            fetched: None,
            ledger: around.ledger,
            memory: around.memory,
        };
        for mut run in runs {
            let result = if run.iterations == 1 {
                walk.block(run.operands)
            } else {
                walk.run(self.limits, &mut self.scratch, run)
            };
            if let Err(TooManyRegions { operands_done }) = result {
                run.operands = &run.operands[operands_done..];
                return Err(Left { run });
            }
        }
        Ok(())
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
    pub(crate) fn take_over(&mut self, caches: &[Cache]) -> Option<()> {
        for (level, cache) in self.levels.iter_mut().zip(caches) {
            level.clear();
            for number in 0..level.sets() {
                let mut ways = Vec::new();
                for (line, dirty, owner) in cache.set(number) {
                    let short = self.regions.shorten(line)?;
                    ways.push(level.way(short, dirty, owner));
                }
                if !ways.is_empty() {
                    level.fill(number, ways.into_iter());
                }
            }
        }
        Some(())
    }
}

impl<'a, M: Memory> Walk<'a, M> {
    /// An ordinary block: one iteration.
    #[inline(always)]
    fn block(&mut self, operands: &[Operand]) -> Result<(), TooManyRegions> {
        let mut operands_done = 0;
        let mut asked = 0;
        loop {
            operands_done += self.hits(&operands[operands_done..]);
            let Some(operand) = operands.get(operands_done) else {
                return Ok(());
            };
            let ahead = (operands_done + AHEAD).min(operands.len());
            self.prefetch(&operands[asked.max(operands_done + 1).min(ahead)..ahead]);
            asked = ahead;
            let (first, last) = operand.lines(0, self.line_shift);
            let Some(line) = self.regions.shorten(first) else {
                return Err(TooManyRegions { operands_done });
            };
            if first >> REGION_SHIFT != last >> REGION_SHIFT && self.regions.shorten(last).is_none() {
                return Err(TooManyRegions { operands_done });
            }
            self.operand(operand, line, first, last);
            operands_done += 1;
        }
    }

    /// Simulates operands up to one that does not simply hit the first level; returns how many.
    #[inline(always)]
    fn hits(&mut self, operands: &[Operand]) -> usize {
        let data = self.paths.data[0];
        let fetch = self.paths.fetch.first().copied();
        let best = self.levels[data.cache].best();
        let (data, fetch) = match fetch {
            None => (
                self.levels[data.cache].first_level(data.level),
                Some(Fetches::Nowhere),
            ),
            Some(fetch) if fetch.cache == data.cache => (
                self.levels[data.cache].first_level(data.level),
                Some(Fetches::WithData),
            ),
            Some(fetch) => {
                let Ok([of_data, of_fetch]) = self.levels.get_disjoint_mut([data.cache, fetch.cache]) else {
                    return 0;
                };
                let fetch = of_fetch.first_level(fetch.level).map(Fetches::Apart);
                (of_data.first_level(data.level), fetch)
            }
        };
        let (Some(data), Some(fetch)) = (data, fetch) else {
            return 0;
        };
        let (rows, levels, owners) = self.ledger.rows_mut();
        let mut hits = Hits {
            line_shift: self.line_shift,
            data,
            fetch,
            fetched: &mut self.fetched,
            rows,
            levels,
            owners,
            regions: self.regions.numbers(),
        };
        best.hits::<1>(&mut hits, operands)
    }

    /// Asks for the sets of the levels behind the first, where operands will need them.
    #[inline(always)]
    fn prefetch(&mut self, operands: &[Operand]) {
        let first = self.paths.data[0].cache;
        for operand in operands
            .iter()
            .filter(|operand| operand.kind != AccessKind::Fetch)
        {
            if let Some(line) = self.regions.shorten(operand.address >> self.line_shift)
                && !self.levels[first].may_hold(line, self.regions)
            {
                for step in &self.paths.data[1..] {
                    self.levels[step.cache].prefetch(line, self.regions);
                }
            }
        }
    }

    /// The lines from `first`, whose short number is `line`, to `last`; their regions are known.
    #[inline(always)]
    fn operand(&mut self, operand: &Operand, line: u64, first: u64, last: u64) {
        let paths = self.paths;
        let path = if operand.kind == AccessKind::Fetch {
            &paths.fetch
        } else {
            &paths.data
        };
        if path.is_empty() {
            return;
        }
        if first == last && !operand.kind.is_non_temporal() {
            self.operand_line(path, operand, line);
        } else {
            self.several_lines(path, operand, first, last);
        }
    }

    #[inline(always)]
    fn operand_line(&mut self, path: &'a [Step], operand: &Operand, line: u64) {
        let (cause, owner) = (operand.kind.cause() as usize, operand.owner);
        self.ledger.level_mut(owner, path[0].level).accesses[cause] += 1;
        let access = Access {
            line,
            owner,
            cause,
            write: operand.kind.writes(),
            writer: owner,
        };
        self.line(path, access);
    }

    #[inline(never)]
    fn several_lines(&mut self, path: &'a [Step], operand: &Operand, first: u64, last: u64) {
        if first != last {
            self.ledger.owner_mut(operand.owner).straddles += 1;
        }
        for line in first..=last {
            let line = self
                .regions
                .shorten(line)
                .expect("the regions of both ends are known, and an access is shorter than a region");
            match operand.kind {
                AccessKind::NonTemporalStore => self.non_temporal_store(line, operand.owner),
                AccessKind::NonTemporalLoad => self.non_temporal_load(line, operand.owner),
                _ => self.operand_line(path, operand, line),
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
            return self.one_by_one(run);
        }
        let fetched = match fetch {
            Some(fetch) if !paths.fetch.is_empty() => {
                let (first, last) = fetch.lines(0, self.line_shift);
                // Repeated fetches hit if no two of the lines share a set.
                if last - first >= self.levels[paths.fetch[0].cache].sets() as u64 {
                    return self.one_by_one(run);
                }
                let short = self
                    .regions
                    .shorten(first)
                    .ok_or(TooManyRegions { operands_done: 0 })?;
                self.regions
                    .shorten(last)
                    .ok_or(TooManyRegions { operands_done: 0 })?;
                Some((fetch, short, first, last))
            }
            _ => None,
        };
        let mut scattered_members = 0u64;
        if !self.scattered(&run, &mut scratch.scattered)? {
            return self.one_by_one(run);
        }
        for operand in operands {
            if operand.kind.is_non_temporal() || operand.kind == AccessKind::Fetch && separate_fetch {
                return self.one_by_one(run);
            }
            match self.sweep(operand, run.iterations)? {
                Some(mut sweep) => {
                    if sweep.is_scattered() {
                        sweep.base = scattered_members.count_ones().into();
                        scattered_members |= 1 << scratch.sweeps.len();
                    }
                    scratch.sweeps.push(sweep);
                }
                None => return self.one_by_one(run),
            }
        }
        let scattered = Scattered {
            addresses: &scratch.scattered,
            operands: scattered_members.count_ones() as usize,
            members: scattered_members,
        };
        if let Some((fetch, line, first, last)) = fetched {
            self.fetched = None;
            self.operand(fetch, line, first, last);
            let repeats = run.iterations - 1;
            self.ledger.level_mut(fetch.owner, paths.fetch[0].level).accesses[Cause::Read as usize] +=
                repeats * (last - first + 1);
            if first != last {
                self.ledger.owner_mut(fetch.owner).straddles += repeats;
            }
        }
        if scratch.sweeps.is_empty() {
            return Ok(());
        }
        for sweep in &scratch.sweeps {
            let (lines, straddles) = if sweep.is_scattered() {
                sweep.scattered_accesses(scattered, limits.line_shift)
            } else {
                sweep.line_accesses(run.iterations, limits.line_shift)
            };
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
            scattered,
            iterations: run.iterations as i64,
        });
        Ok(())
    }

    /// The addresses of scattered operands, made short. False if one leaves its region.
    #[inline(always)]
    fn scattered(&mut self, run: &Run<'_>, short: &mut Vec<i64>) -> Result<bool, TooManyRegions> {
        short.clear();
        if run.scattered.is_empty() {
            return Ok(true);
        }
        let longest = run
            .operands
            .iter()
            .map(|operand| operand.bytes)
            .max()
            .unwrap_or(0);
        let offset = (1 << self.line_shift) - 1;
        let region_shift = self.line_shift + REGION_SHIFT;
        for &address in run.scattered {
            let last = address.saturating_add(longest.into());
            if address >> region_shift != last >> region_shift {
                return Ok(false);
            }
            let line = self
                .regions
                .shorten(address >> self.line_shift)
                .ok_or(TooManyRegions { operands_done: 0 })?;
            short.push((line << self.line_shift | address & offset).cast_signed());
        }
        Ok(true)
    }

    /// The operand in short addresses; none if it leaves its region or wraps around.
    #[inline(always)]
    fn sweep(&mut self, operand: &Operand, iterations: u64) -> Result<Option<Sweep>, TooManyRegions> {
        let bytes = u64::from(operand.bytes.max(1));
        if operand.stride == SCATTERED {
            return Ok(Some(Sweep {
                base: 0,
                stride: SCATTERED,
                bytes: bytes.cast_signed(),
                owner: operand.owner,
                cause: operand.kind.cause(),
                write: operand.kind.writes(),
            }));
        }
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
            .ok_or(TooManyRegions { operands_done: 0 })?;
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
    fn one_by_one(&mut self, run: Run<'_>) -> Result<(), TooManyRegions> {
        let mut known = Ok(());
        run.blocks(|operands| {
            for operand in operands {
                let (first, last) = operand.lines(0, self.line_shift);
                if self.regions.shorten(first).is_none() || self.regions.shorten(last).is_none() {
                    known = Err(TooManyRegions { operands_done: 0 });
                }
            }
        });
        known?;
        let mut simulated = Ok(());
        run.blocks(|operands| {
            if simulated.is_ok() {
                simulated = self.block(operands);
            }
        });
        simulated?;
        Ok(())
    }
}
