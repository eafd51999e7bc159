//! Least frequently used.
//!
//! Models in-cache LFU: each line counts its references since it came in, the smallest count leaves, the least recently
//! used among equals. Does not model ageing: a line that was popular once stays until others have caught up.

use super::stamps::Stamps;
use super::{Geometry, Replacement, Request, ways_of};

#[derive(Debug)]
pub(crate) struct Lfu {
    ways: usize,
    references: Vec<u32>,
    last_use: Stamps,
}

impl Replacement for Lfu {
    fn new(geometry: &Geometry) -> Self {
        Self {
            ways: geometry.ways,
            references: vec![0; geometry.sets * geometry.ways],
            last_use: Stamps::new(geometry),
        }
    }

    #[inline]
    fn hit(&mut self, set: usize, way: usize, _request: &Request) {
        let references = &mut self.references[set * self.ways + way];
        *references = references.saturating_add(1);
        self.last_use.renew(set, way);
    }

    #[inline]
    fn fill(&mut self, set: usize, way: usize, _request: &Request) {
        self.references[set * self.ways + way] = 1;
        self.last_use.renew(set, way);
    }

    #[inline]
    fn victim(&mut self, set: usize, candidates: u64, _request: &Request) -> Option<usize> {
        ways_of(candidates)
            .min_by_key(|&way| (self.references[set * self.ways + way], self.last_use.of(set, way)))
    }
}
