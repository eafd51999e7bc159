//! The way of a request through the caches, and what it sets off.

use super::General;
use super::array::{Copy, Insertion, Place};
use super::write_buffer::Buffered;
use crate::cache::line_address;
use crate::config::Inclusion;
use crate::ledger::Cause;
use crate::memory::Memory;
use crate::prefetch::Access;
use crate::replacement::{Purpose, Request};
use crate::run::{AccessKind, Operand, Run};

use super::classifier::MissClass;

/// Whose counters a request goes to.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Why {
    /// The program's.
    Program(Cause),
    /// The prefetcher's of a level nearer to the core, or of the level itself.
    Prefetcher,
}

/// A request for a line.
#[derive(Clone, Copy, Debug)]
struct Ask {
    line: u64,
    owner: u32,
    core: usize,
    why: Why,
    purpose: Purpose,
    /// It brings data to write; a line that is only fetched on behalf of a store does not.
    write: bool,
    /// Whether the asking level may take over a dirty line from an exclusive one.
    takes_dirty: bool,
}

impl Ask {
    fn request(&self, site: u32) -> Request {
        Request {
            line: self.line,
            site,
            purpose: self.purpose,
        }
    }
}

/// The caches with the memory below them, at work for a core.
pub(super) struct Hierarchy<'a, M> {
    pub(super) general: &'a mut General,
    pub(super) memory: &'a mut M,
    pub(super) core: usize,
}

