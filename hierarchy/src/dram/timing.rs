//! When a command may issue: the constraints of a device compiled to tables, and the state of one channel.
//!
//! Ranks and banks keep, per command, the first tick at which they let that command pass: a mark. A command passes at
//! the later one of its rank's and its bank's; issuing it moves the marks of those that must wait for it. A constraint
//! of a wider scope moves the marks of all the ranks in it, one of a bank group those of all the banks in it.
//!
//! Who remembers which bank of many a command can go to first is told which banks' marks an issue moves.

use serde::{Deserialize, Serialize};

use super::command::{Command, Target};
use super::constraint::Scope;
use super::device::Device;

/// Places for the banks of one rank, which is not to have more: sets of its banks are the bits of a word.
pub(crate) const LANES: usize = 64;

/// The commands that requests wait for.
pub(crate) const AWAITED: [Command; 4] = [
    Command::Activate,
    Command::Precharge,
    Command::Read,
    Command::Write,
];

/// A point in time, in ticks of the device.
pub type Tick = u64;

/// A constraint between two commands, its latency in ticks from issue to issue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Rule {
    scope: u8,
    following: u8,
    delay: u32,
}

/// A mark that an issue moves, and by how much.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Move {
    mark: u32,
    delay: u32,
}

/// What issuing a command does at the least.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Effect {
    /// By bank: the ends of what it moves, in [`TimingTable::moves`], of ranks' marks and, from there on, banks'.
    moves: Vec<[u32; 3]>,
    /// For which of [`AWAITED`] all the banks of its bank group may have to wait.
    delays_group: Vec<u8>,
    /// There are siblings, windows or further banks to look after.
    further: bool,
    /// Of these, banks.
    spreads: bool,
}

impl Rule {
    /// Where the mark lies that it moves, of a rank or of a bank in ranks of [`LANES`].
    fn mark(&self, unit: usize) -> usize {
        if self.is_local() {
            mark(unit / LANES, self.following) * LANES + unit % LANES
        } else {
            mark(unit, self.following)
        }
    }

    /// Moves marks of banks, not of ranks.
    fn is_local(&self) -> bool {
        self.scope >= Scope::BankGroup as u8
    }
}

/// Where a rank's mark for a command lies.
#[inline(always)]
fn mark(rank: usize, command: u8) -> usize {
    rank * Command::COUNT + usize::from(command)
}

/// A constraint that counts commands: at most `window` of them in `delay`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct WindowRule {
    scope: u8,
    window: u32,
    // Into the ring buffers of issue times, and their heads: one per instance of the scope.
    ring: u32,
    head: u32,
    rules: Vec<Rule>,
    /// As [`Effect::moves`].
    moves: Vec<[u32; 3]>,
}

/// Where a bank lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    rank: u16,
    /// In the rank.
    number: u16,
    /// Of each scope, the number of the instance that the bank lies in.
    instances: [u16; 5],
    /// The ranks of these instances; of a bank group and a bank, its banks, [`LANES`] for each rank.
    spans: [(u32, u32); 5],
    /// In the rank, a bit each: the banks of its bank group.
    group: u64,
}

/// The constraints of a device, for one channel of `ranks` chip selects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimingTable {
    // Per issued command.
    rules: Vec<Vec<Rule>>,
    effects: Vec<Effect>,
    /// Of all commands and banks.
    moves: Vec<Move>,
    siblings: Vec<Vec<Rule>>,
    windows: Vec<WindowRule>,
    // Per issued command: indices into `windows`.
    windows_of: Vec<Vec<u8>>,
    places: Vec<Place>,
    // How many instances of each scope there are.
    counts: [u32; 5],
    rings: u32,
    heads: u32,
    all_bank: usize,
    banks_per_rank: usize,
    banks_per_group: usize,
    // 1 for a command that needs a rising edge where there are others: those are the odd ticks, as the first is 1.
    edge: [Tick; Command::COUNT],
}

