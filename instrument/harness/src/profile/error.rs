//! What can go wrong with a profile folder.

use std::fmt;
use std::io;
use std::path::PathBuf;

use super::{SCHEMA_VERSION, SUMMARY_FILE};

/// Why a profile can't be read or written.
#[derive(Debug)]
#[non_exhaustive]
pub enum ProfileError {
    /// There is nothing to read there.
    Missing(PathBuf),
    /// The folder holds no profile.
    NotAProfile(PathBuf),
    /// The run dropped its stream: there is a summary only.
    Discarded(PathBuf),
    /// The run did not simulate the machine that was asked for.
    NoSuchMachine {
        /// The folder.
        folder: PathBuf,
        /// The machine.
        name: String,
        /// Those that it simulated.
        known: Vec<String>,
    },
    /// A newer memloupe wrote it.
    Newer {
        /// The folder.
        folder: PathBuf,
        /// Its schema version.
        schema_version: u64,
    },
    /// A file of the profile is truncated or its content makes no sense.
    Damaged {
        /// The file.
        file: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// A file can't be read.
    Read {
        /// The file.
        file: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The destination exists and is something else: it is left alone.
    Foreign(PathBuf),
    /// A file or folder can't be written.
    Write {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl fmt::Display for ProfileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing(folder) => {
                write!(
                    f,
                    "no profile at {}: `memloupe run -o FOLDER -- PROGRAM` makes one",
                    folder.display()
                )
            }
            Self::NotAProfile(folder) => {
                write!(
                    f,
                    "{} is not a profile: it has no {SUMMARY_FILE}",
                    folder.display()
                )
            }
            Self::Discarded(folder) => write!(
                f,
                "{} has a summary only: it was run with --discard; run the program without it",
                folder.display()
            ),
            Self::NoSuchMachine { folder, name, known } => write!(
                f,
                "{}: the run did not simulate \"{name}\" but {}",
                folder.display(),
                known.join(", ")
            ),
            Self::Newer {
                folder,
                schema_version,
            } => write!(
                f,
                "{}: a newer memloupe wrote this profile (schema {schema_version}, this one reads up to {SCHEMA_VERSION})",
                folder.display()
            ),
            Self::Damaged { file, what } => {
                write!(f, "{}: damaged: {what}; run the program again", file.display())
            }
            Self::Read { file, source } => write!(f, "cannot read {}: {source}", file.display()),
            Self::Foreign(path) => write!(
                f,
                "{} exists and is not a profile, so it is left alone; name another folder with -o",
                path.display()
            ),
            Self::Write { path, source } => {
                write!(f, "cannot write {}: {source}", path.display())?;
                match source.kind() {
                    io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                        f.write_str("; free some space or name another folder with -o")
                    }
                    io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                        f.write_str("; name a folder that you may write with -o")
                    }
                    _ => Ok(()),
                }
            }
        }
    }
}

impl std::error::Error for ProfileError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Read { source, .. } | Self::Write { source, .. } => Some(source),
            _ => None,
        }
    }
}
