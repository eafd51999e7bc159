//! Presets: what a framework's functions mean, as data. The format is explained in `presets/ggml.toml`.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::{Path as FilePath, PathBuf};

use serde::Deserialize;

use super::expression::{Expression, Path};
use super::nearest::nearest;
use super::pattern::Pattern;
use super::types::Stated;
use super::virtual_function::FunctionName;
use crate::class::Class;

/// The presets that memloupe carries: name and text.
const BUILTIN: [(&str, &str); 8] = [
    ("markers", include_str!("../../presets/markers.toml")),
    ("ggml", include_str!("../../presets/ggml.toml")),
    ("llama", include_str!("../../presets/llama.toml")),
    ("torch", include_str!("../../presets/torch.toml")),
    ("onnxruntime", include_str!("../../presets/onnxruntime.toml")),
    ("candle", include_str!("../../presets/candle.toml")),
    ("python", include_str!("../../presets/python.toml")),
    ("blas", include_str!("../../presets/blas.toml")),
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
    /// Memory by the function that allocates or maps it.
    #[serde(default)]
    pub(crate) object: Vec<StackRule>,
    /// Memory by the operator that allocates it.
    #[serde(default)]
    pub(crate) allocates: Vec<AllocatesRule>,
    /// The file that it was read from, unless it is built in.
    #[serde(skip)]
    pub(crate) file: Option<PathBuf>,
}

/// Names memory by the innermost function of the call stack that allocates or maps it that matches.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StackRule {
    /// Matched against function names, demangled, without parameters; `[module+0xoffset]` where there is no symbol.
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
    pub fn matches(&self, functions: &[Cow<str>]) -> bool {
        let Some((allocator, callers)) = functions.split_first() else {
            return false;
        };
        let is_within = |pattern: &Pattern| callers.iter().any(|caller| pattern.matches(caller));
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
    /// Alternatives: in each module, the first name that any function has is used, with all that have it.
    pub(crate) functions: Vec<FunctionName>,
    /// What the functions take, where their debug information does not say.
    #[serde(default)]
    pub(crate) parameters: Option<Vec<StatedParameter>>,
    #[serde(default)]
    pub(crate) lasts: Lasts,
    #[serde(default)]
    pub(crate) ends: Option<Ends>,
    #[serde(default)]
    pub(crate) operator: Option<OperatorRule>,
    #[serde(default)]
    pub(crate) phase: Option<PhaseRule>,
    #[serde(default)]
    pub(crate) object: Vec<ObjectRule>,
    /// Where an object begins that is one no more.
    #[serde(default)]
    pub(crate) forget: Option<Expression>,
    /// What memory is that is allocated while the operator is the innermost of the thread's that say so.
    #[serde(default)]
    pub(crate) allocates: Option<Allocated>,
}

/// What operators of a kind allocate, whoever announces them.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct AllocatesRule {
    /// Matched against kinds of operators.
    pub(crate) operator: Pattern,
    pub(crate) class: Class,
    /// The object's name, with `*` for the operator's.
    pub(crate) name: String,
}

/// Memory that an operator allocates.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Allocated {
    pub(crate) class: Class,
    /// The object's name, with `*` for the operator's.
    pub(crate) name: String,
}

impl ProbeRule {
    /// Whether nothing of the arguments is wanted.
    pub(crate) fn reads_nothing(&self) -> bool {
        self.operator.as_ref().is_none_or(OperatorRule::reads_nothing)
            && self.phase.is_none()
            && self.object.is_empty()
            && self.forget.is_none()
    }
}

/// A parameter as a preset states it: `text name` or `u64 bytes`.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct StatedParameter {
    pub(crate) name: String,
    pub(crate) ty: Stated,
}

/// The words for a parameter's type.
const STATED_TYPES: [(&str, Stated); 6] = [
    ("text", Stated::Text),
    ("pointer", Stated::Pointer),
    (
        "u64",
        Stated::Integer {
            bytes: 8,
            signed: false,
        },
    ),
    (
        "i64",
        Stated::Integer {
            bytes: 8,
            signed: true,
        },
    ),
    (
        "u32",
        Stated::Integer {
            bytes: 4,
            signed: false,
        },
    ),
    (
        "i32",
        Stated::Integer {
            bytes: 4,
            signed: true,
        },
    ),
];

impl TryFrom<String> for StatedParameter {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let (word, name) = text
            .split_once(' ')
            .ok_or_else(|| format!("parameter `{text}`: write its type and its name, as in `text kind`"))?;
        let known = STATED_TYPES.iter().find(|(known, _)| *known == word);
        let (_, ty) = known.ok_or_else(|| {
            let words: Vec<&str> = STATED_TYPES.iter().map(|(word, _)| *word).collect();
            format!("parameter `{text}`: `{word}` is none of {}", words.join(", "))
        })?;
        Ok(Self {
            name: name.trim().to_owned(),
            ty: *ty,
        })
    }
}

/// What a call ends that others have begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ends {
    /// The thread's innermost operator that lasts until it is ended.
    Operator,
    /// The innermost phase that lasts until it is ended.
    Phase,
}

/// How long an operator or phase goes on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Lasts {
    /// Until the function returns.
    #[default]
    Call,
    /// Beyond the function's return, until the enclosing probed function enters another operator of this sort or
    /// returns: for functions that are called at the start of an operator whose own function was inlined away.
    UntilNext,
    /// Beyond the function's return, until a call of another function says so. They nest.
    UntilEnded,
}

/// How to name an operator.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "OperatorTable")]
pub(crate) struct OperatorRule {
    pub(crate) kind: Kind,
    pub(crate) name: Option<Expression>,
    /// If it is told; else the preset's layer rule finds it in names.
    pub(crate) layer: Option<Expression>,
    pub(crate) shape: Option<Expression>,
    pub(crate) element_type: Option<Named>,
    pub(crate) sources: Vec<Expression>,
}

