//! Probes: what an engine reads from the target when a thread enters a function.
//!
//! A probe is resolved on memloupe's side (symbols, DWARF types); here it is only an address and a list of reads. The
//! engine executes them at the function's entry and sends the values in [`Event::ProbeEnter`](crate::Event).

use std::mem;

use crate::layout;

/// Most bytes one fetch may read.
pub const FETCH_BYTES_MAX: u16 = 1024;

/// Where a fetch starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Source {
    /// The register's number in amd64 encoding: rax 0, rcx 1, rdx 2, rbx 3, rsp 4, rbp 5, rsi 6, rdi 7, r8 8…
    pub register: u8,
}

/// One read of target memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fetch {
    /// The register's own value, 8 bytes.
    Register(Source),
    /// `bytes` at the end of a pointer chain: each offset but the last is added and loaded through; the last is
    /// added to give the value's address.
    Memory {
        /// The register that holds the first pointer.
        source: Source,
        /// One to five offsets.
        offsets: Vec<i32>,
        /// Length of the value.
        bytes: u16,
    },
}

impl Fetch {
    /// Bytes that the value takes in the event: its length padded to whole words.
    #[must_use]
    pub fn padded_bytes(&self) -> usize {
        match self {
            Self::Register(_) => 8,
            Self::Memory { bytes, .. } => usize::from(*bytes).next_multiple_of(8),
        }
    }
}

/// What of some bytes matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum KeyKind {
    /// Whether all are zero.
    Presence,
    /// Those before the first zero.
    Text,
    /// All.
    Bytes,
}

/// A part of what is fetched that the meaning of the call depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    /// From the first value's first byte on.
    pub start: u16,
    /// Its length.
    pub bytes: u16,
    /// What of it matters.
    pub kind: KeyKind,
}

/// A function of an allocator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Allocator {
    /// Allocates as many bytes as its first argument says.
    New,
    /// Frees its first argument.
    Delete,
}

/// A function entry to watch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    /// Run-time address of the function's first instruction.
    pub address: u64,
    /// What to read there.
    pub fetches: Vec<Fetch>,
    /// What of it the meaning depends on: all, if these are too many for the entry.
    pub keys: Vec<Key>,
    /// An engine that watches allocators tells its calls as allocations; it is no other probe.
    pub allocator: Option<Allocator>,
}

/// Why a probe does not fit the table's entry.
#[derive(Debug, PartialEq, Eq)]
pub enum ProbeError {
    /// Too many fetches.
    TooManyFetches(usize),
    /// A fetch with no offset or too many.
    Offsets(usize),
    /// A fetch of no byte or too many.
    Bytes(u16),
}

impl std::fmt::Display for ProbeError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::TooManyFetches(n) => {
                write!(f, "a probe has {n} reads, at most {} fit", layout::PROBE_FETCHES)
            }
            Self::Offsets(n) => {
                write!(
                    f,
                    "a read follows {n} offsets, 1 to {} are possible",
                    layout::PROBE_STEPS + 1
                )
            }
            Self::Bytes(n) => write!(f, "a read of {n} bytes, 1 to {FETCH_BYTES_MAX} are possible"),
        }
    }
}

impl std::error::Error for ProbeError {}

impl Probe {
    /// The entry's bytes in the probe table.
    ///
    /// # Errors
    /// If the probe does not fit an entry.
    pub(crate) fn encode(&self, id: u32) -> Result<[u8; layout::PROBE_BYTES], ProbeError> {
        if self.fetches.len() > layout::PROBE_FETCHES {
            return Err(ProbeError::TooManyFetches(self.fetches.len()));
        }
        let mut entry = [0; layout::PROBE_BYTES];
        entry[0..8].copy_from_slice(&self.address.to_le_bytes());
        entry[8..12].copy_from_slice(&id.to_le_bytes());
        entry[12..14].copy_from_slice(&(self.fetches.len() as u16).to_le_bytes());
        let keys = if self.keys.len() <= layout::PROBE_KEYS {
            self.keys.len() as u16
        } else {
            layout::ALL_KEYS
        };
        entry[14..16].copy_from_slice(&keys.to_le_bytes());
        let places = entry[mem::offset_of!(layout::Probe, key)..].chunks_exact_mut(4);
        for (key, place) in self.keys.iter().take(layout::PROBE_KEYS).zip(places) {
            let kind = match key.kind {
                KeyKind::Presence => layout::KEY_PRESENCE,
                KeyKind::Text => layout::KEY_TEXT,
                KeyKind::Bytes => layout::KEY_BYTES,
            };
            place[..2].copy_from_slice(&key.start.to_le_bytes());
            place[2..].copy_from_slice(&(key.bytes | kind << layout::KEY_KIND_SHIFT).to_le_bytes());
        }
        let allocator = match self.allocator {
            None => 0,
            Some(Allocator::New) => layout::ALLOCATOR_NEW,
            Some(Allocator::Delete) => layout::ALLOCATOR_DELETE,
        };
        let place = mem::offset_of!(layout::Probe, allocator);
        entry[place..place + 8].copy_from_slice(&allocator.to_le_bytes());
        let fetch_bytes = 4 + 4 * (layout::PROBE_STEPS + 1);
        for (fetch, slot) in self.fetches.iter().zip(entry[16..].chunks_exact_mut(fetch_bytes)) {
            match fetch {
                Fetch::Register(source) => {
                    slot[0] = source.register;
                    slot[1] = layout::FETCH_REGISTER;
                    slot[2..4].copy_from_slice(&8u16.to_le_bytes());
                }
                Fetch::Memory {
                    source,
                    offsets,
                    bytes,
                } => {
                    if offsets.is_empty() || offsets.len() > layout::PROBE_STEPS + 1 {
                        return Err(ProbeError::Offsets(offsets.len()));
                    }
                    if *bytes == 0 || *bytes > FETCH_BYTES_MAX {
                        return Err(ProbeError::Bytes(*bytes));
                    }
                    slot[0] = source.register;
                    slot[1] = (offsets.len() - 1) as u8;
                    slot[2..4].copy_from_slice(&bytes.to_le_bytes());
                    for (offset, place) in offsets.iter().zip(slot[4..].chunks_exact_mut(4)) {
                        place.copy_from_slice(&offset.to_le_bytes());
                    }
                }
            }
        }
        Ok(entry)
    }
}
