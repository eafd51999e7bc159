//! One cache: sets, ways, tags, and who wrote what.
//!
//! Models LRU replacement over sets × ways with a dirty bit per line. Does not model the data, nor time.

use crate::set_index::SetIndex;

/// A dirty line that was replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Victim {
    pub(crate) line: u64,
    /// Who last wrote it.
    pub(crate) owner: u32,
}

/// What became of an access.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Hit,
    /// The line was taken in and replaced nothing, or a clean line.
    Miss,
    /// The line was taken in; what it replaced must be written back.
    MissDirty(Victim),
}

/// Bits of an address that translation uses at most: x86-64 with five levels has 57, AArch64 52.
pub(crate) const ADDRESS_BITS: u32 = 57;

/// Address of the first byte of a line, whose number may lack the bits above [`ADDRESS_BITS`].
#[inline]
pub(crate) fn line_address(line: u64, line_shift: u32) -> u64 {
    let unused = u64::BITS - ADDRESS_BITS;
    ((line << (line_shift + unused)) as i64 >> unused) as u64
}

/// Tags lie set after set, most recently used first, so that their order is the LRU order.
///
/// A tag is `line | slot | valid | dirty`, from high to low bits. The slot says which of the set's writers is the
/// line's: it stays with the line while the tag moves, so that writers need not move and clean lines never touch
/// them. A zero is an empty way: a large cache costs memory only where it is used.
#[derive(Clone, Debug)]
pub(crate) struct Cache {
    index: SetIndex,
    ways: usize,
    // Where the line number starts in a tag.
    line_at: u32,
    tags: Vec<u64>,
    // Who last wrote the line of a slot; meaningful while the line is dirty.
    writers: Vec<u32>,
}

const DIRTY: u64 = 1;
const VALID: u64 = 2;
const SLOT_AT: u32 = 2;

/// The most ways whose slot fits a tag beside the line number: 2048 for lines of 64 bytes.
pub(crate) fn most_ways(line_bytes: u32) -> u32 {
    1 << (line_at(line_bytes) - SLOT_AT)
}

fn line_at(line_bytes: u32) -> u32 {
    u64::BITS - ADDRESS_BITS + line_bytes.trailing_zeros()
}

impl Cache {
    pub(crate) fn new(sets: u64, ways: u32, line_bytes: u32) -> Self {
        let lines = sets as usize * ways as usize;
        Self {
            index: SetIndex::new(sets),
            ways: ways as usize,
            line_at: line_at(line_bytes),
            tags: vec![0; lines],
            writers: vec![0; lines],
        }
    }

    pub(crate) fn ways(&self) -> usize {
        self.ways
    }

    /// Looks `line` up; on a miss takes it in. It is most recently used afterwards, and if `write` dirty and
    /// `owner`'s.
    #[inline(always)]
    pub(crate) fn access(&mut self, line: u64, write: bool, owner: u32) -> Outcome {
        let front = self.front(line);
        let tag = self.tags[front];
        if self.is(tag, line) {
            if write {
                self.mark_dirty(front, tag, owner);
            }
            return Outcome::Hit;
        }
        self.access_behind_front(front, line, write, owner)
    }

    #[inline(never)]
    fn access_behind_front(&mut self, front: usize, line: u64, write: bool, owner: u32) -> Outcome {
        // The usual associativities get code of fixed length, which the compiler turns into vector moves.
        match self.ways {
            8 => self.access_fixed::<8>(front, line, write, owner),
            12 => self.access_fixed::<12>(front, line, write, owner),
            16 => self.access_fixed::<16>(front, line, write, owner),
            20 => self.access_fixed::<20>(front, line, write, owner),
            _ => self.access_any(front, line, write, owner),
        }
    }

    #[inline(always)]
    fn access_fixed<const WAYS: usize>(
        &mut self,
        front: usize,
        line: u64,
        write: bool,
        owner: u32,
    ) -> Outcome {
        let slot_and_dirty = (1 << self.line_at) - 1 - VALID;
        let wanted = line << self.line_at | VALID;
        let set: &mut [u64; WAYS] = self.tags[front..]
            .first_chunk_mut()
            .expect("a set has as many tags as ways");
        match set.iter().position(|&tag| tag & !slot_and_dirty == wanted) {
            Some(way) => {
                let tag = set[way];
                set.copy_within(..way, 1);
                self.bring_to_front(front, tag, write, owner)
            }
            None => {
                let victim = set[WAYS - 1];
                set.copy_within(..WAYS - 1, 1);
                self.replace(front, line, write, owner, victim)
            }
        }
    }

    fn access_any(&mut self, front: usize, line: u64, write: bool, owner: u32) -> Outcome {
        let slot_and_dirty = (1 << self.line_at) - 1 - VALID;
        let wanted = line << self.line_at | VALID;
        let set = &mut self.tags[front..front + self.ways];
        let found = set.iter().position(|&tag| tag & !slot_and_dirty == wanted);
        let way = found.unwrap_or(set.len() - 1);
        let tag = set[way];
        set.copy_within(..way, 1);
        match found {
            Some(_) => self.bring_to_front(front, tag, write, owner),
            None => self.replace(front, line, write, owner, tag),
        }
    }

