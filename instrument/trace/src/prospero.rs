//! SST Prospero's binary traces: 21 bytes without padding, little-endian: cycle, `R` or `W`, address, length.

use std::io::{self, BufRead, Write};

use crate::error::TraceError;
use crate::format::{Source, Writer};
use crate::reference::{Kind, Reference};

const RECORD_BYTES: usize = 21;

pub(crate) struct BinaryReader {
    input: Box<dyn BufRead>,
    offset: u64,
}

impl BinaryReader {
    pub(crate) fn new(input: Box<dyn BufRead>) -> Self {
        Self { input, offset: 0 }
    }
}

/// Reads a record of a fixed length; false at the end of the file.
pub(crate) fn read_record(
    input: &mut dyn BufRead,
    record: &mut [u8],
    offset: u64,
) -> Result<bool, TraceError> {
    let unreadable = |error: io::Error| TraceError::unreadable(offset, &error);
    if input.fill_buf().map_err(unreadable)?.is_empty() {
        return Ok(false);
    }
    input.read_exact(record).map_err(unreadable)?;
    Ok(true)
}

/// The number at a place of a record.
pub(crate) fn word(record: &[u8], at: usize) -> u64 {
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&record[at..at + 8]);
    u64::from_le_bytes(bytes)
}

impl Source for BinaryReader {
    fn next(&mut self) -> Result<Option<Reference>, TraceError> {
        let mut record = [0; RECORD_BYTES];
        let offset = self.offset;
        if !read_record(&mut *self.input, &mut record, offset)? {
            return Ok(None);
        }
        self.offset += RECORD_BYTES as u64;
        let kind = match record[8] {
            b'R' => Kind::Read,
            b'W' => Kind::Write,
            other => {
                let what = format!("operation {:?} is neither 'R' nor 'W'", char::from(other));
                return Err(TraceError::Record { offset, what });
            }
        };
        Ok(Some(Reference {
            time: word(&record, 0),
            address: word(&record, 9),
            bytes: u32::from_le_bytes([record[17], record[18], record[19], record[20]]),
            kind,
            pc: 0,
            thread: 0,
        }))
    }
}

pub(crate) struct BinaryWriter<'a>(&'a mut dyn Write);

impl<'a> BinaryWriter<'a> {
    pub(crate) fn new(output: &'a mut dyn Write) -> Self {
        Self(output)
    }
}

impl Writer for BinaryWriter<'_> {
    fn write(&mut self, batch: &[Reference]) -> io::Result<()> {
        for reference in batch {
            let mut record = [0; RECORD_BYTES];
            record[..8].copy_from_slice(&reference.time.to_le_bytes());
            record[8] = match reference.kind {
                Kind::Write => b'W',
                _ => b'R',
            };
            record[9..17].copy_from_slice(&reference.address.to_le_bytes());
            record[17..].copy_from_slice(&reference.bytes.to_le_bytes());
            self.0.write_all(&record)?;
        }
        Ok(())
    }
}
