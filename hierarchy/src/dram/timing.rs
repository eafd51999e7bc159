//! When a command may issue: the constraints of a device compiled to tables, and the state of one channel.
//!
//! Every instance of every scope keeps, per command, the first tick at which it lets that command pass. A command
//! passes at the latest of them along its path; issuing it moves the marks of those that must wait for it.

use serde::{Deserialize, Serialize};

use super::command::Command;
use super::constraint::Scope;
use super::device::Device;

/// A point in time, in ticks of the device.
pub type Tick = u64;

/// A constraint between two commands, its latency in ticks from issue to issue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Rule {
    scope: u8,
    following: u8,
    delay: u32,
}

/// A constraint that counts commands: at most `window` of them in `delay`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct WindowRule {
    scope: u8,
    window: u32,
    // Into the ring buffers of issue times: one per instance of the scope.
    ring: u32,
    following: Vec<(u8, u32)>,
}

/// The instances that a bank lies in, from the channel inwards, as indices into the marks.
pub type Path = [u16; 5];

/// The constraints of a device, for one channel of `ranks` chip selects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimingTable {
    // Per issued command.
    rules: Vec<Vec<Rule>>,
    siblings: Vec<Vec<Rule>>,
    windows: Vec<WindowRule>,
    // Per issued command: indices into `windows`.
    windows_of: Vec<Vec<u8>>,
    paths: Vec<Path>,
    // How many instances of each scope there are, and the mark of the first.
    counts: [u32; 5],
    first: [u32; 5],
    nodes: usize,
    rings: usize,
    all_bank: usize,
    banks_per_rank: usize,
    banks_per_group: usize,
    group_shift: u32,
    // 1 for a command that needs a rising edge where there are others: those are the odd ticks, as the first is 1.
    edge: [Tick; Command::COUNT],
}

impl TimingTable {
    /// Compiles the constraints.
    pub fn new(device: &Device, ranks: u32) -> Self {
        let ranks = ranks * device.stack_ids;
        let sizes = [1, device.pseudo_channels, ranks, device.bank_groups, device.banks];
        let mut counts = [0; 5];
        let mut first = [0; 5];
        let (mut product, mut nodes) = (1, 0);
        for scope in 0..5 {
            product *= sizes[scope];
            counts[scope] = product;
            first[scope] = nodes;
            nodes += product;
        }
        let paths = (0..counts[4])
            .map(|bank| {
                std::array::from_fn(|scope| (first[scope] + bank / (counts[4] / counts[scope])) as u16)
            })
            .collect();
        let mut table = Self {
            rules: vec![Vec::new(); Command::COUNT],
            siblings: vec![Vec::new(); Command::COUNT],
            windows: Vec::new(),
            windows_of: vec![Vec::new(); Command::COUNT],
            paths,
            counts,
            first,
            nodes: nodes as usize,
            rings: 0,
            all_bank: device.all_bank as usize,
            banks_per_rank: (device.bank_groups * device.banks) as usize,
            banks_per_group: device.banks as usize,
            group_shift: device.banks.trailing_zeros(),
            edge: device.either_edge.map(|either| Tick::from(!either)),
        };
        table.add_constraints(device);
        table.add_bus(device);
        table.drop_implied();
        table
    }

    /// Rules that say nothing beside an outer one, or that speak to siblings where there are none.
    fn drop_implied(&mut self) {
        for rules in &mut self.rules {
            let all = rules.clone();
            rules.retain(|rule| {
                let implies = |outer: &Rule| {
                    outer.following == rule.following && outer.scope < rule.scope && outer.delay >= rule.delay
                };
                !all.iter().any(implies)
            });
        }
        let counts = self.counts;
        let has_siblings =
            |rule: &Rule| counts[usize::from(rule.scope)] > counts[usize::from(rule.scope) - 1];
        self.siblings
            .iter_mut()
            .for_each(|rules| rules.retain(has_siblings));
    }

