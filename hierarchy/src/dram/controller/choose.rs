//! Which command goes next, and when.
//!
//! The choice is made once per change of state, not per tick: of every kind of command, the banks that want it are a
//! [lane](super::lane) per rank, which knows whom it can go to first. What comes out is the earliest tick at which
//! anything may issue and the best of what may issue then; until something arrives or falls due it stays the right
//! choice.

use serde::{Deserialize, Serialize};

use super::Channel;
use super::bank::{CLOSED, RankBanks, bits};
use super::config::Scheduler;
use super::lane::{Best, Kind, LaneId, RankLanes};
use super::maintenance::Step;
use super::plan::Plan;
use super::queue::NONE;
use crate::dram::command::Command;
use crate::dram::timing::{RankTiming, Tick};

/// What a choice issues for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Purpose {
    /// A request.
    Request(u16),
    /// The first task of a domain.
    Task(u16),
    /// Closing a row that nobody wants.
    Idle,
    /// The second half of an activate.
    SecondHalf,
}

/// What of the choices made last holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Holds {
    /// Nothing.
    Nothing,
    /// All.
    All,
    /// All, but more than the lanes of requests was considered: a command leaves nothing of it.
    Specially,
    /// That of the row bus; a command on the other one has changed this bank.
    Row(u16),
    /// That of the column bus; a command on the other one has changed this bank.
    Column(u16),
}

impl Holds {
    /// Nothing has to be chosen.
    #[inline(always)]
    pub(super) fn is_all(self) -> bool {
        matches!(self, Self::All | Self::Specially)
    }
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
const STANDING_SHIFT: u32 = SEQUENCE_BITS + 1;
const BLACKLISTED: u64 = 1 << STANDING_SHIFT;
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

/// What the lanes of ranks are asked for.
#[derive(Clone, Copy)]
struct Asks {
    /// No row command and no column command issues before.
    from: [Tick; 2],
    /// No activate may issue.
    activating: bool,
    /// Of row commands of requests that no row was opened for.
    row_tier: u64,
}

impl Asks {
    /// The first for the column bus of two.
    #[inline(always)]
    fn column(
        &self,
        timing: RankTiming,
        lanes: &mut RankLanes,
        (rank, direction): (usize, usize),
        best: &mut Best,
    ) {
        self.active(timing, lanes, rank, best);
        lanes.ask(
            timing,
            (rank, LaneId::new(Kind::Hit, direction)),
            self.from,
            REQUEST,
            best,
        );
    }

    /// The first for the row bus of two.
    #[inline(always)]
    fn row(
        &self,
        timing: RankTiming,
        lanes: &mut RankLanes,
        (rank, direction): (usize, usize),
        best: &mut Best,
    ) {
        let place = |kind| (rank, LaneId::new(kind, direction));
        if !self.activating {
            lanes.ask(timing, place(Kind::Closed), self.from, self.row_tier, best);
        }
        lanes.ask(timing, place(Kind::Conflict), self.from, self.row_tier, best);
    }

    /// The first of the requests that rows were opened for.
    #[inline(always)]
    fn active(&self, timing: RankTiming, lanes: &mut RankLanes, rank: usize, best: &mut Best) {
        for direction in [0, 1] {
            let lane = LaneId::new(Kind::Active, direction);
            lanes.ask(timing, (rank, lane), self.from, ACTIVE, best);
        }
    }

