//! Lifetimes of data, and how often lines are written.
//!
//! A *generation* of a line begins with a write and lasts until a write overwrites bytes that were written in it;
//! writes of other bytes fill the line and belong to it. Its *lifetime* is the time from its first write to its last
//! read: as long as that, the line must hold its data. A generation that is overwritten before anything of the line was
//! read was *dead*. Time is counted in accesses.
//!
//! The kernel's own reads and writes are not seen: data that a system call reads may count as dead.
//!
//! Memory: 40 bytes for each slot of a line.

use super::histogram::Histogram;
use super::stretch::Stretch;
use super::sweep::Touch;
use crate::run::AccessKind;

/// What became of the data that one group wrote.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Lifetimes {
    /// Lifetimes in accesses of generations that were read.
    pub read: Histogram,
    /// Generations that were overwritten unread.
    pub dead: u64,
    /// Generations that were still unread at the end.
    pub unread: u64,
    /// For each line that was written, and by this group last, how often it was.
    pub writes: Histogram,
}

impl std::ops::AddAssign<&Lifetimes> for Lifetimes {
    fn add_assign(&mut self, other: &Lifetimes) {
        self.read += &other.read;
        self.dead += other.dead;
        self.unread += other.unread;
        self.writes += &other.writes;
    }
}

/// The present generation of a line; none if nothing was written.
#[derive(Clone, Copy, Debug, Default)]
struct Generation {
    // A bit for each part of the line, see [`Stretch::parts`].
    written: u64,
    first_write: u64,
    // 0 if there was none.
    last_read: u64,
    // Writes of the line, of earlier generations too.
    writes: u64,
    // The group of the first write, and of the last.
    group: u32,
    last_group: u32,
}

/// Measures [`Lifetimes`].
#[derive(Clone, Debug)]
pub(super) struct LifetimeMeter {
    line_shift: u32,
    // By slot.
    generations: Vec<Generation>,
    groups: Vec<Lifetimes>,
}

impl LifetimeMeter {
    pub(super) fn new(line_shift: u32) -> Self {
        Self {
            line_shift,
            generations: Vec::new(),
            groups: Vec::new(),
        }
    }

    /// Makes room for so many slots and groups.
    pub(super) fn reserve(&mut self, slots: usize, groups: usize) {
        self.generations.resize(slots, Generation::default());
        self.groups.resize(groups, Lifetimes::default());
    }

    #[inline]
    pub(super) fn stretch(&mut self, stretch: &Stretch<'_>) {
        let writes = |touch: &Touch| stretch.operand(touch).kind.writes();
        if stretch.touches.iter().any(writes) {
            for iteration in 0..stretch.iterations {
                for touch in stretch.touches {
                    self.touch(stretch, touch, iteration);
                }
            }
        } else {
            // Of reads, the last one tells all.
            for touch in stretch.touches {
                self.touch(stretch, touch, stretch.iterations - 1);
            }
        }
    }

    #[inline]
    fn touch(&mut self, stretch: &Stretch<'_>, touch: &Touch, iteration: u64) {
        let operand = stretch.operand(touch);
        let generation = &mut self.generations[touch.slot as usize];
        let time = stretch.time(touch) + iteration * stretch.period;
        let reads = matches!(operand.kind, AccessKind::Load | AccessKind::ReadModifyWrite);
        if reads && generation.written != 0 {
            generation.last_read = time;
        }
        if !operand.kind.writes() {
            return;
        }
        let (group, one_in) = (stretch.group(touch), stretch.one_in);
        let written = stretch.parts(touch, iteration, self.line_shift);
        generation.writes += 1;
        generation.last_group = group;
        if generation.written & written == 0 && generation.written != 0 {
            generation.written |= written;
            return;
        }
        if generation.written != 0 {
            let lifetimes = &mut self.groups[generation.group as usize];
            match generation.last_read {
                0 => lifetimes.dead += one_in,
                last_read => lifetimes.read.add(last_read - generation.first_write, one_in),
            }
        }
        generation.written = written;
        generation.first_write = time;
        generation.last_read = 0;
        generation.group = group;
    }

    /// Keeps the lines of these slots only, numbered anew.
    pub(super) fn retain(&mut self, slots: &[u32]) {
        let kept = slots.iter().map(|slot| self.generations[*slot as usize]);
        self.generations = kept.collect();
    }

    /// The results by group; what is still alive ends with its last read.
    pub(super) fn finish(mut self, one_in: u64) -> Vec<Lifetimes> {
        for generation in self
            .generations
            .iter()
            .filter(|generation| generation.written != 0)
        {
            let lifetimes = &mut self.groups[generation.group as usize];
            match generation.last_read {
                0 => lifetimes.unread += one_in,
                last_read => lifetimes.read.add(last_read - generation.first_write, one_in),
            }
            self.groups[generation.last_group as usize]
                .writes
                .add(generation.writes, one_in);
        }
        self.groups
    }
}
