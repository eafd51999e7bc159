//! `report --table stalls`: what the estimated cycles are spent on, as shares of each row's cycles.

use super::{Key, LocalityReport, Report, Shown};
use crate::profile::{Measure, Summary};

/// The table's word.
pub const STALLS: &str = "stalls";

/// Everything that cycles are spent on, with a name; nothing without a machine.
pub(crate) fn causes(summary: &Summary) -> Vec<(String, Measure)> {
    if summary.levels.is_empty() {
        return Vec::new();
    }
    let levels = summary.levels.iter().enumerate();
    let levels = levels.map(|(level, name)| (name.clone(), Measure::StallCycles(level)));
    let mut causes: Vec<(String, Measure)> = [("base".to_owned(), Measure::BASE_CYCLES)]
        .into_iter()
        .chain(levels)
        .collect();
    if summary.dram {
        causes.push(("dram_latency".to_owned(), Measure::DRAM_LATENCY_CYCLES));
        causes.push(("dram_bandwidth".to_owned(), Measure::DRAM_BANDWIDTH_CYCLES));
    }
    causes
}

/// The table of an ordinary report.
pub(super) fn table(report: &Report, keys: &[Key], summary: &Summary) -> LocalityReport {
    let causes = causes(summary);
    let columns = [
        ("est_cycles".to_owned(), Shown::Count),
        ("instructions_per_cycle".to_owned(), Shown::Plain),
    ]
    .into_iter()
    .chain(causes.iter().map(|(name, _)| (name.clone(), Shown::Share)))
    .collect();
    let values = |value: &dyn Fn(Measure) -> u64| -> Vec<Option<f64>> {
        let cycles = value(Measure::EST_CYCLES) as f64;
        let of_cycles = |measure: Measure| (cycles > 0.0).then(|| value(measure) as f64 / cycles);
        [Some(cycles), of_cycles(Measure::INSTRUCTIONS)]
            .into_iter()
            .chain(causes.iter().map(|(_, measure)| of_cycles(*measure)))
            .collect()
    };
    let rows = report.rows.iter();
    let rows = rows
        .map(|row| (row.keys.clone(), values(&|measure| report.value(row, measure))))
        .collect();
    LocalityReport::new(keys, columns, rows, values(&|measure| report.total(measure)))
}
