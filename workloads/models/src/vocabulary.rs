//! A made-up vocabulary of any size, in the SentencePiece form that llama.cpp calls `llama`.
//!
//! It holds what the tokenizer cannot do without (unknown, begin, end and one token per byte); the rest are
//! pronounceable words that mean nothing. The published models' vocabularies and merges are not reproduced.

pub(crate) const UNKNOWN_ID: u32 = 0;
pub(crate) const BEGIN_ID: u32 = 1;
pub(crate) const END_ID: u32 = 2;

/// `enum llama_token_type`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub(crate) enum Kind {
    Normal = 1,
    Unknown = 2,
    Control = 3,
    Byte = 6,
}

#[derive(Clone, Debug)]
pub(crate) struct Token {
    pub(crate) text: String,
    /// Log probability; merges of higher score come first.
    pub(crate) score: f32,
    pub(crate) kind: Kind,
}

/// The `n` tokens of a vocabulary, all different.
pub(crate) fn tokens(n: u64) -> Vec<Token> {
    let special = [
        ("<unk>", Kind::Unknown),
        ("<s>", Kind::Control),
        ("</s>", Kind::Control),
    ]
    .map(|(text, kind)| Token {
        text: text.into(),
        score: 0.0,
        kind,
    });
    let bytes = (0..=u8::MAX).map(|byte| Token {
        text: format!("<0x{byte:02X}>"),
        score: 0.0,
        kind: Kind::Byte,
    });
    let words = (0_u64..).map(|i| Token {
        text: word(i),
        score: -(i as f32),
        kind: Kind::Normal,
    });
    special
        .into_iter()
        .chain(bytes)
        .chain(words)
        .take(n as usize)
        .collect()
}

/// The `i`-th word: `i` written in syllables, least significant first, after SentencePiece's word boundary.
fn word(mut i: u64) -> String {
    const CONSONANTS: &[u8; 16] = b"bdfghjklmnprstvz";
    const VOWELS: &[u8; 5] = b"aeiou";
    const N_SYLLABLES: u64 = 16 * 5;
    let mut text = String::from("\u{2581}");
    loop {
        let syllable = (i % N_SYLLABLES) as usize;
        text.push(CONSONANTS[syllable / VOWELS.len()].into());
        text.push(VOWELS[syllable % VOWELS.len()].into());
        i /= N_SYLLABLES;
        if i == 0 {
            return text;
        }
        i -= 1; // so that "ba" and "baba" are different words
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn tokens_are_all_different() {
        let n = 151_936;
        let texts: HashSet<String> = tokens(n).into_iter().map(|token| token.text).collect();
        assert_eq!(texts.len() as u64, n);
    }

    #[test]
    fn special_tokens_have_the_ids_that_the_metadata_states() {
        let tokens = tokens(300);
        assert_eq!(tokens[UNKNOWN_ID as usize].kind, Kind::Unknown);
        assert_eq!(tokens[BEGIN_ID as usize].text, "<s>");
        assert_eq!(tokens[END_ID as usize].text, "</s>");
        assert_eq!(
            tokens.iter().filter(|token| token.kind == Kind::Byte).count(),
            256
        );
    }
}
