//! memloupe's Valgrind engine: carries the Valgrind tool that the build script compiled from `src/tool` and
//! `src/preload`, puts it in place and starts a program under it.
//!
//! The tool itself is a separate program under GPL-2.0-or-later (`COPYING`); it shares with memloupe only the
//! stream protocol. It observes less than the native engine: no AVX-512 or AMX (Valgrind hides them from the
//! target), no software prefetches, no non-temporal hints, no heap events of statically linked programs, one
//! thread at a time.
#![forbid(unsafe_code)]

mod artefact;
mod error;
mod installed;
mod tool;

pub use artefact::BUILT_FOR;
pub use error::Error;
pub use installed::{Installed, probe};
pub use tool::{Tool, install};
