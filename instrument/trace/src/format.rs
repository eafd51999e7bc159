//! The formats, as a table.

use std::io::{self, BufRead, Write};
use std::rc::Rc;

use crate::champsim::{ChampSimReader, ChampSimWriter};
use crate::coordinates::{CoordinateReader, CoordinateWriter, Coordinates};
use crate::error::TraceError;
use crate::gem5::{Gem5Reader, Gem5Writer};
use crate::prospero::{BinaryReader, BinaryWriter};
use crate::reference::{Kind, LINE_BYTES, Reference, WORD_BYTES};
use crate::text::{self, Lines, LinesWriter};

/// What of a reference a format keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keeps {
    /// When it is made.
    pub times: bool,
    /// How long it is. Without it, references are split at lines.
    pub sizes: bool,
    /// Its instruction.
    pub instructions: bool,
    /// Its thread.
    pub threads: bool,
    /// That it fetches instructions. Without it, fetches are left out.
    pub fetches: bool,
    /// That it reads and writes. Without it, it becomes a read and a write.
    pub modifies: bool,
    /// That it reads ahead. Without it, it becomes a read.
    pub prefetches: bool,
    /// That it crosses lines. Without it, references are split at lines.
    pub crossings: bool,
    /// Its address. Without it, it has coordinates in a memory, and references are split at bursts.
    pub addresses: bool,
}

/// What keeps nothing but reads, writes and addresses.
const NOTHING: Keeps = Keeps {
    times: false,
    sizes: false,
    instructions: false,
    threads: false,
    fetches: false,
    modifies: false,
    prefetches: false,
    crossings: false,
    addresses: true,
};

/// Reads a trace.
pub trait Reader {
    /// Replaces what is in `batch` by the next references; leaves none at the end.
    ///
    /// # Errors
    /// Where the trace is damaged, once what came before was read.
    fn read(&mut self, batch: &mut Vec<Reference>) -> Result<(), TraceError>;
}

/// Writes a trace.
pub trait Writer {
    /// Adds references, which are such as the format keeps.
    ///
    /// # Errors
    /// If the file can't be written.
    fn write(&mut self, batch: &[Reference]) -> io::Result<()>;

    /// Writes what is left, and hands the file back to be finished.
    ///
    /// # Errors
    /// If the file can't be written.
    fn finish(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// References of a batch.
const BATCH: usize = 4096;

/// Reads a trace one by one.
pub(crate) trait Source {
    /// The next reference; none at the end.
    fn next(&mut self) -> Result<Option<Reference>, TraceError>;
}

/// A reader of a source's references in batches.
struct Batched<S> {
    source: S,
    /// What came behind the last batch, and whether anything comes.
    failed: Option<TraceError>,
    is_over: bool,
}

impl<S: Source + 'static> Batched<S> {
    fn boxed(source: S) -> Box<dyn Reader> {
        Box::new(Self {
            source,
            failed: None,
            is_over: false,
        })
    }
}

impl<S: Source> Reader for Batched<S> {
    fn read(&mut self, batch: &mut Vec<Reference>) -> Result<(), TraceError> {
        batch.clear();
        while batch.len() < BATCH && !self.is_over {
            match self.source.next() {
                Ok(Some(reference)) => batch.push(reference),
                Ok(None) => self.is_over = true,
                Err(error) => {
                    self.is_over = true;
                    self.failed = Some(error);
                }
            }
        }
        match self.failed.take() {
            Some(error) if batch.is_empty() => Err(error),
            failed => {
                self.failed = failed;
                Ok(())
            }
        }
    }
}

/// What formats leave to others to say.
#[derive(Clone)]
pub struct Setting {
    /// Length of a clock, for formats that give times in seconds.
    pub clock_ps: u64,
    /// The memory in which coordinates lie.
    pub memory: Rc<dyn Coordinates>,
}

/// The length of a reference of a format that gives none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DefaultLength {
    /// That of a word.
    Word,
    /// That of a line: it is a request to memory.
    Line,
    /// That of the memory's burst.
    Burst,
}

