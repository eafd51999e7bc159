//! Traces that are text, a reference a line.
//!
//! Empty lines and those that start with `#` say nothing, nor do those that a format passes over.

use std::io::{self, BufRead, Write};
use std::ops::Deref;

use crate::error::TraceError;
use crate::format::{Source, Writer};
use crate::reference::{Kind, Reference};

/// A line's meaning.
pub enum Meaning {
    /// A reference. Where the line gives none, its time is its place in the trace, and its length is 0 for the reader to fill in.
    Reference(Reference),
    /// Nothing that a reference is.
    Nothing,
}

/// How a format's lines look.
pub struct Form {
    /// What a line is, for messages.
    pub expected: &'static str,
    is_timed: bool,
    parse: fn(&[&str]) -> Option<Meaning>,
    print: fn(&mut dyn Write, &Reference, u64) -> io::Result<()>,
}

impl Form {
    /// What a line's words mean; none if they are no line of this form.
    #[must_use]
    pub fn parse(&self, words: &[&str]) -> Option<Meaning> {
        (self.parse)(words)
    }
}

/// The most words of a line that a form looks at.
const MOST_WORDS: usize = 12;

/// The words of a line, so many as a form looks at.
pub struct Words<'a> {
    words: [&'a str; MOST_WORDS],
    count: usize,
}

impl<'a> Words<'a> {
    /// Those of `line`.
    #[must_use]
    pub fn of(line: &'a str) -> Self {
        let mut words = [""; MOST_WORDS];
        let mut count = 0;
        for (place, word) in words.iter_mut().zip(line.split_ascii_whitespace()) {
            *place = word;
            count += 1;
        }
        Self { words, count }
    }
}

impl<'a> Deref for Words<'a> {
    type Target = [&'a str];

    fn deref(&self) -> &Self::Target {
        &self.words[..self.count]
    }
}

/// A decimal number, or a hexadecimal one behind `0x`.
#[must_use]
pub fn number(text: &str) -> Option<u64> {
    match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(digits) => u64::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    }
}

fn reference(kind: Kind, address: u64) -> Reference {
    Reference {
        time: 0,
        address,
        bytes: 0,
        kind,
        pc: 0,
        thread: 0,
    }
}

fn told(reference: Reference) -> Option<Meaning> {
    Some(Meaning::Reference(reference))
}

/// Ramulator 2, load/store: `LD 0x12340` or `ST 74560`.
pub const RAMULATOR: Form = Form {
    expected: "'LD ADDRESS' or 'ST ADDRESS'",
    is_timed: false,
    parse: |words| {
        let (kind, address) = match *words {
            ["LD", address] => (Kind::Read, address),
            ["ST", address] => (Kind::Write, address),
            _ => return None,
        };
        told(reference(kind, number(address)?))
    },
    print: |output, reference, _| {
        let kind = if reference.kind == Kind::Write { "ST" } else { "LD" };
        writeln!(output, "{kind} {:#x}", reference.address)
    },
};

/// DRAMsim3: `0x2000D5C0 READ 30`: address, READ or WRITE, clock.
pub const DRAMSIM3: Form = Form {
    expected: "'ADDRESS READ|WRITE CLOCK'",
    is_timed: true,
    parse: |words| {
        let &[address, kind, clock] = words else {
            return None;
        };
        let kind = match kind {
            _ if kind.eq_ignore_ascii_case("READ") => Kind::Read,
            _ if kind.eq_ignore_ascii_case("WRITE") => Kind::Write,
            _ => return None,
        };
        told(Reference {
            time: number(clock)?,
            ..reference(kind, number(address)?)
        })
    },
    print: |output, reference, _| {
        let kind = if reference.kind == Kind::Write {
            "WRITE"
        } else {
            "READ"
        };
        writeln!(output, "{:#x} {kind} {}", reference.address, reference.time)
    },
};

/// The longest burst that a DRAMSys trace may ask for.
const DRAMSYS_MOST_BYTES: u32 = 1 << 20;

