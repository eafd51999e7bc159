//! Sharing: which lines more than one thread touches.
//!
//! Threads are told apart by their number modulo 64: a line of thread 0 and thread 64 alone counts as private.
//!
//! Memory: 24 bytes for each slot of a line.

use super::stretch::Stretch;
use crate::run::AccessKind;

/// Lines by who used them; each is counted for the group that touched it last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sharing {
    /// Used by one thread.
    pub private: u64,
    /// Read by several threads, written by none.
    pub read_shared: u64,
    /// Written by one thread and read by others.
    pub one_writer: u64,
    /// Written by several threads.
    pub many_writers: u64,
}

impl std::ops::AddAssign<&Sharing> for Sharing {
    fn add_assign(&mut self, other: &Sharing) {
        self.private += other.private;
        self.read_shared += other.read_shared;
        self.one_writer += other.one_writer;
        self.many_writers += other.many_writers;
    }
}

/// Who used a line: a bit for each thread.
#[derive(Clone, Copy, Debug, Default)]
struct Users {
    readers: u64,
    writers: u64,
    group: u32,
}

/// Measures [`Sharing`].
#[derive(Clone, Debug, Default)]
pub(super) struct SharingMeter {
    // By slot.
    users: Vec<Users>,
}

impl SharingMeter {
    /// Makes room for so many slots.
    pub(super) fn reserve(&mut self, slots: usize) {
        self.users.resize(slots, Users::default());
    }

    #[inline]
    pub(super) fn stretch(&mut self, stretch: &Stretch<'_>) {
        let thread = 1u64 << (stretch.thread % 64);
        for touch in stretch.touches {
            let users = &mut self.users[touch.slot as usize];
            let kind = stretch.operand(touch).kind;
            if kind.writes() {
                users.writers |= thread;
            }
            if !matches!(kind, AccessKind::Store | AccessKind::NonTemporalStore) {
                users.readers |= thread;
            }
            users.group = stretch.group(touch);
        }
    }

    /// Keeps the lines of these slots only, numbered anew.
    pub(super) fn retain(&mut self, slots: &[u32]) {
        self.users = slots.iter().map(|slot| self.users[*slot as usize]).collect();
    }

    /// Lines by group.
    pub(super) fn finish(self, one_in: u64, groups: usize) -> Vec<Sharing> {
        let mut found = vec![Sharing::default(); groups];
        for users in self.users {
            let all = users.readers | users.writers;
            let sharing = &mut found[users.group as usize];
            let lines = match (all.count_ones(), users.writers.count_ones()) {
                (0, _) => continue,
                (1, _) => &mut sharing.private,
                (_, 0) => &mut sharing.read_shared,
                (_, 1) => &mut sharing.one_writer,
                _ => &mut sharing.many_writers,
            };
            *lines += one_in;
        }
        found
    }
}