impl DefaultLength {
    /// In bytes.
    #[must_use]
    pub fn bytes(self, setting: &Setting) -> u32 {
        match self {
            Self::Word => WORD_BYTES,
            Self::Line => LINE_BYTES,
            Self::Burst => setting.memory.burst_bytes(),
        }
    }
}

type Read = fn(Box<dyn BufRead>, &Setting) -> Result<Box<dyn Reader>, TraceError>;
type Make = for<'a> fn(&'a mut dyn Write, &Setting) -> io::Result<Box<dyn Writer + 'a>>;

/// A format.
pub struct Format {
    /// What `--from` and `--to` call it.
    pub name: &'static str,
    /// What it is, for lists.
    pub summary: &'static str,
    /// What it keeps of a reference.
    pub keeps: Keeps,
    /// The length of a reference that does not say.
    pub default_length: DefaultLength,
    read: Read,
    write: Make,
}

impl Format {
    /// Every format.
    pub const ALL: &'static [Self] = &[
        Self {
            name: "gem5",
            summary: "gem5 packet traces: protobuf messages, for TrafficGen",
            keeps: Keeps {
                times: true,
                sizes: true,
                instructions: true,
                ..NOTHING
            },
            default_length: DefaultLength::Word,
            read: |input, setting| Ok(Batched::boxed(Gem5Reader::new(input, setting.clock_ps)?)),
            write: |output, setting| Ok(Box::new(Gem5Writer::new(output, setting.clock_ps)?)),
        },
        Self {
            name: "ramulator",
            summary: "Ramulator 2 load/store traces: LD or ST, address",
            keeps: NOTHING,
            default_length: DefaultLength::Line,
            read: |input, _| Ok(Batched::boxed(Lines::new(input, &text::RAMULATOR, LINE_BYTES))),
            write: |output, _| Ok(Box::new(LinesWriter::new(output, &text::RAMULATOR))),
        },
        Self {
            name: "ramulator-rw",
            summary: "Ramulator 2 read/write traces: R or W, coordinates in the memory of --machine",
            keeps: Keeps {
                addresses: false,
                ..NOTHING
            },
            default_length: DefaultLength::Burst,
            read: |input, setting| {
                let memory = Rc::clone(&setting.memory);
                Ok(Batched::boxed(CoordinateReader::new(input, memory)))
            },
            write: |output, setting| {
                let memory = Rc::clone(&setting.memory);
                Ok(Box::new(CoordinateWriter::new(output, memory)))
            },
        },
        Self {
            name: "dramsim3",
            summary: "DRAMsim3 traces: address, READ or WRITE, clock",
            keeps: Keeps {
                times: true,
                ..NOTHING
            },
            default_length: DefaultLength::Line,
            read: |input, _| Ok(Batched::boxed(Lines::new(input, &text::DRAMSIM3, LINE_BYTES))),
            write: |output, _| Ok(Box::new(LinesWriter::new(output, &text::DRAMSIM3))),
        },
        Self {
            name: "dramsys",
            summary: "DRAMSys .stl traces: clock, length, read or write, address",
            keeps: Keeps {
                times: true,
                sizes: true,
                ..NOTHING
            },
            default_length: DefaultLength::Line,
            read: |input, _| Ok(Batched::boxed(Lines::new(input, &text::DRAMSYS, LINE_BYTES))),
            write: |output, _| Ok(Box::new(LinesWriter::new(output, &text::DRAMSYS))),
        },
        Self {
            name: "prospero",
            summary: "SST Prospero text traces: cycle, R or W, address, length; a file holds one core's",
            keeps: Keeps {
                times: true,
                sizes: true,
                ..NOTHING
            },
            default_length: DefaultLength::Word,
            read: |input, _| Ok(Batched::boxed(Lines::new(input, &text::PROSPERO, WORD_BYTES))),
            write: |output, _| Ok(Box::new(LinesWriter::new(output, &text::PROSPERO))),
        },
        Self {
            name: "prospero-binary",
            summary: "SST Prospero binary traces: the same in 21 bytes",
            keeps: Keeps {
                times: true,
                sizes: true,
                ..NOTHING
            },
            default_length: DefaultLength::Word,
            read: |input, _| Ok(Batched::boxed(BinaryReader::new(input))),
            write: |output, _| Ok(Box::new(BinaryWriter::new(output))),
        },
        Self {
            name: "champsim",
            summary: "ChampSim instruction traces, those that access memory only: 64 bytes each",
            keeps: Keeps {
                instructions: true,
                ..NOTHING
            },
            default_length: DefaultLength::Word,
            read: |input, _| Ok(Batched::boxed(ChampSimReader::new(input))),
            write: |output, _| Ok(Box::new(ChampSimWriter::new(output))),
        },
        Self {
            name: "lackey",
            summary: "Valgrind lackey's --trace-mem=yes: I, L, S or M, address, length",
            keeps: Keeps {
                sizes: true,
                fetches: true,
                modifies: true,
                crossings: true,
                ..NOTHING
            },
            default_length: DefaultLength::Word,
            read: |input, _| Ok(Batched::boxed(Lines::new(input, &text::LACKEY, WORD_BYTES))),
            write: |output, _| Ok(Box::new(LinesWriter::new(output, &text::LACKEY))),
        },
        Self {
            name: "drmemtrace",
            summary: "text like that of DynamoRIO's drmemtrace view: thread, kind, length, address, instruction",
            keeps: Keeps {
                sizes: true,
                instructions: true,
                threads: true,
                fetches: true,
                prefetches: true,
                crossings: true,
                ..NOTHING
            },
            default_length: DefaultLength::Word,
            read: |input, _| Ok(Batched::boxed(Lines::new(input, &text::DRMEMTRACE, WORD_BYTES))),
            write: |output, _| Ok(Box::new(LinesWriter::new(output, &text::DRMEMTRACE))),
        },
    ];

    /// The format of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<&'static Self> {
        Self::ALL.iter().find(|format| format.name == name)
    }

    /// Reads a trace of this format.
    ///
    /// # Errors
    /// If it begins otherwise than such a trace does.
    pub fn reader(&self, input: Box<dyn BufRead>, setting: &Setting) -> Result<Box<dyn Reader>, TraceError> {
        (self.read)(input, setting)
    }

    /// Writes a trace of this format.
    ///
    /// # Errors
    /// If it can't be written.
    pub fn writer<'a>(
        &self,
        output: &'a mut dyn Write,
        setting: &Setting,
    ) -> io::Result<Box<dyn Writer + 'a>> {
        (self.write)(output, setting)
    }

    /// What this format makes of a reference, appended to `to`: nothing, itself, or its parts.
    pub fn fit(&self, reference: Reference, setting: &Setting, to: &mut Vec<Reference>) {
        let part_bytes = match self.keeps.addresses {
            true => LINE_BYTES,
            false => setting.memory.burst_bytes(),
        };
        let kinds: &[Kind] = match reference.kind {
            Kind::Fetch if !self.keeps.fetches => &[],
            Kind::Modify if !self.keeps.modifies => &[Kind::Read, Kind::Write],
            Kind::Prefetch if !self.keeps.prefetches => &[Kind::Read],
            kind => &[kind],
        };
        for &kind in kinds {
            let bytes = reference.bytes.max(1);
            let reference = Reference {
                kind,
                bytes,
                ..reference
            };
            if self.keeps.crossings {
                to.push(reference);
            } else {
                to.extend(reference.split(part_bytes));
            }
        }
    }
}

impl Keeps {
    /// What is lost of references, in words.
    #[must_use]
    pub fn lost(self) -> Vec<&'static str> {
        let parts = [
            (self.times, "times"),
            (self.sizes, "lengths"),
            (self.instructions, "instruction addresses"),
            (self.threads, "threads"),
            (self.fetches, "instruction fetches (left out)"),
            (self.modifies, "that a read and a write are one access"),
            (self.prefetches, "that reads are prefetches"),
            (self.crossings, "that an access crosses lines (split)"),
            (self.addresses, "addresses (but coordinates in a memory)"),
        ];
        let lost = parts.into_iter().filter(|part| !part.0);
        lost.map(|part| part.1).collect()
    }
}
