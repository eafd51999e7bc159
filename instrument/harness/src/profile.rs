//! A finished profile: the results of one run, as a star schema.
//!
//! One fact table, [`Traffic`], has a row for each (context, site, object) that occurred; three dimension tables say what
//! these are. Whatever a report groups by is a function of a row's dimensions, so every grouping adds up exactly to the
//! totals. Footprints don't add up (two operators may touch one line), so each row carries the set of lines it touched
//! and a grouping takes unions: they are exact too.
//!
//! On disk a profile is a folder: `profile.json` ([`Summary`]) and one Parquet file per table, which pandas, polars and
//! DuckDB read directly. See [`Destination`] for how it gets there.

mod destination;
mod error;
mod estimate;
mod layout;
mod locality;
mod measures;
pub(crate) mod parquet;
mod sum;
mod summary;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

pub use destination::Destination;
pub use error::ProfileError;
pub use estimate::Estimate;
pub use locality::{LocalityCount, LocalitySummary, Quantity};
pub(crate) use locality::{LocalitySum, counts_of_group, counts_of_scores, counts_of_strides};
pub(crate) use measures::TIER_FIELDS;
pub use measures::{LevelCounts, Measure, Measures, Unit};
use memloupe_attribute::{LineSet, LineUnion};
use rustc_hash::FxHashMap;
pub(crate) use sum::Sum;
pub use summary::{Attribution, MemoryWear, Observed, SCHEMA_VERSION, Sampling, Summary};

/// Bytes of the lines counted in footprints.
pub const FOOTPRINT_LINE_BYTES: u64 = 64;
/// Name of the summary in a profile folder; a folder without it is no profile.
pub const SUMMARY_FILE: &str = "profile.json";
/// Name of the page in a profile folder.
pub const PAGE_FILE: &str = "report.html";
/// Name of the folder in a profile folder that holds the profiles of further machines.
pub const MACHINES_FOLDER: &str = "machines";

/// Where, in the profile folder of a run of several machines, the profile of one that was not the first is.
#[must_use]
pub fn machine_folder(name: &str) -> PathBuf {
    let plain = |c: char| {
        if c.is_alphanumeric() || "-_+".contains(c) {
            c
        } else {
            '-'
        }
    };
    Path::new(MACHINES_FOLDER).join(name.chars().map(plain).collect::<String>())
}

/// Who executed: a thread, in a phase, in an operator.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Context {
    /// Thread number, in order of their starts.
    pub thread: u32,
    /// Name of the phase ("prefill", "decode"…).
    pub phase: String,
    /// Number of the phase among those of its name, if they are numbered; from 16 on, the first of the octave that it stands for.
    pub phase_index: Option<u32>,
    /// Operator kind ("MUL_MAT"); empty outside operators.
    pub kind: String,
    /// The operator's own name ("ffn_up-7").
    pub operator: String,
    /// Layer ("blk.7"); empty if the operator belongs to none.
    pub layer: String,
    /// Shapes of result and operands.
    pub shape: String,
    /// Element type of the first operand.
    pub element_type: String,
    /// Times that the thread entered the operator.
    pub calls: u64,
    /// Place in [`Profile::paths`] of the calls that led there, if these were followed.
    pub path: Option<u32>,
    /// In a sampled run, for an observed instance: its place in [`Profile::strata`].
    pub stratum: Option<u32>,
    /// And its number in the series that the stratum is a stretch of.
    pub instance: Option<u32>,
}

/// A call that has not returned: the last one of a path. Calls that one function makes of the same path are one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct CallPath {
    /// Place of the path that led to the calling function, which comes earlier; none at a thread's beginning.
    pub before: Option<u32>,
    /// The calling function; with what was inlined into it on the way to the call: "outer;inner".
    pub function: String,
    /// Its executable or library.
    pub module: String,
}

/// Like instances of an operator in one stretch of a sampled run: those that were observed stand for all.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Stratum {
    /// Thread number.
    pub thread: u32,
    /// Name of the phase.
    pub phase: String,
    /// Operator kind.
    pub kind: String,
    /// The operator's name without digits.
    pub operator: String,
    /// Shape of the result.
    pub shape: String,
    /// Element type of the result.
    pub element_type: String,
    /// Bytes of the weights that an instance reads.
    pub weight_bytes: u64,
    /// Number of the first instance in its series.
    pub first: u64,
    /// Instances that ran.
    pub instances: u64,
    /// Of these, those that were observed.
    pub observed: u64,
    /// Number *i* of the series, if observed, stands for 1 + `trend` · (*i* - `centre`) times as many instances as the mean
    /// of the stratum's observed ones.
    pub trend: f64,
    /// See `trend`.
    pub centre: f64,
}

