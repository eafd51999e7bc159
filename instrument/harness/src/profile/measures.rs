//! What is counted, as one table: sums, Parquet columns, report columns and totals all derive from it.

use std::ops::AddAssign;

use memloupe_cachesim::{LevelDetail, TranslationCounters};
use memloupe_hierarchy::dram::DramCounters;

use super::{FOOTPRINT_LINE_BYTES, Summary};

/// What happened at one cache level.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LevelCounts {
    /// Line accesses that reached the level.
    pub line_accesses: u64,
    /// Of these, those that it did not hold.
    pub misses: u64,
    /// Dirty lines it sent to the level below.
    pub writebacks: u64,
    /// Estimated core cycles spent waiting for what it answered.
    pub stall_cycles: u64,
}

/// Everything counted for a row of [`Traffic`](super::Traffic), or a group of rows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Measures {
    /// Times that threads entered operators: of groups of contexts; a row of traffic has none.
    pub calls: u64,
    /// Data accesses: loads, stores, read-modify-writes (one each) and prefetches; no instruction fetches.
    pub accesses: u64,
    /// Accesses that read data; a read-modify-write is one.
    pub loads: u64,
    /// Accesses that write data; a read-modify-write is one.
    pub stores: u64,
    /// Bytes of the data accesses.
    pub access_bytes: u64,
    /// Executions of basic blocks: one instruction fetch each.
    pub fetches: u64,
    /// Instructions executed; only rows of fetch sites have any.
    pub instructions: u64,
    /// Floating-point operations; only rows of fetch sites have any.
    pub flops: u64,
    /// Each cache level, in the order of [`Summary::levels`](super::Summary::levels).
    pub levels: Vec<LevelCounts>,
    /// What else levels and translation count, in the order of [`Summary::details`](super::Summary::details).
    pub details: Vec<u64>,
    /// Bytes read from DRAM.
    pub dram_read_bytes: u64,
    /// Bytes written to DRAM.
    pub dram_write_bytes: u64,
    /// DRAM requests that found their row open.
    pub row_hits: u64,
    /// DRAM requests that found their bank closed.
    pub row_misses: u64,
    /// DRAM requests that found another row open.
    pub row_conflicts: u64,
    /// Estimated core cycles: [`base_cycles`](Self::base_cycles) and all stalls.
    pub est_cycles: u64,
    /// Of these, instructions at full issue width.
    pub base_cycles: u64,
    /// Of these, stalls for the latency of DRAM.
    pub dram_latency_cycles: u64,
    /// Of these, stalls for the bandwidth of DRAM.
    pub dram_bandwidth_cycles: u64,
    /// Energy of the accesses in caches, link and DRAM.
    pub energy_nj: u64,
}

impl Measures {
    /// Nothing counted yet, for a machine of so many cache levels.
    #[must_use]
    pub fn new(levels: usize) -> Self {
        Self {
            levels: vec![LevelCounts::default(); levels],
            ..Self::default()
        }
    }

    /// DRAM bytes in both directions.
    #[must_use]
    pub fn dram_bytes(&self) -> u64 {
        self.dram_read_bytes + self.dram_write_bytes
    }
}

impl AddAssign<&Self> for Measures {
    fn add_assign(&mut self, other: &Self) {
        self.calls += other.calls;
        for scalar in SCALARS {
            *(scalar.get_mut)(self) += (scalar.get)(other);
        }
        for (sum, counts) in self.levels.iter_mut().zip(&other.levels) {
            sum.line_accesses += counts.line_accesses;
            sum.misses += counts.misses;
            sum.writebacks += counts.writebacks;
            sum.stall_cycles += counts.stall_cycles;
        }
        self.details
            .resize(self.details.len().max(other.details.len()), 0);
        for (sum, count) in self.details.iter_mut().zip(&other.details) {
            *sum += count;
        }
    }
}

/// What a number counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Events.
    Count,
    /// Bytes.
    Bytes,
    /// Billionths of a joule.
    Nanojoules,
    /// Billionths of a second.
    Nanoseconds,
    /// Core cycles.
    Cycles,
}

/// A measure that does not depend on the machine's levels.
#[derive(Debug)]
pub(super) struct Scalar {
    pub(super) name: &'static str,
    unit: Unit,
    meaning: &'static str,
    needs: Needs,
    pub(super) get: fn(&Measures) -> u64,
    pub(super) get_mut: fn(&mut Measures) -> &mut u64,
}

/// Which part of a machine a measure speaks of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Needs {
    Program,
    Caches,
    Dram,
}

