//! Dynamic RRIP: SRRIP and BRRIP duel in a few sets, the others follow the winner. Jaleel et al., ISCA 2010; set
//! duelling: Qureshi, Jaleel, Patt, Steely, Emer: Adaptive insertion policies for high performance caching, ISCA 2007.
//!
//! Models 32 leader sets for each policy and a 10-bit selector that counts the leaders' fills (a fill is a miss that
//! took a line). Leaders are spread evenly: in each group of sets / 32, the first leads for SRRIP and the middle one for
//! BRRIP. A cache of fewer than 64 sets has a group for every two sets. Threads are not told apart (TA-DRRIP is).

use super::brrip::LONG_ONE_IN;
use super::rrpv::Rrpv;
use super::srrip::BITS;
use super::{Geometry, Replacement, Request};

const LEADERS: usize = 32;
const SELECTOR_BITS: u32 = 10;

#[derive(Debug)]
pub(crate) struct Drrip {
    rrpv: Rrpv,
    group: usize,
    selector: u32,
    bimodal_fills: u32,
}

impl Replacement for Drrip {
    const REPEATED_HITS_ARE_IDLE: bool = true;

    fn new(geometry: &Geometry) -> Self {
        Self {
            rrpv: Rrpv::new(geometry, BITS),
            group: (geometry.sets / LEADERS).max(2),
            selector: 1 << (SELECTOR_BITS - 1),
            bimodal_fills: 0,
        }
    }

    #[inline(always)]
    fn hit(&mut self, set: usize, way: usize, _request: &Request) {
        self.rrpv.predict(set, way, 0);
    }

    fn fill(&mut self, set: usize, way: usize, _request: &Request) {
        let place = set % self.group;
        let bimodal = if place == 0 {
            self.selector = (self.selector + 1).min((1 << SELECTOR_BITS) - 1);
            false
        } else if place == self.group / 2 {
            self.selector = self.selector.saturating_sub(1);
            true
        } else {
            // SRRIP's leaders missed more often: follow BRRIP.
            self.selector >> (SELECTOR_BITS - 1) == 1
        };
        let mut value = self.rrpv.long();
        if bimodal {
            self.bimodal_fills = (self.bimodal_fills + 1) % LONG_ONE_IN;
            if self.bimodal_fills != 0 {
                value = self.rrpv.distant;
            }
        }
        self.rrpv.predict(set, way, value);
    }

    #[inline]
    fn victim(&mut self, set: usize, candidates: u64, _request: &Request) -> Option<usize> {
        self.rrpv.victim(set, candidates)
    }
}
