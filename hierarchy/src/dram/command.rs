//! The commands of DRAM, under the names that command traces use.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A command as the controller sends it; the standards differ in which of them they have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[repr(u8)]
pub enum Command {
    /// Opens a row (LPDDR: both halves of it).
    Activate,
    /// Closes a bank's row.
    Precharge,
    /// Closes all rows of a refresh domain.
    PrechargeAll,
    /// Column read.
    Read,
    /// Column read that closes the row after it.
    ReadAuto,
    /// Column write.
    Write,
    /// Column write that closes the row after it.
    WriteAuto,
    /// Refresh of all banks of a refresh domain.
    RefreshAll,
    /// Refresh of one bank.
    RefreshBank,
    /// Refresh of the same bank of every bank group.
    RefreshSame,
    /// Refresh management for all banks.
    ManageAll,
    /// Refresh management for one bank.
    ManageBank,
    /// Refresh management for the same bank of every bank group.
    ManageSame,
    /// Starts the data clock before a column command.
    DataClock,
    /// The second half of an activate, where other commands may come between the two.
    ActivateSecond,
}

/// Which banks a command speaks to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// One.
    Bank,
    /// The same one of every bank group of its rank.
    SameBank,
    /// All of the rank, or of the pseudo-channel where the standard says so.
    Domain,
}

impl Command {
    /// All of them, in the order of their discriminants.
    pub const ALL: [Self; 15] = [
        Self::Activate,
        Self::Precharge,
        Self::PrechargeAll,
        Self::Read,
        Self::ReadAuto,
        Self::Write,
        Self::WriteAuto,
        Self::RefreshAll,
        Self::RefreshBank,
        Self::RefreshSame,
        Self::ManageAll,
        Self::ManageBank,
        Self::ManageSame,
        Self::DataClock,
        Self::ActivateSecond,
    ];
    /// How many there are.
    pub const COUNT: usize = Self::ALL.len();

    /// The name in traces and device files.
    pub fn name(self) -> &'static str {
        [
            "ACT", "PRE", "PREA", "RD", "RDA", "WR", "WRA", "REFab", "REFpb", "REFsb", "RFMab", "RFMpb",
            "RFMsb", "CAS", "ACT2",
        ][self as usize]
    }

    /// The command of this name.
    pub fn find(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|command| command.name() == name)
    }

    /// Reads or writes a column.
    pub fn is_column(self) -> bool {
        matches!(
            self,
            Self::Read | Self::ReadAuto | Self::Write | Self::WriteAuto | Self::DataClock
        )
    }

    /// Which banks it speaks to.
    pub fn target(self) -> Target {
        match self {
            Self::PrechargeAll | Self::RefreshAll | Self::ManageAll => Target::Domain,
            Self::RefreshSame | Self::ManageSame => Target::SameBank,
            _ => Target::Bank,
        }
    }

    /// The command whose gate this one waits for: one with auto-precharge waits for what its plain form waits for.
    pub fn gate(self) -> Self {
        match self {
            Self::ReadAuto => Self::Read,
            Self::WriteAuto => Self::Write,
            other => other,
        }
    }
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}
