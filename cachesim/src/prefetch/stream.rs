//! Stream prefetching: runs of neighbouring lines. Jouppi, ISCA 1990 (stream buffers); with the confirmation of a
//! direction before the first prefetch of IBM's POWER4 (Tendler et al.: POWER4 system microarchitecture, IBM JRD 46(1),
//! 2002).
//!
//! Models 16 streams. A miss, or the first use of a prefetched line, within two lines of a stream's last one moves the
//! stream; two moves in one direction confirm it, and then the four lines ahead are asked for. Others begin a stream in
//! place of the least recently used one. Prefetches go into the cache, not into buffers beside it.

use super::{Access, Geometry, Prefetcher, Requests};

const STREAMS: usize = 16;
const REACH: i64 = 2;
const CONFIRMED: u32 = 2;
const DEGREE: i64 = 4;

#[derive(Clone, Copy, Debug)]
struct Entry {
    line: u64,
    direction: i64,
    moves: u32,
}

#[derive(Debug)]
pub(crate) struct Stream {
    // Least recently used first.
    streams: Vec<Entry>,
}

impl Prefetcher for Stream {
    fn new(_geometry: &Geometry) -> Self {
        Self {
            streams: Vec::with_capacity(STREAMS + 1),
        }
    }

    fn access(&mut self, access: &Access, requests: &mut Requests) {
        if !access.is_news() {
            return;
        }
        let distance = |entry: &Entry| access.line.wrapping_sub(entry.line) as i64;
        let found = self
            .streams
            .iter()
            .rposition(|entry| distance(entry).unsigned_abs() <= REACH as u64);
        let Some(found) = found else {
            if self.streams.len() == STREAMS {
                self.streams.remove(0);
            }
            self.streams.push(Entry {
                line: access.line,
                direction: 0,
                moves: 0,
            });
            return;
        };
        let mut entry = self.streams.remove(found);
        let direction = distance(&entry).signum();
        if direction != 0 {
            entry.moves = if direction == entry.direction {
                entry.moves + 1
            } else {
                1
            };
            entry.direction = direction;
            entry.line = access.line;
        }
        if entry.moves >= CONFIRMED {
            for ahead in 1..=DEGREE {
                if !requests.push(access.line.wrapping_add((direction * ahead) as u64)) {
                    break;
                }
            }
        }
        self.streams.push(entry);
    }
}
