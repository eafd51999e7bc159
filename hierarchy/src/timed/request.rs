//! What an outer simulator sends and gets back.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::clock::MAX_PS;

/// The largest request.
pub const MAX_REQUEST_BYTES: u32 = 65536;
/// Tags lie below this.
pub const MAX_TAGS: u32 = 1 << 24;
/// Cores lie below this.
pub const MAX_CORES: u32 = 1 << 16;

/// What a request is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[repr(u8)]
pub enum RequestKind {
    /// Something waits for the data.
    Read = 0,
    /// Data from outside the caches: a store past them, or a device's.
    Write = 1,
    /// Nothing waits for the data yet.
    Prefetch = 2,
    /// A dirty line that a cache gives up.
    Writeback = 3,
}

impl RequestKind {
    /// All of them, by number.
    pub const ALL: [Self; 4] = [Self::Read, Self::Write, Self::Prefetch, Self::Writeback];

    /// Whether it writes to memory.
    #[must_use]
    pub fn writes(self) -> bool {
        matches!(self, Self::Write | Self::Writeback)
    }
}

/// A request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryRequest {
    /// The sender's name for it; comes back with the completion.
    pub id: u64,
    /// Its first byte.
    pub address: u64,
    /// Length.
    pub bytes: u32,
    /// What it is for.
    pub kind: RequestKind,
    /// Who sends it, for schedulers that tell senders apart.
    pub core: u32,
    /// What it is charged to.
    pub tag: u32,
}

/// A request that is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct MemoryCompletion {
    /// When all of its data was through.
    pub finished_ps: u64,
    /// When it was accepted.
    pub accepted_ps: u64,
    /// The request's.
    pub id: u64,
    /// The request's.
    pub tag: u32,
    /// Its [`RequestKind`]'s number.
    pub kind: u8,
}

/// Why a request can't be one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RequestError {
    /// A time before one that was told already, or after the last there is.
    Time {
        /// What was given.
        given_ps: u64,
        /// Where the memory is.
        now_ps: u64,
    },
    /// No byte, or too many.
    Bytes(u32),
    /// It reaches beyond the last address.
    Wraps {
        /// First byte.
        address: u64,
        /// Length.
        bytes: u32,
    },
    /// It reaches from one memory into the next.
    Crosses {
        /// First byte.
        address: u64,
        /// Length.
        bytes: u32,
    },
    /// A tag out of range.
    Tag(u32),
    /// A core out of range.
    Core(u32),
}

impl fmt::Display for RequestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Time { given_ps, now_ps } if given_ps < now_ps => {
                write!(
                    f,
                    "time: {given_ps} ps lies before {now_ps} ps, where the memory is already"
                )
            }
            Self::Time { given_ps, .. } => write!(f, "time: {given_ps} ps lies after the last, {MAX_PS} ps"),
            Self::Bytes(bytes) => write!(f, "size_bytes: {bytes} is not from 1 to {MAX_REQUEST_BYTES}"),
            Self::Wraps { address, bytes } => write!(f, "address: {address:#x} + {bytes} B wraps around"),
            Self::Crosses { address, bytes } => {
                write!(f, "address: {address:#x} + {bytes} B reaches into another memory")
            }
            Self::Tag(tag) => write!(f, "tag: {tag} is not below {MAX_TAGS}"),
            Self::Core(core) => write!(f, "core: {core} is not below {MAX_CORES}"),
        }
    }
}

impl std::error::Error for RequestError {}

impl MemoryRequest {
    pub(super) fn check(&self) -> Result<(), RequestError> {
        let Self {
            address,
            bytes,
            core,
            tag,
            ..
        } = *self;
        if !(1..=MAX_REQUEST_BYTES).contains(&bytes) {
            return Err(RequestError::Bytes(bytes));
        }
        if address.checked_add(u64::from(bytes) - 1).is_none() {
            return Err(RequestError::Wraps { address, bytes });
        }
        if tag >= MAX_TAGS {
            return Err(RequestError::Tag(tag));
        }
        if core >= MAX_CORES {
            return Err(RequestError::Core(core));
        }
        Ok(())
    }
}