/// DRAMSys: `31: read 0x400140`, `31: (64) write 0x400140 0x00…`: clock, length in bytes, address, data. A length that is not
/// given is 0.
pub const DRAMSYS: Form = Form {
    expected: "'CLOCK: [(BYTES)] read|write ADDRESS [DATA]'",
    is_timed: true,
    parse: |words| {
        let (clock, mut rest) = words.split_first()?;
        let time = number(clock.strip_suffix(':')?)?;
        let mut bytes = 0;
        if let Some(length) = rest.first()?.strip_prefix('(') {
            let length = length.strip_suffix(')')?.parse().ok();
            bytes = length.filter(|length| (1..=DRAMSYS_MOST_BYTES).contains(length))?;
            rest = &rest[1..];
        }
        let (kind, address) = match *rest {
            ["read", address] => (Kind::Read, address),
            ["write", address] | ["write", address, _] => (Kind::Write, address),
            _ => return None,
        };
        told(Reference {
            time,
            bytes,
            ..reference(kind, number(address)?)
        })
    },
    print: |output, reference, _| {
        let kind = if reference.kind == Kind::Write {
            "write"
        } else {
            "read"
        };
        let Reference {
            time, bytes, address, ..
        } = reference;
        writeln!(output, "{time}: ({bytes}) {kind} {address:#x}")
    },
};

/// SST Prospero: `1200 R 140737488347136 8`: cycle, R or W, address in decimal, length.
pub const PROSPERO: Form = Form {
    expected: "'CYCLE R|W ADDRESS LENGTH'",
    is_timed: true,
    parse: |words| {
        let &[cycle, kind, address, bytes] = words else {
            return None;
        };
        let kind = match kind {
            "R" => Kind::Read,
            "W" => Kind::Write,
            _ => return None,
        };
        told(Reference {
            time: number(cycle)?,
            bytes: bytes.parse().ok()?,
            ..reference(kind, number(address)?)
        })
    },
    print: |output, reference, _| {
        let kind = if reference.kind == Kind::Write { 'W' } else { 'R' };
        let Reference {
            time, bytes, address, ..
        } = reference;
        writeln!(output, "{time} {kind} {address} {bytes}")
    },
};

/// Valgrind's lackey: ` L 1ffefffe7c,4`: I, L, S or M, address in hexadecimal, length. Valgrind's own lines (`==1234== …`) are
/// passed over.
pub const LACKEY: Form = Form {
    expected: "'I|L|S|M ADDRESS,LENGTH'",
    is_timed: false,
    parse: |words| {
        if words.first()?.starts_with("==") {
            return Some(Meaning::Nothing);
        }
        let &[kind, place] = words else { return None };
        let kind = match kind {
            "I" => Kind::Fetch,
            "L" => Kind::Read,
            "S" => Kind::Write,
            "M" => Kind::Modify,
            _ => return None,
        };
        let (address, bytes) = place.split_once(',')?;
        told(Reference {
            bytes: bytes.parse().ok()?,
            ..reference(kind, u64::from_str_radix(address, 16).ok()?)
        })
    },
    print: |output, reference, _| {
        let kind = match reference.kind {
            Kind::Fetch => "I ",
            Kind::Read | Kind::Prefetch => " L",
            Kind::Write => " S",
            Kind::Modify => " M",
        };
        writeln!(output, "{kind} {:08x},{}", reference.address, reference.bytes)
    },
};

/// DynamoRIO's drmemtrace view, as remembered: `15 2: 3264101 write 8 byte(s) @ 0x7ffd10 by PC 0x401126`: record, instruction,
/// thread, kind, length, address, instruction. Markers (`<marker: …>`) are passed over, and what follows a fetch's address is
/// not looked at.
pub const DRMEMTRACE: Form = Form {
    expected: "'RECORD INSTRUCTION: THREAD read|write|ifetch|prefetch BYTES byte(s) @ ADDRESS [by PC ADDRESS]'",
    is_timed: false,
    parse: |words| {
        let [_, instruction, thread, kind, rest @ ..] = words else {
            return None;
        };
        if !instruction.ends_with(':') {
            return None;
        }
        if kind.starts_with("<marker") {
            return Some(Meaning::Nothing);
        }
        let kind = match *kind {
            "read" => Kind::Read,
            "write" => Kind::Write,
            "ifetch" => Kind::Fetch,
            "prefetch" => Kind::Prefetch,
            _ => return None,
        };
        let [bytes, "byte(s)", "@", address, rest @ ..] = rest else {
            return None;
        };
        let address = number(address)?;
        let pc = match rest {
            ["by", "PC", pc, ..] => number(pc)?,
            _ if kind == Kind::Fetch => address,
            _ => return None,
        };
        told(Reference {
            bytes: bytes.parse().ok()?,
            pc,
            thread: thread.parse().ok()?,
            ..reference(kind, address)
        })
    },
    print: |output, reference, place| {
        let kind = match reference.kind {
            Kind::Fetch => "ifetch",
            Kind::Write => "write",
            Kind::Prefetch => "prefetch",
            Kind::Read | Kind::Modify => "read",
        };
        let Reference {
            time,
            thread,
            bytes,
            address,
            pc,
            ..
        } = reference;
        write!(
            output,
            "{place:>12} {time:>12}: {thread:>7} {kind:<8} {bytes:>3} byte(s) @ {address:#018x}"
        )?;
        if reference.kind == Kind::Fetch {
            writeln!(output)
        } else {
            writeln!(output, " by PC {pc:#018x}")
        }
    },
};

