//! Which level answered one access, and after how long.
//!
//! Modelled: the load-to-use latency of the slowest level that had to answer for one of its lines, on an unloaded machine;
//! a line from memory takes what its DRAM row costs and the way there and back.
//!
//! Not modelled: queueing, overlap with other accesses, the time of writebacks and of what prefetchers fetch. A store is
//! given the time after which its line is there.

use memloupe_cachesim::{AccessKind, Contents, LevelCounters, Memory, Operand, Run};

use crate::system::{Parts, System};
use crate::tiers::MainMemory;

/// What one access met.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Answer {
    /// Position of the level that answered its slowest line; the number of levels for memory.
    pub level: usize,
    /// Time to its data.
    pub latency_ns: f64,
}

/// The DRAM with a listener beside it.
struct Heard<'a, M> {
    dram: &'a mut MainMemory,
    listener: &'a mut M,
    /// Latency of the slowest line read.
    slowest_ps: u64,
}

impl<M: Memory> Memory for Heard<'_, M> {
    fn read(&mut self, line_address: u64, lines: u64, owner: u32) {
        let before_ps = self.dram.read_latency_ps(owner);
        self.dram.read(line_address, lines, owner);
        let latency_ps = self.dram.read_latency_ps(owner) - before_ps;
        self.slowest_ps = self.slowest_ps.max(latency_ps.div_ceil(lines.max(1)));
        self.listener.read(line_address, lines, owner);
    }

    fn write(&mut self, line_address: u64, lines: u64, owner: u32) {
        self.dram.write(line_address, lines, owner);
        self.listener.write(line_address, lines, owner);
    }
}

impl System {
    /// Simulates one access on `core`, says what it met, and tells `listener` the requests that leave the last level. Not
    /// seen by [`check_runs`](System::check_runs).
    ///
    /// # Panics
    /// If `core` is not below [`cores`](System::cores) or the owner was not reserved.
    pub fn access(&mut self, core: usize, operand: Operand, listener: &mut impl Memory) -> Answer {
        let is_fetch = operand.kind == AccessKind::Fetch;
        let other = if is_fetch {
            Contents::Data
        } else {
            Contents::Instruction
        };
        let Parts {
            machine,
            caches,
            dram,
            misses,
        } = self.parts();
        misses.clear();
        let before = caches.ledger().levels(operand.owner);
        misses.extend(before.iter().map(LevelCounters::total_misses));
        let mut heard = Heard {
            dram,
            listener,
            slowest_ps: 0,
        };
        let operands = [operand];
        let run = Run {
            operands: &operands,
            iterations: 1,
            scattered: &[],
        };
        caches.run(core, run, &mut heard);
        let slowest_ps = heard.slowest_ps;
        let after = caches.ledger().levels(operand.owner);
        let mut path = machine
            .caches
            .iter()
            .zip(&*misses)
            .zip(after)
            .enumerate()
            .filter(|(_, ((cache, _), _))| cache.contents != other);
        let deepest_miss = path
            .clone()
            .filter(|(_, ((_, before), after))| after.total_misses() > **before)
            .map(|(level, _)| level)
            .next_back();
        let bypasses = matches!(
            operand.kind,
            AccessKind::NonTemporalLoad | AccessKind::NonTemporalStore
        );
        let answering = match deepest_miss {
            None if bypasses && slowest_ps > 0 => None,
            None => path.next(),
            Some(missed) => path.find(|(level, _)| *level > missed),
        };
        let hertz = machine.core.frequency_hz as f64;
        match answering {
            Some((level, ((cache, _), _))) => Answer {
                level,
                latency_ns: cache.latency_cycles * 1e9 / hertz,
            },
            None => Answer {
                level: machine.caches.len(),
                latency_ns: slowest_ps as f64 / 1000.0,
            },
        }
    }

    /// As [`flush`](System::flush), and tells `listener` what is written.
    pub fn flush_heard(&mut self, listener: &mut impl Memory) {
        let Parts { caches, dram, .. } = self.parts();
        let mut heard = Heard {
            dram,
            listener,
            slowest_ps: 0,
        };
        caches.flush(&mut heard);
    }
}
