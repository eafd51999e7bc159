//! An independent reading of the standards: holds a command trace against them and reports what it breaks.
//!
//! It shares the parameters of the device file with the controller (nRCD = 22) and nothing else: neither the file's
//! constraints, nor the tables compiled from them, nor the state machine. Every rule below is a sentence of the
//! standards, checked by looking back over the trace for as long as the rule reaches.
//!
//! Not checked: that data arrives, that refreshes come often enough on a channel that is refreshed per bank, training
//! and mode-register commands, which the model does not have.

use std::collections::VecDeque;
use std::fmt;

use super::command::Command;
use super::controller::IssuedCommand;
use super::device::Device;
use super::timing::Tick;

/// What a command broke.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The command.
    pub command: IssuedCommand,
    /// The rule, by JEDEC's name where it has one.
    pub rule: &'static str,
    /// The command that it came too soon after, and how many ticks there must be; none for what the state forbids.
    pub after: Option<(IssuedCommand, Tick)>,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let show = |f: &mut fmt::Formatter<'_>, c: &IssuedCommand| {
            write!(
                f,
                "{} to bank {} row {} at tick {}",
                c.command, c.bank, c.row as i32, c.tick
            )
        };
        show(f, &self.command)?;
        write!(f, " breaks {}", self.rule)?;
        if let Some((other, ticks)) = &self.after {
            write!(f, " of {ticks} ticks after ")?;
            show(f, other)?;
        }
        Ok(())
    }
}

/// What two commands have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Share {
    Bank,
    Group,
    Rank,
    /// The pseudo-channel but not the rank.
    OtherRank,
    PseudoChannel,
    /// The rank but not the bank.
    OtherBank,
}

/// At least `ticks` from any of `first` to any of `then`.
struct Rule {
    name: &'static str,
    share: Share,
    first: &'static [Command],
    then: &'static [Command],
    ticks: i64,
}

/// At most four of `commands` in any `ticks`.
struct FourActivates {
    share: Share,
    commands: &'static [Command],
    ticks: i64,
}

const ACT: &[Command] = &[Command::Activate];
const PRE: &[Command] = &[Command::Precharge];
const PREA: &[Command] = &[Command::PrechargeAll];
const ANY_PRE: &[Command] = &[Command::Precharge, Command::PrechargeAll];
const READ: &[Command] = &[Command::Read, Command::ReadAuto];
const WRITE: &[Command] = &[Command::Write, Command::WriteAuto];
const COLUMN: &[Command] = &[
    Command::Read,
    Command::ReadAuto,
    Command::Write,
    Command::WriteAuto,
];
const PLAIN_READ: &[Command] = &[Command::Read];
const PLAIN_WRITE: &[Command] = &[Command::Write];
const READ_AUTO: &[Command] = &[Command::ReadAuto];
const WRITE_AUTO: &[Command] = &[Command::WriteAuto];
const ALL_REFRESH: &[Command] = &[Command::RefreshAll, Command::ManageAll];
const PART_REFRESH: &[Command] = &[
    Command::RefreshBank,
    Command::RefreshSame,
    Command::ManageBank,
    Command::ManageSame,
];
const ACT_OR_REFRESH: &[Command] = &[
    Command::Activate,
    Command::RefreshBank,
    Command::RefreshSame,
    Command::ManageBank,
    Command::ManageSame,
];
const AFTER_ALL_REFRESH: &[Command] = &[
    Command::Activate,
    Command::PrechargeAll,
    Command::RefreshAll,
    Command::ManageAll,
    Command::RefreshBank,
    Command::RefreshSame,
    Command::ManageBank,
    Command::ManageSame,
];

/// The device's parameters under JEDEC's names.
struct Parameters<'a>(&'a Device);

impl Parameters<'_> {
    /// The first of `names` that the device has, in clocks.
    fn get(&self, names: &[&str]) -> Option<i64> {
        names
            .iter()
            .find_map(|name| self.0.parameters.get(*name).copied())
    }

    fn is(&self, standard: &str) -> bool {
        self.0.standard.starts_with(standard)
    }
}

