//! A system's counters: one list makes the JSON, the list and the look-up by name.

use std::ffi::{CStr, CString};

use memloupe_cachesim::{Cause, LevelCounters, LevelDetail, TranslationCounters};
use memloupe_hierarchy::{Counters, System};
use serde_json::{Map, Value, json};

/// A counter of a kind of counters: name, unit, what it counts, and where it is.
type Field<C> = (&'static str, &'static CStr, &'static str, fn(&C) -> u64);

/// Of each level.
const LEVEL: &[Field<LevelCounters>] = &[
    ("line_accesses", c"lines", "lines looked up", |c| {
        c.line_accesses()
    }),
    ("misses", c"lines", "lines that were not there", |c| {
        c.total_misses()
    }),
    ("read_misses", c"lines", "lines that reads missed", |c| {
        c.misses[Cause::Read as usize]
    }),
    ("write_misses", c"lines", "lines that writes missed", |c| {
        c.misses[Cause::Write as usize]
    }),
    ("prefetch_misses", c"lines", "lines that prefetches missed", |c| {
        c.misses[Cause::Prefetch as usize]
    }),
    ("fills", c"lines", "lines that came in", |c| c.fills()),
    ("writebacks", c"lines", "dirty lines that left", |c| c.writebacks),
];

/// Of none.
const REST: &[Field<Counters>] = &[
    (
        "straddles",
        c"accesses",
        "accesses that touched more than one line",
        |c| c.accesses.straddles,
    ),
    (
        "non_temporal_lines",
        c"lines",
        "lines of non-temporal accesses",
        |c| c.accesses.non_temporal_lines,
    ),
    ("dram_read_bytes", c"bytes", "bytes read from memory", |c| {
        c.dram.read_bytes
    }),
    ("dram_write_bytes", c"bytes", "bytes written to memory", |c| {
        c.dram.write_bytes
    }),
    ("row_hits", c"bursts", "bursts that found their row open", |c| {
        c.dram.row_hits
    }),
    (
        "row_misses",
        c"bursts",
        "bursts that found their bank closed",
        |c| c.dram.row_misses,
    ),
    (
        "row_conflicts",
        c"bursts",
        "bursts that found another row open",
        |c| c.dram.row_conflicts,
    ),
    (
        "dram_read_latency_ps",
        c"ps",
        "unloaded latencies of reads from memory, added up",
        |c| c.dram.read_latency_ps,
    ),
];

/// One counter at one place.
struct Number {
    name: String,
    unit: &'static CStr,
    description: String,
    value: u64,
}

/// Every counter of the machine's.
fn numbers(system: &System, counters: &Counters) -> Vec<Number> {
    let mut numbers = Vec::new();
    let mut add = |name: String, unit, description: String, value| {
        numbers.push(Number {
            name,
            unit,
            description,
            value,
        });
    };
    for (level, counted) in system.level_names().zip(&counters.levels) {
        for (name, unit, what, get) in LEVEL {
            add(
                format!("{level}_{name}"),
                unit,
                format!("{level}: {what}"),
                get(counted),
            );
        }
    }
    for (level, detail) in system.level_names().zip(&counters.details) {
        for field in LevelDetail::FIELDS {
            let what = format!("{level}: {}", field.meaning.trim());
            add(
                format!("{level}_{}", field.name),
                c"count",
                what,
                (field.get)(detail),
            );
        }
    }
    for field in TranslationCounters::FIELDS {
        let value = (field.get)(&counters.translation);
        add(field.name.into(), c"count", field.meaning.trim().into(), value);
    }
    for (name, unit, what, get) in REST {
        add((*name).into(), unit, (*what).into(), get(counters));
    }
    numbers
}

/// What the numbers are called; the texts that C sees.
pub(crate) struct Names(Vec<(CString, &'static CStr, CString)>);

impl Names {
    pub(crate) fn of(system: &System) -> Self {
        // No name or description has a NUL: they are ours, but for levels', and a TOML key has none either.
        let text = |text: String| CString::new(text).unwrap_or_default();
        let numbers = numbers(system, &system.totals()).into_iter();
        Self(
            numbers
                .map(|number| (text(number.name), number.unit, text(number.description)))
                .collect(),
        )
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Name, unit and description.
    pub(crate) fn get(&self, index: u32) -> Option<(&CStr, &CStr, &CStr)> {
        let (name, unit, description) = self.0.get(index as usize)?;
        Some((name, unit, description))
    }
}

/// A number by its name, over all owners.
pub(crate) fn value(system: &System, name: &str) -> Option<f64> {
    let numbers = numbers(system, &system.totals());
    let number = numbers.into_iter().find(|number| number.name == name)?;
    Some(number.value as f64)
}

/// Every number, over all owners and of each.
pub(crate) fn to_json(system: &System) -> String {
    let owners = (0..system.owner_count() as u32).map(|owner| object(system, &system.counters(owner)));
    json!({
        "machine": system.machine().name,
        "totals": object(system, &system.totals()),
        "owners": owners.collect::<Vec<_>>(),
    })
    .to_string()
}

fn object(system: &System, counters: &Counters) -> Value {
    let numbers = numbers(system, counters).into_iter();
    let object: Map<String, Value> = numbers.map(|number| (number.name, number.value.into())).collect();
    object.into()
}