impl TimingTable {
    /// Compiles the constraints.
    pub fn new(device: &Device, ranks: u32) -> Self {
        let ranks = ranks * device.stack_ids;
        let sizes = [1, device.pseudo_channels, ranks, device.bank_groups, device.banks];
        let mut counts = [0; 5];
        let mut product = 1;
        for scope in 0..5 {
            product *= sizes[scope];
            counts[scope] = product;
        }
        let banks_per_rank = device.bank_groups * device.banks;
        let place = |bank: u32| {
            let instances = counts.map(|count| bank / (counts[4] / count));
            let (rank, number) = (bank / banks_per_rank, bank % banks_per_rank);
            let spans = std::array::from_fn(|scope| {
                let each = counts[4] / counts[scope];
                if scope <= Scope::Rank as usize {
                    let ranks = each / banks_per_rank;
                    (instances[scope] * ranks, (instances[scope] + 1) * ranks)
                } else {
                    let first = rank * LANES as u32 + number / each * each;
                    (first, first + each)
                }
            });
            let group = number / device.banks * device.banks;
            Place {
                group: (u64::MAX >> (64 - device.banks)) << group,
                rank: rank as u16,
                number: number as u16,
                instances: instances.map(|instance| instance as u16),
                spans,
            }
        };
        let mut table = Self {
            rules: vec![Vec::new(); Command::COUNT],
            effects: Vec::new(),
            moves: Vec::new(),
            siblings: vec![Vec::new(); Command::COUNT],
            windows: Vec::new(),
            windows_of: vec![Vec::new(); Command::COUNT],
            places: (0..counts[4]).map(place).collect(),
            counts,
            rings: 0,
            heads: 0,
            all_bank: device.all_bank as usize,
            banks_per_rank: banks_per_rank as usize,
            banks_per_group: device.banks as usize,
            edge: device.either_edge.map(|either| Tick::from(!either)),
        };
        table.add_constraints(device);
        table.add_bus(device);
        table.drop_implied();
        let mut moves = Vec::new();
        let mut move_all = |rules: &[Rule]| -> Vec<[u32; 3]> {
            let of_place = |place: &Place| {
                let start = moves.len() as u32;
                moves.extend(table.moves_of(rules, place, false));
                let middle = moves.len() as u32;
                moves.extend(table.moves_of(rules, place, true));
                [start, middle, moves.len() as u32]
            };
            table.places.iter().map(of_place).collect()
        };
        let of_windows: Vec<_> = { table.windows.iter() }
            .map(|window| move_all(&window.rules))
            .collect();
        let mut effect = |command: Command| {
            let rules = &table.rules[command as usize];
            let windows = table.windows_of[command as usize].iter();
            let mut further = windows
                .flat_map(|window| &table.windows[usize::from(*window)].rules)
                .chain(&table.siblings[command as usize]);
            Effect {
                moves: move_all(rules),
                delays_group: delays_group(rules),
                spreads: command.target() == Target::SameBank || further.any(Rule::is_local),
                further: !table.siblings[command as usize].is_empty()
                    || !table.windows_of[command as usize].is_empty()
                    || command.target() == Target::SameBank,
            }
        };
        table.effects = Command::ALL.map(&mut effect).into();
        table.moves = moves;
        for (window, moves) in table.windows.iter_mut().zip(of_windows) {
            window.moves = moves;
        }
        table
    }

    /// The marks that rules move for a command to a bank: those of banks or those of ranks.
    fn moves_of(&self, rules: &[Rule], place: &Place, local: bool) -> Vec<Move> {
        let of_rule = |rule: &Rule| {
            let (start, end) = place.spans[usize::from(rule.scope)];
            let rule = *rule;
            (start..end).map(move |unit| Move {
                mark: rule.mark(unit as usize) as u32,
                delay: rule.delay,
            })
        };
        { rules.iter() }
            .filter(|rule| rule.is_local() == local)
            .flat_map(of_rule)
            .collect()
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
                let rule = |gate: Command| Rule {
                    scope,
                    following: gate as u8,
                    delay: delay(start, gate),
                };
                self.windows.push(WindowRule {
                    scope,
                    window: constraint.window as u32,
                    ring: self.rings,
                    head: self.heads,
                    rules: gates.map(rule).collect(),
                    moves: Vec::new(),
                });
                self.rings += constraint.window as u32 * self.counts[scope as usize];
                self.heads += self.counts[scope as usize];
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
        self.places.len()
    }

