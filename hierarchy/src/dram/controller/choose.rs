//! Which command goes next, and when.
//!
//! The choice is made once per change of state, not per tick: of every kind of command, the banks that want it are a
//! bit set per rank, and each bank knows whom it would serve. What comes out is the earliest tick at which anything
//! may issue and the best of what may issue then; until something arrives or falls due it stays the right choice.

use serde::{Deserialize, Serialize};

use super::Channel;
use super::bank::bits;
use super::config::Scheduler;
use super::maintenance::Step;
use super::plan::Plan;
use super::queue::NONE;
use crate::dram::command::Command;
use crate::dram::timing::Tick;

/// What a choice issues for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Purpose {
    /// A request.
    Request(u16),
    /// The first task of a domain.
    Task(u16),
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
    pub(super) bank: u16,
    pub(super) row: u32,
    pub(super) purpose: Purpose,
}

const SEQUENCE_BITS: u32 = 48;
const ROW_COMMAND: u64 = 1 << SEQUENCE_BITS;
const BLACKLISTED: u64 = 1 << (SEQUENCE_BITS + 1);
const PRIORITY_SHIFT: u32 = SEQUENCE_BITS + 2;

/// The best choice so far.
#[derive(Clone, Copy)]
struct Best(Option<Choice>);

impl Best {
    /// A choice at a later tick than this is no better.
    #[inline]
    fn limit(&self) -> Tick {
        self.0.map_or(Tick::MAX, |choice| choice.tick)
    }

    #[inline]
    fn keep(&mut self, choice: Choice) {
        let order = |choice: &Choice| (choice.tick, choice.tier, choice.key);
        if self.0.as_ref().is_none_or(|best| order(&choice) < order(best)) {
            self.0 = Some(choice);
        }
    }
}

/// Which of the two places of the best choices column commands and row commands have.
const COLUMN: usize = 0;

impl Channel {
    /// What to issue next, on the column bus and on the row bus; with one bus for both, in the first place.
    #[inline(never)]
    pub(super) fn choose(&mut self, plan: &Plan) -> [Option<Choice>; 2] {
        let row_place = usize::from(plan.device.dual_bus);
        let mut best = [Best(None); 2];
        let from = self.bus_free.map(|free| free.max(self.now));
        self.choose_active(plan, from[COLUMN], &mut best[COLUMN]);
        let served = row_place == COLUMN && best[COLUMN].limit() == self.now;
        if self.busy_domains > 0 {
            self.choose_task(plan, from[1], &mut best[row_place]);
        }
        if !served {
            self.set_direction(plan);
            self.choose_request(plan, from, &mut best);
            if plan.timeout_ticks != Tick::MAX {
                self.choose_idle(plan, from[1], &mut best[row_place]);
            }
        }
        best.map(|best| best.0)
    }

    /// A request came that its bank would serve next: whether it goes before what was chosen. False if that has to be
    /// found out from the start.
    pub(super) fn reconsider(&mut self, plan: &Plan, slot: u16) -> bool {
        let Some(choices) = self.choices else { return false };
        let request = &self.queue[slot];
        let bank = usize::from(request.bank);
        let (index, bit) = (bank / plan.banks_per_rank, bank % plan.banks_per_rank);
        let rank = &self.ranks[index];
        let by_age =
            plan.scheduler == Scheduler::FrFcfs && !plan.by_source && plan.timeout_ticks == Tick::MAX;
        if !by_age || self.direction_may_change(plan) || self.starves(plan) {
            return false;
        }
        if request.write != self.writing || rank.blocked >> bit & 1 == 1 {
            return true;
        }
        let direction = usize::from(request.write);
        let command = if rank.hit[direction] >> bit & 1 == 1 && self.banks[bank].open_row == request.row {
            if request.write {
                Command::Write
            } else {
                Command::Read
            }
        } else if rank.wait[direction] >> bit & 1 == 1 {
            Command::Activate
        } else if (rank.active[0] | rank.active[1]) >> bit & 1 == 1 {
            return true;
        } else {
            Command::Precharge
        };
        let bus = usize::from(!command.is_column());
        let from = self.bus_free[bus].max(self.now);
        let gates = self
            .timing
            .rank_gates(&plan.table, command, index * plan.banks_per_rank, from);
        let choice = Choice {
            tick: gates.tick(bit),
            tier: 2,
            key: request.sequence,
            command,
            bank: request.bank,
            row: request.row,
            purpose: Purpose::Request(slot),
        };
        let place = if plan.device.dual_bus { bus } else { COLUMN };
        let mut best = Best(choices[place]);
        best.keep(choice);
        self.choices.as_mut().expect("there are choices")[place] = best.0;
        true
    }

