//! The LRU stack of all lines: how deep a line lies when it is used again.
//!
//! Each use takes the next place on a time axis, where a bit says that some line was last used there (Bennett and
//! Kruskal: LRU stack processing, IBM J. Res. Dev. 19(4), 1975). A line's depth is the number of bits behind its own: they
//! are counted in a tree of three levels, whose nodes are wide because sums of short arrays are fast. When the axis is
//! full, the bits are moved together in their order.
//!
//! Memory: 4 bytes for each slot, and while the axis is twice to four times as long as there are lines, 0.3 to 0.6 bytes
//! for each line.

use super::line_table::{LineTable, Slot};

/// Bits of a block, the lowest level of the tree.
const BLOCK_BITS: usize = 256;
/// Blocks of a group.
const GROUP_BLOCKS: usize = 64;
/// Groups of a section.
const SECTION_GROUPS: usize = 64;
const GROUP_BITS: usize = BLOCK_BITS * GROUP_BLOCKS;
const SECTION_BITS: usize = GROUP_BITS * SECTION_GROUPS;

const BLOCK_WORDS: usize = BLOCK_BITS / 64;
const NOWHERE: u32 = u32::MAX;
const LEAST_PLACES: usize = GROUP_BITS * 4;

/// Lines by their last use.
#[derive(Clone, Debug)]
pub(super) struct LruStack {
    // By slot.
    places: Vec<u32>,
    bits: Vec<u64>,
    // How many bits are set in each block, group, section.
    blocks: Vec<u16>,
    groups: Vec<u16>,
    sections: Vec<u32>,
    // The next free place.
    next: usize,
    lines: usize,
}

impl Default for LruStack {
    fn default() -> Self {
        let mut stack = Self {
            places: Vec::new(),
            bits: Vec::new(),
            blocks: Vec::new(),
            groups: Vec::new(),
            sections: Vec::new(),
            next: 0,
            lines: 0,
        };
        stack.resize_axis(LEAST_PLACES);
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
            self.blocks[place / BLOCK_BITS] -= 1;
            self.groups[place / GROUP_BITS] -= 1;
            self.sections[place / SECTION_BITS] -= 1;
            Some(depth)
        };
        self.places[slot] = self.next as u32;
        self.set(self.next);
        self.next += 1;
        depth
    }

    fn set(&mut self, place: usize) {
        self.bits[place / 64] |= 1 << (place % 64);
        self.blocks[place / BLOCK_BITS] += 1;
        self.groups[place / GROUP_BITS] += 1;
        self.sections[place / SECTION_BITS] += 1;
    }

    /// How many bits are set behind a place.
    #[inline]
    fn bits_behind(&self, place: usize) -> u64 {
        // Of each level, what lies behind the place and within the node above: as far as there can be bits.
        let behind = |unit: usize, children: usize, parent_children: usize, per_child: usize| {
            let first = unit + 1;
            let end = (unit / parent_children + 1) * parent_children;
            first..end.min(self.next.div_ceil(per_child)).min(children).max(first)
        };
        let word = place / 64;
        let mut count = (self.bits[word] >> (place % 64) >> 1).count_ones();
        for bits in &self.bits[word + 1..(word / BLOCK_WORDS + 1) * BLOCK_WORDS] {
            count += bits.count_ones();
        }
        let blocks = behind(place / BLOCK_BITS, self.blocks.len(), GROUP_BLOCKS, BLOCK_BITS);
        let groups = behind(place / GROUP_BITS, self.groups.len(), SECTION_GROUPS, GROUP_BITS);
        // A section has at most 64 × 16384 bits, a group 64 × 256: the sums of their children fit 32 bits.
        count += self.blocks[blocks]
            .iter()
            .map(|count| u32::from(*count))
            .sum::<u32>();
        count += self.groups[groups]
            .iter()
            .map(|count| u32::from(*count))
            .sum::<u32>();
        let sections = place / SECTION_BITS + 1;
        let far: u32 = self.sections[sections..].iter().sum();
        u64::from(count + far)
    }

    fn resize_axis(&mut self, places: usize) {
        let places = places.next_multiple_of(GROUP_BITS);
        self.bits = vec![0; places / 64];
        self.blocks = vec![0; places / BLOCK_BITS];
        self.groups = vec![0; places / GROUP_BITS];
        self.sections = vec![0; places.div_ceil(SECTION_BITS)];
    }

    /// Moves the bits together in their order; the axis becomes long enough for as many uses as there are lines.
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
        self.resize_axis(if self.lines * 2 > places {
            self.lines * 4
        } else {
            places
        });
        self.next = self.lines;
        (0..self.lines).for_each(|place| self.set(place));
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