impl estimate::Counts for Stratum {
    fn instances(&self) -> u64 {
        self.instances
    }

    fn observed(&self) -> u64 {
        self.observed
    }
}

/// A static memory operand, or the instruction fetch of a basic block.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Site {
    /// Executable or library.
    pub module: String,
    /// Innermost function, demangled.
    pub function: String,
    /// Source file; empty without debug information.
    pub file: String,
    /// Source line; 0 without debug information.
    pub line: u32,
    /// Inlining, innermost first: "a < b < c"; empty where nothing was inlined.
    pub inlined: String,
    /// Offset of the instruction in the module, or its address where there is no module.
    pub ip: u64,
    /// What it does: the name of its access kind ("load", "store", …, "fetch").
    pub kind: String,
    /// Bytes of one access.
    pub bytes: u32,
}

/// A named range of memory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Object {
    /// Its name; empty if no rule names it.
    pub name: String,
    /// What it is for ("weight", "kv-cache", …, "other").
    pub class: String,
    /// Its size; for several allocations of one name, the most that were live at once.
    pub bytes: u64,
    /// Times that it was allocated or mapped.
    pub allocations: u64,
    /// Where it comes from: allocation stack, file, or empty.
    pub origin: String,
}

impl Object {
    /// Whether it has an identity that its owner would recognise.
    #[must_use]
    pub fn is_named(&self) -> bool {
        !self.name.is_empty() && self.class != "other"
    }
}

/// What one site did to one object in one context.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Traffic {
    /// Index in [`Profile::contexts`].
    pub context: u32,
    /// Index in [`Profile::sites`].
    pub site: u32,
    /// Index in [`Profile::objects`].
    pub object: u32,
    /// How much.
    pub measures: Measures,
    /// Numbers (address / 64) of the lines touched.
    pub lines: LineSet,
}

/// A stretch of the run, for the timeline.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TimelineBin {
    /// Phase in which it begins.
    pub phase: String,
    /// Number of the phase, if numbered.
    pub phase_index: Option<u32>,
    /// Instructions executed before it, over all threads.
    pub instructions_from: u64,
    /// Instructions in it.
    pub instructions: u64,
    /// Data accesses in it.
    pub accesses: u64,
    /// Misses of each level, in the order of [`Summary::levels`].
    pub misses: Vec<u64>,
    /// Bytes read from DRAM.
    pub dram_read_bytes: u64,
    /// Bytes written to DRAM.
    pub dram_write_bytes: u64,
}

/// The results of one run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Profile {
    /// What was run, how, and what was not seen.
    pub summary: Summary,
    /// Who executed.
    pub contexts: Vec<Context>,
    /// Calls that led to contexts, each behind the one before it; empty if calls were not followed.
    pub paths: Vec<CallPath>,
    /// Static memory operands.
    pub sites: Vec<Site>,
    /// Data objects.
    pub objects: Vec<Object>,
    /// The facts.
    pub traffic: Vec<Traffic>,
    /// What a sampled run's observed instances stand for; empty if the run was not sampled.
    pub strata: Vec<Stratum>,
    /// The run as a sequence of stretches.
    pub timeline: Vec<TimelineBin>,
    /// How lines are used again, if that was measured.
    pub locality: Vec<LocalityCount>,
}

impl Profile {
    /// Completes a profile: compacts the line sets and computes the summary's totals and attribution from the rows.
    #[must_use]
    pub fn seal(mut self) -> Self {
        for row in &mut self.traffic {
            row.lines.compact();
            row.measures
                .levels
                .resize(self.summary.levels.len(), LevelCounts::default());
        }
        for bin in &mut self.timeline {
            bin.misses.resize(self.summary.levels.len(), 0);
        }
        self.summary.totals = self.sum_by_column();
        self.summary.attribution = Attribution::of(&self);
        self.estimate();
        self
    }

