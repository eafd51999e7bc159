//! Where pages go when they are first touched, and when they move.

use std::fmt;

use serde::Serialize;

/// How a page that no class decides on finds its memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum PlacementPolicy {
    /// The first memory, in the order of the machine, that has room.
    FirstTouch,
    /// The memories in turn, each as many pages as its weight, in order of first touch, as Linux's weighted interleave.
    Interleave,
}

impl PlacementPolicy {
    pub(crate) const ALL: [Self; 2] = [Self::FirstTouch, Self::Interleave];
}

impl fmt::Display for PlacementPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::FirstTouch => "first touch",
            Self::Interleave => "interleave",
        })
    }
}

/// How pages are placed on a machine with several memories.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Placement {
    /// What is placed as a whole.
    pub page_bytes: u64,
    /// Where what no class decides on goes.
    pub policy: PlacementPolicy,
    /// Hot pages move; `None` leaves all where they are.
    pub migration: Option<Migration>,
}

/// Pages of slower memories that are asked for often move to the first memory. If that is full, a page of it that
/// nobody asked for in this epoch and the one before takes the place that becomes free.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Migration {
    /// Requests for a page within an epoch that make it hot.
    pub promote_after: u32,
    /// Requests to memory, of all pages, that an epoch has.
    pub epoch_requests: u64,
}

/// Gives each memory its share of turns.
#[derive(Clone, Debug)]
pub(super) struct Turns {
    weights: Vec<u32>,
    at: usize,
    given: u32,
}

impl Turns {
    pub(super) fn new(weights: Vec<u32>) -> Self {
        Self {
            weights,
            at: 0,
            given: 0,
        }
    }

    pub(super) fn next(&mut self) -> usize {
        if self.given == self.weights[self.at] {
            self.at = (self.at + 1) % self.weights.len();
            self.given = 0;
        }
        self.given += 1;
        self.at
    }
}
