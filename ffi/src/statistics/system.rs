//! A system's counters as JSON, under the names that reports use.

use memloupe_cachesim::{Cause, LevelDetail, TranslationCounters};
use memloupe_hierarchy::{Counters, System};
use serde_json::{Map, Value, json};

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
    let mut object = Map::new();
    for (level, counted) in system.level_names().zip(&counters.levels) {
        for (name, value) in [
            ("line_accesses", counted.line_accesses()),
            ("misses", counted.total_misses()),
            ("read_misses", counted.misses[Cause::Read as usize]),
            ("write_misses", counted.misses[Cause::Write as usize]),
            ("prefetch_misses", counted.misses[Cause::Prefetch as usize]),
            ("fills", counted.fills()),
            ("writebacks", counted.writebacks),
        ] {
            object.insert(format!("{level}_{name}"), value.into());
        }
    }
    for (level, detail) in system.level_names().zip(&counters.details) {
        for field in LevelDetail::FIELDS {
            object.insert(format!("{level}_{}", field.name), (field.get)(detail).into());
        }
    }
    for field in TranslationCounters::FIELDS {
        object.insert(field.name.into(), (field.get)(&counters.translation).into());
    }
    for (name, value) in [
        ("straddles", counters.accesses.straddles),
        ("non_temporal_lines", counters.accesses.non_temporal_lines),
        ("dram_read_bytes", counters.dram.read_bytes),
        ("dram_write_bytes", counters.dram.write_bytes),
        ("row_hits", counters.dram.row_hits),
        ("row_misses", counters.dram.row_misses),
        ("row_conflicts", counters.dram.row_conflicts),
        ("dram_read_latency_ps", counters.dram.read_latency_ps),
    ] {
        object.insert(name.into(), value.into());
    }
    object.into()
}
