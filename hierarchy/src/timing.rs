//! Estimated core cycles from counters.
//!
//! Modelled: instructions at the core's full issue width, plus the latency of every demand line access that missed the
//! first level, one after the other. First-level hits are taken to be hidden by issue.
//!
//! Not modelled: any overlap of misses with each other or with other instructions, prefetch timeliness (what hardware prefetchers read from
//! memory counts as waited for), branch
//! mispredictions, dependences, bandwidth. Out-of-order cores overlap misses, so memory-bound work takes fewer
//! cycles than this; compare rows with each other, don't read it as a time.

use crate::machine::Machine;
use crate::system::Counters;

/// See the module's description. `instructions` are those of the row that `counters` belong to.
pub(crate) fn estimated_cycles(machine: &Machine, counters: &Counters, instructions: u64) -> f64 {
    let issue = instructions as f64 / f64::from(machine.core.issue_width);
    let first_level = machine.caches[0].level;
    let caches: f64 = machine
        .caches
        .iter()
        .zip(&counters.levels)
        .filter(|(cache, _)| cache.level > first_level)
        .map(|(cache, level)| level.demand_hits() as f64 * cache.latency_cycles)
        .sum();
    let reads = counters.dram.read_bytes / u64::from(machine.line_bytes());
    let memory_ps = counters.dram.read_latency_ps + reads * machine.memory.latency_ps;
    issue + caches + memory_ps as f64 * machine.core.frequency_hz as f64 / 1e12
}
