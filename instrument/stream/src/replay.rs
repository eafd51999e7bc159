//! Replaying a recording: the same calls of a [`Sink`] as when it was recorded.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::decode::{Decoder, Extent, Sink, Waiting};
use crate::record::{ITEM_HEAD_BYTES, MAGIC, ProbeAnswer, RECORDING_VERSION, item};
use crate::relocate::{Relocated, Relocation};
use crate::shared::Counters;
use crate::{Captured, Engine, SiteTable, StreamError, layout};

/// The longest item that there can be: a site table.
const MOST_ITEM_BYTES: u64 = 1 << 30;

/// Counts what is read, for the offsets of errors.
struct Counted<R> {
    input: R,
    offset: u64,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.input.read(buffer)?;
        self.offset += count as u64;
        Ok(count)
    }
}

/// A recording that is being read.
pub struct Replay {
    input: zstd::stream::read::Decoder<'static, BufReader<Counted<File>>>,
    about: String,
    sites: SiteTable,
    decoder: Decoder,
    words: Vec<u64>,
    bytes: Vec<u8>,
    captured: Captured,
    /// The probes that the sink gave for the last SYNC.
    answer: Option<ProbeAnswer>,
    /// How many it gave before.
    probes: u32,
    probes_differ: bool,
    closing: Option<String>,
    relocation: Relocation,
}

impl Replay {
    /// Opens a recording.
    ///
    /// # Errors
    /// [`StreamError::Shared`] if it can't be read, [`StreamError::Recording`] if it is none or of another version.
    pub fn open(path: &Path) -> Result<Self, StreamError> {
        let mut input = Counted {
            input: File::open(path).map_err(unreadable)?,
            offset: 0,
        };
        let corrupt = |what: String| StreamError::Recording { offset: 0, what };
        let mut head = [0; 16];
        input
            .read_exact(&mut head)
            .map_err(|_| corrupt("it is shorter than a recording's first 16 bytes".into()))?;
        if head[..8] != MAGIC {
            return Err(corrupt("it is no recording of memloupe".into()));
        }
        let word = |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        if (word(8), word(12)) != (RECORDING_VERSION, layout::VERSION) {
            let what = format!(
                "it has layout {} and protocol {}, this memloupe {RECORDING_VERSION} and {}: record it again",
                word(8),
                word(12),
                layout::VERSION
            );
            return Err(corrupt(what));
        }
        let input = zstd::stream::read::Decoder::new(input).map_err(unreadable)?;
        let mut replay = Self {
            input,
            about: String::new(),
            sites: SiteTable::default(),
            decoder: Decoder::default(),
            words: Vec::new(),
            bytes: Vec::new(),
            captured: Captured {
                engine: Engine::None,
                finished: false,
                threads: 0,
                bytes: 0,
                counters: Counters::default(),
            },
            answer: None,
            probes: 0,
            probes_differ: false,
            closing: None,
            relocation: Relocation::default(),
        };
        match replay.read_item()? {
            (item::ABOUT, _) => replay.about = String::from_utf8_lossy(&replay.bytes).into_owned(),
            (other, _) => return Err(replay.corrupt(format!("it begins with an item of kind {other}"))),
        }
        Ok(replay)
    }

    /// What is known of a recording at its end: of its stream, and the text that the recorder was given then. Reads it all.
    ///
    /// # Errors
    /// As [`Replay::open`] and [`Replay::next`], but for the records themselves.
    pub fn ending(path: &Path) -> Result<(Captured, String), StreamError> {
        let mut replay = Self::open(path)?;
        while replay.read_item()?.0 != item::END {}
        replay.end()?;
        Ok((replay.captured, replay.closing.unwrap_or_default()))
    }

    /// The text that the recorder was given at the beginning.
    #[must_use]
    pub fn about(&self) -> &str {
        &self.about
    }

    /// The text that the recorder was given at the end, once it is read.
    #[must_use]
    pub fn closing(&self) -> Option<&str> {
        self.closing.as_deref()
    }

    /// Files of the program that were below `from` are below `to` now. To be said before the first [`Replay::next`].
    pub fn moved(&mut self, from: PathBuf, to: PathBuf) {
        self.relocation.moves.push((from, to));
    }

    /// The site table as far as it has been needed.
    #[must_use]
    pub fn sites(&self) -> &SiteTable {
        &self.sites
    }

    /// What is known of the stream; of the whole of it at the end.
    #[must_use]
    pub fn captured(&self) -> Captured {
        self.captured
    }

    /// Whether the sink has answered a SYNC with other probes than when it was recorded, so that the numbers in
    /// [`ProbeEnter`](crate::Event::ProbeEnter) mean other functions.
    #[must_use]
    pub fn probes_differ(&self) -> bool {
        self.probes_differ
    }

