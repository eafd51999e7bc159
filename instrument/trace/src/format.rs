//! The formats, as a table.

use std::io::{self, BufRead, Write};

use crate::champsim::{ChampSimReader, ChampSimWriter};
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

type Read = fn(Box<dyn BufRead>, u64) -> Result<Box<dyn Reader>, TraceError>;
type Make = for<'a> fn(&'a mut dyn Write, u64) -> io::Result<Box<dyn Writer + 'a>>;

/// A format.
pub struct Format {
    /// What `--from` and `--to` call it.
    pub name: &'static str,
    /// What it is, for lists.
    pub summary: &'static str,
    /// What it keeps of a reference.
    pub keeps: Keeps,
    /// The length of a reference that does not say: a word, or a line if it is a request to memory.
    pub default_bytes: u32,
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
            default_bytes: WORD_BYTES,
            read: |input, clock_ps| Ok(Batched::boxed(Gem5Reader::new(input, clock_ps)?)),
            write: |output, clock_ps| Ok(Box::new(Gem5Writer::new(output, clock_ps)?)),
        },
        Self {
            name: "ramulator",
            summary: "Ramulator 2 load/store traces: LD or ST, address",
            keeps: NOTHING,
            default_bytes: LINE_BYTES,
            read: |input, _| Ok(Batched::boxed(Lines::new(input, &text::RAMULATOR, LINE_BYTES))),
            write: |output, _| Ok(Box::new(LinesWriter::new(output, &text::RAMULATOR))),
        },
        Self {
            name: "dramsim3",
            summary: "DRAMsim3 traces: address, READ or WRITE, clock",
            keeps: Keeps {
                times: true,
                ..NOTHING
            },
            default_bytes: LINE_BYTES,
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
            default_bytes: LINE_BYTES,
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
            default_bytes: WORD_BYTES,
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
            default_bytes: WORD_BYTES,
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
            default_bytes: WORD_BYTES,
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
            default_bytes: WORD_BYTES,
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
            default_bytes: WORD_BYTES,
            read: |input, _| Ok(Batched::boxed(Lines::new(input, &text::DRMEMTRACE, WORD_BYTES))),
            write: |output, _| Ok(Box::new(LinesWriter::new(output, &text::DRMEMTRACE))),
        },
    ];

    /// The format of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<&'static Self> {
        Self::ALL.iter().find(|format| format.name == name)
    }

    /// Reads a trace of this format. `clock_ps` is the length of a clock, for formats that give times in seconds.
    ///
    /// # Errors
    /// If it begins otherwise than such a trace does.
    pub fn reader(&self, input: Box<dyn BufRead>, clock_ps: u64) -> Result<Box<dyn Reader>, TraceError> {
        (self.read)(input, clock_ps)
    }

    /// Writes a trace of this format.
    ///
    /// # Errors
    /// If it can't be written.
    pub fn writer<'a>(&self, output: &'a mut dyn Write, clock_ps: u64) -> io::Result<Box<dyn Writer + 'a>> {
        (self.write)(output, clock_ps)
    }

    /// What this format makes of a reference, appended to `to`: nothing, itself, or its parts.
    pub fn fit(&self, reference: Reference, to: &mut Vec<Reference>) {
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
                to.extend(reference.split());
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
        ];
        let lost = parts.into_iter().filter(|part| !part.0);
        lost.map(|part| part.1).collect()
    }
}