    /// The first of other requests, whichever command they wait for.
    #[inline(always)]
    fn others<const DIRECTION: usize>(
        &self,
        timing: RankTiming,
        lanes: &mut RankLanes,
        rank: usize,
        best: &mut Best,
    ) {
        let place = |kind| (rank, LaneId::new(kind, DIRECTION));
        lanes.ask(timing, place(Kind::Hit), self.from, REQUEST, best);
        if !self.activating {
            lanes.ask(timing, place(Kind::Closed), self.from, self.row_tier, best);
        }
        lanes.ask(timing, place(Kind::Conflict), self.from, self.row_tier, best);
    }
}

/// The places of the best choices for column commands and for row commands; with one bus for both, all have the first.
const COLUMN: usize = 0;
const ROW: usize = 1;

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
    pub(super) fn choose(&mut self, plan: &Plan) {
        let dual_bus = plan.device.dual_bus;
        let [column, row] = self.bus_free;
        let from = [row.max(self.now), column.max(self.now)];
        let starves = self.starves(plan);
        let writing = self.direction(plan, starves);
        let others = !(plan.prefers || starves);
        let asks = Asks {
            from,
            activating: self.activating.is_some(),
            row_tier: REQUEST | plan.row_order,
        };
        let mut served = false;
        if dual_bus {
            if !starves && writing == self.next_writing && self.choose_for_one_bus(plan, &asks) {
                self.holds = Holds::All;
                return;
            }
            let direction = usize::from(writing);
            if others {
                self.choose_column(plan, &asks, direction);
                self.choose_row(plan, &asks, direction);
            } else {
                self.choices = [self.choose_active(plan, &asks), Choice::NEVER];
            }
        } else {
            let mut best = Best::NEVER;
            if let [lanes] = &mut self.lanes[..] {
                let timing = self.timing.of_rank(&plan.table, 0);
                if self.active_requests > 0 {
                    asks.active(timing, lanes, 0, &mut best);
                }
                served = best.tick == self.now;
                match writing {
                    _ if served || !others => {}
                    true => asks.others::<1>(timing, lanes, 0, &mut best),
                    false => asks.others::<0>(timing, lanes, 0, &mut best),
                }
            } else {
                if self.active_requests > 0 {
                    for (rank, lanes) in self.lanes.iter_mut().enumerate() {
                        asks.active(self.timing.of_rank(&plan.table, rank), lanes, rank, &mut best);
                    }
                }
                served = best.tick == self.now;
                if !served && others {
                    for (rank, lanes) in self.lanes.iter_mut().enumerate() {
                        let timing = self.timing.of_rank(&plan.table, rank);
                        match writing {
                            true => asks.others::<1>(timing, lanes, rank, &mut best),
                            false => asks.others::<0>(timing, lanes, rank, &mut best),
                        }
                    }
                }
            }
            self.choices[COLUMN] = self.choice(plan, &best);
        }
        self.next_writing = if served { self.writing } else { writing };
        self.holds = Holds::All;
        if plan.chooses_specially || self.busy_domains > 0 || self.activating.is_some() || starves {
            self.choose_specially(plan, from, served, starves);
            self.holds = Holds::Specially;
        }
    }

    /// The first for the column bus of two.
    #[inline]
    fn choose_column(&mut self, plan: &Plan, asks: &Asks, direction: usize) {
        let mut best = Best::NEVER;
        for (rank, lanes) in self.lanes.iter_mut().enumerate() {
            let timing = self.timing.of_rank(&plan.table, rank);
            asks.column(timing, lanes, (rank, direction), &mut best);
        }
        self.choices[COLUMN] = self.choice(plan, &best);
    }

    /// The first for the row bus of two.
    #[inline]
    fn choose_row(&mut self, plan: &Plan, asks: &Asks, direction: usize) {
        let mut best = Best::NEVER;
        for (rank, lanes) in self.lanes.iter_mut().enumerate() {
            let timing = self.timing.of_rank(&plan.table, rank);
            asks.row(timing, lanes, (rank, direction), &mut best);
        }
        self.choices[ROW] = self.choice(plan, &best);
    }

    /// The first of the requests that rows were opened for.
    #[inline(never)]
    fn choose_active(&mut self, plan: &Plan, asks: &Asks) -> Choice {
        let mut best = Best::NEVER;
        for (rank, lanes) in self.lanes.iter_mut().enumerate() {
            asks.active(self.timing.of_rank(&plan.table, rank), lanes, rank, &mut best);
        }
        self.choice(plan, &best)
    }

