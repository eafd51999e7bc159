//! Boundaries: where bytes cross from one part of the memory hierarchy to the next.

use crate::profile::{Measure, Summary};
use crate::report::{Report, Row};

/// One boundary.
pub(super) struct Boundary {
    /// What it is called.
    pub(super) name: String,
    measure: Measure,
    /// Bytes of one unit of the measure: a miss moves a line.
    bytes: u64,
}

impl Boundary {
    /// The boundaries of a profile's machine, nearest to the core first.
    pub(super) fn of(summary: &Summary) -> Vec<Self> {
        let line = u64::from(summary.line_bytes);
        let mut boundaries = vec![Self {
            name: "core ↔ L1".to_owned(),
            measure: Measure::ACCESS_BYTES,
            bytes: 1,
        }];
        for (level, name) in summary.levels.iter().enumerate() {
            let name = format!("into {}", name.to_uppercase());
            boundaries.push(Self {
                name,
                measure: Measure::Misses(level),
                bytes: line,
            });
        }
        if summary.dram {
            boundaries.push(Self {
                name: "DRAM read".to_owned(),
                measure: Measure::DRAM_READ,
                bytes: 1,
            });
            boundaries.push(Self {
                name: "DRAM write".to_owned(),
                measure: Measure::DRAM_WRITE,
                bytes: 1,
            });
        }
        boundaries
    }

    /// Bytes of a row that cross it.
    pub(super) fn of_row(&self, report: &Report, row: &Row) -> u64 {
        report.value(row, self.measure) * self.bytes
    }

    /// Bytes that cross it in all.
    pub(super) fn total(&self, report: &Report) -> u64 {
        report.total(self.measure) * self.bytes
    }

    /// Which boundary a reader wants first: DRAM reads, or the only one.
    pub(super) fn main(boundaries: &[Self]) -> usize {
        boundaries
            .iter()
            .position(|boundary| boundary.measure == Measure::DRAM_READ)
            .unwrap_or(0)
    }
}

/// What the boundaries' numbers are.
pub(super) fn explain(summary: &Summary) -> String {
    if summary.levels.is_empty() {
        "No machine was simulated: only what the core asked for is known.".to_owned()
    } else {
        format!(
            "Bytes that cross each boundary: what the core asks for, then each level’s misses × {}-byte lines \
             (instruction fetches included), then DRAM.",
            summary.line_bytes
        )
    }
}