fn rules(device: &Device) -> (Vec<Rule>, Option<FourActivates>) {
    use Share::{Bank, Group, OtherBank, OtherRank, PseudoChannel, Rank};
    let p = Parameters(device);
    let get = |names: &[&str]| p.get(names).unwrap_or(0);
    // HBM counts ranks (stack ids) of one pseudo-channel together for everything but column spacing.
    let whole = if p.is("HBM") { PseudoChannel } else { Rank };

    let (rl, wl) = (get(&["nCL", "nRL"]), get(&["nCWL", "nWL"]));
    let burst = get(&["nBL", "nBL_min"]);
    let long_burst = get(&["nBL_max", "nBL"]);
    // LPDDR4 has one clock between the write latency and the first data.
    let write_end = wl + burst + i64::from(p.is("LPDDR4"));
    let (ras, rp, rc) = (get(&["nRAS"]), get(&["nRP"]), get(&["nRC"]));
    let rp_all = get(&["nRPab", "nRP"]);
    let (rtp, wr) = (get(&["nRTP", "nRTPSB"]), get(&["nWR"]));
    let (rcd_read, rcd_write) = (get(&["nRCDRD", "nRCD"]), get(&["nRCDWR", "nRCD"]));
    let ccd_short = get(&["nCCDS", "nCCD"]);
    let ccd_write_short = get(&["nCCDS_WR", "nCCDS", "nCCD"]);
    let wtr_short = get(&["nWTRS", "nWTR"]);
    let rrd_short = get(&["nRRDS", "nRRD"]);
    let refresh = get(&["nRFC"]);
    let part = get(&["nRFCpb", "nRFCsb"]);
    // From the refresh of a part to another bank's activate, and to the refresh of another part.
    let (part_to_activate, part_to_part) = if p.is("LPDDR5") {
        (get(&["nPBR2ACT"]), get(&["nPBR2PBR"]))
    } else if p.is("LPDDR4") {
        (rrd_short, part)
    } else {
        let spacing = get(&["nRREFD", "nREFSBRD"]);
        (spacing, spacing)
    };
    // From the end of read data to write data: the bus turns around.
    let read_to_write = match p.get(&["nRTW"]) {
        Some(clocks) => clocks,
        None if p.is("GDDR6") => rl + 1,
        None if p.is("LPDDR4") => rl + get(&["nDQSCK"]) + burst + get(&["nWPRE"]) - wl,
        None if p.is("DDR5") => rl + burst + 4 - wl,
        None => rl + burst + 2 - wl,
    };

    let mut rules = Vec::new();
    let mut rule = |name, share, first, then, clocks: i64| {
        // A rule of no time says nothing.
        if clocks > 0 {
            let ticks = clocks * device.ticks_per_clock as i64;
            rules.push(Rule {
                name,
                share,
                first,
                then,
                ticks,
            });
        }
    };
    rule("tRCD", Bank, ACT, READ, rcd_read);
    rule("tRCD", Bank, ACT, WRITE, rcd_write);
    rule("tRAS", Bank, ACT, PRE, ras);
    rule("tRAS", whole, ACT, PREA, ras);
    rule("tRC", Bank, ACT, ACT, rc);
    rule("tRP", Bank, PRE, ACT, rp);
    rule("tRPab", whole, PREA, ACT, rp_all);
    rule("tRTP", Bank, PLAIN_READ, PRE, rtp);
    rule("tRTP", whole, PLAIN_READ, PREA, rtp);
    rule("tWR", Bank, PLAIN_WRITE, PRE, write_end + wr);
    rule("tWR", whole, PLAIN_WRITE, PREA, write_end + wr);
    rule("tRTP + tRP", Bank, READ_AUTO, ACT_OR_REFRESH, rtp + rp);
    rule("tRTP + tRP", whole, READ_AUTO, ALL_REFRESH, rtp + rp);
    rule("tWR + tRP", Bank, WRITE_AUTO, ACT_OR_REFRESH, write_end + wr + rp);
    rule("tWR + tRP", whole, WRITE_AUTO, ALL_REFRESH, write_end + wr + rp);
    rule("tPPD", whole, ANY_PRE, ANY_PRE, get(&["nPPD"]));
    rule("tRRD_S", whole, ACT, ACT, rrd_short);
    rule("tRRD_L", Group, ACT, ACT, get(&["nRRDL"]));
    rule(
        "tRPD",
        OtherBank,
        PRE,
        &[Command::Activate, Command::RefreshBank],
        get(&["nRPD"]),
    );

    // GDDR has no ranks: what there are of them share everything about data.
    let data = if p.is("GDDR") { PseudoChannel } else { whole };
    let column = if p.is("HBM3") || p.is("HBM4") { Rank } else { data };
    rule("tCCD_S", column, READ, READ, ccd_short);
    rule("tCCD_S", column, WRITE, WRITE, ccd_write_short);
    rule("tCCD_R", OtherRank, READ, READ, get(&["nCCDR"]));
    rule("tCCD_L", Group, READ, READ, get(&["nCCDL"]));
    rule("tCCD_L_WR", Group, WRITE, WRITE, get(&["nCCDL_WR", "nCCDL"]));
    rule("tCCD_SB", Bank, READ, READ, get(&["nCCDSB"]));
    rule("tCCD_SB", Bank, WRITE, WRITE, get(&["nCCDSB"]));
    rule("BL", PseudoChannel, READ, READ, burst);
    rule("BL", PseudoChannel, WRITE, WRITE, burst);
    rule("tRTW", data, READ, WRITE, read_to_write);
    rule("tWTR_S", data, WRITE, READ, write_end + wtr_short);
    if let Some(wtr) = p.get(&["nWTRL"]) {
        rule("tWTR_L", Group, WRITE, READ, wl + long_burst + wtr);
    }
    if let Some(wtr) = p.get(&["nWTRSB"]) {
        rule("tWTR_SB", Bank, WRITE, READ, wl + burst + wtr);
    }
    if let Some(switch) = p.get(&["nCS"]) {
        rule("rank switch", OtherRank, READ, COLUMN, burst + switch);
        rule("rank switch", OtherRank, WRITE, WRITE, burst + switch);
        let (from, to) = if p.is("LPDDR5") { (rl, wl) } else { (wl, rl) };
        rule("rank switch", OtherRank, WRITE, READ, from + burst + switch - to);
    }

    rule("tRC", whole, ACT, ALL_REFRESH, rc);
    rule("tRP", whole, PRE, ALL_REFRESH, rp);
    rule("tRPab", whole, PREA, ALL_REFRESH, rp_all);
    rule("tRFC", whole, ALL_REFRESH, AFTER_ALL_REFRESH, refresh);
    if let Some(clocks) = p.get(&["nRDREFab"]) {
        rule("tRDREFab", whole, READ, ALL_REFRESH, clocks);
    }
    if p.is("GDDR6") {
        rule("tRFC", whole, ALL_REFRESH, COLUMN, refresh);
        rule("tRFC", whole, ALL_REFRESH, PRE, refresh);
        rule("tRRD_L", Group, ACT, PART_REFRESH, get(&["nRRDL"]));
    }
    if p.is("HBM4") {
        rule("tRRD_L", Group, ACT, PART_REFRESH, get(&["nRRDL"]));
        rule("tRRD_L", Group, PART_REFRESH, ACT, get(&["nRRDL"]));
    }
    if part > 0 {
        rule("tRC", Bank, ACT, PART_REFRESH, rc);
        rule("tRP", Bank, PRE, PART_REFRESH, rp);
        rule("tRFCpb", Bank, PART_REFRESH, ACT_OR_REFRESH, part);
        rule("tRFCpb", whole, PART_REFRESH, ALL_REFRESH, part);
        rule("tRREFD", whole, PART_REFRESH, ACT, part_to_activate);
        rule("tRREFD", whole, PART_REFRESH, PART_REFRESH, part_to_part);
        if !p.is("LPDDR") {
            rule("tRRD_S", whole, ACT, PART_REFRESH, rrd_short);
        }
    }
    let four = p.get(&["nFAW"]).map(|clocks| FourActivates {
        share: whole,
        commands: if p.is("GDDR6") {
            &[Command::Activate, Command::RefreshBank]
        } else {
            ACT
        },
        ticks: clocks * device.ticks_per_clock as i64,
    });
    (rules, four)
}

