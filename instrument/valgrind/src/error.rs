//! What can keep the Valgrind engine from starting.

use std::fmt;
use std::io;
use std::path::PathBuf;

/// Why the Valgrind tool can't be used. Each message says how to mend it.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// memloupe was built on a machine without Valgrind's headers and archives.
    NotBuilt,
    /// There is no `valgrind` program on the search path.
    NotInstalled,
    /// The `valgrind` program does not tell its version.
    NoVersion {
        /// The program.
        program: PathBuf,
        /// What it said instead.
        output: String,
    },
    /// The installed Valgrind is not the one that the tool was compiled against.
    OtherVersion {
        /// The installed version.
        installed: String,
        /// The version compiled against.
        built_for: &'static str,
    },
    /// Valgrind's library folder, or a file in it, was not found.
    NoSupportFile {
        /// The file that was sought.
        file: &'static str,
        /// The folders searched.
        searched: Vec<PathBuf>,
    },
    /// The tool's files could not be put in place.
    Install {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotBuilt => write!(
                f,
                "valgrind: this memloupe was built without the Valgrind engine; `apt-get install valgrind` and build memloupe again"
            ),
            Self::NotInstalled => {
                write!(
                    f,
                    "valgrind: not found on the search path; `apt-get install valgrind`"
                )
            }
            Self::NoVersion { program, output } => write!(
                f,
                "valgrind: {} does not tell its version (it said {output:?}); reinstall it: `apt-get install --reinstall valgrind`",
                program.display()
            ),
            Self::OtherVersion { installed, built_for } => write!(
                f,
                "valgrind: version {installed} is installed, memloupe's tool was built for {built_for}; build memloupe again on this machine"
            ),
            Self::NoSupportFile { file, searched } => {
                write!(f, "valgrind: {file} not found in ")?;
                for (i, folder) in searched.iter().enumerate() {
                    write!(f, "{}{}", if i == 0 { "" } else { ", " }, folder.display())?;
                }
                write!(
                    f,
                    "; set VALGRIND_LIB to the folder that holds it, or `apt-get install --reinstall valgrind`"
                )
            }
            Self::Install { path, source } => {
                write!(f, "valgrind: cannot write {}: {source}", path.display())
            }
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Install { source, .. } => Some(source),
            _ => None,
        }
    }
}
