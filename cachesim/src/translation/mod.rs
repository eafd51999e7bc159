//! Address translation: TLBs, page-walk caches and page walks, private to each core.
//!
//! Modelled: first-level TLBs for data and instructions, a second level for both, LRU, filled by every walk and by hits
//! further out; walks of a four-level table of x86-64 that start below what the page-walk caches hold. All pages are of
//! one size. An access that straddles pages translates both.
//!
//! Not modelled: time; replacement other than LRU; separate arrays by page size; mixed page sizes; walks by several
//! walkers at once; walks on behalf of hardware prefetchers, which do not leave a page; accessed and dirty bits;
//! invalidation when memory is unmapped; nested paging.
//!
//! A run costs a look-up of each operand per page that it enters, not per access: iterations that stay in their pages and
//! hit throughout repeat the same hits in the same order, which LRU takes no notice of.

mod counters;
mod page_table;
mod tlb;

pub use counters::TranslationCounters;

use crate::cache::ADDRESS_BITS;
use crate::config::{TlbConfig, TranslationConfig};
use crate::run::{AccessKind, Operand, Run};
pub(crate) use page_table::Walk;
use page_table::Walker;
use tlb::Tlb;

#[derive(Debug)]
struct Core {
    data: Tlb,
    instruction: Option<Tlb>,
    unified: Option<Tlb>,
    walker: Walker,
}

/// The translation of all cores, with its counters.
#[derive(Debug)]
pub(crate) struct Translation {
    page_shift: u32,
    // The bits of a page number that count.
    page_mask: u64,
    cores: Vec<Core>,
    rows: Vec<TranslationCounters>,
    first_level_misses: u64,
}

impl Translation {
    /// The configuration must be valid.
    pub(crate) fn new(config: &TranslationConfig, cores: usize) -> Self {
        let tlb = |TlbConfig { entries, ways }| Tlb::new(entries, ways);
        let page_shift = config.page.shift();
        Self {
            page_shift,
            page_mask: (1 << (ADDRESS_BITS - page_shift)) - 1,
            cores: (0..cores)
                .map(|_| Core {
                    data: tlb(config.data),
                    instruction: config.instruction.map(tlb),
                    unified: config.unified.map(tlb),
                    walker: Walker::new(config.page, config.walk_cache_entries),
                })
                .collect(),
            rows: Vec::new(),
            first_level_misses: 0,
        }
    }

    pub(crate) fn reserve_owners(&mut self, owners: usize) {
        if owners > self.rows.len() {
            self.rows.resize(owners, TranslationCounters::default());
        }
    }

    pub(crate) fn counters(&self, owner: u32) -> &TranslationCounters {
        &self.rows[owner as usize]
    }

    /// Misses of all first levels so far.
    pub(crate) fn first_level_misses(&self) -> u64 {
        self.first_level_misses
    }

    /// Numbers of the first and the last page that iteration `i` of `operand` touches.
    #[inline(always)]
    pub(crate) fn pages(&self, operand: &Operand, i: u64) -> (u64, u64) {
        operand.lines(i, self.page_shift)
    }

    /// Translates every access of `run`; walks are counted only.
    pub(crate) fn run(&mut self, core: usize, run: Run<'_>) {
        let mut i = 0;
        while i < run.iterations {
            let before = self.first_level_misses;
            let mut dwell = run.iterations - i;
            for operand in run.operands {
                let (first, last) = self.pages(operand, i);
                for page in first..=last {
                    self.translate(core, operand.kind, page, operand.owner);
                }
                dwell = dwell.min(operand.dwell(i, self.page_shift));
            }
            i += 1;
            if dwell > 1 && self.first_level_misses == before {
                for operand in run.operands {
                    self.count_hits(core, operand, i, dwell - 1);
                }
                i += dwell - 1;
            }
        }
    }

    /// Counts iterations of `operand` from `i` on that touch the same pages and hit.
    pub(crate) fn count_hits(&mut self, core: usize, operand: &Operand, i: u64, times: u64) {
        let (first, last) = self.pages(operand, i);
        let pages = times * (last - first + 1);
        let row = &mut self.rows[operand.owner as usize];
        if operand.kind != AccessKind::Fetch {
            row.dtlb_accesses += pages;
        } else if self.cores[core].instruction.is_some() {
            row.itlb_accesses += pages;
        }
    }

    /// Looks `page` up, for an access by `core`. If no TLB holds it, it is walked for: what the walk reads is returned.
    #[inline]
    pub(crate) fn translate(&mut self, core: usize, kind: AccessKind, page: u64, owner: u32) -> Option<Walk> {
        let page = page & self.page_mask;
        let core = &mut self.cores[core];
        let row = &mut self.rows[owner as usize];
        if kind == AccessKind::Fetch {
            let tlb = core.instruction.as_mut()?;
            row.itlb_accesses += 1;
            if tlb.access(page) {
                return None;
            }
            row.itlb_misses += 1;
        } else {
            row.dtlb_accesses += 1;
            if core.data.access(page) {
                return None;
            }
            row.dtlb_misses += 1;
        }
        self.first_level_misses += 1;
        if let Some(unified) = &mut core.unified {
            row.stlb_accesses += 1;
            if unified.access(page) {
                return None;
            }
            row.stlb_misses += 1;
        }
        let walk = core.walker.walk(page << self.page_shift);
        row.page_walks += 1;
        row.walk_reads += walk.entries().len() as u64;
        Some(walk)
    }
}
