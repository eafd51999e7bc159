//! Which functions of a module can be probed, by which rules.

use std::path::Path;

use memloupe_stream::Fetch;

use super::abi;
use super::absent::Absences;
use super::dwarf::{self, Debug};
use super::function::{Function, functions};
use super::meaning::{Mark, Meaning};
use super::plan::Plan;
use super::preset::{Preset, ProbeRule};
use super::virtual_function::{Classes, FunctionName};
use crate::module::{Binary, Image, ImageError};
use crate::region::RegionName;

/// What is missing, and how to get it.
const NO_DEBUG: &str =
    "no debug information: compile with -g, or install its debug symbols (Debian: the -dbgsym package)";

/// A probe that can be set.
pub(super) struct Found {
    pub(super) address: u64,
    pub(super) fetches: Vec<Fetch>,
    pub(super) meaning: Meaning,
    /// Whether the user's region is entered with it.
    pub(super) is_region: bool,
}

/// What a program calls to mark a region, exported by the capture engines' preloaded libraries.
const MARKERS: [(&str, Mark); 2] = [
    ("memloupe_marker_region_begin", Mark::Begin),
    ("memloupe_marker_region_end", Mark::End),
];

/// Finds what can be probed in a file that is loaded `bias` above its link-time addresses; `notes` gets what can't.
pub(super) fn search(
    presets: &[Preset],
    region: Option<&RegionName>,
    path: &Path,
    bias: u64,
    absences: &mut Absences,
    notes: &mut Vec<String>,
) -> Result<Vec<Found>, String> {
    let binary = match Binary::open(path) {
        Ok(binary) => binary,
        Err(ImageError::NotElf(..)) => return Ok(Vec::new()),
        Err(ImageError::Io(_, error)) => return Err(error.to_string()),
    };
    absences.searched(path);
    let names = presets
        .iter()
        .flat_map(|preset| &preset.probe)
        .flat_map(|rule| &rule.functions);
    let region_functions = region.and_then(RegionName::functions);
    let patterns: Vec<_> = names
        .clone()
        .filter_map(FunctionName::symbol)
        .chain(region_functions)
        .map(|pattern| (pattern, pattern.words().collect::<Vec<_>>()))
        .collect();
    let maybe = |symbol: &str| {
        patterns
            .iter()
            .any(|(_, words)| words.iter().all(|word| symbol.contains(word)))
            || is_marker(symbol)
    };
    let wanted = |name: &str| patterns.iter().any(|(pattern, _)| pattern.matches(name)) || is_marker(name);
    let functions = functions(binary.symbol_image(), maybe, wanted);
    let classes = Classes::read(binary.image(), bias, names);
    if functions.is_empty() && classes.is_empty() {
        return Ok(Vec::new());
    }
    let sections = binary.debug_image().map(Image::dwarf_sections);
    let debug = sections
        .as_ref()
        .ok_or_else(|| NO_DEBUG.to_owned())
        .and_then(Debug::new);
    let mut found = Vec::new();
    for (place, preset) in presets.iter().enumerate() {
        let mut failures = Failures::default();
        for (number, rule) in preset.probe.iter().enumerate() {
            let known = Known {
                functions: &functions,
                classes: &classes,
                debug: &debug,
            };
            if try_alternatives(preset, rule, &known, &mut found, &mut failures) {
                absences.found(place, number);
            }
        }
        notes.extend(failures.notes(preset, path));
    }
    if let Some(region) = region {
        add_region(region, &functions, &mut found);
    }
    Ok(found)
}

fn is_marker(name: &str) -> bool {
    MARKERS.iter().any(|(marker, _)| *marker == name)
}

