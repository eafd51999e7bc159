//! Misses in flight: miss status holding registers. Kroft: Lockup-free instruction fetch/prefetch cache organization,
//! ISCA 1981.
//!
//! Models, without time, a miss that stays in flight for a number of accesses of its cache, the window. An access to its
//! line within the window merges with it (a delayed hit: the line counts as present). A miss that finds every register
//! taken stalls: the oldest is waited for. So the counters say how much parallelism the accesses offer and how many
//! registers would do, not how long anything takes.

use std::collections::VecDeque;

#[derive(Debug)]
pub(super) struct InFlight {
    registers: usize,
    window: u64,
    now: u64,
    // Line and access number of each miss, oldest first.
    misses: VecDeque<(u64, u64)>,
}

/// A miss among others.
pub(super) struct Taken {
    pub(super) stalled: bool,
    /// Misses in flight, this one included.
    pub(super) in_flight: u64,
}

impl InFlight {
    pub(super) fn new(registers: u32, window: u32) -> Self {
        Self {
            registers: registers as usize,
            window: u64::from(window),
            now: 0,
            misses: VecDeque::with_capacity(registers as usize),
        }
    }

    /// The next access begins: what the window has left behind is done.
    fn advance(&mut self) {
        self.now += 1;
        while self
            .misses
            .front()
            .is_some_and(|&(_, since)| self.now - since > self.window)
        {
            self.misses.pop_front();
        }
    }

    /// An access that hits: whether its line is still in flight.
    pub(super) fn hit(&mut self, line: u64) -> bool {
        self.advance();
        self.misses.iter().any(|miss| miss.0 == line)
    }

    /// An access that misses.
    pub(super) fn miss(&mut self, line: u64) -> Taken {
        self.advance();
        let stalled = self.misses.len() == self.registers;
        if stalled {
            self.misses.pop_front();
        }
        self.misses.push_back((line, self.now));
        Taken {
            stalled,
            in_flight: self.misses.len() as u64,
        }
    }
}
