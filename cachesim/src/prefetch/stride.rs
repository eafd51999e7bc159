//! Stride prefetching by instruction. Chen, Baer: Effective hardware-based data prefetching for high-performance
//! processors, IEEE TC 44(5), 1995.
//!
//! Models the reference prediction table: 256 entries, direct mapped, each with the last line, the stride and a state; in
//! the steady state it asks for the next four strides. Strides are in lines: an access to the same line as before says
//! nothing. The paper's look-ahead program counter is not modelled.

use super::{Access, Geometry, Prefetcher, Requests, hash};

const ENTRY_BITS: u32 = 8;
const DEGREE: i64 = 4;

#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum State {
    #[default]
    Initial,
    Transient,
    Steady,
    NoPrediction,
}

#[derive(Clone, Copy, Debug, Default)]
struct Entry {
    site: u32,
    line: u64,
    stride: i64,
    state: State,
}

#[derive(Debug)]
pub(crate) struct Stride {
    entries: Vec<Entry>,
}

impl Prefetcher for Stride {
    fn new(_geometry: &Geometry) -> Self {
        Self {
            entries: vec![Entry::default(); 1 << ENTRY_BITS],
        }
    }

    fn access(&mut self, access: &Access, requests: &mut Requests) {
        let entry = &mut self.entries[hash(access.site.into(), ENTRY_BITS)];
        if entry.site != access.site {
            *entry = Entry {
                site: access.site,
                line: access.line,
                ..Entry::default()
            };
            return;
        }
        let stride = access.line.wrapping_sub(entry.line) as i64;
        if stride == 0 {
            return;
        }
        let correct = stride == entry.stride;
        // The state diagram of the paper's figure 3.
        let state = match (entry.state, correct) {
            (State::Initial | State::Transient | State::Steady, true) => State::Steady,
            (State::NoPrediction, true) => State::Transient,
            (State::Initial, false) => State::Transient,
            (State::Steady, false) => State::Initial,
            (State::Transient | State::NoPrediction, false) => State::NoPrediction,
        };
        if !correct && entry.state != State::Steady {
            entry.stride = stride;
        }
        entry.line = access.line;
        entry.state = state;
        if state == State::Steady {
            for ahead in 1..=DEGREE {
                if !requests.push(access.line.wrapping_add((entry.stride * ahead) as u64)) {
                    break;
                }
            }
        }
    }
}