macro_rules! scalar {
    ($name:ident, $unit:ident, $needs:ident, $meaning:literal) => {
        Scalar {
            name: stringify!($name),
            unit: Unit::$unit,
            meaning: $meaning,
            needs: Needs::$needs,
            get: |measures| measures.$name,
            get_mut: |measures| &mut measures.$name,
        }
    };
}

/// Every scalar, in the order of tables.
pub(super) static SCALARS: &[Scalar] = &[
    scalar!(
        accesses,
        Count,
        Program,
        "data accesses; an instruction fetch is none"
    ),
    scalar!(loads, Count, Program, "accesses that read data"),
    scalar!(stores, Count, Program, "accesses that write data"),
    scalar!(instructions, Count, Program, "instructions executed"),
    scalar!(flops, Count, Program, "floating-point operations"),
    scalar!(dram_read_bytes, Bytes, Dram, "bytes read from DRAM"),
    scalar!(dram_write_bytes, Bytes, Dram, "bytes written to DRAM"),
    scalar!(row_hits, Count, Dram, "DRAM requests that found their row open"),
    scalar!(
        row_conflicts,
        Count,
        Dram,
        "DRAM requests that found another row open"
    ),
    scalar!(
        est_cycles,
        Cycles,
        Caches,
        "estimated core cycles: issue and stalls"
    ),
    scalar!(
        energy_nj,
        Nanojoules,
        Caches,
        "energy of the accesses in caches, link and DRAM, in nanojoules"
    ),
    scalar!(
        row_misses,
        Count,
        Dram,
        "DRAM requests that found their bank closed"
    ),
    scalar!(access_bytes, Bytes, Program, "bytes of the data accesses"),
    scalar!(
        fetches,
        Count,
        Program,
        "basic blocks executed, one instruction fetch each"
    ),
    scalar!(
        base_cycles,
        Cycles,
        Caches,
        "estimated cycles of issuing instructions at full width"
    ),
    scalar!(
        dram_latency_cycles,
        Cycles,
        Dram,
        "estimated stall cycles for the latency of DRAM"
    ),
    scalar!(
        dram_bandwidth_cycles,
        Cycles,
        Dram,
        "estimated stall cycles because the bandwidth of DRAM is used up"
    ),
];

/// Position of a scalar in [`SCALARS`], at compile time.
const fn position(name: &str) -> usize {
    let mut index = 0;
    while index < SCALARS.len() {
        let (a, b) = (SCALARS[index].name.as_bytes(), name.as_bytes());
        let mut equal = a.len() == b.len();
        let mut byte = 0;
        while equal && byte < a.len() {
            equal = a[byte] == b[byte];
            byte += 1;
        }
        if equal {
            return index;
        }
        index += 1;
    }
    panic!("no such measure")
}

/// What is counted of one of several memories.
#[derive(Debug)]
pub(crate) struct TierField {
    /// Its name, behind that of the memory.
    pub name: &'static str,
    unit: Unit,
    meaning: &'static str,
    /// Its value.
    pub get: fn(&DramCounters) -> u64,
}

macro_rules! tier_field {
    ($name:ident, $unit:ident, $meaning:literal, $get:expr) => {
        TierField {
            name: stringify!($name),
            unit: Unit::$unit,
            meaning: $meaning,
            get: $get,
        }
    };
}

/// Everything that is counted of each of several memories.
pub(crate) static TIER_FIELDS: &[TierField] = &[
    tier_field!(read_bytes, Bytes, "bytes read", |dram| dram.read_bytes),
    tier_field!(write_bytes, Bytes, "bytes written", |dram| dram.write_bytes),
    tier_field!(
        read_latency_ns,
        Nanoseconds,
        "latency of all reads together, from the core and back, without load",
        |dram| (dram.read_latency_ps + dram.outside_ps).div_ceil(1000)
    ),
    tier_field!(
        migrated_in_bytes,
        Bytes,
        "bytes written, of pages that moved there",
        |dram| dram.migrated_in_bytes
    ),
    tier_field!(
        migrated_out_bytes,
        Bytes,
        "bytes read, of pages that moved away",
        |dram| dram.migrated_out_bytes
    ),
];

