//! Banks, their rows, and what opening and closing rows does to whom they serve next.

use serde::{Deserialize, Serialize};

use super::Channel;
use super::config::RowPolicy;
use super::lane::{Kind, LaneId};
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

    /// Whether requests wait for it.
    pub(super) fn has_requests(&self) -> bool {
        self.active != NONE || !self.lists.iter().all(List::is_empty)
    }

    /// The request that it would serve in a lane that it is in.
    #[inline(always)]
    pub(super) fn next(&self, lane: LaneId) -> u16 {
        let list = &self.lists[lane.direction()];
        match lane.kind() {
            Kind::Closed | Kind::Conflict => list.other,
            Kind::Active => self.active,
            Kind::Hit => list.hit,
        }
    }

    /// Finds again whom to serve next, after a row was opened or closed or, `by_source`, standings have changed.
    #[inline]
    pub(super) fn classify(&mut self, queue: &Queue, by_source: bool) {
        for list in &mut self.lists {
            if self.open_row == CLOSED && !by_source || list.is_empty() {
                (list.other, list.hit) = (list.oldest(), NONE);
                continue;
            }
            let mut found = [NONE; 2];
            for slot in queue.iter(list) {
                let place = &mut found[usize::from(queue[slot].row == self.open_row)];
                if *place == NONE || by_source && queue[slot].order < queue[*place].order {
                    *place = slot;
                }
                // Without standings, those behind the first are younger.
                if !by_source && found[0] != NONE && found[1] != NONE {
                    break;
                }
            }
            [list.other, list.hit] = found;
        }
    }
}

/// The rows of one rank's banks, a bit each.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(super) struct RankBanks {
    /// With a row open.
    pub(super) open: u64,
    /// With a row that was opened for a request that was not served yet.
    pub(super) active: u64,
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
        self.banks[bank].classify(&self.queue, plan.by_source);
        let (rank, number) = plan.table.place(bank);
        let lanes = &mut self.lanes[rank];
        for direction in [0, 1] {
            lanes.take(LaneId::new(Kind::Closed, direction), number);
        }
        self.enter_open(plan, bank);
    }

    pub(super) fn close(&mut self, plan: &Plan, bank: usize, tick: Tick) {
        let state = &mut self.banks[bank];
        (state.closed_row, state.open_row) = (state.open_row, CLOSED);
        let (rank_number, bit) = plan.table.place(bank);
        let rank = &mut self.ranks[rank_number];
        set(&mut rank.open, bit, false);
        if rank.open == 0 {
            self.statistics.active_ticks += tick - rank.open_since;
        }
        self.banks[bank].classify(&self.queue, plan.by_source);
        for direction in [0, 1] {
            let lanes = &mut self.lanes[rank_number];
            lanes.take(LaneId::new(Kind::Conflict, direction), bit);
            lanes.take(LaneId::new(Kind::Hit, direction), bit);
            self.enter(plan, bank, LaneId::new(Kind::Closed, direction));
        }
    }

    /// Sources' standings have changed.
    pub(super) fn reorder(&mut self, plan: &Plan) {
        self.queue
            .reorder(|source| Self::standing(plan, &self.blacklist, source));
        for bank in 0..self.banks.len() {
            self.banks[bank].classify(&self.queue, plan.by_source);
            self.enter_again(plan, bank);
        }
    }

    /// The same requests go by other orders, or the bank is kept free or no more.
    pub(super) fn enter_again(&mut self, plan: &Plan, bank: usize) {
        if self.banks[bank].open_row == CLOSED {
            for direction in [0, 1] {
                self.enter(plan, bank, LaneId::new(Kind::Closed, direction));
            }
        } else {
            self.enter_open(plan, bank);
        }
    }

    /// Puts a bank with an open row into the lanes of what it waits for.
    #[inline(always)]
    pub(super) fn enter_open(&mut self, plan: &Plan, bank: usize) {
        let active = self.banks[bank].active;
        if active != NONE {
            let direction = self.queue[active].write.into();
            self.enter(plan, bank, LaneId::new(Kind::Active, direction));
        }
        for direction in [0, 1] {
            if self.banks[bank].lists[direction].is_empty() {
                continue;
            }
            self.enter(plan, bank, LaneId::new(Kind::Conflict, direction));
            self.enter(plan, bank, LaneId::new(Kind::Hit, direction));
        }
    }

    /// The request that the bank's row was opened for, or none any more.
    #[inline(always)]
    pub(super) fn set_active(&mut self, plan: &Plan, bank: usize, slot: u16) {
        let (rank, number) = plan.table.place(bank);
        let was = std::mem::replace(&mut self.banks[bank].active, slot);
        set(&mut self.ranks[rank].active, number, slot != NONE);
        if slot == NONE {
            self.active_requests -= 1;
            let lane = LaneId::new(Kind::Active, self.queue[was].write.into());
            self.lanes[rank].take(lane, number);
        } else {
            self.active_requests += 1;
        }
    }

    /// Puts a bank into a lane if it has a request for it, or takes it out: while it is kept free it waits for nothing but
    /// to serve the request that its row was opened for, and while there is one, its row stays open.
    #[inline(always)]
    pub(super) fn enter(&mut self, plan: &Plan, bank: usize, lane: LaneId) {
        let slot = self.banks[bank].next(lane);
        if slot == NONE {
            return;
        }
        let (rank, number) = plan.table.place(bank);
        let RankBanks { blocked, active, .. } = self.ranks[rank];
        let request = &self.queue[slot];
        let (order, held) = match lane.kind() {
            Kind::Active => (request.sequence, 0),
            Kind::Conflict => (request.order, blocked | active),
            _ => (request.order, blocked),
        };
        let lanes = &mut self.lanes[rank];
        if held >> number & 1 == 1 {
            lanes.take(lane, number);
            return;
        }
        let (marks, edge) = self.timing.of_rank(&plan.table, rank).banks(lane.command());
        lanes.put(lane, number, order, marks[number % LANES] | edge);
    }
}
