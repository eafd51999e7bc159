//! Sets of lines, for exact footprints.
//!
//! Most rows touch one stretch of memory: that case takes no allocation. Scattered lines are bits of pages of 64 lines, in order;
//! those that come out of order wait until there are as many of them as there are in order, so that a line costs a few
//! comparisons however it comes. A set takes 16 bytes for each page that it touches.

mod portable;

use std::io;

use roaring::RoaringTreemap;
use rustc_hash::FxHashMap;

pub use portable::PortableWriter;

/// Numbers of lines touched.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LineSet(Repr);

#[derive(Clone, Debug, Default, PartialEq)]
enum Repr {
    #[default]
    Empty,
    /// All lines from the first to the last.
    Interval(u64, u64),
    /// Anything else.
    Pages(Box<Pages>),
}

const PAGE_SHIFT: u32 = 6;
/// Pages that wait at least, before they are put in order.
const WAITING_MIN: usize = 16;

/// A page of 64 lines, and a bit for each of them.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Page {
    number: u64,
    lines: u64,
}

/// The parts of the lines from `first` to `last` in each page.
fn pages_of(first: u64, last: u64) -> impl Iterator<Item = Page> {
    let (first_page, last_page) = (first >> PAGE_SHIFT, last >> PAGE_SHIFT);
    (first_page..=last_page).map(move |number| {
        let start = if number == first_page { first & 63 } else { 0 };
        let end = if number == last_page { last & 63 } else { 63 };
        Page {
            number,
            lines: (u64::MAX >> (63 - end)) & (u64::MAX << start),
        }
    })
}

/// Pages; each number once, but for those that wait.
#[derive(Clone, Debug, Default, PartialEq)]
struct Pages {
    ordered: Vec<Page>,
    waiting: Vec<Page>,
    /// The page in order that was touched last: sweeps that come again go on from there.
    at: usize,
}

impl Pages {
    #[inline]
    fn insert(&mut self, page: Page) {
        for at in self.at..self.at + 2 {
            if let Some(known) = self
                .ordered
                .get_mut(at)
                .filter(|known| known.number == page.number)
            {
                known.lines |= page.lines;
                self.at = at;
                return;
            }
        }
        if self.ordered.last().is_none_or(|last| last.number < page.number) {
            self.at = self.ordered.len();
            self.ordered.push(page);
            return;
        }
        if let Some(last) = self.waiting.last_mut().filter(|last| last.number == page.number) {
            last.lines |= page.lines;
            return;
        }
        match self
            .ordered
            .binary_search_by_key(&page.number, |known| known.number)
        {
            Ok(at) => {
                self.ordered[at].lines |= page.lines;
                self.at = at;
            }
            Err(_) => {
                self.waiting.push(page);
                if self.waiting.len() >= self.ordered.len().max(WAITING_MIN) {
                    self.settle();
                }
            }
        }
    }

    /// Puts all in order.
    fn settle(&mut self) {
        if self.waiting.is_empty() {
            return;
        }
        self.at = 0;
        self.ordered.append(&mut self.waiting);
        // Stable: two ordered stretches are merged rather than sorted.
        self.ordered.sort_by_key(|page| page.number);
        self.ordered.dedup_by(|next, page| {
            let is_same = next.number == page.number;
            if is_same {
                page.lines |= next.lines;
            }
            is_same
        });
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
                let mut pages = Pages::default();
                for page in pages_of(*low, *high).chain(pages_of(first, last)) {
                    pages.insert(page);
                }
                self.0 = Repr::Pages(Box::new(pages));
            }
            Repr::Pages(pages) => pages_of(first, last).for_each(|page| pages.insert(page)),
        }
    }

    /// Adds all its lines to a set.
    pub fn add_to(&self, set: &mut RoaringTreemap) {
        for (first, last) in self.stretches() {
            set.insert_range(first..=last);
        }
    }

    /// Lines one behind the other, the last included: in order, if the set is [compact](Self::compact). No stretch goes beyond
    /// a page, but for a set that is one.
    pub fn stretches(&self) -> impl Iterator<Item = (u64, u64)> {
        let (interval, pages) = match &self.0 {
            Repr::Empty => (None, None),
            Repr::Interval(first, last) => (Some((*first, *last)), None),
            Repr::Pages(pages) => (None, Some(pages.ordered.iter().chain(&pages.waiting))),
        };
        let of_page = |page: &Page| {
            let (base, mut lines) = (page.number << PAGE_SHIFT, page.lines);
            std::iter::from_fn(move || {
                let start = (lines != 0).then(|| lines.trailing_zeros())?;
                let length = (lines >> start).trailing_ones();
                lines &= !((u64::MAX >> (64 - length)) << start);
                let first = base + u64::from(start);
                Some((first, first + u64::from(length - 1)))
            })
        };
        interval
            .into_iter()
            .chain(pages.into_iter().flatten().flat_map(of_page))
    }

    /// Number of lines of a [compact](Self::compact) set.
    #[must_use]
    pub fn len(&self) -> u64 {
        match &self.0 {
            Repr::Empty => 0,
            Repr::Interval(first, last) => last - first + 1,
            Repr::Pages(pages) => {
                let lines = |page: &Page| u64::from(page.lines.count_ones());
                pages.ordered.iter().map(lines).sum()
            }
        }
    }

    /// Whether it holds no line.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        matches!(self.0, Repr::Empty)
    }

    /// The lines, in order.
    #[must_use]
    pub fn to_vec(&self) -> Vec<u64> {
        let mut set = RoaringTreemap::new();
        self.add_to(&mut set);
        set.iter().collect()
    }

    /// The smallest form: equal sets become equal values, and stretches are stored as such.
    pub fn compact(&mut self) {
        let Repr::Pages(pages) = &mut self.0 else {
            return;
        };
        pages.settle();
        pages.ordered.shrink_to_fit();
        (pages.waiting, pages.at) = (Vec::new(), 0);
        let (first, last) = (pages.ordered[0], pages.ordered[pages.ordered.len() - 1]);
        let first = (first.number << PAGE_SHIFT) + u64::from(first.lines.trailing_zeros());
        let last = (last.number << PAGE_SHIFT) + 63 - u64::from(last.lines.leading_zeros());
        if self.len() == last - first + 1 {
            self.0 = Repr::Interval(first, last);
        }
    }

    /// Reads what a [`PortableWriter`] wrote.
    ///
    /// # Errors
    /// If the bytes are no such bitmap.
    pub fn from_portable(bytes: &[u8]) -> io::Result<Self> {
        let set = RoaringTreemap::deserialize_from(bytes)?;
        let mut lines = Self::default();
        if let (Some(first), Some(last)) = (set.min(), set.max())
            && last - first == set.len() - 1
        {
            lines.insert(first, last);
        } else {
            set.iter().for_each(|line| lines.insert(line, line));
            lines.compact();
        }
        Ok(lines)
    }
}

