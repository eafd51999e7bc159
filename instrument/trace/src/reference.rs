//! A memory reference as traces have it.

/// Bytes of a word.
pub(crate) const WORD_BYTES: u32 = 8;

/// Formats whose references must not cross a line get them split at multiples of this: the line of the simulators that
/// they are for.
pub const LINE_BYTES: u32 = 64;

/// What a reference does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Reads.
    Read,
    /// Writes.
    Write,
    /// Reads, then writes the same bytes.
    Modify,
    /// Fetches instructions.
    Fetch,
    /// Reads ahead.
    Prefetch,
}

/// A memory reference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reference {
    /// When: in clocks.
    pub time: u64,
    /// First byte.
    pub address: u64,
    /// Length.
    pub bytes: u32,
    /// What it does.
    pub kind: Kind,
    /// Its instruction; 0 if it is not known.
    pub pc: u64,
    /// Who makes it.
    pub thread: u32,
}

impl Reference {
    /// Its parts, none of which crosses a multiple of `bytes`, a power of two. One that would reach beyond the end of the
    /// address space ends there.
    pub fn split(self, bytes: u32) -> impl Iterator<Item = Self> {
        let last = self.address.saturating_add(u64::from(self.bytes.max(1)) - 1);
        let mut next = Some(self.address);
        std::iter::from_fn(move || {
            let address = next?;
            let line_last = address | u64::from(bytes - 1);
            next = (line_last < last).then(|| line_last + 1);
            Some(Self {
                address,
                bytes: (line_last.min(last) - address) as u32 + 1,
                ..self
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_cover_it_and_keep_to_their_lines() {
        let whole = Reference {
            time: 1,
            address: 60,
            bytes: 72,
            kind: Kind::Write,
            pc: 2,
            thread: 3,
        };
        let parts: Vec<_> = whole.split(64).map(|part| (part.address, part.bytes)).collect();
        assert_eq!(parts, [(60, 4), (64, 64), (128, 4)]);
        let end = Reference {
            address: u64::MAX - 1,
            bytes: 8,
            ..whole
        };
        let parts: Vec<_> = end.split(64).map(|part| (part.address, part.bytes)).collect();
        assert_eq!(parts, [(u64::MAX - 1, 2)]);
    }
}
