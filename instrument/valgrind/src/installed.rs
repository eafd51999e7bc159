//! The Valgrind installation of this machine.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::{BUILT_FOR, Error};

/// Folders where distributions keep Valgrind's own files; `VALGRIND_LIB` goes before them.
const SUPPORT_FOLDERS: [&str; 6] = [
    "/usr/libexec/valgrind",
    "/usr/lib/x86_64-linux-gnu/valgrind",
    "/usr/lib/valgrind",
    "/usr/lib64/valgrind",
    "/usr/local/libexec/valgrind",
    "/usr/local/lib/valgrind",
];

/// Files of the installation that a tool folder must hold too.
pub(crate) const SUPPORT_FILES: [&str; 2] = ["default.supp", "vgpreload_core-amd64-linux.so"];

/// A Valgrind that memloupe's tool can run under.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Installed {
    /// The launcher.
    pub program: PathBuf,
    /// Its version, equal to [`BUILT_FOR`].
    pub version: String,
    /// The folder of its support files.
    pub support: PathBuf,
}

/// Finds the installed Valgrind and checks that the tool fits it.
///
/// # Errors
/// The first thing in the way, with its remedy.
pub fn probe() -> Result<Installed, Error> {
    let built_for = BUILT_FOR.ok_or(Error::NotBuilt)?;
    let program =
        find_program(env::var_os("PATH").unwrap_or_default().as_ref()).ok_or(Error::NotInstalled)?;
    let version = version_of(&program)?;
    if version != built_for {
        return Err(Error::OtherVersion {
            installed: version,
            built_for,
        });
    }
    let own = env::var_os("VALGRIND_LIB").map(PathBuf::from);
    let support = find_support(own.into_iter().chain(SUPPORT_FOLDERS.iter().map(PathBuf::from)))?;
    Ok(Installed {
        program,
        version,
        support,
    })
}

fn find_program(search_path: &std::ffi::OsStr) -> Option<PathBuf> {
    env::split_paths(search_path)
        .map(|folder| folder.join("valgrind"))
        .find(|program| program.is_file())
}

/// `valgrind --version` prints `valgrind-3.19.0`.
fn version_of(program: &Path) -> Result<String, Error> {
    let output = Command::new(program)
        .arg("--version")
        .env_remove("VALGRIND_OPTS")
        .stdin(Stdio::null())
        .output()
        .map_err(|_| Error::NotInstalled)?;
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    text.strip_prefix("valgrind-")
        .map(str::to_owned)
        .ok_or_else(|| Error::NoVersion {
            program: program.to_owned(),
            output: text.clone(),
        })
}

fn find_support(folders: impl Iterator<Item = PathBuf>) -> Result<PathBuf, Error> {
    let mut searched = Vec::new();
    for folder in folders {
        if SUPPORT_FILES.iter().all(|file| folder.join(file).is_file()) {
            return Ok(folder);
        }
        searched.push(folder);
    }
    Err(Error::NoSupportFile {
        file: SUPPORT_FILES[1],
        searched,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_search_path_without_valgrind_finds_none() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(find_program(folder.path().as_os_str()), None);
    }

    #[test]
    fn a_support_folder_must_hold_every_file() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(SUPPORT_FILES[0]), "").unwrap();
        let candidates = || [PathBuf::from("/nonexistent"), folder.path().to_owned()].into_iter();
        let error = find_support(candidates()).unwrap_err();
        let message = error.to_string();
        assert!(
            message.contains(SUPPORT_FILES[1]) && message.contains("/nonexistent, "),
            "{message}"
        );

        std::fs::write(folder.path().join(SUPPORT_FILES[1]), "").unwrap();
        assert_eq!(find_support(candidates()).unwrap(), folder.path());
    }

    #[test]
    fn a_program_that_is_no_valgrind_is_told_apart() {
        let error = version_of(Path::new("/bin/echo")).unwrap_err();
        assert!(matches!(error, Error::NoVersion { .. }), "{error}");
    }
}
