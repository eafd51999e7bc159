//! Refresh, refresh management and refreshes of single rows: what must be done whether or not a request wants it.
//!
//! Refresh falls due every interval. One that is due blocks its banks, closes them and issues, unless it may still be
//! postponed and requests wait; a domain without requests pays its debts and may work ahead.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::Channel;
use super::bank::{Bank, CLOSED, bits};
use super::plan::Plan;
use super::queue::NONE;
use crate::dram::command::{Command, Target};
use crate::dram::device::RefreshMode;
use crate::dram::timing::Tick;

/// A piece of maintenance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Task {
    /// The command, to the banks that it reaches from this one.
    Command(Command, u16),
    /// Activate a row, which refreshes it.
    Row(u16, u32),
}

/// Maintenance of the banks that an all-bank command reaches; of a rank, where banks are refreshed in turn.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Domain {
    first_bank: u16,
    banks: u16,
    /// When the next refresh falls due.
    due: Tick,
    /// Refreshes that fell due less those done.
    owed: i32,
    /// When the last one was asked for.
    last: Tick,
    /// The bank whose turn it is.
    turn: u16,
    tasks: VecDeque<Task>,
}

/// The next command of a domain's first task.
#[derive(Clone, Copy, Debug)]
pub(super) struct Step {
    pub(super) domain: usize,
    pub(super) command: Command,
    pub(super) bank: usize,
}

impl Domain {
    pub(super) fn all(plan: &Plan) -> Vec<Self> {
        let banks = match plan.refresh {
            RefreshMode::PerBank | RefreshMode::SameBank => plan.banks_per_rank,
            _ => plan.banks_per_domain,
        };
        (0..plan.table.banks())
            .step_by(banks)
            .map(|first| Self {
                first_bank: first as u16,
                banks: banks as u16,
                due: plan.refresh_ticks,
                owed: 0,
                last: 0,
                turn: 0,
                tasks: VecDeque::new(),
            })
            .collect()
    }

    fn refresh_task(&mut self, plan: &Plan) -> Task {
        let turn = self.first_bank + self.turn;
        match plan.refresh {
            RefreshMode::PerBank => {
                self.turn = (self.turn + 1) % self.banks;
                Task::Command(Command::RefreshBank, turn)
            }
            RefreshMode::SameBank => {
                self.turn = (self.turn + 1) % plan.device.banks as u16;
                Task::Command(Command::RefreshSame, turn)
            }
            _ => Task::Command(Command::RefreshAll, self.first_bank),
        }
    }
}

impl Channel {
    /// The banks that a task needs.
    fn banks_of(&self, plan: &Plan, task: Task) -> Vec<usize> {
        match task {
            Task::Row(bank, _) => vec![bank.into()],
            Task::Command(command, bank) => match command.target() {
                Target::Bank => vec![bank.into()],
                Target::SameBank => plan.table.same_banks(bank.into()).collect(),
                Target::Domain => {
                    let first = usize::from(bank) / plan.banks_per_domain * plan.banks_per_domain;
                    (first..first + plan.banks_per_domain).collect()
                }
            },
        }
    }

    /// Blocks the banks of every domain's first task, and no others.
    fn block(&mut self, plan: &Plan) {
        let before: Vec<u64> = { self.ranks.iter_mut() }
            .map(|rank| std::mem::take(&mut rank.blocked))
            .collect();
        let heads: Vec<Task> = self
            .domains
            .iter()
            .filter_map(|domain| domain.tasks.front().copied())
            .collect();
        self.busy_domains = heads.len();
        for task in heads {
            for bank in self.banks_of(plan, task) {
                self.ranks[bank / plan.banks_per_rank].blocked |= 1 << (bank % plan.banks_per_rank);
            }
        }
        for (rank, before) in before.into_iter().enumerate() {
            for bit in bits(before ^ self.ranks[rank].blocked) {
                self.enter_again(plan, rank * plan.banks_per_rank + bit);
            }
        }
    }

    fn has_requests(&self, domain: usize) -> bool {
        let Domain {
            first_bank, banks, ..
        } = self.domains[domain];
        let first = usize::from(first_bank);
        let banks = &self.banks[first..first + usize::from(banks)];
        banks.iter().any(Bank::has_requests)
    }

    /// Puts a task behind the others of its domain.
    pub(super) fn demand(&mut self, plan: &Plan, task: Task) {
        let (Task::Command(_, bank) | Task::Row(bank, _)) = task;
        let domain = usize::from(bank / self.domains[0].banks);
        if !self.domains[domain].tasks.contains(&task) {
            self.domains[domain].tasks.push_back(task);
            self.block(plan);
        }
    }

