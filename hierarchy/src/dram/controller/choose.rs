//! Which command goes next, and when.
//!
//! The choice is made once per change of state, not per tick: of every kind of command, the banks that want it are a
//! bit set per rank, and each bank knows whom it would serve. What comes out is the earliest tick at which anything
//! may issue and the best of what may issue then; until something arrives or falls due it stays the right choice.

use serde::{Deserialize, Serialize};

use super::Channel;
use super::bank::bits;
use super::config::{RowPolicy, Scheduler};
use super::plan::Plan;
use super::queue::NONE;
use crate::dram::command::Command;
use crate::dram::constraint::Scope;
use crate::dram::timing::Tick;

/// What a choice issues for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Purpose {
    /// A request.
    Request(u16),
    /// The first task of a domain.
    Task(usize),
    /// Closing a row that nobody wants.
    Idle,
}

/// A command to issue.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct Choice {
    pub(super) tick: Tick,
    /// Requests with an open row before maintenance before other requests before closing idle rows.
    tier: u8,
    /// Within a tier, the smaller first.
    key: u64,
    pub(super) command: Command,
    pub(super) bank: usize,
    pub(super) row: u32,
    pub(super) purpose: Purpose,
}

const SEQUENCE_BITS: u32 = 48;
const ROW_COMMAND: u64 = 1 << SEQUENCE_BITS;
const BLACKLISTED: u64 = 1 << (SEQUENCE_BITS + 1);
const PRIORITY_SHIFT: u32 = SEQUENCE_BITS + 2;

/// Keeps the better of two.
#[inline]
fn keep(best: &mut Option<Choice>, tick: Tick, tier: u8, key: u64, choice: impl FnOnce() -> Choice) {
    if best.is_none_or(|best| (tick, tier, key) < (best.tick, best.tier, best.key)) {
        *best = Some(choice());
    }
}

impl Channel {
    /// What to issue next, on the column bus and on the row bus; with one bus for both, in the first place.
    pub(super) fn choose(&mut self, plan: &Plan) -> [Option<Choice>; 2] {
        let now = self.now;
        let column_from = now.max(self.bus_free[0]);
        let row_from = now.max(self.bus_free[1]);
        let mut column = None;
        let mut row = None;
        self.choose_active(plan, column_from, &mut column);
        if self.busy_domains > 0 {
            self.choose_task(plan, row_from, &mut row);
        }
        let taken = !plan.device.dual_bus && column.is_some_and(|choice: Choice| choice.tick == now);
        if !taken {
            self.set_direction(plan);
            self.choose_request(plan, column_from, row_from, &mut column, &mut row);
            if plan.timeout_ticks != Tick::MAX {
                self.choose_idle(plan, row_from, &mut row);
            }
        }
        if plan.device.dual_bus {
            return [column, row];
        }
        let first = match (column, row) {
            (Some(column), Some(row)) => {
                let order = |choice: Choice| (choice.tick, choice.tier, choice.key);
                Some(if order(row) < order(column) { row } else { column })
            }
            (column, row) => column.or(row),
        };
        [first, None]
    }

    /// Reading or writing: the queues' watermarks decide, and requests that waited too long.
    fn set_direction(&mut self, plan: &Plan) {
        let [reads, writes] = self.queue.lengths;
        let before = self.writing;
        if !self.writing {
            self.writing = writes > plan.high_watermark || reads == 0;
        } else if writes < plan.low_watermark && reads != 0 {
            self.writing = false;
        }
        let waits_long = |direction| {
            let oldest = self.queue.oldest(direction)?;
            let since = self.queue[oldest].arrival;
            (since + plan.starvation_ticks <= self.now).then_some(since)
        };
        if let Some(write) = waits_long(usize::from(!self.writing)) {
            let other = waits_long(usize::from(self.writing));
            if other.is_none_or(|other| write < other) {
                self.writing = !self.writing;
            }
        }
        self.statistics.turnarounds += u64::from(before != self.writing && writes > 0 && reads > 0);
    }

