//! `report --table technologies`: how long written data must be held, and how often a line is written, against what
//! memory technologies hold and stand.
//!
//! Modelled: the program alone, over and over, its data in one technology without a cache above it: every store writes.
//! Accesses become seconds by the estimated cycles of the run's machine. With several threads these are the cycles of all, so
//! times are upper bounds: what a technology holds by them it holds.
//!
//! Not modelled: caches that keep stores from the memory, wear levelling, refresh of what would be lost.

use memloupe_hierarchy::Technology;
use memloupe_hierarchy::dram::Device;

use super::locality::{Column, Shown, column};
use crate::profile::{LocalitySum, LocalitySummary, Summary};

/// The table's word.
pub(super) const TECHNOLOGIES: &str = "technologies";

/// Of one data access, on average.
fn seconds_per_access(summary: &Summary, locality: &LocalitySummary) -> Option<f64> {
    let hertz = summary.machine.get("core")?.get("frequency_hz")?.as_f64()?;
    let cycles = summary.total("est_cycles") as f64;
    (cycles > 0.0 && locality.accesses > 0).then(|| cycles / hertz / locality.accesses as f64)
}

/// The technologies of the machine's memories that are not DRAM.
fn technologies_of(machine: &serde_json::Value) -> Vec<&'static str> {
    let tiers = machine.get("tiers").and_then(serde_json::Value::as_array);
    let memories = machine
        .get("memory")
        .into_iter()
        .chain(tiers.into_iter().flatten());
    memories
        .filter_map(|memory| Device::find(memory.get("device")?.as_str()?).ok()?.technology)
        .map(|technology| technology.name.as_str())
        .collect()
}

/// The longest lifetime, the most writes of a line, and for each technology the time until the line that is written most is
/// worn out, and the share of what is read that is read too late; to people only if any is, or if a memory of the machine is of that
/// technology.
pub(super) fn columns(locality: &LocalitySummary, total: &LocalitySum, summary: &Summary) -> Vec<Column> {
    let per_access = seconds_per_access(summary, locality);
    let seconds = per_access.map(|per_access| per_access * locality.accesses as f64);
    let most_writes = |sum: &LocalitySum| sum.group.lifetimes.writes.quantile(1.0).map(|most| most as f64);
    let mut columns = vec![
        column("lifetime_s", Shown::Seconds, move |sum| {
            let longest = sum.group.lifetimes.read.quantile(1.0)? as f64;
            Some(longest * per_access?)
        }),
        column("writes_per_line", Shown::Count, most_writes),
    ];
    let of_machine = technologies_of(&summary.machine);
    for technology in Technology::all() {
        let is_used = of_machine.contains(&technology.name.as_str());
        if technology.endurance.is_some() {
            columns.push(column(
                format!("{}_wear_s", technology.name),
                Shown::Seconds,
                move |sum| technology.wear_seconds(most_writes(sum)?, seconds?),
            ));
        }
        if let Some(retention) = technology.retention_s {
            let late = move |sum: &LocalitySum| {
                let read = &sum.group.lifetimes.read;
                let bound = (retention / per_access?).min(u64::MAX as f64) as u64;
                let all = read.count();
                (all > 0).then(|| read.at_least(bound) as f64 / all as f64)
            };
            let mut column = column(format!("{}_late", technology.name), Shown::Share, late);
            column.essential = is_used || late(total).is_some_and(|share| share > 0.0);
            columns.push(column);
        }
    }
    columns
}

/// What is held against.
pub(super) fn notes() -> impl Iterator<Item = String> {
    Technology::all().iter().map(|technology| {
        let energy = |pj: Option<f64>| pj.map_or_else(|| "?".to_owned(), |pj| pj.to_string());
        format!(
            "{}: {}{}; {} ns to read, {} ns to write; {} and {} pJ/bit; holds {}, stands {} writes ({})",
            technology.name,
            technology.about,
            if technology.volatile { ", volatile" } else { "" },
            technology.read_ns,
            technology.write_ns,
            energy(technology.read_pj_per_bit),
            energy(technology.write_pj_per_bit),
            technology
                .retention_s
                .map_or_else(|| "for ever".to_owned(), |seconds| format!("{seconds:e} s")),
            technology
                .endurance
                .map_or_else(|| "all".to_owned(), |writes| format!("{writes:e}")),
            technology.source,
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_follow_from_the_cycles_of_the_run() {
        let mut summary = Summary {
            machine: serde_json::json!({"core": {"frequency_hz": 1_000_000_000u64}}),
            ..Summary::default()
        };
        let locality = LocalitySummary {
            accesses: 1_000_000,
            ..LocalitySummary::default()
        };
        let mut sum = LocalitySum::default();
        let lifetimes = &mut sum.group.lifetimes;
        lifetimes.read.add(1, 3);
        lifetimes.read.add(1 << 20, 1);
        lifetimes.writes.add(1, 7);
        let value = |summary: &Summary, name: &str| {
            let columns = columns(&locality, &sum, summary);
            let column = columns.iter().find(|column| column.name == name);
            (column.unwrap_or_else(|| panic!("no {name}")).value)(&sum)
        };
        // Without a machine nobody knows how long an access takes.
        assert_eq!(value(&summary, "dram_late"), None);
        assert_eq!(value(&summary, "writes_per_line"), Some(1.0));
        // A second: a microsecond an access, and one generation of four lives for a second.
        summary.totals.insert("est_cycles".to_owned(), 1_000_000_000);
        assert_eq!(value(&summary, "dram_late"), Some(0.25));
        assert_eq!(value(&summary, "igzo-dram_late"), Some(0.0));
        let wear = value(&summary, "high-bandwidth-flash_wear_s").expect("written");
        assert!((wear - 1e5).abs() < 1e-6, "{wear}");
        let columns = columns(&locality, &sum, &summary);
        let shown: Vec<&str> = { columns.iter() }
            .filter(|column| column.essential && column.name.ends_with("_late"))
            .map(|column| column.name.as_str())
            .collect();
        assert_eq!(shown, ["dram_late"], "what nothing is late for is not shown");
        // But for what the machine is made of.
        summary.machine["memory"] = serde_json::json!({"device": "DDR4-3200AA"});
        summary.machine["tiers"] = serde_json::json!([{"device": "HBF-6400"}]);
        let columns = super::columns(&locality, &sum, &summary);
        let is_shown = |name: &str| {
            columns
                .iter()
                .any(|column| column.name == name && column.essential)
        };
        assert!(is_shown("high-bandwidth-flash_late") && !is_shown("igzo-dram_late"));
    }

    #[test]
    fn times_have_units() {
        let shown = |seconds| super::super::locality::show(Some(seconds), Shown::Seconds);
        assert_eq!(shown(2.5e-4), "250 µs");
        assert_eq!(shown(1e5), "1.2 d");
        assert_eq!(shown(0.0), "0.0 ns");
        assert_eq!(shown(3.16e7), "1.0 y");
        assert_eq!(shown(1e20), ">1M y");
    }
}
