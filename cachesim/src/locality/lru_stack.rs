//! The LRU stack of all lines: how deep a line lies when it is used again.
//!
//! Each use takes the next place on a time axis, where a bit says that some line was last used there (Bennett and
//! Kruskal: LRU stack processing, IBM J. Res. Dev. 19(4), 1975). A line's depth is the number of bits behind its own: they
//! are counted in a tree whose nodes have 32 children, because a sum over 32 neighbours takes a few vector
//! instructions and no branch. When the axis is full, the bits are moved together in their order.
//!
//! Memory: 4 bytes for each slot, and 0.4 bytes for each line, as the axis is at most twice as long as there are lines.

use super::line_table::{LineTable, Slot};

/// log2 of the places of a block, the lowest unit that is counted.
const BLOCK_SHIFT: u32 = 8;
const BLOCK_WORDS: usize = 1 << BLOCK_SHIFT >> 6;
/// log2 of the units that make one of the next level.
const FAN_OUT_SHIFT: u32 = 5;
const FAN_OUT: usize = 1 << FAN_OUT_SHIFT;
/// Levels of units. The last has 512 of them at most and is summed without a tree above.
const LEVELS: usize = 4;

/// For so many lines or runs ahead, what they need is fetched: enough to keep the memory busy, and not too much to stay in
/// the first-level cache.
pub(super) const WARM_AHEAD: usize = 32;
const NOWHERE: u32 = u32::MAX;
const LEAST_PLACES: usize = 1 << 16;

/// Lines by their last use.
#[derive(Clone, Debug)]
pub(super) struct LruStack {
    // By slot.
    places: Vec<u32>,
    bits: Vec<u64>,
    // How many bits are set in each unit, by level.
    counts: [Vec<u32>; LEVELS],
    // The next free place.
    next: usize,
    lines: usize,
}

impl Default for LruStack {
    fn default() -> Self {
        let mut stack = Self {
            places: Vec::new(),
            bits: Vec::new(),
            counts: Default::default(),
            next: 0,
            lines: 0,
        };
        stack.lay_out(LEAST_PLACES);
        stack
    }
}

impl LruStack {
    /// Uses the line of a slot: how many other lines were used since its last use; none if it is the first.
    #[inline]
    pub(super) fn touch(&mut self, slot: Slot) -> Option<u64> {
        if self.next == self.bits.len() * 64 {
            self.compact();
        }
        let slot = slot as usize;
        if slot >= self.places.len() {
            self.places.resize((slot + 1).max(self.places.len() * 2), NOWHERE);
        }
        let place = self.places[slot] as usize;
        if place + 1 == self.next {
            return Some(0);
        }
        let depth = if place == NOWHERE as usize {
            self.lines += 1;
            None
        } else {
            let depth = self.bits_behind(place);
            self.bits[place / 64] &= !(1 << (place % 64));
            for (level, counts) in self.counts.iter_mut().enumerate() {
                counts[place >> unit_shift(level)] -= 1;
            }
            Some(depth)
        };
        self.places[slot] = self.next as u32;
        self.bits[self.next / 64] |= 1 << (self.next % 64);
        for (level, counts) in self.counts.iter_mut().enumerate() {
            counts[self.next >> unit_shift(level)] += 1;
        }
        self.next += 1;
        depth
    }

    /// Reads what [`LruStack::touch`] will need of a slot, so that it is in the cache by then. What is returned means
    /// nothing; it must only be used, or nothing would be read.
    #[inline]
    pub(super) fn warm(&self, slot: Slot) -> u64 {
        let place = self.places.get(slot as usize).copied().unwrap_or(0) as usize;
        self.bits.get(place / 64).copied().unwrap_or(0)
    }

    /// How many bits are set behind a place.
    #[inline]
    fn bits_behind(&self, place: usize) -> u64 {
        let first_word = place >> BLOCK_SHIFT << (BLOCK_SHIFT - 6);
        let words: &[u64; BLOCK_WORDS] = chunk(&self.bits, first_word);
        // The first place behind, within the block.
        let first = (place & ((1 << BLOCK_SHIFT) - 1)) + 1;
        let mut count = 0;
        for (word, bits) in words.iter().enumerate() {
            let skipped = first.saturating_sub(word * 64);
            let mask = if skipped < 64 { u64::MAX << skipped } else { 0 };
            count += (bits & mask).count_ones();
        }
        let last = self.next - 1;
        for level in 0..LEVELS - 1 {
            if place >> unit_shift(level) == last >> unit_shift(level) {
                return u64::from(count); // There is nothing behind this unit.
            }
            let unit = place >> unit_shift(level);
            let siblings: &[u32; FAN_OUT] = chunk(&self.counts[level], unit & !(FAN_OUT - 1));
            let own = (unit & (FAN_OUT - 1)) as u32;
            count += siblings
                .iter()
                .zip(0..)
                .map(|(bits, sibling)| if sibling > own { *bits } else { 0 })
                .sum::<u32>();
        }
        let far = &self.counts[LEVELS - 1][(place >> unit_shift(LEVELS - 1)) + 1..];
        u64::from(count + far.iter().sum::<u32>())
    }

