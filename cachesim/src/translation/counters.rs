//! What translation counts.

use crate::detail::{Field, counters};
use std::ops::AddAssign;

counters! {
    /// Translations on behalf of one owner, in pages touched.
    TranslationCounters {
        /// Pages of data accesses, each looked up in the data TLB.
        dtlb_accesses,
        /// Of these, those that it did not hold.
        dtlb_misses,
        /// Pages of instruction fetches, each looked up in the instruction TLB.
        itlb_accesses,
        /// Of these, those that it did not hold.
        itlb_misses,
        /// Misses of the first level that the unified TLB was asked for.
        stlb_accesses,
        /// Of these, those that it did not hold.
        stlb_misses,
        /// Walks of the page table.
        page_walks,
        /// Entries of the page table that walks read.
        walk_reads,
    }
}
