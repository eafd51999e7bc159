//! Coherence of private caches by a directory at a level that all cores share: MESI (Papamarcos, Patel, ISCA 1984) or
//! MOESI (Sweazey, Smith, ISCA 1986).
//!
//! Modelled: a core's private caches are one holder. A load that they miss takes the line *exclusive* if no other core
//! holds it, else *shared*; a store makes it *modified* and takes it away from every other core (invalidations), with a
//! request if the line was held without the right to write (upgrade). What is dirty elsewhere, or held elsewhere and not
//! at the directory's level, comes from the other core's cache (intervention) and not from memory. On a load MESI writes
//! dirty data back to the directory's level; with MOESI it stays dirty where it is (*owned*). Non-temporal stores take the
//! line from every other core, non-temporal loads have it written back.
//!
//! Sharing: the first access of a core to a line that it lost to a store is true sharing if it touches what was written
//! since, by any other core; else false sharing (Torrellas, Lam, Hennessy: False sharing and spatial locality in
//! multiprocessor caches, IEEE TC 43(6), 1994).
//!
//! Not modelled: messages, transient states, time; the directory's own capacity; ordering of stores; prefetches of the
//! directory's own level, which do not look into private caches.

use super::array::Copy;
use super::ask::{Ask, Why};
use super::directory::{Entry, cores_of};
use super::request::Hierarchy;
use crate::config::Protocol;
use crate::ledger::Cause;
use crate::memory::Memory;
use crate::replacement::Purpose;