    /// The traffic with all sites as one: a small part of the rows, for questions that no site matters to. Without timeline and
    /// locality.
    #[must_use]
    pub fn without_sites(&self) -> Self {
        let levels = self.summary.levels.len();
        let mut places: FxHashMap<(u32, u32), usize> = FxHashMap::default();
        let mut rows: Vec<(Traffic, LineUnion)> = Vec::new();
        for row in &self.traffic {
            let place = *places.entry((row.context, row.object)).or_insert_with(|| {
                let empty = Traffic {
                    context: row.context,
                    object: row.object,
                    measures: Measures::new(levels),
                    ..Traffic::default()
                };
                rows.push((empty, LineUnion::default()));
                rows.len() - 1
            });
            let (sum, lines) = &mut rows[place];
            sum.measures += &row.measures;
            lines.add(&row.lines);
        }
        let united = |(sum, lines): (Traffic, LineUnion)| Traffic {
            lines: lines.into_set(),
            ..sum
        };
        Self {
            summary: self.summary.clone(),
            contexts: self.contexts.clone(),
            paths: self.paths.clone(),
            sites: vec![Site::default()],
            objects: self.objects.clone(),
            traffic: rows.into_iter().map(united).collect(),
            strata: self.strata.clone(),
            timeline: Vec::new(),
            locality: Vec::new(),
        }
    }

    /// What a sample says of the whole run.
    fn estimate(&mut self) {
        let mut sum = Sum::new(self.summary.levels.len());
        for row in &self.traffic {
            sum.add(&self.contexts[row.context as usize], &row.measures);
        }
        // A union can't be estimated from parts of it.
        let measures = self.summary.measures().into_iter();
        let estimates = measures
            .filter(|measure| *measure != Measure::Footprint)
            .map(|measure| (measure.name(&self.summary), sum.estimate(measure, &self.strata)))
            .collect();
        if let Some(sampling) = &mut self.summary.sampling {
            let strata = &self.strata;
            sampling.instances = strata.iter().map(|stratum| stratum.instances).sum();
            sampling.observed_instances = strata.iter().map(|stratum| stratum.observed).sum();
            sampling.strata = strata.len() as u64;
            let series = strata.chunk_by(|_, next| next.first > 0);
            sampling.open_strata = series
                .filter(|strata| estimate::collapsed(strata).count() == 1)
                .count() as u64;
            sampling.estimates = estimates;
        }
    }

    /// Sums over all rows, and the union of their lines, by column name.
    fn sum_by_column(&self) -> BTreeMap<String, u64> {
        let mut measures = Measures::new(self.summary.levels.len());
        let mut union = LineUnion::default();
        for row in &self.traffic {
            measures += &row.measures;
            union.add(&row.lines);
        }
        let lines = union.settle();
        let value = |measure: &Measure| (measure.name(&self.summary), measure.value(&measures, lines));
        self.summary.measures().iter().map(value).collect()
    }

    /// Reads a profile folder.
    ///
    /// # Errors
    ///
    /// If there is none, or it is damaged, or a newer memloupe wrote it.
    pub fn read(folder: &Path) -> Result<Self, ProfileError> {
        layout::read(folder)
    }

    /// Reads the profile of one machine from the folder of a run that simulated several.
    ///
    /// # Errors
    ///
    /// If the run did not simulate it, and as [`Profile::read`].
    pub fn read_machine(folder: &Path, name: &str) -> Result<Self, ProfileError> {
        let first = Self::read(folder)?;
        let known = first.summary.simulated();
        match known.iter().position(|machine| machine == name) {
            Some(0) => Ok(first),
            Some(_) => Self::read(&folder.join(machine_folder(name))),
            None => Err(ProfileError::NoSuchMachine {
                folder: folder.to_owned(),
                name: name.to_owned(),
                known,
            }),
        }
    }

    /// Reads the profiles of all machines that a run simulated.
    ///
    /// # Errors
    ///
    /// As [`Profile::read`].
    pub fn read_machines(folder: &Path) -> Result<Vec<Self>, ProfileError> {
        let first = Self::read(folder)?;
        let others = first.summary.simulated().into_iter().skip(1);
        let others: Vec<Self> = others
            .map(|name| Self::read(&folder.join(machine_folder(&name))))
            .collect::<Result<_, _>>()?;
        Ok(std::iter::once(first).chain(others).collect())
    }
}
