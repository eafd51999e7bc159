//! Expressions: how a preset names a value. `$2->src[0]->view_src->name`
//!
//! The root is a parameter by name (`batch`) or by position (`$1` is the first one declared, `this` the receiver of a
//! method). Steps are members (`.` and `->` mean the same: pointers are followed wherever there is one), elements
//! (`[3]`), and runs of elements (`[0..6]`, the end excluded and cut to the array's length), which give several values.

use serde::Deserialize;

/// Most elements of a run.
const RUN_MAX: u64 = 64;

/// Where an expression starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Root {
    /// The parameter of this name.
    Name(String),
    /// The parameter at this place, counted from one; `this` is not counted.
    Position(usize),
}

/// One step from a value to a part of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// A member of a struct, union or class, inherited ones included.
    Member(String),
    /// An element of an array or behind a pointer.
    Element(u64),
    /// The elements from the first number up to the second, excluded.
    Elements(u64, u64),
}

/// A value reached from a parameter.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct Expression {
    pub(crate) text: String,
    pub(crate) root: Root,
    pub(crate) steps: Vec<Step>,
}

/// A value reached from a struct: an expression without the parameter, as `ne` or `extent[1].size`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct Path {
    pub(crate) text: String,
    pub(crate) steps: Vec<Step>,
}

impl TryFrom<String> for Expression {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let mistake = |what: &str| format!("expression `{text}`: {what}");
        let (first, rest) = text.strip_prefix('$').map_or_else(|| identifier(&text), digits);
        let root = if text.starts_with('$') {
            match first.parse() {
                Ok(position @ 1..) => Root::Position(position),
                _ => return Err(mistake("after `$` comes the parameter's place, from 1 on")),
            }
        } else if first.is_empty() {
            return Err(mistake("it starts with a parameter's name or `$1`, `$2`…"));
        } else {
            Root::Name(first.to_owned())
        };
        let steps = steps(rest).map_err(|what| mistake(&what))?;
        Ok(Self { root, steps, text })
    }
}

impl TryFrom<String> for Path {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let steps = steps(&format!(".{text}")).map_err(|what| format!("path `{text}`: {what}"))?;
        if steps.iter().any(|step| matches!(step, Step::Elements(..))) {
            return Err(format!(
                "path `{text}`: a run of elements is possible in `base` only"
            ));
        }
        Ok(Self { text, steps })
    }
}

fn identifier(text: &str) -> (&str, &str) {
    let end = text
        .find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .unwrap_or(text.len());
    let end = if text.starts_with(|c: char| c.is_ascii_digit()) {
        0
    } else {
        end
    };
    text.split_at(end)
}

fn digits(text: &str) -> (&str, &str) {
    text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()))
}

fn steps(mut rest: &str) -> Result<Vec<Step>, String> {
    let mut steps = Vec::new();
    while !rest.is_empty() {
        if let Some(member) = rest.strip_prefix("->").or_else(|| rest.strip_prefix('.')) {
            let (name, after) = identifier(member);
            if name.is_empty() {
                return Err(format!("a member's name is missing before `{after}`"));
            }
            steps.push(Step::Member(name.to_owned()));
            rest = after;
        } else if let Some((inside, after)) = rest.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            let number = |text: &str| {
                text.trim()
                    .parse()
                    .map_err(|_| format!("`[{inside}]` is neither `[3]` nor `[0..3]`"))
            };
            steps.push(match inside.split_once("..") {
                Some((from, to)) => match (number(from)?, number(to)?) {
                    (from, to) if from < to && to - from <= RUN_MAX => Step::Elements(from, to),
                    _ => return Err(format!("`[{inside}]` is not 1 to {RUN_MAX} elements")),
                },
                None => Step::Element(number(inside)?),
            });
            rest = after;
        } else {
            return Err(format!(
                "`{rest}` is neither `->member`, `.member` nor `[element]`"
            ));
        }
    }
    Ok(steps)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parsing() {
        let expression = Expression::try_from("$2->src[0]->view_src.name".to_owned()).unwrap();
        assert_eq!(expression.root, Root::Position(2));
        let member = |name: &str| Step::Member(name.to_owned());
        assert_eq!(
            expression.steps,
            [
                member("src"),
                Step::Element(0),
                member("view_src"),
                member("name")
            ]
        );
        let expression = Expression::try_from("this->src[1..6]".to_owned()).unwrap();
        assert_eq!(expression.root, Root::Name("this".to_owned()));
        assert_eq!(expression.steps, [member("src"), Step::Elements(1, 6)]);
        assert_eq!(
            Path::try_from("ne[1]".to_owned()).unwrap().steps,
            [member("ne"), Step::Element(1)]
        );
    }

    #[test]
    fn mistakes_are_named() {
        for (text, part) in [
            ("", "starts with"),
            ("$0", "from 1 on"),
            ("$", "from 1 on"),
            ("1a", "starts with"),
            ("a->", "missing"),
            ("a[x]", "[x]"),
            ("a[1", "neither"),
            ("a[3..3]", "1 to 64"),
            ("a[0..99999999999]", "1 to 64"),
            ("a b", "neither"),
        ] {
            let error = Expression::try_from(text.to_owned()).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
        assert!(Path::try_from("src[0..2]".to_owned()).is_err());
    }
}
