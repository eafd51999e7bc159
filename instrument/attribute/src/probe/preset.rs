//! Presets: what a framework's functions mean, as data. The format is explained in `presets/ggml.toml`.

use std::collections::BTreeMap;
use std::path::{Path as FilePath, PathBuf};

use serde::Deserialize;

use super::expression::{Expression, Path};
use super::nearest::nearest;
use super::pattern::Pattern;
use crate::class::Class;

/// The presets that memloupe carries: name and text.
const BUILTIN: [(&str, &str); 2] = [
    ("ggml", include_str!("../../presets/ggml.toml")),
    ("llama", include_str!("../../presets/llama.toml")),
];

/// Probes of one framework.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Preset {
    /// Its short name.
    pub name: String,
    /// What it is for, one line.
    pub description: String,
    /// How a tensor's name tells its layer.
    #[serde(default)]
    pub(crate) layer: Option<LayerRule>,
    /// Functions to watch.
    #[serde(default)]
    pub(crate) probe: Vec<ProbeRule>,
    /// Heap memory by the function that allocates it.
    #[serde(default)]
    pub(crate) object: Vec<StackRule>,
}

/// Names heap memory by the innermost function of its allocation's call stack that matches.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StackRule {
    /// Matched against function names, demangled, without parameters.
    pub function: Pattern,
    /// Matched against the functions further out on the call stack: one of them must be the caller that is meant.
    #[serde(default)]
    pub within: Option<Pattern>,
    /// The memory's class.
    pub class: Class,
    /// The object's name.
    pub name: String,
}

impl StackRule {
    /// Whether it names what the first of these functions allocates on behalf of the others, its callers.
    #[must_use]
    pub fn matches(&self, functions: &[Option<&str>]) -> bool {
        let Some((Some(allocator), callers)) = functions.split_first() else {
            return false;
        };
        let is_within = |pattern: &Pattern| callers.iter().flatten().any(|caller| pattern.matches(caller));
        self.function.matches(allocator) && self.within.as_ref().is_none_or(is_within)
    }
}

/// Layer numbers in names.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LayerRule {
    /// The layer's label, with `{n}` for the number.
    pub(crate) label: String,
    /// Patterns with `{n}`; the first that matches gives the number.
    pub(crate) names: Vec<Pattern>,
}

/// A function to watch.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ProbeRule {
    /// Alternatives: in each module, the first pattern that any function matches is used, with all that match it.
    pub(crate) functions: Vec<Pattern>,
    #[serde(default)]
    pub(crate) lasts: Lasts,
    #[serde(default)]
    pub(crate) operator: Option<OperatorRule>,
    #[serde(default)]
    pub(crate) phase: Option<PhaseRule>,
    #[serde(default)]
    pub(crate) object: Vec<ObjectRule>,
}

/// How long an operator goes on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Lasts {
    /// Until the function returns.
    #[default]
    Call,
    /// Beyond the function's return, until the enclosing probed function enters another operator of this sort or
    /// returns: for functions that are called at the start of an operator whose own function was inlined away.
    UntilNext,
}

/// How to name an operator.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "OperatorTable")]
pub(crate) struct OperatorRule {
    pub(crate) kind: Kind,
    pub(crate) name: Option<Expression>,
    pub(crate) shape: Option<Expression>,
    pub(crate) element_type: Option<Named>,
    pub(crate) sources: Vec<Expression>,
}

impl OperatorRule {
    /// Whether only its kind is told, and that a literal one.
    pub(crate) fn reads_nothing(&self) -> bool {
        let fields = [&self.name, &self.shape];
        matches!(self.kind, Kind::Literal(_))
            && fields.iter().all(|field| field.is_none())
            && self.element_type.is_none()
            && self.sources.is_empty()
    }
}

/// An operator's kind.
#[derive(Clone, Debug)]
pub(crate) enum Kind {
    /// Always the same.
    Literal(String),
    /// Read from the target, with a second part for some values.
    Read(Named, BTreeMap<String, Named>),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OperatorTable {
    kind: Option<String>,
    kind_of: Option<Named>,
    #[serde(default)]
    detail: BTreeMap<String, Named>,
    name: Option<Expression>,
    shape: Option<Expression>,
    element_type: Option<Named>,
    #[serde(default)]
    sources: Vec<Expression>,
}

impl TryFrom<OperatorTable> for OperatorRule {
    type Error = String;

