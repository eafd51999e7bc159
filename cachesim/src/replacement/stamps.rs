//! Time stamps per way: what policies of recency and age order ways by.

use super::{Geometry, ways_of};

#[derive(Debug)]
pub(super) struct Stamps {
    ways: usize,
    clock: u64,
    stamps: Vec<u64>,
}

impl Stamps {
    pub(super) fn new(geometry: &Geometry) -> Self {
        Self {
            ways: geometry.ways,
            clock: 0,
            stamps: vec![0; geometry.sets * geometry.ways],
        }
    }

    /// Makes `way` the youngest.
    #[inline(always)]
    pub(super) fn renew(&mut self, set: usize, way: usize) {
        self.clock += 1;
        self.stamps[set * self.ways + way] = self.clock;
    }

    #[inline(always)]
    pub(super) fn of(&self, set: usize, way: usize) -> u64 {
        self.stamps[set * self.ways + way]
    }

    /// The way whose stamp is oldest.
    #[inline]
    pub(super) fn oldest(&self, set: usize, candidates: u64) -> Option<usize> {
        let stamps = &self.stamps[set * self.ways..][..self.ways];
        ways_of(candidates).min_by_key(|&way| stamps[way])
    }
}
