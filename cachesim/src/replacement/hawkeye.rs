//! Hawkeye. Jain, Lin: Back to the future: leveraging Belady's algorithm for improved cache replacement, ISCA 2016.
//!
//! Models OPTgen on up to 64 sampled sets, with a history of 8 × ways accesses each; a predictor of 8 Ki 3-bit counters
//! indexed by a hash of the instruction; and 3-bit ages: lines of a cache-averse instruction leave first, else the oldest
//! of the friendly ones, whose instruction is then detrained. Prefetches are treated as demand, as in the paper (its
//! contest version told them apart). Writebacks have no instruction: they are inserted as averse and do not train.

use super::rrpv::Rrpv;
use super::{Geometry, Purpose, Replacement, Request, ways_of};

const SAMPLED_SETS: usize = 64;
const HISTORY_PER_WAY: usize = 8;
const PREDICTOR_BITS: u32 = 13;
const COUNTER_MAX: u8 = 7;
/// Counters from here on predict that OPT would keep the line.
const FRIENDLY: u8 = 4;
const AGE_BITS: u32 = 3;

#[derive(Debug)]
pub(crate) struct Hawkeye {
    ways: usize,
    ages: Rrpv,
    // By instruction: whether OPT kept its lines.
    kept: Vec<u8>,
    // Of each line, the instruction that used it last; none if it came by writeback.
    users: Vec<Option<u16>>,
    sample_every: usize,
    samples: Vec<Sample>,
}

fn instruction(site: u32) -> u16 {
    (site.wrapping_mul(0x9e37_79b9) >> (u32::BITS - PREDICTOR_BITS)) as u16
}

impl Hawkeye {
    /// Shows the access to OPTgen and trains; returns the predictor's index and its prediction.
    fn learn(&mut self, set: usize, request: &Request) -> (u16, bool) {
        let user = instruction(request.site);
        if set.is_multiple_of(self.sample_every)
            && let Some(sample) = self.samples.get_mut(set / self.sample_every)
        {
            let (reused, forgotten) = sample.access(request.line, user, self.ways);
            if let Some((last_user, kept)) = reused {
                train(&mut self.kept, last_user, kept);
            }
            if let Some(last_user) = forgotten {
                train(&mut self.kept, last_user, false);
            }
        }
        (user, self.kept[usize::from(user)] >= FRIENDLY)
    }
}

fn train(kept: &mut [u8], user: u16, positive: bool) {
    let counter = &mut kept[usize::from(user)];
    *counter = if positive {
        (*counter + 1).min(COUNTER_MAX)
    } else {
        counter.saturating_sub(1)
    };
}

impl Replacement for Hawkeye {
    fn new(geometry: &Geometry) -> Self {
        let sampled = geometry.sets.min(SAMPLED_SETS);
        Self {
            ways: geometry.ways,
            ages: Rrpv::new(geometry, AGE_BITS),
            kept: vec![FRIENDLY; 1 << PREDICTOR_BITS],
            users: vec![None; geometry.sets * geometry.ways],
            sample_every: geometry.sets / sampled,
            samples: (0..sampled).map(|_| Sample::new(geometry.ways)).collect(),
        }
    }

    fn hit(&mut self, set: usize, way: usize, request: &Request) {
        if request.purpose == Purpose::Writeback {
            return;
        }
        let (user, friendly) = self.learn(set, request);
        self.users[set * self.ways + way] = Some(user);
        self.ages
            .predict(set, way, if friendly { 0 } else { self.ages.distant });
    }

    fn fill(&mut self, set: usize, way: usize, request: &Request) {
        if request.purpose == Purpose::Writeback {
            self.users[set * self.ways + way] = None;
            self.ages.predict(set, way, self.ages.distant);
            return;
        }
        let (user, friendly) = self.learn(set, request);
        self.users[set * self.ways + way] = Some(user);
        if friendly {
            // Friendly lines age by the friendly ones that come in; they never reach the averse age.
            for other in 0..self.ways {
                let age = self.ages.of(set, other);
                if other != way && age < self.ages.long() {
                    self.ages.predict(set, other, age + 1);
                }
            }
        }
        self.ages
            .predict(set, way, if friendly { 0 } else { self.ages.distant });
    }

    fn victim(&mut self, set: usize, candidates: u64, _request: &Request) -> Option<usize> {
        let averse = ways_of(candidates).find(|&way| self.ages.of(set, way) == self.ages.distant);
        if averse.is_some() {
            return averse;
        }
        // The lowest way among the oldest.
        let oldest = ways_of(candidates).max_by_key(|&way| (self.ages.of(set, way), usize::MAX - way))?;
        if let Some(user) = self.users[set * self.ways + oldest] {
            train(&mut self.kept, user, false);
        }
        Some(oldest)
    }
}

/// OPTgen for one set: would OPT have kept a line from its last access to this one?
#[derive(Debug)]
struct Sample {
    // A ring over the last accesses: line and instruction, and how many lines OPT holds across that moment.
    entries: Vec<Entry>,
    next: usize,
}

#[derive(Clone, Copy, Debug, Default)]
struct Entry {
    line: u64,
    user: u16,
    occupancy: u8,
    // Whether this is the line's latest access.
    latest: bool,
}

impl Sample {
    fn new(ways: usize) -> Self {
        Self {
            entries: vec![Entry::default(); HISTORY_PER_WAY * ways],
            next: 0,
        }
    }

    /// Returns the last user of `line` with OPT's verdict, if the history knows it, and the user of the line that falls
    /// out of the history without having been used again.
    fn access(&mut self, line: u64, user: u16, ways: usize) -> (Option<(u16, bool)>, Option<u16>) {
        let length = self.entries.len();
        let mut reused = None;
        let last = (1..=length)
            .map(|back| (self.next + length - back) % length)
            .find(|&at| self.entries[at].latest && self.entries[at].line == line);
        if let Some(last) = last {
            let between = || {
                let distance = (self.next + length - last - 1) % length + 1;
                (0..distance).map(move |step| (last + step) % length)
            };
            let kept = between().all(|at| usize::from(self.entries[at].occupancy) < ways);
            if kept {
                for at in between() {
                    self.entries[at].occupancy += 1;
                }
            }
            reused = Some((self.entries[last].user, kept));
            self.entries[last].latest = false;
        }
        let oldest = &mut self.entries[self.next];
        let forgotten = oldest.latest.then_some(oldest.user);
        *oldest = Entry {
            line,
            user,
            occupancy: 0,
            latest: true,
        };
        self.next = (self.next + 1) % length;
        (reused, forgotten)
    }
}