/// Numbers lines and bytes for messages.
#[derive(Debug, Default)]
pub struct LineCounter {
    line: u64,
    offset: u64,
    bytes: Vec<u8>,
}

impl LineCounter {
    /// The next line that says something; none at the end.
    ///
    /// # Errors
    /// If it can't be read or is no text.
    pub fn next(&mut self, input: &mut dyn BufRead) -> Result<Option<&str>, TraceError> {
        loop {
            self.offset += self.bytes.len() as u64;
            self.bytes.clear();
            let read = input.read_until(b'\n', &mut self.bytes);
            if read.map_err(|error| TraceError::unreadable(self.offset, &error))? == 0 {
                return Ok(None);
            }
            self.line += 1;
            let start = self.bytes.trim_ascii_start().first();
            if start.is_some_and(|&byte| byte != b'#') {
                break;
            }
        }
        if std::str::from_utf8(&self.bytes).is_err() {
            return Err(self.refuse("text"));
        }
        Ok(std::str::from_utf8(&self.bytes).ok())
    }

    /// What is said of the last line if it is not what was expected.
    #[must_use]
    pub fn refuse(&self, expected: &str) -> TraceError {
        let text: String = String::from_utf8_lossy(&self.bytes)
            .trim_end()
            .chars()
            .take(60)
            .collect();
        TraceError::Line {
            line: self.line,
            offset: self.offset,
            text: text.escape_debug().to_string(),
            expected: expected.to_owned(),
        }
    }
}

pub(crate) struct Lines {
    input: Box<dyn BufRead>,
    form: &'static Form,
    default_bytes: u32,
    counter: LineCounter,
    references: u64,
}

impl Lines {
    pub(crate) fn new(input: Box<dyn BufRead>, form: &'static Form, default_bytes: u32) -> Self {
        Self {
            input,
            form,
            default_bytes,
            counter: LineCounter::default(),
            references: 0,
        }
    }
}

impl Source for Lines {
    fn next(&mut self) -> Result<Option<Reference>, TraceError> {
        loop {
            let Some(line) = self.counter.next(&mut *self.input)? else {
                return Ok(None);
            };
            match self.form.parse(&Words::of(line)) {
                None => return Err(self.counter.refuse(self.form.expected)),
                Some(Meaning::Nothing) => {}
                Some(Meaning::Reference(mut reference)) => {
                    if reference.bytes == 0 {
                        reference.bytes = self.default_bytes;
                    }
                    if !self.form.is_timed {
                        reference.time = self.references;
                    }
                    self.references += 1;
                    return Ok(Some(reference));
                }
            }
        }
    }
}

pub(crate) struct LinesWriter<'a> {
    output: &'a mut dyn Write,
    form: &'static Form,
    /// Counted from 1.
    place: u64,
}

impl<'a> LinesWriter<'a> {
    pub(crate) fn new(output: &'a mut dyn Write, form: &'static Form) -> Self {
        Self {
            output,
            form,
            place: 1,
        }
    }
}

impl Writer for LinesWriter<'_> {
    fn write(&mut self, batch: &[Reference]) -> io::Result<()> {
        for reference in batch {
            (self.form.print)(self.output, reference, self.place)?;
            self.place += 1;
        }
        Ok(())
    }
}
