//! ChampSim's traces (`inc/trace_instruction.h`, `input_instr`): 64 bytes for each instruction: its address, whether it is a
//! branch and taken, registers (2 written, 4 read), addresses written (2) and read (4); 0 where there is none.
//!
//! Written: instructions that access memory; neither others, nor branches, nor registers. So what a core model makes of
//! instructions per cycle or of dependences means nothing; the caches see every access. An instruction of more accesses than
//! fit becomes several.

use std::io::{self, BufRead, Write};

use crate::error::TraceError;
use crate::format::{Source, Writer};
use crate::prospero::{read_record, word};
use crate::reference::{Kind, Reference, WORD_BYTES};

const RECORD_BYTES: usize = 64;
/// Where the addresses that it writes and reads begin, and how many there are.
const WRITES: (usize, usize) = (16, 2);
const READS: (usize, usize) = (32, 4);

pub(crate) struct ChampSimReader {
    input: Box<dyn BufRead>,
    instructions: u64,
    record: [u8; RECORD_BYTES],
    /// Places of the record's addresses that are still to come.
    next_read: usize,
    next_write: usize,
}

impl ChampSimReader {
    pub(crate) fn new(input: Box<dyn BufRead>) -> Self {
        Self {
            input,
            instructions: 0,
            record: [0; RECORD_BYTES],
            next_read: READS.1,
            next_write: WRITES.1,
        }
    }

    fn reference(&self, address: u64, kind: Kind) -> Reference {
        Reference {
            time: self.instructions - 1,
            address,
            bytes: WORD_BYTES,
            kind,
            pc: word(&self.record, 0),
            thread: 0,
        }
    }
}

impl Source for ChampSimReader {
    fn next(&mut self) -> Result<Option<Reference>, TraceError> {
        loop {
            // What it reads comes first: it may be what it writes.
            while self.next_read < READS.1 {
                let address = word(&self.record, READS.0 + 8 * self.next_read);
                self.next_read += 1;
                if address != 0 {
                    return Ok(Some(self.reference(address, Kind::Read)));
                }
            }
            while self.next_write < WRITES.1 {
                let address = word(&self.record, WRITES.0 + 8 * self.next_write);
                self.next_write += 1;
                if address != 0 {
                    return Ok(Some(self.reference(address, Kind::Write)));
                }
            }
            let offset = self.instructions * RECORD_BYTES as u64;
            if !read_record(&mut *self.input, &mut self.record, offset)? {
                return Ok(None);
            }
            self.instructions += 1;
            (self.next_read, self.next_write) = (0, 0);
        }
    }
}

pub(crate) struct ChampSimWriter<'a> {
    output: &'a mut dyn Write,
    record: [u8; RECORD_BYTES],
    reads: usize,
    writes: usize,
}

impl<'a> ChampSimWriter<'a> {
    pub(crate) fn new(output: &'a mut dyn Write) -> Self {
        Self {
            output,
            record: [0; RECORD_BYTES],
            reads: 0,
            writes: 0,
        }
    }

    fn end_instruction(&mut self) -> io::Result<()> {
        if self.reads + self.writes > 0 {
            self.output.write_all(&self.record)?;
        }
        (self.record, self.reads, self.writes) = ([0; RECORD_BYTES], 0, 0);
        Ok(())
    }
}

impl Writer for ChampSimWriter<'_> {
    fn write(&mut self, batch: &[Reference]) -> io::Result<()> {
        for reference in batch {
            let is_write = reference.kind == Kind::Write;
            let is_full = if is_write {
                self.writes == WRITES.1
            } else {
                // A record's reads come before its writes.
                self.reads == READS.1 || self.writes > 0
            };
            if is_full || reference.pc == 0 || word(&self.record, 0) != reference.pc {
                self.end_instruction()?;
            }
            self.record[..8].copy_from_slice(&reference.pc.to_le_bytes());
            let (place, count) = if is_write {
                (WRITES.0, &mut self.writes)
            } else {
                (READS.0, &mut self.reads)
            };
            let at = place + 8 * *count;
            *count += 1;
            self.record[at..at + 8].copy_from_slice(&reference.address.to_le_bytes());
        }
        Ok(())
    }

    fn finish(&mut self) -> io::Result<()> {
        self.end_instruction()
    }
}
