//! Regions: the parts of a run that the user wants to see. Outside, accesses are not attributed.
//!
//! A region is entered by a thread with a probed call (an operator, a function, a marker) and left with it; a phase is
//! entered by all threads together.

use crate::probe::{Operator, Pattern, Phase};

/// What a region's name is compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aspect {
    /// Operator kinds: `MUL_MAT`.
    Kind,
    /// Operators' own names: `ffn_up-7`.
    Operator,
    /// Functions, demangled, without parameters.
    Function,
    /// Phases: `decode`.
    Phase,
    /// Names of the stretches that a program marks.
    Marker,
}

/// Every aspect by the word it is chosen with.
const ASPECTS: [(&str, Aspect); 5] = [
    ("kind", Aspect::Kind),
    ("operator", Aspect::Operator),
    ("function", Aspect::Function),
    ("phase", Aspect::Phase),
    ("marker", Aspect::Marker),
];

/// A part of the run, by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegionName {
    /// `None`: any of them.
    aspect: Option<Aspect>,
    pattern: Pattern,
}

impl std::str::FromStr for RegionName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (aspect, name) = match text.split_once('=') {
            Some((word, name)) => match ASPECTS.iter().find(|(known, _)| *known == word) {
                Some((_, aspect)) => (Some(*aspect), name),
                None => {
                    let words: Vec<&str> = ASPECTS.iter().map(|(word, _)| *word).collect();
                    return Err(format!("`{word}` is none of {}", words.join(", ")));
                }
            },
            None => (None, text),
        };
        Ok(Self {
            aspect,
            pattern: Pattern::try_from(name.to_owned())?,
        })
    }
}

impl RegionName {
    /// The functions that it is entered with, if it may be one.
    #[must_use]
    pub fn functions(&self) -> Option<&Pattern> {
        self.by(Aspect::Function).then_some(&self.pattern)
    }

    /// Whether an operator is it.
    #[must_use]
    pub fn is_operator(&self, operator: &Operator) -> bool {
        self.by(Aspect::Kind) && self.pattern.matches(&operator.kind)
            || self.by(Aspect::Operator) && self.pattern.matches(&operator.name)
    }

    /// Whether a phase is it.
    #[must_use]
    pub fn is_phase(&self, phase: &Phase) -> bool {
        self.by(Aspect::Phase) && self.pattern.matches(&phase.name)
    }

    /// Whether the stretch between markers of this name is it.
    #[must_use]
    pub fn is_marker(&self, name: &str) -> bool {
        self.by(Aspect::Marker) && self.pattern.matches(name)
    }

    fn by(&self, aspect: Aspect) -> bool {
        self.aspect.is_none_or(|only| only == aspect)
    }
}

impl std::fmt::Display for RegionName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let word = self
            .aspect
            .and_then(|aspect| ASPECTS.iter().find(|(_, known)| *known == aspect));
        if let Some((word, _)) = word {
            write!(f, "{word}=")?;
        }
        write!(f, "{}", self.pattern)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn operator(kind: &str, name: &str) -> Operator {
        Operator {
            kind: kind.to_owned(),
            name: name.to_owned(),
            layer: None,
            shape: String::new(),
            element_type: String::new(),
            sources: String::new(),
        }
    }

    #[test]
    fn a_bare_name_is_compared_with_everything() {
        let region: RegionName = "MUL_*".parse().expect("a region");
        assert!(region.is_operator(&operator("MUL_MAT", "q")));
        assert!(region.is_operator(&operator("ADD", "MUL_0")));
        assert!(!region.is_operator(&operator("ADD", "q")));
        assert!(region.functions().is_some() && region.is_marker("MUL_x"));
    }

    #[test]
    fn an_aspect_narrows_it() {
        let region: RegionName = "kind=MUL_*".parse().expect("a region");
        assert!(!region.is_operator(&operator("ADD", "MUL_0")));
        assert!(region.functions().is_none() && !region.is_marker("MUL_x"));
        assert_eq!(region.to_string(), "kind=MUL_*");
        let error = "colour=red".parse::<RegionName>().expect_err("no such aspect");
        assert!(
            error.contains("colour") && error.contains("kind, operator"),
            "{error}"
        );
        assert!("phase=".parse::<RegionName>().is_err());
    }
}
