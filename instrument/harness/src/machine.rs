//! `memloupe machine`: the machine descriptions there are, and whether one is right.

use std::fmt::Write;

use memloupe_hierarchy::{Machine, System};

use crate::failure::{Failure, Kind};

/// The presets, a line each.
#[must_use]
pub fn list() -> String {
    let mut text = String::new();
    let width = Machine::presets().iter().map(|preset| preset.name.len()).max();
    let width = width.unwrap_or(0);
    for preset in Machine::presets() {
        let description =
            Machine::load(preset.name).map_or_else(|error| error.to_string(), |m| m.description);
        let _ = writeln!(text, "{:<width$}  {description}", preset.name);
    }
    text
}

/// A machine with every value resolved, as a machine file.
///
/// # Errors
/// [`Kind::Machine`] if there is no such machine or its file is wrong.
pub fn show(name: &str) -> Result<String, Failure> {
    Ok(load(name)?.to_toml())
}

/// One line for a machine that can be simulated.
///
/// # Errors
/// [`Kind::Machine`] with file, line and key of the first mistake.
pub fn check(name: &str) -> Result<String, Failure> {
    let machine = load(name)?;
    let system = System::new(&machine).map_err(Failure::of(Kind::Machine))?;
    let mut text = format!(
        "{name}: right ({} levels of cache, {})\n",
        machine.caches.len(),
        machine.memory.device
    );
    let reasons = machine.cache_config().general_path_reasons();
    if !reasons.is_empty() {
        let _ = writeln!(text, "simulated on the general path: {}", reasons.join("; "));
    } else if system.caches().simulates_runs() {
        text.push_str("simulated by runs: every level is plain\n");
    } else {
        text.push_str("simulated access by access: every level is plain, but shapes do not allow runs\n");
    }
    Ok(text)
}

fn load(name: &str) -> Result<Machine, Failure> {
    Machine::load(name).map_err(Failure::of(Kind::Machine))
}
