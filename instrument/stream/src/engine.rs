//! Capture engines, as a stream names them.

use crate::layout::{ENGINE_NATIVE, ENGINE_VALGRIND};

/// Which engine produced a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    /// No engine has attached.
    None,
    /// The in-process translator.
    Native,
    /// The Valgrind tool.
    Valgrind,
}

impl Engine {
    pub(crate) fn code(self) -> u32 {
        match self {
            Self::None => 0,
            Self::Native => ENGINE_NATIVE,
            Self::Valgrind => ENGINE_VALGRIND,
        }
    }

    pub(crate) fn from_code(code: u32) -> Self {
        match code {
            ENGINE_NATIVE => Self::Native,
            ENGINE_VALGRIND => Self::Valgrind,
            _ => Self::None,
        }
    }
}
