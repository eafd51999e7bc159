//! Counts by size class: four classes for each power of two, so that a class is at most a quarter wide.

use std::ops::AddAssign;

/// What fell into a class.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Bucket {
    /// How many values.
    pub count: u64,
    /// Their sum: what makes averages exact that would otherwise be known to a quarter only.
    pub sum: f64,
}

/// A class by its number.
type Class = (u8, Bucket);

/// A histogram of any `u64` values in bounded memory: 24 bytes for each class that has any, 252 classes at most.
///
/// Values below 4 have a class each, then every power of two is cut into four. Cache sizes are such bounds as a rule
/// (48 KiB = 768 lines, 1.25 MiB = 20480 lines), so nothing is interpolated there.
#[derive(Clone, Debug, Default)]
pub struct Histogram {
    // By class, ascending; none is empty.
    buckets: Vec<Class>,
    // The one added to last: it is likely the next one's.
    recent: usize,
}

/// Number of the class of a value.
#[inline]
fn class(value: u64) -> usize {
    if value < 4 {
        return value as usize;
    }
    let octave = value.ilog2() - 2;
    4 * octave as usize + (value >> octave) as usize
}

/// The least value of a class.
fn least(class: usize) -> u64 {
    if class < 4 {
        return class as u64;
    }
    let octave = class / 4 - 1;
    (4 + class as u64 % 4) << octave
}

impl Histogram {
    /// Counts `value` so many times.
    #[inline]
    pub fn add(&mut self, value: u64, times: u64) {
        if times > 0 {
            self.add_bucket(
                value,
                Bucket {
                    count: times,
                    sum: value as f64 * times as f64,
                },
            );
        }
    }

    /// Adds to the class of `value` what [`Histogram::buckets`] gave of it.
    #[inline]
    pub fn add_bucket(&mut self, value: u64, more: Bucket) {
        let class = class(value) as u8;
        if self.buckets.get(self.recent).is_none_or(|(of, _)| *of != class) {
            self.recent = self.buckets.partition_point(|(of, _)| *of < class);
            if self.buckets.get(self.recent).is_none_or(|(of, _)| *of != class) {
                self.buckets.insert(self.recent, (class, Bucket::default()));
            }
        }
        let bucket = &mut self.buckets[self.recent].1;
        bucket.count += more.count;
        bucket.sum += more.sum;
    }

    /// Every class that is not empty: its least value, the least value of the next class, and what fell into it.
    pub fn buckets(&self) -> impl DoubleEndedIterator<Item = (u64, u64, Bucket)> + '_ {
        self.buckets.iter().map(|(class, bucket)| {
            let class = usize::from(*class);
            (least(class), Self::bound(class + 1), *bucket)
        })
    }

    /// Whether there is no value.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.buckets.is_empty()
    }

    /// How many values there are.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.buckets.iter().map(|(_, bucket)| bucket.count).sum()
    }

    /// Sum of the values.
    #[must_use]
    pub fn sum(&self) -> f64 {
        self.buckets.iter().map(|(_, bucket)| bucket.sum).sum()
    }

    /// How many values are at least `bound`: exact if it bounds a class, else the class that it cuts counts as below.
    #[must_use]
    pub fn at_least(&self, bound: u64) -> u64 {
        let (_, above) = self.split(bound);
        above.iter().map(|(_, bucket)| bucket.count).sum()
    }

    /// Sum over all values, each counted as `bound` at most: exact if it bounds a class.
    #[must_use]
    pub fn clipped(&self, bound: u64) -> f64 {
        let (below, above) = self.split(bound);
        let whole: f64 = below.iter().map(|(_, bucket)| bucket.sum).sum();
        let count: u64 = above.iter().map(|(_, bucket)| bucket.count).sum();
        whole + bound as f64 * count as f64
    }

    /// The lower bound of the class in which the `fraction` of all values is reached; none if there is no value.
    #[must_use]
    pub fn quantile(&self, fraction: f64) -> Option<u64> {
        let wanted = self.count() as f64 * fraction;
        let mut below = 0;
        self.buckets().find_map(|(least, _, bucket)| {
            below += bucket.count;
            (below as f64 >= wanted).then_some(least)
        })
    }

    /// The bounds of classes up to the first that is at least `most`, ascending from 1.
    pub fn bounds(most: u64) -> impl Iterator<Item = u64> {
        (1..=if most == 0 { 0 } else { class(most - 1) + 1 }).map(Self::bound)
    }

    fn bound(class_number: usize) -> u64 {
        if class_number > class(u64::MAX) {
            return u64::MAX;
        }
        least(class_number)
    }

    /// The classes below a bound and those above.
    fn split(&self, bound: u64) -> (&[Class], &[Class]) {
        let first = class(bound) + usize::from(least(class(bound)) < bound);
        self.buckets.split_at(
            self.buckets
                .partition_point(|(class, _)| usize::from(*class) < first),
        )
    }
}

impl PartialEq for Histogram {
    fn eq(&self, other: &Self) -> bool {
        self.buckets == other.buckets
    }
}

impl AddAssign<&Histogram> for Histogram {
    fn add_assign(&mut self, other: &Histogram) {
        for (class, bucket) in &other.buckets {
            self.add_bucket(least(usize::from(*class)), *bucket);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn classes_are_a_quarter_of_an_octave() {
        let bounds: Vec<u64> = (0..17).map(least).collect();
        assert_eq!(
            bounds,
            [0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16, 20, 24, 28, 32]
        );
        assert_eq!(class(u64::MAX), 251);
        assert_eq!(
            Histogram::bounds(9).collect::<Vec<_>>(),
            [1, 2, 3, 4, 5, 6, 7, 8, 10]
        );
    }

    proptest! {
        #[test]
        fn a_value_is_within_its_class(value: u64) {
            let class = class(value);
            prop_assert!(least(class) <= value);
            prop_assert!(class == 251 || value < least(class + 1));
        }

        #[test]
        fn it_agrees_with_the_values_at_bounds(
            values in prop::collection::vec((0u64..5000, 1u64..5), 0..50), bound in 0usize..60,
        ) {
            let bound = least(bound);
            let mut histogram = Histogram::default();
            values.iter().for_each(|(value, times)| histogram.add(*value, *times));
            let above = values.iter().filter(|(value, _)| *value >= bound);
            prop_assert_eq!(histogram.at_least(bound), above.map(|(_, times)| times).sum::<u64>());
            let clipped: u64 = values.iter().map(|(value, times)| value.min(&bound) * times).sum();
            prop_assert_eq!(histogram.clipped(bound), clipped as f64);
            prop_assert_eq!(histogram.count(), values.iter().map(|(_, times)| times).sum::<u64>());
        }
    }
}