    #[inline(always)]
    fn bring_to_front(&mut self, front: usize, tag: u64, write: bool, owner: u32) -> Outcome {
        self.tags[front] = tag;
        if write {
            self.mark_dirty(front, tag, owner);
        }
        Outcome::Hit
    }

    #[inline]
    fn mark_dirty(&mut self, front: usize, tag: u64, owner: u32) {
        let slot = self.slot(tag);
        self.tags[front] = tag | DIRTY;
        self.writers[front + slot] = owner;
    }

    /// Puts `line` at the front, in the slot of `victim`; of an empty way, in the first free one.
    #[inline]
    fn replace(&mut self, front: usize, line: u64, write: bool, owner: u32, victim: u64) -> Outcome {
        let slot = if victim == 0 {
            self.lines_in_set(front)
        } else {
            self.slot(victim)
        };
        self.tags[front] = line << self.line_at | (slot as u64) << SLOT_AT | VALID | u64::from(write);
        let outcome = if victim & DIRTY != 0 {
            Outcome::MissDirty(Victim {
                line: victim >> self.line_at,
                owner: self.writers[front + slot],
            })
        } else {
            Outcome::Miss
        };
        if write {
            self.writers[front + slot] = owner;
        }
        outcome
    }

    // Lines are never removed, so the slots in use are the first ones. The front is free at this moment: it is
    // counted only if the tag that moved up from it was a line, which stands behind it now.
    #[cold]
    fn lines_in_set(&self, front: usize) -> usize {
        self.tags[front + 1..front + self.ways]
            .iter()
            .filter(|&&tag| tag != 0)
            .count()
    }

    /// Where the set of `line` starts.
    #[inline(always)]
    fn front(&self, line: u64) -> usize {
        self.index.of(line & (u64::MAX >> self.line_at)) * self.ways
    }

    #[inline(always)]
    fn is(&self, tag: u64, line: u64) -> bool {
        let slot_and_dirty = (1 << self.line_at) - 1 - VALID;
        tag & !slot_and_dirty == line << self.line_at | VALID
    }

    #[inline]
    fn slot(&self, tag: u64) -> usize {
        ((tag & ((1 << self.line_at) - 1)) >> SLOT_AT) as usize
    }

    /// Whether `line` is present, without touching it.
    pub(crate) fn contains(&self, line: u64) -> bool {
        let front = self.front(line);
        self.tags[front..front + self.ways]
            .iter()
            .any(|&tag| self.is(tag, line))
    }

    /// Who last wrote `line`, if it is dirty; the outer `None` if it is absent.
    pub(crate) fn writer(&self, line: u64) -> Option<Option<u32>> {
        let front = self.front(line);
        let set = &self.tags[front..front + self.ways];
        let &tag = set.iter().find(|&&tag| self.is(tag, line))?;
        Some((tag & DIRTY != 0).then(|| self.writers[front + self.slot(tag)]))
    }

    pub(crate) fn resident_lines(&self) -> u64 {
        self.tags.iter().filter(|&&tag| tag != 0).count() as u64
    }

    /// The lines of a set, most recently used first: line, whether it is dirty, and who wrote it if so.
    pub(crate) fn set(&self, number: usize) -> impl Iterator<Item = (u64, bool, u32)> + '_ {
        let range = number * self.ways..(number + 1) * self.ways;
        let (tags, writers) = (&self.tags[range.clone()], &self.writers[range]);
        let lines = tags.iter().filter(|&&tag| tag != 0);
        lines.map(move |&tag| {
            let dirty = tag & DIRTY != 0;
            (
                tag >> self.line_at,
                dirty,
                if dirty { writers[self.slot(tag)] } else { 0 },
            )
        })
    }

    /// Fills a set of an empty cache with lines as [`set`](Cache::set) gives them.
    pub(crate) fn fill(&mut self, number: usize, lines: impl Iterator<Item = (u64, bool, u32)>) {
        let first = number * self.ways;
        for (way, (line, dirty, owner)) in lines.enumerate() {
            self.tags[first + way] =
                line << self.line_at | (way as u64) << SLOT_AT | VALID | u64::from(dirty);
            self.writers[first + way] = owner;
        }
    }

    /// A cache of the same shape without lines.
    pub(crate) fn emptied(&self) -> Self {
        Self {
            tags: vec![0; self.tags.len()],
            writers: vec![0; self.writers.len()],
            ..*self
        }
    }

    pub(crate) fn sets(&self) -> usize {
        self.tags.len() / self.ways
    }

    /// Every dirty line, set by set, most recently used first.
    pub(crate) fn dirty(&self) -> impl Iterator<Item = Victim> + '_ {
        let sets = self
            .tags
            .chunks_exact(self.ways)
            .zip(self.writers.chunks_exact(self.ways));
        sets.flat_map(move |(tags, writers)| {
            let dirty = tags.iter().filter(|&&tag| tag & DIRTY != 0);
            dirty.map(move |&tag| Victim {
                line: tag >> self.line_at,
                owner: writers[self.slot(tag)],
            })
        })
    }

    /// Makes every line clean; it stays resident.
    pub(crate) fn clean(&mut self) {
        for tag in &mut self.tags {
            *tag &= !DIRTY;
        }
    }
}
