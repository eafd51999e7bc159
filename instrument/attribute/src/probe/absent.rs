//! Rules of a user's own preset that no module of the program has a function for: a misspelt name, another version of the
//! framework, a function that the compiler has put into its callers.
//!
//! Built-in presets are not held to this: they name alternatives for many versions and programs.

use std::path::{Path, PathBuf};

use strsim::levenshtein;

use super::function::functions;
use super::preset::Preset;
use super::virtual_function::FunctionName;
use crate::module::{Binary, classes};

/// Which rules have found a function, and where it was looked for.
#[derive(Debug, Default)]
pub(super) struct Absences {
    /// By preset and rule.
    found: Vec<Vec<bool>>,
    modules: Vec<PathBuf>,
}

impl Absences {
    pub(super) fn new(presets: &[Preset]) -> Self {
        Self {
            found: presets
                .iter()
                .map(|preset| vec![false; preset.probe.len()])
                .collect(),
            modules: Vec::new(),
        }
    }

    /// A module has been searched.
    pub(super) fn searched(&mut self, module: &Path) {
        if !self.modules.iter().any(|known| known == module) {
            self.modules.push(module.to_owned());
        }
    }

    /// A rule has a function there, whether it can be probed or not.
    pub(super) fn found(&mut self, preset: usize, rule: usize) {
        self.found[preset][rule] = true;
    }

    /// What is missing, each a line for a person, with the name that was probably meant and the module that has it.
    pub(super) fn notes(&self, presets: &[Preset]) -> Vec<String> {
        let mut absent = Vec::new();
        for (preset, found) in presets.iter().zip(&self.found) {
            let Some(file) = &preset.file else { continue };
            let rules = preset.probe.iter().zip(found).filter(|(_, found)| !**found);
            absent.extend(rules.map(|(rule, _)| (file, &rule.functions)));
        }
        if absent.is_empty() {
            return Vec::new();
        }
        let mut nearest: Vec<Option<Nearest>> = vec![None; absent.len()];
        for module in &self.modules {
            let Ok(binary) = Binary::open(module) else {
                continue;
            };
            let functions = functions(binary.symbol_image(), |_| true, |_| true);
            let classes = if absent.iter().any(|(_, names)| names.iter().any(is_virtual)) {
                classes(binary.image())
            } else {
                Vec::new()
            };
            for ((_, names), nearest) in absent.iter().zip(&mut nearest) {
                for name in *names {
                    match name {
                        FunctionName::Symbol(pattern) => {
                            let wanted = pattern.to_string().replace(['*', '?'], "");
                            for function in &functions {
                                Nearest::consider(nearest, &wanted, &function.name, module);
                            }
                        }
                        FunctionName::Virtual { class, .. } => {
                            for other in &classes {
                                Nearest::consider(nearest, class, &other.name, module);
                            }
                        }
                    }
                }
            }
        }
        let note = |((file, names), nearest): (&(&PathBuf, &Vec<FunctionName>), Option<Nearest>)| {
            let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
            let nearest = nearest.map_or_else(String::new, |nearest| {
                format!("; nearest: `{}` in {}", nearest.name, nearest.module.display())
            });
            format!(
                "{}: none of the {} modules that were loaded has {}{nearest}",
                file.display(),
                self.modules.len(),
                names.join(" or ")
            )
        };
        absent.iter().zip(nearest).map(note).collect()
    }
}

fn is_virtual(name: &FunctionName) -> bool {
    matches!(name, FunctionName::Virtual { .. })
}

/// The name that was probably meant.
#[derive(Clone, Debug)]
struct Nearest {
    distance: usize,
    name: String,
    module: PathBuf,
}

impl Nearest {
    fn consider(best: &mut Option<Self>, wanted: &str, name: &str, module: &Path) {
        // Names whose lengths differ by as much as the best one's distance are no nearer.
        let limit = best.as_ref().map_or(usize::MAX, |best| best.distance);
        if wanted.len().abs_diff(name.len()) >= limit {
            return;
        }
        let distance = levenshtein(wanted, name);
        if distance < limit {
            *best = Some(Self {
                distance,
                name: name.to_owned(),
                module: module.to_owned(),
            });
        }
    }
}
