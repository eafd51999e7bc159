//! What a level may do beyond the plain cache: LRU, write-back, write-allocate, neither inclusive nor exclusive.

use std::fmt;

use crate::prefetch;
use crate::replacement;

/// When a store's data goes further out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WritePolicy {
    /// When the line is replaced.
    #[default]
    Back,
    /// At once: the level never holds a dirty line.
    Through,
}

/// What a level holds of what the levels nearer to the core hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Inclusion {
    /// Whatever the accesses leave: neither inclusive nor exclusive.
    #[default]
    Nine,
    /// All of it: a line that leaves is taken from the inner levels too.
    Inclusive,
    /// None of it: filled by the victims of the inner levels, emptied by their misses.
    Exclusive,
}

/// How private caches below a directory are kept coherent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// Modified, exclusive, shared, invalid: dirty data that another core asks for is written back.
    Mesi,
    /// With owned: it stays dirty where it is, and is handed from cache to cache.
    Moesi,
}

/// What an owner's or a core's share of the ways is told by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PartitionBy {
    /// The core that asks.
    Core,
    /// The class of the owner; see [`crate::OwnerTraits`].
    Class,
}

/// Way partitioning: who may replace lines in which ways. Hits are found in all ways.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partition {
    /// What selects the mask.
    pub by: PartitionBy,
    /// By core or class, a mask of ways; the last one serves all further cores or classes. A zero mask means that their
    /// lines go past this level.
    pub masks: Vec<u64>,
}

macro_rules! named {
    ($type:ty { $($variant:path = $name:literal),* $(,)? }) => {
        impl $type {
            /// Every value.
            pub const ALL: &[Self] = &[$($variant),*];
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self { $($variant => $name),* })
            }
        }
    };
}

named!(WritePolicy { WritePolicy::Back = "back", WritePolicy::Through = "through" });
named!(Inclusion {
    Inclusion::Nine = "nine",
    Inclusion::Inclusive = "inclusive",
    Inclusion::Exclusive = "exclusive",
});
named!(Protocol { Protocol::Mesi = "mesi", Protocol::Moesi = "moesi" });
named!(PartitionBy { PartitionBy::Core = "core", PartitionBy::Class = "class" });

/// What a level does beyond the plain cache; the default is the plain cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LevelOptions {
    /// Which line leaves a full set.
    pub replacement: &'static replacement::Builtin,
    /// Seed of a replacement policy that draws lots.
    pub seed: u64,
    /// When stores go further out.
    pub write: WritePolicy,
    /// Whether a store that misses takes the line in; if not, it goes on to the next level.
    pub write_allocate: bool,
    /// What it holds of the inner levels' lines.
    pub inclusion: Inclusion,
    /// Lines that share a tag, each with its own valid and dirty bit: a power of two up to 16. With more than 1 the
    /// hierarchy's line is what is commonly called a sector.
    pub sectors: u32,
    /// Slices that a hash of the address spreads the sets over; 1: the set is the line number modulo the sets.
    pub slices: u32,
    /// Lines of a fully associative LRU victim cache beside it; 0: none.
    pub victim_lines: u32,
    /// Miss status holding registers; 0: misses in flight are not modelled.
    pub mshrs: u32,
    /// For how many accesses of this cache a miss stays in flight; a prefetched line that is used within as many would
    /// have been late.
    pub miss_window_accesses: u32,
    /// Lines of a merging buffer for the stores that leave this level as stores; 0: none.
    pub write_buffer_lines: u32,
    /// What is fetched before it is asked for.
    pub prefetcher: Option<&'static prefetch::Builtin>,
    /// Who may replace what.
    pub partition: Option<Partition>,
    /// How a directory at this level keeps the private caches below it coherent; `None`: they are not.
    pub coherence: Option<Protocol>,
    /// Tell compulsory, capacity, conflict and coherence misses apart.
    pub classify: bool,
    /// Record the accesses that reach the level, to tell at the end what Belady's OPT would have missed: 12 bytes each.
    pub opt_bound: bool,
}

impl Default for LevelOptions {
    fn default() -> Self {
        Self {
            replacement: replacement::LRU,
            seed: 0,
            write: WritePolicy::Back,
            write_allocate: true,
            inclusion: Inclusion::Nine,
            sectors: 1,
            slices: 1,
            victim_lines: 0,
            mshrs: 0,
            miss_window_accesses: 0,
            write_buffer_lines: 0,
            prefetcher: None,
            partition: None,
            coherence: None,
            classify: false,
            opt_bound: false,
        }
    }
}

impl LevelOptions {
    /// What makes the level more than a plain cache, in words; empty if nothing does.
    pub fn beyond_plain(&self) -> Vec<String> {
        let plain = Self::default();
        let mut reasons = Vec::new();
        let mut reason = |differs: bool, text: String| {
            if differs {
                reasons.push(text);
            }
        };
        reason(
            self.replacement != plain.replacement,
            format!("replacement {}", self.replacement.name),
        );
        reason(self.write != plain.write, format!("write-{}", self.write));
        reason(!self.write_allocate, "no write-allocate".into());
        reason(self.inclusion != plain.inclusion, self.inclusion.to_string());
        reason(self.sectors > 1, format!("{} sectors", self.sectors));
        reason(self.slices > 1, format!("{} hashed slices", self.slices));
        reason(self.victim_lines > 0, "victim cache".into());
        reason(self.mshrs > 0, "MSHRs".into());
        reason(self.write_buffer_lines > 0, "write buffer".into());
        let prefetcher = self.prefetcher.map_or("", |builtin| builtin.name);
        reason(self.prefetcher.is_some(), format!("prefetcher {prefetcher}"));
        reason(self.partition.is_some(), "way partitioning".into());
        let protocol = self
            .coherence
            .map_or(String::new(), |protocol| protocol.to_string());
        reason(self.coherence.is_some(), format!("coherence {protocol}"));
        reason(self.classify, "miss classification".into());
        reason(self.opt_bound, "OPT bound".into());
        reasons
    }
}
