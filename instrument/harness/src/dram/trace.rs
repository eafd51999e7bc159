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

use std::fmt;
use std::io::{self, BufRead};

use memloupe_hierarchy::dram::{DramSystem, Place, Workload, location, location_levels};

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

/// Why a trace can't be used.
#[derive(Debug)]
pub enum TraceError {
    /// Reading failed.
    Read(io::Error),
    /// A line says nothing that its format knows.
    Line {
        /// Counted from 1.
        line: u64,
        /// Bytes before the line.
        offset: u64,
        /// The line, or its start.
        text: String,
        /// What it should have been.
        expected: String,
    },
    /// There is no request in it.
    Empty,
}

impl fmt::Display for TraceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read(error) => write!(f, "{error}"),
            Self::Line {
                line,
                offset,
                text,
                expected,
            } => {
                write!(f, "line {line} (byte {offset}): '{text}' is not {expected}")
            }
            Self::Empty => f.write_str("it has no request"),
        }
    }
}

/// Reads all of `input` as requests of `request_bytes` each, unless a line says how long it is.
///
/// # Errors
/// At the first line that cannot be understood; a line that was cut off is such a line.
pub fn read(
    mut input: impl BufRead,
    system: &DramSystem,
    request_bytes: u32,
) -> Result<(Format, Workload), TraceError> {
    let mut workload = Workload::default();
    let mut format = None;
    let mut levels = Vec::new();
    let (mut line, mut offset) = (0, 0);
    let mut bytes = Vec::new();
    loop {
        bytes.clear();
        let length = input.read_until(b'\n', &mut bytes).map_err(TraceError::Read)?;
        if length == 0 {
            break;
        }
        line += 1;
        let refused = |expected: String| {
            let text: String = String::from_utf8_lossy(&bytes)
                .trim_end()
                .chars()
                .take(60)
                .collect();
            let text = text.escape_debug().to_string();
            Err(TraceError::Line {
                line,
                offset,
                text,
                expected,
            })
        };
        let Ok(text) = std::str::from_utf8(&bytes) else {
            return refused("text".into());
        };
        let mut words = [""; 8];
        let mut count = 0;
        for word in text.split_ascii_whitespace().take(words.len()) {
            words[count] = word;
            count += 1;
        }
        let words = &words[..count];
        if words.first().is_none_or(|word| word.starts_with('#')) {
            offset += length as u64;
            continue;
        }
        let format = match format {
            Some(format) => format,
            None => {
                let Some(found) = Format::of(words) else {
                    return refused("a line of a Ramulator 2, DRAMsim3 or DRAMSys trace".into());
                };
                levels = location_levels(&system.plan().device);
                *format.insert(found)
            }
        };
        let parsed = match format {
            Format::LoadStore => load_store(words).map(|(write, address)| {
                workload.push(system, Place::Address(address), request_bytes, write, 0);
            }),
            Format::ReadWrite => read_write(words, system, &levels)
                .map(|(write, place)| workload.push(system, place, request_bytes, write, 0)),
            Format::Instructions => instructions(words).map(|(load, store)| {
                workload.push(system, Place::Address(load), request_bytes, false, 0);
                if let Some(store) = store {
                    workload.push(system, Place::Address(store), request_bytes, true, 0);
                }
            }),
            Format::DramSim3 => dramsim3(words).map(|(write, address, clock)| {
                workload.push(system, Place::Address(address), request_bytes, write, clock);
            }),
            Format::DramSys => dramsys(words).map(|(write, address, clock, length)| {
                let length = length.unwrap_or(request_bytes);
                workload.push(system, Place::Address(address), length, write, clock);
            }),
        };
        if parsed.is_none() {
            return refused(match format {
                Format::LoadStore => "'LD ADDRESS' or 'ST ADDRESS'".into(),
                Format::ReadWrite => format!("'R' or 'W' and {} within the device", levels.join(",")),
                Format::Instructions => "'BUBBLES LOAD-ADDRESS [STORE-ADDRESS]'".into(),
                Format::DramSim3 => "'ADDRESS READ|WRITE CLOCK'".into(),
                Format::DramSys => "'CLOCK: [(BYTES)] read|write ADDRESS [DATA]'".into(),
            });
        }
        offset += length as u64;
    }
    match format {
        Some(format) => Ok((format, workload)),
        None => Err(TraceError::Empty),
    }
}

fn number(text: &str) -> Option<u64> {
    match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(digits) => u64::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    }
}

fn load_store(words: &[&str]) -> Option<(bool, u64)> {
    match words {
        ["LD", address] => Some((false, number(address)?)),
        ["ST", address] => Some((true, number(address)?)),
        _ => None,
    }
}

fn read_write(words: &[&str], system: &DramSystem, levels: &[&str]) -> Option<(bool, Place)> {
    let &[kind, fields] = words else { return None };
    let write = match kind {
        "R" => false,
        "W" => true,
        _ => return None,
    };
    let values: Option<Vec<u64>> = fields.split(',').map(number).collect();
    let values = values.filter(|values| values.len() == levels.len())?;
    let location = location(&system.plan().device, system.mapping(), levels, &values)?;
    Some((write, Place::Location(location)))
}

fn instructions(words: &[&str]) -> Option<(u64, Option<u64>)> {
    match words {
        [bubbles, load] => number(bubbles).and(Some((number(load)?, None))),
        [bubbles, load, store] => number(bubbles).and(Some((number(load)?, Some(number(store)?)))),
        _ => None,
    }
}

fn dramsim3(words: &[&str]) -> Option<(bool, u64, u64)> {
    let &[address, kind, clock] = words else {
        return None;
    };
    let write = match kind.to_uppercase().as_str() {
        "READ" => false,
        "WRITE" => true,
        _ => return None,
    };
    Some((write, number(address)?, number(clock)?))
}

fn dramsys(words: &[&str]) -> Option<(bool, u64, u64, Option<u32>)> {
    let (clock, mut rest) = words.split_first()?;
    let clock = number(clock.strip_suffix(':')?)?;
    let mut length = None;
    if let Some(bytes) = rest.first()?.strip_prefix('(') {
        length = Some(
            bytes
                .strip_suffix(')')?
                .parse()
                .ok()
                .filter(|bytes| (1..=1 << 20).contains(bytes))?,
        );
        rest = &rest[1..];
    }
    match *rest {
        ["read", address] => Some((false, number(address)?, clock, length)),
        ["write", address] | ["write", address, _] => Some((true, number(address)?, clock, length)),
        _ => None,
    }
}
