//! Signature path prefetching. Kim, Pugsley, Gratz, Reddy, Wilkerson, Chishti: Path confidence based lookahead
//! prefetching, MICRO 2016.
//!
//! Models a signature table of 256 pages, each with its last offset and a 12-bit signature of its last deltas; a pattern
//! table of 512 signatures with 4 deltas and 4-bit counters each; and look-ahead along the likeliest path until the
//! product of its probabilities, scaled by the prefetcher's accuracy so far, falls below 25 %. All prefetches fill this
//! cache; the paper sends those below 90 % to the next level. The global history register, which carries a path into the
//! next page, and the prefetch filter's replacement are not modelled.

use super::{Access, Geometry, MOST_REQUESTS, Prefetcher, Requests, hash};

const PAGE_BITS: u32 = 8;
const SIGNATURE_BITS: u32 = 12;
const SIGNATURE_SHIFT: u32 = 3;
const PATTERN_BITS: u32 = 9;
const DELTAS: usize = 4;
const COUNTER_MAX: u32 = 15;
const THRESHOLD_PERCENT: u32 = 25;
/// The accuracy's counters are halved when they reach it: 10 bits.
const ACCURACY_MAX: u32 = 1 << 10;

#[derive(Clone, Copy, Debug, Default)]
struct Page {
    // The page's number and 1 more, so that 0 is none.
    tag: u64,
    offset: i64,
    signature: u16,
}

#[derive(Clone, Copy, Debug, Default)]
struct Pattern {
    seen: u32,
    // Each delta with its counter.
    deltas: [(i64, u32); DELTAS],
}

impl Pattern {
    fn learn(&mut self, delta: i64) {
        let found = self
            .deltas
            .iter()
            .position(|&(known, count)| count > 0 && known == delta);
        let at = found.unwrap_or_else(|| {
            let rarest = (0..DELTAS).min_by_key(|&at| self.deltas[at].1).unwrap_or(0);
            self.deltas[rarest] = (delta, 0);
            rarest
        });
        self.deltas[at].1 += 1;
        self.seen += 1;
        if self.deltas[at].1 > COUNTER_MAX || self.seen > COUNTER_MAX {
            self.seen /= 2;
            self.deltas.iter_mut().for_each(|delta| delta.1 /= 2);
        }
    }
}

fn extend(signature: u16, delta: i64) -> u16 {
    // Seven bits of sign and magnitude, as the paper has deltas.
    let coded = (delta.unsigned_abs() & 63) as u16 | if delta < 0 { 64 } else { 0 };
    (signature << SIGNATURE_SHIFT ^ coded) & ((1 << SIGNATURE_BITS) - 1)
}

#[derive(Debug)]
pub(crate) struct Spp {
    page_lines: u64,
    pages: Vec<Page>,
    patterns: Vec<Pattern>,
    // Prefetches that came in, and those that were used.
    issued: u32,
    useful: u32,
}

impl Spp {
    /// In percent; one not known yet counts as full.
    fn accuracy(&self) -> u32 {
        (self.useful * 100)
            .checked_div(self.issued)
            .unwrap_or(100)
            .min(100)
    }
}

impl Prefetcher for Spp {
    fn new(geometry: &Geometry) -> Self {
        Self {
            page_lines: geometry.page_lines,
            pages: vec![Page::default(); 1 << PAGE_BITS],
            patterns: vec![Pattern::default(); 1 << PATTERN_BITS],
            issued: 0,
            useful: 0,
        }
    }

    fn access(&mut self, access: &Access, requests: &mut Requests) {
        if access.first_use {
            self.useful += 1;
        }
        let (number, offset) = (
            access.line / self.page_lines,
            (access.line % self.page_lines) as i64,
        );
        let page = &mut self.pages[hash(number, PAGE_BITS)];
        if page.tag != number + 1 {
            *page = Page {
                tag: number + 1,
                offset,
                signature: 0,
            };
            return;
        }
        let delta = offset - page.offset;
        if delta == 0 {
            return;
        }
        let pattern_of = |signature: u16| hash(signature.into(), PATTERN_BITS);
        self.patterns[pattern_of(page.signature)].learn(delta);
        page.signature = extend(page.signature, delta);
        page.offset = offset;
        let (mut signature, mut line) = (page.signature, access.line);
        let mut confidence = 100;
        let accuracy = self.accuracy();
        for _ in 0..MOST_REQUESTS {
            let pattern = self.patterns[pattern_of(signature)];
            let mut likeliest = None;
            for (delta, count) in pattern.deltas {
                let path = confidence * count / pattern.seen.max(1);
                if count > 0 && path >= THRESHOLD_PERCENT {
                    requests.push(line.wrapping_add(delta as u64));
                    likeliest = likeliest.max(Some((path, delta)));
                }
            }
            let Some((path, delta)) = likeliest else { break };
            // The accuracy scales what is guessed on top of a guess.
            confidence = path * accuracy / 100;
            signature = extend(signature, delta);
            line = line.wrapping_add(delta as u64);
            if confidence < THRESHOLD_PERCENT || line / self.page_lines != number {
                break;
            }
        }
    }

    fn filled(&mut self, _line: u64, prefetched: bool) {
        if prefetched {
            self.issued += 1;
            if self.issued == ACCURACY_MAX {
                self.issued /= 2;
                self.useful /= 2;
            }
        }
    }
}
