//! What a core has to do, as sums that add up over rows.

use std::ops::AddAssign;

use super::CoreTiming;
use crate::dram::DramCounters;
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

/// Bytes from and to one memory.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Moved {
    pub(super) read_bytes: f64,
    pub(super) written_bytes: f64,
    /// Requests that found their row closed or another one open.
    pub(super) opened_rows: f64,
}

impl Moved {
    fn of(dram: &DramCounters) -> Self {
        Self {
            read_bytes: dram.read_bytes as f64,
            written_bytes: dram.write_bytes as f64,
            opened_rows: (dram.row_misses + dram.row_conflicts) as f64,
        }
    }

    pub(super) fn total(self) -> f64 {
        self.read_bytes + self.written_bytes
    }
}

/// Instructions and accesses of one core, of a row or of several.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Work {
    pub(super) instructions: f64,
    pub(super) answered: [Answered; 3],
    /// By memory.
    pub(super) moved: Vec<Moved>,
}

impl Work {
    pub(super) fn dram_bytes(&self) -> f64 {
        self.moved.iter().map(|moved| moved.total()).sum()
    }
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
        let memories = self.moved.len().max(other.moved.len());
        self.moved.resize(memories, Moved::default());
        for (mine, theirs) in self.moved.iter_mut().zip(&other.moved) {
            mine.read_bytes += theirs.read_bytes;
            mine.written_bytes += theirs.written_bytes;
            mine.opened_rows += theirs.opened_rows;
        }
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
        // Nobody waits for a page that moves.
        let reads = (counters.dram.read_bytes - counters.dram.migrated_out_bytes) / self.line_bytes;
        // A store that does not take its line in misses, but reads nothing.
        let dram = (missed + late).min(reads) as f64;
        let latency_ps = (counters.dram.read_latency_ps + counters.dram.outside_ps) as f64;
        let one = std::slice::from_ref(&counters.dram);
        let memories = if self.memories.len() == 1 {
            one
        } else {
            &counters.tiers
        };
        let mut work = Work {
            instructions: instructions as f64,
            moved: memories.iter().map(Moved::of).collect(),
            ..Work::default()
        };
        work.answered[wait as usize] = Answered {
            hits: hits.collect(),
            dram,
            dram_cycles: dram * latency_ps / reads.max(1) as f64 * self.cycles_per_ps,
        };
        work
    }
}
