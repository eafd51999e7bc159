//! Events: everything in a stream that is not an access. They share the rings with the accesses, so their place among
//! a thread's accesses is exact.

use crate::layout::EventCode;

/// The `PROT_EXEC` bit of a mapping's protection.
pub const PROTECTION_EXECUTE: u64 = 4;

/// What backs a mapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MapKind {
    /// Anonymous memory.
    Anonymous,
    /// A file.
    File,
    /// The main thread's stack.
    Stack,
    /// The program break's area.
    Brk,
}

/// One event.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// A thread begins.
    ThreadStart {
        /// Its index: 0, 1, 2… in order of creation.
        thread: u32,
        /// The system's number for it.
        os_tid: u32,
        /// The thread that created it.
        parent: u32,
        /// Its stack pointer at its first instruction.
        stack_pointer: u64,
    },
    /// A thread is over.
    ThreadEnd {
        /// Its index.
        thread: u32,
    },
    /// Memory is mapped.
    Map {
        /// First address.
        address: u64,
        /// Length.
        bytes: u64,
        /// `PROT_READ` 1, `PROT_WRITE` 2, `PROT_EXEC` 4.
        protection: u64,
        /// What backs it.
        kind: MapKind,
        /// Offset of the first byte in the file.
        file_offset: u64,
        /// The call stack that asked for anonymous memory, defined by an earlier [`Event::Stack`]; 0 if it is not known.
        stack: u64,
        /// The file's path; empty for anonymous memory.
        path: String,
    },
    /// Memory is unmapped.
    Unmap {
        /// First address.
        address: u64,
        /// Length.
        bytes: u64,
    },
    /// Memory is moved or resized (`mremap`).
    Remap {
        /// First address before.
        from: u64,
        /// Length before.
        from_bytes: u64,
        /// First address after.
        to: u64,
        /// Length after.
        to_bytes: u64,
    },
    /// The allocator has handed out memory.
    Alloc {
        /// First address.
        address: u64,
        /// Bytes asked for.
        bytes: u64,
        /// Its call stack, defined by an earlier [`Event::Stack`].
        stack: u64,
    },
    /// Memory goes back to the allocator.
    Free {
        /// The address it was handed out with.
        address: u64,
    },
    /// A call stack.
    Stack {
        /// Its id.
        stack: u64,
        /// Instruction addresses, innermost first.
        frames: Vec<u64>,
    },
    /// Bytes of a regular file were read into memory.
    FileRead {
        /// Where to.
        address: u64,
        /// How many.
        bytes: u64,
        /// From where in the file.
        file_offset: u64,
        /// The file's path.
        path: String,
    },
    /// A probed function is entered.
    ProbeEnter {
        /// Index in the probe table.
        probe: u32,
        /// Stack pointer at entry: it points to the return address.
        stack_pointer: u64,
        /// Bit i is set if fetch i could be read.
        present: u64,
        /// The fetched bytes, each value padded to 8 bytes.
        values: Vec<u8>,
    },
    /// Every probed frame entered at or below this stack pointer is left.
    ProbeLeave {
        /// Stack pointer at the entry of the outermost of them.
        stack_pointer: u64,
    },
    /// The producer waits for the consumer; answered by the [`Consumer`](crate::Consumer).
    Sync {
        /// Number to acknowledge.
        number: u64,
    },
    /// A child process was forked; it runs unobserved.
    Fork {
        /// Its process id.
        child: u64,
    },
    /// The process runs another program; its mappings, threads and objects are gone.
    Exec {
        /// The program.
        path: String,
    },
    /// The process ends.
    Exit {
        /// Its exit code.
        code: i32,
        /// The signal that kills it, 0 if none.
        signal: i32,
    },
    /// Code ran that was not observed.
    Unobserved {
        /// Instructions.
        instructions: u64,
        /// Why, for a person.
        cause: String,
    },
    /// The producer waits to be told what its last [`Event::ProbeEnter`] means; answered by the
    /// [`Consumer`](crate::Consumer).
    Ask,
    /// An instance of an operator that may be sampled: the last [`Event::ProbeEnter`] has begun it.
    Draw {
        /// What it is alike with, as the answer said.
        series: u32,
        /// Its number among those: 0, 1, 2…
        ordinal: u64,
    },
    /// The thread's FS base from here on. The decoder keeps it to itself.
    SegmentBase {
        /// The base.
        fs: u64,
    },
    /// What follows in this ring comes at this place in the order of all rings. The decoder keeps it to itself.
    Order {
        /// As a chunk's.
        clock: u64,
    },
}

