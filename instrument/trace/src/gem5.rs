//! gem5's packet traces (`src/proto/packet.proto`): the bytes `gem5`, then protobuf messages that each follow their length
//! as a varint: a header, then packets.

use std::io::{self, BufRead, Write};

use prost::Message;

use crate::error::TraceError;
use crate::format::{Source, Writer};
use crate::reference::{Kind, Reference, WORD_BYTES};

const MAGIC: [u8; 4] = *b"gem5";
/// gem5's clock: a tick is a picosecond.
const TICKS_PER_SECOND: u64 = 1_000_000_000_000;
/// `MemCmd::ReadReq`.
const READ_REQUEST: u32 = 1;
/// `MemCmd::WriteReq`.
const WRITE_REQUEST: u32 = 4;
/// More than any message of a packet trace.
const MOST_MESSAGE_BYTES: u64 = 1 << 20;

#[derive(Clone, PartialEq, Message)]
struct PacketHeader {
    #[prost(string, required, tag = "1")]
    obj_id: String,
    #[prost(uint32, optional, tag = "2")]
    ver: Option<u32>,
    #[prost(uint64, required, tag = "3")]
    tick_freq: u64,
}

#[derive(Clone, PartialEq, Message)]
struct Packet {
    #[prost(uint64, required, tag = "1")]
    tick: u64,
    #[prost(uint32, required, tag = "2")]
    cmd: u32,
    #[prost(uint64, optional, tag = "3")]
    addr: Option<u64>,
    #[prost(uint32, optional, tag = "4")]
    size: Option<u32>,
    #[prost(uint32, optional, tag = "5")]
    flags: Option<u32>,
    #[prost(uint64, optional, tag = "6")]
    pkt_id: Option<u64>,
    #[prost(uint64, optional, tag = "7")]
    pc: Option<u64>,
}

pub(crate) struct Gem5Reader {
    input: Box<dyn BufRead>,
    offset: u64,
    ticks_per_clock: u64,
    bytes: Vec<u8>,
}

impl Gem5Reader {
    pub(crate) fn new(mut input: Box<dyn BufRead>, clock_ps: u64) -> Result<Self, TraceError> {
        let wrong = |what: &str| TraceError::Record {
            offset: 0,
            what: what.into(),
        };
        let mut magic = [0; MAGIC.len()];
        match input.read_exact(&mut magic) {
            Err(error) if error.kind() != io::ErrorKind::UnexpectedEof => return Err(error.into()),
            _ if magic != MAGIC => return Err(wrong("a packet trace begins with the bytes 'gem5'")),
            _ => {}
        }
        let mut reader = Self {
            input,
            offset: MAGIC.len() as u64,
            ticks_per_clock: 1,
            bytes: Vec::new(),
        };
        let header: PacketHeader = reader.message()?.ok_or_else(|| wrong("it has no header"))?;
        let ticks = u128::from(header.tick_freq) * u128::from(clock_ps) / u128::from(TICKS_PER_SECOND);
        reader.ticks_per_clock = u64::try_from(ticks).unwrap_or(u64::MAX).max(1);
        Ok(reader)
    }

    /// The next message; none at the end.
    fn message<M: Message + Default>(&mut self) -> Result<Option<M>, TraceError> {
        let offset = self.offset;
        let wrong = |what: String| TraceError::Record { offset, what };
        let unreadable = |error: io::Error| TraceError::unreadable(offset, &error);
        let mut length = 0;
        for shift in (0..64).step_by(7) {
            let mut byte = [0];
            if shift == 0 && self.input.fill_buf().map_err(unreadable)?.is_empty() {
                return Ok(None);
            }
            self.input.read_exact(&mut byte).map_err(unreadable)?;
            self.offset += 1;
            length |= u64::from(byte[0] & 0x7f) << shift;
            if byte[0] < 0x80 {
                break;
            }
        }
        if length > MOST_MESSAGE_BYTES {
            return Err(wrong(format!("a message of {length} bytes")));
        }
        self.bytes.resize(length as usize, 0);
        self.input.read_exact(&mut self.bytes).map_err(unreadable)?;
        self.offset += length;
        M::decode(self.bytes.as_slice())
            .map(Some)
            .map_err(|error| wrong(error.to_string()))
    }
}

impl Source for Gem5Reader {
    fn next(&mut self) -> Result<Option<Reference>, TraceError> {
        let offset = self.offset;
        let Some(packet) = self.message::<Packet>()? else {
            return Ok(None);
        };
        let kind = match packet.cmd {
            READ_REQUEST => Kind::Read,
            WRITE_REQUEST => Kind::Write,
            other => {
                let what = format!("command {other}: only ReadReq (1) and WriteReq (4) are known");
                return Err(TraceError::Record { offset, what });
            }
        };
        Ok(Some(Reference {
            time: packet.tick / self.ticks_per_clock,
            address: packet.addr.unwrap_or(0),
            bytes: packet.size.unwrap_or(WORD_BYTES),
            kind,
            pc: packet.pc.unwrap_or(0),
            thread: 0,
        }))
    }
}

pub(crate) struct Gem5Writer<'a> {
    output: &'a mut dyn Write,
    clock_ps: u64,
    message: Vec<u8>,
}

impl<'a> Gem5Writer<'a> {
    pub(crate) fn new(output: &'a mut dyn Write, clock_ps: u64) -> io::Result<Self> {
        output.write_all(&MAGIC)?;
        let header = PacketHeader {
            obj_id: "memloupe".into(),
            ver: Some(0),
            tick_freq: TICKS_PER_SECOND,
        };
        output.write_all(&header.encode_length_delimited_to_vec())?;
        Ok(Self {
            output,
            clock_ps,
            message: Vec::new(),
        })
    }
}

impl Writer for Gem5Writer<'_> {
    fn write(&mut self, batch: &[Reference]) -> io::Result<()> {
        for reference in batch {
            let packet = Packet {
                tick: reference.time.saturating_mul(self.clock_ps),
                cmd: match reference.kind {
                    Kind::Write => WRITE_REQUEST,
                    _ => READ_REQUEST,
                },
                addr: Some(reference.address),
                size: Some(reference.bytes),
                flags: None,
                pkt_id: None,
                pc: (reference.pc != 0).then_some(reference.pc),
            };
            self.message.clear();
            packet
                .encode_length_delimited(&mut self.message)
                .map_err(io::Error::other)?;
            self.output.write_all(&self.message)?;
        }
        Ok(())
    }
}
