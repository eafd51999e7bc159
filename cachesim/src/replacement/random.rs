//! Random replacement.
//!
//! Models a uniform choice among the candidates, by a seeded xorshift64* generator (Vigna: An experimental exploration of
//! Marsaglia's xorshift generators, scrambled, 2016): the same seed and accesses give the same result. Does not model the
//! short period of a hardware LFSR.

use super::{Geometry, Replacement, Request, ways_of};

#[derive(Debug)]
pub(crate) struct Random {
    state: u64,
}

impl Random {
    fn next(&mut self) -> u64 {
        self.state ^= self.state >> 12;
        self.state ^= self.state << 25;
        self.state ^= self.state >> 27;
        self.state.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }
}

impl Replacement for Random {
    const REPEATED_HITS_ARE_IDLE: bool = true;

    fn new(geometry: &Geometry) -> Self {
        // The generator must not start at 0; the constant is 2⁶⁴ divided by the golden ratio.
        Self {
            state: (geometry.seed ^ 0x9e37_79b9_7f4a_7c15).max(1),
        }
    }

    #[inline(always)]
    fn hit(&mut self, _set: usize, _way: usize, _request: &Request) {}

    #[inline(always)]
    fn fill(&mut self, _set: usize, _way: usize, _request: &Request) {}

    fn victim(&mut self, _set: usize, candidates: u64, _request: &Request) -> Option<usize> {
        let below = u64::from(candidates.count_ones());
        let nth = (u128::from(self.next()) * u128::from(below)) >> 64;
        ways_of(candidates).nth(nth as usize)
    }
}
