//! The controller of one channel: queues, scheduling, refresh, the rows of its banks.
//!
//! Modelled: separate read and write queues with watermarks, reads answered by queued writes and writes merged into
//! them, the schedulers and row policies of [`ControllerConfig`], refresh, RowHammer and its mitigations, every timing
//! constraint of the device file, one command per tick and bus. A request leaves its queue when its row is opened for
//! it or, on a row hit, with its column command.
//!
//! Not modelled: power-down and self-refresh, temperature-dependent refresh, ECC, training and calibration, data
//! itself. Writes complete for their sender when they are accepted; a completion is reported all the same.
//!
//! Time jumps from one command to the next: nothing is done for ticks in which nothing can issue.

mod bank;
mod choose;
mod config;
mod maintenance;
mod plan;
mod queue;
mod rowhammer;

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

pub use config::{ControllerConfig, Mitigation, RowPolicy, Scheduler};
pub use plan::Plan;
pub use rowhammer::Exposure;

use self::bank::{Bank, CLOSED, RankBanks, set};
use self::choose::{Choice, Purpose};
use self::maintenance::{Domain, Task};
use self::queue::{NONE, Queue, Slot};
use self::rowhammer::{Demand, RowHammer};
use super::command::Command;
use super::mapping::Location;
use super::statistics::{RowOutcome, Statistics};
use super::timing::{Tick, TimingState};

/// A burst to read or write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// The sender's name for it; comes back with the completion.
    pub tag: u64,
    /// Address; only its location matters.
    pub address: u64,
    /// Writes, or reads.
    pub write: bool,
    /// Who sends it, for statistics, priorities and fairness.
    pub source: u16,
}

/// A request that is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Completion {
    /// The request's tag.
    pub tag: u64,
    /// Its source.
    pub source: u16,
    /// Whether it was a write.
    pub write: bool,
    /// When it was accepted.
    pub arrival: Tick,
    /// The end of its data.
    pub finish: Tick,
}

/// A command as a trace has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IssuedCommand {
    /// When.
    pub tick: Tick,
    /// What.
    pub command: Command,
    /// The bank in its channel; of a command to several, the first.
    pub bank: u32,
    /// The row that the command opens, reads or writes.
    pub row: u32,
    /// The burst in the row.
    pub column: u32,
}

/// The state of one channel. All of it can be serialised; with the same [`Plan`] it goes on from there.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Channel {
    /// The first tick that is not decided yet.
    now: Tick,
    /// The first ticks at which the column bus and the row bus are free.
    bus_free: [Tick; 2],
    writing: bool,
    active_requests: u32,
    busy_domains: usize,
    next_due: Tick,
    data_clock_until: Tick,
    queue: Queue,
    banks: Vec<Bank>,
    ranks: Vec<RankBanks>,
    domains: Vec<Domain>,
    timing: TimingState,
    rowhammer: RowHammer,
    // BLISS: who was served last and how often in a row, who is blacklisted, when all are forgiven.
    streak: (u16, u32),
    blacklist: Vec<bool>,
    forgive_at: Tick,
    // Forwarded reads, reads and writes whose end lies ahead; each in the order of their ends.
    ends: [VecDeque<Completion>; 3],
    statistics: Statistics,
    record: Option<Vec<IssuedCommand>>,
    // What was chosen last, while it holds.
    choices: Option<[Option<Choice>; 2]>,
}

impl Channel {
    /// All banks closed, at tick 1.
    pub fn new(plan: &Plan) -> Self {
        let banks = plan.table.banks();
        let slots = usize::from(plan.config.read_queue) + usize::from(plan.config.write_queue) + banks;
        let window = 8192 * plan.device.refresh_interval_ticks;
        let mut channel = Self {
            now: 1,
            bus_free: [1; 2],
            writing: false,
            active_requests: 0,
            busy_domains: 0,
            next_due: 0,
            data_clock_until: 0,
            queue: Queue::new(slots),
            banks: vec![Bank::default(); banks],
            ranks: vec![RankBanks::default(); banks / plan.banks_per_rank],
            domains: Domain::all(plan),
            timing: TimingState::new(&plan.table),
            rowhammer: RowHammer::new(plan.config.mitigation, banks, plan.device.rows, window),
            streak: (0, 0),
            blacklist: Vec::new(),
            forgive_at: plan.clear_ticks,
            ends: Default::default(),
            statistics: Statistics::new(),
            record: None,
            choices: None,
        };
        channel.fall_due(plan);
        channel
    }

