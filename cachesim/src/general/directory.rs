//! What a directory knows of the lines in private caches: a full map, exact, as large as it must be.
//!
//! Cores whose caches lost a line by replacement are not struck out; whoever looks at an entry looks at the caches too.
//! So the directory acts as one that is told of every replacement. A line that a private cache ever held costs about 64
//! bytes.

use crate::config::Protocol;
use crate::line_map::LineMap;

/// The directory is a word of a bit per core.
pub(crate) const MOST_CORES: usize = 128;

/// A word of bits, one for each granule of a line: a byte, or more in lines of more than 64 bytes.
pub(super) type Granules = u64;

#[derive(Clone, Debug, Default)]
pub(super) struct Entry {
    /// Cores that may hold the line.
    pub(super) holders: u128,
    /// The core that may write without asking: it has the line exclusively or modified.
    pub(super) sole: Option<u8>,
    /// Cores that lost the line to a store of another, with what was written since.
    pub(super) lost: Vec<(u8, Granules)>,
}

impl Entry {
    /// Takes note of a store by `core`.
    pub(super) fn written(&mut self, core: usize, granules: Granules) {
        for (_, written) in self.lost.iter_mut().filter(|lost| usize::from(lost.0) != core) {
            *written |= granules;
        }
    }

    /// `core` asks again for what it lost; what was written since.
    pub(super) fn found_again(&mut self, core: usize) -> Option<Granules> {
        let at = self.lost.iter().position(|lost| usize::from(lost.0) == core)?;
        Some(self.lost.swap_remove(at).1)
    }
}

#[derive(Debug)]
pub(super) struct Directory {
    pub(super) protocol: Protocol,
    /// The instance that it belongs to.
    pub(super) at: usize,
    line_shift: u32,
    entries: LineMap<Entry>,
    /// What the access at work touches of its line.
    pub(super) touched: Granules,
    /// The line that another core's cache answers the access at work with.
    pub(super) supplied: Option<u64>,
}

impl Directory {
    pub(super) fn new(protocol: Protocol, at: usize, line_shift: u32) -> Self {
        Self {
            protocol,
            at,
            line_shift,
            entries: LineMap::default(),
            touched: 0,
            supplied: None,
        }
    }

    pub(super) fn entry(&mut self, line: u64) -> &mut Entry {
        self.entries.entry(line).or_default()
    }

    /// An access to the bytes from `first` to `last` begins with its line `line`.
    pub(super) fn begin(&mut self, line: u64, first: u64, last: u64) {
        let granule_shift = self.line_shift.saturating_sub(6);
        let start = line << self.line_shift;
        let end = start | ((1 << self.line_shift) - 1);
        let from = (first.max(start) - start) >> granule_shift;
        let to = (last.min(end) - start) >> granule_shift;
        self.touched = (Granules::MAX << from) & (Granules::MAX >> (63 - to));
        self.supplied = None;
    }
}

/// The cores of a word, lowest first.
pub(super) fn cores_of(mut word: u128) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let core = word.trailing_zeros() as usize;
        (word != 0).then(|| {
            word &= word - 1;
            core
        })
    })
}
