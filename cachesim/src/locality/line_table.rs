//! Numbers the followed lines, so that whatever is kept for a line lies in an array.
//!
//! Memory: where all lines are followed, 24 to 48 bytes for each 4 KiB page touched, and a slot for each of its 64
//! lines; where a sample is, 24 to 48 bytes for each line.

/// A line's place in every array that holds something for each line.
pub(super) type Slot = u32;

/// Open addressing with linear probing. A key stands for `1 << shift` neighbouring lines with neighbouring slots.
#[derive(Clone, Debug)]
pub(super) struct LineTable {
    shift: u32,
    // Key + 1, or 0 where empty; and the number of the key.
    entries: Vec<(u64, u32)>,
    // By number of the key.
    keys: Vec<u64>,
    // A bit for each slot: whether its line was touched.
    touched: Vec<u64>,
    lines: usize,
}

/// log2 of the lines of a page.
const PAGE_SHIFT: u32 = 6;
const LEAST_ENTRIES: usize = 1 << 10;
/// So many slots may be empty in vain.
const SLOTS_BEFORE_SCATTERED: usize = 1 << 18;

impl LineTable {
    /// A table for neighbouring lines, or for scattered ones.
    pub(super) fn new(neighbouring: bool) -> Self {
        Self {
            shift: if neighbouring { PAGE_SHIFT } else { 0 },
            entries: vec![(0, 0); LEAST_ENTRIES],
            keys: Vec::new(),
            touched: Vec::new(),
            lines: 0,
        }
    }

    /// How many lines were touched.
    pub(super) fn lines(&self) -> usize {
        self.lines
    }

    /// How many slots there are.
    pub(super) fn slots(&self) -> usize {
        self.keys.len() << self.shift
    }

    /// The slot of a line.
    #[inline]
    pub(super) fn slot(&mut self, line: u64) -> Slot {
        let key = line >> self.shift;
        let mask = self.entries.len() - 1;
        let mut at = Self::home(key, mask);
        let number = loop {
            let (found, number) = self.entries[at];
            if found == key + 1 {
                break number;
            }
            if found == 0 {
                break self.insert(key);
            }
            at = (at + 1) & mask;
        };
        let slot = number << self.shift | (line & ((1 << self.shift) - 1)) as u32;
        let bit = 1 << (slot % 64);
        let word = &mut self.touched[slot as usize / 64];
        self.lines += usize::from(*word & bit == 0);
        *word |= bit;
        slot
    }

    /// The slot of a line, if its page is known.
    #[inline]
    pub(super) fn find(&self, line: u64) -> Option<Slot> {
        let key = line >> self.shift;
        let mask = self.entries.len() - 1;
        let mut at = Self::home(key, mask);
        loop {
            let (found, number) = self.entries[at];
            if found == key + 1 {
                return Some(number << self.shift | (line & ((1 << self.shift) - 1)) as u32);
            }
            if found == 0 {
                return None;
            }
            at = (at + 1) & mask;
        }
    }

    fn home(key: u64, mask: usize) -> usize {
        (key.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as usize & mask
    }

    #[cold]
    fn insert(&mut self, key: u64) -> u32 {
        if self.keys.len() * 2 >= self.entries.len() {
            self.entries = vec![(0, 0); self.entries.len() * 2];
            for number in 0..self.keys.len() {
                self.place(self.keys[number], number as u32);
            }
        }
        let number = self.keys.len() as u32;
        self.keys.push(key);
        self.place(key, number);
        self.touched.resize(self.slots().div_ceil(64), 0);
        number
    }

    fn place(&mut self, key: u64, number: u32) {
        let mask = self.entries.len() - 1;
        let mut at = Self::home(key, mask);
        while self.entries[at].0 != 0 {
            at = (at + 1) & mask;
        }
        self.entries[at] = (key + 1, number);
    }

    /// Whether neighbouring slots are kept for lines that have no neighbours.
    #[inline]
    pub(super) fn is_wasteful(&self) -> bool {
        self.shift > 0 && self.slots() > SLOTS_BEFORE_SCATTERED && self.slots() > self.lines * 8
    }

    /// Every touched line with its slot.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u64, Slot)> + '_ {
        (0..self.slots() as u32)
            .filter(|slot| self.touched[*slot as usize / 64] >> (slot % 64) & 1 != 0)
            .map(|slot| {
                let offset = slot & ((1 << self.shift) - 1);
                (
                    self.keys[(slot >> self.shift) as usize] << self.shift | u64::from(offset),
                    slot,
                )
            })
    }

    /// A table of scattered lines with those that are to be kept, and the slots that these had, in the order of their
    /// new ones.
    pub(super) fn retain(&self, keep: impl Fn(u64) -> bool) -> (Self, Vec<Slot>) {
        let mut table = Self::new(false);
        let mut slots = Vec::new();
        for (line, slot) in self.iter().filter(|(line, _)| keep(*line)) {
            table.slot(line);
            slots.push(slot);
        }
        (table, slots)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_line_keeps_its_slot(lines in prop::collection::vec(0u64..3000, 1..2000), neighbouring: bool) {
            let mut table = LineTable::new(neighbouring);
            let mut slots = HashMap::new();
            for line in lines {
                let line = line * 37 % 1000 + line / 1000 * 1_000_000;
                let slot = table.slot(line);
                prop_assert_eq!(*slots.entry(line).or_insert(slot), slot);
                prop_assert!((slot as usize) < table.slots());
            }
            prop_assert_eq!(table.lines(), slots.len());
            prop_assert_eq!(table.iter().collect::<HashMap<_, _>>(), slots.clone());
            let (kept, old) = table.retain(|line| line % 3 == 0);
            prop_assert!(kept.iter().all(|(line, slot)| slots[&line] == old[slot as usize] && line % 3 == 0));
            prop_assert_eq!(kept.lines(), slots.keys().filter(|line| *line % 3 == 0).count());
        }
    }
}
