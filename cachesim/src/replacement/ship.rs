//! Signature-based hit prediction. Wu, Jaleel, Hasenplaugh, Martonosi, Steely, Emer: SHiP: Signature-based hit predictor
//! for high performance caching, MICRO 2011.
//!
//! Models SHiP-PC over 2-bit SRRIP: a table of 16 Ki 3-bit counters, indexed by a 14-bit hash of the instruction, learns
//! whether the lines that an instruction brings in are used again; those of one whose counter is 0 are inserted as
//! distant. Every set trains (the paper's SHiP-S samples 64). Writebacks have no instruction: they are inserted as
//! long, and neither train nor promote.

use super::rrpv::Rrpv;
use super::srrip::BITS;
use super::{Geometry, Purpose, Replacement, Request};

const SIGNATURE_BITS: u32 = 14;
const COUNTER_MAX: u8 = 7;
/// Of lines that came in by writeback.
const NO_SIGNATURE: u16 = u16::MAX;

#[derive(Debug)]
pub(crate) struct Ship {
    ways: usize,
    rrpv: Rrpv,
    hits: Vec<u8>,
    // Of each line: who brought it in, and whether it was used again.
    signatures: Vec<u16>,
    reused: Vec<bool>,
}

/// The instruction as an index: the high bits of a product with 2³² / golden ratio (Knuth's multiplicative hashing).
fn signature(site: u32) -> u16 {
    (site.wrapping_mul(0x9e37_79b9) >> (u32::BITS - SIGNATURE_BITS)) as u16
}

impl Replacement for Ship {
    fn new(geometry: &Geometry) -> Self {
        let lines = geometry.sets * geometry.ways;
        Self {
            ways: geometry.ways,
            rrpv: Rrpv::new(geometry, BITS),
            // Neither distant nor sure: the first eviction without reuse makes it distant.
            hits: vec![1; 1 << SIGNATURE_BITS],
            signatures: vec![NO_SIGNATURE; lines],
            reused: vec![false; lines],
        }
    }

    #[inline]
    fn hit(&mut self, set: usize, way: usize, request: &Request) {
        if request.purpose == Purpose::Writeback {
            return;
        }
        let line = set * self.ways + way;
        self.rrpv.predict(set, way, 0);
        self.reused[line] = true;
        if let Some(hits) = self.hits.get_mut(usize::from(self.signatures[line])) {
            *hits = (*hits + 1).min(COUNTER_MAX);
        }
    }

    fn fill(&mut self, set: usize, way: usize, request: &Request) {
        let line = set * self.ways + way;
        self.reused[line] = false;
        self.signatures[line] = match request.purpose {
            Purpose::Writeback => NO_SIGNATURE,
            _ => signature(request.site),
        };
        let distant = self.hits.get(usize::from(self.signatures[line])) == Some(&0);
        let value = if distant {
            self.rrpv.distant
        } else {
            self.rrpv.long()
        };
        self.rrpv.predict(set, way, value);
    }

    #[inline]
    fn victim(&mut self, set: usize, candidates: u64, _request: &Request) -> Option<usize> {
        self.rrpv.victim(set, candidates)
    }

    fn leave(&mut self, set: usize, way: usize) {
        let line = set * self.ways + way;
        if !self.reused[line]
            && let Some(hits) = self.hits.get_mut(usize::from(self.signatures[line]))
        {
            *hits = hits.saturating_sub(1);
        }
    }
}
