//! Banks, their rows, and what opening and closing rows does to whom they serve next.

use serde::{Deserialize, Serialize};

use super::Channel;
use super::config::RowPolicy;
use super::lane::{Kind, LaneId};
use super::maintenance::Task;
use super::plan::Plan;
use super::queue::{List, NONE, Queue};
use super::rowhammer::Demand;
use crate::dram::command::Command;
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
    /// Of each lane that it is in, the request that it would serve.
    pub(super) next: [u16; LaneId::COUNT],
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
            next: [NONE; LaneId::COUNT],
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
        for bank in 0..self.banks.len() {
            self.classify(plan, bank);
            self.enter_again(plan, bank);
        }
    }

    /// The same requests go by other orders, or the bank is kept free or no more.
    pub(super) fn enter_again(&mut self, plan: &Plan, bank: usize) {
        for number in 0..LaneId::COUNT {
            if self.banks[bank].next[number] != NONE {
                self.enter(plan, bank, LaneId::from_number(number));
            }
        }
    }

    /// Puts a bank into the lanes of what it waits for, each with whom it would serve.
    #[inline(always)]
    pub(super) fn sort_in(&mut self, plan: &Plan, bank: usize) {
        for direction in [0, 1] {
            let state = &self.banks[bank];
            let list = &state.lists[direction];
            let (hit, other) = (list.hit, list.other);
            let (closed, conflict) = match state.open_row {
                CLOSED => (other, NONE),
                _ => (NONE, other),
            };
            self.serve_next(plan, bank, LaneId::new(Kind::Closed, direction), closed);
            let lane = LaneId::new(Kind::Conflict, direction);
            if self.banks[bank].active == NONE {
                self.serve_next(plan, bank, lane, conflict);
            } else {
                // Held back for now.
                self.banks[bank].next[lane.number()] = conflict;
            }
            self.serve_next(plan, bank, LaneId::new(Kind::Hit, direction), hit);
        }
    }

    /// A column command was served and left the row open: the bank's marks have moved, and whom it serves next may have
    /// changed.
    #[inline(always)]
    pub(super) fn stay_open(&mut self, plan: &Plan, bank: usize) {
        let active = self.banks[bank].active;
        if active != NONE {
            self.enter(
                plan,
                bank,
                LaneId::new(Kind::Active, self.queue[active].write.into()),
            );
        }
        for direction in [0, 1] {
            let state = &self.banks[bank];
            let list = &state.lists[direction];
            let (hit, other) = (list.hit, list.other);
            for (kind, slot) in [(Kind::Conflict, other), (Kind::Hit, hit)] {
                let lane = LaneId::new(kind, direction);
                let was = std::mem::replace(&mut self.banks[bank].next[lane.number()], slot);
                if slot != NONE {
                    self.enter(plan, bank, lane);
                } else if was != NONE {
                    self.leave(plan, bank, lane);
                }
            }
        }
    }

    /// The request that the bank's row was opened for, or none any more.
    pub(super) fn set_active(&mut self, plan: &Plan, bank: usize, slot: u16) {
        let (rank, number) = plan.table.place(bank);
        let was = std::mem::replace(&mut self.banks[bank].active, slot);
        set(&mut self.ranks[rank].active, number, slot != NONE);
        let lane = |slot: u16| LaneId::new(Kind::Active, self.queue[slot].write.into());
        if slot == NONE {
            self.active_requests -= 1;
            self.serve_next(plan, bank, lane(was), NONE);
        } else {
            self.active_requests += 1;
            self.serve_next(plan, bank, lane(slot), slot);
        }
    }

    /// Whom the bank serves next of those in a lane.
    #[inline(always)]
    fn serve_next(&mut self, plan: &Plan, bank: usize, lane: LaneId, slot: u16) {
        let next = &mut self.banks[bank].next[lane.number()];
        if *next != slot {
            *next = slot;
            if slot == NONE {
                self.leave(plan, bank, lane);
            } else {
                self.enter(plan, bank, lane);
            }
        }
    }

    #[inline(always)]
    fn leave(&mut self, plan: &Plan, bank: usize, lane: LaneId) {
        let (rank, number) = plan.table.place(bank);
        self.lanes.take(rank, lane, number);
    }

    /// Puts a bank into a lane, or takes it out: while it is kept free it waits for nothing but to serve the request that
    /// its row was opened for, and while there is one, its row stays open.
    #[inline(never)]
    fn enter(&mut self, plan: &Plan, bank: usize, lane: LaneId) {
        let (rank, number) = plan.table.place(bank);
        let slot = self.banks[bank].next[lane.number()];
        let RankBanks { blocked, active, .. } = self.ranks[rank];
        let request = &self.queue[slot];
        let (order, held) = if slot == self.banks[bank].active {
            (request.sequence, 0)
        } else if lane.command() == Command::Precharge {
            (request.order, blocked | active)
        } else {
            (request.order, blocked)
        };
        if held >> number & 1 == 1 {
            self.lanes.take(rank, lane, number);
            return;
        }
        let (marks, edge) = self.timing.bank_marks(&plan.table, lane.command(), rank);
        self.lanes.put(rank, lane, number, order, marks[number] | edge);
    }
}
