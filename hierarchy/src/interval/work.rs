//! What a core has to do, as sums that add up over rows.

use std::ops::AddAssign;

use super::CoreTiming;
use crate::system::Counters;

/// How the accesses of a row wait for their data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// Their addresses are known in advance: they overlap.
    Independent = 0,
    /// Each address comes from a load before it: one after the other.
    Dependent = 1,
    /// Instruction fetches.
    Fetch = 2,
}

/// Accesses that wait in the same way, by who answers them.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Answered {
    /// Hits of each level.
    pub(super) hits: Vec<f64>,
    /// Lines that come from DRAM.
    pub(super) dram: f64,
    /// The sum of their latencies.
    pub(super) dram_cycles: f64,
}

/// Instructions and accesses of one core, of a row or of several.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Work {
    pub(super) instructions: f64,
    pub(super) answered: [Answered; 3],
    pub(super) dram_bytes: f64,
}

impl AddAssign<&Work> for Work {
    fn add_assign(&mut self, other: &Work) {
        self.instructions += other.instructions;
        for (mine, theirs) in self.answered.iter_mut().zip(&other.answered) {
            mine.hits.resize(mine.hits.len().max(theirs.hits.len()), 0.0);
            for (mine, theirs) in mine.hits.iter_mut().zip(&theirs.hits) {
                *mine += theirs;
            }
            mine.dram += theirs.dram;
            mine.dram_cycles += theirs.dram_cycles;
        }
        self.dram_bytes += other.dram_bytes;
    }
}

impl CoreTiming {
    /// The work that `counters` and `instructions` come from.
    pub fn work(&self, wait: Wait, counters: &Counters, instructions: u64) -> Work {
        let hits = counters.levels.iter().map(|level| level.demand_hits() as f64);
        let late: u64 = counters.details.iter().map(|level| level.prefetches_late).sum();
        let last = self.levels.iter().zip(&counters.levels);
        let missed: u64 = last
            .filter(|(level, _)| level.is_last)
            .map(|(_, counters)| counters.demand_misses())
            .sum();
        let reads = counters.dram.read_bytes / self.line_bytes;
        // A store that does not take its line in misses, but reads nothing.
        let dram = (missed + late).min(reads) as f64;
        let device_ps = if reads > 0 {
            counters.dram.read_latency_ps as f64 / reads as f64
        } else {
            self.device_ps as f64
        };
        let mut work = Work {
            instructions: instructions as f64,
            dram_bytes: (counters.dram.read_bytes + counters.dram.write_bytes) as f64,
            ..Work::default()
        };
        work.answered[wait as usize] = Answered {
            hits: hits.collect(),
            dram,
            dram_cycles: dram * (device_ps + self.outside_ps as f64) * self.cycles_per_ps,
        };
        work
    }
}
