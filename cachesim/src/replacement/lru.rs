//! Least recently used.
//!
//! Models exact LRU by a time stamp per way. Does not model what exact LRU would cost in hardware.

use super::stamps::Stamps;
use super::{Geometry, Replacement, Request};

#[derive(Debug)]
pub(crate) struct Lru {
    last_use: Stamps,
}

impl Replacement for Lru {
    const REPEATED_HITS_ARE_IDLE: bool = true;

    fn new(geometry: &Geometry) -> Self {
        Self {
            last_use: Stamps::new(geometry),
        }
    }

    #[inline(always)]
    fn hit(&mut self, set: usize, way: usize, _request: &Request) {
        self.last_use.renew(set, way);
    }

    #[inline(always)]
    fn fill(&mut self, set: usize, way: usize, _request: &Request) {
        self.last_use.renew(set, way);
    }

    #[inline]
    fn victim(&mut self, set: usize, candidates: u64, _request: &Request) -> Option<usize> {
        self.last_use.oldest(set, candidates)
    }
}
