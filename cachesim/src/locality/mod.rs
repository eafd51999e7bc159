//! Locality: how a stream of accesses uses its lines again, whatever caches there are.
//!
//! Fed with runs as the caches are. What concerns lines is kept by *group*, an index that the caller gives to each
//! owner, so that one pass answers for every operator, object and phase; results of groups add up. Strides are kept by
//! owner, scores by *scope*, a second index of owners.
//!
//! Which lines are followed is a sample: all of them, which is exact, or one in so many. Everything that is said of
//! lines is scaled by that. If the lines followed become more than a limit, the sample is halved (the fixed-size form of
//! SHARDS), so memory is bounded. Distances below a few times the sample's scale are not resolved.
//!
//! Threads are taken together, in the order in which their accesses arrive: this is the view of a shared cache.
//! Instruction fetches are not looked at. A software prefetch is a use of its line, but no read of its data.
//!
//! Memory: see each meter. Measured, from just before to just after arrays grow: where all lines are followed, 21 to 37 bytes
//! for each line with reuse alone and 110 to 210 with every analysis and two capacities; in a sample, 80 to 145 and 190
//! to 400 bytes for each line followed. A group takes about 200 bytes and 24 more for each class of its histograms, an
//! owner 100 bytes.

mod analysis;
mod curves;
mod histogram;
mod lifetime;
mod line_table;
mod line_use;
mod lru_stack;
mod meters;
mod reuse;
mod sample;
mod score;
mod sharing;
mod stretch;
mod stride;
mod sweep;

pub use analysis::Analysis;
pub use curves::MissRatio;
pub use histogram::{Bucket, Histogram};
pub use lifetime::Lifetimes;
use line_table::LineTable;
pub use lru_stack::ReuseDistance;
use lru_stack::WARM_AHEAD;
use meters::Meters;
pub use reuse::Reuse;
use sample::Sample;
use score::ScoreMeter;
pub use score::{Scores, WINDOW_ACCESSES, WINDOWS_APART};
pub use sharing::Sharing;
use stretch::Stretch;
use stride::StrideMeter;
pub use stride::{STRIDE_BOUNDS, Strides};
use sweep::{Sweep, is_data, line_accesses};

use crate::run::Run;

/// What to measure, and how closely.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// What to measure.
    pub analyses: Vec<Analysis>,
    /// Bytes of a line, a power of two.
    pub line_bytes: u32,
    /// Follow one line in so many to begin with; 1 follows all.
    pub one_in: u64,
    /// Most lines to follow: when there are more after a run, every second one is dropped.
    pub most_lines: usize,
    /// Capacities in lines of the caches that [`Analysis::LineUse`] is about.
    pub capacities_lines: Vec<u64>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            analyses: Analysis::all().collect(),
            line_bytes: 64,
            one_in: 100,
            most_lines: 1 << 20,
            capacities_lines: vec![512, 1 << 14], // 32 KiB and 1 MiB of 64-byte lines
        }
    }
}

/// Measures locality.
#[derive(Clone, Debug)]
pub struct Locality {
    line_shift: u32,
    most_lines: usize,
    sample: Sample,
    lines: LineTable,
    sweep: Sweep,
    // Data accesses so far.
    clock: u64,
    // By owner.
    groups: Vec<u32>,
    scopes: Vec<u32>,
    line_accesses: Vec<u64>,
    group_count: usize,
    meters: Meters,
    stride: Option<StrideMeter>,
    score: Option<ScoreMeter>,
}

/// What was found out about one group.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GroupLocality {
    /// Line accesses: exact also where a sample was taken.
    pub line_accesses: u64,
    /// Reuse of lines.
    pub reuse: Reuse,
    /// Bytes used of each line that the group fetched, by capacity.
    pub used_bytes: Vec<Histogram>,
    /// What became of the data that the group wrote.
    pub lifetimes: Lifetimes,
    /// Lines by the threads that used them.
    pub sharing: Sharing,
}

impl std::ops::AddAssign<&GroupLocality> for GroupLocality {
    fn add_assign(&mut self, other: &GroupLocality) {
        self.line_accesses += other.line_accesses;
        self.reuse += &other.reuse;
        let caches = self.used_bytes.len().max(other.used_bytes.len());
        self.used_bytes.resize(caches, Histogram::default());
        for (mine, theirs) in self.used_bytes.iter_mut().zip(&other.used_bytes) {
            *mine += theirs;
        }
        self.lifetimes += &other.lifetimes;
        self.sharing += &other.sharing;
    }
}

/// What was found out.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Findings {
    /// By group.
    pub groups: Vec<GroupLocality>,
    /// By owner; empty if they were not measured.
    pub strides: Vec<Strides>,
    /// By scope; a scope without windows may be missing at the end.
    pub scores: Vec<Scores>,
    /// Data accesses in all.
    pub accesses: u64,
    /// One line in so many was followed in the end.
    pub one_in: u64,
    /// Lines followed in the end.
    pub lines_followed: u64,
}

impl Locality {
    /// Nothing seen yet.
    ///
    /// # Panics
    /// If the line size is no power of two.
    #[must_use]
    pub fn new(options: &Options) -> Self {
        assert!(
            options.line_bytes.is_power_of_two(),
            "a line size is a power of two"
        );
        let wants = |analysis| options.analyses.contains(&analysis);
        Self {
            line_shift: options.line_bytes.trailing_zeros(),
            most_lines: options.most_lines.max(1),
            sample: Sample::new(options.one_in),
            lines: LineTable::new(options.one_in <= 1),
            sweep: Sweep::default(),
            clock: 0,
            groups: Vec::new(),
            scopes: Vec::new(),
            line_accesses: Vec::new(),
            group_count: 0,
            meters: Meters::new(options),
            stride: wants(Analysis::Stride).then(StrideMeter::default),
            score: wants(Analysis::Score).then(ScoreMeter::default),
        }
    }

