//! Stores that leave a level as stores, by way of its write buffer.

use super::ask::{Ask, Why};
use super::request::Hierarchy;
use super::write_buffer::Buffered;
use crate::ledger::Cause;
use crate::memory::Memory;
use crate::replacement::Purpose;

impl<M: Memory> Hierarchy<'_, M> {
    /// A store goes on from `at` to the next level, as a store.
    pub(super) fn store_through(&mut self, at: usize, ask: &Ask) {
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

    /// A store that waits in the write buffer goes ahead of what follows for its line.
    pub(super) fn drain_store_to(&mut self, at: usize, line: u64) {
        let instance = &mut self.general.instances[at];
        let Some(buffer) = &mut instance.write_buffer else {
            return;
        };
        if let Some(writer) = buffer.take(line) {
            self.drain(at, line, writer);
        }
    }

    pub(super) fn drain(&mut self, at: usize, line: u64, writer: u32) {
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
}
