//! Banks, and per rank the sets of banks that wait for the same kind of command: what opening and closing rows does.

use serde::{Deserialize, Serialize};

use super::Channel;
use super::config::RowPolicy;
use super::maintenance::Task;
use super::plan::Plan;
use super::queue::{List, NONE, Queue};
use super::rowhammer::Demand;
use crate::dram::timing::{LANES, Tick};

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

    /// Finds again whom to serve next, after a row was opened or closed or, `by_source`, standings have changed.
    pub(super) fn classify(&mut self, queue: &Queue, by_source: bool) {
        for list in &mut self.lists {
            let mut found = [NONE; 2];
            for slot in queue.iter(list) {
                let place = &mut found[usize::from(queue[slot].row == self.open_row)];
                if *place == NONE || by_source && queue[slot].order < queue[*place].order {
                    *place = slot;
                }
                // Without standings, those behind the first are younger.
                if !by_source && found[0] != NONE && (found[1] != NONE || self.open_row == CLOSED) {
                    break;
                }
            }
            [list.other, list.hit] = found;
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

/// Which of the requests that a bank may serve next.
#[derive(Clone, Copy, Debug)]
pub(super) enum Lane {
    /// To the open row, by direction.
    Hit(usize),
    /// To another row, by direction.
    Other(usize),
    /// The one that the row was opened for.
    Active,
}

/// By what the requests go that banks serve next, by lane, rank and bank.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Orders {
    ranks: usize,
    orders: Vec<u64>,
}

impl Orders {
    pub(super) fn new(ranks: usize) -> Self {
        Self {
            ranks,
            orders: vec![u64::MAX; 5 * ranks * LANES],
        }
    }

    #[inline(always)]
    fn node(&self, lane: Lane, rank: usize) -> usize {
        let lane = match lane {
            Lane::Hit(direction) => direction,
            Lane::Other(direction) => 2 + direction,
            Lane::Active => 4,
        };
        lane * self.ranks + rank
    }

    /// Those of a rank's banks. What a bank has that has no such request means nothing.
    #[inline(always)]
    pub(super) fn of(&self, lane: Lane, rank: usize) -> &[u64; LANES] {
        &self.orders.as_chunks().0[self.node(lane, rank)]
    }

    #[inline(always)]
    pub(super) fn put(&mut self, lane: Lane, rank: usize, number: usize, order: u64) {
        let node = self.node(lane, rank);
        self.orders.as_chunks_mut::<LANES>().0[node][number % LANES] = order;
    }
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

impl Channel {
    /// Whether the row policy closes the row with this column command.
    pub(super) fn closes_row(&self, plan: &Plan, bank: usize) -> bool {
        let state = &self.banks[bank];
        if state.active != NONE {
            return false;
        }
        match plan.row_policy {
            RowPolicy::Open | RowPolicy::Timeout(_) => false,
            RowPolicy::Closed => !state.has_hits(),
            RowPolicy::Capped(columns) => state.columns >= columns,
            RowPolicy::Adaptive => state.predictor >= 2 && !state.has_hits(),
        }
    }

    pub(super) fn open(&mut self, plan: &Plan, bank: usize, row: u32, tick: Tick, for_request: bool) {
        let state = &mut self.banks[bank];
        (state.open_row, state.columns, state.last_use) = (row, 0, tick);
        let (rank, bit) = plan.table.place(bank);
        let rank = &mut self.ranks[rank];
        if rank.open == 0 {
            rank.open_since = tick;
        }
        set(&mut rank.open, bit, true);
        match self.rowhammer.activate(bank, row, tick, for_request) {
            Demand::None => {}
            Demand::Neighbours(below, above) => {
                for row in [below, above] {
                    if self.rowhammer.has_row(row) {
                        self.demand(plan, Task::Row(bank as u16, row));
                    }
                }
            }
            Demand::Manage => self.demand(plan, Task::Command(plan.manage, bank as u16)),
        }
        self.classify(plan, bank);
    }

    pub(super) fn close(&mut self, plan: &Plan, bank: usize, tick: Tick) {
        let state = &mut self.banks[bank];
        (state.closed_row, state.open_row) = (state.open_row, CLOSED);
        let (rank, bit) = plan.table.place(bank);
        let rank = &mut self.ranks[rank];
        set(&mut rank.open, bit, false);
        if rank.open == 0 {
            self.statistics.active_ticks += tick - rank.open_since;
        }
        self.classify(plan, bank);
    }

    fn classify(&mut self, plan: &Plan, bank: usize) {
        self.banks[bank].classify(&self.queue, plan.by_source);
        self.sort_in(plan, bank);
    }

    /// Sources' standings have changed.
    pub(super) fn reorder(&mut self, plan: &Plan) {
        self.queue
            .reorder(|source| Self::standing(plan, &self.blacklist, source));
        (0..self.banks.len()).for_each(|bank| self.classify(plan, bank));
    }

    /// Puts a bank into the sets of its rank, and keeps by what those that it serves next go.
    pub(super) fn sort_in(&mut self, plan: &Plan, bank: usize) {
        let state = &self.banks[bank];
        let (index, bit) = plan.table.place(bank);
        let rank = &mut self.ranks[index];
        let closed = state.open_row == CLOSED;
        let mut active = [0; 2];
        if state.active != NONE {
            let request = &self.queue[state.active];
            active[usize::from(request.write)] = 1 << bit;
            self.orders.put(Lane::Active, index, bit, request.sequence);
        }
        let bank = 1 << bit;
        for (direction, list) in state.lists.iter().enumerate() {
            let mut sets = [0; 3];
            if list.hit != NONE {
                sets[0] = bank;
                let order = self.queue[list.hit].order;
                self.orders.put(Lane::Hit(direction), index, bit, order);
            }
            if list.other != NONE {
                sets[if closed { 1 } else { 2 }] = bank;
                let order = self.queue[list.other].order;
                self.orders.put(Lane::Other(direction), index, bit, order);
            }
            rank.hit[direction] = rank.hit[direction] & !bank | sets[0];
            rank.wait[direction] = rank.wait[direction] & !bank | sets[1];
            rank.conflict[direction] = rank.conflict[direction] & !bank | sets[2];
            rank.active[direction] = rank.active[direction] & !bank | active[direction];
        }
    }
}