    fn key(&self, plan: &Plan, slot: u16, row_command: bool) -> u64 {
        let request = &self.queue[slot];
        let mut key = request.sequence;
        if row_command && !matches!(plan.scheduler, Scheduler::FrFcfs | Scheduler::Fcfs) {
            key |= ROW_COMMAND;
        }
        if plan.by_source {
            key | self.source_key(plan, request.source)
        } else {
            key
        }
    }

    /// The part of a key that its source makes.
    pub(super) fn source_key(&self, plan: &Plan, source: u16) -> u64 {
        let priority = plan
            .config
            .priorities
            .get(usize::from(source))
            .copied()
            .unwrap_or(0);
        let blacklisted = self.blacklist.get(usize::from(source)).copied().unwrap_or(false);
        u64::from(u8::MAX - priority) << PRIORITY_SHIFT | if blacklisted { BLACKLISTED } else { 0 }
    }

    fn choose_active(&self, plan: &Plan, from: Tick, best: &mut Option<Choice>) {
        for (index, rank) in self.ranks.iter().enumerate() {
            for (direction, command) in [Command::Read, Command::Write].into_iter().enumerate() {
                if rank.active[direction] == 0 {
                    continue;
                }
                let first = index * plan.banks_per_rank;
                let shared = self
                    .timing
                    .gate_to(plan.table.path(first), command, Scope::Rank)
                    .max(from);
                for bit in bits(rank.active[direction]) {
                    let bank = first + bit;
                    let tick = self.tick_in_rank(plan, command, bank, shared);
                    let slot = self.banks[bank].active;
                    let key = self.queue[slot].sequence;
                    let purpose = Purpose::Request(slot);
                    keep(best, tick, 0, key, || Choice {
                        tick,
                        tier: 0,
                        key,
                        command,
                        bank,
                        row: 0,
                        purpose,
                    });
                }
            }
        }
    }

    /// When `command` may issue to `bank`, given when its rank lets it.
    #[inline]
    fn tick_in_rank(&self, plan: &Plan, command: Command, bank: usize, shared: Tick) -> Tick {
        let path = plan.table.path(bank);
        let group = self.timing.gate_at(path, command, Scope::BankGroup);
        let own = self.timing.gate_at(path, command, Scope::Bank);
        plan.table.on_edge(command, shared.max(group).max(own))
    }

    fn choose_task(&self, plan: &Plan, from: Tick, best: &mut Option<Choice>) {
        for step in self.steps(plan) {
            let gate = self.timing.gate(&plan.table, step.command, step.bank).max(from);
            let tick = plan.table.on_edge(step.command, gate);
            let key = step.domain as u64;
            let (command, bank, row) = (step.command, step.bank, step.row);
            let purpose = Purpose::Task(step.domain);
            keep(best, tick, 1, key, || Choice {
                tick,
                tier: 1,
                key,
                command,
                bank,
                row,
                purpose,
            });
        }
    }

