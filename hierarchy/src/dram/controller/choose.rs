//! Which command goes next, and when.
//!
//! The choice is made once per change of state, not per tick: of every kind of command, the banks that want it are a
//! bit set per rank, and each bank knows whom it would serve. What comes out is the earliest tick at which anything
//! may issue and the best of what may issue then; until something arrives or falls due it stays the right choice.
//! What is looked at per bank lies in arrays: whether the bank has to wait for longer than its rank
//! ([`TimingState`](crate::dram::TimingState)), and the age of the request that it serves next.

use serde::{Deserialize, Serialize};

use super::Channel;
use super::bank::{Lane, bits};
use super::config::Scheduler;
use super::maintenance::Step;
use super::plan::Plan;
use crate::dram::command::Command;
use crate::dram::timing::Tick;

/// What a choice issues for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Purpose {
    /// A request.
    Request(u16),
    /// The first task of a domain; the row that an activate of it opens.
    Task(u16, u32),
    /// Closing a row that nobody wants.
    Idle,
}

/// A command to issue.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct Choice {
    pub(super) tick: Tick,
    /// Of those at the same tick, the smaller first: a tier, then what the tier goes by.
    order: u64,
    pub(super) purpose: Purpose,
    pub(super) bank: u16,
    pub(super) command: Command,
}

// Tiers: requests with an open row before maintenance before other requests before closing idle rows.
const TIER_SHIFT: u32 = 62;
const ACTIVE: u64 = 0;
const TASK: u64 = 1 << TIER_SHIFT;
const REQUEST: u64 = 2 << TIER_SHIFT;
const IDLE: u64 = 3 << TIER_SHIFT;
// Below them, of requests: priority, blacklisted, a row command, order of arrival.
const SEQUENCE_BITS: u32 = 48;
pub(super) const ROW_COMMAND: u64 = 1 << SEQUENCE_BITS;
const BLACKLISTED: u64 = 1 << (SEQUENCE_BITS + 1);
const PRIORITY_SHIFT: u32 = SEQUENCE_BITS + 2;

impl Choice {
    /// Nothing, for ever.
    pub(super) const NEVER: Self = Self {
        tick: Tick::MAX,
        order: u64::MAX,
        purpose: Purpose::Idle,
        bank: 0,
        command: Command::Precharge,
    };

    /// Takes the other's place if it goes before it.
    #[inline(always)]
    fn keep(&mut self, choice: Self) {
        if choice.tick < self.tick || choice.tick == self.tick && choice.order < self.order {
            *self = choice;
        }
    }
}

/// Which of the two places of the best choices column commands have; row commands have it too, or the other.
const COLUMN: usize = 0;
/// Column commands by direction.
const COLUMNS: [Command; 2] = [Command::Read, Command::Write];

/// What a choice among requests of one direction goes by.
struct Preference {
    direction: usize,
    /// The oldest, if nobody goes before it (in order) or if it waited too long: its bank serves nothing else.
    first: Option<First>,
    in_order: bool,
}

/// A request that its bank serves before all others.
#[derive(Clone, Copy)]
struct First {
    slot: u16,
    bank: usize,
}

impl Channel {
    /// What to issue next, on the column bus and on the row bus; with one bus for both, in the first place.
    #[inline(never)]
    pub(super) fn choose(&mut self, plan: &Plan) -> [Choice; 2] {
        let row_place = usize::from(plan.device.dual_bus);
        let mut best = [Choice::NEVER; 2];
        let from = self.bus_free.map(|free| free.max(self.now));
        if self.active_requests > 0 {
            self.choose_active(plan, from[COLUMN], &mut best[COLUMN]);
        }
        let served = row_place == COLUMN && best[COLUMN].tick == self.now;
        if self.busy_domains > 0 {
            self.choose_task(plan, from[1], &mut best[row_place]);
        }
        self.next_writing = self.writing;
        if !served {
            self.next_writing = self.direction(plan);
            self.choose_request(plan, from, &mut best);
            if plan.timeout_ticks != Tick::MAX {
                self.choose_idle(plan, from[1], &mut best[row_place]);
            }
        }
        best
    }

