//! Which answers were given out, so that only a change that contradicts one begins a new generation.

use super::table::ObjectId;
use crate::range_map::{Place, RangeMap};

/// More remembered ranges than this, and all are forgotten at the price of a new generation.
const MAX_RANGES: usize = 1 << 16;

/// The ranges answered in this generation and what the answers were.
#[derive(Debug, Default)]
pub(super) struct Answers {
    generation: u64,
    given: RangeMap<ObjectId>,
}

impl Answers {
    pub(super) fn generation(&self) -> u64 {
        self.generation
    }

    /// Begins a new generation: no answer of the past holds.
    pub(super) fn forget(&mut self) {
        self.generation += 1;
        self.given.clear();
    }

    /// Notes that [start, end) was answered with an object.
    pub(super) fn give(&mut self, start: u64, end: u64, object: ObjectId) {
        if let Place::In(known) = self.given.at(start)
            && known.value == object
            && known.end >= end
        {
            return;
        }
        // Another answer than before: its memory was lost and found.
        self.passes_to(start, end, object);
        if self.given.len() >= MAX_RANGES {
            self.forget();
        }
        self.given.remove(start, end, |_| ());
        self.given.join(start, end, object);
    }

    /// [start, end) belongs to an object from now on.
    pub(super) fn passes_to(&mut self, start: u64, end: u64, object: ObjectId) {
        if self
            .given
            .overlapping(start, end)
            .any(|known| known.value != object)
        {
            self.forget();
        }
    }

    /// What belonged to an object in [start, end) does not any more; the rest of it stays as it is.
    pub(super) fn withdraw(&mut self, start: u64, end: u64, object: ObjectId) {
        if self
            .given
            .overlapping(start, end)
            .any(|known| known.value == object)
        {
            self.forget();
        }
    }

    /// What [start, end) belongs to from now on is not known yet.
    pub(super) fn changes(&mut self, start: u64, end: u64) {
        if self.given.overlapping(start, end).next().is_some() {
            self.forget();
        }
    }
}
