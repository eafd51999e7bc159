//! `--filter KEY=GLOB`: which traffic a report is about.

use super::{Key, QueryError};

/// Keeps traffic whose key matches a pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Filter {
    pub(super) key: Key,
    pattern: Vec<char>,
}

impl Filter {
    pub(super) fn parse(text: &str) -> Result<Self, QueryError> {
        let (word, pattern) = text
            .split_once('=')
            .ok_or_else(|| QueryError::Filter(text.to_owned()))?;
        let key = Key::parse(word).ok_or_else(|| QueryError::Key(word.to_owned()))?;
        Ok(Self {
            key,
            pattern: pattern.chars().collect(),
        })
    }

    /// Whether a value matches: `*` stands for any text, `?` for any one character, all else for itself. Brackets too,
    /// because phases have them in their names.
    pub(super) fn matches(&self, value: &str) -> bool {
        let value: Vec<char> = value.chars().collect();
        let pattern = &self.pattern;
        let (mut at, mut of) = (0, 0);
        // Where to go on if the last star has to take one more character.
        let mut retry = None;
        while at < value.len() {
            match pattern.get(of) {
                Some('*') => {
                    of += 1;
                    retry = Some((at, of));
                }
                Some(expected) if *expected == '?' || *expected == value[at] => {
                    at += 1;
                    of += 1;
                }
                _ => {
                    let Some((taken, after_star)) = retry else {
                        return false;
                    };
                    at = taken + 1;
                    of = after_star;
                    retry = Some((at, of));
                }
            }
        }
        pattern[of..].iter().all(|rest| *rest == '*')
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, value: &str) -> bool {
        Filter::parse(&format!("phase={pattern}")).is_ok_and(|filter| filter.matches(value))
    }

    #[test]
    fn globs() {
        for (pattern, value) in [
            ("decode[3]", "decode[3]"),
            ("decode*", "decode[12]"),
            ("*", ""),
            ("**", "x"),
            ("blk.*.ffn_*.weight", "blk.17.ffn_up.weight"),
            ("*a*b", "aabab"),
            ("d?code", "décode"),
            ("", ""),
        ] {
            assert!(matches(pattern, value), "{pattern} should match {value}");
        }
        for (pattern, value) in [
            ("decode", "decode[3]"),
            ("blk.?.x", "blk.12.x"),
            ("?", ""),
            ("*a", "ab"),
            ("a*b*c", "acb"),
            ("", "x"),
        ] {
            assert!(!matches(pattern, value), "{pattern} should not match {value}");
        }
    }
}
