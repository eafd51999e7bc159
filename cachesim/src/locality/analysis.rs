//! What there is to measure.

/// One analysis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Analysis {
    /// Reuse distance and time: miss ratio curves, footprint, working set.
    Reuse,
    /// Bytes used of each line fetched. Rests on reuse distances, which are measured with it.
    LineUse,
    /// Lifetimes of written data, and writes by line.
    Lifetime,
    /// Lines by the threads that use them.
    Sharing,
    /// Strides by owner.
    Stride,
    /// DAMOV's spatial and temporal locality scores.
    Score,
}

impl Analysis {
    /// Every analysis with its word and its meaning.
    pub const BUILTIN: [(Self, &'static str, &'static str); 6] = [
        (
            Self::Reuse,
            "reuse",
            "reuse distance and time: miss ratio curve, footprint, working set",
        ),
        (
            Self::LineUse,
            "line-use",
            "bytes used of each line between its fetch and its eviction (measures reuse too)",
        ),
        (
            Self::Lifetime,
            "lifetime",
            "time from a write to the last read before the next; writes by line",
        ),
        (
            Self::Sharing,
            "sharing",
            "lines by the threads that read and write them",
        ),
        (
            Self::Stride,
            "stride",
            "distances between the accesses of each static operand",
        ),
        (
            Self::Score,
            "score",
            "DAMOV's spatial and temporal locality scores",
        ),
    ];

    /// All of them.
    pub fn all() -> impl Iterator<Item = Self> {
        Self::BUILTIN.iter().map(|(analysis, _, _)| *analysis)
    }

    /// The analysis of a word.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        let found = Self::BUILTIN.iter().find(|(_, name, _)| *name == word);
        found.map(|(analysis, _, _)| *analysis)
    }

    /// Its word.
    #[must_use]
    pub fn name(self) -> &'static str {
        let found = Self::BUILTIN.iter().find(|(analysis, _, _)| *analysis == self);
        found.map_or("", |(_, name, _)| name)
    }
}
