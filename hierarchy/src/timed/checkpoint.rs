//! The state of a timed memory as bytes.
//!
//! `MLMEMORY`, the layout's version, a checksum of what follows, then the description of the memory, which must be that
//! of the memory that goes on, and its state, by `postcard`. The layout is that of one version of memloupe.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{State, TimedMemory, Timing};

const MAGIC: [u8; 8] = *b"MLMEMORY";
const VERSION: u32 = 6;
const HEADER_BYTES: usize = 16;

/// Why a checkpoint can't be restored.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CheckpointError {
    /// It is not one, or was cut off or changed.
    Corrupt(&'static str),
    /// It is of another version of memloupe.
    Version(u32),
    /// It is of another memory: the first setting in which they differ.
    Different {
        /// In the memory it is of.
        saved: String,
        /// In this memory.
        own: String,
    },
    /// The state of a library is its own.
    Library,
}

impl fmt::Display for CheckpointError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Corrupt(what) => write!(f, "checkpoint: {what}"),
            Self::Version(version) => {
                write!(f, "checkpoint: layout {version}, this memloupe has {VERSION}")
            }
            Self::Different { saved, own } => {
                write!(
                    f,
                    "checkpoint: it is of another memory, with {saved}; this one has {own}"
                )
            }
            Self::Library => f.write_str("checkpoint: a library's memory can't be saved"),
        }
    }
}

impl std::error::Error for CheckpointError {}

#[derive(Serialize, Deserialize)]
struct Saved {
    description: String,
    state: State,
}

#[derive(Serialize)]
struct Saving<'a> {
    description: &'a str,
    state: &'a State,
}

impl TimedMemory {
    /// Everything that changes, as bytes.
    ///
    /// # Errors
    /// [`CheckpointError::Library`] if the memory is one.
    ///
    /// # Panics
    /// Never: every part of the state can be serialised.
    pub fn checkpoint(&self) -> Result<Vec<u8>, CheckpointError> {
        if matches!(self.timing, Timing::Library(_)) {
            return Err(CheckpointError::Library);
        }
        let saving = Saving {
            description: &self.description,
            state: &self.state,
        };
        let mut bytes = MAGIC.to_vec();
        bytes.extend(VERSION.to_le_bytes());
        bytes.extend([0; 4]);
        let mut bytes = postcard::to_extend(&saving, bytes).expect("the state is plain data");
        let checksum = crc32fast::hash(&bytes[HEADER_BYTES..]);
        bytes[12..HEADER_BYTES].copy_from_slice(&checksum.to_le_bytes());
        Ok(bytes)
    }

    /// Goes on from where an equal memory was.
    ///
    /// # Errors
    /// If the bytes are no checkpoint of an equal memory; nothing has changed then.
    pub fn restore(&mut self, bytes: &[u8]) -> Result<(), CheckpointError> {
        let (header, body) = bytes
            .split_at_checked(HEADER_BYTES)
            .ok_or(CheckpointError::Corrupt("shorter than its header"))?;
        if header[..8] != MAGIC {
            return Err(CheckpointError::Corrupt("not a memloupe checkpoint"));
        }
        let word =
            |at: usize| u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
        if word(8) != VERSION {
            return Err(CheckpointError::Version(word(8)));
        }
        if word(12) != crc32fast::hash(body) {
            return Err(CheckpointError::Corrupt(
                "its checksum is wrong: cut off or changed",
            ));
        }
        let saved: Saved =
            postcard::from_bytes(body).map_err(|_| CheckpointError::Corrupt("its layout is another"))?;
        if saved.description != self.description {
            return Err(first_difference(&saved.description, &self.description));
        }
        self.state = saved.state;
        Ok(())
    }
}

/// Descriptions have a setting on each line.
fn first_difference(saved: &str, own: &str) -> CheckpointError {
    let (mut saved, mut own) = (saved.lines(), own.lines());
    let setting = |line: Option<&str>| {
        line.map_or("nothing", |line| line.trim().trim_end_matches(','))
            .into()
    };
    loop {
        let (theirs, ours) = (saved.next(), own.next());
        if theirs != ours || theirs.is_none() {
            return CheckpointError::Different {
                saved: setting(theirs),
                own: setting(ours),
            };
        }
    }
}
