//! Lines that leave: replaced, moved to the level that asked, taken away by inclusion, or written back.

use super::array::Copy;
use super::ask::{Ask, Why};
use super::request::Hierarchy;
use crate::cache::line_address;
use crate::config::Inclusion;
use crate::ledger::Cause;
use crate::memory::Memory;
use crate::replacement::Purpose;

impl<M: Memory> Hierarchy<'_, M> {
    /// `copy` lost its way in `at` to the line of `ask`.
    pub(super) fn replaced(&mut self, at: usize, copy: Copy, ask: &Ask) {
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

    /// A line is about to leave `at`.
    pub(super) fn farewell(&mut self, at: usize, copy: &Copy) {
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

    /// A line leaves an exclusive level for the level that asked.
    pub(super) fn move_out(&mut self, at: usize, ask: &Ask) -> Option<u32> {
        let instance = &mut self.general.instances[at];
        let level = instance.level;
        let copy = instance.remove(ask.line)?;
        self.general.details.level_mut(ask.owner, level).removals += 1;
        self.farewell(at, &copy);
        self.hand_over(at, copy.writer, ask)
    }

    /// A line that left `at` goes to the level that asked: with its dirt, or with that written back.
    pub(super) fn hand_over(&mut self, at: usize, writer: Option<u32>, ask: &Ask) -> Option<u32> {
        if ask.takes_dirty {
            return writer;
        }
        if let Some(writer) = writer {
            self.write_back(at, ask.line, writer, ask, false);
        }
        None
    }

    /// What is dirty of a line goes from `at` to the next level, together with the line or not.
    pub(super) fn write_back(&mut self, at: usize, line: u64, writer: u32, ask: &Ask, moves: bool) {
        self.drain_store_to(at, line);
        let instance = &self.general.instances[at];
        let (level, outer) = (instance.level, instance.outer);
        self.general.ledger.level_mut(writer, level).writebacks += 1;
        self.take_in(outer, line, Some(writer), ask, moves);
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
