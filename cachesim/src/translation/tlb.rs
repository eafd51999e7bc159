//! A set-associative LRU buffer of pages.

use crate::set_index::SetIndex;

#[derive(Debug)]
pub(super) struct Tlb {
    index: SetIndex,
    ways: usize,
    // Set after set, most recently used first: page + 1, or 0 for an empty way.
    tags: Vec<u64>,
}

impl Tlb {
    pub(super) fn new(entries: u32, ways: u32) -> Self {
        Self {
            index: SetIndex::new(u64::from(entries / ways)),
            ways: ways as usize,
            tags: vec![0; entries as usize],
        }
    }

    #[inline(always)]
    fn set(&mut self, page: u64) -> &mut [u64] {
        let set = self.index.of(page);
        &mut self.tags[set * self.ways..][..self.ways]
    }

    /// Whether `page` is held; it is from now on, as the most recent.
    #[inline(always)]
    pub(super) fn access(&mut self, page: u64) -> bool {
        let tag = page + 1;
        let set = self.set(page);
        if set[0] == tag {
            return true;
        }
        let found = set.iter().position(|&held| held == tag);
        let leaves = found.unwrap_or(set.len() - 1);
        set[..=leaves].rotate_right(1);
        set[0] = tag;
        found.is_some()
    }

    /// Whether `page` is held; if it is, as the most recent.
    pub(super) fn find(&mut self, page: u64) -> bool {
        let tag = page + 1;
        let set = self.set(page);
        let Some(at) = set.iter().position(|&held| held == tag) else {
            return false;
        };
        set[..=at].rotate_right(1);
        true
    }
}
