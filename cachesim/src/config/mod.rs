//! The shape of a cache hierarchy, and what makes one valid.

mod error;
mod options;
mod translation;

use std::fmt;

use crate::cache::most_ways;
use crate::general::MOST_CORES;

pub use error::ConfigError;
pub use options::{Inclusion, LevelOptions, Partition, PartitionBy, Protocol, WritePolicy};
pub use translation::{PageSize, TlbConfig, TranslationConfig, Walks};

/// What a cache may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Contents {
    /// Data only: a first-level data cache.
    Data,
    /// Instructions only: a first-level instruction cache.
    Instruction,
    /// Both.
    Unified,
}

/// Who uses one instance of a cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Each core has its own.
    Private,
    /// So many cores with neighbouring numbers use one.
    Cluster(u32),
    /// All cores use one.
    Shared,
}

impl fmt::Display for Contents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Contents::Data => "data",
            Contents::Instruction => "instruction",
            Contents::Unified => "unified",
        })
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Scope::Private => "private",
            Scope::Cluster(cores) => return write!(f, "cluster of {cores}"),
            Scope::Shared => "shared",
        })
    }
}

impl Scope {
    /// How many cores use one instance, of `cores` in all.
    pub(crate) fn cores_per_instance(self, cores: usize) -> usize {
        match self {
            Scope::Private => 1,
            Scope::Cluster(size) => (size as usize).min(cores),
            Scope::Shared => cores,
        }
    }
}

/// One level.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheConfig {
    /// Name in reports and errors, such as `l1d`.
    pub name: String,
    /// What it holds.
    pub contents: Contents,
    /// Who uses it.
    pub scope: Scope,
    /// Capacity of one instance.
    pub bytes: u64,
    /// Associativity.
    pub ways: u32,
    /// What it does beyond the plain cache.
    pub options: LevelOptions,
}

/// A whole hierarchy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Line size of every level.
    pub line_bytes: u32,
    /// The levels from the core outwards. An access walks those that may hold what it asks for, in this order.
    pub levels: Vec<CacheConfig>,
    /// TLBs and page walks; `None`: addresses are not translated.
    pub translation: Option<TranslationConfig>,
}

impl Config {
    /// The positions of the levels that a data access walks.
    pub fn data_path(&self) -> Vec<usize> {
        self.path(Contents::Instruction)
    }

    /// The positions of the levels that an instruction fetch walks; empty if fetches are not simulated, which is
    /// so when the level nearest to the core holds data only and there is no instruction cache.
    pub fn fetch_path(&self) -> Vec<usize> {
        let path = self.path(Contents::Data);
        let starts_at_core = self.levels.iter().any(|l| l.contents == Contents::Instruction)
            || self
                .levels
                .first()
                .is_some_and(|l| l.contents == Contents::Unified);
        if starts_at_core { path } else { Vec::new() }
    }

    fn path(&self, without: Contents) -> Vec<usize> {
        (0..self.levels.len())
            .filter(|&i| self.levels[i].contents != without)
            .collect()
    }

    /// Why the machine is simulated access by access on the general path, in words; empty if every level is plain.
    pub fn general_path_reasons(&self) -> Vec<String> {
        let of_level = |level: &CacheConfig| {
            let name = level.name.clone();
            let reasons = level.options.beyond_plain().into_iter();
            reasons.map(move |reason| format!("{name}: {reason}"))
        };
        let walks = self
            .walks_are_cached()
            .then(|| "page walks read in the caches".into());
        self.levels.iter().flat_map(of_level).chain(walks).collect()
    }

    /// Whether page walks read in the caches.
    pub(crate) fn walks_are_cached(&self) -> bool {
        let translation = self.translation.as_ref();
        translation.is_some_and(|translation| translation.walks == Walks::Cached)
    }

    /// Sets of the level at `position`; the configuration must be valid.
    pub(crate) fn sets(&self, position: usize) -> u64 {
        let level = &self.levels[position];
        level.bytes / (u64::from(level.ways) * self.tag_bytes(level))
    }

    /// How much one tag stands for.
    fn tag_bytes(&self, level: &CacheConfig) -> u64 {
        u64::from(self.line_bytes) * u64::from(level.options.sectors)
    }

    /// Refuses what cannot be simulated.
    pub fn validate(&self) -> Result<(), ConfigError> {
        if !self.line_bytes.is_power_of_two() || !(8..=1 << 16).contains(&self.line_bytes) {
            return Err(ConfigError::LineSize {
                line_bytes: self.line_bytes,
            });
        }
        if self.data_path().is_empty() {
            return Err(ConfigError::NoDataLevel);
        }
        if let Some((buffer, message)) = self.translation.as_ref().and_then(TranslationConfig::mistake) {
            return Err(ConfigError::Translation { buffer, message });
        }
        if self.walks_are_cached() && self.line_bytes > PageSize::Base.bytes() as u32 {
            let message = format!("lines of {} B are larger than a page table", self.line_bytes);
            return Err(ConfigError::Translation {
                buffer: "page walks",
                message,
            });
        }
        let plain = self.general_path_reasons().is_empty();
        for position in 0..self.levels.len() {
            self.validate_shape(position, plain)?;
            self.validate_options(position)?;
        }
        Ok(())
    }

    /// Refuses more cores than a directory knows.
    pub(crate) fn validate_cores(&self, cores: usize) -> Result<(), ConfigError> {
        let directory = self
            .levels
            .iter()
            .position(|level| level.options.coherence.is_some());
        match directory.filter(|_| cores > MOST_CORES) {
            Some(at) => self.refuse(
                at,
                "coherence",
                &format!("a directory knows {MOST_CORES} cores, not {cores}"),
            ),
            None => Ok(()),
        }
    }

