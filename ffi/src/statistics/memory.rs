//! A memory's counters: one table makes the JSON, the list and the look-up by name.

use std::ffi::CStr;

use memloupe_hierarchy::dram::{Command, Energy, RowOutcome, Statistics};
use memloupe_hierarchy::timed::{MemoryPart, RequestKind, TagCounts, TimedMemory};
use serde_json::{Map, Value, json};

/// What the fields are taken from.
pub(crate) struct Snapshot<'a> {
    memory: &'a TimedMemory,
    totals: TagCounts,
    device: Statistics,
    energy: Option<Energy>,
}

impl<'a> Snapshot<'a> {
    fn new(memory: &'a TimedMemory) -> Self {
        Self {
            totals: memory.totals(),
            device: memory.parts().fold(Statistics::default(), |mut sum, part| {
                sum.merge(&part.statistics());
                sum
            }),
            energy: memory.energy(),
            memory,
        }
    }

    fn commands(&self, command: Command) -> f64 {
        self.device.commands.get(command as usize).copied().unwrap_or(0) as f64
    }

    /// Of several memories there is none: they count in ticks of their own.
    fn latency_ns(&self, quantile: f64) -> f64 {
        let ticks = self.device.read_latency.quantile(quantile);
        ticks
            .zip(self.memory.device())
            .map_or(f64::NAN, |(ticks, device)| device.picoseconds(ticks) / 1000.0)
    }

    fn energy_pj(&self, part: fn(&Energy) -> f64) -> f64 {
        self.energy.as_ref().map_or(f64::NAN, part)
    }
}