    fn try_from(table: OperatorTable) -> Result<Self, String> {
        let kind = match (table.kind, table.kind_of) {
            (Some(kind), None) if table.detail.is_empty() => Kind::Literal(kind),
            (None, Some(value)) => Kind::Read(value, table.detail),
            (Some(_), None) => return Err("`detail` goes with `kind_of`, not with `kind`".to_owned()),
            _ => return Err("an operator has either `kind` (a text) or `kind_of` (a table)".to_owned()),
        };
        Ok(Self {
            kind,
            name: table.name,
            shape: table.shape,
            element_type: table.element_type,
            sources: table.sources,
        })
    }
}

/// A value that is an enumerator's name.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Named {
    /// An enum, or an integer together with `enumeration`.
    pub(crate) value: Expression,
    /// The enum whose enumerators name the integer.
    #[serde(default)]
    pub(crate) enumeration: Option<String>,
    /// Taken away from the front of enumerators' names.
    #[serde(default)]
    pub(crate) strip: String,
}

/// Which phase a call opens.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PhaseRule {
    /// An integer that decides.
    pub(crate) value: Expression,
    /// The first that fits is taken; if none does, the phase stays.
    pub(crate) rules: Vec<PhaseName>,
}

/// A phase and the values that mean it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PhaseName {
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) min: Option<i64>,
    #[serde(default)]
    pub(crate) max: Option<i64>,
    /// Whether its calls are numbered 0, 1, 2….
    #[serde(default)]
    pub(crate) numbered: bool,
}

/// Data objects that a call shows.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ObjectRule {
    /// Structs that describe the object: alternatives, the first whose address can be read and is not null.
    pub(crate) base: Vec<Expression>,
    /// From the base: the name.
    pub(crate) name: Path,
    /// From the base: the pointer to the data.
    pub(crate) address: Path,
    /// From the base: elements along each dimension, innermost first.
    pub(crate) extents: Path,
    /// From the base: bytes from one element to the next along each dimension.
    pub(crate) strides: Path,
    /// The class by name; an object that matches none is left out.
    pub(crate) class: BTreeMap<Class, Vec<Pattern>>,
}

/// Why a preset can't be used.
#[derive(Debug)]
pub enum PresetError {
    /// Neither a built-in preset nor a file.
    Unknown(String),
    /// The file can't be read.
    Read(PathBuf, std::io::Error),
    /// The text is not a preset.
    Parse {
        /// Where the text is from.
        origin: String,
        /// The line of the first mistake.
        line: usize,
        /// What is wrong there.
        message: String,
    },
}

impl std::fmt::Display for PresetError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unknown(name) => {
                let known: Vec<_> = BUILTIN.iter().map(|(name, _)| *name).collect();
                write!(
                    f,
                    "no operator preset or file `{name}`{}; presets: {} (or the path of a .toml file)",
                    nearest(name, known.iter().copied()),
                    known.join(", ")
                )
            }
            Self::Read(path, error) => write!(f, "operator preset {}: {error}", path.display()),
            Self::Parse {
                origin,
                line,
                message,
            } => write!(f, "{origin}:{line}: {message}"),
        }
    }
}

impl std::error::Error for PresetError {}

impl Preset {
    /// A built-in preset by name, or a file by path.
    ///
    /// # Errors
    /// If there is none, or it is not a preset.
    pub fn load(name_or_path: &str) -> Result<Self, PresetError> {
        if let Some((name, text)) = BUILTIN.iter().find(|(name, _)| *name == name_or_path) {
            return Self::parse(text, name);
        }
        let path = FilePath::new(name_or_path);
        match std::fs::read_to_string(path) {
            Ok(text) => Self::parse(&text, name_or_path),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                Err(PresetError::Unknown(name_or_path.to_owned()))
            }
            Err(error) => Err(PresetError::Read(path.to_owned(), error)),
        }
    }

    /// A preset from its text; `origin` names it in errors.
    ///
    /// # Errors
    /// If the text is not a preset.
    pub fn parse(text: &str, origin: &str) -> Result<Self, PresetError> {
        toml::from_str(text).map_err(|error: toml::de::Error| {
            let start = error.span().map_or(0, |span| span.start);
            PresetError::Parse {
                origin: origin.to_owned(),
                line: 1 + text[..start].matches('\n').count(),
                message: error.message().trim_end().replace('\n', "; "),
            }
        })
    }

    /// Every built-in preset.
    #[must_use]
    pub fn list() -> Vec<Self> {
        BUILTIN
            .iter()
            .filter_map(|(name, text)| Self::parse(text, name).ok())
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_builtin_parses_under_its_own_name() {
        for (name, _) in BUILTIN {
            let preset = Preset::load(name).unwrap_or_else(|error| panic!("{error}"));
            assert_eq!(preset.name, name);
            assert!(!preset.probe.is_empty());
        }
        assert_eq!(Preset::list().len(), BUILTIN.len());
    }
}
