//! The shape of address translation.

use std::fmt;

/// Size of a page of x86-64.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PageSize {
    /// 4 KiB.
    #[default]
    Base,
    /// 2 MiB.
    Large,
    /// 1 GiB.
    Huge,
}

impl PageSize {
    /// Every size.
    pub const ALL: &[Self] = &[PageSize::Base, PageSize::Large, PageSize::Huge];

    /// The level of the page table whose entries map such pages, counted from 0.
    pub(crate) fn leaf(self) -> u32 {
        self as u32
    }

    /// Bits of an address within a page.
    pub(crate) fn shift(self) -> u32 {
        12 + 9 * self.leaf()
    }

    /// Its size.
    #[must_use]
    pub fn bytes(self) -> u64 {
        1 << self.shift()
    }
}

/// Where page walks read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Walks {
    /// Nowhere: they are counted only.
    #[default]
    Counted,
    /// In the caches, from the data cache nearest to the core outwards.
    Cached,
}

impl Walks {
    /// Both.
    pub const ALL: &[Self] = &[Walks::Counted, Walks::Cached];
}

impl fmt::Display for Walks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Walks::Counted => "counted",
            Walks::Cached => "cached",
        })
    }
}

/// Size of one translation look-aside buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TlbConfig {
    /// How many pages it holds.
    pub entries: u32,
    /// Associativity; as many as entries make it fully associative.
    pub ways: u32,
}

/// The translation of every core.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TranslationConfig {
    /// Size of every page.
    pub page: PageSize,
    /// The first level for data.
    pub data: TlbConfig,
    /// The first level for instruction fetches; without one they are not translated.
    pub instruction: Option<TlbConfig>,
    /// The second level, for both.
    pub unified: Option<TlbConfig>,
    /// Where page walks read.
    pub walks: Walks,
    /// Entries of the fully associative caches of page directory entries, page directory pointers, and entries of the
    /// top level (Barr, Cox, Rixner: Translation caching: skip, don't walk (the page table), ISCA 2010); 0: none.
    pub walk_cache_entries: [u32; 3],
}

/// TLBs are searched one by one.
const MOST_WAYS: u32 = 1024;
const MOST_ENTRIES: u32 = 1 << 20;

impl TranslationConfig {
    /// What cannot be simulated: the buffer, and why.
    pub(crate) fn mistake(&self) -> Option<(&'static str, String)> {
        let buffers = [
            ("data TLB", Some(self.data)),
            ("instruction TLB", self.instruction),
            ("unified TLB", self.unified),
        ];
        for (name, buffer) in buffers {
            let Some(TlbConfig { entries, ways }) = buffer else {
                continue;
            };
            if !(1..=MOST_WAYS).contains(&ways) {
                return Some((name, format!("{ways} ways: it must have from 1 to {MOST_WAYS}")));
            }
            if !(1..=MOST_ENTRIES).contains(&entries) || !entries.is_multiple_of(ways) {
                return Some((
                    name,
                    format!(
                        "{entries} entries: it must be a multiple of its {ways} ways, up to {MOST_ENTRIES}"
                    ),
                ));
            }
        }
        let most = self.walk_cache_entries.into_iter().max().unwrap_or(0);
        (most > MOST_WAYS).then(|| {
            (
                "page-walk cache",
                format!("{most} entries are more than the {MOST_WAYS} that are simulated"),
            )
        })
    }
}
