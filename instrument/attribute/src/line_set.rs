//! Sets of lines, for exact footprints.
//!
//! Most rows touch one stretch of memory: that case takes no allocation. Scattered lines are gathered in pages of 64, one hash
//! look-up each, while the set grows, and become a Roaring bitmap when it is complete.

use std::io;

use roaring::RoaringTreemap;
use rustc_hash::FxHashMap;

/// Numbers of lines touched.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LineSet(Repr);

#[derive(Clone, Debug, Default, PartialEq)]
enum Repr {
    #[default]
    Empty,
    /// All lines from the first to the last.
    Interval(u64, u64),
    /// Anything else, while it grows: a bit for each line, by number of the page of 64 lines.
    Pages(Box<FxHashMap<u64, u64>>),
    /// Anything else, complete.
    Many(Box<RoaringTreemap>),
}

const PAGE_SHIFT: u32 = 6;

/// Adds the lines from `first` to `last`, page by page.
fn insert_pages(pages: &mut FxHashMap<u64, u64>, first: u64, last: u64) {
    for page in first >> PAGE_SHIFT..=last >> PAGE_SHIFT {
        let start = if page == first >> PAGE_SHIFT {
            first & 63
        } else {
            0
        };
        let end = if page == last >> PAGE_SHIFT { last & 63 } else { 63 };
        *pages.entry(page).or_default() |= (u64::MAX >> (63 - end)) & (u64::MAX << start);
    }
}

impl LineSet {
    /// Adds the lines from `first` to `last`.
    pub fn insert(&mut self, first: u64, last: u64) {
        if first > last {
            return;
        }
        match &mut self.0 {
            Repr::Empty => self.0 = Repr::Interval(first, last),
            Repr::Interval(low, high)
                if first <= high.saturating_add(1) && last.saturating_add(1) >= *low =>
            {
                *low = first.min(*low);
                *high = last.max(*high);
            }
            Repr::Interval(low, high) => {
                let mut pages = FxHashMap::default();
                insert_pages(&mut pages, *low, *high);
                insert_pages(&mut pages, first, last);
                self.0 = Repr::Pages(Box::new(pages));
            }
            Repr::Pages(pages) => insert_pages(pages, first, last),
            Repr::Many(set) => {
                set.insert_range(first..=last);
            }
        }
    }

    /// Adds all its lines to a set.
    pub fn add_to(&self, set: &mut RoaringTreemap) {
        match &self.0 {
            Repr::Empty => {}
            Repr::Interval(first, last) => {
                set.insert_range(*first..=*last);
            }
            Repr::Pages(pages) => {
                let mut pages: Vec<(u64, u64)> = pages.iter().map(|(page, lines)| (*page, *lines)).collect();
                pages.sort_unstable();
                for (page, mut lines) in pages {
                    while lines != 0 {
                        let start = lines.trailing_zeros();
                        let length = (lines >> start).trailing_ones();
                        let first = (page << PAGE_SHIFT) + u64::from(start);
                        set.insert_range(first..first + u64::from(length));
                        lines &= !((u64::MAX >> (64 - length)) << start);
                    }
                }
            }
            Repr::Many(lines) => *set |= &**lines,
        }
    }

    /// The first and the last line, if it is all lines from one to the other.
    #[must_use]
    pub fn as_stretch(&self) -> Option<(u64, u64)> {
        match self.0 {
            Repr::Interval(first, last) => Some((first, last)),
            _ => None,
        }
    }

    /// Number of lines.
    #[must_use]
    pub fn len(&self) -> u64 {
        match &self.0 {
            Repr::Empty => 0,
            Repr::Interval(first, last) => last - first + 1,
            Repr::Pages(pages) => pages.values().map(|lines| u64::from(lines.count_ones())).sum(),
            Repr::Many(lines) => lines.len(),
        }
    }

    /// Whether it holds no line.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The lines, in order.
    #[must_use]
    pub fn to_vec(&self) -> Vec<u64> {
        self.to_treemap().iter().collect()
    }

    /// The smallest form: equal sets become equal values, and stretches are stored as such.
    pub fn compact(&mut self) {
        if matches!(self.0, Repr::Pages(_)) {
            self.0 = Repr::Many(Box::new(self.to_treemap()));
        }
        if let Repr::Many(set) = &mut self.0 {
            set.optimize();
            if let (Some(first), Some(last)) = (set.min(), set.max())
                && last - first + 1 == set.len()
            {
                self.0 = Repr::Interval(first, last);
            }
        }
    }

    /// Writes it as a 64-bit Roaring bitmap in the portable format.
    ///
    /// # Errors
    /// Those of the writer.
    pub fn serialize_into(&self, writer: impl io::Write) -> io::Result<()> {
        match &self.0 {
            Repr::Many(set) => set.serialize_into(writer),
            _ => self.to_treemap().serialize_into(writer),
        }
    }

    /// Reads what [`LineSet::serialize_into`] wrote.
    ///
    /// # Errors
    /// If the bytes are no such bitmap.
    pub fn deserialize_from(reader: impl io::Read) -> io::Result<Self> {
        let set = RoaringTreemap::deserialize_from(reader)?;
        if set.is_empty() {
            return Ok(Self::default());
        }
        let mut lines = Self(Repr::Many(Box::new(set)));
        lines.compact();
        Ok(lines)
    }

    fn to_treemap(&self) -> RoaringTreemap {
        let mut set = RoaringTreemap::new();
        self.add_to(&mut set);
        set.optimize();
        set
    }
}

impl FromIterator<u64> for LineSet {
    fn from_iter<I: IntoIterator<Item = u64>>(numbers: I) -> Self {
        let mut lines = Self::default();
        numbers
            .into_iter()
            .for_each(|number| lines.insert(number, number));
        lines.compact();
        lines
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_is_a_set_and_survives_storage(ranges in prop::collection::vec((0u64..500, 0u64..40), 0..20)) {
            let mut lines = LineSet::default();
            let mut expected = BTreeSet::new();
            for (first, length) in ranges {
                lines.insert(first, first + length);
                expected.extend(first..=first + length);
            }
            prop_assert_eq!(lines.len(), expected.len() as u64);
            prop_assert_eq!(lines.to_vec(), expected.into_iter().collect::<Vec<_>>());
            lines.compact();
            let mut bytes = Vec::new();
            lines.serialize_into(&mut bytes).expect("memory");
            prop_assert_eq!(LineSet::deserialize_from(bytes.as_slice()).expect("own bytes"), lines);
        }
    }
}
