//! Non-temporal accesses: to the nearest copy, else past the caches.

use super::ask::{Ask, Why};
use super::request::Hierarchy;
use crate::cache::line_address;
use crate::ledger::Cause;
use crate::memory::Memory;
use crate::replacement::{Purpose, Request};

impl<M: Memory> Hierarchy<'_, M> {
    /// Writes the nearest copy in place; without one, goes past the caches to the write-combining buffer.
    #[cold]
    pub(super) fn non_temporal_store(&mut self, line: u64, owner: u32) {
        self.general.ledger.owner_mut(owner).non_temporal_lines += 1;
        self.acquire(line, owner, false);
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
    pub(super) fn non_temporal_load(&mut self, line: u64, owner: u32) {
        self.general.ledger.owner_mut(owner).non_temporal_lines += 1;
        let core = &mut self.general.cores[self.core];
        if core.streamed == Some(line) {
            return;
        }
        if let Some((_, writer)) = core.combining.take_if(|pending| pending.0 == line) {
            self.memory
                .write(line_address(line, self.general.line_shift), 1, writer);
        }
        self.publish(line);
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
}
