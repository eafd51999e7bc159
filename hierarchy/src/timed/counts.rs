//! What a timed memory counts beside its device: by kind of request and by tag.

use serde::{Deserialize, Serialize};

use super::request::{MemoryCompletion, RequestKind};
use crate::dram::RowOutcome;

/// Counts of one tag, or of all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TagCounts {
    /// Requests accepted, by [`RequestKind`].
    pub requests: [u64; 4],
    /// Their bytes.
    pub bytes: [u64; 4],
    /// Requests that are done, by kind.
    pub done: [u64; 4],
    /// Sum over those of the time from acceptance to completion.
    pub latency_ps: [u64; 4],
    /// The longest.
    pub max_latency_ps: [u64; 4],
    /// What their bursts found, by [`RowOutcome`]; those that a queued write answered or took in found nothing.
    pub outcomes: [u64; 3],
}

impl TagCounts {
    #[inline]
    pub(super) fn accept(&mut self, kind: RequestKind, bytes: u32) {
        self.requests[kind as usize] += 1;
        self.bytes[kind as usize] += u64::from(bytes);
    }

    #[inline]
    pub(super) fn found(&mut self, outcome: Option<RowOutcome>) {
        if let Some(outcome) = outcome {
            self.outcomes[outcome as usize] += 1;
        }
    }

    #[inline]
    pub(super) fn complete(&mut self, completion: &MemoryCompletion) {
        let kind = usize::from(completion.kind);
        let latency = completion.finished_ps - completion.accepted_ps;
        self.done[kind] += 1;
        self.latency_ps[kind] += latency;
        self.max_latency_ps[kind] = self.max_latency_ps[kind].max(latency);
    }

    /// Adds those of another.
    pub fn merge(&mut self, other: &Self) {
        for kind in 0..4 {
            self.requests[kind] += other.requests[kind];
            self.bytes[kind] += other.bytes[kind];
            self.done[kind] += other.done[kind];
            self.latency_ps[kind] += other.latency_ps[kind];
            self.max_latency_ps[kind] = self.max_latency_ps[kind].max(other.max_latency_ps[kind]);
        }
        for outcome in 0..3 {
            self.outcomes[outcome] += other.outcomes[outcome];
        }
    }
}
