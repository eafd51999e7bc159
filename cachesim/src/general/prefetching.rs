//! A cache's prefetcher and what became of its prefetches.
//!
//! Models timeliness in accesses of the cache between the arrival of a prefetched line and its first use, since there is no
//! time: a use within the miss window would have had to wait. Pollution is told by a table of the last lines that
//! prefetches replaced (Srinath, Mutlu, Kim, Patt: Feedback directed prefetching, HPCA 2007), direct mapped with 4096
//! entries: a demand miss on one of them counts, and a few are forgotten.

use super::ask::{Ask, Why};
use super::request::Hierarchy;
use crate::config::Inclusion;
use crate::line_map::LineMap;
use crate::memory::Memory;
use crate::plugin::PluginError;
use crate::prefetch::{Access, Builtin, Engine, Geometry, Requests};
use crate::replacement::Purpose;

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
    pub(super) fn new(builtin: &Builtin, page_lines: u64, miss_window: u32) -> Result<Self, PluginError> {
        let geometry = Geometry { page_lines };
        Ok(Self {
            geometry,
            engine: builtin.build(&geometry)?,
            accesses: 0,
            late_within: miss_window.into(),
            waiting: LineMap::default(),
            replaced: vec![0; REPLACED_ENTRIES],
        })
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

impl<M: Memory> Hierarchy<'_, M> {
    /// Shows an access to the prefetcher of `at`; what it asks for waits until the access is over.
    pub(super) fn train(&mut self, at: usize, ask: &Ask, hit: bool, first_use: bool) {
        let access = Access {
            line: ask.line,
            site: self.site(ask.owner),
            hit,
            first_use,
        };
        let general = &mut *self.general;
        if let Some(prefetching) = &mut general.instances[at].prefetching {
            prefetching.access(&access, |line| general.queue.push((at, line, ask.owner)));
        }
    }

    /// Fetches what prefetchers asked for during the access before.
    #[cold]
    pub(super) fn prefetch(&mut self) {
        if let Some(directory) = &mut self.general.directory {
            directory.supplied = None;
        }
        for next in 0..self.general.queue.len() {
            let (at, line, owner) = self.general.queue[next];
            let instance = &self.general.instances[at];
            let (level, outer, takes_dirty) = (instance.level, instance.outer, instance.takes_dirty);
            let present = instance.find(line).is_some()
                || instance.inclusion == Inclusion::Exclusive && self.is_held_inside(at, line);
            let detail = self.general.details.level_mut(owner, level);
            if present {
                detail.prefetches_redundant += 1;
                continue;
            }
            detail.prefetches_issued += 1;
            self.drain_store_to(at, line);
            let ask = Ask {
                line,
                owner,
                core: self.core,
                why: Why::Prefetcher,
                purpose: Purpose::Prefetch,
                write: false,
                takes_dirty,
            };
            let writer = self.access(outer, &ask);
            let request = ask.request(self.site(owner));
            if let Some(writer) = self.fill(at, writer, &ask, &request) {
                self.write_back(at, line, writer, &ask, false);
            }
            let instance = &mut self.general.instances[at];
            if instance.array.mark_prefetched(line)
                && let Some(prefetching) = &mut instance.prefetching
            {
                prefetching.arrived(line, owner);
            }
        }
        self.general.queue.clear();
    }

    pub(super) fn prefetch_used(&mut self, at: usize, ask: &Ask) {
        let instance = &mut self.general.instances[at];
        let level = instance.level;
        let settled = instance.prefetching.as_mut().and_then(|p| p.settle(ask.line));
        if let Some((issuer, after, late)) = settled {
            let detail = self.general.details.level_mut(issuer, level);
            detail.prefetches_useful += 1;
            detail.prefetch_lead_accesses += after;
            detail.prefetches_late += u64::from(late);
            self.general.details.level_mut(ask.owner, level).prefetch_hits += 1;
        }
    }
}
