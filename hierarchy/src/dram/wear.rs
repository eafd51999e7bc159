//! How often each cell of a memory was written, where cells wear out.
//!
//! Modelled: what reaches the memory behind the caches. A unit is a line; where a technology writes pages, all writes to a row
//! while it is open are one write of its page. Not modelled: wear levelling, write cancelling and error correction: the
//! most written unit is what a controller without any of them would wear out first.

use std::collections::HashMap;

/// Units counted together.
const CHUNK_BITS: u32 = 10;

/// Writes of each unit of one memory.
#[derive(Clone, Debug, Default)]
pub(super) struct Wear {
    chunks: HashMap<u64, Box<[u32; 1 << CHUNK_BITS]>>,
    most: u32,
    all: u64,
}

/// What was written of a memory whose cells wear out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// Writes of all lines, or of all pages where those are written as a whole.
    pub writes: u64,
    /// Bytes of a line or page.
    pub unit_bytes: u64,
    /// Writes of the one that was written most.
    pub most: u64,
}

impl Wear {
    /// Unit `number` was written.
    #[inline]
    pub(super) fn write(&mut self, number: u64) {
        let chunk =
            { self.chunks.entry(number >> CHUNK_BITS) }.or_insert_with(|| Box::new([0; 1 << CHUNK_BITS]));
        let count = &mut chunk[number as usize % (1 << CHUNK_BITS)];
        *count = count.saturating_add(1);
        self.most = self.most.max(*count);
        self.all += 1;
    }

    pub(super) fn written(&self, unit_bytes: u64) -> Written {
        Written {
            writes: self.all,
            unit_bytes,
            most: self.most.into(),
        }
    }
}
