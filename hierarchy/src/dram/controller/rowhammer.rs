//! Activations per row: exposure to RowHammer, and what PRAC, PARA, Graphene and refresh management do about it.
//!
//! Exposure counts activations per row between two of the row's refreshes, as if every row were refreshed together once
//! per window (tREFW = 8192 tREFI); a window that starts anywhere else can hold up to twice as many. Refreshing a
//! neighbour restarts the counts of the rows next to it, which is what the neighbour suffers from; refreshes by RFM do
//! so for the rows with the most activations (assumed: devices differ).

use serde::{Deserialize, Serialize};

use super::config::Mitigation;
use crate::dram::timing::Tick;

/// What a mitigation asks for after an activation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Demand {
    /// Nothing.
    None,
    /// Refresh these rows (a row beyond the end of the bank is none).
    Neighbours(u32, u32),
    /// Refresh management for the bank.
    Manage,
}

/// The most activations that a row saw.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exposure {
    /// Activations in one refresh window.
    pub activations: u32,
    /// Bank of the row, in its channel.
    pub bank: u32,
    /// The row.
    pub row: u32,
    /// The window, counted from 0.
    pub window: u64,
}

/// The counters of one channel.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct RowHammer {
    mitigation: Mitigation,
    rows: u32,
    window_ticks: Tick,
    window: u64,
    // Activations by row, of banks that were activated at all.
    counts: Vec<Vec<u32>>,
    worst: Exposure,
    // Rolling accumulated activations of each bank (RAA).
    rolling: Vec<u32>,
    // Graphene: by bank, (row, estimated count) and the count of the rows that are not held.
    tables: Vec<Vec<(u32, u32)>>,
    spilled: Vec<u32>,
    random: u64,
}

impl RowHammer {
    pub(super) fn new(mitigation: Mitigation, banks: usize, rows: u32, window_ticks: Tick) -> Self {
        Self {
            mitigation,
            rows,
            window_ticks: window_ticks.max(1),
            window: 0,
            counts: vec![Vec::new(); banks],
            worst: Exposure::default(),
            rolling: vec![0; banks],
            tables: vec![Vec::new(); banks],
            spilled: vec![0; banks],
            // Any odd number: the same run gives the same result.
            random: 0x9e37_79b9_7f4a_7c15,
        }
    }

    /// The row that saw the most activations in one window.
    pub(super) fn worst(&self) -> Exposure {
        self.worst
    }

    /// Counts an activation and says what the mitigation wants: of one for a request, not of its own.
    #[inline]
    pub(super) fn activate(&mut self, bank: usize, row: u32, tick: Tick, for_request: bool) -> Demand {
        if tick >= (self.window + 1) * self.window_ticks {
            self.start_window(tick / self.window_ticks);
        }
        let rows = &mut self.counts[bank];
        if rows.is_empty() {
            rows.resize(self.rows as usize, 0);
        }
        let count = &mut rows[row as usize];
        *count += 1;
        if *count > self.worst.activations {
            self.worst = Exposure {
                activations: *count,
                bank: bank as u32,
                row,
                window: self.window,
            };
        }
        let count = *count;
        match self.mitigation {
            _ if !for_request => Demand::None,
            Mitigation::None => Demand::None,
            Mitigation::Rfm(limit) => {
                self.rolling[bank] += 1;
                if self.rolling[bank] >= limit {
                    self.rolling[bank] = 0;
                    return Demand::Manage;
                }
                Demand::None
            }
            Mitigation::Prac(threshold) if count.is_multiple_of(threshold) => Demand::Manage,
            Mitigation::Prac(_) => Demand::None,
            Mitigation::Para(probability) => {
                let random = self.next_random();
                // 53 bits, as many as a double holds.
                if ((random >> 11) as f64) < probability * (1u64 << 53) as f64 {
                    let neighbour = if random & 1 == 0 {
                        row.wrapping_sub(1)
                    } else {
                        row + 1
                    };
                    return Demand::Neighbours(neighbour, u32::MAX);
                }
                Demand::None
            }
            Mitigation::Graphene { threshold, entries } => {
                if self
                    .estimate(bank, row, usize::from(entries))
                    .is_multiple_of(threshold)
                {
                    return Demand::Neighbours(row.wrapping_sub(1), row + 1);
                }
                Demand::None
            }
        }
    }

    /// The Misra-Gries estimate of a row's count after one more; never too small. 1 for a row that is not held.
    fn estimate(&mut self, bank: usize, row: u32, entries: usize) -> u32 {
        let (table, spilled) = (&mut self.tables[bank], &mut self.spilled[bank]);
        if let Some((_, count)) = table.iter_mut().find(|(held, _)| *held == row) {
            *count += 1;
            return *count;
        }
        if table.len() < entries {
            table.push((row, *spilled + 1));
            return *spilled + 1;
        }
        match table.iter_mut().find(|(_, count)| *count == *spilled) {
            Some(entry) => {
                *entry = (row, *spilled + 1);
                *spilled + 1
            }
            None => {
                *spilled += 1;
                1
            }
        }
    }

    fn start_window(&mut self, window: u64) {
        self.window = window;
        self.counts.iter_mut().for_each(|rows| rows.fill(0));
        self.tables.iter_mut().for_each(Vec::clear);
        self.spilled.fill(0);
    }

    // xorshift64: cheap and good enough to toss a coin.
    fn next_random(&mut self) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random
    }

    /// A row was refreshed on its own: its neighbours' activations have done it no harm so far.
    pub(super) fn refreshed(&mut self, bank: usize, row: u32) {
        let rows = &mut self.counts[bank];
        for aggressor in [row.wrapping_sub(1), row + 1] {
            if let Some(count) = rows.get_mut(aggressor as usize) {
                *count = 0;
            }
        }
    }

    /// An RFM let the bank refresh the neighbours of its most activated row.
    pub(super) fn managed(&mut self, bank: usize) {
        if let Some(most) = self.counts[bank].iter_mut().max() {
            *most = 0;
        }
    }

    /// Whether a bank has such a row.
    pub(super) fn has_row(&self, row: u32) -> bool {
        row < self.rows
    }
}
