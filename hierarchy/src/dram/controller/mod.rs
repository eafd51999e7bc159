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

mod accept;
mod bank;
mod choose;
mod config;
mod execute;
mod lane;
mod maintenance;
mod plan;
mod queue;
mod request;
mod rowhammer;

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

pub use config::{ControllerConfig, Mitigation, RowPolicy, Scheduler};
pub use plan::Plan;
pub use request::{Completion, IssuedCommand, Request};
pub use rowhammer::Exposure;

use self::bank::{Bank, RankBanks};
use self::choose::{Choice, Holds};
use self::lane::{Kind, LaneId, RankLanes};
use self::maintenance::Domain;
use self::queue::Queue;
use self::rowhammer::RowHammer;
use super::device::Device;
use super::statistics::Statistics;
use super::timing::{Tick, TimingState};

/// The state of one channel. All of it can be serialised; with the same [`Plan`] it goes on from there.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Channel {
    /// The first tick that is not decided yet.
    now: Tick,
    /// The first ticks at which the column bus and the row bus are free.
    bus_free: [Tick; 2],
    writing: bool,
    /// As the choice has it; settled when its tick is over.
    next_writing: bool,
    active_requests: u32,
    busy_domains: usize,
    next_due: Tick,
    /// No request has waited for too long before this tick.
    starve_at: Tick,
    data_clock_until: Tick,
    /// The bank whose activate still lacks its second half, and when that must issue.
    activating: Option<(u16, Tick)>,
    queue: Queue,
    banks: Vec<Bank>,
    ranks: Vec<RankBanks>,
    lanes: Vec<RankLanes>,
    domains: Vec<Domain>,
    timing: TimingState,
    rowhammer: RowHammer,
    // BLISS: who was served last and how often in a row, who is blacklisted, when all are forgiven.
    streak: (u16, u32),
    blacklist: Vec<bool>,
    forgive_at: Tick,
    // Forwarded reads, reads and writes whose end lies ahead; each in the order of their ends.
    ends: [VecDeque<Completion>; 3],
    // Nobody wants them.
    drops_ends: bool,
    statistics: Statistics,
    record: Option<Vec<IssuedCommand>>,
    // What was chosen last, and what of it holds.
    choices: [Choice; 2],
    holds: Holds,
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
            next_writing: false,
            active_requests: 0,
            busy_domains: 0,
            next_due: 0,
            starve_at: 0,
            data_clock_until: 0,
            activating: None,
            queue: Queue::new(slots),
            banks: vec![Bank::default(); banks],
            ranks: vec![RankBanks::default(); banks / plan.banks_per_rank],
            lanes: vec![RankLanes::EMPTY; banks / plan.banks_per_rank],
            domains: Domain::all(plan),
            timing: TimingState::new(&plan.table),
            rowhammer: RowHammer::new(plan.config.mitigation, banks, plan.device.rows, window),
            streak: (0, 0),
            blacklist: Vec::new(),
            forgive_at: plan.clear_ticks,
            ends: Default::default(),
            drops_ends: false,
            statistics: Statistics::new(),
            record: None,
            choices: [Choice::NEVER; 2],
            holds: Holds::Nothing,
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
    #[inline(always)]
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

    /// When the data ends that ends first of what is under way; `Tick::MAX` for none.
    fn first_end(&self) -> Tick {
        let ends = self.ends.iter().filter_map(|ends| ends.front());
        ends.map(|end| end.finish).min().unwrap_or(Tick::MAX)
    }

    /// When something happens next: a command or the end of a request's data.
    pub fn next_event(&mut self, plan: &Plan) -> Tick {
        self.next_command(plan).min(self.first_end())
    }

    /// No data ends before this tick, unless a request comes that a queued write answers. `Tick::MAX` if nothing is under
    /// way.
    pub(crate) fn earliest_end(&mut self, plan: &Plan) -> Tick {
        let end = self.first_end();
        if !self.has_queued() {
            return end;
        }
        let shortest = plan.device.read_ticks.min(plan.device.write_ticks);
        end.min(self.earliest_command(plan).saturating_add(shortest))
    }

    /// No data ends before this tick if no request comes. `Tick::MAX` if nothing is under way.
    pub(crate) fn next_end(&mut self, plan: &Plan) -> Tick {
        let end = self.first_end();
        if !self.has_queued() {
            return end;
        }
        let Device {
            read_ticks,
            write_ticks,
            ..
        } = plan.device;
        let writes = LaneId::new(Kind::Active, 1);
        let has_writes = self.has_writes() || self.lanes.iter().any(|lanes| lanes.banks(writes) != 0);
        let shortest = read_ticks.min(if has_writes { write_ticks } else { read_ticks });
        end.min(self.next_command(plan).saturating_add(shortest))
    }

    /// No command issues before this tick. Decides nothing: what may still come at the tick that is not decided yet counts.
    pub(crate) fn earliest_command(&mut self, plan: &Plan) -> Tick {
        if self.holds.is_all() && self.now < self.next_due {
            self.next_command(plan)
        } else {
            self.now
        }
    }

    /// Decides every tick up to `until`, and hands over the requests whose data ends by then, in the order of their
    /// ends.
    pub fn advance(&mut self, plan: &Plan, until: Tick, completed: impl FnMut(Completion)) {
        self.decide_until(plan, until);
        self.take_ends(until, completed);
    }

    /// As [`advance`](Self::advance), but leaves `until` itself undecided: a request may still come at that tick.
    pub(crate) fn advance_to(&mut self, plan: &Plan, until: Tick, completed: impl FnMut(Completion)) {
        self.decide_until(plan, until.saturating_sub(1));
        self.take_ends(until, completed);
    }

    /// Hands over the requests whose data ends by then.
    pub(crate) fn take_ends(&mut self, until: Tick, mut completed: impl FnMut(Completion)) {
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
    #[inline(always)]
    pub fn step(&mut self, plan: &Plan) -> Option<Tick> {
        let next = self.next_command(plan);
        if next == Tick::MAX {
            return None;
        }
        self.happen(plan, next);
        // With two buses, the other one may have a command too.
        self.decide_until(plan, next);
        Some(next)
    }

    /// Decides up to the command that makes room in a full queue; returns the tick after it.
    #[inline(never)]
    pub(crate) fn make_room(&mut self, plan: &Plan, write: bool) -> Tick {
        loop {
            let tick = self.step(plan).expect("a full queue waits for a command");
            if self.has_room(plan, write) {
                return tick + 1;
            }
        }
    }

    /// Keeps no ends of requests from now on, for who wants no completions.
    pub(crate) fn drop_ends(&mut self) {
        self.drops_ends = true;
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
    pub(crate) fn next_command(&mut self, plan: &Plan) -> Tick {
        if self.now >= self.next_due {
            self.fall_due(plan);
            self.holds = Holds::Nothing;
        }
        if !self.holds.is_all() {
            self.choose(plan);
        }
        let first = self.choices[0].tick.min(self.choices[1].tick);
        let forgive = if self.forgive_at != Tick::MAX && self.has_queued() {
            self.forgive_at.max(self.now)
        } else {
            Tick::MAX
        };
        first.min(self.next_due).min(forgive)
    }

    #[inline(always)]
    fn decide_until(&mut self, plan: &Plan, until: Tick) {
        if self.now <= until {
            self.decide(plan, until);
        }
    }

    #[inline(never)]
    fn decide(&mut self, plan: &Plan, until: Tick) {
        while self.now <= until {
            let tick = self.next_command(plan);
            if tick > until {
                if tick > self.now {
                    self.settle_direction();
                }
                self.now = until + 1;
                return;
            }
            self.happen(plan, tick);
        }
    }

    /// What is next, at `tick`.
    #[inline(always)]
    fn happen(&mut self, plan: &Plan, tick: Tick) {
        if tick > self.now {
            self.settle_direction();
        }
        self.now = tick;
        if tick >= self.next_due {
            // It may change what goes first.
            return;
        }
        if tick >= self.forgive_at {
            self.forgive(plan);
            return;
        }
        // With two buses, the column command goes first.
        let first = usize::from(self.choices[0].tick != tick);
        let held = std::mem::replace(&mut self.holds, Holds::Nothing);
        self.settle_direction();
        self.execute(plan, first);
        if plan.device.dual_bus && held == Holds::All {
            self.hold_other_bus(plan, first);
        }
    }

    /// BLISS: a new interval begins.
    fn forgive(&mut self, plan: &Plan) {
        self.forgive_at = self.now + plan.clear_ticks;
        self.blacklist.clear();
        self.reorder(plan);
        self.holds = Holds::Nothing;
    }
}
