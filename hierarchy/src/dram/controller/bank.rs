//! Banks, and per rank the sets of banks that wait for the same kind of command.

use serde::{Deserialize, Serialize};

use super::queue::{List, NONE, Queue};
use crate::dram::timing::Tick;

/// No row.
pub(super) const CLOSED: u32 = u32::MAX;

/// One bank.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Bank {
    pub(super) open_row: u32,
    /// The request that the row was opened for and that was not served yet.
    pub(super) active: u16,
    /// Queued reads and writes.
    pub(super) lists: [List; 2],
    /// Column commands since the row was opened.
    pub(super) columns: u32,
    /// The last column command or activate.
    pub(super) last_use: Tick,
    /// The row that was closed last, and the counter of the adaptive policy: 2 and 3 close.
    pub(super) closed_row: u32,
    pub(super) predictor: u8,
}

impl Default for Bank {
    fn default() -> Self {
        Self {
            open_row: CLOSED,
            active: NONE,
            lists: Default::default(),
            columns: 0,
            last_use: 0,
            closed_row: CLOSED,
            predictor: 0,
        }
    }
}

impl Bank {
    pub(super) fn has_hits(&self) -> bool {
        self.lists.iter().any(|list| list.hit != NONE)
    }

    /// Finds again whom to serve next, after a row was opened or closed. `better` compares two requests, for
    /// schedulers that don't go by age alone.
    pub(super) fn classify(&mut self, queue: &Queue, better: Option<&dyn Fn(u16, u16) -> bool>) {
        for list in &mut self.lists {
            (list.hit, list.other) = (NONE, NONE);
            let mut found = (NONE, NONE);
            for slot in queue.iter(list) {
                let place = if queue[slot].row == self.open_row {
                    &mut found.0
                } else {
                    &mut found.1
                };
                if *place == NONE || better.is_some_and(|better| better(slot, *place)) {
                    *place = slot;
                }
                let all = found.1 != NONE && (found.0 != NONE || self.open_row == CLOSED);
                if all && better.is_none() {
                    break;
                }
            }
            (list.hit, list.other) = found;
        }
    }
}

/// The banks of one rank, a bit each.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(super) struct RankBanks {
    /// With a request to the open row, by direction.
    pub(super) hit: [u64; 2],
    /// Closed and with a request.
    pub(super) wait: [u64; 2],
    /// Open and with a request to another row.
    pub(super) conflict: [u64; 2],
    /// With a row that was opened for a request that was not served yet.
    pub(super) active: [u64; 2],
    /// With a row open.
    pub(super) open: u64,
    /// Kept free for maintenance.
    pub(super) blocked: u64,
    /// When the first row was opened, if there is one open.
    pub(super) open_since: Tick,
}

/// Sets or clears a bit.
#[inline]
pub(super) fn set(bits: &mut u64, bit: usize, on: bool) {
    *bits = *bits & !(1 << bit) | u64::from(on) << bit;
}

/// The numbers of the bits that are set.
#[inline]
pub(super) fn bits(mut set: u64) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let bit = set.trailing_zeros() as usize;
        (set != 0).then(|| {
            set &= set - 1;
            bit
        })
    })
}
