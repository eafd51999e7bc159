//! From the accesses of a run to requests for lines.

use super::ask::{Ask, Why};
use super::request::Hierarchy;
use crate::memory::Memory;
use crate::replacement::Purpose;
use crate::run::{AccessKind, Operand, Run};
use crate::translation::Translation;

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
        // Repeated stores say which bytes of a line were written.
        let stores = operands.iter().any(|operand| operand.kind.writes());
        if stores && self.general.directory.is_some() {
            return false;
        }
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
        let translation = self.general.translation.as_ref();
        let untranslated = translation.map_or(0, Translation::first_level_misses);
        misses(core.data) + misses(core.fetch) + untranslated
    }

    fn count_hits(&mut self, operand: &Operand, i: u64, times: u64) {
        let core = &self.general.cores[self.core];
        let first_level = match operand.kind {
            AccessKind::Fetch => core.fetch,
            _ => core.data,
        };
        if let Some(translation) = &mut self.general.translation {
            translation.count_hits(self.core, operand, i, times);
        }
        let Some(at) = first_level else { return };
        let (first, last) = operand.lines(i, self.general.line_shift);
        let level = self.general.instances[at].level;
        let counters = self.general.ledger.level_mut(operand.owner, level);
        counters.accesses[operand.kind.cause() as usize] += times * (last - first + 1);
        if first != last {
            self.general.ledger.owner_mut(operand.owner).straddles += times;
        }
    }

    /// Translates what `operand` touches in iteration `i`; walks read in the caches, from the data cache nearest to the
    /// core outwards.
    fn translate(&mut self, operand: &Operand, i: u64) {
        let pages = self.general.translation.as_ref().map(|t| t.pages(operand, i));
        let Some((first, last)) = pages else { return };
        for page in first..=last {
            let translation = self.general.translation.as_mut();
            let walk = translation.and_then(|t| t.translate(self.core, operand.kind, page, operand.owner));
            let Some(walk) = walk else { continue };
            let first_level = self.general.cores[self.core].data;
            for entry in walk.entries() {
                let ask = Ask {
                    line: entry >> self.general.line_shift & self.general.line_mask,
                    owner: operand.owner,
                    core: self.core,
                    why: Why::Walker,
                    purpose: Purpose::Load,
                    write: false,
                    takes_dirty: false,
                };
                self.access(first_level, &ask);
            }
        }
    }

    #[inline(always)]
    fn operand(&mut self, operand: &Operand, i: u64) {
        let core = &self.general.cores[self.core];
        let first_level = match operand.kind {
            AccessKind::Fetch => core.fetch,
            _ => core.data,
        };
        if self.general.translation.is_some() {
            self.translate(operand, i);
        }
        let Some(first_level) = first_level else {
            return;
        };
        let (first, last) = operand.lines(i, self.general.line_shift);
        if first != last {
            self.general.ledger.owner_mut(operand.owner).straddles += 1;
        }
        for line in first..=last {
            if let Some(directory) = &mut self.general.directory {
                let (first, last) = operand.span(i);
                directory.begin(line, first, last);
            }
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
        if kind.writes() && self.general.directory.is_some() {
            let takes_over = self.general.cores[self.core].takes_stores_in;
            self.acquire(line, owner, takes_over);
        }
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
}
