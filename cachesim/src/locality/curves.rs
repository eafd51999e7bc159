//! What follows from reuse distances and times: miss ratios by cache size, footprints and working sets by window.

use super::histogram::Histogram;
use super::reuse::Reuse;

/// A point of a miss ratio curve.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MissRatio {
    /// Lines of the cache.
    pub lines: u64,
    /// Misses among the line accesses; compulsory ones are counted.
    pub ratio: f64,
}

impl Reuse {
    /// Misses of a fully associative LRU cache of so many lines: exact where a class of the histogram begins.
    #[must_use]
    pub fn misses(&self, cache_lines: u64) -> u64 {
        self.first_uses.count() + self.distances.at_least(cache_lines)
    }

    /// Misses per line access by cache size, from one line until only compulsory misses are left.
    ///
    /// `line_accesses` is the number of all line accesses, whether their lines were followed or not. Where a sample was
    /// taken, hits make up for what the followed lines were used more or less than their share (SHARDS-adj in the
    /// paper): a hot line is in the sample or it is not, but it hits.
    #[must_use]
    pub fn miss_ratio_curve(&self, line_accesses: u64) -> Vec<MissRatio> {
        let largest = self
            .distances
            .buckets()
            .last()
            .map_or(1, |(least, _, _)| least + 1);
        Histogram::bounds(largest)
            .map(|lines| MissRatio {
                lines,
                ratio: (self.misses(lines) as f64 / line_accesses.max(1) as f64).min(1.0),
            })
            .collect()
    }

    /// Average footprint: how many lines a window of so many accesses uses, over all windows of a stream of `accesses`.
    ///
    /// Xiang, Bao, Ding, Gao: Linear-time Modeling of Program Working Set in Shared Cache, PACT 2011. Of a group, it
    /// is the lines that the group is the first in the window to use, so that groups add up; where a window is cut off by
    /// the end of the stream, the group that used a line last stands for the first. Exact where a class of a histogram
    /// begins.
    #[must_use]
    pub fn footprint(&self, window: u64, accesses: u64) -> f64 {
        let window = window.min(accesses);
        if window == 0 {
            return 0.0;
        }
        let brought = self.times.clipped(window) + self.first_uses.clipped(window);
        // Windows that would begin too late to be whole.
        let cut_off = window as f64 * self.last_uses.count() as f64 - self.last_uses.clipped(window);
        (brought - cut_off) / (accesses - window + 1) as f64
    }

    /// Denning's working set: how many lines were used in the last `window` accesses, averaged over the moments after
    /// each access of a stream of `accesses` (Denning and Schwartz, CACM 15(3), 1972). A line is charged to the group
    /// that uses it next, or used it last.
    #[must_use]
    pub fn working_set(&self, window: u64, accesses: u64) -> f64 {
        (self.times.clipped(window) + self.last_uses.clipped(window)) / accesses.max(1) as f64
    }
}
