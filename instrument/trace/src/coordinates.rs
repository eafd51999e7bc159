//! Ramulator 2's read/write traces: `R 0,0,1,2,100,32`: coordinates in a memory, in bursts. Which there are depends on the memory.

use std::io::{self, BufRead, Write};
use std::rc::Rc;

use crate::error::TraceError;
use crate::format::{Source, Writer};
use crate::reference::{Kind, Reference};
use crate::text::{LineCounter, Words, number};

/// A memory in which every burst has coordinates.
pub trait Coordinates {
    /// Length of a burst, a power of two.
    fn burst_bytes(&self) -> u32;
    /// What the coordinates are, in the order of a line.
    fn levels(&self) -> &[&'static str];
    /// Replaces `values` by the coordinates of the burst at an address.
    fn locate(&self, address: u64, values: &mut Vec<u64>);
    /// The address of the burst with these coordinates; none if there is no such burst.
    fn address(&self, values: &[u64]) -> Option<u64>;
}

pub(crate) struct CoordinateReader {
    input: Box<dyn BufRead>,
    memory: Rc<dyn Coordinates>,
    counter: LineCounter,
    values: Vec<u64>,
    references: u64,
}

impl CoordinateReader {
    pub(crate) fn new(input: Box<dyn BufRead>, memory: Rc<dyn Coordinates>) -> Self {
        Self {
            input,
            memory,
            counter: LineCounter::default(),
            values: Vec::new(),
            references: 0,
        }
    }
}

/// What a line of coordinates says: whether it writes, and their values.
#[must_use]
pub fn parse_coordinates(words: &[&str], values: &mut Vec<u64>) -> Option<bool> {
    let &[kind, fields] = words else { return None };
    let write = match kind {
        "R" => false,
        "W" => true,
        _ => return None,
    };
    values.clear();
    for field in fields.split(',') {
        values.push(number(field)?);
    }
    Some(write)
}

/// What a line of coordinates should have been, for messages.
#[must_use]
pub fn expected_coordinates(levels: &[&str]) -> String {
    format!("'R' or 'W' and {} within the memory", levels.join(","))
}

impl Source for CoordinateReader {
    fn next(&mut self) -> Result<Option<Reference>, TraceError> {
        let Some(line) = self.counter.next(&mut *self.input)? else {
            return Ok(None);
        };
        let levels = self.memory.levels();
        let found = parse_coordinates(&Words::of(line), &mut self.values)
            .filter(|_| self.values.len() == levels.len())
            .and_then(|write| Some((write, self.memory.address(&self.values)?)));
        let Some((write, address)) = found else {
            return Err(self.counter.refuse(&expected_coordinates(levels)));
        };
        let time = self.references;
        self.references += 1;
        Ok(Some(Reference {
            time,
            address,
            bytes: self.memory.burst_bytes(),
            kind: if write { Kind::Write } else { Kind::Read },
            pc: 0,
            thread: 0,
        }))
    }
}

pub(crate) struct CoordinateWriter<'a> {
    output: &'a mut dyn Write,
    memory: Rc<dyn Coordinates>,
    values: Vec<u64>,
}

impl<'a> CoordinateWriter<'a> {
    pub(crate) fn new(output: &'a mut dyn Write, memory: Rc<dyn Coordinates>) -> Self {
        Self {
            output,
            memory,
            values: Vec::new(),
        }
    }
}

impl Writer for CoordinateWriter<'_> {
    fn write(&mut self, batch: &[Reference]) -> io::Result<()> {
        for reference in batch {
            self.memory.locate(reference.address, &mut self.values);
            let kind = if reference.kind == Kind::Write { 'W' } else { 'R' };
            write!(self.output, "{kind} ")?;
            for (place, value) in self.values.iter().enumerate() {
                let separator = if place == 0 { "" } else { "," };
                write!(self.output, "{separator}{value}")?;
            }
            writeln!(self.output)?;
        }
        Ok(())
    }
}
