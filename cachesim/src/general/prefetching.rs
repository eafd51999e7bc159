//! A cache's prefetcher and what became of its prefetches.
//!
//! Models timeliness in accesses of the cache between the arrival of a prefetched line and its first use, since there is no
//! time: a use within the miss window would have had to wait. Pollution is told by a table of the last lines that
//! prefetches replaced (Srinath, Mutlu, Kim, Patt: Feedback directed prefetching, HPCA 2007), direct mapped with 4096
//! entries: a demand miss on one of them counts, and a few are forgotten.

use crate::line_map::LineMap;
use crate::prefetch::{Access, Builtin, Engine, Geometry, Requests};

const REPLACED_ENTRIES: usize = 4096;

/// A prefetched line that waits for its first use.
#[derive(Clone, Copy, Debug)]
pub(super) struct Waiting {
    /// Whose access asked for it.
    pub(super) issuer: u32,
    since: u64,
}

#[derive(Debug)]
pub(super) struct Prefetching {
    geometry: Geometry,
    engine: Engine,
    accesses: u64,
    late_within: u64,
    waiting: LineMap<Waiting>,
    // Line + 1, by its low bits; 0 is none.
    replaced: Vec<u64>,
}

impl Prefetching {
    pub(super) fn new(builtin: &Builtin, page_lines: u64, miss_window: u32) -> Self {
        let geometry = Geometry { page_lines };
        Self {
            geometry,
            engine: builtin.build(&geometry),
            accesses: 0,
            late_within: miss_window.into(),
            waiting: LineMap::default(),
            replaced: vec![0; REPLACED_ENTRIES],
        }
    }

    /// Shows the prefetcher an access; what it asks for goes to `queue` as line and owner.
    pub(super) fn access(&mut self, access: &Access, queue: impl FnMut(u64)) {
        self.accesses += 1;
        let mut requests = Requests::new(&self.geometry, access.line);
        self.engine.access(access, &mut requests);
        requests.lines().iter().copied().for_each(queue);
    }

    pub(super) fn filled(&mut self, line: u64, prefetched: bool) {
        self.engine.filled(line, prefetched);
    }

    pub(super) fn arrived(&mut self, line: u64, issuer: u32) {
        let since = self.accesses;
        self.waiting.insert(line, Waiting { issuer, since });
    }

    /// A prefetched line is used for the first time, or leaves without; returns who asked for it, after how many
    /// accesses of the cache this is, and whether a use now would have had to wait for it.
    pub(super) fn settle(&mut self, line: u64) -> Option<(u32, u64, bool)> {
        let Waiting { issuer, since } = self.waiting.remove(&line)?;
        let after = self.accesses - since;
        Some((issuer, after, after <= self.late_within))
    }

    pub(super) fn left(&mut self, line: u64) {
        self.engine.left(line);
    }

    /// A prefetch replaced `line`.
    pub(super) fn replaced_by_prefetch(&mut self, line: u64) {
        self.replaced[line as usize % REPLACED_ENTRIES] = line + 1;
    }

    /// A demand miss: whether a prefetch had replaced its line.
    pub(super) fn is_pollution(&mut self, line: u64) -> bool {
        let entry = &mut self.replaced[line as usize % REPLACED_ENTRIES];
        let was = *entry == line + 1;
        if was {
            *entry = 0;
        }
        was
    }
}
