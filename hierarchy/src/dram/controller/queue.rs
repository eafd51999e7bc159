//! Queued requests: slots that keep their place, linked per bank and direction in the order of arrival.

use serde::{Deserialize, Serialize};

use crate::dram::statistics::RowOutcome;
use crate::dram::timing::Tick;

/// No slot.
pub(super) const NONE: u16 = u16::MAX;

/// Bits of a hash of where a write goes.
const WRITES_BITS: u32 = 10;

/// A hash of a place.
#[inline(always)]
fn hash(bank: u16, row: u32, column: u32) -> usize {
    let place = u64::from(row) << 32 | u64::from(bank) << 16 ^ u64::from(column);
    // Knuth, The Art of Computer Programming 3, 6.4: by the golden ratio.
    (place.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (u64::BITS - WRITES_BITS)) as usize
}

/// A request that waits.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(super) struct Slot {
    pub(super) tag: u64,
    pub(super) arrival: Tick,
    /// Order of arrival; 0 in a free slot.
    pub(super) sequence: u64,
    /// By what it goes among those that wait for the same kind of command; with no regard to sources, its sequence.
    pub(super) order: u64,
    pub(super) row: u32,
    pub(super) column: u32,
    pub(super) bank: u16,
    pub(super) source: u16,
    pub(super) write: bool,
    /// What it found, once its first command has issued.
    pub(super) outcome: Option<RowOutcome>,
    pub(super) next: u16,
    pub(super) previous: u16,
    /// The queued ones of its direction that came next and before.
    pub(super) younger: u16,
    pub(super) older: u16,
}

/// The requests of one bank and direction.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct List {
    head: u16,
    tail: u16,
    /// The one to serve next of those to the open row.
    pub(super) hit: u16,
    /// The one to serve next of the others; with no row open, of all.
    pub(super) other: u16,
}

impl Default for List {
    fn default() -> Self {
        Self {
            head: NONE,
            tail: NONE,
            hit: NONE,
            other: NONE,
        }
    }
}

impl List {
    #[inline(always)]
    pub(super) fn is_empty(&self) -> bool {
        self.head == NONE
    }

    /// Of all in it; [`NONE`] if it is empty.
    #[inline(always)]
    pub(super) fn oldest(&self) -> u16 {
        self.head
    }
}

/// All slots of a channel.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Queue {
    slots: Vec<Slot>,
    free: Vec<u16>,
    /// Queued reads and writes; a request whose row was opened for it is not queued any more.
    pub(super) lengths: [u16; 2],
    // How many writes are queued by a hash of where they go: most places have none.
    writes: Vec<u16>,
    // Of each direction.
    oldest: [u16; 2],
    youngest: [u16; 2],
    sequence: u64,
}

impl std::ops::Index<u16> for Queue {
    type Output = Slot;

    #[inline]
    fn index(&self, slot: u16) -> &Slot {
        &self.slots[slot as usize]
    }
}

impl std::ops::IndexMut<u16> for Queue {
    #[inline]
    fn index_mut(&mut self, slot: u16) -> &mut Slot {
        &mut self.slots[slot as usize]
    }
}

impl Queue {
    /// Room for `slots` requests, queued or being served.
    pub(super) fn new(slots: usize) -> Self {
        Self {
            slots: vec![Slot::default(); slots],
            free: (0..slots as u16).rev().collect(),
            lengths: [0; 2],
            writes: vec![0; 1 << WRITES_BITS],
            oldest: [NONE; 2],
            youngest: [NONE; 2],
            sequence: 0,
        }
    }

    /// Queues a request behind the others of its list; returns its slot. Its `order` is its source's standing.
    #[inline]
    pub(super) fn push(&mut self, list: &mut List, request: Slot) -> u16 {
        let slot = self
            .free
            .pop()
            .expect("there are slots for full queues and all banks");
        self.sequence += 1;
        let direction = usize::from(request.write);
        self.slots[slot as usize] = Slot {
            sequence: self.sequence,
            order: request.order | self.sequence,
            next: NONE,
            previous: list.tail,
            younger: NONE,
            older: self.youngest[direction],
            ..request
        };
        match list.tail {
            NONE => list.head = slot,
            tail => self.slots[tail as usize].next = slot,
        }
        list.tail = slot;
        self.lengths[direction] += 1;
        if request.write {
            self.writes[hash(request.bank, request.row, request.column)] += 1;
        }
        match std::mem::replace(&mut self.youngest[direction], slot) {
            NONE => self.oldest[direction] = slot,
            older => self.slots[older as usize].younger = slot,
        }
        slot
    }

    /// Takes a request out of its list; its slot stays.
    #[inline]
    pub(super) fn unlink(&mut self, list: &mut List, slot: u16) {
        let Slot {
            next,
            previous,
            younger,
            older,
            write,
            bank,
            row,
            column,
            ..
        } = self.slots[slot as usize];
        match previous {
            NONE => list.head = next,
            previous => self.slots[previous as usize].next = next,
        }
        match next {
            NONE => list.tail = previous,
            next => self.slots[next as usize].previous = previous,
        }
        let direction = usize::from(write);
        match older {
            NONE => self.oldest[direction] = younger,
            older => self.slots[older as usize].younger = younger,
        }
        match younger {
            NONE => self.youngest[direction] = older,
            younger => self.slots[younger as usize].older = older,
        }
        self.lengths[direction] -= 1;
        if write {
            self.writes[hash(bank, row, column)] -= 1;
        }
    }

    /// Whether one of a bank's writes goes there.
    #[inline(always)]
    pub(super) fn holds_write(&self, writes: &List, bank: u16, row: u32, column: u32) -> bool {
        let same = |slot: u16| (self[slot].row, self[slot].column) == (row, column);
        self.writes[hash(bank, row, column)] > 0 && self.iter(writes).any(same)
    }

    /// Sources' standings have changed.
    pub(super) fn reorder(&mut self, standing: impl Fn(u16) -> u64) {
        for slot in &mut self.slots {
            slot.order = standing(slot.source) | slot.sequence;
        }
    }

    /// Frees the slot of a request that is served.
    #[inline]
    pub(super) fn release(&mut self, slot: u16) {
        self.slots[slot as usize].sequence = 0;
        self.free.push(slot);
    }

    /// The oldest that is queued in a direction.
    #[inline]
    pub(super) fn oldest(&self, direction: usize) -> Option<u16> {
        Some(self.oldest[direction]).filter(|slot| *slot != NONE)
    }

    /// The requests of a list from `slot` on, oldest first.
    pub(super) fn from(&self, slot: u16) -> impl Iterator<Item = u16> + '_ {
        let mut slot = slot;
        std::iter::from_fn(move || {
            let current = slot;
            (current != NONE).then(|| {
                slot = self.slots[current as usize].next;
                current
            })
        })
    }

    /// The requests of a list, oldest first.
    pub(super) fn iter(&self, list: &List) -> impl Iterator<Item = u16> + '_ {
        self.from(list.head)
    }

    /// The one behind `slot`.
    #[inline]
    pub(super) fn next(&self, slot: u16) -> u16 {
        self.slots[slot as usize].next
    }
}