    fn starves(&self, plan: &Plan) -> bool {
        let old = |slot: u16| self.queue[slot].arrival + plan.starvation_ticks <= self.now;
        (0..2).any(|direction| self.queue.oldest(direction).is_some_and(old))
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

    #[inline]
    fn choose_active(&self, plan: &Plan, from: Tick, best: &mut Best) {
        if self.active_requests == 0 {
            return;
        }
        for (index, rank) in self.ranks.iter().enumerate() {
            let first = index * plan.banks_per_rank;
            for (banks, command) in [(rank.active[0], Command::Read), (rank.active[1], Command::Write)] {
                if banks == 0 {
                    continue;
                }
                let gates = self.timing.rank_gates(&plan.table, command, first, from);
                let (tick, ready) = gates.earliest(banks);
                for bit in bits(ready) {
                    let slot = self.banks[first + bit].active;
                    best.keep(Choice {
                        tick,
                        tier: 0,
                        key: self.queue[slot].sequence,
                        command,
                        bank: (first + bit) as u16,
                        row: 0,
                        purpose: Purpose::Request(slot),
                    });
                }
            }
        }
    }

    fn choose_task(&self, plan: &Plan, from: Tick, best: &mut Best) {
        for step in self.steps(plan) {
            let gate = self.timing.gate(&plan.table, step.command, step.bank).max(from);
            let tick = plan.table.on_edge(step.command, gate);
            let Step {
                domain,
                command,
                bank,
                row,
            } = step;
            let purpose = Purpose::Task(domain as u16);
            best.keep(Choice {
                tick,
                tier: 1,
                key: domain as u64,
                command,
                bank: bank as u16,
                row,
                purpose,
            });
        }
    }

    fn choose_request(&self, plan: &Plan, from: [Tick; 2], best: &mut [Best; 2]) {
        let direction = usize::from(self.writing);
        let oldest = self.queue.oldest(direction);
        // In order: nobody but the oldest, and not while the one before it has its row open but not its data.
        let in_order = plan.scheduler == Scheduler::Fcfs;
        if in_order && self.active_requests > 0 {
            return;
        }
        let starved = oldest.filter(|&slot| self.queue[slot].arrival + plan.starvation_ticks <= self.now);
        let column = [Command::Read, Command::Write][direction];
        let chooser = Chooser {
            channel: self,
            plan,
            direction,
            first: oldest.filter(|_| in_order).or(starved),
            in_order,
            row_key: match plan.scheduler {
                Scheduler::FrFcfs | Scheduler::Fcfs => 0,
                _ => ROW_COMMAND,
            },
            cap: match plan.scheduler {
                Scheduler::FrFcfsCap(0) | Scheduler::Bliss { .. } => Some(u32::MAX),
                Scheduler::FrFcfsCap(cap) => Some(cap),
                _ => None,
            },
        };
        let row_place = usize::from(plan.device.dual_bus);
        for (index, rank) in self.ranks.iter().enumerate() {
            let hit = rank.hit[direction] & !rank.blocked;
            chooser.choose(index, hit, column, from[COLUMN], &mut best[COLUMN]);
            let wait = rank.wait[direction] & !rank.blocked;
            chooser.choose(index, wait, Command::Activate, from[1], &mut best[row_place]);
            let held = rank.blocked | rank.active[0] | rank.active[1];
            let conflict = rank.conflict[direction] & !held;
            chooser.choose(index, conflict, Command::Precharge, from[1], &mut best[row_place]);
        }
    }

    /// A row that was open for long enough and that nobody wants.
    fn choose_idle(&self, plan: &Plan, from: Tick, best: &mut Best) {
        let command = Command::Precharge;
        for (index, rank) in self.ranks.iter().enumerate() {
            let wanted = rank.active[0] | rank.active[1] | rank.hit[0] | rank.hit[1] | rank.blocked;
            for bit in bits(rank.open & !wanted) {
                let bank = index * plan.banks_per_rank + bit;
                let idle = self.banks[bank].last_use + plan.timeout_ticks;
                let gate = self.timing.gate(&plan.table, command, bank).max(from).max(idle);
                let tick = plan.table.on_edge(command, gate);
                let (key, purpose) = (bank as u64, Purpose::Idle);
                best.keep(Choice {
                    tick,
                    tier: 3,
                    key,
                    command,
                    bank: bank as u16,
                    row: 0,
                    purpose,
                });
            }
        }
    }
}

/// What a choice among requests of one direction goes by.
struct Chooser<'a> {
    channel: &'a Channel,
    plan: &'a Plan,
    direction: usize,
    /// The oldest, if nobody goes before it (in order) or if it waited too long: its bank serves nothing else.
    first: Option<u16>,
    in_order: bool,
    /// In the keys of row commands.
    row_key: u64,
    /// Column commands to a row before a request to another row goes first; without one, age alone decides.
    cap: Option<u32>,
}