impl<M: Memory> Hierarchy<'_, M> {
    fn entry(&mut self, line: u64) -> Option<&mut Entry> {
        Some(self.general.directory.as_mut()?.entry(line))
    }

    /// Before a store: no other core keeps `line`. What was dirty there is the storing core's from now on if it
    /// `takes_over`, else it is written back.
    pub(super) fn acquire(&mut self, line: u64, owner: u32, takes_over: bool) {
        let core = self.core;
        let Some(directory) = &mut self.general.directory else {
            return;
        };
        let (at, touched) = (directory.at, directory.touched);
        let entry = directory.entry(line);
        entry.written(core, touched);
        if entry.sole.map(usize::from) == Some(core) {
            return;
        }
        let others = entry.holders & !(1 << core);
        let holds = self.core_holds(core, line);
        self.drain_stores(others, line);
        let mut taken_from = 0u128;
        let mut dirty = None;
        for other in cores_of(others) {
            let (held, writer) = self.take_away(other, line, owner);
            taken_from |= u128::from(held) << other;
            if let Some(writer) = writer {
                if takes_over {
                    dirty = Some(writer);
                } else {
                    self.write_back_from(other, line, writer);
                }
            }
        }
        let level = self.general.instances[at].level;
        let at_hand = self.general.instances[at].find(line).is_some();
        let detail = self.general.details.level_mut(owner, level);
        detail.upgrades += u64::from(holds);
        let supplied = takes_over && !holds && taken_from != 0 && (dirty.is_some() || !at_hand);
        detail.interventions += u64::from(supplied);
        let Some(directory) = &mut self.general.directory else {
            return;
        };
        directory.supplied = supplied.then_some(line);
        let entry = directory.entry(line);
        entry.holders = 1 << core;
        entry.sole = Some(core as u8);
        let lost = entry.found_again(core);
        let losers = cores_of(taken_from).map(|other| (other as u8, touched));
        entry.lost.extend(losers);
        if let Some(written) = lost.filter(|_| !holds) {
            if written & touched != 0 {
                detail.true_sharing += 1;
            } else {
                detail.false_sharing += 1;
            }
        }
    }

    /// A request to read reaches the directory.
    pub(super) fn share(&mut self, ask: &Ask) {
        let (line, core) = (ask.line, ask.core);
        let Some(entry) = self.entry(line) else { return };
        if entry.sole.map(usize::from) == Some(core) {
            // It stores, or had the line alone and has lost it since.
            return;
        }
        let others = entry.holders & !(1 << core);
        self.drain_stores(others, line);
        let (holders, dirty) = self.look(others, line);
        let Some(directory) = &mut self.general.directory else {
            return;
        };
        let (at, protocol, touched) = (directory.at, directory.protocol, directory.touched);
        let entry = directory.entry(line);
        entry.holders = holders | 1 << core;
        entry.sole = (holders == 0).then_some(core as u8);
        let lost = entry.found_again(core);
        let level = self.general.instances[at].level;
        let at_hand = self.general.instances[at].find(line).is_some();
        let supplied = dirty.is_some() || holders != 0 && !at_hand;
        directory.supplied = supplied.then_some(line);
        let detail = self.general.details.level_mut(ask.owner, level);
        detail.interventions += u64::from(supplied);
        if let (Some(written), Why::Program(_)) = (lost, ask.why) {
            if written & touched != 0 {
                detail.true_sharing += 1;
            } else {
                detail.false_sharing += 1;
            }
        }
        if let (Some((other, writer)), Protocol::Mesi) = (dirty, protocol) {
            self.clean(other, line);
            self.write_back_from(other, line, writer);
        }
    }

    /// Before a non-temporal load: what another core has dirty is written back, and it may not write without asking.
    pub(super) fn publish(&mut self, line: u64) {
        let core = self.core;
        let Some(entry) = self.entry(line) else { return };
        let others = entry.holders & !(1 << core);
        if entry.sole.is_some_and(|sole| usize::from(sole) != core) {
            entry.sole = None;
        }
        self.drain_stores(others, line);
        if let (_, Some((other, writer))) = self.look(others, line) {
            self.clean(other, line);
            self.write_back_from(other, line, writer);
        }
    }

    /// Which of `cores` hold `line`, and of these the one that has it dirty with its last writer.
    fn look(&self, cores: u128, line: u64) -> (u128, Option<(usize, u32)>) {
        let (mut holders, mut dirty) = (0, None);
        for core in cores_of(cores) {
            let private = self.general.cores[core].private.iter();
            let mut copies = private
                .filter_map(|&at| self.general.instances[at].find(line))
                .peekable();
            holders |= u128::from(copies.peek().is_some()) << core;
            // Further in is newer.
            if let Some(writer) = copies.find_map(|copy| copy.writer) {
                dirty = Some((core, writer));
            }
        }
        (holders, dirty)
    }

    fn core_holds(&self, core: usize, line: u64) -> bool {
        let mut private = self.general.cores[core].private.iter();
        private.any(|&at| self.general.instances[at].find(line).is_some())
    }

    fn drain_stores(&mut self, cores: u128, line: u64) {
        for core in cores_of(cores) {
            for next in 0..self.general.cores[core].private.len() {
                let at = self.general.cores[core].private[next];
                self.drain_store_to(at, line);
            }
        }
    }

    /// Takes `line` away from the caches of `core`; whether they held it, and its last writer if it was dirty.
    fn take_away(&mut self, core: usize, line: u64, owner: u32) -> (bool, Option<u32>) {
        let (mut held, mut writer) = (false, None);
        for next in 0..self.general.cores[core].private.len() {
            let at = self.general.cores[core].private[next];
            let instance = &mut self.general.instances[at];
            let Some(taken): Option<Copy> = instance.remove(line) else {
                continue;
            };
            if let Some(classifier) = &mut instance.classifier {
                classifier.invalidate(line);
            }
            let detail = self.general.details.level_mut(owner, instance.level);
            detail.removals += 1;
            detail.invalidations += 1;
            held = true;
            writer = writer.or(taken.writer);
            self.farewell(at, &taken);
        }
        (held, writer)
    }

    fn clean(&mut self, core: usize, line: u64) {
        for next in 0..self.general.cores[core].private.len() {
            let at = self.general.cores[core].private[next];
            self.general.instances[at].clean_line(line);
        }
    }

    /// Dirty data leaves the caches of `core` for the directory's level.
    fn write_back_from(&mut self, core: usize, line: u64, writer: u32) {
        let ask = Ask {
            line,
            owner: writer,
            core,
            why: Why::Program(Cause::Write),
            purpose: Purpose::Writeback,
            write: false,
            takes_dirty: false,
        };
        if let Some(outermost) = self.general.cores[core].outermost_private {
            self.write_back(outermost, line, writer, &ask, false);
        }
    }
}