    /// A request came that its bank would serve next: whether it goes before what was chosen. False if that has to be
    /// found out from the start.
    pub(super) fn reconsider(&mut self, plan: &Plan, slot: u16) -> bool {
        let request = &self.queue[slot];
        let bank = usize::from(request.bank);
        let (index, bit) = plan.table.place(bank);
        let rank = &self.ranks[index];
        let by_age =
            plan.scheduler == Scheduler::FrFcfs && !plan.by_source && plan.timeout_ticks == Tick::MAX;
        if !self.chosen || !by_age || self.direction_may_change(plan) || self.starves(plan) {
            return false;
        }
        if request.write != self.writing || rank.blocked >> bit & 1 == 1 {
            return true;
        }
        let direction = usize::from(request.write);
        let command = if rank.hit[direction] >> bit & 1 == 1 && self.banks[bank].open_row == request.row {
            COLUMNS[direction]
        } else if rank.wait[direction] >> bit & 1 == 1 {
            Command::Activate
        } else if (rank.active[0] | rank.active[1]) >> bit & 1 == 1 {
            return true;
        } else {
            Command::Precharge
        };
        let bus = usize::from(!command.is_column());
        let from = self.bus_free[bus].max(self.now);
        let gate = self.timing.gate(&plan.table, command, bank).max(from);
        let choice = Choice {
            tick: plan.table.on_edge(command, gate),
            order: REQUEST | request.sequence,
            command,
            bank: request.bank,
            purpose: Purpose::Request(slot),
        };
        let place = if plan.device.dual_bus { bus } else { COLUMN };
        self.choices[place].keep(choice);
        true
    }

    fn starves(&self, plan: &Plan) -> bool {
        (0..2).any(|direction| self.starved(plan, direction).is_some())
    }

    /// The oldest of a direction, if it waited for too long.
    fn starved(&self, plan: &Plan, direction: usize) -> Option<u16> {
        let oldest = self.queue.oldest(direction)?;
        (self.queue[oldest].arrival + plan.starvation_ticks <= self.now).then_some(oldest)
    }

    /// Whether to write: the queues' watermarks decide, and requests that waited too long. What is queued at this tick
    /// decides, whoever asks before the tick is over: a choice may be looked at and then made anew.
    fn direction(&self, plan: &Plan) -> bool {
        let [reads, writes] = self.queue.lengths;
        let writing = if self.writing {
            writes >= plan.low_watermark || reads == 0
        } else {
            writes > plan.high_watermark || reads == 0
        };
        let Some(waits) = self.starved(plan, usize::from(!writing)) else {
            return writing;
        };
        let other = self.starved(plan, usize::from(writing));
        writing ^ other.is_none_or(|other| self.queue[waits].arrival < self.queue[other].arrival)
    }

    /// The tick of the choice is over: it stays as chosen.
    pub(super) fn settle_direction(&mut self) {
        let [reads, writes] = self.queue.lengths;
        let turns = self.writing != self.next_writing;
        self.statistics.turnarounds += u64::from(turns && writes > 0 && reads > 0);
        self.writing = self.next_writing;
    }

    /// What its source gives a request before its age: the smaller goes first.
    pub(super) fn standing(plan: &Plan, blacklist: &[bool], source: u16) -> u64 {
        if !plan.by_source {
            return 0;
        }
        let source = usize::from(source);
        let priority = plan.config.priorities.get(source).copied().unwrap_or(0);
        let blacklisted = blacklist.get(source).copied().unwrap_or(false);
        u64::from(u8::MAX - priority) << PRIORITY_SHIFT | if blacklisted { BLACKLISTED } else { 0 }
    }

    fn choose_active(&mut self, plan: &Plan, from: Tick, best: &mut Choice) {
        for (index, rank) in self.ranks.iter().enumerate() {
            for (banks, command) in rank.active.into_iter().zip(COLUMNS) {
                if banks == 0 {
                    continue;
                }
                let gate = self.timing.rank_gate(&plan.table, command, index, from);
                let orders = self.orders.of(Lane::Active, index);
                let next = self
                    .timing
                    .first_ready(&plan.table, (command, index), banks, gate, orders);
                let bank = index * plan.banks_per_rank + next.number;
                best.keep(Choice {
                    tick: next.tick,
                    order: ACTIVE | next.order,
                    command,
                    bank: bank as u16,
                    purpose: Purpose::Request(self.banks[bank].active),
                });
            }
        }
    }

    #[cold]
    fn choose_task(&self, plan: &Plan, from: Tick, best: &mut Choice) {
        for step in self.steps(plan) {
            let gate = self.timing.gate(&plan.table, step.command, step.bank).max(from);
            let Step {
                domain,
                command,
                bank,
                row,
            } = step;
            best.keep(Choice {
                tick: plan.table.on_edge(command, gate),
                order: TASK | domain as u64,
                command,
                bank: bank as u16,
                purpose: Purpose::Task(domain as u16, row),
            });
        }
    }

