//! Why there can't be a memory.

use std::fmt;

use memloupe_cachesim::PluginError;

use crate::dram::DramError;

/// Why a timed memory can't be made.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum TimedError {
    /// The machine's DRAM, or its controller, is wrong.
    Dram(DramError),
    /// The library can't be used.
    Library(PluginError),
    /// Memories lie one behind the other, and it can't be told where one begins.
    Capacity {
        /// The machine.
        machine: String,
        /// The memory behind that without a capacity.
        memory: String,
    },
}

impl From<DramError> for TimedError {
    fn from(error: DramError) -> Self {
        Self::Dram(error)
    }
}

impl From<PluginError> for TimedError {
    fn from(error: PluginError) -> Self {
        Self::Library(error)
    }
}

impl fmt::Display for TimedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dram(error) => error.fmt(f),
            Self::Library(error) => error.fmt(f),
            Self::Capacity { machine, memory } => write!(
                f,
                "machine {machine}: memory {memory} begins where that before it ends: give that one a capacity"
            ),
        }
    }
}

impl std::error::Error for TimedError {}
