//! `--ops list`.

use std::fmt::Write;

use memloupe_attribute::Preset;

/// The table of `--ops list`.
#[must_use]
pub fn list() -> String {
    let mut text = String::new();
    for preset in Preset::list() {
        let _ = writeln!(text, "{:<12} {}", preset.name, preset.description);
    }
    text
}
