//! Locality in a profile: one table of counts for all analyses, whose rows add up over any grouping.

use memloupe_cachesim::locality::{Bucket, GroupLocality, Histogram, STRIDE_BOUNDS, Scores, Strides};
use serde::{Deserialize, Serialize};

/// What was measured, in `profile.json`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LocalitySummary {
    /// Names of the analyses.
    pub analyses: Vec<String>,
    /// One line in so many was followed; 1 is exact.
    pub one_in: u64,
    /// Lines followed.
    pub lines_followed: u64,
    /// Data accesses: the clock of times and windows.
    pub accesses: u64,
    /// Bytes of a line.
    pub line_bytes: u64,
    /// Capacities of the caches that line use is about.
    pub capacities_bytes: Vec<u64>,
}

/// What a row of [`LocalityCount`] counts. Its name is that of the table's column `quantity`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Quantity {
    /// Line accesses; exact also where a sample of lines was followed.
    #[default]
    LineAccesses,
    /// Line accesses by reuse distance in lines.
    ReuseDistance,
    /// Line accesses by reuse time in accesses.
    ReuseTime,
    /// Lines by the time of their first use.
    FirstUse,
    /// Lines by the accesses from their last use to the end.
    LastUse,
    /// Lines fetched by the bytes used of them, in the cache of this position in [`LocalitySummary::capacities_bytes`].
    LineUse(usize),
    /// Generations of written data that were read, by lifetime in accesses.
    Lifetime,
    /// Generations that were overwritten unread.
    Dead,
    /// Generations still unread at the end.
    Unread,
    /// Lines by the number of their writes.
    LineWrites,
    /// Lines that one thread uses.
    Private,
    /// Lines that several threads read and none writes.
    ReadShared,
    /// Lines that one thread writes and others read.
    OneWriter,
    /// Lines that several threads write.
    ManyWriters,
    /// Accesses by their distance in bytes from the previous access of their site and row.
    Stride,
    /// Windows by DAMOV's locality scores; the sum is Σ 1 / stride.
    ScoreWindows,
    /// Accesses within these windows that are reuse.
    ScoreReused,
}

const NAMES: [(Quantity, &str); 15] = [
    (Quantity::LineAccesses, "line_accesses"),
    (Quantity::ReuseDistance, "reuse_distance"),
    (Quantity::ReuseTime, "reuse_time"),
    (Quantity::FirstUse, "first_use"),
    (Quantity::LastUse, "last_use"),
    (Quantity::Lifetime, "lifetime"),
    (Quantity::Dead, "dead"),
    (Quantity::Unread, "unread"),
    (Quantity::LineWrites, "line_writes"),
    (Quantity::Private, "private_lines"),
    (Quantity::ReadShared, "read_shared_lines"),
    (Quantity::OneWriter, "one_writer_lines"),
    (Quantity::ManyWriters, "many_writers_lines"),
    (Quantity::Stride, "stride"),
    (Quantity::ScoreWindows, "score_windows"),
];
const SCORE_REUSED: &str = "score_reused";
const LINE_USE: &str = "line_use_";

impl Quantity {
    /// Its name.
    #[must_use]
    pub fn name(self) -> String {
        match self {
            Self::LineUse(cache) => format!("{LINE_USE}{cache}"),
            Self::ScoreReused => SCORE_REUSED.to_owned(),
            plain => {
                let found = NAMES.iter().find(|(quantity, _)| *quantity == plain);
                found.map_or("", |(_, name)| name).to_owned()
            }
        }
    }

    /// The quantity of a name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        if name == SCORE_REUSED {
            return Some(Self::ScoreReused);
        }
        if let Some(cache) = name.strip_prefix(LINE_USE) {
            return cache.parse().ok().map(Self::LineUse);
        }
        let found = NAMES.iter().find(|(_, known)| *known == name);
        found.map(|(quantity, _)| *quantity)
    }
}

/// How much of a quantity falls into a class of values, for one context and object.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct LocalityCount {
    /// What is counted; none if a newer memloupe knows it.
    pub quantity: Option<Quantity>,
    /// Index in [`Profile::contexts`](super::Profile::contexts).
    pub context: u32,
    /// Index in [`Profile::sites`](super::Profile::sites); strides have one.
    pub site: Option<u32>,
    /// Index in [`Profile::objects`](super::Profile::objects); scores have none.
    pub object: Option<u32>,
    /// Least value of the class; 0 where there are no classes.
    pub from: u64,
    /// Least value of the next class; 0 where there are no classes.
    pub to: u64,
    /// How many.
    pub count: u64,
    /// Sum of their values.
    pub sum: f64,
}

/// The counts of a group, without those that are zero.
pub(crate) fn counts_of_group(
    locality: &GroupLocality,
    context: u32,
    object: u32,
    counts: &mut Vec<LocalityCount>,
) {
    let mut push = |quantity, from, to, count, sum| {
        if count > 0 {
            counts.push(LocalityCount {
                quantity: Some(quantity),
                context,
                site: None,
                object: Some(object),
                from,
                to,
                count,
                sum,
            });
        }
    };
    let (lifetimes, sharing) = (&locality.lifetimes, &locality.sharing);
    for (quantity, count) in [
        (Quantity::LineAccesses, locality.line_accesses),
        (Quantity::Dead, lifetimes.dead),
        (Quantity::Unread, lifetimes.unread),
        (Quantity::Private, sharing.private),
        (Quantity::ReadShared, sharing.read_shared),
        (Quantity::OneWriter, sharing.one_writer),
        (Quantity::ManyWriters, sharing.many_writers),
    ] {
        push(quantity, 0, 0, count, 0.0);
    }
    let reuse = &locality.reuse;
    let line_use = locality.used_bytes.iter().enumerate();
    let histograms = [
        (Quantity::ReuseDistance, &reuse.distances),
        (Quantity::ReuseTime, &reuse.times),
        (Quantity::FirstUse, &reuse.first_uses),
        (Quantity::LastUse, &reuse.last_uses),
        (Quantity::Lifetime, &lifetimes.read),
        (Quantity::LineWrites, &lifetimes.writes),
    ]
    .into_iter()
    .chain(line_use.map(|(cache, bytes)| (Quantity::LineUse(cache), bytes)));
    for (quantity, histogram) in histograms {
        for (from, to, bucket) in histogram.buckets() {
            push(quantity, from, to, bucket.count, bucket.sum);
        }
    }
}