    /// Keeps every command from now on, for [`take_commands`](Self::take_commands).
    pub fn record_commands(&mut self) {
        self.record.get_or_insert_default();
    }

    /// The commands since the last call.
    pub fn take_commands(&mut self) -> Vec<IssuedCommand> {
        self.record.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// The first tick that is not decided yet.
    pub fn now(&self) -> Tick {
        self.now
    }

    /// Requests that are queued or whose data is not through.
    pub fn outstanding(&self) -> usize {
        let queued: u16 = self.queue.lengths.iter().sum();
        usize::from(queued)
            + self.active_requests as usize
            + self.ends.iter().map(VecDeque::len).sum::<usize>()
    }

    /// Whether requests wait for a command.
    pub fn has_queued(&self) -> bool {
        self.queue.lengths != [0; 2] || self.active_requests > 0
    }

    /// Whether the queue for reads or writes has room.
    pub fn has_room(&self, plan: &Plan, write: bool) -> bool {
        let size = if write {
            plan.config.write_queue
        } else {
            plan.config.read_queue
        };
        self.queue.lengths[usize::from(write)] < size
    }

    /// Whether writes are queued.
    pub(crate) fn has_writes(&self) -> bool {
        self.queue.lengths[1] > 0
    }

    /// Offers a request at `tick`, or at the first tick that is not decided yet. False if its queue is full: it was
    /// not taken.
    pub fn try_send(&mut self, plan: &Plan, request: &Request, location: Location, tick: Tick) -> bool {
        self.decide_until(plan, tick.saturating_sub(1));
        let tick = tick.max(self.now);
        let bank = location.bank as usize;
        let (row, column) = (location.row as u32 & (plan.device.rows - 1), location.column);
        let direction = usize::from(request.write);
        let Request {
            tag, source, write, ..
        } = *request;
        let same = |slot: u16| (self.queue[slot].row, self.queue[slot].column) == (row, column);
        let buffered = self.queue.iter(&self.banks[bank].lists[1]).any(same);
        if !buffered && !self.has_room(plan, write) {
            return false;
        }
        self.now = tick;
        self.statistics.requests[direction] += 1;
        if write {
            self.statistics.source(source).writes += 1;
        }
        if buffered {
            // The queued write holds the data, or takes it.
            let count = if write {
                &mut self.statistics.merged_writes
            } else {
                &mut self.statistics.forwarded_reads
            };
            *count += 1;
            let finish = tick + plan.device.ticks_per_clock;
            self.end(
                Completion {
                    tag,
                    source,
                    write,
                    arrival: tick,
                    finish,
                },
                0,
            );
            return true;
        }
        let slot = Slot {
            tag,
            arrival: tick,
            row,
            column,
            bank: bank as u16,
            source,
            write,
            ..Slot::default()
        };
        let list = &mut self.banks[bank].lists[direction];
        let slot = self.queue.push(list, slot);
        let is_hit = self.banks[bank].open_row == row;
        let list = &self.banks[bank].lists[direction];
        let place = if is_hit { list.hit } else { list.other };
        if place == NONE || plan.by_source && self.better(plan, slot, place) {
            let list = &mut self.banks[bank].lists[direction];
            *(if is_hit { &mut list.hit } else { &mut list.other }) = slot;
            self.sort_in(plan, bank);
            if !self.reconsider(plan, slot) {
                self.choices = None;
            }
        } else if !plan.by_source && self.direction_may_change(plan) {
            self.choices = None;
        }
        true
    }

    fn direction_may_change(&self, plan: &Plan) -> bool {
        let [reads, writes] = self.queue.lengths;
        if self.writing {
            reads != 0 && writes < plan.low_watermark
        } else {
            writes > plan.high_watermark || reads == 0
        }
    }

    fn better(&self, plan: &Plan, slot: u16, than: u16) -> bool {
        let key = |slot: u16| {
            let request = &self.queue[slot];
            (self.source_key(plan, request.source), request.sequence)
        };
        key(slot) < key(than)
    }

    /// When something happens next: a command or the end of a request's data.
    pub fn next_event(&mut self, plan: &Plan) -> Tick {
        let end = self
            .ends
            .iter()
            .filter_map(|ends| ends.front())
            .map(|end| end.finish)
            .min();
        self.next_command(plan).min(end.unwrap_or(Tick::MAX))
    }

    /// Decides every tick up to `until`, and hands over the requests whose data ends by then, in the order of their
    /// ends.
    pub fn advance(&mut self, plan: &Plan, until: Tick, mut completed: impl FnMut(Completion)) {
        self.decide_until(plan, until);
        loop {
            let next = (0..3)
                .filter_map(|i| Some((self.ends[i].front()?.finish, i)))
                .min();
            match next {
                Some((finish, queue)) if finish <= until => {
                    completed(self.ends[queue].pop_front().expect("it has a front"));
                }
                _ => break,
            }
        }
    }

    /// Decides up to the next command or refresh that falls due; returns when that is, if there is any.
    pub fn step(&mut self, plan: &Plan) -> Option<Tick> {
        let next = self.next_command(plan);
        if next == Tick::MAX {
            return None;
        }
        self.decide_until(plan, next);
        Some(next)
    }

    /// Drops the ends that lie ahead, for who wants no completions.
    pub(crate) fn forget_ends(&mut self) {
        self.ends.iter_mut().for_each(VecDeque::clear);
    }

    /// What was counted so far.
    pub fn statistics(&self, plan: &Plan) -> Statistics {
        let mut statistics = self.statistics.clone();
        let last = statistics.last_tick;
        for rank in &self.ranks {
            if rank.open != 0 {
                statistics.active_ticks += last.saturating_sub(rank.open_since);
            }
        }
        let total = last * self.ranks.len() as u64;
        statistics.idle_ticks = total.saturating_sub(statistics.active_ticks);
        debug_assert!(plan.banks_per_rank > 0);
        statistics
    }

    /// The row with the most activations in one refresh window.
    pub fn exposure(&self) -> Exposure {
        self.rowhammer.worst()
    }

    /// The tick of the next command or of the next refresh that falls due.
    #[inline]
    fn next_command(&mut self, plan: &Plan) -> Tick {
        if self.now >= self.next_due {
            self.fall_due(plan);
            self.choices = None;
        }
        if self.choices.is_none() {
            self.choices = Some(self.choose(plan));
        }
        // Both places by name: this is asked for more often than anything is chosen.
        let tick = |choice: &Option<Choice>| choice.as_ref().map_or(Tick::MAX, |choice| choice.tick);
        let first = match &self.choices {
            Some([column, row]) => tick(column).min(tick(row)),
            None => Tick::MAX,
        };
        let forgive = if self.has_queued() {
            self.forgive_at.max(self.now)
        } else {
            Tick::MAX
        };
        first.min(self.next_due).min(forgive)
    }

    fn decide_until(&mut self, plan: &Plan, until: Tick) {
        while self.now <= until {
            let tick = self.next_command(plan);
            if tick > until {
                self.now = until + 1;
                return;
            }
            self.now = tick;
            if tick >= self.next_due {
                // It may change what goes first.
                continue;
            }
            if tick >= self.forgive_at {
                self.forgive(plan);
            } else if let Some([column, row]) = self.choices.take() {
                // With two buses, the column command goes first.
                let choice = column.filter(|choice| choice.tick == tick).or(row);
                self.execute(plan, choice.expect("it made this the next tick"));
            }
        }
    }

    /// BLISS: a new interval begins.
    fn forgive(&mut self, plan: &Plan) {
        self.forgive_at = self.now + plan.clear_ticks;
        self.blacklist.clear();
        (0..self.banks.len()).for_each(|bank| self.classify(plan, bank));
        self.choices = None;
    }

    fn execute(&mut self, plan: &Plan, choice: Choice) {
        let Choice {
            tick,
            command,
            bank,
            row,
            purpose,
            ..
        } = choice;
        let bank = usize::from(bank);
        match purpose {
            Purpose::Request(slot) if command.is_column() => self.access(plan, bank, slot, tick),
            Purpose::Request(slot) => {
                self.count_outcome(plan, bank, slot);
                match command {
                    Command::Activate => {
                        self.issue(plan, command, bank, row, 0, tick);
                        let write = usize::from(self.queue[slot].write);
                        self.queue.unlink(&mut self.banks[bank].lists[write], slot);
                        self.banks[bank].active = slot;
                        self.active_requests += 1;
                        self.open(plan, bank, row, tick, true);
                    }
                    _ => {
                        self.issue(plan, command, bank, self.banks[bank].open_row, 0, tick);
                        self.close(plan, bank, tick);
                    }
                }
            }
            Purpose::Task(domain) => {
                let open = self.banks[bank].open_row;
                self.issue(
                    plan,
                    command,
                    bank,
                    if row == CLOSED { open } else { row },
                    0,
                    tick,
                );
                match command {
                    Command::Precharge => self.close(plan, bank, tick),
                    Command::PrechargeAll => self.close_domain(plan, bank, tick),
                    Command::Activate => {
                        self.open(plan, bank, row, tick, false);
                        self.rowhammer.refreshed(bank, row);
                        self.statistics.mitigations += 1;
                        self.finish_task(plan, domain.into());
                    }
                    _ => self.finish_task(plan, domain.into()),
                }
            }
            Purpose::Idle => {
                self.issue(plan, command, bank, self.banks[bank].open_row, 0, tick);
                self.close(plan, bank, tick);
            }
        }
    }

    /// Moves the timing marks, the bus and the clock, and records.
    fn issue(&mut self, plan: &Plan, command: Command, bank: usize, row: u32, column: u32, tick: Tick) {
        self.timing.issue(&plan.table, command, bank, tick);
        self.statistics.commands[command as usize] += 1;
        self.statistics.last_tick = self.statistics.last_tick.max(tick);
        if plan.device.dual_bus {
            self.bus_free[usize::from(!command.is_column())] = tick + 1;
        } else {
            self.bus_free = [tick + 1; 2];
            self.now = tick + 1;
        }
        if let Some(record) = &mut self.record {
            record.push(IssuedCommand {
                tick,
                command,
                bank: bank as u32,
                row,
                column,
            });
        }
    }

    /// The column command of a request.
    fn access(&mut self, plan: &Plan, bank: usize, slot: u16, mut tick: Tick) {
        self.count_outcome(plan, bank, slot);
        let Slot {
            tag,
            source,
            write,
            arrival,
            row,
            column,
            ..
        } = self.queue[slot];
        let latency = if write {
            plan.device.write_ticks
        } else {
            plan.device.read_ticks
        };
        if let Some(off) = plan.device.data_clock_off_ticks {
            if tick >= self.data_clock_until {
                // Nothing comes between the command that starts the data clock and the one that uses it.
                self.issue(plan, Command::DataClock, bank, row, column, tick);
                tick += plan.device.command_ticks[Command::DataClock as usize];
            }
            self.data_clock_until = self.data_clock_until.max(tick + latency + off);
        }
        let direction = usize::from(write);
        if self.banks[bank].active == slot {
            self.banks[bank].active = NONE;
            self.active_requests -= 1;
        } else {
            let queue = &mut self.queue;
            let state = &mut self.banks[bank];
            let next = queue.next(slot);
            queue.unlink(&mut state.lists[direction], slot);
            if plan.by_source {
                self.classify(plan, bank);
            } else {
                let open = state.open_row;
                let next = queue.from(next).find(|slot| queue[*slot].row == open);
                state.lists[direction].hit = next.unwrap_or(NONE);
            }
        }
        self.banks[bank].columns += 1;
        self.banks[bank].last_use = tick;
        let closes = self.closes_row(plan, bank);
        let command = match (write, closes) {
            (false, false) => Command::Read,
            (false, true) => Command::ReadAuto,
            (true, false) => Command::Write,
            (true, true) => Command::WriteAuto,
        };
        self.issue(plan, command, bank, row, column, tick);
        if closes {
            self.close(plan, bank, tick);
        } else {
            self.sort_in(plan, bank);
        }
        self.queue.release(slot);
        self.end(
            Completion {
                tag,
                source,
                write,
                arrival,
                finish: tick + latency,
            },
            1 + direction,
        );
        if let Scheduler::Bliss { threshold, .. } = plan.scheduler {
            self.served(plan, source, threshold);
        }
    }

    fn end(&mut self, completion: Completion, queue: usize) {
        let latency = completion.finish - completion.arrival;
        if completion.write {
            self.statistics.write_latency.add(latency);
        } else {
            self.statistics.read_latency.add(latency);
            let source = self.statistics.source(completion.source);
            source.reads += 1;
            source.read_latency_ticks += latency;
        }
        self.statistics.last_tick = self.statistics.last_tick.max(completion.finish);
        self.ends[queue].push_back(completion);
    }

    fn served(&mut self, plan: &Plan, source: u16, threshold: u32) {
        self.streak = if self.streak.0 == source {
            (source, self.streak.1 + 1)
        } else {
            (source, 1)
        };
        if self.streak.1 >= threshold {
            let index = usize::from(source);
            if index >= self.blacklist.len() {
                self.blacklist.resize(index + 1, false);
            }
            if !std::mem::replace(&mut self.blacklist[index], true) {
                (0..self.banks.len()).for_each(|bank| self.classify(plan, bank));
            }
        }
    }

    /// Whether the row policy closes the row with this column command.
    fn closes_row(&self, plan: &Plan, bank: usize) -> bool {
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

    /// What a request finds when its first command issues.
    fn count_outcome(&mut self, plan: &Plan, bank: usize, slot: u16) {
        let request = &mut self.queue[slot];
        if std::mem::replace(&mut request.counted, true) {
            return;
        }
        let (row, direction, source) = (request.row, usize::from(request.write), request.source);
        let state = &mut self.banks[bank];
        let outcome = match state.open_row {
            CLOSED => RowOutcome::Miss,
            open if open == row => RowOutcome::Hit,
            _ => RowOutcome::Conflict,
        };
        if plan.row_policy == RowPolicy::Adaptive {
            match outcome {
                RowOutcome::Conflict => state.predictor = (state.predictor + 1).min(3),
                RowOutcome::Miss if state.closed_row == row => {
                    state.predictor = state.predictor.saturating_sub(1);
                }
                _ => {}
            }
        }
        self.statistics.outcomes[direction][outcome as usize] += 1;
        self.statistics.source(source).outcomes[outcome as usize] += 1;
    }

    fn open(&mut self, plan: &Plan, bank: usize, row: u32, tick: Tick, for_request: bool) {
        let state = &mut self.banks[bank];
        (state.open_row, state.columns, state.last_use) = (row, 0, tick);
        let rank = &mut self.ranks[bank / plan.banks_per_rank];
        if rank.open == 0 {
            rank.open_since = tick;
        }
        set(&mut rank.open, bank % plan.banks_per_rank, true);
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

    fn close(&mut self, plan: &Plan, bank: usize, tick: Tick) {
        let state = &mut self.banks[bank];
        (state.closed_row, state.open_row) = (state.open_row, CLOSED);
        let rank = &mut self.ranks[bank / plan.banks_per_rank];
        set(&mut rank.open, bank % plan.banks_per_rank, false);
        if rank.open == 0 {
            self.statistics.active_ticks += tick - rank.open_since;
        }
        self.classify(plan, bank);
    }

    fn classify(&mut self, plan: &Plan, bank: usize) {
        if plan.by_source {
            let mut state = std::mem::take(&mut self.banks[bank]);
            state.classify(&self.queue, Some(&|slot, than| self.better(plan, slot, than)));
            self.banks[bank] = state;
        } else {
            self.banks[bank].classify(&self.queue, None);
        }
        self.sort_in(plan, bank);
    }

    /// Puts a bank into the sets of its rank.
    fn sort_in(&mut self, plan: &Plan, bank: usize) {
        let state = &self.banks[bank];
        let (rank, bit) = (
            &mut self.ranks[bank / plan.banks_per_rank],
            bank % plan.banks_per_rank,
        );
        let closed = state.open_row == CLOSED;
        for (direction, list) in state.lists.iter().enumerate() {
            set(&mut rank.hit[direction], bit, list.hit != NONE);
            set(&mut rank.wait[direction], bit, closed && list.other != NONE);
            set(&mut rank.conflict[direction], bit, !closed && list.other != NONE);
            let active = state.active != NONE && usize::from(self.queue[state.active].write) == direction;
            set(&mut rank.active[direction], bit, active);
        }
    }
}