    /// Banks of a rank.
    pub fn banks_per_rank(&self) -> usize {
        self.banks_per_rank
    }

    /// Banks that an all-bank command reaches.
    pub fn banks_per_domain(&self) -> usize {
        self.places.len() / self.counts[self.all_bank] as usize
    }

    fn ranks(&self) -> usize {
        self.counts[Scope::Rank as usize] as usize
    }

    /// The rank that `bank` lies in, and its number there.
    #[inline]
    pub fn place(&self, bank: usize) -> (usize, usize) {
        let place = &self.places[bank];
        (place.rank.into(), place.number.into())
    }

    /// The banks of the bank group of `bank`, and the places in [`AWAITED`] of what `command` may make them wait for.
    #[inline(always)]
    pub(crate) fn delays_group(&self, command: Command, bank: usize) -> (u64, &[u8]) {
        (
            self.places[bank].group,
            &self.effects[command as usize].delays_group,
        )
    }

    /// Whether `command` moves marks of banks beyond its bank group.
    #[inline(always)]
    pub(crate) fn spreads(&self, command: Command) -> bool {
        self.effects[command as usize].spreads
    }

    /// The same bank of every bank group of its rank.
    pub fn same_banks(&self, bank: usize) -> impl Iterator<Item = usize> + use<> {
        let first = bank - bank % self.banks_per_rank + bank % self.banks_per_group;
        (first..)
            .step_by(self.banks_per_group)
            .take(self.banks_per_rank / self.banks_per_group)
    }

    /// The banks of a rank.
    fn banks_of_rank(&self, rank: u16) -> (u32, u32) {
        let first = u32::from(rank) * LANES as u32;
        (first, first + self.banks_per_rank as u32)
    }

    /// The first tick from `tick` on at which the clock has the edge that `command` needs.
    #[inline]
    pub fn on_edge(&self, command: Command, tick: Tick) -> Tick {
        tick | self.edge[command as usize]
    }
}

/// Which of the commands that requests wait for rules delay for all the banks of a bank group.
fn delays_group(rules: &[Rule]) -> Vec<u8> {
    let delays = |command: Command| {
        let group = Scope::BankGroup as u8;
        { rules.iter() }.any(|rule| rule.scope == group && rule.following == command as u8)
    };
    let awaited = (0..AWAITED.len() as u8).filter(|awaited| delays(AWAITED[usize::from(*awaited)]));
    awaited.collect()
}

/// Adds a rule, or makes an equal one longer.
fn add(rules: &mut Vec<Rule>, rule: Rule) {
    let same = |other: &&mut Rule| other.scope == rule.scope && other.following == rule.following;
    match rules.iter_mut().find(same) {
        Some(other) => other.delay = other.delay.max(rule.delay),
        None => rules.push(rule),
    }
}

/// The marks of one channel.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TimingState {
    // By rank, then command.
    rank_marks: Vec<Tick>,
    // By rank, then command, then bank.
    bank_marks: Vec<Tick>,
    // Issue times plus one, so that 0 is never.
    rings: Vec<Tick>,
    heads: Vec<u32>,
}

impl TimingState {
    /// Nothing was issued yet.
    pub fn new(table: &TimingTable) -> Self {
        Self {
            rank_marks: vec![0; table.ranks() * Command::COUNT],
            bank_marks: vec![0; table.ranks() * Command::COUNT * LANES],
            rings: vec![0; table.rings as usize],
            heads: vec![0; table.heads as usize],
        }
    }

    /// The first tick from `from` on at which `rank` and all around it let `command` pass.
    #[inline(always)]
    pub(crate) fn rank_gate(&self, table: &TimingTable, command: Command, rank: usize, from: Tick) -> Tick {
        let mark = self.rank_marks.as_chunks::<{ Command::COUNT }>().0[rank][command as usize];
        from.max(mark) | table.edge[command as usize]
    }

    /// The first ticks at which the banks of `rank` themselves let `command` pass, once the bits of the edge that it needs
    /// are set, which come second.
    #[inline(always)]
    pub(crate) fn bank_marks(
        &self,
        table: &TimingTable,
        command: Command,
        rank: usize,
    ) -> (&[Tick; LANES], Tick) {
        let marks = &self.bank_marks.as_chunks().0[mark(rank, command as u8)];
        (marks, table.edge[command as usize])
    }