    /// Bytes of the file that were read so far.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.input.get_ref().get_ref().offset
    }

    /// Hands on the next chunk. False at the end.
    ///
    /// # Errors
    /// [`StreamError::Recording`] where the file is cut off or damaged, [`StreamError::Corrupt`] where its records break
    /// the protocol.
    pub fn next(&mut self, sink: &mut impl Sink) -> Result<bool, StreamError> {
        while self.closing.is_none() {
            let (kind, thread) = self.read_item()?;
            match kind {
                item::SITES => self
                    .sites
                    .extend(&self.bytes)
                    .map_err(|what| self.corrupt(what))?,
                item::CHUNK => {
                    self.chunk(thread, sink)?;
                    return Ok(true);
                }
                item::PROBES => {
                    let recorded = ProbeAnswer::parse(&self.bytes);
                    let recorded =
                        recorded.ok_or_else(|| self.corrupt("an answer to a SYNC is cut off".into()))?;
                    self.probes_differ |= self.answer.take() != Some(recorded);
                }
                item::FILE => self.keep()?,
                item::END => self.end()?,
                other => return Err(self.corrupt(format!("an item of unknown kind {other}"))),
            }
        }
        Ok(false)
    }

    fn chunk(&mut self, thread: u32, sink: &mut impl Sink) -> Result<(), StreamError> {
        if !self.bytes.len().is_multiple_of(8) {
            return Err(self.corrupt(format!("a chunk of {} bytes", self.bytes.len())));
        }
        self.words.clear();
        let words = self.bytes.chunks_exact(8);
        self.words
            .extend(words.map(|word| u64::from_le_bytes(word.try_into().expect("eight bytes"))));
        self.captured.threads = self.captured.threads.max(thread.saturating_add(1));
        let extent = Extent {
            last_order: u64::MAX,
            known_words: usize::MAX,
            is_open: false,
        };
        let mut sink = Relocated {
            sink,
            relocation: &self.relocation,
        };
        let decoded = self
            .decoder
            .decode(thread, &self.words, extent, &self.sites, &mut sink);
        let decoded = decoded.map_err(|(word, what)| StreamError::Corrupt {
            thread,
            offset: word * 8,
            what,
        })?;
        if let Some(Waiting::Sync(_)) = decoded.waiting {
            // The ids go on from those that were given before.
            let first = self.probes;
            let probes = sink.probes(first);
            self.answer = Some(ProbeAnswer::of(first, &probes));
            self.probes += probes.len() as u32;
        }
        Ok(())
    }

    fn keep(&mut self) -> Result<(), StreamError> {
        let cut_off = || self.corrupt("a kept file is cut off".into());
        let (length, rest) = self.bytes.split_first_chunk().ok_or_else(cut_off)?;
        let split = rest.split_at_checked(u32::from_le_bytes(*length) as usize);
        let (path, content) = split.ok_or_else(cut_off)?;
        let kept = self.relocation.keep(Path::new(OsStr::from_bytes(path)), content);
        kept.map_err(|source| StreamError::Shared {
            action: "unpack the recording's files",
            source,
        })
    }

    fn end(&mut self) -> Result<(), StreamError> {
        let word = |place: usize| -> Option<u64> {
            let bytes = self.bytes.get(place * 8..place * 8 + 8)?;
            Some(u64::from_le_bytes(bytes.try_into().ok()?))
        };
        let numbers: Option<Vec<u64>> = (0..11).map(word).collect();
        let numbers = numbers.ok_or_else(|| self.corrupt("its last item is cut off".into()))?;
        self.captured.engine = Engine::from_code(numbers[0] as u32);
        self.captured.finished = numbers[1] != 0;
        self.captured.counters = Counters {
            lost_records: numbers[2],
            unobserved_instructions: numbers[3],
            syscalls: numbers[4],
            kernel_read_bytes: numbers[5],
            kernel_written_bytes: numbers[6],
            unobserved_processes: numbers[7],
            signals_delivered: numbers[8],
            translated_bytes: numbers[9],
        };
        self.captured.bytes = numbers[10];
        self.closing = Some(String::from_utf8_lossy(&self.bytes[88..]).into_owned());
        Ok(())
    }

    /// Reads an item into `bytes`; returns its kind and thread.
    fn read_item(&mut self) -> Result<(u32, u32), StreamError> {
        let mut head = [0; ITEM_HEAD_BYTES];
        if let Err(error) = self.input.read_exact(&mut head) {
            return Err(self.cut_off(&error));
        }
        let word = |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        let length = u64::from(word(8)) | u64::from(word(12)) << 32;
        if length > MOST_ITEM_BYTES {
            return Err(self.corrupt(format!("an item of {length} bytes")));
        }
        self.bytes.clear();
        match self.input.by_ref().take(length).read_to_end(&mut self.bytes) {
            Ok(read) if read as u64 == length => {}
            Ok(_) => return Err(self.cut_off(&io::ErrorKind::UnexpectedEof.into())),
            Err(error) => return Err(self.cut_off(&error)),
        }
        if crc32fast::hash(&self.bytes) != word(16) {
            return Err(self.corrupt("the checksum of an item is wrong".into()));
        }
        Ok((word(0), word(4)))
    }

    fn cut_off(&self, error: &io::Error) -> StreamError {
        self.corrupt(match error.kind() {
            io::ErrorKind::UnexpectedEof => "it is cut off: memloupe was ended while it recorded".into(),
            _ => error.to_string(),
        })
    }

    fn corrupt(&self, what: String) -> StreamError {
        StreamError::Recording {
            offset: self.offset(),
            what,
        }
    }
}

fn unreadable(source: io::Error) -> StreamError {
    StreamError::Shared {
        action: "read the recording",
        source,
    }
}
