//! Core cycles by interval analysis (Karkhanis and Smith, ISCA 2004; Eyerman et al., TOCS 27(2), 2009), from counters
//! alone: what executed and which level answered how often, summed over the rows of an operator on a thread.
//!
//! Modelled:
//! - **Base**: instructions at the core's issue width.
//! - **Data stalls**: while an access waits, the core goes on until its reorder buffer is full, so misses that lie within
//!   a reorder buffer's length of each other wait together, as many as the miss registers of the levels nearer than the
//!   answering one allow. A group of misses stalls the core for its latency less the time that filling the buffer takes.
//!   What falls into the shadow of misses answered further out costs nothing of its own.
//! - **Dependent loads**, those whose address another load of the loop yields, wait one after the other; their first-level
//!   hits count too.
//! - **Fetch stalls**: an instruction fetch that misses the first level costs its whole latency.
//! - **Bandwidth**: cores that work on one operator share what each memory can move: at most the peak of its channels and its
//!   link, the rows that its ranks can open (nRRD, nFAW) and those that its banks can read and write in turn (nRC, nWR). A
//!   request waits for those before it, the longer the more of that is used: as at a channel with Poisson arrivals and one
//!   service time (M/D/1, Pollaczek and Khinchine). The cycles of a core are those at which what it asks for and what it
//!   waits for agree. Several memories work at the same time.
//! - **Prefetches** that come in time make hits, those that were used within the miss window (`prefetches_late`) wait as
//!   demand misses.
//!
//! Not modelled: mispredicted branches, execution ports and latencies of arithmetic (base is a lower bound), address
//! translation, store buffers (a store that misses waits as a load does), the bandwidth of caches and of the network
//! between them, contention for a shared level's registers, simultaneous multithreading, refresh, turnarounds of the bus and
//! the order in which a controller serves (`memloupe machine curve` shows what it does under load). Misses are taken to be
//! spread evenly over the instructions. Which loads depend on others is the caller's knowledge.

mod exposure;
mod work;

#[cfg(test)]
mod tests;

use std::ops::AddAssign;

use memloupe_cachesim::Contents;

use crate::dram::{Device, DramError};
use crate::link::{Link, WireBytes};
use crate::machine::{Machine, MemoryDevice};

pub use exposure::Exposure;
use work::Moved;
pub use work::{Wait, Work};

/// Core cycles by what they are spent on.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Cycles {
    /// Issuing instructions.
    pub base: f64,
    /// Stalls for what a level answered, in the order of the machine's levels.
    pub levels: Vec<f64>,
    /// Stalls for the latency of DRAM.
    pub dram_latency: f64,
    /// Stalls because memory has others to serve: in its queues, and for its bandwidth where that is used up.
    pub dram_bandwidth: f64,
}

impl Cycles {
    /// All of them.
    pub fn total(&self) -> f64 {
        self.base + self.levels.iter().sum::<f64>() + self.dram_latency + self.dram_bandwidth
    }
}

impl AddAssign<&Cycles> for Cycles {
    fn add_assign(&mut self, other: &Cycles) {
        self.base += other.base;
        self.levels.resize(self.levels.len().max(other.levels.len()), 0.0);
        for (mine, theirs) in self.levels.iter_mut().zip(&other.levels) {
            *mine += theirs;
        }
        self.dram_latency += other.dram_latency;
        self.dram_bandwidth += other.dram_bandwidth;
    }
}

/// A level as the core sees it.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Level {
    latency_cycles: f64,
    /// Whether it is as near to the core as a level can be.
    is_first: bool,
    /// Whether what misses it goes to DRAM.
    is_last: bool,
    /// Misses that all levels nearer to the core together let be under way.
    most_in_flight: f64,
}

/// What of a machine decides how long its cores wait.
#[derive(Clone, Debug, PartialEq)]
pub struct CoreTiming {
    cores: f64,
    width: f64,
    rob: f64,
    levels: Vec<Level>,
    /// As [`Level::most_in_flight`], of misses that go to DRAM.
    most_in_flight: f64,
    cycles_per_ps: f64,
    line_bytes: u64,
    memories: Vec<Bandwidth>,
}

