//! A merging write buffer. Skadron, Clark: Design issues and tradeoffs for write buffers, HPCA 1997.
//!
//! Models the stores that leave a level as stores (write-through, or misses that do not allocate): those to one line
//! merge while they wait. In a model without time an entry waits until the buffer is full, its line is asked for, or
//! everything is flushed: the most merging that a buffer of this size can have. Hardware drains earlier when the next
//! level is idle.

use std::collections::VecDeque;

#[derive(Debug)]
pub(super) struct WriteBuffer {
    capacity: usize,
    // Line and last writer, oldest first.
    stores: VecDeque<(u64, u32)>,
}

/// What became of a store.
pub(super) enum Buffered {
    Merged,
    Waits,
    /// It waits, and this older one goes.
    Drains(u64, u32),
}

impl WriteBuffer {
    pub(super) fn new(capacity: u32) -> Self {
        let capacity = capacity as usize;
        Self {
            capacity,
            stores: VecDeque::with_capacity(capacity),
        }
    }

    pub(super) fn store(&mut self, line: u64, writer: u32) -> Buffered {
        if let Some(waiting) = self.stores.iter_mut().find(|store| store.0 == line) {
            waiting.1 = writer;
            return Buffered::Merged;
        }
        let oldest = if self.stores.len() == self.capacity {
            self.stores.pop_front()
        } else {
            None
        };
        self.stores.push_back((line, writer));
        oldest.map_or(Buffered::Waits, |(line, writer)| Buffered::Drains(line, writer))
    }

    /// Takes out the store to `line`.
    pub(super) fn take(&mut self, line: u64) -> Option<u32> {
        let at = self.stores.iter().position(|store| store.0 == line)?;
        self.stores.remove(at).map(|(_, writer)| writer)
    }

    pub(super) fn pop(&mut self) -> Option<(u64, u32)> {
        self.stores.pop_front()
    }
}
