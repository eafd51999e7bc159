//! The link between a host and a memory that is not on its own channels: CXL, or the way to another socket.
//!
//! Modelled: a fixed latency there and back, two directions of one bandwidth, and what flits cost: of each flit some
//! bytes carry no payload (CRC, protocol id), and each message has a header. A read sends a header and gets a header and
//! the line; a write sends a header and the line and gets a header.
//!
//! Not modelled: packing of several headers into one slot, credits, retries, and ordering between messages.

use serde::Serialize;

/// A link as a machine file describes it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Link {
    /// Time on the link and in its two ends, there and back, of a message without length.
    pub latency_ps: u64,
    /// Of each direction, everything counted that crosses the wires.
    pub bytes_per_second: u64,
    /// A flit on the wires.
    pub flit_bytes: u32,
    /// What of a flit carries messages.
    pub flit_payload_bytes: u32,
    /// Header of a message.
    pub header_bytes: u32,
    /// Energy of moving a bit over the wires; 0 leaves it out.
    pub pj_per_bit: f64,
}

/// Bytes of one transfer on the wires.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct WireBytes {
    /// From the host.
    pub down: f64,
    /// To the host.
    pub up: f64,
}

impl Link {
    fn message(&self, payload_bytes: u32) -> f64 {
        f64::from(payload_bytes + self.header_bytes) * f64::from(self.flit_bytes)
            / f64::from(self.flit_payload_bytes)
    }

    /// Of a read of `line_bytes`.
    pub fn read(&self, line_bytes: u32) -> WireBytes {
        WireBytes {
            down: self.message(0),
            up: self.message(line_bytes),
        }
    }

    /// Of a write of `line_bytes`.
    pub fn write(&self, line_bytes: u32) -> WireBytes {
        WireBytes {
            down: self.message(line_bytes),
            up: self.message(0),
        }
    }

    /// Time that so many bytes occupy one direction.
    pub fn picoseconds(&self, wire_bytes: f64) -> f64 {
        wire_bytes / self.bytes_per_second as f64 * 1e12
    }

    /// Latency of a read of `line_bytes` on an idle link, there and back.
    pub fn read_ps(&self, line_bytes: u32) -> u64 {
        let WireBytes { down, up } = self.read(line_bytes);
        self.latency_ps + self.picoseconds(down + up).round() as u64
    }

    /// Line bytes per second at best, if all are reads.
    pub fn peak_read_bytes_per_second(&self, line_bytes: u32) -> f64 {
        f64::from(line_bytes) / self.picoseconds(self.read(line_bytes).up) * 1e12
    }

    /// Energy of a read and of a write of `line_bytes`.
    pub fn line_pj(&self, line_bytes: u32) -> [f64; 2] {
        [self.read(line_bytes), self.write(line_bytes)]
            .map(|wires| (wires.down + wires.up) * 8.0 * self.pj_per_bit)
    }
}