    /// Makes an axis of so many places at least, the first of which are those of the lines.
    fn lay_out(&mut self, places: usize) {
        let places = places.next_multiple_of(FAN_OUT << BLOCK_SHIFT);
        let within = |unit: usize, size: usize| self.lines.saturating_sub(unit * size).min(size);
        self.bits = (0..places / 64)
            .map(|word| match within(word, 64) {
                0 => 0,
                bits => u64::MAX >> (64 - bits),
            })
            .collect();
        for (level, counts) in self.counts.iter_mut().enumerate() {
            let size = 1 << unit_shift(level);
            let units = places.div_ceil(size).next_multiple_of(FAN_OUT);
            *counts = (0..units).map(|unit| within(unit, size) as u32).collect();
        }
        self.next = self.lines;
    }

    /// Moves the bits together in their order; the axis becomes twice as long as there are lines, if it was not half as long again.
    #[cold]
    fn compact(&mut self) {
        // How many bits lie before each word: a place's rank is its new place.
        let mut before = 0;
        let ranks: Vec<u32> = self
            .bits
            .iter()
            .map(|word| {
                let rank = before;
                before += word.count_ones();
                rank
            })
            .collect();
        for place in self.places.iter_mut().filter(|place| **place != NOWHERE) {
            let (word, bit) = (*place as usize / 64, *place % 64);
            *place = ranks[word] + (self.bits[word] & ((1 << bit) - 1)).count_ones();
        }
        let places = self.bits.len() * 64;
        self.lay_out(if self.lines * 3 > places * 2 {
            self.lines * 2
        } else {
            places
        });
    }

    /// Keeps the lines of these slots only, which are numbered anew, in their order in the stack.
    pub(super) fn retain(&self, slots: &[Slot]) -> Self {
        let mut order: Vec<(u32, Slot)> = slots
            .iter()
            .zip(0..)
            .map(|(old, new)| (self.places[*old as usize], new))
            .collect();
        order.sort_unstable();
        let mut stack = Self::default();
        for (_, slot) in order {
            stack.touch(slot);
        }
        stack
    }
}

/// log2 of the places of a unit.
fn unit_shift(level: usize) -> u32 {
    BLOCK_SHIFT + FAN_OUT_SHIFT * level as u32
}

/// So many elements from the `first`-th on: arrays are as long as their units need.
fn chunk<T, const N: usize>(elements: &[T], first: usize) -> &[T; N] {
    elements[first..].first_chunk().expect("a whole unit")
}

/// Reuse distances, one by one and exact: for who needs no groups and no sample.
#[derive(Clone, Debug)]
pub struct ReuseDistance {
    lines: LineTable,
    stack: LruStack,
}

impl Default for ReuseDistance {
    fn default() -> Self {
        Self {
            lines: LineTable::new(true),
            stack: LruStack::default(),
        }
    }
}

impl ReuseDistance {
    /// Uses a line, by its number: how many other lines were used since its last use; none if it is the first.
    #[inline]
    pub fn touch(&mut self, line: u64) -> Option<u64> {
        self.stack.touch(self.lines.slot(line))
    }

    /// Uses lines one after the other, as [`ReuseDistance::touch`] does, and gives their distances to `visit`. This is
    /// several times as fast where lines are far from each other, because what they need is fetched at once.
    #[inline]
    pub fn touch_all(&mut self, lines: &[u64], mut visit: impl FnMut(Option<u64>)) {
        for lines in lines.chunks(WARM_AHEAD) {
            let slots = lines.iter().filter_map(|line| self.lines.find(*line));
            let read = slots.fold(0, |read, slot| read ^ self.stack.warm(slot));
            std::hint::black_box(read);
            lines.iter().for_each(|line| visit(self.touch(*line)));
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Default)]
    struct Naive(Vec<u32>);

    impl Naive {
        fn touch(&mut self, slot: u32) -> Option<u64> {
            let found = self.0.iter().rposition(|other| *other == slot);
            let depth = found.map(|at| {
                self.0.remove(at);
                (self.0.len() - at) as u64
            });
            self.0.push(slot);
            depth
        }
    }

    proptest! {
        #[test]
        fn depths_are_those_of_a_list(slots in prop::collection::vec(0u32..200, 1..3000)) {
            let (mut stack, mut naive) = (LruStack::default(), Naive::default());
            for slot in slots {
                prop_assert_eq!(stack.touch(slot), naive.touch(slot));
            }
        }
    }

    /// Long enough for every level of the tree and for several moves of the axis.
    #[test]
    fn depths_are_right_over_many_lines() {
        const LINES: u32 = 1_300_000;
        let mut stack = LruStack::default();
        for slot in 0..LINES {
            assert_eq!(stack.touch(slot), None);
        }
        // Going round, each line is used after all the others.
        for round in 0..3 {
            for slot in 0..LINES {
                assert_eq!(stack.touch(slot), Some(u64::from(LINES) - 1), "round {round}");
            }
        }
        // Backwards, the depth is that of the lines passed twice.
        for slot in (0..LINES).rev() {
            assert_eq!(stack.touch(slot), Some(u64::from(LINES - 1 - slot)));
        }
    }

    #[test]
    fn those_kept_stay_in_order() {
        let mut stack = LruStack::default();
        for slot in [5, 3, 9, 7, 3] {
            stack.touch(slot);
        }
        let mut kept = stack.retain(&[3, 5, 9]); // 0, 1, 2; in the stack 1, 2, 0
        assert_eq!(
            (kept.touch(1), kept.touch(2), kept.touch(0)),
            (Some(2), Some(2), Some(2))
        );
    }
}
