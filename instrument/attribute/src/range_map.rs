//! A map from disjoint address ranges to values.

use std::collections::BTreeMap;

/// A range and its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry<V> {
    pub(crate) start: u64,
    /// One past the last address.
    pub(crate) end: u64,
    pub(crate) value: V,
}

impl<V> Entry<V> {
    pub(crate) fn bytes(&self) -> u64 {
        self.end - self.start
    }
}

/// What an address is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place<V> {
    /// A range.
    In(Entry<V>),
    /// The gap between two ranges.
    Gap { start: u64, end: u64 },
}

/// The addresses that are in both ranges [start, end).
pub(crate) fn intersect(left: (u64, u64), right: (u64, u64)) -> (u64, u64) {
    (left.0.max(right.0), left.1.min(right.1))
}

/// Disjoint, non-empty ranges [start, end); the last one that was put somewhere wins. The address `u64::MAX` belongs to none.
#[derive(Clone, Debug)]
pub(crate) struct RangeMap<V> {
    /// By start: end and value.
    ranges: BTreeMap<u64, (u64, V)>,
    version: u64,
}

impl<V> Default for RangeMap<V> {
    fn default() -> Self {
        Self {
            ranges: BTreeMap::new(),
            version: 0,
        }
    }
}

impl<V: Copy + PartialEq> RangeMap<V> {
    pub(crate) fn len(&self) -> usize {
        self.ranges.len()
    }

    /// Grows whenever something may have changed.
    pub(crate) fn version(&self) -> u64 {
        self.version
    }

    pub(crate) fn clear(&mut self) {
        self.version += 1;
        self.ranges.clear();
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = Entry<V>> + '_ {
        self.ranges.iter().map(|(start, (end, value))| Entry {
            start: *start,
            end: *end,
            value: *value,
        })
    }

    pub(crate) fn at(&self, address: u64) -> Place<V> {
        let below = self.ranges.range(..=address).next_back();
        let start = match below {
            Some((start, (end, value))) if address < *end => {
                return Place::In(Entry {
                    start: *start,
                    end: *end,
                    value: *value,
                });
            }
            Some((_, (end, _))) => *end,
            None => 0,
        };
        let above = self.ranges.range(address..).next();
        Place::Gap {
            start,
            end: above.map_or(u64::MAX, |(start, _)| *start),
        }
    }

    /// The range that starts exactly here.
    pub(crate) fn starting_at(&self, start: u64) -> Option<Entry<V>> {
        self.ranges.get(&start).map(|(end, value)| Entry {
            start,
            end: *end,
            value: *value,
        })
    }

    /// The ranges that overlap [start, end), uncut, in order.
    pub(crate) fn overlapping(&self, start: u64, end: u64) -> impl Iterator<Item = Entry<V>> + '_ {
        let first = match self.at(start) {
            Place::In(entry) if start < end => entry.start,
            _ => start,
        };
        self.ranges
            .range(first..end.max(first))
            .map(|(start, (end, value))| Entry {
                start: *start,
                end: *end,
                value: *value,
            })
    }

    /// The ranges that overlap [start, end), cut to it, in order.
    pub(crate) fn cut(&self, start: u64, end: u64) -> impl Iterator<Item = Entry<V>> + '_ {
        self.overlapping(start, end).map(move |entry| Entry {
            start: entry.start.max(start),
            end: entry.end.min(end),
            value: entry.value,
        })
    }

    /// Removes [start, end); `lost` receives the removed pieces, cut to it, in order.
    pub(crate) fn remove(&mut self, start: u64, end: u64, mut lost: impl FnMut(Entry<V>)) {
        if start >= end {
            return;
        }
        if let Place::In(entry) = self.at(start)
            && entry.start < start
        {
            self.ranges.insert(entry.start, (start, entry.value));
            self.ranges.insert(start, (entry.end, entry.value));
        }
        while let Some(entry) = self.ranges.range(start..end).next().map(|(start, _)| *start) {
            self.version += 1;
            let (entry_end, value) = self.ranges.remove(&entry).expect("it was just found");
            if entry_end > end {
                self.ranges.insert(end, (entry_end, value));
            }
            lost(Entry {
                start: entry,
                end: entry_end.min(end),
                value,
            });
        }
    }

    /// Puts a range of its own, which stays apart from equal neighbours. It must not overlap another.
    pub(crate) fn put(&mut self, start: u64, end: u64, value: V) {
        debug_assert!(self.overlapping(start, end).next().is_none());
        if start < end {
            self.version += 1;
            self.ranges.insert(start, (end, value));
        }
    }

    /// Puts a range and merges it with neighbours of the same value. It must not overlap another.
    pub(crate) fn join(&mut self, mut start: u64, mut end: u64, value: V) {
        debug_assert!(self.overlapping(start, end).next().is_none());
        if start >= end {
            return;
        }
        self.version += 1;
        if let Some((below, (below_end, below_value))) = self.ranges.range(..start).next_back()
            && (*below_end, *below_value) == (start, value)
        {
            start = *below;
        }
        if let Some((above_end, above_value)) = self.ranges.get(&end).copied()
            && above_value == value
        {
            self.ranges.remove(&end);
            end = above_end;
        }
        self.ranges.insert(start, (end, value));
    }
}