/// The counts of a row's strides.
pub(crate) fn counts_of_strides(
    strides: &Strides,
    context: u32,
    site: u32,
    object: u32,
    counts: &mut Vec<LocalityCount>,
) {
    let ends = STRIDE_BOUNDS.iter().map(|bound| bound + 1).chain([u64::MAX]);
    let mut from = 0;
    for (to, count) in ends.zip(strides.0) {
        if count > 0 {
            counts.push(LocalityCount {
                quantity: Some(Quantity::Stride),
                context,
                site: Some(site),
                object: Some(object),
                from,
                to,
                count,
                sum: 0.0,
            });
        }
        from = to;
    }
}

/// The counts of a context's scores.
pub(crate) fn counts_of_scores(scores: &Scores, context: u32, counts: &mut Vec<LocalityCount>) {
    for (quantity, count, sum) in [
        (Quantity::ScoreWindows, scores.windows, scores.inverse_strides),
        (Quantity::ScoreReused, scores.reused, 0.0),
    ] {
        if count > 0 {
            counts.push(LocalityCount {
                quantity: Some(quantity),
                context,
                count,
                sum,
                ..LocalityCount::default()
            });
        }
    }
}

/// Sums of counts, as they were measured.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct LocalitySum {
    pub(crate) group: GroupLocality,
    pub(crate) strides: Strides,
    pub(crate) scores: Scores,
}

impl LocalitySum {
    pub(crate) fn add(&mut self, row: &LocalityCount) {
        let Some(quantity) = row.quantity else { return };
        let (lifetimes, sharing) = (&mut self.group.lifetimes, &mut self.group.sharing);
        let reuse = &mut self.group.reuse;
        let plain = match quantity {
            Quantity::LineAccesses => &mut self.group.line_accesses,
            Quantity::Dead => &mut lifetimes.dead,
            Quantity::Unread => &mut lifetimes.unread,
            Quantity::Private => &mut sharing.private,
            Quantity::ReadShared => &mut sharing.read_shared,
            Quantity::OneWriter => &mut sharing.one_writer,
            Quantity::ManyWriters => &mut sharing.many_writers,
            Quantity::ScoreReused => &mut self.scores.reused,
            Quantity::ScoreWindows => {
                self.scores.inverse_strides += row.sum;
                &mut self.scores.windows
            }
            Quantity::Stride => {
                let class = STRIDE_BOUNDS.iter().position(|bound| row.from <= *bound);
                &mut self.strides.0[class.unwrap_or(STRIDE_BOUNDS.len())]
            }
            histogram => {
                let histogram = match histogram {
                    Quantity::ReuseTime => &mut reuse.times,
                    Quantity::FirstUse => &mut reuse.first_uses,
                    Quantity::LastUse => &mut reuse.last_uses,
                    Quantity::Lifetime => &mut lifetimes.read,
                    Quantity::LineWrites => &mut lifetimes.writes,
                    Quantity::LineUse(cache) => {
                        let used = &mut self.group.used_bytes;
                        if used.len() <= cache {
                            used.resize(cache + 1, Histogram::default());
                        }
                        &mut used[cache]
                    }
                    _ => &mut reuse.distances,
                };
                let (count, sum) = (row.count, row.sum);
                histogram.add_bucket(row.from, Bucket { count, sum });
                return;
            }
        };
        *plain += row.count;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_counted_is_summed_again() {
        let mut locality = GroupLocality {
            line_accesses: 7,
            used_bytes: vec![Histogram::default(), Histogram::default()],
            ..GroupLocality::default()
        };
        for (value, histogram) in [
            &mut locality.reuse.distances,
            &mut locality.reuse.times,
            &mut locality.reuse.first_uses,
            &mut locality.reuse.last_uses,
            &mut locality.lifetimes.read,
            &mut locality.lifetimes.writes,
            &mut locality.used_bytes[1],
        ]
        .into_iter()
        .enumerate()
        {
            histogram.add(value as u64 * 1000, 3);
            histogram.add(5, 1);
        }
        locality.lifetimes.dead = 2;
        locality.lifetimes.unread = 3;
        locality.sharing.one_writer = 4;
        let strides = Strides([1, 2, 3, 4, 5, 6, 7, 8, 9]);
        let scores = Scores {
            windows: 2,
            inverse_strides: 1.5,
            reused: 9,
        };
        let mut counts = Vec::new();
        counts_of_group(&locality, 0, 0, &mut counts);
        counts_of_strides(&strides, 0, 0, 0, &mut counts);
        counts_of_scores(&scores, 0, &mut counts);
        let mut sum = LocalitySum::default();
        for row in &counts {
            let name = row.quantity.map(Quantity::name).unwrap_or_default();
            assert_eq!(Quantity::parse(&name), row.quantity);
            sum.add(row);
        }
        let expected = LocalitySum {
            group: locality,
            strides,
            scores,
        };
        assert_eq!(sum, expected);
    }
}