    /// A command was issued for a request: what was chosen for the other one of two buses holds but for its bank.
    #[inline]
    pub(super) fn hold_other_bus(&mut self, plan: &Plan, issued: usize) {
        let Choice { command, bank, .. } = self.choices[issued];
        let is_column = command.is_column();
        let other = self.choices[if is_column { ROW } else { COLUMN }];
        let is_open = self.banks[usize::from(bank)].open_row != CLOSED;
        if plan.table.leaves_other_bus(command)
            && plan.device.data_clock_off_ticks.is_none()
            && self.busy_domains == 0
            && self.activating.is_none()
            && (other.bank != bank || other.tick == Tick::MAX)
            // A column command that closes the row lets others open it.
            && (is_open || !is_column)
        {
            self.holds = match is_column {
                true => Holds::Row(bank),
                false => Holds::Column(bank),
            };
        }
    }

    /// Chooses for the bus whose choice does not hold, and whether its bank's new state makes a better one for the other.
    /// False if none of both holds.
    #[inline]
    fn choose_for_one_bus(&mut self, plan: &Plan, asks: &Asks) -> bool {
        let direction = usize::from(self.next_writing);
        match self.holds {
            Holds::Row(bank) => {
                self.choose_column(plan, asks, direction);
                let lane = LaneId::new(Kind::Conflict, direction);
                self.reconsider_bank(plan, bank, lane, (asks.from[0], asks.row_tier));
            }
            Holds::Column(bank) => {
                self.choose_row(plan, asks, direction);
                for (kind, direction, tier) in [
                    (Kind::Active, 0, ACTIVE),
                    (Kind::Active, 1, ACTIVE),
                    (Kind::Hit, direction, REQUEST),
                ] {
                    let lane = LaneId::new(kind, direction);
                    self.reconsider_bank(plan, bank, lane, (asks.from[1], tier));
                }
            }
            _ => return false,
        }
        true
    }

    /// Chooses a lane's command to a bank in the place of what was chosen for its bus, if it goes before that.
    #[inline]
    fn reconsider_bank(&mut self, plan: &Plan, bank: u16, lane: LaneId, (from, tier): (Tick, u64)) {
        let (rank, number) = plan.table.place(bank.into());
        if self.lanes[rank].banks(lane) >> number & 1 == 0 {
            return;
        }
        let command = lane.command();
        let slot = self.banks[usize::from(bank)].next(lane);
        let request = &self.queue[slot];
        let order = match lane.kind() {
            Kind::Active => request.sequence,
            _ => request.order,
        };
        let gate = self.timing.gate(&plan.table, command, bank.into()).max(from);
        let choice = Choice {
            tick: plan.table.on_edge(command, gate),
            order: tier | order,
            command,
            bank,
            purpose: Purpose::Request(slot),
        };
        self.choices[if lane.is_column() { COLUMN } else { ROW }].keep(choice);
    }

    /// Considers besides what is not in lanes, and those that go before others.
    #[inline(never)]
    fn choose_specially(&mut self, plan: &Plan, from: [Tick; 2], served: bool, starves: bool) {
        let rows = usize::from(plan.device.dual_bus);
        let mut best = self.choices;
        if self.busy_domains > 0 {
            self.choose_task(plan, from[0], &mut best[rows]);
        }
        if !served {
            if plan.prefers || starves {
                let direction = usize::from(self.next_writing);
                self.choose_preferred(plan, direction, starves, from, &mut best);
            }
            if plan.timeout_ticks != Tick::MAX {
                self.choose_idle(plan, from[0], &mut best[rows]);
            }
        }
        if let Some((bank, deadline)) = self.activating {
            self.choose_second_half(plan, (bank, deadline), from[0], &mut best[rows]);
        }
        self.choices = best;
    }

    /// The second half of an activate goes when nothing else does, or when it must: at its deadline, or before a column
    /// command whose start of the data clock would take that tick.
    fn choose_second_half(&self, plan: &Plan, (bank, deadline): (u16, Tick), from: Tick, best: &mut Choice) {
        let starts_clock = best.command.is_column()
            && plan.device.data_clock_off_ticks.is_some()
            && best.tick >= self.data_clock_until;
        if best.tick > from || best.tick + u64::from(starts_clock) >= deadline {
            *best = Choice {
                tick: from,
                order: u64::MAX,
                purpose: Purpose::SecondHalf,
                bank,
                command: Command::ActivateSecond,
            };
        }
    }

