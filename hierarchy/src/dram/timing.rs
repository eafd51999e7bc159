//! When a command may issue: the constraints of a device compiled to tables, and the state of one channel.
//!
//! Ranks and banks keep, per command, the first tick at which they let that command pass: a mark. A command passes at
//! the later one of its rank's and its bank's; issuing it moves the marks of those that must wait for it. A constraint
//! of a wider scope moves the marks of all the ranks in it, one of a bank group those of all the banks in it. Maintenance is
//! rarely waited for, so constraints on it move nothing: it is found from when the last commands of each kind were issued.
//!
//! Who remembers which bank of many a command can go to first is told which banks' marks an issue moves.

use serde::{Deserialize, Serialize};

use super::command::{Command, Target};
use super::constraint::Scope;
use super::device::Device;

/// Places for the banks of one rank, which is not to have more: sets of its banks are the bits of a word.
pub(crate) const LANES: usize = 64;

/// Places for the commands, a power of two and one more than there are.
const COMMANDS: usize = (Command::COUNT + 1).next_power_of_two();

/// The marks of a rank: of its banks by command and bank, and, in the place of a last command, its own by command.
const MARKS: usize = COMMANDS * LANES;

/// Where a rank's own marks start.
const OWN: usize = MARKS - LANES;

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

/// How many neighbouring marks are moved together: most standards have four banks in a group.
const GROUP: usize = 4;

/// A mark that an issue moves, or [`GROUP`] of them from it on, and how far behind itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Move {
    mark: u32,
    delay: u32,
}

/// A part of [`TimingTable::moves`]: those of several marks, and behind them those of one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Moves {
    start: u32,
    singles: u32,
    end: u32,
}

/// A constraint on maintenance: how long it waits for the last of a kind of command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Wait {
    scope: u8,
    preceding: u8,
    delay: u32,
}

/// What issuing a command does besides moving the marks of a bank.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Effect {
    /// For which of [`AWAITED`] all the banks of its bank group may have to wait, a bit each.
    delays_group: u8,
    /// Indices into [`TimingTable::windows`].
    windows: Vec<u8>,
    /// There are siblings or further banks to look after.
    further: bool,
    /// Marks of banks beyond the bank group may move.
    spreads: bool,
    /// Of what requests wait for on the other of two buses, no marks move but those of its own bank.
    leaves_other_bus: bool,
}

impl Rule {
    /// Moves marks of banks, not of ranks.
    fn is_local(&self) -> bool {
        self.scope >= Scope::BankGroup as u8
    }

    /// Where the mark of a rank lies that it moves, or that of a bank of `rank`.
    fn mark(&self, rank: u16, unit: u16) -> usize {
        let command = usize::from(self.following);
        match self.is_local() {
            true => usize::from(rank) * MARKS + command * LANES + usize::from(unit),
            false => usize::from(unit) * MARKS + OWN + command,
        }
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
    /// By bank.
    moves: Vec<Moves>,
}

/// Where a bank lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    rank: u16,
    /// In the rank.
    number: u16,
    /// Of each scope, the number of the instance that the bank lies in.
    instances: [u16; 5],
    /// The ranks of these instances; of a bank group and a bank, its banks in the rank.
    spans: [(u16, u16); 5],
    /// In the rank, a bit each: the banks of its bank group.
    group: u64,
}

