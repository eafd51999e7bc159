//! Re-reference prediction values: what the RRIP family keeps per way.
//!
//! Jaleel, Theobald, Steely, Emer: High performance cache replacement using re-reference interval prediction (RRIP),
//! ISCA 2010. 0 predicts a near-immediate re-reference, the largest value a distant one.

use super::{Geometry, ways_of};

#[derive(Debug)]
pub(super) struct Rrpv {
    ways: usize,
    pub(super) distant: u8,
    values: Vec<u8>,
}

impl Rrpv {
    pub(super) fn new(geometry: &Geometry, bits: u32) -> Self {
        Self {
            ways: geometry.ways,
            distant: (1 << bits) - 1,
            values: vec![0; geometry.sets * geometry.ways],
        }
    }

    /// The interval before distant, which SRRIP predicts for a new line.
    pub(super) fn long(&self) -> u8 {
        self.distant - 1
    }

    #[inline(always)]
    pub(super) fn predict(&mut self, set: usize, way: usize, value: u8) {
        self.values[set * self.ways + way] = value;
    }

    #[inline(always)]
    pub(super) fn of(&self, set: usize, way: usize) -> u8 {
        self.values[set * self.ways + way]
    }

    /// The lowest candidate that is predicted distant, after ageing all candidates until one is.
    #[inline]
    pub(super) fn victim(&mut self, set: usize, candidates: u64) -> Option<usize> {
        let values = &mut self.values[set * self.ways..][..self.ways];
        let oldest = ways_of(candidates).map(|way| values[way]).max()?;
        let missing = self.distant - oldest;
        if missing > 0 {
            for way in ways_of(candidates) {
                values[way] += missing;
            }
        }
        ways_of(candidates).find(|&way| values[way] == self.distant)
    }
}