/// What bounds the bytes per cycle of a memory.
#[derive(Clone, Debug, PartialEq)]
struct Bandwidth {
    /// How many there are.
    channels: f64,
    /// Cycles that all channels together take for a byte.
    bus: f64,
    /// Cycles that all ranks together take to open a row.
    activate: f64,
    /// Cycles that all banks together take for a row that is read.
    read_row: f64,
    /// As `read_row`, of one that is written.
    write_row: f64,
    /// Cycles that each direction of the link takes for a byte that is read.
    link_read: [f64; 2],
    /// As `link_read`, of a byte that is written.
    link_write: [f64; 2],
}

/// How long what limits a memory is busy.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Busy {
    cycles: f64,
    /// How many of it share the load.
    servers: f64,
}

impl Bandwidth {
    fn of(memory: &MemoryDevice, frequency_hz: f64, line_bytes: u32) -> Result<Self, DramError> {
        let device = Device::find(&memory.device)?;
        let per_byte = |wires: fn(&Link, u32) -> WireBytes| {
            memory.link.as_ref().map_or([0.0; 2], |link| {
                let WireBytes { down, up } = wires(link, line_bytes);
                [down, up].map(|bytes| link.picoseconds(bytes) * frequency_hz / 1e12 / f64::from(line_bytes))
            })
        };
        let cycles = |ticks: u64| device.picoseconds(ticks) * frequency_hz / 1e12;
        let first = |names: &[&str]| cycles(device.first_of(names).unwrap_or(0));
        let channels = f64::from(memory.channels * device.pseudo_channels);
        let ranks = channels * f64::from(memory.ranks * device.stack_ids);
        let banks = ranks * f64::from(device.bank_groups * device.banks);
        let opening = first(&["nRRDS", "nRRD"]).max(first(&["nFAW"]) / 4.0);
        let writing =
            cycles(device.write_ticks) + first(&["nRCD", "nRCDWR"]) + first(&["nWR"]) + first(&["nRP"]);
        Ok(Self {
            channels,
            bus: frequency_hz / (f64::from(memory.channels) * device.peak_bytes_per_second()),
            activate: opening / ranks,
            read_row: first(&["nRC"]) / banks,
            write_row: writing / banks,
            link_read: per_byte(Link::read),
            link_write: per_byte(Link::write),
        })
    }

    /// What takes longest.
    fn busy(&self, moved: Moved) -> Busy {
        let direction =
            |way: usize| self.link_read[way] * moved.read_bytes + self.link_write[way] * moved.written_bytes;
        let written = moved.written_bytes / moved.total().max(1.0);
        let row = self.write_row * written + self.read_row * (1.0 - written);
        let of_channels = (self.bus * moved.total())
            .max(self.activate * moved.opened_rows)
            .max(row * moved.opened_rows);
        let of_link = direction(0).max(direction(1));
        if of_link > of_channels {
            Busy {
                cycles: of_link,
                servers: 1.0,
            }
        } else {
            Busy {
                cycles: of_channels,
                servers: self.channels,
            }
        }
    }
}

impl CoreTiming {
    /// That of `machine`.
    pub fn new(machine: &Machine) -> Result<Self, DramError> {
        let frequency_hz = machine.core.frequency_hz as f64;
        // The registers of the data path, of levels up to this distance from the core.
        let most_in_flight = |below: u32| {
            machine
                .caches
                .iter()
                .filter(|cache| cache.contents != Contents::Instruction && cache.level < below)
                .filter_map(|cache| cache.mshrs)
                .fold(f64::INFINITY, |least, mshrs| least.min(mshrs.into()))
        };
        let first = machine.caches.iter().map(|cache| cache.level).min();
        let last = machine.caches.iter().map(|cache| cache.level).max();
        let levels = machine.caches.iter().map(|cache| Level {
            latency_cycles: cache.latency_cycles,
            is_first: Some(cache.level) == first,
            is_last: Some(cache.level) == last,
            most_in_flight: most_in_flight(cache.level),
        });
        let line_bytes = machine.line_bytes();
        Ok(Self {
            cores: machine.core.count.into(),
            width: machine.core.issue_width.into(),
            rob: machine.core.rob.into(),
            levels: levels.collect(),
            most_in_flight: most_in_flight(u32::MAX),
            cycles_per_ps: frequency_hz / 1e12,
            line_bytes: line_bytes.into(),
            memories: machine
                .memories()
                .map(|memory| Bandwidth::of(memory, frequency_hz, line_bytes))
                .collect::<Result<_, _>>()?,
        })
    }
}
