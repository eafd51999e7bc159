//! What a report can group by.

use memloupe_attribute::phase_span;

use crate::profile::{Context, Object, Profile, Site};

/// Which table of a profile a key is a function of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dimension {
    /// Who executes.
    Context,
    /// Which static operand.
    Site,
    /// Which data object.
    Object,
}

/// One key of a grouping.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Key {
    /// Operator kind: MUL_MAT, softmax…
    Kind,
    /// Operator by its own name.
    Operator,
    /// Layer.
    Layer,
    /// Phase instance: prefill, decode[3]…
    Phase,
    /// Phase by name alone: all decodes are one.
    PhaseKind,
    /// Shapes of an operator's result and operands.
    Shape,
    /// Element type of an operator.
    ElementType,
    /// Thread.
    Thread,
    /// The calls that led there, outermost first.
    CallPath,
    /// Data object.
    Object,
    /// Class of data object: weight, kv-cache…
    Class,
    /// Where an object comes from.
    Origin,
    /// Executable or library.
    Module,
    /// Function, also one that was inlined.
    Function,
    /// Function as the compiler emitted it, with all that was inlined into it.
    Symbol,
    /// Source line.
    Line,
    /// Access kind: load, store…
    Access,
    /// Static operand: its instruction's place in the module.
    Site,
}

impl Key {
    /// Every key with its word and its meaning.
    pub const ALL: [(Self, &'static str, &'static str); 18] = [
        (Self::Kind, "kind", "operator kind"),
        (Self::Operator, "operator", "operator by its own name"),
        (Self::Layer, "layer", "layer"),
        (Self::Phase, "phase", "phase instance, such as decode[3]"),
        (Self::PhaseKind, "phase-kind", "phase by name alone"),
        (Self::Shape, "shape", "shapes of the operator"),
        (Self::ElementType, "element-type", "element type of the operator"),
        (Self::Thread, "thread", "thread"),
        (
            Self::CallPath,
            "callpath",
            "calls that led there (of run --call-paths), outermost first",
        ),
        (Self::Object, "object", "data object"),
        (Self::Class, "class", "class of data object"),
        (Self::Origin, "origin", "where the object comes from"),
        (Self::Module, "module", "executable or library"),
        (Self::Function, "function", "function, also one that was inlined"),
        (
            Self::Symbol,
            "symbol",
            "function with all that was inlined into it",
        ),
        (Self::Line, "line", "source line"),
        (Self::Access, "access", "access kind: load, store, fetch, …"),
        (
            Self::Site,
            "site",
            "static operand: module and offset of its instruction",
        ),
    ];

    /// The key of a word.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL
            .iter()
            .find(|(_, name, _)| *name == word)
            .map(|(key, _, _)| *key)
    }

    /// Its word.
    #[must_use]
    pub fn name(self) -> &'static str {
        Self::ALL
            .iter()
            .find(|(key, _, _)| *key == self)
            .map_or("", |(_, name, _)| name)
    }

    /// Which table it is a function of.
    #[must_use]
    pub fn dimension(self) -> Dimension {
        match self {
            Self::Kind
            | Self::Operator
            | Self::Layer
            | Self::Phase
            | Self::PhaseKind
            | Self::Shape
            | Self::ElementType
            | Self::Thread
            | Self::CallPath => Dimension::Context,
            Self::Module | Self::Function | Self::Symbol | Self::Line | Self::Access | Self::Site => {
                Dimension::Site
            }
            Self::Object | Self::Class | Self::Origin => Dimension::Object,
        }
    }

    /// Whether readers expect its values in their own order rather than by size.
    pub(super) fn is_ordinal(self) -> bool {
        matches!(self, Self::Layer | Self::Phase | Self::PhaseKind | Self::Thread)
    }

    /// Whether the end of a long value tells more than its beginning.
    pub(super) fn keeps_end(self) -> bool {
        matches!(self, Self::Line | Self::Module | Self::CallPath)
    }

    /// Its value for every row of its table.
    pub(super) fn values(self, profile: &Profile) -> Vec<String> {
        if self == Self::CallPath {
            return call_paths(profile);
        }
        match self.dimension() {
            Dimension::Context => profile
                .contexts
                .iter()
                .map(|context| self.of_context(context))
                .collect(),
            Dimension::Site => profile.sites.iter().map(|site| self.of_site(site)).collect(),
            Dimension::Object => profile
                .objects
                .iter()
                .map(|object| self.of_object(object))
                .collect(),
        }
    }

    fn of_context(self, context: &Context) -> String {
        let in_operator = |value: &String| match (context.kind.is_empty(), value.is_empty()) {
            (true, _) => "(no operator)".to_owned(),
            (false, true) => "(unnamed)".to_owned(),
            (false, false) => value.clone(),
        };
        match self {
            Self::Kind => in_operator(&context.kind),
            Self::Operator => in_operator(&context.operator),
            Self::Shape => in_operator(&context.shape),
            Self::ElementType => in_operator(&context.element_type),
            Self::Layer => or(&context.layer, "(no layer)"),
            Self::PhaseKind => or(&context.phase, "(no phase)"),
            Self::Phase => phase_name(&context.phase, context.phase_index),
            _ => context.thread.to_string(),
        }
    }

    fn of_site(self, site: &Site) -> String {
        match self {
            Self::Module => or(&site.module, "(no module)"),
            Self::Function => or(&site.function, "(unknown)"),
            // Inlining ends at the function that holds the code.
            Self::Symbol => or(
                site.inlined
                    .rsplit(" < ")
                    .next()
                    .filter(|name| !name.is_empty())
                    .unwrap_or(&site.function),
                "(unknown)",
            ),
            Self::Line if site.file.is_empty() => "(no line)".to_owned(),
            Self::Line => format!("{}:{}", site.file, site.line),
            Self::Site => format!("{}+{:#x}", site.module, site.ip),
            _ => site.kind.clone(),
        }
    }

    fn of_object(self, object: &Object) -> String {
        match self {
            Self::Class => or(&object.class, "other"),
            Self::Origin => or(&object.origin, "(unknown)"),
            _ => or(&object.name, "(unnamed)"),
        }
    }
}

/// By context: functions from the outermost to the one that called, separated by semicolons.
fn call_paths(profile: &Profile) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for path in &profile.paths {
        let name = match path.before {
            Some(before) => format!("{};{}", names[before as usize], path.function),
            None => path.function.clone(),
        };
        names.push(name);
    }
    let of_context = |context: &Context| {
        context
            .path
            .map_or_else(|| "(no caller)".to_owned(), |path| names[path as usize].clone())
    };
    profile.contexts.iter().map(of_context).collect()
}

fn or(value: &str, otherwise: &str) -> String {
    if value.is_empty() {
        otherwise.to_owned()
    } else {
        value.to_owned()
    }
}

/// A phase instance as it is written everywhere: "prefill", "decode[3]".
pub(crate) fn phase_name(phase: &str, index: Option<u32>) -> String {
    match index {
        Some(index) => {
            let (first, last) = phase_span(index).into_inner();
            let numbers = if first == last {
                first.to_string()
            } else {
                format!("{first}..{last}")
            };
            format!("{}[{numbers}]", or(phase, "(no phase)"))
        }
        None => or(phase, "(no phase)"),
    }
}