impl OperatorRule {
    /// Whether only its kind is told, and that a literal one.
    pub(crate) fn reads_nothing(&self) -> bool {
        let fields = [&self.name, &self.layer, &self.shape];
        matches!(self.kind, Kind::Literal(_))
            && fields.iter().all(|field| field.is_none())
            && self.element_type.is_none()
            && self.sources.is_empty()
    }
}

/// An operator's kind.
#[derive(Clone, Debug)]
pub(crate) enum Kind {
    /// Always the same; `*` stands for what the first `*` of the function's pattern stands for.
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
    layer: Option<Expression>,
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
            layer: table.layer,
            shape: table.shape,
            element_type: table.element_type,
            sources: table.sources,
        })
    }
}

/// A value that is an enumerator's name, or a text.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Named {
    /// An enum, an integer together with `enumeration`, or a text.
    pub(crate) value: Expression,
    /// A pointer to a C++ object, whose class is the name where the value is none.
    #[serde(default)]
    pub(crate) class_of: Option<Expression>,
    /// The enum whose enumerators name the integer.
    #[serde(default)]
    pub(crate) enumeration: Option<String>,
    /// Taken away from the front of enumerators' names.
    #[serde(default)]
    pub(crate) strip: String,
}

/// Which phase a call opens.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "PhaseTable")]
pub(crate) enum PhaseRule {
    /// Each call is one.
    Always(PhaseName),
    /// Integers decide: the first that fits is taken; if none does, the phase stays.
    ByValue(Expression, Vec<PhaseName>),
    /// The arguments say: a name, and a number that is negative if phases of the name are not numbered.
    Told { name: Expression, number: Expression },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PhaseTable {
    always: Option<PhaseName>,
    value: Option<Expression>,
    #[serde(default)]
    rules: Vec<PhaseName>,
    name: Option<Expression>,
    number: Option<Expression>,
}

impl TryFrom<PhaseTable> for PhaseRule {
    type Error = String;

    fn try_from(table: PhaseTable) -> Result<Self, String> {
        match (table.always, table.value, table.name, table.number) {
            (Some(phase), None, None, None) if table.rules.is_empty() => Ok(Self::Always(phase)),
            (None, Some(value), None, None) => Ok(Self::ByValue(value, table.rules)),
            (None, None, Some(name), Some(number)) if table.rules.is_empty() => {
                Ok(Self::Told { name, number })
            }
            _ => Err("a phase has one of `always`, `value` and `rules`, `name` and `number`".to_owned()),
        }
    }
}

/// A phase and the values that mean it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PhaseName {
    pub(crate) name: String,
    /// A value of its own in place of the one of all rules; if it can't be read, the rule does not fit.
    #[serde(default)]
    pub(crate) value: Option<Expression>,
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
#[serde(try_from = "ObjectTable")]
pub(crate) enum ObjectRule {
    /// By structs that describe them.
    Described(DescribedObject),
    /// By the arguments.
    Told(ToldObject),
}

/// Data objects that structs describe.
#[derive(Clone, Debug)]
pub(crate) struct DescribedObject {
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

/// A data object that the arguments tell of.
#[derive(Clone, Debug)]
pub(crate) struct ToldObject {
    /// Its class in words; another word stands for heap memory.
    pub(crate) class_of: Expression,
    pub(crate) name: Expression,
    pub(crate) address: Expression,
    pub(crate) bytes: Expression,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ObjectTable {
    #[serde(default)]
    base: Vec<Expression>,
    name: String,
    address: String,
    extents: Option<Path>,
    strides: Option<Path>,
    #[serde(default)]
    class: BTreeMap<Class, Vec<Pattern>>,
    class_of: Option<Expression>,
    bytes: Option<Expression>,
}

impl TryFrom<ObjectTable> for ObjectRule {
    type Error = String;

    fn try_from(table: ObjectTable) -> Result<Self, String> {
        let ObjectTable {
            base,
            name,
            address,
            extents,
            strides,
            class,
            class_of,
            bytes,
        } = table;
        match (extents, strides, class_of, bytes) {
            (Some(extents), Some(strides), None, None) if !base.is_empty() => {
                Ok(Self::Described(DescribedObject {
                    base,
                    name: name.try_into()?,
                    address: address.try_into()?,
                    extents,
                    strides,
                    class,
                }))
            }
            (None, None, Some(class_of), Some(bytes)) if base.is_empty() && class.is_empty() => {
                Ok(Self::Told(ToldObject {
                    class_of,
                    name: name.try_into()?,
                    address: address.try_into()?,
                    bytes,
                }))
            }
            _ => Err("an object has `base`, `name`, `address`, `extents`, `strides` and `class`, or `class_of`, `name`, \
                      `address` and `bytes`"
                .to_owned()),
        }
    }
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
    /// The presets that `--ops` chooses: `none`, `auto` for every built-in one, or one by name or path.
    ///
    /// # Errors
    /// As [`Preset::load`].
    pub fn choose(ops: &str) -> Result<Vec<Self>, PresetError> {
        match ops {
            "none" => Ok(Vec::new()),
            "auto" => Ok(Self::list()),
            name => Ok(vec![Self::load(name)?]),
        }
    }

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
            Ok(text) => Ok(Self {
                file: Some(path.to_owned()),
                ..Self::parse(&text, name_or_path)?
            }),
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
            assert!(!preset.probe.is_empty() || !preset.object.is_empty());
        }
        assert_eq!(Preset::list().len(), BUILTIN.len());
    }
}
