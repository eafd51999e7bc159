//! First in, first out.
//!
//! Models replacement in the order of filling; hits change nothing. A way that an invalidation emptied is filled before
//! any line is replaced, and is then the youngest: a hardware FIFO pointer would not skip to it.

use super::stamps::Stamps;
use super::{Geometry, Replacement, Request};

#[derive(Debug)]
pub(crate) struct Fifo {
    filled: Stamps,
}

impl Replacement for Fifo {
    const REPEATED_HITS_ARE_IDLE: bool = true;

    fn new(geometry: &Geometry) -> Self {
        Self {
            filled: Stamps::new(geometry),
        }
    }

    #[inline(always)]
    fn hit(&mut self, _set: usize, _way: usize, _request: &Request) {}

    #[inline(always)]
    fn fill(&mut self, set: usize, way: usize, _request: &Request) {
        self.filled.renew(set, way);
    }

    #[inline]
    fn victim(&mut self, set: usize, candidates: u64, _request: &Request) -> Option<usize> {
        self.filled.oldest(set, candidates)
    }
}
