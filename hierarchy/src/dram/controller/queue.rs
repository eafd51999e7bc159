//! Queued requests: slots that keep their place, linked per bank and direction in the order of arrival.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::dram::statistics::RowOutcome;
use crate::dram::timing::Tick;

/// No slot.
pub(super) const NONE: u16 = u16::MAX;

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

/// All slots of a channel.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Queue {
    slots: Vec<Slot>,
    free: Vec<u16>,
    /// Queued reads and writes; a request whose row was opened for it is not queued any more.
    pub(super) lengths: [u16; 2],
    // Arrival order per direction; entries whose slot has moved on are dropped when they come to the front.
    order: [VecDeque<(u64, u16)>; 2],
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
            order: Default::default(),
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
            ..request
        };
        match list.tail {
            NONE => list.head = slot,
            tail => self.slots[tail as usize].next = slot,
        }
        list.tail = slot;
        self.lengths[direction] += 1;
        self.order[direction].push_back((self.sequence, slot));
        slot
    }

    /// Takes a request out of its list; its slot stays.
    #[inline]
    pub(super) fn unlink(&mut self, list: &mut List, slot: u16) {
        let Slot {
            next,
            previous,
            write,
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
        self.lengths[direction] -= 1;
        // The front of the order is always one that is queued, so finding the oldest is a look.
        while let Some(&(sequence, front)) = self.order[direction].front() {
            if front != slot && self.slots[front as usize].sequence == sequence && self.is_linked(front) {
                break;
            }
            self.order[direction].pop_front();
        }
        self.slots[slot as usize].previous = slot;
    }

    // A slot that was taken out of its list points at itself.
    fn is_linked(&self, slot: u16) -> bool {
        self.slots[slot as usize].previous != slot
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
        self.order[direction].front().map(|&(_, slot)| slot)
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