/// One number.
pub(crate) struct Field {
    pub(crate) name: &'static CStr,
    pub(crate) unit: &'static CStr,
    pub(crate) description: &'static CStr,
    get: fn(&Snapshot<'_>) -> f64,
}

impl Field {
    /// Whether it only grows: neither a time nor what is under way.
    pub(crate) fn is_count(&self) -> bool {
        self.unit != c"ns" && self.unit != c"ps" && self.name != c"outstanding"
    }
}

macro_rules! fields {
    ($($name:literal, $unit:literal, $description:literal, $get:expr;)*) => {
        &[$(Field { name: $name, unit: $unit, description: $description, get: $get }),*]
    };
}

const READ: usize = RequestKind::Read as usize;
const WRITE: usize = RequestKind::Write as usize;
const PREFETCH: usize = RequestKind::Prefetch as usize;
const WRITEBACK: usize = RequestKind::Writeback as usize;

/// Every number that has a name. One that a memory can't tell is not a number: energy without currents, times of DRAM
/// where there is none, means of nothing.
pub(crate) static FIELDS: &[Field] = fields! {
    c"time_ps", c"ps", c"time of the last call", |s| s.memory.now_ps() as f64;
    c"reads", c"requests", c"reads accepted", |s| s.totals.requests[READ] as f64;
    c"writes", c"requests", c"writes accepted", |s| s.totals.requests[WRITE] as f64;
    c"prefetches", c"requests", c"prefetches accepted", |s| s.totals.requests[PREFETCH] as f64;
    c"writebacks", c"requests", c"writebacks accepted", |s| s.totals.requests[WRITEBACK] as f64;
    c"read_bytes", c"bytes", c"bytes of reads and prefetches accepted",
        |s| (s.totals.bytes[READ] + s.totals.bytes[PREFETCH]) as f64;
    c"write_bytes", c"bytes", c"bytes of writes and writebacks accepted",
        |s| (s.totals.bytes[WRITE] + s.totals.bytes[WRITEBACK]) as f64;
    c"refusals", c"requests", c"requests refused, each as often as it was", |s| s.memory.refusals() as f64;
    c"outstanding", c"requests", c"requests under way", |s| s.memory.outstanding() as f64;
    c"read_latency_mean_ns", c"ns", c"mean time from acceptance of a read to its completion",
        |s| s.totals.latency_ps[READ] as f64 / s.totals.done[READ] as f64 / 1000.0;
    c"read_latency_max_ns", c"ns", c"longest time from acceptance of a read to its completion",
        |s| s.totals.max_latency_ps[READ] as f64 / 1000.0;
    c"write_latency_mean_ns", c"ns", c"mean time from acceptance of a write to the end of its data",
        |s| s.totals.latency_ps[WRITE] as f64 / s.totals.done[WRITE] as f64 / 1000.0;
    c"dram_reads", c"bursts", c"read bursts accepted by the controllers", |s| s.device.requests[0] as f64;
    c"dram_writes", c"bursts", c"write bursts accepted by the controllers", |s| s.device.requests[1] as f64;
    c"dram_forwarded_reads", c"bursts", c"read bursts answered by a queued write",
        |s| s.device.forwarded_reads as f64;
    c"dram_merged_writes", c"bursts", c"write bursts merged into a queued write",
        |s| s.device.merged_writes as f64;
    c"dram_read_latency_p50_ns", c"ns", c"median latency of a read burst in its controller",
        |s| s.latency_ns(0.5);
    c"dram_read_latency_p99_ns", c"ns", c"latency that 99% of read bursts do not exceed",
        |s| s.latency_ns(0.99);
    c"row_hits", c"bursts", c"bursts that found their row open",
        |s| s.device.row_outcomes(RowOutcome::Hit) as f64;
    c"row_misses", c"bursts", c"bursts that found their bank closed",
        |s| s.device.row_outcomes(RowOutcome::Miss) as f64;
    c"row_conflicts", c"bursts", c"bursts that found another row open",
        |s| s.device.row_outcomes(RowOutcome::Conflict) as f64;
    c"turnarounds", c"count", c"changes between reading and writing", |s| s.device.turnarounds as f64;
    c"activates", c"commands", c"rows opened", |s| s.commands(Command::Activate);
    c"precharges", c"commands", c"precharges of one bank and of all",
        |s| s.commands(Command::Precharge) + s.commands(Command::PrechargeAll);
    c"refreshes", c"commands", c"refreshes of one bank, the same bank of all groups, and all banks",
        |s| s.commands(Command::RefreshAll) + s.commands(Command::RefreshBank) + s.commands(Command::RefreshSame);
    c"refresh_management", c"commands", c"RFM commands",
        |s| s.commands(Command::ManageAll) + s.commands(Command::ManageBank) + s.commands(Command::ManageSame);
    c"energy_pj", c"pJ", c"energy of the DRAM", |s| s.energy_pj(Energy::total_pj);
    c"energy_activate_pj", c"pJ", c"energy of activates with their precharges", |s| s.energy_pj(|e| e.activate_pj);
    c"energy_read_pj", c"pJ", c"energy of read bursts", |s| s.energy_pj(|e| e.read_pj);
    c"energy_write_pj", c"pJ", c"energy of write bursts", |s| s.energy_pj(|e| e.write_pj);
    c"energy_refresh_pj", c"pJ", c"energy of refreshes", |s| s.energy_pj(|e| e.refresh_pj);
    c"energy_background_pj", c"pJ", c"standby energy", |s| s.energy_pj(|e| e.background_pj + e.pump_pj);
};

/// A number by its name.
pub(crate) fn value(memory: &TimedMemory, name: &str) -> Option<f64> {
    let field = FIELDS
        .iter()
        .find(|field| field.name.to_bytes() == name.as_bytes())?;
    Some((field.get)(&Snapshot::new(memory)))
}

/// Every number, and the counts of each tag.
pub(crate) fn to_json(machine: &str, memory: &TimedMemory) -> String {
    let snapshot = Snapshot::new(memory);
    let totals: Map<String, Value> = FIELDS
        .iter()
        .map(|field| {
            let value = (field.get)(&snapshot);
            let value = if value.fract() == 0.0 && value.abs() < 9e15 {
                json!(value as i64)
            } else {
                json!(value)
            };
            (field.name.to_string_lossy().into_owned(), value)
        })
        .collect();
    let tags: Vec<Value> = memory.tags().iter().map(tag).collect();
    json!({
        "machine": machine,
        "device": memory.device().map(|device| format!("{}/{}", device.name, device.organisation)),
        "channels": memory.channels(),
        "memories": memory.parts().map(|memory| part(&memory)).collect::<Vec<_>>(),
        "totals": totals,
        "tags": tags,
    })
    .to_string()
}

fn part(part: &MemoryPart<'_>) -> Value {
    let (device, counted) = (part.device(), part.statistics());
    let latency_ns = |quantile| {
        let ticks = counted.read_latency.quantile(quantile);
        ticks.map(|ticks| device.picoseconds(ticks) / 1000.0)
    };
    json!({
        "name": part.name(),
        "first_address": part.base(),
        "device": format!("{}/{}", device.name, device.organisation),
        "channels": part.channels(),
        "dram_reads": counted.requests[0],
        "dram_writes": counted.requests[1],
        "dram_read_latency_p50_ns": latency_ns(0.5),
        "dram_read_latency_p99_ns": latency_ns(0.99),
        "row_hits": counted.row_outcomes(RowOutcome::Hit),
        "row_misses": counted.row_outcomes(RowOutcome::Miss),
        "row_conflicts": counted.row_outcomes(RowOutcome::Conflict),
        "energy_pj": part.energy().map(|energy| energy.total_pj()),
    })
}

fn tag(counts: &TagCounts) -> Value {
    let mut object = Map::new();
    let kinds = [
        ("read", READ),
        ("write", WRITE),
        ("prefetch", PREFETCH),
        ("writeback", WRITEBACK),
    ];
    for (name, kind) in kinds {
        for (what, value) in [
            ("requests", counts.requests[kind]),
            ("bytes", counts.bytes[kind]),
            ("done", counts.done[kind]),
            ("latency_ps", counts.latency_ps[kind]),
            ("max_latency_ps", counts.max_latency_ps[kind]),
        ] {
            object.insert(format!("{name}_{what}"), value.into());
        }
    }
    for (name, value) in ["row_hits", "row_misses", "row_conflicts"]
        .iter()
        .zip(counts.outcomes)
    {
        object.insert((*name).into(), value.into());
    }
    object.into()
}
