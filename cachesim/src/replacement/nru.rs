//! Not recently used, also known as bit-PLRU or MRU replacement.
//!
//! Models one bit per way that an access sets; when the last one would be set, all others are cleared (Malamy, Patel,
//! Hayes: US patent 5,353,425, 1994). The victim is the lowest candidate whose bit is clear; if a way mask leaves none,
//! the lowest candidate.

use super::{Geometry, Replacement, Request};

#[derive(Debug)]
pub(crate) struct Nru {
    all_ways: u64,
    recent: Vec<u64>,
}

impl Nru {
    #[inline(always)]
    fn mark(&mut self, set: usize, way: usize) {
        let recent = &mut self.recent[set];
        *recent |= 1 << way;
        if *recent == self.all_ways {
            *recent = 1 << way;
        }
    }
}

impl Replacement for Nru {
    fn new(geometry: &Geometry) -> Self {
        Self {
            all_ways: u64::MAX >> (64 - geometry.ways),
            recent: vec![0; geometry.sets],
        }
    }

    #[inline(always)]
    fn hit(&mut self, set: usize, way: usize, _request: &Request) {
        self.mark(set, way);
    }

    #[inline(always)]
    fn fill(&mut self, set: usize, way: usize, _request: &Request) {
        self.mark(set, way);
    }

    #[inline]
    fn victim(&mut self, set: usize, candidates: u64, _request: &Request) -> Option<usize> {
        let old = candidates & !self.recent[set];
        Some(if old == 0 { candidates } else { old }.trailing_zeros() as usize)
    }

    fn leave(&mut self, set: usize, way: usize) {
        self.recent[set] &= !(1 << way);
    }
}
