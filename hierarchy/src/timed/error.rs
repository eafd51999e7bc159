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
        }
    }
}

impl std::error::Error for TimedError {}