/// Where a bank lies.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Position {
    pseudo_channel: u32,
    rank: u32,
    group: u32,
    bank: u32,
}

/// Checks commands one after the other.
pub struct Checker {
    device: Device,
    ranks: u32,
    rules: Vec<Rule>,
    four: Option<FourActivates>,
    reach: i64,
    recent: VecDeque<IssuedCommand>,
    activates: VecDeque<IssuedCommand>,
    open: Vec<Option<u32>>,
    data_clock_until: Tick,
    /// The activate that lacks its second half.
    activating: Option<IssuedCommand>,
    refreshed: Vec<Tick>,
}

impl Checker {
    /// For one channel of `ranks` chip selects.
    pub fn new(device: &Device, ranks: u32) -> Self {
        let ranks = ranks * device.stack_ids;
        let (rules, four) = rules(device);
        let longest = rules
            .iter()
            .map(|rule| rule.ticks)
            .chain(four.iter().map(|four| four.ticks))
            .max();
        let banks = device.pseudo_channels * ranks * device.bank_groups * device.banks;
        Self {
            device: device.clone(),
            ranks,
            rules,
            four,
            reach: longest.unwrap_or(0) + 16,
            recent: VecDeque::new(),
            activates: VecDeque::new(),
            open: vec![None; banks as usize],
            data_clock_until: 0,
            activating: None,
            refreshed: vec![0; (device.pseudo_channels * ranks) as usize],
        }
    }

