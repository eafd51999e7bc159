//! What goes through a channel: requests, their completions, and the commands that serve them.

use serde::{Deserialize, Serialize};

use crate::dram::command::Command;
use crate::dram::statistics::RowOutcome;
use crate::dram::timing::Tick;

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
    /// What it found; none if a queued write answered it or took it in.
    pub outcome: Option<RowOutcome>,
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
