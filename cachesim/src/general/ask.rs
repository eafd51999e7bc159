//! A request for a line.

use crate::ledger::Cause;
use crate::replacement::{Purpose, Request};

/// Whose counters a request goes to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Why {
    /// The program's.
    Program(Cause),
    /// The prefetcher's of a level nearer to the core, or of the level itself.
    Prefetcher,
    /// Of page walks.
    Walker,
}

/// A request for a line.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ask {
    pub(super) line: u64,
    pub(super) owner: u32,
    pub(super) core: usize,
    pub(super) why: Why,
    pub(super) purpose: Purpose,
    /// It brings data to write; a line that is only fetched on behalf of a store does not.
    pub(super) write: bool,
    /// Whether the asking level may take over a dirty line from an exclusive one.
    pub(super) takes_dirty: bool,
}

impl Ask {
    pub(super) fn request(&self, site: u32) -> Request {
        Request {
            line: self.line,
            site,
            purpose: self.purpose,
        }
    }
}