impl Event {
    /// Reads an event's payload.
    ///
    /// # Errors
    /// A sentence saying what is wrong with it.
    pub(crate) fn parse(code: u32, payload: &[u64]) -> Result<Self, String> {
        let mut words = Words { payload, position: 0 };
        let code = EventCode::from_number(code).ok_or_else(|| format!("unknown event {code}"))?;
        let event = match code {
            EventCode::ThreadStart => Self::ThreadStart {
                thread: words.u32()?,
                os_tid: words.u32()?,
                parent: words.u32()?,
                stack_pointer: words.u64()?,
            },
            EventCode::ThreadEnd => Self::ThreadEnd { thread: words.u32()? },
            EventCode::Map => Self::Map {
                address: words.u64()?,
                bytes: words.u64()?,
                protection: words.u64()?,
                kind: match words.u64()? {
                    0 => MapKind::Anonymous,
                    1 => MapKind::File,
                    2 => MapKind::Stack,
                    3 => MapKind::Brk,
                    other => return Err(format!("mapping of unknown kind {other}")),
                },
                file_offset: words.u64()?,
                stack: words.u64()?,
                path: words.text()?,
            },
            EventCode::Unmap => Self::Unmap {
                address: words.u64()?,
                bytes: words.u64()?,
            },
            EventCode::Remap => Self::Remap {
                from: words.u64()?,
                from_bytes: words.u64()?,
                to: words.u64()?,
                to_bytes: words.u64()?,
            },
            EventCode::Alloc => Self::Alloc {
                address: words.u64()?,
                bytes: words.u64()?,
                stack: words.u64()?,
            },
            EventCode::Free => Self::Free {
                address: words.u64()?,
            },
            EventCode::Stack => Self::Stack {
                stack: words.u64()?,
                frames: words.rest().to_vec(),
            },
            EventCode::FileRead => Self::FileRead {
                address: words.u64()?,
                bytes: words.u64()?,
                file_offset: words.u64()?,
                path: words.text()?,
            },
            EventCode::ProbeEnter => Self::ProbeEnter {
                probe: words.u32()?,
                stack_pointer: words.u64()?,
                present: words.u64()?,
                values: words.rest().iter().flat_map(|word| word.to_le_bytes()).collect(),
            },
            EventCode::ProbeLeave => Self::ProbeLeave {
                stack_pointer: words.u64()?,
            },
            EventCode::Sync => Self::Sync { number: words.u64()? },
            EventCode::Fork => Self::Fork { child: words.u64()? },
            EventCode::Exec => Self::Exec { path: words.text()? },
            EventCode::Exit => Self::Exit {
                code: words.u64()? as i32,
                signal: words.u64()? as i32,
            },
            EventCode::Unobserved => Self::Unobserved {
                instructions: words.u64()?,
                cause: words.text()?,
            },
            EventCode::SegmentBase => Self::SegmentBase { fs: words.u64()? },
            EventCode::Order => Self::Order { clock: words.u64()? },
            EventCode::Ask => Self::Ask,
            EventCode::Draw => Self::Draw {
                series: words.u32()?,
                ordinal: words.u64()?,
            },
        };
        Ok(event)
    }
}

struct Words<'a> {
    payload: &'a [u64],
    position: usize,
}

impl<'a> Words<'a> {
    fn u64(&mut self) -> Result<u64, String> {
        let word = self
            .payload
            .get(self.position)
            .copied()
            .ok_or("event payload too short")?;
        self.position += 1;
        Ok(word)
    }

    fn u32(&mut self) -> Result<u32, String> {
        let word = self.u64()?;
        u32::try_from(word).map_err(|_| format!("event word {word:#x} exceeds 32 bits"))
    }

    fn rest(&mut self) -> &'a [u64] {
        let rest = &self.payload[self.position.min(self.payload.len())..];
        self.position = self.payload.len();
        rest
    }

    /// Paths need not be UTF-8: what is not is replaced rather than the event lost.
    fn text(&mut self) -> Result<String, String> {
        let bytes = usize::try_from(self.u64()?).map_err(|_| "event text too long")?;
        let words = self
            .payload
            .get(self.position..self.position.saturating_add(bytes.div_ceil(8)))
            .ok_or("event text runs past its payload")?;
        self.position += words.len();
        let text: Vec<u8> = words
            .iter()
            .flat_map(|word| word.to_le_bytes())
            .take(bytes)
            .collect();
        Ok(String::from_utf8_lossy(&text).into_owned())
    }
}
