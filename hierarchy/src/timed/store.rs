//! The contents of a memory, for hosts that keep none themselves: bytes by address, zero until written.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

const PAGE_BYTES: u64 = 4096;

/// Sparse bytes over the whole address space.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Store {
    pages: BTreeMap<u64, Vec<u8>>,
}

impl Store {
    /// Fills `bytes` with what lies at `address` and behind it; the address space wraps around.
    pub fn read(&self, address: u64, bytes: &mut [u8]) {
        for (page, start, part) in parts(address, bytes.len()) {
            match self.pages.get(&page) {
                Some(page) => bytes[part.clone()].copy_from_slice(&page[start..start + part.len()]),
                None => bytes[part].fill(0),
            }
        }
    }

    /// Puts `bytes` at `address` and behind it; the address space wraps around.
    pub fn write(&mut self, address: u64, bytes: &[u8]) {
        for (page, start, part) in parts(address, bytes.len()) {
            let page = self
                .pages
                .entry(page)
                .or_insert_with(|| vec![0; PAGE_BYTES as usize]);
            page[start..start + part.len()].copy_from_slice(&bytes[part]);
        }
    }

    /// Bytes of the pages that were written.
    #[must_use]
    pub fn resident_bytes(&self) -> u64 {
        self.pages.len() as u64 * PAGE_BYTES
    }
}

/// The page, the place in it and the part of the buffer of each piece.
fn parts(address: u64, length: usize) -> impl Iterator<Item = (u64, usize, std::ops::Range<usize>)> {
    let mut done = 0;
    std::iter::from_fn(move || {
        let at = address.wrapping_add(done as u64);
        let start = (at % PAGE_BYTES) as usize;
        let part = done..length.min(done + PAGE_BYTES as usize - start);
        done = part.end;
        (!part.is_empty()).then_some((at / PAGE_BYTES, start, part))
    })
}
