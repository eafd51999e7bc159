//! When a command may issue: the constraints of a device compiled to tables, and the state of one channel.
//!
//! Ranks and banks keep, per command, the first tick at which they let that command pass: a mark. A command passes at
//! the later one of its rank's and its bank's; issuing it moves the marks of those that must wait for it. A constraint
//! of a wider scope moves the marks of all the ranks in it, one of a bank group those of all the banks in it.
//!
//! Who asks for the earliest of many banks looks at few: a bank whose mark lay behind that of its rank once stays so
//! until it is moved, and only banks that are *late* in this sense are looked at.

use serde::{Deserialize, Serialize};

use super::command::{Command, Target};
use super::constraint::Scope;
use super::device::Device;

/// Places for the banks of one rank, which is not to have more: sets of its banks are the bits of a word.
pub(crate) const LANES: usize = 64;

/// A point in time, in ticks of the device.
pub type Tick = u64;

/// A constraint between two commands, its latency in ticks from issue to issue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Rule {
    scope: u8,
    following: u8,
    delay: u32,
}

/// A mark that an issue moves: where it lies from the first rank or bank of the scope's instance on, and by how much.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Move {
    mark: u32,
    delay: u32,
    scope: u8,
}

/// Banks that a command may make wait for longer than their rank.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Late {
    /// The first rank's word for the command that may have to wait.
    node: u32,
    group: bool,
}

/// What issuing a command does at the least.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Effect {
    rank_moves: Vec<Move>,
    bank_moves: Vec<Move>,
    /// For which commands its bank, or all the banks of its bank group, may have to wait.
    late: Vec<Late>,
    /// There are siblings, windows or further banks to look after.
    further: bool,
}

impl Rule {
    /// Moves marks of banks, not of ranks.
    fn is_local(&self) -> bool {
        self.scope >= Scope::BankGroup as u8
    }
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
    /// Where these begin; with room for any number of three bits.
    starts: [u32; 8],
    /// In the rank, a bit each: the bank, and those of its bank group.
    sets: [u64; 2],
}

