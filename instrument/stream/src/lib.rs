//! The access stream: how a capture engine tells memloupe what a program did.
//!
//! A *producer* (the native engine, or the Valgrind tool) lives in the target process and writes block records and
//! events into one ring per thread of a shared file; the [`Consumer`] here reads them, rebuilds every access
//! exactly and hands them on as batches of [runs](RunBatch). `PROTOCOL.md` beside this crate is the contract.
//!
//! ```text
//! ring chunks ──► Consumer (order) ──► Decoder (records → runs, events) ──► Sink
//! ```
//!
//! The vocabulary lives here too: [`AccessKind`], [`Site`], [`Block`], [`Event`].

use memloupe_layout as layout;

mod checker;
mod clock;
mod consumer;
mod decode;
mod engine;
mod event;
mod form;
mod gate;
mod probe;
mod reader;
mod record;
mod relocate;
mod repeat;
mod replay;
mod run;
mod shared;
mod site;

pub use checker::{Checker, Violation};
pub use clock::clock;
pub use consumer::{Captured, Consumer, Progress};
pub use decode::Sink;
pub use engine::Engine;
pub use event::{Event, MapKind, PROTECTION_EXECUTE};
pub use gate::{Answer, Gate, Lasts};
pub use layout::{FD_VARIABLE, MAX_RECORD_BYTES, Phases, VERSION, draw, mix};
pub use probe::{Allocator, FETCH_BYTES_MAX, Fetch, Key, KeyKind, Probe, ProbeError, Source};
pub use record::{MAGIC as RECORDING_MAGIC, Recorder};
pub use replay::Replay;
pub use run::{Run, RunBatch, RunOperand, SCATTERED};
pub use shared::{Counters, Geometry};
pub use site::{AccessKind, Block, BlockId, Ending, Site, SiteId, SiteTable};

/// What can be wrong with a stream.
#[derive(Debug)]
#[non_exhaustive]
pub enum StreamError {
    /// The shared file could not be made or mapped.
    Shared {
        /// What was being done.
        action: &'static str,
        /// What the system said.
        source: std::io::Error,
    },
    /// The bytes break the protocol: an engine's bug or a target that overwrote the ring.
    Corrupt {
        /// Thread whose ring it is.
        thread: u32,
        /// Byte offset in the chunk.
        offset: usize,
        /// What is wrong there.
        what: String,
    },
    /// A recording is cut off, damaged, or none.
    Recording {
        /// Bytes of the file that were read.
        offset: u64,
        /// What is wrong there.
        what: String,
    },
    /// The probe table is full.
    ProbeTableFull {
        /// How many probes fit.
        capacity: usize,
    },
}

impl std::fmt::Display for StreamError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Shared { action, source } => write!(f, "stream: cannot {action}: {source}"),
            Self::Corrupt { thread, offset, what } => {
                write!(
                    f,
                    "stream: corrupt record of thread {thread} at chunk offset {offset}: {what}"
                )
            }
            Self::Recording { offset, what } => write!(f, "recording: at byte {offset}: {what}"),
            Self::ProbeTableFull { capacity } => write!(
                f,
                "stream: more than {capacity} probed functions; use a narrower function pattern in the operator preset"
            ),
        }
    }
}

impl std::error::Error for StreamError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Shared { source, .. } => Some(source),
            _ => None,
        }
    }
}
