//! Bimodal RRIP with 2-bit values: BRRIP of Jaleel et al., ISCA 2010.
//!
//! Models SRRIP whose new lines are predicted distant, but for one in 32, which is predicted long: part of a working set
//! that is larger than the cache stays. The one in 32 is every 32nd fill of the cache, not a random one.

use super::rrpv::Rrpv;
use super::srrip::BITS;
use super::{Geometry, Replacement, Request};

/// ε of the paper is 1/32.
pub(super) const LONG_ONE_IN: u32 = 32;

#[derive(Debug)]
pub(crate) struct Brrip {
    rrpv: Rrpv,
    fills: u32,
}

impl Replacement for Brrip {
    const REPEATED_HITS_ARE_IDLE: bool = true;

    fn new(geometry: &Geometry) -> Self {
        Self {
            rrpv: Rrpv::new(geometry, BITS),
            fills: 0,
        }
    }

    #[inline(always)]
    fn hit(&mut self, set: usize, way: usize, _request: &Request) {
        self.rrpv.predict(set, way, 0);
    }

    #[inline]
    fn fill(&mut self, set: usize, way: usize, _request: &Request) {
        self.fills = (self.fills + 1) % LONG_ONE_IN;
        let value = if self.fills == 0 {
            self.rrpv.long()
        } else {
            self.rrpv.distant
        };
        self.rrpv.predict(set, way, value);
    }

    #[inline]
    fn victim(&mut self, set: usize, candidates: u64, _request: &Request) -> Option<usize> {
        self.rrpv.victim(set, candidates)
    }
}
