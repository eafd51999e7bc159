//! The page table of x86-64 and the walks of it.
//!
//! Where tables lie: the table maps itself in one entry of its top level, so that the entry for address `a` is at
//! `TABLES + a / 4096 × 8`, the entry one level up is the entry for that address, and so on. Entries of neighbouring
//! pages are neighbours, as in memory; tables of neighbouring regions are too, where a kernel has them anywhere. The
//! region lies in the kernel's half, away from everything that the program touches. Four levels: of an address, 48 bits
//! count.

use super::tlb::Tlb;
use crate::config::PageSize;

const LEVELS: u32 = 4;
const INDEX_BITS: u32 = 9;
const BASE_SHIFT: u32 = 12;
const ENTRY_BYTES: u64 = 8;
/// Where the entries of the lowest level begin: entry 0x1ed of the top level maps the table itself (the choice of
/// Windows; any in the kernel's half would do).
const TABLES: u64 = 0xffff_f680_0000_0000;
/// The bytes of all entries of the lowest level, less one.
const WITHIN: u64 = (1 << (48 - BASE_SHIFT + 3)) - 1;

/// Address of the entry that maps the page of `address`, if that is a page of 4 KiB.
fn entry(address: u64) -> u64 {
    TABLES | (((address >> BASE_SHIFT) * ENTRY_BYTES) & WITHIN)
}

/// The entries that a walk read, in order.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Walk {
    entries: [u64; LEVELS as usize],
    count: usize,
}

impl Walk {
    /// Their addresses, from the top of the table downwards.
    pub(crate) fn entries(&self) -> &[u64] {
        &self.entries[..self.count]
    }
}

#[derive(Debug)]
pub(super) struct Walker {
    leaf: u32,
    // Of the entries at levels 1 (page directory), 2 and 3 (top level), those read last; none if it has no entries.
    caches: [Option<Tlb>; LEVELS as usize - 1],
}

impl Walker {
    pub(super) fn new(page: PageSize, cache_entries: [u32; LEVELS as usize - 1]) -> Self {
        Self {
            leaf: page.leaf(),
            caches: cache_entries.map(|entries| (entries > 0).then(|| Tlb::new(entries, entries))),
        }
    }

    /// Reads the entries for `address` from below the lowest one that a page-walk cache holds down to the leaf.
    pub(super) fn walk(&mut self, address: u64) -> Walk {
        let region = |level: u32| address >> (BASE_SHIFT + INDEX_BITS * level);
        let first_above = (self.leaf + 1..LEVELS).find(|&level| {
            let cache = &mut self.caches[level as usize - 1];
            cache.as_mut().is_some_and(|cache| cache.find(region(level)))
        });
        let mut at = address;
        let mut of_level = [0; LEVELS as usize];
        for slot in &mut of_level {
            at = entry(at);
            *slot = at;
        }
        let mut walk = Walk {
            entries: [0; LEVELS as usize],
            count: 0,
        };
        for level in (self.leaf..first_above.unwrap_or(LEVELS)).rev() {
            walk.entries[walk.count] = of_level[level as usize];
            walk.count += 1;
            if level > self.leaf
                && let Some(cache) = &mut self.caches[level as usize - 1]
            {
                cache.access(region(level));
            }
        }
        walk
    }
}

#[cfg(test)]
mod tests {
    use super::{Walker, entry};
    use crate::config::PageSize;

    #[test]
    fn entries_are_those_of_the_self_map() {
        assert_eq!(entry(0), 0xffff_f680_0000_0000);
        assert_eq!(entry(0x7fff_ffff_f000), 0xffff_f6bf_ffff_fff8);
        // The well-known bases of the upper levels under this entry.
        assert_eq!(entry(entry(0)), 0xffff_f6fb_4000_0000);
        assert_eq!(entry(entry(entry(0))), 0xffff_f6fb_7da0_0000);
        assert_eq!(entry(entry(entry(entry(0)))), 0xffff_f6fb_7dbe_d000);
    }

    #[test]
    fn larger_pages_and_walk_caches_shorten_walks() {
        for (page, reads) in [(PageSize::Base, 4), (PageSize::Large, 3), (PageSize::Huge, 2)] {
            let mut plain = Walker::new(page, [0; 3]);
            let mut cached = Walker::new(page, [1; 3]);
            for _ in 0..2 {
                assert_eq!(plain.walk(0x1234_5678).entries().len(), reads);
            }
            let all = cached.walk(0x1234_5678);
            assert_eq!(all.entries(), plain.walk(0x1234_5678).entries());
            // The next page shares everything but the leaf.
            let next = cached.walk(0x1234_5678 + page.bytes());
            assert_eq!(
                next.entries(),
                &plain.walk(0x1234_5678 + page.bytes()).entries()[reads - 1..]
            );
        }
    }
}
