//! Lines that come in: from the next level, from the victim cache, or from a level nearer to the core.

use super::array::{Copy, Insertion};
use super::ask::{Ask, Why};
use super::request::Hierarchy;
use crate::cache::line_address;
use crate::config::Inclusion;
use crate::memory::Memory;
use crate::replacement::{Purpose, Request};

impl<M: Memory> Hierarchy<'_, M> {
    pub(super) fn take_from_victim_cache(&mut self, at: usize, ask: &Ask) -> Option<Copy> {
        let instance = &mut self.general.instances[at];
        let copy = instance.victims.as_mut()?.take(ask.line)?;
        let detail = self.general.details.level_mut(ask.owner, instance.level);
        detail.victim_hits += 1;
        detail.removals += 1;
        Some(copy)
    }

    pub(super) fn in_victim_cache(&mut self, at: usize, line: u64) -> bool {
        let victims = self.general.instances[at].victims.as_mut();
        victims.is_some_and(|victims| victims.find(line).is_some())
    }

    /// Puts the line of `ask` into `at`, where it is not, dirty if it has a writer. If the line goes past, it returns the
    /// writer.
    pub(super) fn fill(
        &mut self,
        at: usize,
        writer: Option<u32>,
        ask: &Ask,
        request: &Request,
    ) -> Option<u32> {
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

    /// Gives `at`, or memory, a line from a level nearer to the core, dirty if it has a writer. An exclusive level takes
    /// in only what `moves` out of the level that sent it.
    pub(super) fn take_in(
        &mut self,
        at: Option<usize>,
        line: u64,
        writer: Option<u32>,
        ask: &Ask,
        moves: bool,
    ) {
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
}