/// The functions that a region is entered with, whether or not a rule knows them too.
fn add_region(region: &RegionName, functions: &[Function], found: &mut Vec<Found>) {
    for function in functions {
        let mark = MARKERS.iter().find(|(name, _)| *name == function.name);
        let is_region = region
            .functions()
            .is_some_and(|pattern| pattern.matches(&function.name));
        if !is_region && mark.is_none() {
            continue;
        }
        let address = function.address;
        match found.iter_mut().find(|other| other.address == address) {
            Some(known) => known.is_region |= is_region,
            None => {
                let (meaning, fetches) = match mark {
                    Some((_, mark)) => Meaning::marker(*mark),
                    None => Meaning::nothing(),
                };
                found.push(Found {
                    address,
                    fetches,
                    meaning,
                    is_region,
                });
            }
        }
    }
}

/// What is known of a module.
struct Known<'k, 'd> {
    functions: &'k [Function],
    classes: &'k Classes,
    debug: &'k Result<Debug<'d>, String>,
}

impl Known<'_, '_> {
    /// The functions of a name, each with what the first `*` stands for.
    fn functions(&self, name: &FunctionName) -> Vec<(Function, String)> {
        match name {
            FunctionName::Symbol(pattern) => {
                let named = self
                    .functions
                    .iter()
                    .filter(|function| pattern.matches(&function.name));
                let star = |function: &Function| pattern.star(&function.name).unwrap_or_default().to_owned();
                named.map(|function| (function.clone(), star(function))).collect()
            }
            FunctionName::Virtual { class, place } => {
                let functions = self.classes.functions(class, *place);
                functions
                    .into_iter()
                    .map(|function| (function, String::new()))
                    .collect()
            }
        }
    }
}

/// Binds a rule to the functions of its first name that has any which are not taken and can be probed. Whether any of the
/// names has a function at all.
fn try_alternatives(
    preset: &Preset,
    rule: &ProbeRule,
    known: &Known<'_, '_>,
    found: &mut Vec<Found>,
    failures: &mut Failures,
) -> bool {
    let mut is_known = false;
    for name in &rule.functions {
        let before = found.len();
        for (function, star) in &known.functions(name) {
            is_known = true;
            if found.iter().any(|other| other.address == function.address) {
                continue;
            }
            match bind(preset, rule, star, function, known) {
                Ok(probe) => found.push(probe),
                Err(what) => failures.add(function, what),
            }
        }
        if found.len() > before {
            break;
        }
    }
    is_known
}

/// Why functions could not be probed, with the first function's name and how many more there are of each kind.
#[derive(Default)]
struct Failures(Vec<(String, String, usize)>);

impl Failures {
    fn add(&mut self, function: &Function, what: String) {
        match self.0.iter_mut().find(|(known, ..)| *known == what) {
            Some((_, _, more)) => *more += 1,
            None => self.0.push((what, function.name.clone(), 0)),
        }
    }

    fn notes(&self, preset: &Preset, module: &Path) -> impl Iterator<Item = String> {
        self.0.iter().map(move |(what, function, more)| {
            let more = if *more > 0 {
                format!(" and {more} more functions")
            } else {
                String::new()
            };
            format!(
                "operator preset {}: `{function}`{more} in {} can't be probed: {what}",
                preset.name,
                module.display()
            )
        })
    }
}

/// Binds a rule to a function.
fn bind(
    preset: &Preset,
    rule: &ProbeRule,
    star: &str,
    function: &Function,
    known: &Known<'_, '_>,
) -> Result<Found, String> {
    let address = function.address;
    let none = Debug::none();
    let stated = if rule.reads_nothing() {
        Some(&[][..])
    } else {
        rule.parameters.as_deref()
    };
    let (debug, described) = match stated {
        Some(parameters) => (&none, dwarf::Function::stated(parameters)),
        None => {
            let debug = known.debug.as_ref().map_err(Clone::clone)?;
            (debug, debug.function(address)?)
        }
    };
    let places = abi::places(debug, &described, function.is_clone)?;
    let plan = Plan::new(debug, &described, places);
    let (meaning, fetches) = Meaning::bind(rule, star, preset.layer.as_ref(), known.classes, debug, plan)?;
    Ok(Found {
        address,
        fetches,
        meaning,
        is_region: false,
    })
}