    fn choose_request(
        &self,
        plan: &Plan,
        column_from: Tick,
        row_from: Tick,
        column: &mut Option<Choice>,
        row: &mut Option<Choice>,
    ) {
        let direction = usize::from(self.writing);
        let oldest = self.queue.oldest(direction);
        // In order: nobody but the oldest, and not while the one before it has its row open but not its data.
        let only = match plan.scheduler {
            Scheduler::Fcfs => {
                if self.active_requests > 0 {
                    return;
                }
                oldest
            }
            _ => None,
        };
        let starved = oldest.filter(|&slot| self.queue[slot].arrival + plan.starvation_ticks <= self.now);
        let starved_bank = starved.map(|slot| usize::from(self.queue[slot].bank));
        let cap = match plan.scheduler {
            Scheduler::FrFcfsCap(0) | Scheduler::Bliss { .. } => Some(u32::MAX),
            Scheduler::FrFcfsCap(cap) => Some(cap),
            _ => None,
        };
        let access = if self.writing {
            Command::Write
        } else {
            Command::Read
        };
        for (index, rank) in self.ranks.iter().enumerate() {
            let first = index * plan.banks_per_rank;
            let free = !rank.blocked;
            let path = plan.table.path(first);
            let lists = |bit: usize| &self.banks[first + bit].lists[direction];
            // A bank whose oldest request starves serves nothing else.
            let starves = |bit: usize, slot: u16| starved_bank == Some(first + bit) && starved != Some(slot);
            let (hits, conflicts) = (rank.hit[direction] & free, rank.conflict[direction] & free);
            if hits != 0 {
                let shared = self.timing.gate_to(path, access, Scope::Rank).max(column_from);
                for bit in bits(hits) {
                    let (bank, slot) = (first + bit, lists(bit).hit);
                    let capped =
                        cap.is_some_and(|cap| self.banks[bank].columns >= cap) && conflicts >> bit & 1 == 1;
                    if capped || starves(bit, slot) || only.is_some_and(|only| only != slot) {
                        continue;
                    }
                    let tick = self.tick_in_rank(plan, access, bank, shared);
                    let (key, command) = (self.key(plan, slot, false), access);
                    let purpose = Purpose::Request(slot);
                    keep(column, tick, 2, key, || Choice {
                        tick,
                        tier: 2,
                        key,
                        command,
                        bank,
                        row: 0,
                        purpose,
                    });
                }
            }
            let waits = rank.wait[direction] & free;
            if waits != 0 {
                let command = Command::Activate;
                let shared = self.timing.gate_to(path, command, Scope::Rank).max(row_from);
                for bit in bits(waits) {
                    let (bank, slot) = (first + bit, lists(bit).other);
                    if starves(bit, slot) || only.is_some_and(|only| only != slot) {
                        continue;
                    }
                    let tick = self.tick_in_rank(plan, command, bank, shared);
                    let (key, row_number) = (self.key(plan, slot, true), self.queue[slot].row);
                    let purpose = Purpose::Request(slot);
                    keep(row, tick, 2, key, || Choice {
                        tick,
                        tier: 2,
                        key,
                        command,
                        bank,
                        row: row_number,
                        purpose,
                    });
                }
            }
            let conflicts = conflicts & !(rank.active[0] | rank.active[1]);
            if conflicts != 0 {
                let command = Command::Precharge;
                let shared = self.timing.gate_to(path, command, Scope::Rank).max(row_from);
                for bit in bits(conflicts) {
                    let (bank, slot) = (first + bit, lists(bit).other);
                    let keeps_row = cap.is_some_and(|cap| self.banks[bank].columns < cap)
                        && hits >> bit & 1 == 1
                        && starved != Some(slot);
                    if keeps_row || starves(bit, slot) || only.is_some_and(|only| only != slot) {
                        continue;
                    }
                    let tick = self.tick_in_rank(plan, command, bank, shared);
                    let key = self.key(plan, slot, true);
                    let purpose = Purpose::Request(slot);
                    keep(row, tick, 2, key, || Choice {
                        tick,
                        tier: 2,
                        key,
                        command,
                        bank,
                        row: 0,
                        purpose,
                    });
                }
            }
        }
    }

    /// A row that was open for long enough and that nobody wants.
    fn choose_idle(&self, plan: &Plan, from: Tick, best: &mut Option<Choice>) {
        debug_assert!(matches!(plan.row_policy, RowPolicy::Timeout(_)));
        let command = Command::Precharge;
        for (index, rank) in self.ranks.iter().enumerate() {
            let wanted = rank.active[0] | rank.active[1] | rank.hit[0] | rank.hit[1] | rank.blocked;
            for bit in bits(rank.open & !wanted) {
                let bank = index * plan.banks_per_rank + bit;
                debug_assert_eq!(self.banks[bank].active, NONE);
                let idle = self.banks[bank].last_use + plan.timeout_ticks;
                let gate = self.timing.gate(&plan.table, command, bank).max(from).max(idle);
                let tick = plan.table.on_edge(command, gate);
                let (key, purpose) = (bank as u64, Purpose::Idle);
                keep(best, tick, 3, key, || Choice {
                    tick,
                    tier: 3,
                    key,
                    command,
                    bank,
                    row: 0,
                    purpose,
                });
            }
        }
    }
}
