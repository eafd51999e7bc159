//! Best-offset prefetching. Michaud: Best-offset hardware prefetching, HPCA 2016.
//!
//! Models the 52 offsets up to 256 whose prime factors are 2, 3 and 5, tested in rounds against a table of 256 recent
//! requests with 12-bit tags; SCORE_MAX 31, ROUND_MAX 100, BAD_SCORE 1; one prefetch per access. The recent requests are
//! entered when a line comes in, which without time is at once: every offset is in time, and the smallest of equally good
//! ones wins. Not modelled: the delay queue, and switching off below BAD_SCORE by the L3's bandwidth.

use super::{Access, Geometry, Prefetcher, Requests, hash};

const OFFSET_MAX: u64 = 256;
const TABLE_BITS: u32 = 8;
const TAG_BITS: u32 = 12;
const SCORE_MAX: u32 = 31;
const ROUND_MAX: u32 = 100;
const BAD_SCORE: u32 = 1;

#[derive(Debug)]
pub(crate) struct BestOffset {
    offsets: Vec<u64>,
    scores: Vec<u32>,
    tested: usize,
    round: u32,
    // The offset in use; none while prefetching is off.
    best: Option<u64>,
    recent: Vec<u16>,
}

impl BestOffset {
    fn slot_and_tag(line: u64) -> (usize, u16) {
        let tag = (line >> TABLE_BITS) & ((1 << TAG_BITS) - 1);
        // A tag of 0 is an empty slot.
        (hash(line, TABLE_BITS), tag as u16 + 1)
    }

    fn remember(&mut self, line: u64) {
        let (slot, tag) = Self::slot_and_tag(line);
        self.recent[slot] = tag;
    }

    fn is_recent(&self, line: u64) -> bool {
        let (slot, tag) = Self::slot_and_tag(line);
        self.recent[slot] == tag
    }

    fn learn(&mut self, line: u64, page_lines: u64) {
        let offset = self.offsets[self.tested];
        let base = line.wrapping_sub(offset);
        if base / page_lines == line / page_lines && self.is_recent(base) {
            self.scores[self.tested] += 1;
        }
        let saturated = self.scores[self.tested] >= SCORE_MAX;
        self.tested += 1;
        if self.tested == self.offsets.len() {
            self.tested = 0;
            self.round += 1;
        }
        if saturated || self.round == ROUND_MAX {
            let best = (0..self.scores.len()).rev().max_by_key(|&at| self.scores[at]);
            self.best = best
                .filter(|&at| self.scores[at] > BAD_SCORE)
                .map(|at| self.offsets[at]);
            self.scores.fill(0);
            self.tested = 0;
            self.round = 0;
        }
    }
}

impl Prefetcher for BestOffset {
    fn new(_geometry: &Geometry) -> Self {
        let smooth = |mut n: u64| {
            for factor in [2u64, 3, 5] {
                while n.is_multiple_of(factor) {
                    n /= factor;
                }
            }
            n == 1
        };
        let offsets: Vec<u64> = (1..=OFFSET_MAX).filter(|&n| smooth(n)).collect();
        Self {
            scores: vec![0; offsets.len()],
            offsets,
            tested: 0,
            round: 0,
            best: Some(1),
            recent: vec![0; 1 << TABLE_BITS],
        }
    }

    fn access(&mut self, access: &Access, requests: &mut Requests) {
        if !access.is_news() {
            return;
        }
        self.learn(access.line, requests.page_lines());
        if let Some(offset) = self.best {
            requests.push(access.line + offset);
        }
    }

    fn filled(&mut self, line: u64, prefetched: bool) {
        match self.best {
            Some(offset) if prefetched => self.remember(line.wrapping_sub(offset)),
            // While prefetching is off, what was fetched on demand stands for a prefetch of offset 0.
            None if !prefetched => self.remember(line),
            _ => {}
        }
    }
}
