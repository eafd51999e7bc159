//! The summary of a run: what was run, how, the totals, and what was not seen.

use std::collections::{BTreeMap, HashSet};

use memloupe_attribute::{LOAD_PHASE, OTHER_PHASE};
use serde::{Deserialize, Serialize};

use super::{Estimate, LocalitySummary, Measure, Profile};

/// Version of the folder's layout. It grows when an older reader would misread a newer profile.
pub const SCHEMA_VERSION: u32 = 1;

/// `profile.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Summary {
    /// Version of the folder's layout.
    pub schema_version: u32,
    /// Version of the memloupe that wrote it.
    pub memloupe_version: String,
    /// The program and its arguments.
    pub command: Vec<String>,
    /// The file that was run.
    pub executable: String,
    /// How the program exited; none if a signal ended it.
    pub exit_status: Option<i32>,
    /// The signal that ended the program, if one did.
    pub exit_signal: Option<i32>,
    /// Whether the whole run was captured.
    pub complete: bool,
    /// If not, why.
    pub incomplete_reason: Option<String>,
    /// The capture engine.
    pub engine: String,
    /// The machine that was simulated, every value resolved; null if none.
    pub machine: serde_json::Value,
    /// Names of all machines that were simulated in this run, if there were several.
    pub machines: Vec<String>,
    /// Names of the cache levels, nearest first ("l1d", "l1i", "l2", "l3").
    pub levels: Vec<String>,
    /// Names of the memories, nearest first, if there are several.
    pub tiers: Vec<String>,
    /// Of each memory whose cells wear out: what was written to it.
    pub wear: Vec<MemoryWear>,
    /// What translation, several memories, and levels beyond plain caches count besides: position of the level, or the
    /// number of levels for translation, or beyond it that of the memory, and name of the counter. Those that are zero
    /// in the whole run are left out.
    pub details: Vec<(usize, String)>,
    /// Whether DRAM was simulated.
    pub dram: bool,
    /// Bytes of a cache line of that machine.
    pub line_bytes: u32,
    /// Sums over all rows, by column name. Computed by [`Profile::seal`].
    pub totals: BTreeMap<String, u64>,
    /// How much has a name. Computed by [`Profile::seal`].
    pub attribution: Attribution,
    /// Accesses that the capture engine had to drop.
    pub lost_accesses: u64,
    /// Instructions that ran unobserved.
    pub unobserved_instructions: u64,
    /// System calls.
    pub syscalls: u64,
    /// Bytes of the program's memory that the kernel read (not simulated).
    pub kernel_read_bytes: u64,
    /// Bytes of the program's memory that the kernel wrote (not simulated).
    pub kernel_written_bytes: u64,
    /// Child processes that ran unobserved.
    pub unobserved_processes: u64,
    /// Threads seen.
    pub threads: u32,
    /// Duration of the run under memloupe.
    pub wall_seconds: f64,
    /// When it began (RFC 3339).
    pub started: String,
    /// Where it ran.
    pub host: String,
    /// Dirty lines still in the caches at the end: not yet counted as DRAM writes.
    pub dirty_lines_at_end: u64,
    /// Whether the stream was dropped undecoded (`--discard`): there are no tables and no totals then.
    pub discarded: bool,
    /// Bytes of the access stream that the engine wrote.
    pub stream_bytes: u64,
    /// Bytes of code that the engine has made of the program's; 0 if it does not tell.
    pub translated_bytes: u64,
    /// Whether calls were followed: contexts have paths.
    pub call_paths: bool,
    /// What was measured of locality; null if nothing was.
    pub locality: Option<LocalitySummary>,
    /// The part of the run that was looked at; none if it was all of it.
    pub region: Option<Observed>,
    /// How the run was sampled; none if everything was observed. The totals above are then those of the observed
    /// instances, and the estimates here those of the run.
    pub sampling: Option<Sampling>,
    /// What a reader of the numbers should know.
    pub notes: Vec<String>,
}

/// What a run wrote to a memory whose cells wear out, and how long they last if it goes on like that.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct MemoryWear {
    /// The memory's name.
    pub memory: String,
    /// Its technology.
    pub technology: String,
    /// Writes that a cell stands.
    pub endurance: f64,
    /// Writes of all lines, or of all pages where those are written as a whole.
    pub writes: u64,
    /// Bytes of a line or page.
    pub unit_bytes: u64,
    /// Writes of the one that was written most.
    pub most_writes: u64,
    /// Estimated duration of the run on its machine: of the thread that took longest.
    pub seconds: f64,
    /// Until the most written one is worn out, without wear levelling; null if nothing was written.
    pub wear_s: Option<f64>,
    /// Until all are, if writes are spread evenly over the whole memory.
    pub levelled_wear_s: Option<f64>,
}