impl Chooser<'_> {
    /// Considers `command` for the banks in the set `banks` of a rank, each for the request that it serves next.
    #[inline(always)]
    fn choose(&self, index: usize, mut banks: u64, command: Command, from: Tick, best: &mut Best) {
        let (channel, plan) = (self.channel, self.plan);
        let is_hit = command.is_column();
        if self.first.is_some() || self.cap.is_some() {
            banks = self.eligible(index, banks, is_hit);
        }
        if banks == 0 {
            return;
        }
        let first_bank = index * plan.banks_per_rank;
        let gates = channel.timing.rank_gates(&plan.table, command, first_bank, from);
        if gates.shared > best.limit() {
            return;
        }
        let (tick, ready) = gates.earliest(banks);
        if tick > best.limit() {
            return;
        }
        let (mut key, mut bank, mut slot) = (u64::MAX, 0, NONE);
        for bit in bits(ready) {
            let candidate = self.served(first_bank + bit, is_hit);
            let mut order = channel.queue[candidate].sequence;
            if !is_hit {
                order |= self.row_key;
            }
            if plan.by_source {
                order |= channel.source_key(plan, channel.queue[candidate].source);
            }
            if order < key {
                (key, bank, slot) = (order, first_bank + bit, candidate);
            }
        }
        best.keep(Choice {
            tick,
            tier: 2,
            key,
            command,
            bank: bank as u16,
            row: channel.queue[slot].row,
            purpose: Purpose::Request(slot),
        });
    }

    /// Whom the bank serves next: where sources have priorities, the one that goes first may be another.
    #[inline]
    fn served(&self, bank: usize, is_hit: bool) -> u16 {
        if let Some(first) = self.first
            && usize::from(self.channel.queue[first].bank) == bank
        {
            return first;
        }
        let list = &self.channel.banks[bank].lists[self.direction];
        if is_hit { list.hit } else { list.other }
    }

    /// Those of `banks` that may serve a row hit, or a request to another row.
    fn eligible(&self, index: usize, banks: u64, is_hit: bool) -> u64 {
        let (channel, rank) = (self.channel, &self.channel.ranks[index]);
        let first_bank = index * self.plan.banks_per_rank;
        let mut left = banks;
        if let Some(cap) = self.cap {
            for bit in bits(banks & rank.hit[self.direction] & rank.conflict[self.direction]) {
                if (channel.banks[first_bank + bit].columns >= cap) == is_hit {
                    left &= !(1 << bit);
                }
            }
        }
        if let Some(first) = self.first {
            let request = &channel.queue[first];
            let bank = usize::from(request.bank);
            let own = match bank.checked_sub(first_bank) {
                Some(bit) if bit < self.plan.banks_per_rank => 1 << bit,
                _ => 0,
            };
            let others = if self.in_order { 0 } else { left & !own };
            let serves = (channel.banks[bank].open_row == request.row) == is_hit;
            left = others | if serves { banks & own } else { 0 };
        }
        left
    }
}
