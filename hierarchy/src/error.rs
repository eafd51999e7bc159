//! What can be wrong with a machine.

use std::fmt;
use std::path::PathBuf;

use memloupe_cachesim::ConfigError;

/// Where in which machine file something stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Path of the file, or the name of the preset.
    pub file: String,
    /// Line, counted from 1.
    pub line: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

/// Why a machine was refused.
#[derive(Debug)]
#[non_exhaustive]
pub enum MachineError {
    /// Neither a preset nor a file.
    UnknownMachine {
        /// What was asked for.
        name: String,
        /// The preset that was probably meant.
        nearest: Option<String>,
        /// Names of all presets.
        presets: Vec<String>,
    },
    /// A machine file cannot be read.
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// A machine file is no TOML.
    Syntax {
        /// Where.
        place: Place,
        /// What the parser says.
        message: String,
    },
    /// A key that no machine has.
    UnknownKey {
        /// Where.
        place: Place,
        /// The key with its tables.
        key: String,
        /// The key that was probably meant.
        nearest: Option<String>,
    },
    /// A key that every machine needs is absent.
    MissingKey {
        /// The file.
        file: String,
        /// The key with its tables.
        key: String,
    },
    /// A value that its key does not take.
    BadValue {
        /// Where.
        place: Place,
        /// The key with its tables.
        key: String,
        /// What stands there.
        value: String,
        /// What the key takes.
        expected: String,
    },
    /// A machine extends itself, by way of others or directly.
    ExtendsItself {
        /// Where.
        place: Place,
        /// The machine that closes the circle.
        name: String,
    },
    /// The values are each valid, but not together.
    Inconsistent {
        /// The machine.
        machine: String,
        /// What contradicts what.
        message: String,
    },
    /// The caches cannot be simulated.
    Caches {
        /// The machine.
        machine: String,
        /// Why.
        error: ConfigError,
    },
}

impl fmt::Display for MachineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let meant = |nearest: &Option<String>| {
            nearest
                .as_ref()
                .map(|n| format!("; did you mean '{n}'?"))
                .unwrap_or_default()
        };
        match self {
            MachineError::UnknownMachine {
                name,
                nearest,
                presets,
            } => write!(
                f,
                "unknown machine '{name}'{}: give the path of a machine file or one of: {}",
                meant(nearest),
                presets.join(", ")
            ),
            MachineError::Read { path, error } => write!(f, "{}: {error}", path.display()),
            MachineError::Syntax { place, message } => write!(f, "{place}: {message}"),
            MachineError::UnknownKey { place, key, nearest } => {
                write!(f, "{place}: {key}: unknown key{}", meant(nearest))
            }
            MachineError::MissingKey { file, key } => write!(f, "{file}: {key}: missing"),
            MachineError::BadValue {
                place,
                key,
                value,
                expected,
            } => {
                write!(f, "{place}: {key}: {value} is not {expected}")
            }
            MachineError::ExtendsItself { place, name } => {
                write!(f, "{place}: extends: '{name}' extends itself in the end")
            }
            MachineError::Inconsistent { machine, message } => write!(f, "machine {machine}: {message}"),
            MachineError::Caches { machine, error } => write!(f, "machine {machine}: {error}"),
        }
    }
}

impl std::error::Error for MachineError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            MachineError::Read { error, .. } => Some(error),
            MachineError::Caches { error, .. } => Some(error),
            _ => None,
        }
    }
}