/// A column of numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measure {
    /// One that does not depend on the levels, by its position in the table.
    #[doc(hidden)]
    Scalar(usize),
    /// Times that threads entered operators.
    Calls,
    /// Distinct bytes touched, in whole lines.
    Footprint,
    /// Line accesses that reached a level.
    LineAccesses(usize),
    /// Misses of a level.
    Misses(usize),
    /// Writebacks of a level.
    Writebacks(usize),
    /// What translation counts.
    Translation {
        /// Position in `TranslationCounters::FIELDS`.
        field: usize,
        /// Position in [`Measures::details`].
        position: usize,
    },
    /// Cycles spent waiting for a level.
    StallCycles(usize),
    /// What one of several memories counts.
    Tier {
        /// The memory.
        tier: usize,
        /// Position in [`TIER_FIELDS`].
        field: usize,
        /// Position in [`Measures::details`].
        position: usize,
    },
    /// What else a level counts.
    Detail {
        /// The level.
        level: usize,
        /// Position in `LevelDetail::FIELDS`.
        field: usize,
        /// Position in [`Measures::details`].
        position: usize,
    },
}

impl Measure {
    /// Bytes read from DRAM.
    pub const DRAM_READ: Self = Self::Scalar(position("dram_read_bytes"));
    /// Bytes written to DRAM.
    pub const DRAM_WRITE: Self = Self::Scalar(position("dram_write_bytes"));
    /// Data accesses.
    pub const ACCESSES: Self = Self::Scalar(position("accesses"));
    /// Instructions executed.
    pub const INSTRUCTIONS: Self = Self::Scalar(position("instructions"));
    /// Floating-point operations.
    pub const FLOPS: Self = Self::Scalar(position("flops"));
    /// Bytes of the data accesses.
    pub const ACCESS_BYTES: Self = Self::Scalar(position("access_bytes"));
    /// DRAM requests that found their row open.
    pub const ROW_HITS: Self = Self::Scalar(position("row_hits"));
    /// DRAM requests that found their bank closed.
    pub const ROW_MISSES: Self = Self::Scalar(position("row_misses"));
    /// DRAM requests that found another row open.
    pub const ROW_CONFLICTS: Self = Self::Scalar(position("row_conflicts"));
    /// Energy of the accesses.
    pub const ENERGY: Self = Self::Scalar(position("energy_nj"));
    /// Estimated cycles.
    pub const EST_CYCLES: Self = Self::Scalar(position("est_cycles"));
    /// Of these, instructions at full issue width.
    pub const BASE_CYCLES: Self = Self::Scalar(position("base_cycles"));
    /// Of these, stalls for the latency of DRAM.
    pub const DRAM_LATENCY_CYCLES: Self = Self::Scalar(position("dram_latency_cycles"));
    /// Of these, stalls for the bandwidth of DRAM.
    pub const DRAM_BANDWIDTH_CYCLES: Self = Self::Scalar(position("dram_bandwidth_cycles"));

    /// Every measure of the machine of a run, in the order of tables. Details that this version does not know are left
    /// out.
    pub(super) fn all(summary: &Summary) -> Vec<Self> {
        let levels = summary.levels.len();
        let tiers = summary.tiers.len();
        let known = |(position, (level, name)): (usize, &(usize, String))| {
            if *level == levels {
                let field = TranslationCounters::FIELDS
                    .iter()
                    .position(|field| field.name == name)?;
                return Some(Self::Translation { field, position });
            }
            if let Some(tier) = level.checked_sub(levels + 1) {
                let field = TIER_FIELDS.iter().position(|field| field.name == name)?;
                return (tier < tiers).then_some(Self::Tier {
                    tier,
                    field,
                    position,
                });
            }
            let field = LevelDetail::FIELDS.iter().position(|field| field.name == name)?;
            (*level < levels).then_some(Self::Detail {
                level: *level,
                field,
                position,
            })
        };
        let scalars = |range: std::ops::Range<usize>| {
            range.map(Self::Scalar).filter(move |measure| match measure {
                Self::Scalar(index) => match SCALARS[*index].needs {
                    Needs::Program => true,
                    Needs::Caches => levels > 0,
                    Needs::Dram => summary.dram,
                },
                _ => true,
            })
        };
        let memory = position("dram_read_bytes");
        scalars(0..memory)
            .chain([Self::Footprint])
            .chain((0..levels).map(Self::Misses))
            .chain(scalars(memory..SCALARS.len()))
            .chain((0..levels).map(Self::LineAccesses))
            .chain((0..levels).map(Self::Writebacks))
            .chain((0..levels).map(Self::StallCycles))
            .chain(summary.details.iter().enumerate().filter_map(known))
            .collect()
    }