    /// How many owners there are.
    #[must_use]
    pub fn owner_count(&self) -> usize {
        self.groups.len()
    }

    /// Puts the next owner into a group and a scope. The operands of a run are of one scope.
    pub fn add_owner(&mut self, group: u32, scope: u32) {
        self.groups.push(group);
        self.scopes.push(scope);
        self.line_accesses.push(0);
        self.group_count = self.group_count.max(group as usize + 1);
        if let Some(stride) = &mut self.stride {
            stride.reserve(self.groups.len());
        }
    }

    /// Takes in the accesses of `run` by `thread`, in iteration order.
    ///
    /// # Panics
    /// If an owner was not added.
    #[inline]
    pub fn run(&mut self, thread: u32, run: Run<'_>) {
        run.gathered(|run| self.strided(thread, run));
    }

    /// A run without scattered operands.
    #[inline]
    fn strided(&mut self, thread: u32, run: Run<'_>) {
        let data = run.operands.iter().filter(|operand| is_data(operand));
        let period = data.clone().count() as u64;
        if period == 0 || run.iterations == 0 {
            return;
        }
        if let Some(stride) = &mut self.stride {
            for operand in data.clone() {
                stride.operand(operand, run.iterations);
            }
        }
        if let (Some(score), Some(operand)) = (&mut self.score, data.clone().next()) {
            let scope = self.scopes[operand.owner as usize];
            score.run(thread, scope, run, period * run.iterations);
        }
        if self.meters.any() {
            let mut followed = run.iterations > 1;
            for operand in data {
                let lines = &mut self.line_accesses[operand.owner as usize];
                if run.iterations == 1 {
                    let (first, last) = operand.lines(0, self.line_shift);
                    *lines += last - first + 1;
                    followed |=
                        self.sample.takes(first) | (first + 1..=last).any(|line| self.sample.takes(line));
                } else {
                    *lines += line_accesses(operand, run.iterations, self.line_shift);
                }
            }
            if followed {
                self.follow(thread, run, period);
            }
        }
        self.clock += period * run.iterations;
    }

    /// Takes in runs of `thread` one after the other. Where all lines are followed, this is faster than run by run: what
    /// the next ones need is fetched from memory at once.
    ///
    /// # Panics
    /// If an owner was not added.
    pub fn runs<'a>(&mut self, thread: u32, runs: impl Iterator<Item = Run<'a>> + Clone) {
        let reads_ahead = self.sample.one_in() == 1 && self.meters.reuse.is_some();
        let mut ahead = runs.clone();
        let mut runs = runs.peekable();
        while runs.peek().is_some() {
            if reads_ahead {
                let read = ahead
                    .by_ref()
                    .take(WARM_AHEAD)
                    .fold(0, |read, run| read ^ self.warm(run));
                std::hint::black_box(read);
            }
            for run in runs.by_ref().take(WARM_AHEAD) {
                self.run(thread, run);
            }
        }
    }

    /// Reads what the first iteration of a run will need.
    #[inline]
    fn warm(&self, run: Run<'_>) -> u64 {
        let Some(reuse) = &self.meters.reuse else { return 0 };
        let lines = run
            .operands
            .iter()
            .map(|operand| operand.address >> self.line_shift);
        lines
            .filter_map(|line| self.lines.find(line))
            .fold(0, |read, slot| read ^ reuse.warm(slot))
    }

    fn follow(&mut self, thread: u32, run: Run<'_>, period: u64) {
        let Self { lines, meters, .. } = self;
        self.sweep
            .run(run, self.sample, self.line_shift, |touches, first, iterations| {
                for touch in &mut *touches {
                    touch.slot = lines.slot(touch.line);
                }
                meters.reserve(lines.slots(), self.group_count);
                meters.stretch(Stretch {
                    thread,
                    run,
                    touches,
                    first,
                    iterations,
                    clock: self.clock + first * period,
                    period,
                    one_in: self.sample.one_in(),
                    groups: &self.groups,
                });
            });
        if self.lines.lines() > self.most_lines || self.lines.is_wasteful() {
            self.shrink();
        }
    }

    /// Numbers lines one by one; follows only every second of them while they are too many.
    #[cold]
    fn shrink(&mut self) {
        loop {
            let (lines, kept) = self.lines.retain(|line| self.sample.takes(line));
            self.lines = lines;
            self.meters.retain(&kept);
            if self.lines.lines() <= self.most_lines {
                return;
            }
            self.sample = self.sample.halved();
        }
    }

    /// The results.
    #[must_use]
    pub fn finish(self) -> Findings {
        let mut groups = vec![GroupLocality::default(); self.group_count];
        for (group, line_accesses) in self.groups.iter().zip(&self.line_accesses) {
            groups[*group as usize].line_accesses += line_accesses;
        }
        let one_in = self.sample.one_in();
        self.meters.finish(self.clock, one_in, &mut groups);
        Findings {
            groups,
            strides: self.stride.map_or_else(Vec::new, StrideMeter::finish),
            scores: self.score.map_or_else(Vec::new, ScoreMeter::finish),
            accesses: self.clock,
            one_in,
            lines_followed: self.lines.lines() as u64,
        }
    }
}
