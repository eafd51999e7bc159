//! The name that was probably meant.

use strsim::levenshtein;

/// "; nearest: `op`" or nothing.
pub(super) fn nearest<'n>(name: &str, names: impl Iterator<Item = &'n str>) -> String {
    names
        .map(|candidate| (levenshtein(name, candidate), candidate))
        .min()
        .map_or_else(String::new, |(_, candidate)| format!("; nearest: `{candidate}`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_shown() {
        assert_eq!(
            nearest("nane", ["none_at_all", "name"].into_iter()),
            "; nearest: `name`"
        );
        assert_eq!(nearest("x", [].into_iter()), "");
    }
}
