//! Why a configuration was refused.

use std::fmt;

use crate::plugin::PluginError;

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
    /// A level lies below one that more cores share, or that whole clusters of it do not fit.
    PrivateBelowShared {
        /// The outer level.
        level: String,
    },
    /// A data or instruction cache lies below a unified one.
    SplitBelowUnified {
        /// The split level.
        level: String,
    },
    /// A TLB or page-walk cache that cannot be simulated.
    Translation {
        /// Which.
        buffer: &'static str,
        /// What is wrong.
        message: String,
    },
    /// A level's policy or prefetcher, of a shared library, cannot be made.
    Plugin {
        /// The level.
        level: String,
        /// Why.
        error: PluginError,
    },
    /// An option of a level has a value that cannot be simulated, or not together with others.
    Option {
        /// The level.
        level: String,
        /// The option.
        option: &'static str,
        /// What is wrong.
        message: String,
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
                write!(
                    f,
                    "{level}: a private cache cannot lie below a shared one, nor a cluster below one that does not fit into it"
                )
            }
            ConfigError::SplitBelowUnified { level } => {
                write!(
                    f,
                    "{level}: a data or instruction cache cannot lie below a unified one"
                )
            }
            ConfigError::Translation { buffer, message } => write!(f, "{buffer}: {message}"),
            ConfigError::Plugin { level, error } => write!(f, "{level}: {error}"),
            ConfigError::Option {
                level,
                option,
                message,
            } => write!(f, "{level}: {option}: {message}"),
        }
    }
}

impl std::error::Error for ConfigError {}
