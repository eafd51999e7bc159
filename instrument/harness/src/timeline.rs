//! Traffic over time: bins of instructions, none of which spans two phases.

use memloupe_attribute::PhaseId;
use memloupe_hierarchy::System;

/// Instructions of a bin at first. When there are too many bins, neighbours of one phase are merged and bins get twice as long.
const FIRST_BIN_INSTRUCTIONS: u64 = 100_000;
const BINS: usize = 1024;

/// One stretch of time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bin {
    /// The phase it lies in.
    pub phase: PhaseId,
    /// Instructions executed before it.
    pub from: u64,
    /// Instructions executed in it.
    pub instructions: u64,
    /// Data accesses in it.
    pub accesses: u64,
    /// Misses of each level.
    pub misses: Vec<u64>,
    /// Bytes read from DRAM.
    pub dram_read_bytes: u64,
    /// Bytes written to DRAM.
    pub dram_write_bytes: u64,
}

impl Bin {
    fn absorb(&mut self, next: &Self) {
        self.instructions += next.instructions;
        self.accesses += next.accesses;
        for (mine, theirs) in self.misses.iter_mut().zip(&next.misses) {
            *mine += theirs;
        }
        self.dram_read_bytes += next.dram_read_bytes;
        self.dram_write_bytes += next.dram_write_bytes;
    }
}

/// Cumulative counts at some moment.
#[derive(Clone, Debug, Default)]
struct Mark {
    instructions: u64,
    accesses: u64,
    misses: Vec<u64>,
    dram_read_bytes: u64,
    dram_write_bytes: u64,
}

/// The bins so far.
#[derive(Debug)]
pub struct Timeline {
    bins: Vec<Bin>,
    bin_instructions: u64,
    /// Merge when there are so many bins; grows where phases alone are more than that.
    bins_max: usize,
    phase: PhaseId,
    instructions: u64,
    opened: Mark,
}

impl Default for Timeline {
    fn default() -> Self {
        Self {
            bins: Vec::new(),
            bin_instructions: FIRST_BIN_INSTRUCTIONS,
            bins_max: BINS,
            phase: 0,
            instructions: 0,
            opened: Mark::default(),
        }
    }
}

impl Timeline {
    /// What follows belongs to `phase`; `accesses` is the total so far.
    pub fn enter(&mut self, phase: PhaseId, accesses: u64, system: Option<&System>) {
        if phase != self.phase {
            self.close(accesses, system);
            self.phase = phase;
        }
    }

    /// `instructions` more were executed; `accesses` is the total so far.
    pub fn advance(&mut self, instructions: u64, accesses: u64, system: Option<&System>) {
        self.instructions += instructions;
        if self.instructions - self.opened.instructions >= self.bin_instructions {
            self.close(accesses, system);
        }
    }

    /// Ends the open bin, because the phase ends or it is full.
    pub fn close(&mut self, accesses: u64, system: Option<&System>) {
        if self.instructions == self.opened.instructions {
            return;
        }
        let now = self.mark(accesses, system);
        let before = |level: usize| self.opened.misses.get(level).copied().unwrap_or(0);
        self.bins.push(Bin {
            phase: self.phase,
            from: self.opened.instructions,
            instructions: now.instructions - self.opened.instructions,
            accesses: now.accesses - self.opened.accesses,
            misses: now
                .misses
                .iter()
                .enumerate()
                .map(|(level, misses)| misses - before(level))
                .collect(),
            dram_read_bytes: now.dram_read_bytes - self.opened.dram_read_bytes,
            dram_write_bytes: now.dram_write_bytes - self.opened.dram_write_bytes,
        });
        self.opened = now;
        if self.bins.len() >= self.bins_max {
            self.halve();
        }
    }

    fn mark(&self, accesses: u64, system: Option<&System>) -> Mark {
        let mark = Mark {
            instructions: self.instructions,
            accesses,
            ..Mark::default()
        };
        let Some(system) = system else { return mark };
        let ledger = system.caches().ledger();
        Mark {
            misses: (0..system.level_names().len())
                .map(|level| ledger.total_misses(level))
                .collect(),
            dram_read_bytes: system.dram().total_read_bytes(),
            dram_write_bytes: system.dram().total_write_bytes(),
            ..mark
        }
    }

    /// Merges neighbours of one phase, two by two.
    fn halve(&mut self) {
        self.bin_instructions *= 2;
        let mut merged: Vec<Bin> = Vec::with_capacity(self.bins_max);
        for bin in self.bins.drain(..) {
            match merged.last_mut() {
                Some(last)
                    if last.phase == bin.phase
                        && last.instructions + bin.instructions <= self.bin_instructions =>
                {
                    last.absorb(&bin);
                }
                _ => merged.push(bin),
            }
        }
        self.bins_max = BINS.max(2 * merged.len());
        self.bins = merged;
    }

    /// The bins, in order of time.
    #[must_use]
    pub fn bins(&self) -> &[Bin] {
        &self.bins
    }
}
