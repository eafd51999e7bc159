//! One capture: a program run under memloupe with its profile in a folder of its own.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

use crate::program::memloupe;
use crate::report::{Rows, Summary};

/// A finished capture. Its profile goes when it is dropped.
#[derive(Debug)]
pub struct Capture {
    folder: TempDir,
    /// What memloupe and the target printed, and the exit status.
    pub output: Output,
}

impl Capture {
    /// `memloupe run OPTIONS -- PROGRAM ARGUMENTS`.
    #[must_use]
    pub fn run<A: AsRef<OsStr>>(options: &[&str], program: &Path, arguments: &[A]) -> Self {
        let folder = tempfile::tempdir().expect("temporary folder");
        let output = Self::command(folder.path(), options, program, arguments)
            .output()
            .expect("memloupe");
        Self { folder, output }
    }

    /// The command of a run that writes its profile to FOLDER/profile, not started yet.
    #[must_use]
    pub fn command<A: AsRef<OsStr>>(
        folder: &Path,
        options: &[&str],
        program: &Path,
        arguments: &[A],
    ) -> Command {
        let mut command = Command::new(memloupe());
        command
            .arg("run")
            .args(options)
            .arg("-o")
            .arg(folder.join("profile"))
            .arg("--")
            .arg(program)
            .args(arguments);
        command
    }

    /// A run that must succeed.
    #[must_use]
    pub fn success<A: AsRef<OsStr>>(options: &[&str], program: &Path, arguments: &[A]) -> Self {
        let capture = Self::run(options, program, arguments);
        assert!(
            capture.output.status.success(),
            "{}: {}",
            capture.output.status,
            capture.stderr()
        );
        capture
    }

    /// Standard error as text.
    #[must_use]
    pub fn stderr(&self) -> String {
        String::from_utf8_lossy(&self.output.stderr).into_owned()
    }

    /// The profile's folder.
    #[must_use]
    pub fn profile(&self) -> PathBuf {
        self.folder.path().join("profile")
    }

    /// `profile.json`.
    #[must_use]
    pub fn summary(&self) -> Summary {
        Summary::read(&self.profile())
    }

    /// `memloupe report --by KEYS --format json`.
    #[must_use]
    pub fn report(&self, by: &str) -> Rows {
        Rows::read(&self.profile(), by)
    }
}
