//! Failures as a user meets them: one line and an exit status each.

use std::fmt;
use std::process::ExitCode;

/// What failed decides the exit status. A run that worked exits as its target did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Results could not be written: folder, permissions, full disk.
    Output,
    /// An unknown or wrong machine description.
    Machine,
    /// An unknown or wrong operator preset.
    Preset,
    /// The capture engine is missing or unusable.
    Engine,
    /// The stream from the target is corrupt.
    Stream,
    /// A profile that can't be read, or has no such column.
    Profile,
    /// The program exists but can't be run: not an ELF, wrong architecture, no permission.
    NotRunnable,
    /// No such program.
    NotFound,
}

/// Exit statuses, in the order of `memloupe help`. Those of a missing and a not runnable program are the shell's.
pub const EXIT_STATUSES: [(Kind, u8, &str); 8] = [
    (Kind::Output, 119, "the results could not be written"),
    (Kind::Machine, 120, "unknown or wrong machine description"),
    (Kind::Preset, 121, "unknown or wrong operator preset"),
    (Kind::Engine, 122, "the capture engine is missing or unusable"),
    (
        Kind::Stream,
        123,
        "the target's access stream or a trace is corrupt",
    ),
    (
        Kind::Profile,
        124,
        "the profile can't be read or does not have what was asked for",
    ),
    (Kind::NotRunnable, 126, "the program can't be run"),
    (Kind::NotFound, 127, "no such program"),
];

/// A failure of memloupe itself, not of the target.
#[derive(Debug)]
pub struct Failure {
    kind: Kind,
    message: String,
}

impl Failure {
    /// A failure with its one line.
    pub fn new(kind: Kind, message: impl fmt::Display) -> Self {
        Self {
            kind,
            message: message.to_string(),
        }
    }

    /// For `map_err`: the error's own text is the line.
    pub fn of<E: fmt::Display>(kind: Kind) -> impl Fn(E) -> Self {
        move |error| Self::new(kind, error)
    }

    /// The exit status.
    #[must_use]
    pub fn exit_code(&self) -> ExitCode {
        let status = EXIT_STATUSES
            .iter()
            .find(|(kind, _, _)| *kind == self.kind)
            .map_or(1, |(_, code, _)| *code);
        ExitCode::from(status)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}
