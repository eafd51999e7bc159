//! Which memory each page lies in, and how hot it is.

use std::collections::HashMap;

/// A page that has been touched.
#[derive(Clone, Copy, Debug)]
pub(super) struct Page {
    /// Its frame in its memory.
    pub(super) frame: u32,
    /// Its memory.
    pub(super) tier: u8,
    /// Whether it stays where it is.
    pub(super) is_pinned: bool,
    /// Requests in `epoch`.
    pub(super) requests: u32,
    /// The epoch of the last request.
    pub(super) epoch: u32,
}

/// Pages that lie side by side share a chunk, so that neighbours are found without hashing.
const CHUNK_PAGES: u64 = 512;

/// All pages that have been touched, by number.
#[derive(Clone, Debug, Default)]
pub(super) struct PageTable {
    chunks: Vec<Box<[Option<Page>]>>,
    index: HashMap<u64, usize>,
    /// Number and position of the chunk that was asked for last.
    last: Option<(u64, usize)>,
}

impl PageTable {
    /// The place of a page, touched or not.
    pub(super) fn entry(&mut self, page: u64) -> &mut Option<Page> {
        let number = page / CHUNK_PAGES;
        let position = match self.last {
            Some((last, position)) if last == number => position,
            _ => {
                let position = *self.index.entry(number).or_insert_with(|| {
                    self.chunks.push(vec![None; CHUNK_PAGES as usize].into());
                    self.chunks.len() - 1
                });
                self.last = Some((number, position));
                position
            }
        };
        &mut self.chunks[position][(page % CHUNK_PAGES) as usize]
    }
}