    /// The first tick at which `command` to `bank` meets every constraint.
    #[inline]
    pub fn gate(&self, table: &TimingTable, command: Command, bank: usize) -> Tick {
        let command = command.gate();
        let (rank, _) = table.place(bank);
        let rank_mark = self.rank_marks[mark(rank, command as u8)];
        let bank_mark = |bank: usize| {
            let (rank, number) = table.place(bank);
            self.bank_marks[mark(rank, command as u8) * LANES + number]
        };
        let tick = match command.target() {
            Target::Domain => rank_mark,
            Target::Bank => rank_mark.max(bank_mark(bank)),
            Target::SameBank => table.same_banks(bank).map(bank_mark).fold(rank_mark, Tick::max),
        };
        table.on_edge(command, tick)
    }

    /// Moves the marks for `command`, issued to `bank` at `tick`.
    #[inline]
    pub fn issue(&mut self, table: &TimingTable, command: Command, bank: usize, tick: Tick) {
        let effect = &table.effects[command as usize];
        self.move_all(table, effect.moves[bank], tick);
        if effect.further {
            self.issue_further(table, command, bank, tick);
        }
    }

    /// Moves marks of ranks and of banks.
    #[inline(always)]
    fn move_all(&mut self, table: &TimingTable, moves: [u32; 3], tick: Tick) {
        let [start, middle, end] = moves.map(|place| place as usize);
        move_marks(&mut self.rank_marks, &table.moves[start..middle], tick);
        move_marks(&mut self.bank_marks, &table.moves[middle..end], tick);
    }

    /// The marks of siblings, by windows, and of the other banks of a command to several.
    #[inline(never)]
    fn issue_further(&mut self, table: &TimingTable, command: Command, bank: usize, tick: Tick) {
        let place = &table.places[bank];
        if command.target() == Target::SameBank {
            self.issue_to_others(table, command, bank, tick);
        }
        for rule in &table.siblings[command as usize] {
            let scope = usize::from(rule.scope);
            let own = place.spans[scope];
            let around = match rule.scope == Scope::BankGroup as u8 {
                true => table.banks_of_rank(place.rank),
                false => place.spans[scope - 1],
            };
            self.raise(rule, (around.0, own.0), tick);
            self.raise(rule, (own.1, around.1), tick);
        }
        for &index in &table.windows_of[command as usize] {
            let window = &table.windows[usize::from(index)];
            let instance = u32::from(place.instances[usize::from(window.scope)]);
            let head = &mut self.heads[(window.head + instance) as usize];
            let ring = window.ring + instance * window.window;
            self.rings[(ring + *head) as usize] = tick + 1;
            *head = if *head + 1 == window.window { 0 } else { *head + 1 };
            let oldest = self.rings[(ring + *head) as usize];
            if oldest != 0 {
                self.move_all(table, window.moves[bank], oldest - 1);
            }
        }
    }

    /// A command to the same bank of every bank group: the banks other than the first.
    #[cold]
    fn issue_to_others(&mut self, table: &TimingTable, command: Command, bank: usize, tick: Tick) {
        for other in table.same_banks(bank).filter(|other| *other != bank) {
            let place = &table.places[other];
            for rule in &table.rules[command as usize] {
                if rule.scope == Scope::Bank as u8 {
                    self.raise(rule, place.spans[Scope::Bank as usize], tick);
                }
            }
        }
    }

    /// Moves the marks of a span of ranks or banks.
    fn raise(&mut self, rule: &Rule, span: (u32, u32), tick: Tick) {
        let marks = match rule.is_local() {
            true => &mut self.bank_marks,
            false => &mut self.rank_marks,
        };
        for unit in span.0..span.1 {
            let mark = &mut marks[rule.mark(unit as usize)];
            *mark = (tick + Tick::from(rule.delay)).max(*mark);
        }
    }
}

#[inline(always)]
fn move_marks(marks: &mut [Tick], moves: &[Move], tick: Tick) {
    for step in moves {
        let mark = &mut marks[step.mark as usize];
        *mark = (tick + Tick::from(step.delay)).max(*mark);
    }
}
