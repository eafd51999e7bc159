//! Which known name a mistyped one is nearest to.

use strsim::levenshtein;

/// The candidate with the smallest edit distance, if that is at most a third of its length (but at least 2).
pub(crate) fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    candidates
        .into_iter()
        .map(|candidate| (levenshtein(name, candidate), candidate))
        .filter(|&(distance, candidate)| distance <= (candidate.len() / 3).max(2))
        .min_by_key(|&(distance, _)| distance)
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn only_a_near_name_is_proposed() {
        assert_eq!(nearest("desktpo", ["host", "desktop"]), Some("desktop"));
        assert_eq!(nearest("wyas", ["size", "ways"]), Some("ways"));
        assert_eq!(nearest("mainframe", ["host", "desktop"]), None);
    }
}