/// The constraints of a device, for one channel of `ranks` chip selects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimingTable {
    // Per issued command.
    rules: Vec<Vec<Rule>>,
    effects: [Effect; Command::COUNT],
    // By bank and issued command.
    moves_of: Vec<[Moves; COMMANDS]>,
    moves: Vec<Move>,
    siblings: Vec<Vec<Rule>>,
    windows: Vec<WindowRule>,
    // By what waits.
    waits: [Vec<Wait>; Command::COUNT],
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
                let (first, units) = if scope <= Scope::Rank as usize {
                    let ranks = each / banks_per_rank;
                    (instances[scope] * ranks, ranks)
                } else {
                    (number / each * each, each)
                };
                (first as u16, (first + units) as u16)
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
            effects: Command::ALL.map(|_| Effect {
                delays_group: 0,
                windows: Vec::new(),
                further: false,
                spreads: false,
                leaves_other_bus: false,
            }),
            moves_of: vec![Default::default(); counts[4] as usize],
            moves: Vec::new(),
            siblings: vec![Vec::new(); Command::COUNT],
            windows: Vec::new(),
            waits: Default::default(),
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
        table.set_waits_apart();
        for command in Command::ALL {
            let rules = &table.rules[command as usize];
            let siblings = &table.siblings[command as usize];
            let effect = &mut table.effects[command as usize];
            let windows = effect
                .windows
                .iter()
                .map(|window| &table.windows[usize::from(*window)]);
            let mut beyond = windows.flat_map(|window| &window.rules).chain(siblings);
            let to_several = command.target() == Target::SameBank;
            effect.spreads = to_several || beyond.any(Rule::is_local);
            effect.further = to_several || !siblings.is_empty();
            effect.delays_group = delays_group(rules);
            let windows =
                { effect.windows.iter() }.flat_map(|window| &table.windows[usize::from(*window)].rules);
            let reaches = |rule: &Rule| {
                let mut awaited = AWAITED
                    .iter()
                    .filter(|other| other.is_column() != command.is_column());
                rule.scope != Scope::Bank as u8 && awaited.any(|other| *other as u8 == rule.following)
            };
            let reaches_other_bus = rules.iter().chain(siblings).chain(windows).any(reaches);
            effect.leaves_other_bus = command.target() == Target::Bank && !reaches_other_bus;
        }
        for bank in 0..table.places.len() {
            for command in 0..Command::COUNT {
                table.moves_of[bank][command] =
                    add_moves(&mut table.moves, &table.rules[command], &table.places[bank]);
            }
            for window in &mut table.windows {
                let moves = add_moves(&mut table.moves, &window.rules, &table.places[bank]);
                window.moves.push(moves);
            }
        }
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

    /// Constraints on what requests don't wait for move no marks.
    fn set_waits_apart(&mut self) {
        for preceding in Command::ALL {
            // One to several banks reaches the bank group of the first alone.
            let keeps_group = preceding.target() == Target::SameBank;
            let moved = |rule: &mut Rule| {
                AWAITED.iter().any(|command| *command as u8 == rule.following)
                    || keeps_group && rule.scope == Scope::BankGroup as u8
            };
            for rule in self.rules[preceding as usize].extract_if(.., |rule| !moved(rule)) {
                self.waits[usize::from(rule.following)].push(Wait {
                    scope: rule.scope,
                    preceding: preceding as u8,
                    delay: rule.delay,
                });
            }
        }
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
                    self.effects[preceding as usize]
                        .windows
                        .push(self.windows.len() as u8);
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

    /// The banks of the bank group of `bank`, and for which of [`AWAITED`] `command` may make them wait, a bit each.
    #[inline(always)]
    pub(crate) fn delays_group(&self, command: Command, bank: usize) -> (u64, u8) {
        (
            self.places[bank].group,
            self.effects[command as usize].delays_group,
        )
    }

    /// Whether `command` moves marks of banks beyond its bank group.
    #[inline(always)]
    pub(crate) fn spreads(&self, command: Command) -> bool {
        self.effects[command as usize].spreads
    }

    /// Whether `command`, on one of two buses, leaves all but its own bank as it was for what requests wait for on the other.
    #[inline(always)]
    pub(crate) fn leaves_other_bus(&self, command: Command) -> bool {
        self.effects[command as usize].leaves_other_bus
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

/// For which of the commands that requests wait for rules make all the banks of a bank group wait, a bit each.
fn delays_group(rules: &[Rule]) -> u8 {
    let delays = |command: Command| {
        let group = Scope::BankGroup as u8;
        { rules.iter() }.any(|rule| rule.scope == group && rule.following == command as u8)
    };
    { AWAITED.iter().enumerate() }.fold(0, |bits, (place, command)| {
        bits | u8::from(delays(*command)) << place
    })
}

/// Adds what rules move for a command to a bank; of two that move the same, the longer one does.
fn add_moves(moves: &mut Vec<Move>, rules: &[Rule], place: &Place) -> Moves {
    let (mut groups, mut singles): (Vec<Move>, Vec<Move>) = Default::default();
    for rule in rules {
        let (first, end) = place.spans[usize::from(rule.scope)];
        let is_group = rule.is_local() && usize::from(end - first) == GROUP;
        let found = if is_group { &mut groups } else { &mut singles };
        for unit in (first..end).step_by(if is_group { GROUP } else { 1 }) {
            let mark = rule.mark(place.rank, unit) as u32;
            match found.iter_mut().find(|other| other.mark == mark) {
                Some(other) => other.delay = other.delay.max(rule.delay),
                None => found.push(Move {
                    mark,
                    delay: rule.delay,
                }),
            }
        }
    }
    let start = moves.len() as u32;
    moves.append(&mut groups);
    let middle = moves.len() as u32;
    moves.append(&mut singles);
    Moves {
        start,
        singles: middle,
        end: moves.len() as u32,
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

/// The marks of one channel.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TimingState {
    // By rank, as [`MARKS`].
    marks: Vec<Tick>,
    // When each command was issued last to a bank, and to a rank. Issue times plus one, so that 0 is never.
    last_of_banks: Vec<[Tick; COMMANDS]>,
    last_of_ranks: Vec<[Tick; COMMANDS]>,
    // Issue times plus one.
    rings: Vec<Tick>,
    heads: Vec<u32>,
}

impl TimingState {
    /// Nothing was issued yet.
    pub fn new(table: &TimingTable) -> Self {
        Self {
            marks: vec![0; table.ranks() * MARKS],
            last_of_banks: vec![[0; COMMANDS]; table.banks()],
            last_of_ranks: vec![[0; COMMANDS]; table.ranks()],
            rings: vec![0; table.rings as usize],
            heads: vec![0; table.heads as usize],
        }
    }

    /// The marks of `rank`.
    #[inline(always)]
    pub(crate) fn of_rank<'a>(&'a self, table: &'a TimingTable, rank: usize) -> RankTiming<'a> {
        RankTiming {
            marks: &self.marks.as_chunks().0[rank],
            edge: &table.edge,
        }
    }

    /// The first tick at which `command` to `bank` meets every constraint.
    #[inline]
    pub fn gate(&self, table: &TimingTable, command: Command, bank: usize) -> Tick {
        let command = command.gate();
        let (rank, number) = table.place(bank);
        let marks = self.of_rank(table, rank);
        let rank_mark = marks.marks[OWN + command as usize];
        let (bank_marks, _) = marks.banks(command);
        let tick = match command.target() {
            Target::Domain => rank_mark,
            Target::Bank => rank_mark.max(bank_marks[number]),
            Target::SameBank => { table.same_banks(bank) }
                .map(|bank| bank_marks[table.place(bank).1])
                .fold(rank_mark, Tick::max),
        };
        let waits = &table.waits[command as usize];
        let after = match waits.is_empty() {
            true => 0,
            false => self.after_waits(table, waits, command.target(), bank),
        };
        table.on_edge(command, tick.max(after))
    }

    /// When all that maintenance waits for is over.
    #[inline(never)]
    fn after_waits(&self, table: &TimingTable, waits: &[Wait], target: Target, bank: usize) -> Tick {
        let mut after = 0;
        let mut wait_for = |wait: &Wait, last: &[[Tick; COMMANDS]]| {
            for last in last {
                let last = last[usize::from(wait.preceding) % COMMANDS];
                if last != 0 {
                    after = after.max(last - 1 + Tick::from(wait.delay));
                }
            }
        };
        for wait in waits {
            let scope = usize::from(wait.scope);
            if wait.scope <= Scope::Rank as u8 {
                let (first, end) = table.places[bank].spans[scope];
                wait_for(wait, &self.last_of_ranks[first.into()..end.into()]);
                continue;
            }
            let mut wait_for_bank = |bank: usize| {
                let place = &table.places[bank];
                let (first, end) = place.spans[scope];
                let rank = bank - usize::from(place.number);
                wait_for(
                    wait,
                    &self.last_of_banks[rank + usize::from(first)..rank + usize::from(end)],
                );
            };
            match target {
                Target::Domain => {}
                Target::Bank => wait_for_bank(bank),
                Target::SameBank => table.same_banks(bank).for_each(wait_for_bank),
            }
        }
        after
    }

    /// Moves the marks for `command`, issued to `bank` at `tick`.
    #[inline(always)]
    pub fn issue(&mut self, table: &TimingTable, command: Command, bank: usize, tick: Tick) {
        self.move_all(table, table.moves_of[bank][command as usize], tick);
        self.last_of_banks[bank][command as usize] = tick + 1;
        self.last_of_ranks[usize::from(table.places[bank].rank)][command as usize] = tick + 1;
        let effect = &table.effects[command as usize];
        for window in &effect.windows {
            self.issue_in_window(table, &table.windows[usize::from(*window)], bank, tick);
        }
        if effect.further {
            self.issue_further(table, command, bank, tick);
        }
    }

    #[inline(always)]
    fn move_all(&mut self, table: &TimingTable, moves: Moves, tick: Tick) {
        let marks = &mut self.marks[..];
        let Moves { start, singles, end } = moves;
        let groups = &table.moves[start as usize..singles as usize];
        let singles = &table.moves[singles as usize..end as usize];
        for step in groups {
            let marks = marks[step.mark as usize..].first_chunk_mut::<GROUP>();
            for mark in marks.expect("a group lies in a rank") {
                move_mark(mark, step.delay, tick);
            }
        }
        for step in singles {
            move_mark(&mut marks[step.mark as usize], step.delay, tick);
        }
    }

    #[inline(always)]
    fn issue_in_window(&mut self, table: &TimingTable, window: &WindowRule, bank: usize, tick: Tick) {
        let instance = u32::from(table.places[bank].instances[usize::from(window.scope) % 5]);
        let head = &mut self.heads[(window.head + instance) as usize];
        let ring = window.ring + instance * window.window;
        self.rings[(ring + *head) as usize] = tick + 1;
        *head = if *head + 1 == window.window { 0 } else { *head + 1 };
        let oldest = self.rings[(ring + *head) as usize];
        if oldest != 0 {
            self.move_all(table, window.moves[bank], oldest - 1);
        }
    }

    /// The marks of siblings and of the other banks of a command to several.
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
                true => (0, table.banks_per_rank as u16),
                false => place.spans[scope - 1],
            };
            self.raise(rule, place.rank, (around.0, own.0), tick);
            self.raise(rule, place.rank, (own.1, around.1), tick);
        }
    }

    /// A command to the same bank of every bank group: the banks other than the first.
    #[cold]
    fn issue_to_others(&mut self, table: &TimingTable, command: Command, bank: usize, tick: Tick) {
        for other in table.same_banks(bank).filter(|other| *other != bank) {
            let place = &table.places[other];
            self.last_of_banks[other][command as usize] = tick + 1;
            for rule in &table.rules[command as usize] {
                if rule.scope == Scope::Bank as u8 {
                    self.raise(rule, place.rank, place.spans[Scope::Bank as usize], tick);
                }
            }
        }
    }

    /// Moves the marks of a span of ranks, or of banks of `rank`.
    fn raise(&mut self, rule: &Rule, rank: u16, span: (u16, u16), tick: Tick) {
        for unit in span.0..span.1 {
            move_mark(&mut self.marks[rule.mark(rank, unit)], rule.delay, tick);
        }
    }
}

#[inline(always)]
fn move_mark(mark: &mut Tick, delay: u32, tick: Tick) {
    *mark = (tick + Tick::from(delay)).max(*mark);
}

/// The marks of one rank.
#[derive(Clone, Copy)]
pub(crate) struct RankTiming<'a> {
    marks: &'a [Tick; MARKS],
    edge: &'a [Tick; Command::COUNT],
}

impl<'a> RankTiming<'a> {
    /// The first tick from `from` on at which the rank and all around it let `command` pass.
    #[inline(always)]
    pub(crate) fn gate(&self, command: Command, from: Tick) -> Tick {
        from.max(self.marks[OWN + command as usize]) | self.edge[command as usize]
    }

    /// The first ticks at which the banks themselves let `command` pass, once the bits of the edge that it needs are set,
    /// which come second.
    #[inline(always)]
    pub(crate) fn banks(&self, command: Command) -> (&'a [Tick; LANES], Tick) {
        let banks = self.marks.as_chunks().0;
        (&banks[command as usize], self.edge[command as usize])
    }
}
