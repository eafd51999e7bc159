//! Memory traces of other simulators, read line by line.
//!
//! | format | a line |
//! |---|---|
//! | Ramulator 2, load/store | `LD 0x12340` or `ST 74560` |
//! | Ramulator 2, read/write | `R 0,0,1,2,100,32`: channel, rank, bank group, bank, row, column (burst) |
//! | Ramulator 2, instructions | `3 20734016` or `3 20734016 20841280`: bubbles, load address, store address |
//! | DRAMsim3 | `0x2000D5C0 READ 30`: address, READ or WRITE, clock |
//! | DRAMSys | `31: read 0x400140`, `31: (64) write 0x400140 0x00…`: clock, length in bytes, address, data |
//!
//! Empty lines and lines that start with `#` say nothing. The first line that says something decides the format.

use std::io::BufRead;

use memloupe_hierarchy::dram::{BurstCoordinates, DramSystem, Place, Workload};
use memloupe_trace::text::{self, Form, LineCounter, Meaning, Words, number};
use memloupe_trace::{Kind, TraceError, expected_coordinates, parse_coordinates};

/// A trace's format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Ramulator 2's load/store traces.
    LoadStore,
    /// Ramulator 2's read/write traces.
    ReadWrite,
    /// Ramulator 2's instruction traces.
    Instructions,
    /// DRAMsim3's traces.
    DramSim3,
    /// DRAMSys's `.stl` traces.
    DramSys,
}

impl Format {
    /// Whether lines give the clock at which a request is sent.
    #[must_use]
    pub fn is_timed(self) -> bool {
        matches!(self, Self::DramSim3 | Self::DramSys)
    }

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::LoadStore => "Ramulator 2 load/store",
            Self::ReadWrite => "Ramulator 2 read/write",
            Self::Instructions => "Ramulator 2 instructions",
            Self::DramSim3 => "DRAMsim3",
            Self::DramSys => "DRAMSys",
        }
    }

    /// How its lines look, if a reference is all that they say.
    fn form(self) -> Option<&'static Form> {
        match self {
            Self::LoadStore => Some(&text::RAMULATOR),
            Self::DramSim3 => Some(&text::DRAMSIM3),
            Self::DramSys => Some(&text::DRAMSYS),
            Self::ReadWrite | Self::Instructions => None,
        }
    }

    fn of(words: &[&str]) -> Option<Self> {
        match words {
            ["LD" | "ST", ..] => Some(Self::LoadStore),
            ["R" | "W", ..] => Some(Self::ReadWrite),
            [clock, ..] if clock.ends_with(':') => Some(Self::DramSys),
            [_, kind, ..] if ["READ", "WRITE"].contains(&kind.to_uppercase().as_str()) => {
                Some(Self::DramSim3)
            }
            [_, _] | [_, _, _] if words.iter().all(|word| number(word).is_some()) => Some(Self::Instructions),
            _ => None,
        }
    }
}

/// Reads all of `input` as requests of `request_bytes` each, unless a line says how long it is. None if there is no request.
///
/// # Errors
/// At the first line that cannot be understood; a line that was cut off is such a line.
pub fn read(
    mut input: impl BufRead,
    system: &DramSystem,
    request_bytes: u32,
) -> Result<Option<(Format, Workload)>, TraceError> {
    let mut workload = Workload::default();
    let mut format = None;
    let coordinates = BurstCoordinates::of(&system.plan().device, system.mapping());
    let mut values = Vec::new();
    let mut counter = LineCounter::default();
    while let Some(line) = counter.next(&mut input)? {
        let words: &[&str] = &Words::of(line);
        let format = match format {
            Some(format) => format,
            None => {
                let Some(found) = Format::of(words) else {
                    return Err(counter.refuse("a line of a Ramulator 2, DRAMsim3 or DRAMSys trace"));
                };
                *format.insert(found)
            }
        };
        let mut push = |place, write| workload.push(system, place, request_bytes, write, 0);
        let parsed = match format.form() {
            Some(form) => match form.parse(words) {
                Some(Meaning::Reference(request)) => {
                    // What gives no length has the default of such traces.
                    let bytes = match format {
                        Format::DramSys if request.bytes > 0 => request.bytes,
                        _ => request_bytes,
                    };
                    let place = Place::Address(request.address);
                    workload.push(system, place, bytes, request.kind == Kind::Write, request.time);
                    Some(())
                }
                Some(Meaning::Nothing) => Some(()),
                None => None,
            },
            None if format == Format::ReadWrite => parse_coordinates(words, &mut values)
                .and_then(|write| Some((coordinates.location(&values)?, write)))
                .map(|(location, write)| push(Place::Location(location), write)),
            None => instructions(words).map(|(load, store)| {
                push(Place::Address(load), false);
                if let Some(store) = store {
                    push(Place::Address(store), true);
                }
            }),
        };
        if parsed.is_none() {
            return Err(match format.form() {
                Some(form) => counter.refuse(form.expected),
                None if format == Format::ReadWrite => {
                    counter.refuse(&expected_coordinates(coordinates.levels()))
                }
                None => counter.refuse("'BUBBLES LOAD-ADDRESS [STORE-ADDRESS]'"),
            });
        }
    }
    Ok(format.map(|format| (format, workload)))
}

fn instructions(words: &[&str]) -> Option<(u64, Option<u64>)> {
    match words {
        [bubbles, load] => number(bubbles).and(Some((number(load)?, None))),
        [bubbles, load, store] => number(bubbles).and(Some((number(load)?, Some(number(store)?)))),
        _ => None,
    }
}
