//! Counters per owner and level.

use std::ops::AddAssign;

/// Why a line was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Cause {
    /// A load, a read-modify-write or an instruction fetch.
    Read = 0,
    /// A store; below the first level, the fill on behalf of a store (read for ownership).
    Write = 1,
    /// A software prefetch.
    Prefetch = 2,
}

/// What happened at one level on behalf of one owner, in lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LevelCounters {
    /// Line accesses by [`Cause`]. At the first level, those of the program; further down, the misses above.
    pub accesses: [u64; 3],
    /// Those among `accesses` that missed, each of which filled the line.
    pub misses: [u64; 3],
    /// Dirty victims that left this level, charged to the owner that last wrote them.
    pub writebacks: u64,
    /// Writebacks from above that missed here and took a line without fetching it.
    pub writeback_misses: u64,
}

impl LevelCounters {
    /// Line accesses, prefetches included, writebacks from above not.
    pub fn line_accesses(&self) -> u64 {
        self.accesses.iter().sum()
    }

    /// Misses, prefetches included.
    pub fn total_misses(&self) -> u64 {
        self.misses.iter().sum()
    }

    /// Misses that the program waited for: reads and writes.
    pub fn demand_misses(&self) -> u64 {
        self.misses[Cause::Read as usize] + self.misses[Cause::Write as usize]
    }

    /// Hits that the program waited for: reads and writes.
    pub fn demand_hits(&self) -> u64 {
        self.accesses[Cause::Read as usize] + self.accesses[Cause::Write as usize] - self.demand_misses()
    }

    /// Hits, prefetches included.
    pub fn hits(&self) -> u64 {
        self.line_accesses() - self.total_misses()
    }

    /// Lines that entered this level: each miss and each writeback that missed.
    pub fn fills(&self) -> u64 {
        self.total_misses() + self.writeback_misses
    }
}

impl AddAssign<&LevelCounters> for LevelCounters {
    fn add_assign(&mut self, other: &LevelCounters) {
        for (mine, theirs) in self.accesses.iter_mut().zip(other.accesses) {
            *mine += theirs;
        }
        for (mine, theirs) in self.misses.iter_mut().zip(other.misses) {
            *mine += theirs;
        }
        self.writebacks += other.writebacks;
        self.writeback_misses += other.writeback_misses;
    }
}

/// What happened on behalf of one owner at no particular level.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OwnerCounters {
    /// Accesses that touched more than one line.
    pub straddles: u64,
    /// Line accesses of non-temporal stores; they are in no level's `accesses`.
    pub non_temporal_lines: u64,
}

impl AddAssign<&OwnerCounters> for OwnerCounters {
    fn add_assign(&mut self, other: &OwnerCounters) {
        self.straddles += other.straddles;
        self.non_temporal_lines += other.non_temporal_lines;
    }
}

/// The counters of all owners. An owner is an index; rows are added by [`crate::Caches::reserve_owners`].
#[derive(Clone, Debug)]
pub struct Ledger {
    levels: usize,
    // Owner-major: the levels of one owner are neighbours, 64 bytes each.
    rows: Vec<LevelCounters>,
    owners: Vec<OwnerCounters>,
    // By level, over all owners: for a view of the run so far that does not add up every row.
    misses: Vec<u64>,
}

impl Ledger {
    pub(crate) fn new(levels: usize) -> Self {
        Self {
            levels,
            rows: Vec::new(),
            owners: Vec::new(),
            misses: vec![0; levels],
        }
    }

    pub(crate) fn reserve_owners(&mut self, owners: usize) {
        if owners > self.owners.len() {
            self.owners.resize(owners, OwnerCounters::default());
            self.rows.resize(owners * self.levels, LevelCounters::default());
        }
    }

    /// How many owners have a row.
    pub fn owner_count(&self) -> usize {
        self.owners.len()
    }

    /// The counters of `owner`, one entry per level in the order of the configuration.
    ///
    /// # Panics
    /// If `owner` was not reserved.
    pub fn levels(&self, owner: u32) -> &[LevelCounters] {
        &self.rows[owner as usize * self.levels..][..self.levels]
    }

    /// The counters of `owner` that belong to no level.
    ///
    /// # Panics
    /// If `owner` was not reserved.
    pub fn owner(&self, owner: u32) -> &OwnerCounters {
        &self.owners[owner as usize]
    }

    /// Misses of a level so far, over all owners.
    pub fn total_misses(&self, level: usize) -> u64 {
        self.misses[level]
    }

    /// The counters of all owners, levels of one behind one another; how many these are; what belongs to no level.
    #[inline(always)]
    pub(crate) fn rows_mut(&mut self) -> (&mut [LevelCounters], usize, &mut [OwnerCounters]) {
        (&mut self.rows, self.levels, &mut self.owners)
    }

    #[inline(always)]
    pub(crate) fn miss(&mut self, owner: u32, level: usize, cause: usize, lines: u64) {
        self.misses[level] += lines;
        self.level_mut(owner, level).misses[cause] += lines;
    }

    #[inline(always)]
    pub(crate) fn level_mut(&mut self, owner: u32, level: usize) -> &mut LevelCounters {
        &mut self.rows[owner as usize * self.levels + level]
    }

    #[inline(always)]
    pub(crate) fn owner_mut(&mut self, owner: u32) -> &mut OwnerCounters {
        &mut self.owners[owner as usize]
    }
}