    fn add_constraints(&mut self, device: &Device) {
        for constraint in &device.constraints {
            let latency = device.ticks(&constraint.expression);
            // Times run between the ends of commands; a mark holds the start of the next.
            let delay = |preceding: Command, following: Command| {
                if device.from_first_tick {
                    return latency as u32;
                }
                let ends = latency + device.command_ticks[preceding as usize];
                ends.saturating_sub(device.command_ticks[following as usize]) as u32
            };
            let scope = constraint.scope as u8;
            let gates = constraint.following.iter().map(|command| command.gate());
            if constraint.window > 1 {
                let start = constraint.preceding[0];
                for &preceding in &constraint.preceding {
                    self.windows_of[preceding as usize].push(self.windows.len() as u8);
                }
                self.windows.push(WindowRule {
                    scope,
                    window: constraint.window as u32,
                    ring: self.rings as u32,
                    following: gates.map(|gate| (gate as u8, delay(start, gate))).collect(),
                });
                self.rings += constraint.window * self.counts[scope as usize] as usize;
                continue;
            }
            for &preceding in &constraint.preceding {
                for gate in gates.clone() {
                    let rule = Rule {
                        scope,
                        following: gate as u8,
                        delay: delay(preceding, gate),
                    };
                    let rules = if constraint.sibling {
                        &mut self.siblings
                    } else {
                        &mut self.rules
                    };
                    add(&mut rules[preceding as usize], rule);
                }
            }
        }
    }

    /// A command that takes several ticks keeps its bus; one that takes a single tick does so by being issued.
    fn add_bus(&mut self, device: &Device) {
        for preceding in Command::ALL {
            let delay = device.command_ticks[preceding as usize] as u32;
            for following in Command::ALL {
                let one_bus = !device.dual_bus || preceding.is_column() == following.is_column();
                if one_bus && delay > 1 {
                    let rule = Rule {
                        scope: Scope::Channel as u8,
                        following: following.gate() as u8,
                        delay,
                    };
                    add(&mut self.rules[preceding as usize], rule);
                }
            }
        }
    }

    /// Banks of the channel.
    pub fn banks(&self) -> usize {
        self.paths.len()
    }

    /// Banks of a rank.
    pub fn banks_per_rank(&self) -> usize {
        self.banks_per_rank
    }

    /// Banks that an all-bank command reaches.
    pub fn banks_per_domain(&self) -> usize {
        self.paths.len() / self.counts[self.all_bank] as usize
    }

    /// The instances that `bank` lies in.
    #[inline]
    pub fn path(&self, bank: usize) -> &Path {
        &self.paths[bank]
    }

    /// The same bank of every bank group of its rank.
    pub fn same_banks(&self, bank: usize) -> impl Iterator<Item = usize> + use<> {
        let first = bank - bank % self.banks_per_rank + bank % self.banks_per_group;
        (first..)
            .step_by(self.banks_per_group)
            .take(self.banks_per_rank / self.banks_per_group)
    }

    /// The first tick from `tick` on at which the clock has the edge that `command` needs.
    #[inline]
    pub fn on_edge(&self, command: Command, tick: Tick) -> Tick {
        tick | self.edge[command as usize]
    }
}

/// Adds a rule, or makes an equal one longer.
fn add(rules: &mut Vec<Rule>, rule: Rule) {
    let same = |other: &&mut Rule| other.scope == rule.scope && other.following == rule.following;
    match rules.iter_mut().find(same) {
        Some(other) => other.delay = other.delay.max(rule.delay),
        None => rules.push(rule),
    }
}

/// When the banks of one rank let one command pass.
pub(crate) struct RankGates<'a> {
    /// The first tick at which the rank and all around it let it pass.
    pub(crate) shared: Tick,
    edge: Tick,
    group_shift: u32,
    groups: &'a [Tick],
    banks: &'a [Tick],
}

impl RankGates<'_> {
    /// The first tick at which the bank of this number in its rank lets it pass.
    #[inline]
    pub(crate) fn tick(&self, bank: usize) -> Tick {
        self.shared
            .max(self.groups[bank >> self.group_shift])
            .max(self.banks[bank])
            | self.edge
    }

    /// The first tick at which any of `banks`, a bit each, lets it pass, and those that do so then.
    #[inline]
    pub(crate) fn earliest(&self, mut banks: u64) -> (Tick, u64) {
        let (mut earliest, mut passing) = (Tick::MAX, 0);
        while banks != 0 {
            let tick = self.tick(banks.trailing_zeros() as usize);
            let bank = banks & banks.wrapping_neg();
            if tick < earliest {
                (earliest, passing) = (tick, 0);
            }
            if tick == earliest {
                passing |= bank;
            }
            banks ^= bank;
        }
        (earliest, passing)
    }
}

/// The marks of one channel.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TimingState {
    // By command, then instance.
    marks: Vec<Tick>,
    // Issue times plus one, so that 0 is never.
    rings: Vec<Tick>,
    heads: Vec<u32>,
}

