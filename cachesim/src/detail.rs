//! What the general path counts per owner beyond the [`Ledger`](crate::Ledger).

use std::ops::AddAssign;

/// Declares a struct of counters with its sum and a table of its fields, from which columns derive.
macro_rules! counters {
    ($(#[$about:meta])* $name:ident { $($(#[doc = $meaning:literal])+ $field:ident,)* }) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct $name {
            $($(#[doc = $meaning])+ pub $field: u64,)*
        }

        impl $name {
            /// Name, meaning and value of every counter.
            pub const FIELDS: &[Field<Self>] = &[$(Field {
                name: stringify!($field),
                meaning: concat!($($meaning),+),
                get: |counters| counters.$field,
            }),*];
        }

        impl AddAssign<&$name> for $name {
            fn add_assign(&mut self, other: &$name) {
                $(self.$field += other.$field;)*
            }
        }
    };
}

/// One counter of a struct of counters.
pub struct Field<C: 'static> {
    /// Its name.
    pub name: &'static str,
    /// What it counts.
    pub meaning: &'static str,
    /// Its value.
    pub get: fn(&C) -> u64,
}

pub(crate) use counters;

counters! {
    /// What happened at one level on behalf of one owner, in lines, beyond [`LevelCounters`](crate::LevelCounters).
    LevelDetail {
        /// Lines that came in, from wherever.
        fills,
        /// Lines that left to make room, charged to the owner that needed it.
        evictions,
        /// Lines that were taken away: by inclusion, exclusion or coherence.
        removals,
        /// Of the removals, those because an inclusive level further out lost the line.
        back_invalidations,
        /// Lines that the replacement policy or an empty partition let go past.
        bypasses,
        /// Misses that the victim cache answered.
        victim_hits,
        /// Misses whose tag was there with other sectors.
        sector_misses,
        /// Clean lines handed to an exclusive level.
        clean_victims,
        /// Stores that went on to the next level as stores.
        write_throughs,
        /// Of these, those that merged with one waiting in the write buffer.
        write_merges,
        /// Accesses to a line whose miss was still in flight; they count as hits.
        delayed_hits,
        /// Misses that found every MSHR taken.
        mshr_stalls,
        /// Sum over the misses of the misses then in flight, itself included: divided by misses, the parallelism.
        misses_in_flight,
        /// Look-ups on behalf of the prefetchers of levels nearer to the core.
        prefetch_lookups,
        /// Of these, those that missed.
        prefetch_lookup_misses,
        /// Entries of the page table that walks looked up.
        walk_lookups,
        /// Of these, those that missed.
        walk_lookup_misses,
        /// Lines that this level's prefetcher asked for, those that were there already not counted.
        prefetches_issued,
        /// Lines that it asked for though they were there.
        prefetches_redundant,
        /// Prefetched lines that were used, charged to the owner whose access asked for them.
        prefetches_useful,
        /// Accesses that hit because of a prefetch, charged to the owner of the access.
        prefetch_hits,
        /// Of the useful ones, those that were used within the miss window.
        prefetches_late,
        /// Prefetched lines that left without being used.
        prefetches_unused,
        /// Sum over the useful ones of the accesses of the cache from arrival to use.
        prefetch_lead_accesses,
        /// Demand misses on lines that a prefetch had replaced.
        prefetch_pollution,
        /// Misses on lines that this cache never held.
        compulsory,
        /// Misses that a fully associative LRU cache of this size would have had too.
        capacity,
        /// Misses that it would not have had.
        conflict,
        /// Misses on lines that another core's store had taken away.
        coherence,
        /// Lines that a core's store took away from other cores; they are removals too.
        invalidations,
        /// At the directory: stores to lines that the core held without the right to write.
        upgrades,
        /// At the directory: requests that another core's cache answered.
        interventions,
        /// At the directory: accesses of a core to what another has written since its store took the line away.
        true_sharing,
        /// At the directory: accesses to such a line, but not to what was written.
        false_sharing,
    }
}

/// The details of all owners.
#[derive(Clone, Debug)]
pub(crate) struct Details {
    levels: usize,
    rows: Vec<LevelDetail>,
}

impl Details {
    pub(crate) fn new(levels: usize) -> Self {
        Self {
            levels,
            rows: Vec::new(),
        }
    }

    pub(crate) fn reserve_owners(&mut self, owners: usize) {
        let rows = owners * self.levels;
        if rows > self.rows.len() {
            self.rows.resize(rows, LevelDetail::default());
        }
    }

    pub(crate) fn levels(&self, owner: u32) -> &[LevelDetail] {
        &self.rows[owner as usize * self.levels..][..self.levels]
    }

    #[inline(always)]
    pub(crate) fn level_mut(&mut self, owner: u32, level: usize) -> &mut LevelDetail {
        &mut self.rows[owner as usize * self.levels + level]
    }
}