    /// A request came that its bank would serve next: whether it goes before what was chosen. False if that has to be
    /// found out from the start.
    pub(super) fn reconsider(&mut self, plan: &Plan, slot: u16) -> bool {
        let by_age =
            plan.scheduler == Scheduler::FrFcfs && !plan.by_source && plan.timeout_ticks == Tick::MAX;
        if !self.holds.is_all()
            || self.activating.is_some()
            || !by_age
            || self.direction_may_change(plan)
            || self.starves(plan)
        {
            return false;
        }
        let request = &self.queue[slot];
        let bank = usize::from(request.bank);
        let (rank, number) = plan.table.place(bank);
        let RankBanks { blocked, active, .. } = self.ranks[rank];
        if request.write != self.writing || blocked >> number & 1 == 1 {
            return true;
        }
        let state = &self.banks[bank];
        let kind = match state.open_row {
            open if open == request.row => Kind::Hit,
            CLOSED => Kind::Closed,
            _ if active >> number & 1 == 1 => return true,
            _ => Kind::Conflict,
        };
        let command = LaneId::new(kind, request.write.into()).command();
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

    /// Whether any request may have waited for too long.
    #[inline(always)]
    fn starves(&mut self, plan: &Plan) -> bool {
        self.now >= self.starve_at && self.find_starved(plan)
    }

    #[cold]
    fn find_starved(&mut self, plan: &Plan) -> bool {
        let oldest = [0, 1].map(|direction| {
            let oldest = self.queue.oldest(direction);
            oldest.map_or(Tick::MAX, |slot| self.queue[slot].arrival)
        });
        // Whoever comes later also starves later.
        let first = oldest[0].min(oldest[1]).min(self.now);
        self.starve_at = first + plan.starvation_ticks;
        self.now >= self.starve_at
    }

    /// The oldest of a direction, if it waited for too long.
    fn starved(&self, plan: &Plan, direction: usize) -> Option<u16> {
        let oldest = self.queue.oldest(direction)?;
        (self.queue[oldest].arrival + plan.starvation_ticks <= self.now).then_some(oldest)
    }

    /// Whether to write: the queues' watermarks decide, and requests that waited too long. What is queued at this tick
    /// decides, whoever asks before the tick is over: a choice may be looked at and then made anew.
    #[inline(always)]
    fn direction(&mut self, plan: &Plan, starves: bool) -> bool {
        let [reads, writes] = self.queue.lengths;
        let writing = if self.writing {
            writes >= plan.low_watermark || reads == 0
        } else {
            writes > plan.high_watermark || reads == 0
        };
        if !starves {
            return writing;
        }
        let Some(waits) = self.starved(plan, usize::from(!writing)) else {
            return writing;
        };
        let other = self.starved(plan, usize::from(writing));
        writing ^ other.is_none_or(|other| self.queue[waits].arrival < self.queue[other].arrival)
    }

    /// The tick of the choice is over: it stays as chosen.
    #[inline(always)]
    pub(super) fn settle_direction(&mut self) {
        if self.writing != self.next_writing {
            let [reads, writes] = self.queue.lengths;
            self.statistics.turnarounds += u64::from(writes > 0 && reads > 0);
            self.writing = self.next_writing;
        }
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

    #[cold]
    fn choose_task(&self, plan: &Plan, from: Tick, best: &mut Choice) {
        for step in self.steps(plan) {
            if step.command == Command::Activate && self.activating.is_some() {
                continue;
            }
            let gate = self.timing.gate(&plan.table, step.command, step.bank).max(from);
            let Step {
                domain,
                command,
                bank,
            } = step;
            best.keep(Choice {
                tick: plan.table.on_edge(command, gate),
                order: TASK | domain as u64,
                command,
                bank: bank as u16,
                purpose: Purpose::Task(domain as u16),
            });
        }
    }

    #[inline(always)]
    fn choice(&self, plan: &Plan, best: &Best) -> Choice {
        let lane = best.lane();
        let bank = best.rank() * plan.banks_per_rank + best.number();
        Choice {
            tick: best.tick,
            order: best.order,
            command: lane.command(),
            bank: bank as u16,
            purpose: Purpose::Request(self.banks[bank].next(lane)),
        }
    }

    /// The first of other requests of a direction, where some go before others whatever their age.
    #[inline(never)]
    fn choose_preferred(
        &mut self,
        plan: &Plan,
        direction: usize,
        starves: bool,
        from: [Tick; 2],
        best: &mut [Choice; 2],
    ) {
        // In order: nobody but the oldest, and not while the one before it has its row open but not its data.
        let in_order = plan.scheduler == Scheduler::Fcfs;
        if in_order && self.active_requests > 0 {
            return;
        }
        let first = match in_order {
            true => self.queue.oldest(direction),
            false if starves => self.starved(plan, direction),
            false => None,
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
            self.lend_order(plan, first, direction);
        }
        let row_best = usize::from(plan.device.dual_bus);
        for rank in 0..self.ranks.len() {
            for kind in [Kind::Hit, Kind::Closed, Kind::Conflict] {
                if kind == Kind::Closed && self.activating.is_some() {
                    continue;
                }
                let (from, best) = match kind {
                    Kind::Hit => (from[1], &mut best[COLUMN]),
                    _ => (from[0], &mut best[row_best]),
                };
                self.consider_preferred(plan, &preference, (rank, kind), from, best);
            }
        }
        if let Some(first) = &preference.first {
            self.enter_again(plan, first.bank);
        }
    }

    fn consider_preferred(
        &mut self,
        plan: &Plan,
        preference: &Preference,
        (rank, kind): (usize, Kind),
        from: Tick,
        best: &mut Choice,
    ) {
        let lane = LaneId::new(kind, preference.direction);
        let banks = self.eligible(plan, preference, (rank, kind), self.lanes[rank].banks(lane));
        if banks == 0 {
            return;
        }
        let timing = self.timing.of_rank(&plan.table, rank);
        let gate = timing.gate(lane.command(), from);
        let next = self.lanes[rank].first_of(timing, lane, gate, banks);
        let bank = rank * plan.banks_per_rank + next.number();
        let is_hit = kind == Kind::Hit;
        let list = &self.banks[bank].lists[preference.direction];
        let slot = match &preference.first {
            Some(first) if first.bank == bank => first.slot,
            _ if is_hit => list.hit,
            _ => list.other,
        };
        best.keep(Choice {
            tick: next.tick,
            order: REQUEST | next.order() | if is_hit { 0 } else { plan.row_order },
            command: lane.command(),
            bank: bank as u16,
            purpose: Purpose::Request(slot),
        });
    }

    #[cold]
    fn lend_order(&mut self, plan: &Plan, first: &First, direction: usize) {
        let (rank, number) = plan.table.place(first.bank);
        let order = self.queue[first.slot].order;
        for kind in [Kind::Hit, Kind::Closed, Kind::Conflict] {
            let lane = LaneId::new(kind, direction);
            self.lanes[rank].lend_order(lane, number, order);
        }
    }

    /// Those of `banks` that may serve a row hit, or a request to another row.
    fn eligible(&self, plan: &Plan, preference: &Preference, (rank, kind): (usize, Kind), banks: u64) -> u64 {
        let is_hit = kind == Kind::Hit;
        let first_bank = rank * plan.banks_per_rank;
        let mut left = banks;
        if let Some(cap) = plan.column_cap {
            for bit in bits(banks) {
                let bank = &self.banks[first_bank + bit];
                let list = &bank.lists[preference.direction];
                if bank.open_row == CLOSED || list.hit == NONE || list.other == NONE {
                    continue;
                }
                // Who goes first goes before the row's own requests, or it would wait for all of them.
                let standing = |slot| self.queue[slot].order >> STANDING_SHIFT;
                let is_outranked = plan.by_source && standing(list.other) < standing(list.hit);
                if (bank.columns >= cap || is_outranked) == is_hit {
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
            let hits = |direction| self.lanes[index].banks(LaneId::new(Kind::Hit, direction));
            let wanted = rank.active | hits(0) | hits(1) | rank.blocked;
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