    /// Refuses what the general path cannot simulate of a valid configuration.
    pub(crate) fn validate_for_general_path(&self) -> Result<(), ConfigError> {
        (0..self.levels.len()).try_for_each(|position| self.validate_shape(position, false))
    }

    fn validate_shape(&self, position: usize, plain: bool) -> Result<(), ConfigError> {
        let level = &self.levels[position];
        let name = || level.name.clone();
        if level.ways == 0 {
            return Err(ConfigError::NoWays { level: name() });
        }
        let most = if plain {
            most_ways(self.line_bytes)
        } else {
            MOST_WAYS_GENERAL
        };
        if level.ways > most {
            return Err(ConfigError::TooManyWays {
                level: name(),
                ways: level.ways,
                most,
            });
        }
        let sectors = level.options.sectors;
        if !sectors.is_power_of_two() || sectors > MOST_SECTORS {
            return self.refuse(position, "sectors", "must be a power of two up to 16");
        }
        let slices = level.options.slices;
        if !(1..=MOST_SLICES).contains(&slices) {
            return self.refuse(position, "slices", "must be from 1 to 256");
        }
        let set_bytes = u64::from(level.ways) * self.tag_bytes(level) * u64::from(slices);
        if level.bytes == 0 || !level.bytes.is_multiple_of(set_bytes) {
            return Err(ConfigError::Size {
                level: name(),
                bytes: level.bytes,
                set_bytes,
            });
        }
        if level.bytes > MAX_BYTES {
            return Err(ConfigError::TooLarge {
                level: name(),
                bytes: level.bytes,
            });
        }
        let inner = &self.levels[..position];
        if inner.iter().any(|l| l.name == level.name) {
            return Err(ConfigError::DuplicateName { level: name() });
        }
        let nests = |inner: Scope| match (inner, level.scope) {
            (Scope::Private, _) | (_, Scope::Shared) => true,
            (Scope::Cluster(inner), Scope::Cluster(outer)) => inner != 0 && outer % inner == 0,
            _ => false,
        };
        if level.scope == Scope::Cluster(0) {
            return self.refuse(position, "scope", "a cluster needs at least one core");
        }
        if !inner.iter().all(|l| nests(l.scope)) {
            return Err(ConfigError::PrivateBelowShared { level: name() });
        }
        if level.contents != Contents::Unified && inner.iter().any(|l| l.contents == Contents::Unified) {
            return Err(ConfigError::SplitBelowUnified { level: name() });
        }
        Ok(())
    }

    fn validate_options(&self, position: usize) -> Result<(), ConfigError> {
        let level = &self.levels[position];
        let options = &level.options;
        let refuse = |option, message: &str| self.refuse(position, option, message);
        let has_inner = self.levels[..position]
            .iter()
            .any(|inner| inner.contents != Contents::Instruction);
        if options.inclusion != Inclusion::Nine && !has_inner {
            return refuse("inclusion", "the level nearest to the core has no inner level");
        }
        for (option, value, most) in [
            ("victim lines", options.victim_lines, MOST_BUFFERED),
            ("MSHRs", options.mshrs, MOST_BUFFERED),
            ("write buffer", options.write_buffer_lines, MOST_BUFFERED),
            ("miss window", options.miss_window_accesses, 1 << 20),
        ] {
            if value > most {
                return refuse(
                    option,
                    &format!("{value} is more than the {most} that are simulated"),
                );
            }
        }
        if options.coherence.is_some() {
            let inner_are_private = self.levels[..position]
                .iter()
                .all(|inner| inner.scope == Scope::Private);
            if level.scope != Scope::Shared || !has_inner || !inner_are_private {
                return refuse(
                    "coherence",
                    "the directory's level must be the first that cores share, with private data caches inside, and shared by all",
                );
            }
        }
        if options.mshrs > 0 && options.miss_window_accesses == 0 {
            return refuse("MSHRs", "need a miss window in accesses");
        }
        if options.miss_window_accesses > 0 && options.mshrs == 0 && options.prefetcher.is_none() {
            return refuse("miss window", "is of MSHRs or a prefetcher, and there is neither");
        }
        if let Some(partition) = &options.partition {
            if partition.masks.is_empty() {
                return refuse("partition", "needs at least one mask of ways");
            }
            let ways = u64::MAX >> (u64::BITS - level.ways);
            if let Some(mask) = partition.masks.iter().find(|&mask| mask & !ways != 0) {
                return refuse(
                    "partition",
                    &format!("mask {mask:#x} names ways beyond the {}", level.ways),
                );
            }
            if options.inclusion == Inclusion::Inclusive && partition.masks.contains(&0) {
                return refuse(
                    "partition",
                    "an inclusive level holds every line, so no mask may be empty",
                );
            }
        }
        Ok(())
    }

    fn refuse(&self, position: usize, option: &'static str, message: &str) -> Result<(), ConfigError> {
        Err(ConfigError::Option {
            level: self.levels[position].name.clone(),
            option,
            message: message.into(),
        })
    }
}

// A simulated line costs 12 bytes, so 64 GiB of 64-byte lines are 12 GiB: beyond it a size is a mistake.
const MAX_BYTES: u64 = 64 << 30;
/// Sets of ways are words of 64 bits on the general path.
const MOST_WAYS_GENERAL: u32 = 64;
/// The bits of a tag's lines are words of 16 bits.
pub(crate) const MOST_SECTORS: u32 = 16;
const MOST_SLICES: u32 = 256;
/// Small fully associative structures are searched one by one.
const MOST_BUFFERED: u32 = 256;