/// The constraints of a device, for one channel of `ranks` chip selects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimingTable {
    // Per issued command.
    rules: Vec<Vec<Rule>>,
    effects: Vec<Effect>,
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
            let mut starts = [0; 8];
            starts[..5].copy_from_slice(&spans.map(|(start, _)| start));
            let group = number / device.banks * device.banks;
            Place {
                sets: [1 << number, (u64::MAX >> (64 - device.banks)) << group],
                rank: rank as u16,
                number: number as u16,
                instances: instances.map(|instance| instance as u16),
                spans,
                starts,
            }
        };
        let mut table = Self {
            rules: vec![Vec::new(); Command::COUNT],
            effects: Vec::new(),
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
        let effect = |command: Command| {
            let rules = &table.rules[command as usize];
            Effect {
                rank_moves: table.moves(rules, false),
                bank_moves: table.moves(rules, true),
                late: late(rules, table.ranks()),
                further: !table.siblings[command as usize].is_empty()
                    || !table.windows_of[command as usize].is_empty()
                    || command.target() == Target::SameBank,
            }
        };
        table.effects = Command::ALL.map(effect).into();
        table
    }

    /// The marks that rules move, those of banks or those of ranks.
    fn moves(&self, rules: &[Rule], local: bool) -> Vec<Move> {
        let moves = rules
            .iter()
            .filter(|rule| rule.is_local() == local)
            .flat_map(|rule| {
                let units = self.ranks() * if local { LANES } else { 1 };
                let (start, end) = self.places[0].spans[usize::from(rule.scope)];
                (start..end).map(move |mark| Move {
                    mark: u32::from(rule.following) * units as u32 + mark,
                    delay: rule.delay,
                    scope: rule.scope,
                })
            });
        moves.collect()
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

    #[inline]
    fn bank_mark(&self, command: Command, bank: usize) -> usize {
        (command as usize * self.ranks()) * LANES + self.places[bank].starts[Scope::Bank as usize] as usize
    }

    /// The rank that `bank` lies in, and its number there.
    #[inline]
    pub fn place(&self, bank: usize) -> (usize, usize) {
        let place = &self.places[bank];
        (place.rank.into(), place.number.into())
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

/// The banks that rules may make wait, for the commands that are asked for by sets of banks.
fn late(rules: &[Rule], ranks: usize) -> Vec<Late> {
    let asked = [
        Command::Activate,
        Command::Precharge,
        Command::Read,
        Command::Write,
    ];
    let late = asked.into_iter().filter_map(|command| {
        let mut scopes = rules
            .iter()
            .filter(|rule| rule.following == command as u8 && rule.is_local())
            .map(|rule| rule.scope);
        let first = scopes.next()?;
        Some(Late {
            node: (command as usize * ranks) as u32,
            group: scopes.fold(first, u8::min) == Scope::BankGroup as u8,
        })
    });
    late.collect()
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
    // By command, then rank.
    rank_marks: Vec<Tick>,
    // By command, then rank, then bank.
    bank_marks: Vec<Tick>,
    // By command, then rank: a bit for each bank that may have to wait for longer than its rank.
    late: Vec<u64>,
    // Issue times plus one, so that 0 is never.
    rings: Vec<Tick>,
    heads: Vec<u32>,
}

/// The bank of a set that a command can go to first.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FirstReady {
    /// When it passes.
    pub(crate) tick: Tick,
    /// By what it goes before others that let it pass then: the smallest.
    pub(crate) order: u64,
    /// Its number in the rank.
    pub(crate) number: usize,
}

impl TimingState {
    /// Nothing was issued yet.
    pub fn new(table: &TimingTable) -> Self {
        Self {
            rank_marks: vec![0; table.ranks() * Command::COUNT],
            bank_marks: vec![0; table.ranks() * Command::COUNT * LANES],
            late: vec![0; table.ranks() * Command::COUNT],
            rings: vec![0; table.rings as usize],
            heads: vec![0; table.heads as usize],
        }
    }

    /// The first tick from `from` on at which `rank` and all around it let `command` pass.
    #[inline(always)]
    pub(crate) fn rank_gate(&self, table: &TimingTable, command: Command, rank: usize, from: Tick) -> Tick {
        let mark = self.rank_marks[command as usize * table.ranks() + rank];
        from.max(mark) | table.edge[command as usize]
    }

    /// Which of `banks` of `rank`, a bit each, lets `command` pass first, and of those that do so then, which one goes
    /// first. `rank_gate` is [`rank_gate`](Self::rank_gate) from a tick that never goes back.
    #[inline(always)]
    pub(crate) fn first_ready(
        &mut self,
        table: &TimingTable,
        (command, rank): (Command, usize),
        banks: u64,
        rank_gate: Tick,
        orders: &[u64; LANES],
    ) -> FirstReady {
        let node = command as usize * table.ranks() + rank;
        let late = &mut self.late[node];
        let mut unknown = *late & banks;
        let mut passing = banks & !unknown;
        let mut first = FirstReady {
            tick: Tick::MAX,
            order: u64::MAX,
            number: 0,
        };
        if unknown != 0 {
            let marks = &self.bank_marks.as_chunks::<LANES>().0[node];
            let edge = table.edge[command as usize];
            while unknown != 0 {
                let number = unknown.trailing_zeros() as usize % LANES;
                let bank = unknown & unknown.wrapping_neg();
                unknown ^= bank;
                if marks[number] <= rank_gate {
                    *late ^= bank;
                    passing |= bank;
                } else {
                    let (tick, order) = (marks[number] | edge, orders[number]);
                    if tick < first.tick || tick == first.tick && order < first.order {
                        first = FirstReady { tick, order, number };
                    }
                }
            }
        }
        if passing != 0 {
            // With two edges, one that has to wait may get the same as those that needn't.
            if first.tick != rank_gate {
                first.order = u64::MAX;
            }
            first.tick = rank_gate;
            while passing != 0 {
                let number = passing.trailing_zeros() as usize % LANES;
                passing &= passing - 1;
                if orders[number] < first.order {
                    (first.order, first.number) = (orders[number], number);
                }
            }
        }
        first
    }

    /// The first tick at which `command` to `bank` meets every constraint.
    #[inline]
    pub fn gate(&self, table: &TimingTable, command: Command, bank: usize) -> Tick {
        let command = command.gate();
        let (rank, _) = table.place(bank);
        let rank_mark = self.rank_marks[command as usize * table.ranks() + rank];
        let bank_mark = |bank: usize| self.bank_marks[table.bank_mark(command, bank)];
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
        let (place, effect) = (&table.places[bank], &table.effects[command as usize]);
        move_marks(&mut self.rank_marks, &effect.rank_moves, place, tick);
        move_marks(&mut self.bank_marks, &effect.bank_moves, place, tick);
        for late in &effect.late {
            self.late[late.node as usize + usize::from(place.rank)] |= place.sets[usize::from(late.group)];
        }
        if effect.further {
            self.issue_further(table, command, bank, tick);
        }
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
            self.raise(table, rule, (around.0, own.0), place.rank, tick);
            self.raise(table, rule, (own.1, around.1), place.rank, tick);
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
                for rule in &window.rules {
                    self.raise(
                        table,
                        rule,
                        place.spans[usize::from(rule.scope)],
                        place.rank,
                        oldest - 1,
                    );
                }
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
                    self.raise(table, rule, place.spans[Scope::Bank as usize], place.rank, tick);
                }
            }
        }
    }

    /// Moves the marks of a span of ranks or, in `rank`, banks.
    fn raise(&mut self, table: &TimingTable, rule: &Rule, span: (u32, u32), rank: u16, tick: Tick) {
        let following = Command::ALL[usize::from(rule.following)];
        let first = following as usize * table.ranks();
        let (marks, first) = match rule.is_local() {
            true => (&mut self.bank_marks, first * LANES),
            false => (&mut self.rank_marks, first),
        };
        for mark in &mut marks[first + span.0 as usize..first + span.1 as usize] {
            *mark = (tick + Tick::from(rule.delay)).max(*mark);
        }
        if rule.is_local() {
            self.delay_banks(table, following, span, rank);
        }
    }

    /// The marks of a span of banks of a rank were moved.
    fn delay_banks(&mut self, table: &TimingTable, following: Command, span: (u32, u32), rank: u16) {
        let moved = ((1u128 << (span.1 - span.0)) - 1) as u64;
        self.late[following as usize * table.ranks() + usize::from(rank)] |=
            moved << (span.0 as usize % LANES);
    }
}

#[inline(always)]
fn move_marks(marks: &mut [Tick], moves: &[Move], place: &Place, tick: Tick) {
    for step in moves {
        let mark = &mut marks[(step.mark + place.starts[usize::from(step.scope & 7)]) as usize];
        *mark = (tick + Tick::from(step.delay)).max(*mark);
    }
}