impl Default for Summary {
    fn default() -> Self {
        Self {
            schema_version: SCHEMA_VERSION,
            memloupe_version: env!("CARGO_PKG_VERSION").to_owned(),
            command: Vec::new(),
            executable: String::new(),
            exit_status: None,
            exit_signal: None,
            complete: false,
            incomplete_reason: None,
            engine: String::new(),
            machine: serde_json::Value::Null,
            machines: Vec::new(),
            levels: Vec::new(),
            tiers: Vec::new(),
            wear: Vec::new(),
            details: Vec::new(),
            dram: false,
            line_bytes: 64,
            totals: BTreeMap::new(),
            attribution: Attribution::default(),
            lost_accesses: 0,
            unobserved_instructions: 0,
            syscalls: 0,
            kernel_read_bytes: 0,
            kernel_written_bytes: 0,
            unobserved_processes: 0,
            threads: 0,
            wall_seconds: 0.0,
            started: String::new(),
            host: String::new(),
            dirty_lines_at_end: 0,
            discarded: false,
            stream_bytes: 0,
            translated_bytes: 0,
            call_paths: false,
            locality: None,
            region: None,
            sampling: None,
            notes: Vec::new(),
        }
    }
}

impl Summary {
    /// The columns that this profile has, in the order of tables.
    #[must_use]
    pub fn measures(&self) -> Vec<Measure> {
        Measure::all(self)
    }

    /// A total by its column name; 0 if the machine lacks it.
    #[must_use]
    pub fn total(&self, name: &str) -> u64 {
        self.totals.get(name).copied().unwrap_or(0)
    }

    /// How the program ended: "exit status 0", "signal 9".
    #[must_use]
    pub fn ending(&self) -> String {
        match (self.exit_status, self.exit_signal) {
            (Some(status), _) => format!("exit status {status}"),
            (None, Some(signal)) => format!("signal {signal}"),
            (None, None) => "unknown ending".to_owned(),
        }
    }

    /// Name of the machine that was simulated.
    #[must_use]
    pub fn machine_name(&self) -> &str {
        self.machine
            .get("name")
            .and_then(serde_json::Value::as_str)
            .unwrap_or("none")
    }

    /// Names of the machines that were simulated in this run.
    #[must_use]
    pub fn simulated(&self) -> Vec<String> {
        if self.machines.is_empty() {
            vec![self.machine_name().to_owned()]
        } else {
            self.machines.clone()
        }
    }

    /// What a reader must know to trust the numbers: what is missing from them, one sentence each.
    #[must_use]
    pub fn caveats(&self) -> Vec<String> {
        let mut lines = Vec::new();
        if !self.complete {
            let reason = self
                .incomplete_reason
                .as_deref()
                .unwrap_or("the end of the run was not seen");
            lines.push(format!(
                "INCOMPLETE: {reason}. The numbers cover what was captured until then."
            ));
        }
        if let Some(region) = &self.region {
            lines.push(region.caveat());
        }
        if let Some(sampling) = &self.sampling {
            lines.push(sampling.caveat());
        }
        for (count, what) in [
            (self.lost_accesses, "accesses were lost by the capture engine"),
            (self.unobserved_instructions, "instructions ran unobserved"),
            (self.unobserved_processes, "child processes ran unobserved"),
        ] {
            if count > 0 {
                lines.push(format!("{count} {what}: they are in none of these numbers."));
            }
        }
        lines.extend(self.notes.iter().cloned());
        lines
    }
}

/// How a run was sampled (`--sample`), and what follows for all of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Sampling {
    /// The rule.
    pub rule: String,
    /// Instances of operators that ran; as many bursts as make the run.
    pub instances: u64,
    /// Of these, those that were observed.
    pub observed_instances: u64,
    /// Those that only warmed the caches: bursts by their accesses, operators by the lines that they touch.
    pub warm_up_instances: u64,
    /// Groups of like instances in a stretch of the run.
    pub strata: u64,
    /// Of these, those with too few observations to tell their spread: figures that they take part in have no interval.
    pub open_strata: u64,
    /// Estimates for the whole run by column name. Computed by [`Profile::seal`].
    pub estimates: BTreeMap<String, Estimate>,
}

impl Sampling {
    fn is_of_bursts(&self) -> bool {
        self.rule.contains('/')
    }

