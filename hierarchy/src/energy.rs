//! Energy of accesses, charged to the owner that caused them.
//!
//! Modelled: each line access of a cache, of the program, a prefetcher or a page walk, costs its hit or miss energy; a
//! writeback from the level above costs a hit. Each look-up in a TLB costs ([`TranslationEnergy`]), and each entry that a
//! walk reads. A line that goes to or comes from memory costs its bursts (IDD4 beyond standby, [`EventEnergy`]), the link, and, for
//! the owner whose request found the row closed or another one open, an activate with its precharge.
//!
//! Not modelled per owner: standby, refresh and the pump, which run whoever runs: [`standby_watts`](AccessEnergy::standby_watts)
//! is their sum; leakage of caches, TLBs, cores, and whatever the machine file has no energy for.
//!
//! A cache without energies has [`ASSUMED_HIT_PJ`] times the square root of its size in units of 32 KiB, and twice that
//! for a miss, which also fills: the rule that goes through the three levels of DAMOV's table as remembered (15/33,
//! 46/93 pJ; its shared level has 945/1904, which includes its network).

use memloupe_cachesim::Contents;

use crate::dram::{Device, DramCounters, EventEnergy};
use crate::machine::{Machine, MemoryDevice};
use crate::system::Counters;
use crate::translation::TranslationEnergy;

/// Of a hit in a cache of 32 KiB, where the machine file does not say.
pub const ASSUMED_HIT_PJ: f64 = 15.0;

/// Energy of each kind of access of one machine, in picojoules.
#[derive(Clone, Debug, PartialEq)]
pub struct AccessEnergy {
    // By level: a hit, a miss, a writeback into the level below.
    levels: Vec<[f64; 3]>,
    // By memory.
    memories: Vec<MemoryEnergy>,
    translation: TranslationEnergy,
    line_bytes: u64,
    standby_watts: Option<f64>,
}

#[derive(Clone, Debug, PartialEq)]
struct MemoryEnergy {
    activate_pj: f64,
    read_line_pj: f64,
    write_line_pj: f64,
    standby_watts: Option<f64>,
}

impl MemoryEnergy {
    fn of(memory: &MemoryDevice, line_bytes: u32) -> Self {
        let link_pj = memory.link_pj_per_bit * f64::from(line_bytes * 8);
        let [read_link_pj, write_link_pj] = memory
            .link
            .as_ref()
            .map_or([0.0; 2], |link| link.line_pj(line_bytes));
        let device = Device::find(&memory.device).ok();
        let events = device.as_ref().and_then(EventEnergy::of);
        let bursts = device
            .as_ref()
            .map_or(1, |device| line_bytes.div_ceil(device.burst_bytes));
        // Of a technology that is not DRAM nobody says what it leaks.
        let with_standby = device.as_ref().filter(|device| device.technology.is_none());
        let standby_watts = with_standby.zip(events).map(|(device, events)| {
            let ranks = memory.channels * memory.ranks * device.stack_ids * device.pseudo_channels;
            let refresh_pj_per_ns =
                events.refresh_pj / (device.picoseconds(device.refresh_interval_ticks) / 1000.0);
            // pJ per ns are mW.
            f64::from(ranks) * (events.active_pj_per_ns + events.pump_pj_per_ns + refresh_pj_per_ns) / 1000.0
        });
        let events = events.unwrap_or_default();
        Self {
            activate_pj: events.activate_pj,
            read_line_pj: events.read_pj * f64::from(bursts) + link_pj + read_link_pj,
            write_line_pj: events.write_pj * f64::from(bursts) + link_pj + write_link_pj,
            standby_watts,
        }
    }

    fn picojoules(&self, dram: &DramCounters, line_bytes: u64) -> f64 {
        let lines = |bytes: u64| (bytes / line_bytes) as f64;
        self.activate_pj * (dram.row_misses + dram.row_conflicts) as f64
            + self.read_line_pj * lines(dram.read_bytes)
            + self.write_line_pj * lines(dram.write_bytes)
    }
}

/// Hit and miss energy of a cache that has none in its machine file.
pub(crate) fn assumed_pj(size_bytes: u64) -> (f64, f64) {
    // Nobody knows it to less than a picojoule.
    let hit = (ASSUMED_HIT_PJ * (size_bytes as f64 / 32768.0).sqrt())
        .round()
        .max(1.0);
    (hit, 2.0 * hit)
}

impl AccessEnergy {
    /// Those of `machine`.
    pub fn of(machine: &Machine) -> Self {
        let below = |level: u32| {
            let holds_data = |contents| contents != Contents::Instruction;
            let mut caches = machine.caches.iter();
            caches.find(|cache| cache.level > level && holds_data(cache.contents))
        };
        let levels = machine.caches.iter().map(|cache| {
            let writeback = below(cache.level).map_or(0.0, |below| below.hit_pj);
            [cache.hit_pj, cache.miss_pj, writeback]
        });
        let line_bytes = machine.line_bytes();
        let memories: Vec<MemoryEnergy> = machine
            .memories()
            .map(|memory| MemoryEnergy::of(memory, line_bytes))
            .collect();
        Self {
            levels: levels.collect(),
            translation: machine.translation_energy,
            line_bytes: line_bytes.into(),
            // Of memories without currents nothing can be said of the sum either.
            standby_watts: memories.iter().map(|memory| memory.standby_watts).sum(),
            memories,
        }
    }

    /// What the accesses of `counters` cost.
    pub fn picojoules(&self, counters: &Counters) -> f64 {
        let levels = self.levels.iter().zip(&counters.levels);
        let caches: f64 = levels
            .map(|([hit, miss, writeback], level)| {
                hit * level.hits() as f64
                    + miss * level.total_misses() as f64
                    + writeback * level.writebacks as f64
            })
            .sum();
        let besides: f64 = { self.levels.iter().zip(&counters.details) }
            .map(|([hit, miss, _], level)| {
                let misses = level.prefetch_lookup_misses + level.walk_lookup_misses;
                let hits = level.prefetch_lookups + level.walk_lookups - misses;
                hit * hits as f64 + miss * misses as f64
            })
            .sum();
        let one = std::slice::from_ref(&counters.dram);
        let tiers = if self.memories.len() == 1 {
            one
        } else {
            &counters.tiers
        };
        let memories = self.memories.iter().zip(tiers);
        caches
            + besides
            + self.translation.picojoules(&counters.translation)
            + memories
                .map(|(memory, dram)| memory.picojoules(dram, self.line_bytes))
                .sum::<f64>()
    }

    /// What the memory draws besides, with a row open in every rank: standby, refresh, pump. `None` without currents.
    pub fn standby_watts(&self) -> Option<f64> {
        self.standby_watts
    }
}
