//! Functions that are called by way of their class: where symbols are gone, run-time type information still tells them.

use std::collections::HashMap;

use memchr::memmem;
use serde::Deserialize;

use super::function::Function;
use super::pattern::Pattern;
use crate::module::{CppClass, FOREIGN, Image, classes};

/// How a preset names functions.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "String")]
pub(crate) enum FunctionName {
    /// By what their symbols are called.
    Symbol(Pattern),
    /// `vtable(name::Class)[2]`: what the class and those derived from it have at a place of their tables, counted from 0.
    Virtual { class: String, place: usize },
}

impl TryFrom<String> for FunctionName {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let Some(rest) = text.strip_prefix("vtable(") else {
            return Pattern::try_from(text).map(Self::Symbol);
        };
        let parts = rest.strip_suffix(']').and_then(|rest| rest.split_once(")["));
        let virtual_function = parts.and_then(|(class, place)| {
            let is_plain = |part: &str| {
                !part.is_empty()
                    && part
                        .bytes()
                        .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
            };
            let place = place.parse().ok()?;
            class.split("::").all(is_plain).then(|| Self::Virtual {
                class: class.to_owned(),
                place,
            })
        });
        virtual_function.ok_or_else(|| format!("function `{text}`: write `vtable(name::Class)[2]`"))
    }
}

impl std::fmt::Display for FunctionName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Symbol(pattern) => pattern.fmt(f),
            Self::Virtual { class, place } => write!(f, "vtable({class})[{place}]"),
        }
    }
}

impl FunctionName {
    pub(super) fn symbol(&self) -> Option<&Pattern> {
        match self {
            Self::Symbol(pattern) => Some(pattern),
            Self::Virtual { .. } => None,
        }
    }
}

/// The classes of a module that presets ask for, and where it is loaded.
pub(super) struct Classes {
    all: Vec<CppClass>,
    bias: u64,
}

impl Classes {
    /// Looks for classes if the module knows one of those that are named.
    pub(super) fn read<'n>(
        image: &Image,
        bias: u64,
        names: impl IntoIterator<Item = &'n FunctionName>,
    ) -> Self {
        let is_known = names.into_iter().any(|name| match name {
            FunctionName::Symbol(_) => false,
            FunctionName::Virtual { class, .. } => {
                let data = image.section(".rodata").unwrap_or_default();
                memmem::find(&data, mangled(class).as_bytes()).is_some()
            }
        });
        Self {
            all: if is_known { classes(image) } else { Vec::new() },
            bias,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// The functions at a place of the tables of a class and those derived from it, each once.
    pub(super) fn functions(&self, class: &str, place: usize) -> Vec<Function> {
        let mut functions: Vec<Function> = self
            .all
            .iter()
            .filter(|derived| derived.ancestry.iter().any(|name| name == class))
            .filter_map(|derived| {
                let address = *derived
                    .functions
                    .get(place)
                    .filter(|address| **address != FOREIGN)?;
                Some(Function {
                    address,
                    name: format!("{}[{place}]", derived.name),
                    is_clone: false,
                })
            })
            .collect();
        functions.sort();
        functions.dedup_by_key(|function| function.address);
        functions
    }

    /// The classes' names by what the first word of their objects holds at run time, without template arguments and `strip`.
    pub(super) fn names(&self, strip: &str) -> HashMap<i64, String> {
        let short = |class: &CppClass| {
            let name = class.name.split('<').next().unwrap_or_default();
            name.strip_prefix(strip).unwrap_or(name).to_owned()
        };
        let word = |class: &CppClass| class.table.wrapping_add(self.bias).cast_signed();
        self.all.iter().map(|class| (word(class), short(class))).collect()
    }
}

/// The name in a class's `type_info`.
fn mangled(class: &str) -> String {
    let parts: String = class
        .split("::")
        .map(|part| format!("{}{part}", part.len()))
        .collect();
    if class.contains("::") {
        format!("N{parts}E")
    } else {
        parts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn virtual_functions_are_named_by_class_and_place() {
        let parse = |text: &str| FunctionName::try_from(text.to_owned());
        assert!(
            matches!(parse("vtable(a::B)[12]"), Ok(FunctionName::Virtual { class, place: 12 }) if class == "a::B")
        );
        assert!(matches!(parse("at::_ops::*::call"), Ok(FunctionName::Symbol(_))));
        for text in ["vtable(a::B)", "vtable(a::*)[2]", "vtable()[2]", "vtable(a)[x]"] {
            assert!(
                parse(text).unwrap_err().contains("vtable(name::Class)[2]"),
                "{text}"
            );
        }
        assert_eq!(mangled("onnxruntime::OpKernel"), "N11onnxruntime8OpKernelE");
        assert_eq!(mangled("Shape"), "5Shape");
    }
}
