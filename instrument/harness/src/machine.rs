//! `memloupe machine`: the machine descriptions there are, and whether one is right.

use std::fmt::Write;

use memloupe_attribute::Class;
use memloupe_hierarchy::dram::DramError;
use memloupe_hierarchy::{Curve, CurveOptions, Machine, MemoryDevice, Pattern, System};
use serde_json::json;

use crate::args::{CurveFormat, CurvePattern};
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
    let system = prepare(&machine)?;
    let memories: Vec<&str> = machine.memories().map(|memory| memory.device.as_str()).collect();
    let mut text = format!(
        "{name}: right ({} levels of cache, {})\n",
        machine.caches.len(),
        memories.join(" and ")
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

/// A machine at work, which knows the classes of data objects.
///
/// # Errors
/// [`Kind::Machine`] if it can't be simulated.
pub fn prepare(machine: &Machine) -> Result<System, Failure> {
    let mut system = System::new(machine).map_err(Failure::of(Kind::Machine))?;
    system
        .name_classes(&Class::ALL.map(Class::name))
        .map_err(Failure::of(Kind::Machine))?;
    Ok(system)
}

/// Bandwidth–latency curves of a machine's memories.
///
/// # Errors
/// [`Kind::Machine`] if there is no such machine or its file is wrong.
pub fn curve(name: &str, pattern: CurvePattern, format: CurveFormat) -> Result<String, Failure> {
    let machine = load(name)?;
    let options = CurveOptions {
        pattern: match pattern {
            CurvePattern::Sequential => Pattern::Sequential,
            CurvePattern::Random => Pattern::Random,
        },
        ..CurveOptions::default()
    };
    let memories: Vec<(&MemoryDevice, Vec<Curve>)> = machine
        .memories()
        .map(|memory| Ok((memory, machine.curves(memory, &options)?)))
        .collect::<Result<_, DramError>>()
        .map_err(Failure::of(Kind::Machine))?;
    Ok(match format {
        CurveFormat::Table => {
            let mut text = String::new();
            for (memory, curves) in &memories {
                if memories.len() > 1 {
                    let _ = writeln!(
                        text,
                        "{}memory {}",
                        if text.is_empty() { "" } else { "\n" },
                        memory.name
                    );
                }
                let peak = memory.peak_bytes_per_second(machine.line_bytes());
                text += &curve_table(curves, peak.map_err(Failure::of(Kind::Machine))?);
            }
            text
        }
        CurveFormat::Json => curve_json(&memories),
    })
}

/// A line per point and one that sums a curve up.
fn curve_table(curves: &[Curve], peak: f64) -> String {
    let mut text = format!("nominal peak {:.1} GB/s\n", peak / 1e9);
    for curve in curves {
        let _ = writeln!(
            text,
            "\n{:.0}% reads\n{:>12}  {:>12}  {:>7}  {:>12}",
            curve.read_share * 100.0,
            "offered GB/s",
            "used GB/s",
            "of peak",
            "latency ns"
        );
        for point in &curve.points {
            let _ = writeln!(
                text,
                "{:>12.1}  {:>12.1}  {:>6.1}%  {:>12.1}",
                point.offered_bytes_per_second / 1e9,
                point.bytes_per_second / 1e9,
                point.bytes_per_second / peak * 100.0,
                point.read_latency_ns
            );
        }
        let _ = write!(
            text,
            "unloaded {:.1} ns; at most {:.1} GB/s; ",
            curve.unloaded_ns(),
            curve.most_bytes_per_second() / 1e9
        );
        let _ = match curve.knee_bytes_per_second() {
            Some(knee) => writeln!(text, "latency has doubled at {:.1} GB/s", knee / 1e9),
            None => writeln!(
                text,
                "latency does not double: there are too few misses in flight"
            ),
        };
    }
    text
}

fn curve_json(memories: &[(&MemoryDevice, Vec<Curve>)]) -> String {
    let curves = memories
        .iter()
        .flat_map(|(memory, curves)| curves.iter().map(move |curve| (memory, curve)));
    let points = curves.flat_map(|(memory, curve)| {
        curve.points.iter().map(move |point| {
            json!({
                "memory": memory.name,
                "read_share": curve.read_share,
                "offered_gb_per_s": point.offered_bytes_per_second / 1e9,
                "bandwidth_gb_per_s": point.bytes_per_second / 1e9,
                "read_latency_ns": point.read_latency_ns,
                "knee_gb_per_s": curve.knee_bytes_per_second().map(|knee| knee / 1e9),
            })
        })
    });
    let points: Vec<serde_json::Value> = points.collect();
    format!("{:#}\n", serde_json::Value::Array(points))
}

fn load(name: &str) -> Result<Machine, Failure> {
    Machine::load(name).map_err(Failure::of(Kind::Machine))
}
