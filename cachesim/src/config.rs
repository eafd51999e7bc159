//! The shape of a cache hierarchy, and what makes one valid.

use std::fmt;

use crate::cache::most_ways;

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
            Scope::Shared => "shared",
        })
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
}

/// A whole hierarchy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Line size of every level.
    pub line_bytes: u32,
    /// The levels from the core outwards. An access walks those that may hold what it asks for, in this order.
    pub levels: Vec<CacheConfig>,
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

    /// Sets of the level at `position`; the configuration must be valid.
    pub(crate) fn sets(&self, position: usize) -> u64 {
        let level = &self.levels[position];
        level.bytes / (u64::from(level.ways) * u64::from(self.line_bytes))
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
        for (position, level) in self.levels.iter().enumerate() {
            let name = || level.name.clone();
            if level.ways == 0 {
                return Err(ConfigError::NoWays { level: name() });
            }
            let most = most_ways(self.line_bytes);
            if level.ways > most {
                return Err(ConfigError::TooManyWays {
                    level: name(),
                    ways: level.ways,
                    most,
                });
            }
            let set_bytes = u64::from(level.ways) * u64::from(self.line_bytes);
            if level.bytes == 0 || level.bytes % set_bytes != 0 {
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
            if level.scope == Scope::Private && inner.iter().any(|l| l.scope == Scope::Shared) {
                return Err(ConfigError::PrivateBelowShared { level: name() });
            }
            if level.contents != Contents::Unified && inner.iter().any(|l| l.contents == Contents::Unified) {
                return Err(ConfigError::SplitBelowUnified { level: name() });
            }
        }
        Ok(())
    }
}

// A simulated line costs 12 bytes, so 64 GiB of 64-byte lines are 12 GiB: beyond it a size is a mistake.
const MAX_BYTES: u64 = 64 << 30;

/// Why a configuration was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConfigError {
    /// No level holds data.
    NoDataLevel,
    /// No core at all.
    NoCores,
    /// The line size is no power of two from 8 to 65536.
    LineSize {
        /// What was asked for.
        line_bytes: u32,
    },
    /// A level has no ways.
    NoWays {
        /// Its name.
        level: String,
    },
    /// A level has more ways than can be simulated.
    TooManyWays {
        /// Its name.
        level: String,
        /// Its ways.
        ways: u32,
        /// How many there may be with this line size.
        most: u32,
    },
    /// A level's size is zero or no multiple of ways × line size.
    Size {
        /// Its name.
        level: String,
        /// Its size.
        bytes: u64,
        /// Ways × line size.
        set_bytes: u64,
    },
    /// A level is larger than 64 GiB.
    TooLarge {
        /// Its name.
        level: String,
        /// Its size.
        bytes: u64,
    },
    /// Two levels have one name.
    DuplicateName {
        /// The name.
        level: String,
    },
    /// A private level lies below a shared one.
    PrivateBelowShared {
        /// The private level.
        level: String,
    },
    /// A data or instruction cache lies below a unified one.
    SplitBelowUnified {
        /// The split level.
        level: String,
    },
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ConfigError::NoDataLevel => f.write_str("no cache holds data: add a data or unified cache"),
            ConfigError::NoCores => f.write_str("a machine needs at least one core"),
            ConfigError::LineSize { line_bytes } => {
                write!(
                    f,
                    "line size {line_bytes} B: it must be a power of two from 8 to 65536"
                )
            }
            ConfigError::NoWays { level } => write!(f, "{level}: ways must be at least 1"),
            ConfigError::TooManyWays { level, ways, most } => {
                write!(
                    f,
                    "{level}: {ways} ways are more than the {most} that are simulated with this line size"
                )
            }
            ConfigError::Size {
                level,
                bytes,
                set_bytes,
            } => {
                write!(
                    f,
                    "{level}: size {bytes} B is not a positive multiple of ways × line = {set_bytes} B"
                )
            }
            ConfigError::TooLarge { level, bytes } => {
                write!(
                    f,
                    "{level}: size {bytes} B is larger than the 64 GiB that are simulated"
                )
            }
            ConfigError::DuplicateName { level } => write!(f, "{level}: two caches have this name"),
            ConfigError::PrivateBelowShared { level } => {
                write!(f, "{level}: a private cache cannot lie below a shared one")
            }
            ConfigError::SplitBelowUnified { level } => {
                write!(
                    f,
                    "{level}: a data or instruction cache cannot lie below a unified one"
                )
            }
        }
    }
}

impl std::error::Error for ConfigError {}
