//! Belady's OPT: the fewest misses that any policy can have that takes in each line it misses.
//!
//! Belady: A study of replacement algorithms for a virtual-storage computer, IBM Systems Journal 5(2), 1966. Two passes
//! over a recorded stream of line accesses: the first finds each access's next use, the second replaces the line whose
//! next use is farthest. It is the bound for the accesses as they came: other hits and misses at this level would not
//! change what the levels nearer to the core ask for. Not modelled: going past the cache, which could miss less still.

use std::collections::HashMap;

/// The line accesses that reached one cache, in order: 12 bytes each.
#[derive(Clone, Debug, Default)]
pub struct Recording {
    lines: Vec<u64>,
    owners: Vec<u32>,
}

/// Never used again.
const NEVER: usize = usize::MAX;

impl Recording {
    /// Notes the next access.
    #[inline]
    pub fn push(&mut self, line: u64, owner: u32) {
        self.lines.push(line);
        self.owners.push(owner);
    }

    /// How many accesses were noted.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lines.len()
    }

    /// Whether none was.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// Misses of OPT with `ways` ways per set by owner, of `owners` owners; `set_of` tells a line's set, below `sets`.
    #[must_use]
    pub fn misses(&self, sets: usize, ways: usize, owners: usize, set_of: impl Fn(u64) -> usize) -> Vec<u64> {
        let mut next_use = vec![NEVER; self.lines.len()];
        let mut seen: HashMap<u64, usize> = HashMap::new();
        for (at, &line) in self.lines.iter().enumerate().rev() {
            next_use[at] = seen.insert(line, at).unwrap_or(NEVER);
        }
        drop(seen);
        let mut misses = vec![0; owners];
        // Each way: its line and when that is used next.
        let mut contents: Vec<Vec<(u64, usize)>> = vec![Vec::new(); sets];
        for ((&line, &owner), &next) in self.lines.iter().zip(&self.owners).zip(&next_use) {
            let set = &mut contents[set_of(line)];
            if let Some(way) = set.iter_mut().find(|way| way.0 == line) {
                way.1 = next;
                continue;
            }
            misses[owner as usize] += 1;
            if set.len() < ways {
                set.push((line, next));
            } else if let Some(farthest) = set.iter_mut().max_by_key(|way| way.1) {
                *farthest = (line, next);
            }
        }
        misses
    }
}
