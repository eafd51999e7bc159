//! Name patterns: `*` any text, `?` one character, `{n}` a number that is captured; anything else stands for itself.

use serde::Deserialize;

/// A name pattern, matched against whole names.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Pattern {
    text: String,
    pieces: Vec<Piece>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Piece {
    Byte(u8),
    One,
    Any,
    Number,
}

impl TryFrom<String> for Pattern {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let mut pieces = Vec::new();
        let mut rest = text.as_bytes();
        while let Some((&first, after)) = rest.split_first() {
            let piece = match first {
                b'*' => Piece::Any,
                b'?' => Piece::One,
                b'{' => Piece::Number,
                byte => Piece::Byte(byte),
            };
            rest = after;
            if piece == Piece::Number {
                rest = after
                    .strip_prefix(b"n}")
                    .ok_or_else(|| format!("pattern `{text}`: after `{{` only `n}}` can follow"))?;
            }
            if piece != Piece::Any || pieces.last() != Some(&Piece::Any) {
                pieces.push(piece);
            }
        }
        match pieces.iter().filter(|piece| **piece == Piece::Number).count() {
            _ if pieces.is_empty() => Err("a pattern is empty".to_owned()),
            0 | 1 => Ok(Self { text, pieces }),
            _ => Err(format!("pattern `{text}`: more than one `{{n}}`")),
        }
    }
}

impl std::fmt::Display for Pattern {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

impl Pattern {
    /// Whether the whole name matches.
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        search(&self.pieces, name.as_bytes()).is_some()
    }

    /// The digits at `{n}`, if the whole name matches and the pattern has one.
    #[must_use]
    pub fn number<'n>(&self, name: &'n str) -> Option<&'n str> {
        let end = search(&self.pieces, name.as_bytes())??;
        name.get(name.len() - end.from_end..name.len() - end.from_end + end.digits)
    }

    /// What the first `*` stands for, if the whole name matches.
    pub(crate) fn star<'n>(&self, name: &'n str) -> Option<&'n str> {
        let star = self.pieces.iter().position(|piece| *piece == Piece::Any)?;
        let (before, after) = (&self.pieces[..star], &self.pieces[star + 1..]);
        let fixed = !before.contains(&Piece::Number) && self.matches(name);
        let rest = name.get(star..).filter(|_| fixed)?;
        let ends = |end: &usize| search(after, &rest.as_bytes()[*end..]).is_some();
        rest.get(..(0..=rest.len()).find(ends)?)
    }

    /// The identifiers in the pattern that stand unchanged in the mangled name of whatever it matches.
    pub(crate) fn words(&self) -> impl Iterator<Item = &str> {
        // `std` is mangled as `St`, and template arguments such as `int` to a letter.
        let plain = self.text.split('<').next().unwrap_or_default();
        plain
            .split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
            .filter(|word| !word.is_empty() && *word != "std" && *word != "n")
    }
}

/// Where a number was found.
#[derive(Clone, Copy)]
struct Digits {
    from_end: usize,
    digits: usize,
}

/// `None` if the name does not match; else where the number is, if there is one.
fn search(pieces: &[Piece], name: &[u8]) -> Option<Option<Digits>> {
    let Some((piece, pieces)) = pieces.split_first() else {
        return name.is_empty().then_some(None);
    };
    match piece {
        Piece::Byte(byte) => (name.first() == Some(byte)).then(|| search(pieces, &name[1..]))?,
        Piece::One => (!name.is_empty()).then(|| search(pieces, &name[1..]))?,
        Piece::Any if pieces.is_empty() => Some(None),
        Piece::Any => (0..=name.len()).find_map(|skipped| search(pieces, &name[skipped..])),
        Piece::Number => {
            let digits = name.iter().take_while(|byte| byte.is_ascii_digit()).count();
            (digits > 0).then(|| search(pieces, &name[digits..]))??;
            Some(Some(Digits {
                from_end: name.len(),
                digits,
            }))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> Pattern {
        Pattern::try_from(text.to_owned()).unwrap()
    }

    #[test]
    fn globs() {
        for (text, yes, no) in [
            ("ggml_*", "ggml_add", "gml_add"),
            ("*.weight", "blk.0.attn_q.weight", "blk.0.attn_q.weight (view)"),
            ("a*b*c", "aXbYbZc", "aXbYbZ"),
            ("?x", "ax", "x"),
            ("*", "", "\u{0}never"),
            ("exact", "exact", "exactly"),
            ("cache_?_l{n}*", "cache_k_l12 (view)", "cache_k_l (view)"),
        ] {
            assert!(pattern(text).matches(yes), "{text} should match {yes}");
            assert!(
                text == "*" || !pattern(text).matches(no),
                "{text} should not match {no}"
            );
        }
    }

    #[test]
    fn stars() {
        assert_eq!(
            pattern("at::_ops::*::call").star("at::_ops::add_Tensor::call"),
            Some("add_Tensor")
        );
        assert_eq!(pattern("*_f32").star("gemm_f32"), Some("gemm"));
        assert_eq!(pattern("f*").star("f"), Some(""));
        assert_eq!(pattern("f*").star("g"), None);
        assert_eq!(pattern("exact").star("exact"), None);
    }

    #[test]
    fn numbers() {
        assert_eq!(pattern("blk.{n}.*").number("blk.17.attn_q.weight"), Some("17"));
        assert_eq!(pattern("*-{n}").number("Kcur-3"), Some("3"));
        assert_eq!(pattern("*-{n}").number("result-1-20"), Some("20"));
        assert_eq!(pattern("*-{n}").number("Kcur-3 (view)"), None);
        assert_eq!(pattern("*-{n} (*").number("Kcur-3 (view)"), Some("3"));
        assert_eq!(pattern("cache_?_l{n}*").number("cache_v_l12 (view)"), Some("12"));
        assert_eq!(pattern("*").number("a1"), None);
    }

    #[test]
    fn mistakes_are_named() {
        for text in ["", "a{m}", "{", "{n}{n}"] {
            assert!(Pattern::try_from(text.to_owned()).is_err(), "`{text}`");
        }
    }

    #[test]
    fn words_of_a_qualified_name() {
        let words: Vec<_> = pattern("std::*llama_context::build*<int>")
            .words()
            .map(str::to_owned)
            .collect();
        assert_eq!(words, ["llama_context", "build"]);
    }
}
