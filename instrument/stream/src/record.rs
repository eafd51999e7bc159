//! Recording a stream: what the consumer takes out of the rings, in the order in which it takes it, into a file.
//!
//! The layout is `PROTOCOL.md`'s *Recorded streams*. Everything goes through one zstd frame, so a file that was cut off is
//! read up to where the cut is.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use crate::shared::Counters;
use crate::{Captured, StreamError, layout};

/// The first bytes of a recording.
pub const MAGIC: [u8; 8] = *b"MLSTREAM";
/// Version of the layout of recordings.
pub(crate) const RECORDING_VERSION: u32 = 1;
/// Bytes of an item's head: kind, thread, length, checksum.
pub(crate) const ITEM_HEAD_BYTES: usize = 24;

/// What an item is.
pub(crate) mod item {
    /// Text of who recorded it.
    pub(crate) const ABOUT: u32 = 1;
    /// Entries of the site table.
    pub(crate) const SITES: u32 = 2;
    /// Records of a chunk.
    pub(crate) const CHUNK: u32 = 3;
    /// The probes that answered the SYNC before: first, count, checksum.
    pub(crate) const PROBES: u32 = 4;
    /// The end: engine, counters, text.
    pub(crate) const END: u32 = 5;
    /// A file of the program's that goes with the run: length of its path, path, content.
    pub(crate) const FILE: u32 = 6;
}

/// zstd's fastest level that still finds the long repetitions of loops.
const LEVEL: i32 = 1;

/// A recording that is being written.
pub struct Recorder {
    output: zstd::stream::write::Encoder<'static, BufWriter<File>>,
}

fn failed(source: std::io::Error) -> StreamError {
    StreamError::Shared {
        action: "write the recording",
        source,
    }
}

impl Recorder {
    /// Begins a recording; `about` is for who replays it.
    ///
    /// # Errors
    /// [`StreamError::Shared`] if the file can't be written.
    pub fn create(path: &Path, about: &str) -> Result<Self, StreamError> {
        let mut file = BufWriter::with_capacity(1 << 20, File::create(path).map_err(failed)?);
        let versions = [RECORDING_VERSION, layout::VERSION];
        let versions: Vec<u8> = versions
            .iter()
            .flat_map(|version| version.to_le_bytes())
            .collect();
        let begun = file.write_all(&MAGIC).and_then(|()| file.write_all(&versions));
        begun.map_err(failed)?;
        let output = zstd::stream::write::Encoder::new(file, LEVEL).map_err(failed)?;
        let mut recorder = Self { output };
        recorder.item(item::ABOUT, 0, about.as_bytes())?;
        Ok(recorder)
    }

    fn item(&mut self, kind: u32, thread: u32, payload: &[u8]) -> Result<(), StreamError> {
        let mut head = [0; ITEM_HEAD_BYTES];
        head[0..4].copy_from_slice(&kind.to_le_bytes());
        head[4..8].copy_from_slice(&thread.to_le_bytes());
        head[8..16].copy_from_slice(&(payload.len() as u64).to_le_bytes());
        head[16..20].copy_from_slice(&crc32fast::hash(payload).to_le_bytes());
        let written = self.output.write_all(&head);
        written
            .and_then(|()| self.output.write_all(payload))
            .map_err(failed)
    }

    /// Keeps a file that the program maps and that will not outlive the run.
    ///
    /// # Errors
    /// [`StreamError::Shared`] if it can't be read, or the recording not be written.
    pub fn file(&mut self, path: &Path) -> Result<(), StreamError> {
        let name = path.as_os_str().as_encoded_bytes();
        let mut payload = (name.len() as u32).to_le_bytes().to_vec();
        payload.extend_from_slice(name);
        payload.extend(std::fs::read(path).map_err(failed)?);
        self.item(item::FILE, 0, &payload)
    }

    /// Entries of the site table that the next chunk needs.
    pub(crate) fn sites(&mut self, entries: &[u8]) -> Result<(), StreamError> {
        if entries.is_empty() {
            return Ok(());
        }
        self.item(item::SITES, 0, entries)
    }

    /// The records of a chunk.
    pub(crate) fn chunk(
        &mut self,
        thread: u32,
        words: &[u64],
        bytes: &mut Vec<u8>,
    ) -> Result<(), StreamError> {
        bytes.clear();
        bytes.extend(words.iter().flat_map(|word| word.to_le_bytes()));
        self.item(item::CHUNK, thread, bytes)
    }

    /// What a SYNC was answered with.
    pub(crate) fn probes(&mut self, answer: ProbeAnswer) -> Result<(), StreamError> {
        self.item(item::PROBES, 0, &answer.encode())
    }

    /// Ends the recording; without it, it counts as cut off.
    pub(crate) fn finish(mut self, captured: &Captured, text: &str) -> Result<(), StreamError> {
        let Counters {
            lost_records,
            unobserved_instructions,
            syscalls,
            kernel_read_bytes,
            kernel_written_bytes,
            unobserved_processes,
            signals_delivered,
            translated_bytes,
        } = captured.counters;
        let numbers = [
            u64::from(captured.engine.code()),
            u64::from(captured.finished),
            lost_records,
            unobserved_instructions,
            syscalls,
            kernel_read_bytes,
            kernel_written_bytes,
            unobserved_processes,
            signals_delivered,
            translated_bytes,
            captured.bytes,
        ];
        let mut payload: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
        payload.extend(text.as_bytes());
        self.item(item::END, 0, &payload)?;
        let mut file = self.output.finish().map_err(failed)?;
        file.flush().map_err(failed)
    }
}

/// Which probes answered a SYNC, enough to tell whether a replay gives the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ProbeAnswer {
    pub(crate) first: u32,
    pub(crate) count: u32,
    pub(crate) checksum: u32,
}

impl ProbeAnswer {
    /// That of these probes, the first of which has the id `first`.
    pub(crate) fn of(first: u32, probes: &[crate::Probe]) -> Self {
        let mut hasher = crc32fast::Hasher::new();
        for (id, probe) in (first..).zip(probes) {
            // One that can't be encoded is refused where it goes into the table.
            if let Ok(entry) = probe.encode(id) {
                hasher.update(&entry);
            }
        }
        Self {
            first,
            count: probes.len() as u32,
            checksum: hasher.finalize(),
        }
    }

    fn encode(self) -> Vec<u8> {
        let words = [self.first, self.count, self.checksum];
        words.iter().flat_map(|word| word.to_le_bytes()).collect()
    }

    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        let word = |at: usize| Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
        Some(Self {
            first: word(0)?,
            count: word(4)?,
            checksum: word(8)?,
        })
    }
}