    fn position(&self, bank: u32) -> Position {
        let Device {
            bank_groups, banks, ..
        } = self.device;
        let rank = bank / banks / bank_groups;
        Position {
            pseudo_channel: rank / self.ranks,
            rank: rank % self.ranks,
            group: bank / banks % bank_groups,
            bank: bank % banks,
        }
    }

    /// Whether the two commands share what a rule asks for. A command to several banks shares it if one of them does.
    fn shares(&self, share: Share, one: &IssuedCommand, other: &IssuedCommand) -> bool {
        let (a, b) = (self.position(one.bank), self.position(other.bank));
        let same_rank = a.pseudo_channel == b.pseudo_channel && a.rank == b.rank;
        let every_group = [one, other]
            .iter()
            .any(|c| matches!(c.command, Command::RefreshSame | Command::ManageSame));
        match share {
            Share::Bank => same_rank && a.bank == b.bank && (a.group == b.group || every_group),
            Share::Group => same_rank && (a.group == b.group || every_group),
            Share::Rank => same_rank,
            Share::OtherRank => a.pseudo_channel == b.pseudo_channel && a.rank != b.rank,
            Share::PseudoChannel => a.pseudo_channel == b.pseudo_channel,
            Share::OtherBank => same_rank && a != b,
        }
    }

    /// Ticks between two commands as the standard counts them.
    fn between(&self, first: &IssuedCommand, then: &IssuedCommand) -> i64 {
        let start = |c: &IssuedCommand| {
            let last = if self.device.from_first_tick {
                0
            } else {
                self.device.command_ticks[c.command as usize]
            };
            (c.tick + last) as i64
        };
        start(then) - start(first)
    }

    /// Takes the next command of the trace and hands over what it breaks.
    pub fn check(&mut self, command: IssuedCommand, mut report: impl FnMut(Violation)) {
        while self
            .recent
            .front()
            .is_some_and(|old| (command.tick - old.tick) as i64 > self.reach)
        {
            self.recent.pop_front();
        }
        let mut too_soon = |rule, other: &IssuedCommand, ticks: i64| {
            report(Violation {
                command,
                rule,
                after: Some((*other, ticks.max(0) as Tick)),
            });
        };
        for rule in self
            .rules
            .iter()
            .filter(|rule| rule.then.contains(&command.command))
        {
            for other in self
                .recent
                .iter()
                .filter(|other| rule.first.contains(&other.command))
            {
                if self.between(other, &command) < rule.ticks && self.shares(rule.share, other, &command) {
                    too_soon(rule.name, other, rule.ticks);
                }
            }
        }
        for other in &self.recent {
            let busy = self.device.command_ticks[other.command as usize];
            let one_bus = !self.device.dual_bus || other.command.is_column() == command.command.is_column();
            if one_bus && command.tick < other.tick + busy {
                too_soon("command bus", other, busy as i64);
            }
        }
        if let Some(four) = &self.four
            && four.commands.contains(&command.command)
        {
            let earlier = self
                .activates
                .iter()
                .filter(|other| self.shares(four.share, other, &command));
            if let Some(fourth) = earlier.rev().nth(3)
                && self.between(fourth, &command) < four.ticks
            {
                too_soon("tFAW", fourth, four.ticks);
            }
            self.activates.push_back(command);
            if self.activates.len() > 4 * self.refreshed.len() * 4 {
                self.activates.pop_front();
            }
        }
        self.check_state(command, |rule| {
            report(Violation {
                command,
                rule,
                after: None,
            });
        });
        self.recent.push_back(command);
    }

    /// The banks that a command speaks to.
    fn banks(&self, command: &IssuedCommand) -> Vec<usize> {
        let own = self.position(command.bank);
        let all = 0..self.open.len() as u32;
        let touched = |bank: &u32| {
            let other = self.position(*bank);
            let same_channel = other.pseudo_channel == own.pseudo_channel;
            match command.command {
                Command::PrechargeAll | Command::RefreshAll | Command::ManageAll => {
                    same_channel && (other.rank == own.rank || self.device.standard.starts_with("HBM"))
                }
                Command::RefreshSame | Command::ManageSame => {
                    same_channel && other.rank == own.rank && other.bank == own.bank
                }
                _ => *bank == command.bank,
            }
        };
        all.filter(touched).map(|bank| bank as usize).collect()
    }

