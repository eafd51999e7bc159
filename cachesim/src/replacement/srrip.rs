//! Static RRIP with hit priority and 2-bit values: SRRIP-HP of Jaleel et al., ISCA 2010.
//!
//! Models insertion with a long interval, promotion to near-immediate on a hit, and ageing when no line is predicted
//! distant. All references are alike to it, prefetches and writebacks too.

use super::rrpv::Rrpv;
use super::{Geometry, Replacement, Request};

/// Bits per line that the paper settles on.
pub(super) const BITS: u32 = 2;

#[derive(Debug)]
pub(crate) struct Srrip {
    rrpv: Rrpv,
}

impl Replacement for Srrip {
    const REPEATED_HITS_ARE_IDLE: bool = true;

    fn new(geometry: &Geometry) -> Self {
        Self {
            rrpv: Rrpv::new(geometry, BITS),
        }
    }

    #[inline(always)]
    fn hit(&mut self, set: usize, way: usize, _request: &Request) {
        self.rrpv.predict(set, way, 0);
    }

    #[inline(always)]
    fn fill(&mut self, set: usize, way: usize, _request: &Request) {
        self.rrpv.predict(set, way, self.rrpv.long());
    }

    #[inline]
    fn victim(&mut self, set: usize, candidates: u64, _request: &Request) -> Option<usize> {
        self.rrpv.victim(set, candidates)
    }
}
