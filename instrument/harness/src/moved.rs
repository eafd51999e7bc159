//! `--moved FROM=TO`: where the files of a recorded program are now.

use std::path::PathBuf;
use std::str::FromStr;

/// `FROM=TO`: files below FROM are below TO now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Move {
    /// A folder, or a file.
    pub from: PathBuf,
    /// Likewise.
    pub to: PathBuf,
}

impl FromStr for Move {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            Some((from, to)) if !from.is_empty() && !to.is_empty() => Ok(Self {
                from: from.into(),
                to: to.into(),
            }),
            _ => Err(format!(
                "`{text}`: FROM=TO is needed, as in /build/llama=/home/me/llama"
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_move_has_two_sides() {
        let moved: Move = "/a=/b/c".parse().expect("two sides");
        assert_eq!((moved.from, moved.to), ("/a".into(), "/b/c".into()));
        for wrong in ["", "/a", "/a=", "=/b"] {
            assert!(wrong.parse::<Move>().is_err(), "{wrong}");
        }
    }
}
