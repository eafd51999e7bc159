//! The way of a request through the caches.

use super::General;
use super::array::Place;
use super::ask::{Ask, Why};
use super::classifier::MissClass;
use crate::cache::line_address;
use crate::config::Inclusion;
use crate::memory::Memory;
use crate::replacement::Request;

/// The caches with the memory below them, at work for a core.
pub(super) struct Hierarchy<'a, M> {
    pub(super) general: &'a mut General,
    pub(super) memory: &'a mut M,
    pub(super) core: usize,
}

impl<M: Memory> Hierarchy<'_, M> {
    pub(super) fn site(&self, owner: u32) -> u32 {
        self.general.owners[owner as usize].site
    }

    /// Serves `ask` at instance `at`, or at memory. Returns the line's last writer if the line moves to the asker dirty.
    #[inline]
    pub(super) fn access(&mut self, at: Option<usize>, ask: &Ask) -> Option<u32> {
        let Some(at) = at else {
            let address = line_address(ask.line, self.general.line_shift);
            if ask.write {
                self.memory.write(address, 1, ask.owner);
            } else {
                self.memory.read(address, 1, ask.owner);
            }
            return None;
        };
        let request = ask.request(self.site(ask.owner));
        if !ask.write
            && self
                .general
                .directory
                .as_ref()
                .is_some_and(|directory| directory.at == at)
        {
            self.share(ask);
        }
        let instance = &mut self.general.instances[at];
        match ask.why {
            Why::Program(cause) => {
                let counters = self.general.ledger.level_mut(ask.owner, instance.level);
                counters.accesses[cause as usize] += 1;
            }
            Why::Prefetcher => {
                let detail = self.general.details.level_mut(ask.owner, instance.level);
                detail.prefetch_lookups += 1;
            }
            Why::Walker => {
                let detail = self.general.details.level_mut(ask.owner, instance.level);
                detail.walk_lookups += 1;
            }
        }
        let Some(place) = instance.array.find(ask.line) else {
            return self.miss(at, ask, &request);
        };
        instance.array.touch(place, &request);
        if ask.write && !instance.write_through {
            instance.array.mark_dirty(place, ask.line, ask.owner);
        }
        if instance.observed {
            self.observe_hit(at, place, ask);
        }
        let instance = &self.general.instances[at];
        if ask.write && instance.write_through {
            self.store_through(at, ask);
        } else if !ask.write && instance.inclusion == Inclusion::Exclusive {
            return self.move_out(at, ask);
        }
        None
    }

    fn observe_hit(&mut self, at: usize, place: Place, ask: &Ask) {
        if !matches!(ask.why, Why::Program(_)) {
            return;
        }
        let instance = &mut self.general.instances[at];
        if let Some(recording) = &mut instance.recording {
            recording.push(ask.line, ask.owner);
        }
        if let Some(classifier) = &mut instance.classifier {
            classifier.access(ask.line);
        }
        if let Some(in_flight) = &mut instance.in_flight
            && in_flight.hit(ask.line)
        {
            let detail = self.general.details.level_mut(ask.owner, instance.level);
            detail.delayed_hits += 1;
        }
        if instance.prefetching.is_some() {
            let first_use = instance.array.use_prefetched(place, ask.line);
            if first_use {
                self.prefetch_used(at, ask);
            }
            self.train(at, ask, true, first_use);
        }
    }

    /// The consequences of a miss at `at`.
    fn miss(&mut self, at: usize, ask: &Ask, request: &Request) -> Option<u32> {
        let instance = &self.general.instances[at];
        let (level, outer, through) = (instance.level, instance.outer, instance.write_through);
        let exclusive = instance.inclusion == Inclusion::Exclusive;
        let allocates = !ask.write || instance.write_allocate && !exclusive;
        let takes_dirty = instance.takes_dirty;
        let observed = instance.observed;
        match ask.why {
            Why::Program(cause) => self.general.ledger.miss(ask.owner, level, cause as usize, 1),
            Why::Prefetcher => {
                let detail = self.general.details.level_mut(ask.owner, level);
                detail.prefetch_lookup_misses += 1;
            }
            Why::Walker => {
                let detail = self.general.details.level_mut(ask.owner, level);
                detail.walk_lookup_misses += 1;
            }
        }
        if observed {
            self.observe_miss(at, ask);
        }
        if !allocates && !self.in_victim_cache(at, ask.line) {
            self.store_through(at, ask);
            return None;
        }
        let inherited = match self.take_from_victim_cache(at, ask) {
            Some(copy) => copy.writer,
            None => {
                self.drain_store_to(at, ask.line);
                let directory = self
                    .general
                    .directory
                    .as_mut()
                    .filter(|directory| directory.at == at);
                let supplied =
                    directory.and_then(|directory| directory.supplied.take_if(|line| *line == ask.line));
                let fetch = Ask {
                    write: false,
                    takes_dirty: if exclusive { ask.takes_dirty } else { takes_dirty },
                    ..*ask
                };
                match supplied {
                    Some(_) => None,
                    None => self.access(outer, &fetch),
                }
            }
        };
        if exclusive && !ask.write {
            return self.hand_over(at, inherited, ask);
        }
        let writer = if ask.write && !through {
            Some(ask.owner)
        } else {
            inherited
        };
        let not_kept = self.fill(at, writer, ask, request);
        if ask.write && through {
            self.store_through(at, ask);
        }
        self.hand_over(at, not_kept, ask)
    }

    fn observe_miss(&mut self, at: usize, ask: &Ask) {
        if !matches!(ask.why, Why::Program(_)) {
            return;
        }
        let instance = &mut self.general.instances[at];
        if let Some(recording) = &mut instance.recording {
            recording.push(ask.line, ask.owner);
        }
        let detail = self.general.details.level_mut(ask.owner, instance.level);
        if let Some(classifier) = &mut instance.classifier {
            *match classifier.access(ask.line) {
                MissClass::Compulsory => &mut detail.compulsory,
                MissClass::Capacity => &mut detail.capacity,
                MissClass::Conflict => &mut detail.conflict,
                MissClass::Coherence => &mut detail.coherence,
            } += 1;
        }
        if let Some(in_flight) = &mut instance.in_flight {
            let taken = in_flight.miss(ask.line);
            detail.mshr_stalls += u64::from(taken.stalled);
            detail.misses_in_flight += taken.in_flight;
        }
        if let Some(prefetching) = &mut instance.prefetching {
            detail.prefetch_pollution += u64::from(prefetching.is_pollution(ask.line));
            self.train(at, ask, false, false);
        }
    }

    /// Whether an instance nearer to a core than `at` holds `line`.
    pub(super) fn is_held_inside(&self, at: usize, line: u64) -> bool {
        let inner = &self.general.instances[at].inner;
        inner
            .iter()
            .any(|&i| self.general.instances[i].find(line).is_some())
    }
}