    fn caveat(&self) -> String {
        let mut text = format!(
            "SAMPLED {}: {} of {} {} were observed ({} more warmed the caches). Figures are estimates; ± is \
             half their 95% interval. Footprints are of what was observed, the timeline is of what was simulated.{}",
            self.rule,
            self.observed_instances,
            self.instances,
            if self.is_of_bursts() {
                "bursts"
            } else {
                "operator instances"
            },
            self.warm_up_instances,
            if self.is_of_bursts() {
                ""
            } else {
                " What lies outside operators, such as loading a model, was not observed."
            }
        );
        if self.open_strata > 0 {
            text += &format!(
                " {} of {} strata have too few observations: what they take part in has no interval (±?).",
                self.open_strata, self.strata
            );
        }
        text
    }
}

/// The part of a run that was looked at (`--region`, `--after`, `--for`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Observed {
    /// The region; none: everything, within the bounds.
    pub name: Option<String>,
    /// How much of the run came before.
    pub after: Option<String>,
    /// How long it was at most.
    #[serde(rename = "for")]
    pub length: Option<String>,
    /// Instances of the region that began, on all threads; without a region, of operators.
    pub instances: u64,
    /// Those that were captured.
    pub captured_instances: u64,
}

impl Observed {
    fn caveat(&self) -> String {
        let mut what = match &self.name {
            Some(name) => format!("region {name}"),
            None => "a part of the run".to_owned(),
        };
        if let Some(after) = &self.after {
            what += &format!(" after {after}");
        }
        if let Some(length) = &self.length {
            what += &format!(" for {length}");
        }
        let of = if self.name.is_some() { "" } else { "operator " };
        format!(
            "ONLY {what}: captured {} of {} {of}instances. Outside, nothing was observed.",
            self.captured_instances, self.instances
        )
    }
}

/// How much of the traffic has a name. Counts, so that ratios can be formed for any sum of profiles.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Attribution {
    /// Data accesses of compute threads (those that execute operators in a phase) in the phases that the target
    /// announced: prefill, decode… Where it announced none, in the whole run.
    pub compute_accesses: u64,
    /// Of these, those inside a named operator.
    pub operator_accesses: u64,
    /// DRAM bytes, both directions.
    pub dram_bytes: u64,
    /// Of these, those of a named object.
    pub object_dram_bytes: u64,
    /// Data accesses.
    pub accesses: u64,
    /// Of these, those with a source line.
    pub line_accesses: u64,
}

impl Attribution {
    pub(super) fn of(profile: &Profile) -> Self {
        let announced =
            |context: &&super::Context| context.phase != LOAD_PHASE && context.phase != OTHER_PHASE;
        let any = profile.contexts.iter().any(|context| announced(&context));
        let counts = |context: &&super::Context| !any || announced(context);
        let threads: HashSet<u32> = profile
            .contexts
            .iter()
            .filter(counts)
            .filter(|context| !context.kind.is_empty())
            .map(|context| context.thread)
            .collect();
        let computes: Vec<bool> = profile
            .contexts
            .iter()
            .map(|context| counts(&context) && threads.contains(&context.thread))
            .collect();
        let mut sums = Self::default();
        for row in &profile.traffic {
            let context = row.context as usize;
            let accesses = row.measures.accesses;
            sums.accesses += accesses;
            if computes[context] {
                sums.compute_accesses += accesses;
                if !profile.contexts[context].kind.is_empty() {
                    sums.operator_accesses += accesses;
                }
            }
            if profile.sites[row.site as usize].line > 0 {
                sums.line_accesses += accesses;
            }
            sums.dram_bytes += row.measures.dram_bytes();
            if profile.objects[row.object as usize].is_named() {
                sums.object_dram_bytes += row.measures.dram_bytes();
            }
        }
        sums
    }

    /// Fraction of the compute threads' accesses that are inside a named operator; none without operators.
    #[must_use]
    pub fn operator_fraction(&self) -> Option<f64> {
        fraction(self.operator_accesses, self.compute_accesses)
    }

    /// Fraction of the DRAM bytes that belong to a named object; none without DRAM traffic.
    #[must_use]
    pub fn object_fraction(&self) -> Option<f64> {
        fraction(self.object_dram_bytes, self.dram_bytes)
    }

    /// Fraction of the data accesses that have a source line; none without accesses.
    #[must_use]
    pub fn line_fraction(&self) -> Option<f64> {
        fraction(self.line_accesses, self.accesses)
    }
}

fn fraction(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}