impl<M: Memory> Hierarchy<'_, M> {
    pub(super) fn run(&mut self, run: Run<'_>) {
        if run.iterations > 1 && self.may_dwell(run.operands) {
            return self.run_dwelling(run);
        }
        for i in 0..run.iterations {
            for operand in run.operands {
                self.operand(operand, i);
            }
        }
    }

    /// Whether hits in the first level may be counted without being simulated one by one, and are worth it.
    fn may_dwell(&self, operands: &[Operand]) -> bool {
        let core = &self.general.cores[self.core];
        let longest_stride = (1u64 << self.general.line_shift) / 2;
        let idle = |at: Option<usize>| {
            at.is_none_or(|at| {
                let instance = &self.general.instances[at];
                !instance.observed && !instance.write_through && instance.array.repeated_hits_are_idle()
            })
        };
        idle(core.data)
            && idle(core.fetch)
            && operands.iter().all(|operand| {
                operand.stride.unsigned_abs() <= longest_stride && !operand.kind.is_non_temporal()
            })
    }

    /// Simulates iterations until one hits throughout, and counts those after it that stay in the same lines: each is
    /// the same hits in the same order, which the policy takes no notice of.
    fn run_dwelling(&mut self, run: Run<'_>) {
        let mut i = 0;
        while i < run.iterations {
            let before = self.first_level_misses();
            let mut dwell = run.iterations - i;
            for operand in run.operands {
                self.operand(operand, i);
                dwell = dwell.min(operand.dwell(i, self.general.line_shift));
            }
            i += 1;
            if dwell > 1 && self.first_level_misses() == before {
                for operand in run.operands {
                    self.count_hits(operand, i, dwell - 1);
                }
                i += dwell - 1;
            }
        }
    }

    fn first_level_misses(&self) -> u64 {
        let core = &self.general.cores[self.core];
        let misses = |at: Option<usize>| {
            at.map_or(0, |at| {
                self.general.ledger.total_misses(self.general.instances[at].level)
            })
        };
        misses(core.data) + misses(core.fetch)
    }

    fn count_hits(&mut self, operand: &Operand, i: u64, times: u64) {
        let core = &self.general.cores[self.core];
        let first_level = match operand.kind {
            AccessKind::Fetch => core.fetch,
            _ => core.data,
        };
        let Some(at) = first_level else { return };
        let (first, last) = operand.lines(i, self.general.line_shift);
        let level = self.general.instances[at].level;
        let counters = self.general.ledger.level_mut(operand.owner, level);
        counters.accesses[operand.kind.cause() as usize] += times * (last - first + 1);
        if first != last {
            self.general.ledger.owner_mut(operand.owner).straddles += times;
        }
    }

    #[inline(always)]
    fn operand(&mut self, operand: &Operand, i: u64) {
        let core = &self.general.cores[self.core];
        let first_level = match operand.kind {
            AccessKind::Fetch => core.fetch,
            _ => core.data,
        };
        let Some(first_level) = first_level else {
            return;
        };
        let (first, last) = operand.lines(i, self.general.line_shift);
        if first != last {
            self.general.ledger.owner_mut(operand.owner).straddles += 1;
        }
        for line in first..=last {
            let line = line & self.general.line_mask;
            match operand.kind {
                AccessKind::NonTemporalStore => self.non_temporal_store(line, operand.owner),
                AccessKind::NonTemporalLoad => self.non_temporal_load(line, operand.owner),
                kind => self.demand(first_level, line, kind, operand.owner),
            }
        }
    }

    #[inline(always)]
    fn demand(&mut self, first_level: usize, line: u64, kind: AccessKind, owner: u32) {
        let purpose = match kind {
            AccessKind::Fetch => Purpose::Fetch,
            AccessKind::Prefetch => Purpose::Prefetch,
            AccessKind::Store => Purpose::Store,
            _ => Purpose::Load,
        };
        self.access(
            Some(first_level),
            &Ask {
                line,
                owner,
                core: self.core,
                why: Why::Program(kind.cause()),
                purpose,
                write: kind.writes(),
                takes_dirty: false,
            },
        );
        if !self.general.queue.is_empty() {
            self.prefetch();
        }
    }

    fn site(&self, owner: u32) -> u32 {
        self.general.owners[owner as usize].site
    }

    /// Serves `ask` at instance `at`, or at memory. Returns the line's last writer if the line moves to the asker dirty.
    #[inline]
    fn access(&mut self, at: Option<usize>, ask: &Ask) -> Option<u32> {
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
        if ask.why == Why::Prefetcher {
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

    fn prefetch_used(&mut self, at: usize, ask: &Ask) {
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

    /// Shows an access to the prefetcher of `at`; what it asks for waits until the access is over.
    fn train(&mut self, at: usize, ask: &Ask, hit: bool, first_use: bool) {
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

    /// Whether an instance nearer to a core than `at` holds `line`.
    fn is_held_inside(&self, at: usize, line: u64) -> bool {
        let inner = &self.general.instances[at].inner;
        inner
            .iter()
            .any(|&i| self.general.instances[i].find(line).is_some())
    }

    /// Fetches what prefetchers asked for during the access before.
    #[cold]
    fn prefetch(&mut self) {
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

    /// A line is about to leave `at`.
    fn farewell(&mut self, at: usize, copy: &Copy) {
        let instance = &mut self.general.instances[at];
        if let Some(prefetching) = &mut instance.prefetching {
            prefetching.left(copy.line);
            if copy.prefetched
                && let Some((issuer, ..)) = prefetching.settle(copy.line)
            {
                let detail = self.general.details.level_mut(issuer, instance.level);
                detail.prefetches_unused += 1;
            }
        }
    }

    fn observe_miss(&mut self, at: usize, ask: &Ask) {
        if ask.why == Why::Prefetcher {
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

    /// A line leaves an exclusive level for the level that asked.
    fn move_out(&mut self, at: usize, ask: &Ask) -> Option<u32> {
        let instance = &mut self.general.instances[at];
        let level = instance.level;
        let copy = instance.remove(ask.line)?;
        self.general.details.level_mut(ask.owner, level).removals += 1;
        self.farewell(at, &copy);
        self.hand_over(at, copy.writer, ask)
    }

    /// A line that left `at` goes to the level that asked: with its dirt, or with that written back.
    fn hand_over(&mut self, at: usize, writer: Option<u32>, ask: &Ask) -> Option<u32> {
        if ask.takes_dirty {
            return writer;
        }
        if let Some(writer) = writer {
            self.write_back(at, ask.line, writer, ask, false);
        }
        None
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
                let fetch = Ask {
                    write: false,
                    takes_dirty: if exclusive { ask.takes_dirty } else { takes_dirty },
                    ..*ask
                };
                self.access(outer, &fetch)
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

    fn in_victim_cache(&mut self, at: usize, line: u64) -> bool {
        let victims = self.general.instances[at].victims.as_mut();
        victims.is_some_and(|victims| victims.find(line).is_some())
    }

    fn take_from_victim_cache(&mut self, at: usize, ask: &Ask) -> Option<Copy> {
        let instance = &mut self.general.instances[at];
        let copy = instance.victims.as_mut()?.take(ask.line)?;
        let detail = self.general.details.level_mut(ask.owner, instance.level);
        detail.victim_hits += 1;
        detail.removals += 1;
        Some(copy)
    }

    /// A store that waits in the write buffer goes ahead of what follows for its line.
    fn drain_store_to(&mut self, at: usize, line: u64) {
        let instance = &mut self.general.instances[at];
        let Some(buffer) = &mut instance.write_buffer else {
            return;
        };
        if let Some(writer) = buffer.take(line) {
            self.drain(at, line, writer);
        }
    }

    fn drain(&mut self, at: usize, line: u64, writer: u32) {
        let instance = &self.general.instances[at];
        let store = Ask {
            line,
            owner: writer,
            core: instance.first_core,
            why: Why::Program(Cause::Write),
            purpose: Purpose::Store,
            write: true,
            takes_dirty: false,
        };
        self.access(instance.outer, &store);
    }

    /// A store goes on from `at` to the next level, as a store.
    fn store_through(&mut self, at: usize, ask: &Ask) {
        let instance = &mut self.general.instances[at];
        let (level, outer) = (instance.level, instance.outer);
        let detail = self.general.details.level_mut(ask.owner, level);
        detail.write_throughs += 1;
        match &mut instance.write_buffer {
            None => {
                self.access(
                    outer,
                    &Ask {
                        why: Why::Program(Cause::Write),
                        purpose: Purpose::Store,
                        takes_dirty: false,
                        ..*ask
                    },
                );
            }
            Some(buffer) => match buffer.store(ask.line, ask.owner) {
                Buffered::Merged => detail.write_merges += 1,
                Buffered::Waits => {}
                Buffered::Drains(line, writer) => self.drain(at, line, writer),
            },
        }
    }

    /// Puts the line of `ask` into `at`, where it is not, dirty if it has a writer. If the line goes past, it returns the
    /// writer.
    fn fill(&mut self, at: usize, writer: Option<u32>, ask: &Ask, request: &Request) -> Option<u32> {
        let instance = &mut self.general.instances[at];
        let level = instance.level;
        let ways = instance.ways_for(ask.core, self.general.owners[ask.owner as usize].class);
        let may_bypass = instance.inclusion != Inclusion::Inclusive;
        let insertion = instance.array.insert(ask.line, writer, request, ways, may_bypass);
        if let Some(prefetching) = &mut instance.prefetching
            && !matches!(insertion, Insertion::Bypassed)
        {
            prefetching.filled(ask.line, ask.why == Why::Prefetcher);
        }
        let detail = self.general.details.level_mut(ask.owner, level);
        match insertion {
            Insertion::Free { sector_miss } => {
                detail.fills += 1;
                detail.sector_misses += u64::from(sector_miss);
            }
            Insertion::Replacing(block) => {
                detail.fills += 1;
                if let Some(copy) = block.only_line() {
                    self.replaced(at, copy, ask);
                    return None;
                }
                instance.leaving.extend(block.lines());
                while let Some(copy) = self.general.instances[at].leaving.pop() {
                    self.replaced(at, copy, ask);
                }
            }
            Insertion::Bypassed => {
                detail.bypasses += 1;
                return writer;
            }
        }
        None
    }

    /// `copy` lost its way in `at` to the line of `ask`.
    fn replaced(&mut self, at: usize, copy: Copy, ask: &Ask) {
        let instance = &mut self.general.instances[at];
        let detail = self.general.details.level_mut(ask.owner, instance.level);
        detail.evictions += 1;
        if let Some(prefetching) = &mut instance.prefetching
            && ask.why == Why::Prefetcher
            && !copy.prefetched
        {
            prefetching.replaced_by_prefetch(copy.line);
        }
        let mut leaves = copy;
        leaves.prefetched = false;
        self.farewell(at, &copy);
        let instance = &mut self.general.instances[at];
        let detail = self.general.details.level_mut(ask.owner, instance.level);
        if let Some(victims) = &mut instance.victims {
            detail.fills += 1;
            match victims.keep(leaves) {
                None => return,
                Some(oldest) => {
                    detail.evictions += 1;
                    leaves = oldest;
                }
            }
        }
        self.leave(at, leaves, ask);
    }

    /// `copy` leaves the level of `at` for the next.
    fn leave(&mut self, at: usize, copy: Copy, ask: &Ask) {
        let Copy { line, mut writer, .. } = copy;
        if self.general.instances[at].inclusion == Inclusion::Inclusive {
            for inner in 0..self.general.instances[at].inner.len() {
                let inner = self.general.instances[at].inner[inner];
                let instance = &mut self.general.instances[inner];
                let level = instance.level;
                // Further in is newer: a waiting store than what lies outside, a copy than a waiting store.
                let waiting = instance
                    .write_buffer
                    .as_mut()
                    .and_then(|buffer| buffer.take(line));
                writer = waiting.or(writer);
                if let Some(taken) = instance.remove(line) {
                    let detail = self.general.details.level_mut(ask.owner, level);
                    detail.removals += 1;
                    detail.back_invalidations += 1;
                    writer = taken.writer.or(writer);
                    self.farewell(inner, &taken);
                }
            }
        }
        let outer = self.general.instances[at].outer;
        let to_exclusive =
            outer.is_some_and(|outer| self.general.instances[outer].inclusion == Inclusion::Exclusive);
        match writer {
            Some(writer) => self.write_back(at, line, writer, ask, true),
            None if to_exclusive => {
                let level = self.general.instances[at].level;
                self.general.details.level_mut(ask.owner, level).clean_victims += 1;
                self.take_in(outer, line, None, ask, true);
            }
            None => {}
        }
    }

    /// What is dirty of a line goes from `at` to the next level, together with the line or not.
    fn write_back(&mut self, at: usize, line: u64, writer: u32, ask: &Ask, moves: bool) {
        self.drain_store_to(at, line);
        let instance = &self.general.instances[at];
        let (level, outer) = (instance.level, instance.outer);
        self.general.ledger.level_mut(writer, level).writebacks += 1;
        self.take_in(outer, line, Some(writer), ask, moves);
    }

    /// Gives `at`, or memory, a line from a level nearer to the core, dirty if it has a writer. An exclusive level takes
    /// in only what `moves` out of the level that sent it.
    fn take_in(&mut self, at: Option<usize>, line: u64, writer: Option<u32>, ask: &Ask, moves: bool) {
        let Some(at) = at else {
            if let Some(writer) = writer {
                let address = line_address(line, self.general.line_shift);
                self.memory.write(address, 1, writer);
            }
            return;
        };
        let owner = writer.unwrap_or(ask.owner);
        let ask = Ask {
            line,
            owner,
            core: ask.core,
            why: ask.why,
            purpose: Purpose::Writeback,
            write: false,
            takes_dirty: false,
        };
        let request = ask.request(self.site(owner));
        if writer.is_some() {
            self.drain_store_to(at, line);
        }
        let instance = &mut self.general.instances[at];
        let (level, outer, through) = (instance.level, instance.outer, instance.write_through);
        if let Some(classifier) = &mut instance.classifier {
            classifier.access(line);
        }
        let found = instance.array.find(line);
        if let Some(place) = found {
            instance.array.touch(place, &request);
        }
        let waiting = instance.victims.as_mut().and_then(|victims| victims.find(line));
        if found.is_some() || waiting.is_some() {
            if let Some(writer) = writer {
                match (found, waiting) {
                    _ if through => self.take_in(outer, line, Some(writer), &ask, moves),
                    (Some(place), _) => instance.array.mark_dirty(place, line, writer),
                    (None, Some(copy)) => copy.writer = Some(writer),
                    (None, None) => {}
                }
            }
            return;
        }
        self.general.ledger.level_mut(owner, level).writeback_misses += u64::from(writer.is_some());
        let instance = &self.general.instances[at];
        let stays_out = match instance.inclusion {
            Inclusion::Exclusive => !moves || self.is_held_inside(at, line),
            _ => !instance.write_allocate,
        };
        if stays_out {
            if writer.is_some() {
                self.take_in(outer, line, writer, &ask, moves);
            }
            return;
        }
        if let Some(writer) = self.fill(at, writer.filter(|_| !through), &ask, &request) {
            self.write_back(at, line, writer, &ask, moves);
        }
        if through && writer.is_some() {
            self.take_in(outer, line, writer, &ask, moves);
        }
    }

    /// Writes the nearest copy in place; without one, goes past the caches to the write-combining buffer.
    #[cold]
    fn non_temporal_store(&mut self, line: u64, owner: u32) {
        self.general.ledger.owner_mut(owner).non_temporal_lines += 1;
        let core = &mut self.general.cores[self.core];
        core.streamed.take_if(|streamed| *streamed == line);
        let mut at = core.data;
        while let Some(level) = at {
            let instance = &mut self.general.instances[level];
            if instance.find(line).is_some() {
                return self.write_in_place(level, line, owner);
            }
            at = instance.outer;
        }
        let pending = self.general.cores[self.core].combining.replace((line, owner));
        if let Some((line, writer)) = pending.filter(|pending| pending.0 != line) {
            self.memory
                .write(line_address(line, self.general.line_shift), 1, writer);
        }
    }

    fn write_in_place(&mut self, at: usize, line: u64, owner: u32) {
        let request = Request {
            line,
            site: self.site(owner),
            purpose: Purpose::Store,
        };
        let instance = &mut self.general.instances[at];
        let through = instance.write_through;
        if let Some(place) = instance.array.find(line) {
            instance.array.touch(place, &request);
            if !through {
                instance.array.mark_dirty(place, line, owner);
            }
        } else if let Some(copy) = instance.victims.as_mut().and_then(|victims| victims.find(line))
            && !through
        {
            copy.writer = Some(owner);
        }
        if through {
            let store = Ask {
                line,
                owner,
                core: self.core,
                why: Why::Program(Cause::Write),
                purpose: Purpose::Store,
                write: true,
                takes_dirty: false,
            };
            self.store_through(at, &store);
        }
    }

    /// Reads the nearest copy; without one, reads the line past the caches into a buffer of one line, from which further
    /// non-temporal loads of the line are served.
    #[cold]
    fn non_temporal_load(&mut self, line: u64, owner: u32) {
        self.general.ledger.owner_mut(owner).non_temporal_lines += 1;
        let core = &mut self.general.cores[self.core];
        if core.streamed == Some(line) {
            return;
        }
        if let Some((_, writer)) = core.combining.take_if(|pending| pending.0 == line) {
            self.memory
                .write(line_address(line, self.general.line_shift), 1, writer);
        }
        let request = Request {
            line,
            site: self.site(owner),
            purpose: Purpose::Load,
        };
        let mut at = self.general.cores[self.core].data;
        while let Some(level) = at {
            let instance = &mut self.general.instances[level];
            if let Some(place) = instance.array.find(line) {
                instance.array.touch(place, &request);
                return;
            }
            if instance.find(line).is_some() {
                return;
            }
            at = instance.outer;
        }
        self.general.cores[self.core].streamed = Some(line);
        self.memory
            .read(line_address(line, self.general.line_shift), 1, owner);
    }

    /// Writes everything dirty to memory, level by level outwards. Lines stay where they are, clean.
    pub(super) fn flush(&mut self) {
        for at in 0..self.general.instances.len() {
            while let Some((line, writer)) = self.general.instances[at]
                .write_buffer
                .as_mut()
                .and_then(super::write_buffer::WriteBuffer::pop)
            {
                self.drain(at, line, writer);
            }
            let instance = &mut self.general.instances[at];
            let core = instance.first_core;
            let dirty: Vec<Copy> = instance.lines().filter(|copy| copy.writer.is_some()).collect();
            instance.clean();
            for Copy { line, writer, .. } in dirty {
                let owner = writer.unwrap_or_default();
                let ask = Ask {
                    line,
                    owner,
                    core,
                    why: Why::Program(Cause::Write),
                    purpose: Purpose::Writeback,
                    write: false,
                    takes_dirty: false,
                };
                self.write_back(at, line, owner, &ask, false);
            }
        }
        for core in 0..self.general.cores.len() {
            if let Some((line, writer)) = self.general.cores[core].combining.take() {
                self.memory
                    .write(line_address(line, self.general.line_shift), 1, writer);
            }
        }
    }
}
