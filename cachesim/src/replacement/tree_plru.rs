//! Tree pseudo-LRU.
//!
//! Models the binary tree of ways - 1 bits per set that Intel's 80486 introduced for 4 ways: each bit points to the half
//! that was used less recently. An access turns the bits on its path away from itself; the victim is where they point.
//! Numbers of ways that are no power of two use the next larger tree with its last leaves cut off. With a way mask, a bit
//! that points to a half without candidates is not followed.

use super::{Geometry, Replacement, Request};

#[derive(Debug)]
pub(crate) struct TreePlru {
    leaves: usize,
    // Bit n is node n in heap order, the root being node 1; set: the right half is next.
    trees: Vec<u64>,
}

impl TreePlru {
    #[inline(always)]
    fn turn_away(&mut self, set: usize, way: usize) {
        let tree = &mut self.trees[set];
        let mut node = self.leaves + way;
        while node > 1 {
            let came_from_right = node & 1;
            node >>= 1;
            *tree = *tree & !(1 << node) | ((came_from_right ^ 1) as u64) << node;
        }
    }
}

impl Replacement for TreePlru {
    const REPEATED_HITS_ARE_IDLE: bool = true;

    fn new(geometry: &Geometry) -> Self {
        Self {
            leaves: geometry.ways.next_power_of_two(),
            trees: vec![0; geometry.sets],
        }
    }

    #[inline(always)]
    fn hit(&mut self, set: usize, way: usize, _request: &Request) {
        self.turn_away(set, way);
    }

    #[inline(always)]
    fn fill(&mut self, set: usize, way: usize, _request: &Request) {
        self.turn_away(set, way);
    }

    fn victim(&mut self, set: usize, candidates: u64, _request: &Request) -> Option<usize> {
        let tree = self.trees[set];
        let (mut node, mut first, mut width) = (1, 0, self.leaves);
        while width > 1 {
            width /= 2;
            let half = |right: bool| {
                let ways = u64::MAX >> (64 - width);
                candidates & ways << (first + if right { width } else { 0 })
            };
            let pointed = tree >> node & 1 == 1;
            let right = if half(pointed) != 0 { pointed } else { !pointed };
            node = 2 * node + usize::from(right);
            first += if right { width } else { 0 };
        }
        Some(first)
    }
}
