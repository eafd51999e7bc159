//! What a chosen command does: to the clock and the marks, to its request, to who is served next.

use super::Channel;
use super::bank::CLOSED;
use super::choose::{Choice, Purpose};
use super::config::{RowPolicy, Scheduler};
use super::lane::{Kind, LaneId};
use super::maintenance::Task;
use super::plan::Plan;
use super::queue::{NONE, Slot};
use super::request::{Completion, IssuedCommand};
use crate::dram::command::Command;
use crate::dram::statistics::RowOutcome;
use crate::dram::timing::Tick;

impl Channel {
    #[inline(never)]
    pub(super) fn execute(&mut self, plan: &Plan, place: usize) {
        let Choice {
            tick,
            command,
            bank,
            purpose,
            ..
        } = self.choices[place];
        let bank = usize::from(bank);
        match purpose {
            Purpose::Request(slot) => {
                self.count_outcome(plan, bank, slot);
                match command {
                    Command::Activate => self.activate(plan, bank, slot, tick),
                    Command::Precharge => self.precharge(plan, bank, tick),
                    _ => self.access(plan, bank, slot, tick),
                }
            }
            Purpose::Idle => self.precharge(plan, bank, tick),
            _ => self.maintain(plan, self.choices[place]),
        }
    }

    #[inline(always)]
    fn activate(&mut self, plan: &Plan, bank: usize, slot: u16, tick: Tick) {
        let Slot { row, write, .. } = self.queue[slot];
        self.issue(plan, Command::Activate, bank, row, 0, tick);
        let list = &mut self.banks[bank].lists[usize::from(write)];
        self.queue.unlink(list, slot);
        self.set_active(plan, bank, slot);
        self.open(plan, bank, row, tick, true);
    }

    #[inline(always)]
    fn precharge(&mut self, plan: &Plan, bank: usize, tick: Tick) {
        let row = self.banks[bank].open_row;
        self.issue(plan, Command::Precharge, bank, row, 0, tick);
        self.close(plan, bank, tick);
    }

    /// What no request asked for, and the second half of an activate.
    #[inline(never)]
    fn maintain(&mut self, plan: &Plan, choice: Choice) {
        let Choice {
            tick,
            command,
            purpose,
            ..
        } = choice;
        let bank = usize::from(choice.bank);
        match purpose {
            Purpose::Task(domain) => {
                let row = match self.first_task(domain.into()) {
                    Some(Task::Row(_, row)) => row,
                    _ => self.banks[bank].open_row,
                };
                self.issue(plan, command, bank, row, 0, tick);
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
            Purpose::SecondHalf => {
                self.activating = None;
                self.issue(plan, command, bank, self.banks[bank].open_row, 0, tick);
            }
            Purpose::Request(_) | Purpose::Idle => unreachable!("those are executed"),
        }
    }

    /// Moves the timing marks, the bus and the clock, and records.
    #[inline(always)]
    fn issue(&mut self, plan: &Plan, command: Command, bank: usize, row: u32, column: u32, tick: Tick) {
        self.timing.issue(&plan.table, command, bank, tick);
        // What moves for the bank itself is seen when it enters the lanes of what it waits for then.
        let (banks, delays) = plan.table.delays_group(command, bank);
        let (rank, _) = plan.table.place(bank);
        let lanes = &mut self.lanes[rank];
        lanes.delay(delays, banks);
        if plan.table.spreads(command) {
            lanes.forget();
        }
        if command == Command::Activate
            && let Some(within) = plan.device.second_activate_ticks
        {
            self.activating = Some((bank as u16, tick + within));
        }
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
    #[inline(always)]
    fn access(&mut self, plan: &Plan, bank: usize, slot: u16, mut tick: Tick) {
        let Slot {
            tag,
            source,
            write,
            arrival,
            row,
            column,
            outcome,
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
                self.start_data_clock(plan, bank, row, column, tick);
                tick += plan.device.command_ticks[Command::DataClock as usize];
            }
            self.data_clock_until = self.data_clock_until.max(tick + latency + off);
        }
        let direction = usize::from(write);
        if self.banks[bank].active == slot {
            self.set_active(plan, bank, NONE);
        } else {
            let queue = &mut self.queue;
            let state = &mut self.banks[bank];
            let next = queue.next(slot);
            queue.unlink(&mut state.lists[direction], slot);
            if plan.by_source {
                state.classify(queue, true);
            } else {
                let open = state.open_row;
                let next = queue.from(next).find(|slot| queue[*slot].row == open);
                state.lists[direction].hit = next.unwrap_or(NONE);
            }
            if state.lists[direction].hit == NONE {
                let (rank, number) = plan.table.place(bank);
                let lane = LaneId::new(Kind::Hit, direction);
                self.lanes[rank].take(lane, number);
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
            self.enter_open(plan, bank);
        }
        self.queue.release(slot);
        self.end(
            Completion {
                tag,
                source,
                write,
                arrival,
                finish: tick + latency,
                outcome,
            },
            1 + direction,
        );
        if let Scheduler::Bliss { threshold, .. } = plan.scheduler {
            self.served(plan, source, threshold);
        }
    }

    #[inline(never)]
    fn start_data_clock(&mut self, plan: &Plan, bank: usize, row: u32, column: u32, tick: Tick) {
        self.issue(plan, Command::DataClock, bank, row, column, tick);
    }

    pub(super) fn end(&mut self, completion: Completion, queue: usize) {
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
        if !self.drops_ends {
            self.ends[queue].push_back(completion);
        }
    }

    /// What a request finds when its first command issues.
    #[inline(always)]
    fn count_outcome(&mut self, plan: &Plan, bank: usize, slot: u16) {
        if self.queue[slot].outcome.is_none() {
            self.find_outcome(plan, bank, slot);
        }
    }

    #[inline(never)]
    fn find_outcome(&mut self, plan: &Plan, bank: usize, slot: u16) {
        let request = &mut self.queue[slot];
        let (row, direction, source) = (request.row, usize::from(request.write), request.source);
        let state = &mut self.banks[bank];
        let outcome = match state.open_row {
            CLOSED => RowOutcome::Miss,
            open if open == row => RowOutcome::Hit,
            _ => RowOutcome::Conflict,
        };
        request.outcome = Some(outcome);
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
                self.reorder(plan);
            }
        }
    }
}
