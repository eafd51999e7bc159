//! A victim cache. Jouppi: Improving direct-mapped cache performance by the addition of a small fully-associative cache
//! and prefetch buffers, ISCA 1990.
//!
//! Models a few lines that were replaced last, in the order of their arrival; a miss that finds its line here takes it
//! back and does not go out. Since a line that is used leaves, that order is the LRU order.

use std::collections::VecDeque;

use super::array::Copy;

#[derive(Debug)]
pub(super) struct VictimCache {
    capacity: usize,
    // Oldest first.
    lines: VecDeque<Copy>,
}

impl VictimCache {
    pub(super) fn new(capacity: u32) -> Self {
        let capacity = capacity as usize;
        Self {
            capacity,
            lines: VecDeque::with_capacity(capacity),
        }
    }

    /// Keeps `victim`; returns what had to make room.
    pub(super) fn keep(&mut self, victim: Copy) -> Option<Copy> {
        let oldest = if self.lines.len() == self.capacity {
            self.lines.pop_front()
        } else {
            None
        };
        self.lines.push_back(victim);
        oldest
    }

    pub(super) fn take(&mut self, line: u64) -> Option<Copy> {
        let at = self.lines.iter().position(|copy| copy.line == line)?;
        self.lines.remove(at)
    }

    pub(super) fn find(&mut self, line: u64) -> Option<&mut Copy> {
        self.lines.iter_mut().find(|copy| copy.line == line)
    }

    pub(super) fn lines(&self) -> impl Iterator<Item = &Copy> {
        self.lines.iter()
    }

    pub(super) fn clean(&mut self) {
        for copy in &mut self.lines {
            copy.writer = None;
        }
    }
}
