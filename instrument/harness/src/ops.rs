//! `--ops`: which operator presets to look for.

use std::fmt::Write;

use memloupe_attribute::Preset;

use crate::failure::{Failure, Kind};

/// Presets for a value of `--ops`.
///
/// # Errors
/// [`Kind::Preset`] if there is no such preset or its file is wrong.
pub fn load(choice: &str) -> Result<Vec<Preset>, Failure> {
    match choice {
        "none" => Ok(Vec::new()),
        "auto" => Ok(Preset::list()),
        name => Preset::load(name)
            .map(|preset| vec![preset])
            .map_err(Failure::of(Kind::Preset)),
    }
}

/// The table of `--ops list`.
#[must_use]
pub fn list() -> String {
    let mut text = String::new();
    for preset in Preset::list() {
        let _ = writeln!(text, "{:<12} {}", preset.name, preset.description);
    }
    text
}
