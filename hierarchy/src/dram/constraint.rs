//! Timing constraints as device files write them: `rank  WR*  ->  RD*  nCWL + nBL + nWTRS`.
//!
//! A line says: at least that long after the command on the left, before the command on the right, to the same
//! instance of the scope. `RD*` stands for RD and RDA. `window 4` counts from the fourth-last command on the left;
//! `sibling` speaks to the other instances of the scope under the same parent.

use std::collections::BTreeMap;

use super::command::Command;

/// What two commands must share for a constraint to hold between them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Scope {
    /// The command bus.
    Channel,
    /// Half of an HBM channel; elsewhere the channel.
    PseudoChannel,
    /// The chips of one chip select; of HBM, one stack id.
    Rank,
    /// The bank group.
    BankGroup,
    /// The bank.
    Bank,
}

impl Scope {
    /// From the channel inwards.
    pub const ALL: [Self; 5] = [
        Self::Channel,
        Self::PseudoChannel,
        Self::Rank,
        Self::BankGroup,
        Self::Bank,
    ];

    /// The name in device files.
    pub fn name(self) -> &'static str {
        ["channel", "pseudochannel", "rank", "bankgroup", "bank"][self as usize]
    }

    /// The scope of this name.
    pub fn find(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scope| scope.name() == name)
    }
}

/// One line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Constraint {
    /// What the two commands share.
    pub scope: Scope,
    /// The commands that start it.
    pub preceding: Vec<Command>,
    /// The commands that wait.
    pub following: Vec<Command>,
    /// The expression, as written.
    pub expression: String,
    /// Counted from the how-many-th last command that starts it.
    pub window: usize,
    /// Holds between siblings instead of within one instance.
    pub sibling: bool,
}

impl Constraint {
    /// Reads one line.
    pub(crate) fn parse(line: &str) -> Result<Self, String> {
        let wrong = |what: &str| format!("constraint '{}': {what}", line.trim());
        let (left, right) = line.split_once("->").ok_or_else(|| wrong("has no '->'"))?;
        let mut left = left.split_whitespace();
        let scope = left
            .next()
            .and_then(Scope::find)
            .ok_or_else(|| wrong("must start with channel, pseudochannel, rank, bankgroup or bank"))?;
        let preceding = left.next().ok_or_else(|| wrong("names no command before '->'"))?;
        let mut right: Vec<&str> = right.split_whitespace().collect();
        if right.is_empty() {
            return Err(wrong("names no command after '->'"));
        }
        let following = right.remove(0);
        let sibling = right.last() == Some(&"sibling");
        if sibling {
            right.pop();
        }
        let mut window = 1;
        if let [.., "window", count] = right[..] {
            window = count
                .parse()
                .ok()
                .filter(|count| (1..=64).contains(count))
                .ok_or_else(|| wrong("'window' takes a count from 1 to 64"))?;
            right.truncate(right.len() - 2);
        }
        if sibling && window != 1 {
            return Err(wrong("a sibling constraint has no window"));
        }
        let commands = |text| commands(text).map_err(|name| wrong(&format!("unknown command {name}")));
        Ok(Self {
            scope,
            preceding: commands(preceding)?,
            following: commands(following)?,
            expression: right.join(" "),
            window,
            sibling,
        })
    }
}

fn commands(list: &str) -> Result<Vec<Command>, String> {
    let mut found = Vec::new();
    for name in list.split(',') {
        let both = match name {
            "RD*" => vec![Command::Read, Command::ReadAuto],
            "WR*" => vec![Command::Write, Command::WriteAuto],
            name => vec![Command::find(name).ok_or(name)?],
        };
        found.extend(both);
    }
    Ok(found)
}

/// The value of a sum and difference of parameters and numbers, such as `nCL + nBL + 2 - nCWL`.
pub(crate) fn evaluate(expression: &str, parameters: &BTreeMap<String, i64>) -> Result<i64, String> {
    let mut sum = 0;
    let mut sign = Some(1);
    for token in expression.split_whitespace() {
        match (token, sign) {
            ("+", None) => sign = Some(1),
            ("-", None) => sign = Some(-1),
            (term, Some(s)) => {
                let value = term.parse().ok().or_else(|| parameters.get(term).copied());
                sum += s * value.ok_or_else(|| format!("'{expression}': no parameter {term}"))?;
                sign = None;
            }
            _ => return Err(format!("'{expression}': expected + or - before {token}")),
        }
    }
    match sign {
        Some(_) => Err(format!("'{expression}': expected a parameter at the end")),
        None => Ok(sum),
    }
}
