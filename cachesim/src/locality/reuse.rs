//! Reuse distance and reuse time: what lies between two uses of a line.
//!
//! The *reuse distance* of a line access is the number of other lines used since the line's last use: an LRU cache of
//! more lines than that, fully associative, holds it still. The *reuse time* is the number of accesses since then.
//! Both are charged to the access that ends the interval.
//!
//! Threads are taken together, in the order in which their accesses arrive: this is the view of a shared cache.
//!
//! Memory: beside that of [`LruStack`], 16 bytes for each slot of a line.

use super::histogram::Histogram;
use super::line_table::Slot;
use super::lru_stack::LruStack;
use super::stretch::Stretch;

/// What was found out about the reuse of lines by one group.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reuse {
    /// Reuse distances in lines; first uses are not among them.
    pub distances: Histogram,
    /// Reuse times in accesses; first uses are not among them.
    pub times: Histogram,
    /// When lines were used first, in accesses from the beginning.
    pub first_uses: Histogram,
    /// For lines that the group used last, how many accesses before the end that was; the last access of all has 1.
    pub last_uses: Histogram,
}

impl std::ops::AddAssign<&Reuse> for Reuse {
    fn add_assign(&mut self, other: &Reuse) {
        self.distances += &other.distances;
        self.times += &other.times;
        self.first_uses += &other.first_uses;
        self.last_uses += &other.last_uses;
    }
}

/// The last use of a line: when, counted from 1, and by which group.
#[derive(Clone, Copy, Debug, Default)]
struct LastUse {
    time: u64,
    group: u32,
}

/// Measures [`Reuse`].
#[derive(Clone, Debug, Default)]
pub(super) struct ReuseMeter {
    stack: LruStack,
    // By slot.
    last: Vec<LastUse>,
    groups: Vec<Reuse>,
    // Of the touches of the last stretch; none for a first use. For who needs to know what a cache would still hold.
    distances: Vec<Option<u64>>,
}

impl ReuseMeter {
    /// Makes room for so many slots and groups.
    pub(super) fn reserve(&mut self, slots: usize, groups: usize) {
        self.last.resize(slots, LastUse::default());
        self.groups.resize(groups, Reuse::default());
    }

    /// Reads what a touch of the slot will need; see [`LruStack::warm`].
    #[inline]
    pub(super) fn warm(&self, slot: Slot) -> u64 {
        let last = self.last.get(slot as usize).map_or(0, |last| last.time);
        self.stack.warm(slot) ^ last
    }

    /// Distances of the touches of the last stretch, in its first iteration.
    pub(super) fn distances(&self) -> &[Option<u64>] {
        &self.distances
    }

    #[inline]
    pub(super) fn stretch(&mut self, stretch: &Stretch<'_>) {
        self.distances.clear();
        let weight = stretch.one_in;
        for touch in stretch.touches {
            let distance = self.stack.touch(touch.slot).map(|lines| lines * weight);
            self.distances.push(distance);
            let time = stretch.time(touch);
            let last = &mut self.last[touch.slot as usize];
            let group = stretch.group(touch);
            let reuse = &mut self.groups[group as usize];
            match distance {
                Some(distance) => {
                    reuse.distances.add(distance, weight);
                    reuse.times.add(time - last.time, weight);
                }
                None => reuse.first_uses.add(time, weight),
            }
            *last = LastUse { time, group };
        }
        if stretch.iterations > 1 {
            self.repeat(stretch);
        }
    }

    /// The second iteration stands for all that follow: each finds the lines as the one before left them.
    fn repeat(&mut self, stretch: &Stretch<'_>) {
        let weight = stretch.one_in * (stretch.iterations - 1);
        for touch in stretch.touches {
            let distance = self.stack.touch(touch.slot).unwrap_or(0) * stretch.one_in;
            let time = stretch.time(touch) + stretch.period;
            let last = &mut self.last[touch.slot as usize];
            let reuse = &mut self.groups[stretch.group(touch) as usize];
            reuse.distances.add(distance, weight);
            reuse.times.add(time - last.time, weight);
            last.time = time;
        }
        for touch in stretch.touches {
            self.last[touch.slot as usize] = LastUse {
                time: stretch.time(touch) + stretch.period * (stretch.iterations - 1),
                group: stretch.group(touch),
            };
        }
    }

    /// Keeps the lines of these slots only, numbered anew.
    pub(super) fn retain(&mut self, slots: &[u32]) {
        self.stack = self.stack.retain(slots);
        self.last = slots.iter().map(|slot| self.last[*slot as usize]).collect();
    }

    /// The results by group, after so many accesses in all.
    pub(super) fn finish(mut self, accesses: u64, one_in: u64) -> Vec<Reuse> {
        for last in self.last.iter().filter(|last| last.time > 0) {
            self.groups[last.group as usize]
                .last_uses
                .add(accesses + 1 - last.time, one_in);
        }
        self.groups
    }
}
