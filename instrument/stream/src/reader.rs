//! Reading one ring: the chunk at hand, and how far it is decoded.

use crate::decode::Decoded;
use crate::layout::CHUNK_HEADER_BYTES;

/// Words of a chunk's header.
pub(crate) const HEADER_WORDS: usize = CHUNK_HEADER_BYTES / 8;

/// A place in a ring: so many words of a chunk, its header included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Position {
    /// Number of the chunk since the ring was claimed.
    pub(crate) chunk: u64,
    pub(crate) words: usize,
}

/// What a consumer knows of a ring and has copied of it.
#[derive(Debug, Default)]
pub(crate) struct Reader {
    /// A copy of the chunk as far as it was needed, so that the producer gets the place of a closed one back at once.
    words: Vec<u64>,
    /// Everything before it is decoded.
    at: Position,
    /// The chunk is closed and copied: what lies in `words` is all of it.
    is_whole: bool,
    /// Of the segment at `at`: its place in the order of all rings, and from where on that was known.
    pub(crate) order: u64,
    begins: Position,
    /// The producer had come so far when all rings were looked at: first for where segments begin, then for their content.
    pub(crate) known: Position,
    pub(crate) limit: Position,
}

impl Reader {
    /// Forgets a ring's former owner.
    pub(crate) fn reset(&mut self) {
        self.words.clear();
        *self = Self {
            words: std::mem::take(&mut self.words),
            ..Self::default()
        };
    }

    /// Number of the chunk at hand.
    pub(crate) fn chunk(&self) -> u64 {
        self.at.chunk
    }

    /// Whether the chunk at hand has not been begun.
    pub(crate) fn is_fresh(&self) -> bool {
        self.at.words == 0
    }

    /// Begins the chunk at hand, which has this place in the order of all rings.
    pub(crate) fn begin(&mut self, order: u64) {
        self.words.clear();
        self.words.resize(HEADER_WORDS, 0);
        self.at.words = HEADER_WORDS;
        self.order = order;
        // A chunk that is open is known as soon as there is a word in it.
        self.begins = Position {
            chunk: self.at.chunk,
            words: HEADER_WORDS + 1,
        };
    }

    /// Whether there is something to decode.
    pub(crate) fn has_data(&self) -> bool {
        self.limit
            > Position {
                chunk: self.at.chunk,
                words: self.at.words.max(HEADER_WORDS),
            }
    }

    /// Whether there is, in a closed chunk.
    pub(crate) fn has_closed(&self) -> bool {
        self.at.chunk < self.limit.chunk
    }

    /// Whether the segment at hand had begun when the content of all rings was looked at.
    pub(crate) fn is_known(&self) -> bool {
        self.begins <= self.known
    }

    /// How many words of the chunk at hand may hold the beginnings of segments.
    pub(crate) fn known_words(&self) -> usize {
        if self.at.chunk < self.known.chunk {
            usize::MAX
        } else {
            self.known.words
        }
    }

    /// Words that are copied.
    pub(crate) fn filled(&self) -> usize {
        self.words.len()
    }

    /// Whether the chunk is copied as a whole.
    pub(crate) fn is_whole(&self) -> bool {
        self.is_whole
    }

    /// Grows the copy to `words` words; returns the place of the new ones. `is_whole` if that is all.
    pub(crate) fn grow(&mut self, words: usize, is_whole: bool) -> &mut [u64] {
        let filled = self.words.len();
        self.words.resize(words.max(filled), 0);
        self.is_whole = is_whole;
        &mut self.words[filled..]
    }

    /// The words to decode, and where in the chunk they begin.
    pub(crate) fn rest(&self) -> (usize, &[u64]) {
        (self.at.words, &self.words[self.at.words.min(self.words.len())..])
    }

    /// Goes on behind what was decoded.
    pub(crate) fn advance(&mut self, decoded: Decoded) {
        self.at.words += decoded.words;
        if let Some(order) = decoded.order {
            self.order = order;
            self.begins = self.at;
        }
        if self.is_whole && self.at.words >= self.words.len() {
            self.next_chunk();
        } else if decoded.leaves_last {
            // It may be taken back: it waits until more lies behind it.
            self.words.truncate(self.at.words);
            self.limit = self.at;
        }
    }

    /// Passes over the rest of the chunk, as far as it is known.
    pub(crate) fn skip(&mut self) {
        self.at.words = self.words.len();
        if self.is_whole {
            self.next_chunk();
        }
    }

    fn next_chunk(&mut self) {
        self.at = Position {
            chunk: self.at.chunk + 1,
            words: 0,
        };
        self.is_whole = false;
    }
}