    /// Lets refreshes fall due.
    pub(super) fn fall_due(&mut self, plan: &Plan) {
        self.next_due = Tick::MAX;
        if plan.no_refresh {
            return;
        }
        let (postpone, pull_in) = (
            i32::from(plan.config.refresh_postpone),
            i32::from(plan.config.refresh_pull_in),
        );
        let mut changed = false;
        for index in 0..self.domains.len() {
            let idle = !self.has_requests(index);
            let domain = &mut self.domains[index];
            while domain.due <= self.now {
                domain.due += plan.refresh_ticks;
                domain.owed += 1;
                // What falls due must be done unless it may wait; without requests, also what waited. Two refreshes
                // are never more than nine intervals apart.
                let overdue = domain.due - domain.last > 9 * plan.refresh_ticks;
                let pays = match (idle, overdue) {
                    (true, _) => -pull_in,
                    (false, true) => postpone.min(domain.owed - 1),
                    (false, false) => postpone,
                };
                if domain.owed <= pays {
                    self.statistics.postponed_refreshes += u64::from(domain.owed > 0);
                } else {
                    domain.last = domain.due - plan.refresh_ticks;
                }
                while domain.owed > pays {
                    self.statistics.pulled_in_refreshes += u64::from(domain.owed <= 0);
                    let task = domain.refresh_task(plan);
                    domain.tasks.push_back(task);
                    domain.owed -= 1;
                    changed = true;
                }
            }
            self.next_due = self.next_due.min(domain.due);
        }
        if changed {
            self.block(plan);
        }
    }

    /// The next command of each domain that has a task whose banks no request holds.
    pub(super) fn steps(&self, plan: &Plan) -> impl Iterator<Item = Step> {
        (0..self.domains.len()).filter_map(move |domain| self.step_of(plan, domain))
    }

    fn step_of(&self, plan: &Plan, domain: usize) -> Option<Step> {
        let task = *self.domains[domain].tasks.front()?;
        let mut step = Step {
            domain,
            command: Command::Activate,
            bank: 0,
        };
        match task {
            Task::Row(bank, _) => {
                step.bank = bank.into();
                if self.banks[step.bank].open_row != CLOSED {
                    step.command = Command::Precharge;
                }
                (self.banks[step.bank].active == NONE).then_some(step)
            }
            Task::Command(command, bank) => {
                step.command = command;
                step.bank = bank.into();
                match command.target() {
                    Target::Domain => {
                        let first = step.bank / plan.banks_per_rank;
                        let ranks = plan.banks_per_domain / plan.banks_per_rank;
                        let ranks = &self.ranks[first..first + ranks];
                        if ranks.iter().any(|rank| rank.open != 0) {
                            step.command = Command::PrechargeAll;
                        }
                        ranks.iter().all(|rank| rank.active == 0).then_some(step)
                    }
                    target => {
                        let mut banks = plan.table.same_banks(step.bank);
                        let open = |bank: &usize| self.banks[*bank].open_row != CLOSED;
                        let open = match target {
                            Target::SameBank => banks.find(open),
                            _ => Some(step.bank).filter(open),
                        };
                        let Some(open) = open else { return Some(step) };
                        step.command = Command::Precharge;
                        step.bank = open;
                        (self.banks[open].active == NONE).then_some(step)
                    }
                }
            }
        }
    }

    pub(super) fn first_task(&self, domain: usize) -> Option<Task> {
        self.domains[domain].tasks.front().copied()
    }

    /// The task's last command issued.
    pub(super) fn finish_task(&mut self, plan: &Plan, domain: usize) {
        let task = self.domains[domain].tasks.pop_front();
        if let Some(Task::Command(command, _)) = task
            && matches!(
                command,
                Command::ManageAll | Command::ManageBank | Command::ManageSame
            )
        {
            self.statistics.mitigations += 1;
            for bank in self.banks_of(plan, task.expect("it is a command")) {
                self.rowhammer.managed(bank);
            }
        }
        self.block(plan);
    }

    /// All rows that the command closed.
    pub(super) fn close_domain(&mut self, plan: &Plan, bank: usize, tick: Tick) {
        let first = bank / plan.banks_per_domain * plan.banks_per_domain;
        for rank in first / plan.banks_per_rank..(first + plan.banks_per_domain) / plan.banks_per_rank {
            for bit in bits(self.ranks[rank].open) {
                self.close(plan, rank * plan.banks_per_rank + bit, tick);
            }
        }
    }
}
