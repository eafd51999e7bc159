//! What is wrong with a trace.

use std::{fmt, io};

/// Why a trace can't be read or written.
#[derive(Debug)]
#[non_exhaustive]
pub enum TraceError {
    /// The file can't be read or written.
    File(io::Error),
    /// A line that its format does not know.
    Line {
        /// Counted from 1.
        line: u64,
        /// Bytes before the line.
        offset: u64,
        /// The line, or its start.
        text: String,
        /// What it should have been.
        expected: String,
    },
    /// A record that its format does not know.
    Record {
        /// Bytes before it, of the content if the file is compressed.
        offset: u64,
        /// What is wrong.
        what: String,
    },
}

impl TraceError {
    /// Reading stopped at `offset`.
    pub(crate) fn unreadable(offset: u64, error: &io::Error) -> Self {
        Self::Record {
            offset,
            what: match error.kind() {
                io::ErrorKind::UnexpectedEof => "it is cut off".into(),
                _ => format!("it cannot be read: {error}"),
            },
        }
    }
}

impl From<io::Error> for TraceError {
    fn from(error: io::Error) -> Self {
        Self::File(error)
    }
}

impl fmt::Display for TraceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(error) => error.fmt(f),
            Self::Line {
                line,
                offset,
                text,
                expected,
            } => write!(f, "line {line} (byte {offset}): '{text}' is not {expected}"),
            Self::Record { offset, what } => write!(f, "at byte {offset}: {what}"),
        }
    }
}

impl std::error::Error for TraceError {}