    fn choose_request(&mut self, plan: &Plan, from: [Tick; 2], best: &mut [Choice; 2]) {
        let direction = usize::from(self.next_writing);
        // In order: nobody but the oldest, and not while the one before it has its row open but not its data.
        let in_order = plan.scheduler == Scheduler::Fcfs;
        if in_order && self.active_requests > 0 {
            return;
        }
        let first = match in_order {
            true => self.queue.oldest(direction),
            false => self.starved(plan, direction),
        };
        let preference = Preference {
            direction,
            first: first.map(|slot| First {
                slot,
                bank: self.queue[slot].bank.into(),
            }),
            in_order,
        };
        if let Some(first) = &preference.first {
            let (rank, number) = plan.table.place(first.bank);
            let order = self.queue[first.slot].order;
            self.orders.put(Lane::Hit(direction), rank, number, order);
            self.orders.put(Lane::Other(direction), rank, number, order);
        }
        let row_place = usize::from(plan.device.dual_bus);
        for index in 0..self.ranks.len() {
            let rank = &self.ranks[index];
            let held = rank.blocked | rank.active[0] | rank.active[1];
            let hit = rank.hit[direction] & !rank.blocked;
            let wait = rank.wait[direction] & !rank.blocked;
            let conflict = rank.conflict[direction] & !held;
            let [column_best, row_best] = [COLUMN, row_place];
            let column = COLUMNS[direction];
            self.consider(
                plan,
                &preference,
                index,
                hit,
                column,
                from[COLUMN],
                &mut best[column_best],
            );
            self.consider(
                plan,
                &preference,
                index,
                wait,
                Command::Activate,
                from[1],
                &mut best[row_best],
            );
            self.consider(
                plan,
                &preference,
                index,
                conflict,
                Command::Precharge,
                from[1],
                &mut best[row_best],
            );
        }
        if let Some(first) = &preference.first {
            self.sort_in(plan, first.bank);
        }
    }

    /// Considers `command` for the banks in the set `banks` of a rank, each for the request that it serves next.
    #[inline(always)]
    #[expect(clippy::too_many_arguments, reason = "inlined three times into one loop")]
    fn consider(
        &mut self,
        plan: &Plan,
        preference: &Preference,
        index: usize,
        mut banks: u64,
        command: Command,
        from: Tick,
        best: &mut Choice,
    ) {
        let is_hit = command.is_column();
        let first_bank = index * plan.banks_per_rank;
        if preference.first.is_some() || plan.column_cap.is_some() {
            banks = self.eligible(plan, preference, index, banks, is_hit);
        }
        if banks == 0 {
            return;
        }
        let gate = self.timing.rank_gate(&plan.table, command, index, from);
        if gate > best.tick {
            return;
        }
        let lane = if is_hit { Lane::Hit } else { Lane::Other };
        let orders = self.orders.of(lane(preference.direction), index);
        let next = self
            .timing
            .first_ready(&plan.table, (command, index), banks, gate, orders);
        if next.tick > best.tick {
            return;
        }
        let bank = first_bank + next.number;
        let list = &self.banks[bank].lists[preference.direction];
        let slot = match &preference.first {
            Some(first) if first.bank == bank => first.slot,
            _ if is_hit => list.hit,
            _ => list.other,
        };
        best.keep(Choice {
            tick: next.tick,
            order: REQUEST | next.order | if is_hit { 0 } else { plan.row_order },
            command,
            bank: bank as u16,
            purpose: Purpose::Request(slot),
        });
    }

    /// Those of `banks` that may serve a row hit, or a request to another row.
    #[inline(never)]
    fn eligible(&self, plan: &Plan, preference: &Preference, index: usize, banks: u64, is_hit: bool) -> u64 {
        let rank = &self.ranks[index];
        let first_bank = index * plan.banks_per_rank;
        let direction = preference.direction;
        let mut left = banks;
        if let Some(cap) = plan.column_cap {
            for bit in bits(banks & rank.hit[direction] & rank.conflict[direction]) {
                if (self.banks[first_bank + bit].columns >= cap) == is_hit {
                    left &= !(1 << bit);
                }
            }
        }
        if let Some(first) = &preference.first {
            let own = match first.bank.checked_sub(first_bank) {
                Some(bit) if bit < plan.banks_per_rank => 1 << bit,
                _ => 0,
            };
            let others = if preference.in_order { 0 } else { left & !own };
            let serves = (self.banks[first.bank].open_row == self.queue[first.slot].row) == is_hit;
            left = others | if serves { banks & own } else { 0 };
        }
        left
    }

    /// A row that was open for long enough and that nobody wants.
    #[inline(never)]
    fn choose_idle(&self, plan: &Plan, from: Tick, best: &mut Choice) {
        let command = Command::Precharge;
        for (index, rank) in self.ranks.iter().enumerate() {
            let wanted = rank.active[0] | rank.active[1] | rank.hit[0] | rank.hit[1] | rank.blocked;
            for bit in bits(rank.open & !wanted) {
                let bank = index * plan.banks_per_rank + bit;
                let idle = self.banks[bank].last_use + plan.timeout_ticks;
                let gate = self.timing.gate(&plan.table, command, bank).max(from).max(idle);
                best.keep(Choice {
                    tick: plan.table.on_edge(command, gate),
                    order: IDLE | bank as u64,
                    command,
                    bank: bank as u16,
                    purpose: Purpose::Idle,
                });
            }
        }
    }
}