    fn check_state(&mut self, command: IssuedCommand, mut breaks: impl FnMut(&'static str)) {
        use Command::{
            Activate, ActivateSecond, DataClock, ManageAll, ManageBank, ManageSame, Precharge, PrechargeAll,
            Read, ReadAuto, RefreshAll, RefreshBank, RefreshSame, Write, WriteAuto,
        };
        if !self.device.either_edge[command.command as usize] && command.tick.is_multiple_of(2) {
            breaks("rising clock edge");
        }
        let banks = self.banks(&command);
        self.check_halves(command, &banks, &mut breaks);
        match command.command {
            Activate => {
                if self.open[command.bank as usize].replace(command.row).is_some() {
                    breaks("activate of an open bank");
                }
            }
            Precharge | PrechargeAll => banks.iter().for_each(|&bank| self.open[bank] = None),
            Read | ReadAuto | Write | WriteAuto => {
                let open = &mut self.open[command.bank as usize];
                if *open != Some(command.row) {
                    breaks("column command to a row that is not open");
                }
                if matches!(command.command, ReadAuto | WriteAuto) {
                    *open = None;
                }
                self.check_data_clock(command, breaks);
            }
            RefreshAll | RefreshBank | RefreshSame | ManageAll | ManageBank | ManageSame => {
                if banks.iter().any(|&bank| self.open[bank].is_some()) {
                    breaks("refresh of an open bank");
                }
                if command.command == RefreshAll {
                    // One due and eight postponed.
                    let ranks = self.device.bank_groups * self.device.banks;
                    let last = &mut self.refreshed[(command.bank / ranks) as usize];
                    let interval = self.device.refresh_interval_ticks;
                    // The refresh itself may wait for banks that are busy.
                    if command.tick - *last > 10 * interval {
                        breaks("nine tREFI");
                    }
                    *last = command.tick;
                }
            }
            DataClock | ActivateSecond => {}
        }
    }

    /// Where an activate is two commands, no other one comes between them, its bank waits for the second, and that comes
    /// within tAAD.
    fn check_halves(
        &mut self,
        command: IssuedCommand,
        banks: &[usize],
        mut breaks: impl FnMut(&'static str),
    ) {
        let Some(within) = self.device.second_activate_ticks else {
            return;
        };
        let first = self.activating;
        if command.command == Command::ActivateSecond {
            match first {
                Some(first) if (first.bank, first.row) == (command.bank, command.row) => {
                    if command.tick > first.tick + within {
                        breaks("tAAD");
                    }
                    self.activating = None;
                }
                _ => breaks("ACTIVATE-2 without its ACTIVATE-1"),
            }
            return;
        }
        if first.is_some_and(|first| banks.contains(&(first.bank as usize))) {
            breaks("command to a bank that waits for its ACTIVATE-2");
        }
        if command.command == Command::Activate && self.activating.replace(command).is_some() {
            breaks("ACTIVATE-1 before the ACTIVATE-2 of another");
        }
    }

    /// Where the data clock stops between bursts, a column command needs it running or a CAS right before it.
    fn check_data_clock(&mut self, command: IssuedCommand, mut breaks: impl FnMut(&'static str)) {
        let Some(off) = self.device.data_clock_off_ticks else {
            return;
        };
        let started = self.recent.back().is_some_and(|last| {
            last.command == Command::DataClock && last.tick + 1 == command.tick && last.bank == command.bank
        });
        if command.tick >= self.data_clock_until && !started {
            breaks("data clock not running");
        }
        let write = matches!(command.command, Command::Write | Command::WriteAuto);
        let latency = if write {
            self.device.write_ticks
        } else {
            self.device.read_ticks
        };
        self.data_clock_until = self.data_clock_until.max(command.tick + latency + off);
    }
}

/// All that `commands`, the trace of one channel, break.
pub fn check(device: &Device, ranks: u32, commands: &[IssuedCommand]) -> Vec<Violation> {
    let mut checker = Checker::new(device, ranks);
    let mut violations = Vec::new();
    for &command in commands {
        checker.check(command, |violation| violations.push(violation));
    }
    violations
}