impl TimingState {
    /// Nothing was issued yet.
    pub fn new(table: &TimingTable) -> Self {
        Self {
            marks: vec![0; table.nodes * Command::COUNT],
            rings: vec![0; table.rings],
            heads: vec![0; table.windows.len() * table.nodes],
        }
    }

    #[inline]
    fn mark(&self, table: &TimingTable, node: u16, command: Command) -> Tick {
        self.marks[command.gate() as usize * table.nodes + node as usize]
    }

    /// When the banks of the rank that starts with `first_bank` let `command` pass, from `from` on.
    #[inline(always)]
    pub(crate) fn rank_gates(
        &self,
        table: &TimingTable,
        command: Command,
        first_bank: usize,
        from: Tick,
    ) -> RankGates<'_> {
        let marks = &self.marks[command as usize * table.nodes..][..table.nodes];
        let path = table.path(first_bank);
        let mark = |scope: Scope| marks[path[scope as usize] as usize];
        let shared = mark(Scope::Channel)
            .max(mark(Scope::PseudoChannel))
            .max(mark(Scope::Rank));
        RankGates {
            shared: from.max(shared) | table.edge[command as usize],
            edge: table.edge[command as usize],
            group_shift: table.group_shift,
            groups: &marks[path[Scope::BankGroup as usize] as usize..],
            banks: &marks[path[Scope::Bank as usize] as usize..],
        }
    }

    /// The first tick at which `command` to `bank` meets every constraint.
    #[inline]
    pub fn gate(&self, table: &TimingTable, command: Command, bank: usize) -> Tick {
        let path = table.path(bank);
        let tick = match command {
            Command::PrechargeAll | Command::RefreshAll | Command::ManageAll => path[..=table.all_bank]
                .iter()
                .map(|&node| self.mark(table, node, command))
                .max()
                .unwrap_or(0),
            Command::RefreshSame | Command::ManageSame => {
                let nodes = table.same_banks(bank).flat_map(|bank| table.path(bank));
                nodes
                    .map(|&node| self.mark(table, node, command))
                    .max()
                    .unwrap_or(0)
            }
            _ => path
                .iter()
                .map(|&node| self.mark(table, node, command))
                .max()
                .unwrap_or(0),
        };
        table.on_edge(command, tick)
    }

    /// Moves the marks for `command`, issued to `bank` at `tick`.
    #[inline]
    pub fn issue(&mut self, table: &TimingTable, command: Command, bank: usize, tick: Tick) {
        let path = *table.path(bank);
        for rule in &table.rules[command as usize] {
            self.raise(
                table,
                path[rule.scope as usize],
                rule.following,
                tick + Tick::from(rule.delay),
            );
        }
        if matches!(command, Command::RefreshSame | Command::ManageSame) {
            for other in table.same_banks(bank).filter(|other| *other != bank) {
                let path = table.path(other);
                for rule in table.rules[command as usize]
                    .iter()
                    .filter(|r| r.scope == Scope::Bank as u8)
                {
                    self.raise(
                        table,
                        path[Scope::Bank as usize],
                        rule.following,
                        tick + Tick::from(rule.delay),
                    );
                }
            }
        }
        for rule in &table.siblings[command as usize] {
            let (scope, own) = (rule.scope as usize, path[rule.scope as usize]);
            let siblings = table.counts[scope] / table.counts[scope - 1];
            let parent = (u32::from(own) - table.first[scope]) / siblings;
            let first = table.first[scope] + parent * siblings;
            for node in (first..first + siblings).filter(|node| *node != u32::from(own)) {
                self.raise(table, node as u16, rule.following, tick + Tick::from(rule.delay));
            }
        }
        for &index in &table.windows_of[command as usize] {
            let rule = &table.windows[index as usize];
            let node = path[rule.scope as usize];
            let instance = u32::from(node) - table.first[rule.scope as usize];
            let head = &mut self.heads[index as usize * table.nodes + node as usize];
            let ring = (rule.ring + instance * rule.window) as usize;
            self.rings[ring + *head as usize] = tick + 1;
            *head = if *head + 1 == rule.window { 0 } else { *head + 1 };
            let oldest = self.rings[ring + *head as usize];
            if oldest != 0 {
                for &(following, delay) in &rule.following {
                    self.raise(table, node, following, oldest - 1 + Tick::from(delay));
                }
            }
        }
    }

    #[inline]
    fn raise(&mut self, table: &TimingTable, node: u16, command: u8, tick: Tick) {
        let mark = &mut self.marks[command as usize * table.nodes + node as usize];
        *mark = tick.max(*mark);
    }
}