    /// The column's name in every table and format.
    #[must_use]
    pub fn name(self, summary: &Summary) -> String {
        let levels = &summary.levels;
        match self {
            Self::Scalar(index) => SCALARS[index].name.to_owned(),
            Self::Calls => "calls".to_owned(),
            Self::Footprint => "footprint_bytes".to_owned(),
            Self::LineAccesses(level) => format!("{}_accesses", levels[level]),
            Self::Misses(level) => format!("{}_misses", levels[level]),
            Self::Writebacks(level) => format!("{}_writebacks", levels[level]),
            Self::Translation { field, .. } => TranslationCounters::FIELDS[field].name.to_owned(),
            Self::StallCycles(level) => format!("{}_stall_cycles", levels[level]),
            Self::Tier { tier, field, .. } => {
                format!("{}_{}", summary.tiers[tier], TIER_FIELDS[field].name)
            }
            Self::Detail { level, field, .. } => {
                format!("{}_{}", levels[level], LevelDetail::FIELDS[field].name)
            }
        }
    }

    /// What it means, for people.
    #[must_use]
    pub fn meaning(self, summary: &Summary) -> String {
        let levels = &summary.levels;
        match self {
            Self::Scalar(index) => SCALARS[index].meaning.to_owned(),
            Self::Calls => "times that threads entered operators".to_owned(),
            Self::Footprint => format!("distinct bytes touched, in {FOOTPRINT_LINE_BYTES}-byte lines"),
            Self::LineAccesses(level) => {
                format!("line accesses that reached {}", levels[level].to_uppercase())
            }
            Self::Misses(level) => format!("line accesses that missed in {}", levels[level].to_uppercase()),
            Self::Writebacks(level) => format!("dirty lines that {} sent down", levels[level].to_uppercase()),
            Self::Translation { field, .. } => {
                TranslationCounters::FIELDS[field].meaning.trim_start().to_owned()
            }
            Self::Tier { tier, field, .. } => {
                format!("memory {}: {}", summary.tiers[tier], TIER_FIELDS[field].meaning)
            }
            Self::StallCycles(level) => {
                format!(
                    "estimated stall cycles for what {} answered",
                    levels[level].to_uppercase()
                )
            }
            Self::Detail { level, field, .. } => {
                let meaning = LevelDetail::FIELDS[field].meaning.trim_start();
                format!("{}: {meaning}", levels[level].to_uppercase())
            }
        }
    }

    /// Whether it is what `field` counts of this memory.
    pub(crate) fn is_of_tier(self, wanted: usize, field: &str) -> bool {
        matches!(self, Self::Tier { tier, field: position, .. } if tier == wanted && TIER_FIELDS[position].name == field)
    }

    /// Its unit.
    #[must_use]
    pub fn unit(self) -> Unit {
        match self {
            Self::Scalar(index) => SCALARS[index].unit,
            Self::Footprint => Unit::Bytes,
            Self::StallCycles(_) => Unit::Cycles,
            Self::Tier { field, .. } => TIER_FIELDS[field].unit,
            Self::Calls
            | Self::LineAccesses(_)
            | Self::Misses(_)
            | Self::Writebacks(_)
            | Self::Translation { .. }
            | Self::Detail { .. } => Unit::Count,
        }
    }

    /// Its value for counts and the number of distinct lines.
    #[must_use]
    pub fn value(self, measures: &Measures, lines: u64) -> u64 {
        match self {
            Self::Scalar(index) => (SCALARS[index].get)(measures),
            Self::Calls => measures.calls,
            Self::Footprint => lines * FOOTPRINT_LINE_BYTES,
            Self::LineAccesses(level) => measures.levels[level].line_accesses,
            Self::Misses(level) => measures.levels[level].misses,
            Self::Writebacks(level) => measures.levels[level].writebacks,
            Self::StallCycles(level) => measures.levels[level].stall_cycles,
            Self::Translation { position, .. }
            | Self::Tier { position, .. }
            | Self::Detail { position, .. } => measures.details.get(position).copied().unwrap_or(0),
        }
    }

    /// Where its value is kept, for those that are kept.
    pub(crate) fn value_mut(self, measures: &mut Measures) -> Option<&mut u64> {
        match self {
            Self::Scalar(index) => Some((SCALARS[index].get_mut)(measures)),
            Self::Calls | Self::Footprint => None,
            Self::LineAccesses(level) => Some(&mut measures.levels[level].line_accesses),
            Self::Misses(level) => Some(&mut measures.levels[level].misses),
            Self::Writebacks(level) => Some(&mut measures.levels[level].writebacks),
            Self::StallCycles(level) => Some(&mut measures.levels[level].stall_cycles),
            Self::Translation { position, .. }
            | Self::Tier { position, .. }
            | Self::Detail { position, .. } => {
                let least = measures.details.len().max(position + 1);
                measures.details.resize(least, 0);
                measures.details.get_mut(position)
            }
        }
    }
}