/// A union of sets in the making.
#[derive(Clone, Debug, Default)]
pub struct LineUnion {
    /// Stretches beyond a page: gathered, and united once.
    stretches: Vec<(u64, u64)>,
    pages: FxHashMap<u64, u64>,
}

impl LineUnion {
    /// Adds the lines of a set.
    pub fn add(&mut self, lines: &LineSet) {
        match &lines.0 {
            Repr::Empty => {}
            Repr::Interval(first, last) => self.stretches.push((*first, *last)),
            Repr::Pages(pages) => {
                for page in pages.ordered.iter().chain(&pages.waiting) {
                    *self.pages.entry(page.number).or_default() |= page.lines;
                }
            }
        }
    }

    /// Adds the lines of another union.
    pub fn unite(&mut self, other: &Self) {
        self.stretches.extend(&other.stretches);
        for (number, lines) in &other.pages {
            *self.pages.entry(*number).or_default() |= lines;
        }
    }

    /// All its lines.
    #[must_use]
    pub fn into_set(mut self) -> LineSet {
        self.settle();
        let mut pages: Vec<(u64, u64)> = self.pages.into_iter().collect();
        pages.sort_unstable();
        let mut set = match (self.stretches.split_first(), pages.is_empty()) {
            (None, true) => LineSet::default(),
            (Some(((first, last), [])), true) => LineSet(Repr::Interval(*first, *last)),
            _ => LineSet(Repr::Pages(Box::default())),
        };
        if let Repr::Pages(all) = &mut set.0 {
            let stretches = self
                .stretches
                .iter()
                .flat_map(|(first, last)| pages_of(*first, *last));
            stretches.for_each(|page| all.insert(page));
            let pages = pages.into_iter().map(|(number, lines)| Page { number, lines });
            pages.for_each(|page| all.insert(page));
        }
        set.compact();
        set
    }

    /// Unites what was added so far; returns the number of lines.
    pub fn settle(&mut self) -> u64 {
        self.stretches.sort_unstable();
        self.stretches.dedup_by(|next, open| {
            let is_near = next.0 <= open.1.saturating_add(1);
            if is_near {
                open.1 = open.1.max(next.1);
            }
            is_near
        });
        let in_stretches: u64 = self.stretches.iter().map(|(first, last)| last - first + 1).sum();
        let beside = |(number, lines): (&u64, &u64)| {
            let (first, last) = (number << PAGE_SHIFT, (number << PAGE_SHIFT) + 63);
            let from = self.stretches.partition_point(|stretch| stretch.1 < first);
            let covered = self.stretches[from..]
                .iter()
                .take_while(|stretch| stretch.0 <= last)
                .flat_map(|stretch| pages_of(stretch.0.max(first), stretch.1.min(last)))
                .fold(0, |covered, page| covered | page.lines);
            u64::from((lines & !covered).count_ones())
        };
        in_stretches + self.pages.iter().map(beside).sum::<u64>()
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
            prop_assert_eq!(lines.to_vec(), expected.iter().copied().collect::<Vec<_>>());
            lines.compact();
            prop_assert_eq!(lines.len(), expected.len() as u64);
            let mut writer = PortableWriter::default();
            writer.write(&lines);
            prop_assert_eq!(LineSet::from_portable(&writer.into_bytes()).expect("own bytes"), lines);
        }
    }

    proptest! {
        #[test]
        fn a_union_is_a_union(sets in prop::collection::vec(
            prop::collection::vec((0u64..5000, prop_oneof![0u64..3, 0u64..400]), 0..12), 0..12,
        )) {
            let (mut union, mut halves) = (LineUnion::default(), [LineUnion::default(), LineUnion::default()]);
            let mut expected = BTreeSet::new();
            for (at, ranges) in sets.iter().enumerate() {
                let mut lines = LineSet::default();
                for (first, length) in ranges {
                    lines.insert(*first, first + length);
                    expected.extend(*first..=first + length);
                }
                if at % 3 == 0 {
                    lines.compact();
                }
                union.add(&lines);
                halves[at % 2].add(&lines);
            }
            prop_assert_eq!(union.settle(), expected.len() as u64);
            prop_assert_eq!(union.clone().into_set(), expected.iter().copied().collect());
            let [mut one, other] = halves;
            one.settle();
            one.unite(&other);
            prop_assert_eq!(one.settle(), expected.len() as u64);
        }
    }
}
