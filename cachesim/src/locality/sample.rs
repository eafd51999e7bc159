//! Which lines are followed: one in so many, chosen by a hash of the line's number.
//!
//! This is the spatial sampling of SHARDS (Waldspurger, Park, Garthwaite, Ahmad: Efficient MRC Construction with
//! SHARDS, FAST 2015). A line is followed through its whole life or not at all, so that everything measured on the
//! followed lines, times [`Sample::one_in`], estimates the same of all lines. One in one is exact.

/// The rule of the sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sample {
    one_in: u64,
    // A line is followed if the upper half of its hash is below this.
    threshold: u64,
}

impl Sample {
    pub(super) fn new(one_in: u64) -> Self {
        let one_in = one_in.max(1);
        Self {
            one_in,
            threshold: (1 << 32) / one_in,
        }
    }

    /// How many lines each followed line stands for.
    pub(super) fn one_in(&self) -> u64 {
        self.one_in
    }

    /// A sample of half the size, whose lines are all in this one.
    pub(super) fn halved(&self) -> Self {
        Self::new(self.one_in * 2)
    }

    /// Whether a line is followed.
    #[inline(always)]
    pub(super) fn takes(&self, line: u64) -> bool {
        hash(line) >> 32 < self.threshold
    }
}

/// Mixes all bits of a line's number into the upper half: constants of splitmix64 (Steele, Lea, Flood, 2014).
#[inline(always)]
fn hash(line: u64) -> u64 {
    let mut hash = line.wrapping_add(0x9e37_79b9_7f4a_7c15);
    hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb)
}

#[cfg(test)]
mod tests {
    use super::Sample;

    #[test]
    fn it_takes_its_share_of_any_stride() {
        let sample = Sample::new(100);
        for stride in [1, 2, 3, 7, 64, 100, 1 << 14, (1 << 20) + 1] {
            let taken = (0..1 << 20)
                .filter(|i| sample.takes(0x5555_0000_0000 + i * stride))
                .count();
            assert!((9_900..11_100).contains(&taken), "{taken} at stride {stride}");
        }
    }

    #[test]
    fn half_a_sample_is_part_of_it() {
        let sample = Sample::new(3);
        let half = sample.halved();
        assert!((0..10_000).all(|line| sample.takes(line) || !half.takes(line)));
        assert!((0..10_000).all(|line| Sample::new(1).takes(line)));
    }
}
