//! The decoder: a chunk's words back into what the program did.

use crate::event::Event;
use crate::repeat::{self, LoopRecord, execution};
use crate::run::RunBatch;
use crate::site::{Role, SiteTable};
use crate::{StreamError, layout};

/// What receives a decoded stream. Calls for one thread come in program order.
pub trait Sink {
    /// Consecutive runs of `thread`; no event of that thread lies between them.
    fn runs(&mut self, thread: u32, sites: &SiteTable, batch: &RunBatch);
    /// Something other than an access.
    fn event(&mut self, thread: u32, event: Event);
    /// The target waits for probes in the modules that were mapped since the last call: returns those to add to the
    /// table. The first has the id `first`.
    fn probes(&mut self, first: u32) -> Vec<crate::Probe> {
        let _ = first;
        Vec::new()
    }
}

/// Runs in a batch before it is handed on, so that a batch and what it touches stay in the consumer's caches.
pub(crate) const BATCH_RUNS: usize = 1024;

/// Turns records into runs and events.
#[derive(Debug, Default)]
pub struct Decoder {
    batch: RunBatch,
    /// A loop's header and the words of one of its iterations.
    slots: Vec<u64>,
    /// Of each thread that has told it.
    fs_bases: Vec<u64>,
}

impl Decoder {
    /// Decodes whole records. Returns the number of a [`Event::Sync`] if one was among them: it is the last thing its
    /// producer sent, for it waits.
    ///
    /// # Errors
    /// [`StreamError::Corrupt`] where the words break the protocol; what came before has been handed on.
    pub fn decode(
        &mut self,
        thread: u32,
        words: &[u64],
        sites: &SiteTable,
        sink: &mut impl Sink,
    ) -> Result<Option<u64>, StreamError> {
        self.batch.clear();
        let mut sync = None;
        let mut fs_base = self.fs_bases.get(thread as usize).copied().unwrap_or(0);
        let mut at = 0;
        while at < words.len() {
            let head = words[at];
            let step = match head >> layout::RECORD_SHIFT {
                layout::RECORD_BLOCK => {
                    let record = &words[at..];
                    self.block(record, sites, fs_base, |batch| {
                        sink.runs(thread, sites, batch);
                        batch.clear();
                    })
                }
                layout::RECORD_EVENT => {
                    self.flush(thread, sites, sink);
                    Self::event(head as u32, &words[at + 1..]).map(|(event, length)| {
                        match event {
                            Event::Sync { number } => sync = Some(number),
                            Event::SegmentBase { fs } => {
                                fs_base = fs;
                                self.keep_fs_base(thread, fs);
                            }
                            event => sink.event(thread, event),
                        }
                        length
                    })
                }
                other => Err(format!("record of unknown type {other:#x}")),
            };
            match step {
                Ok(length) => at += 1 + length,
                Err(what) => {
                    self.flush(thread, sites, sink);
                    let offset = layout::CHUNK_HEADER_BYTES + at * 8;
                    return Err(StreamError::Corrupt { thread, offset, what });
                }
            }
            if self.batch.len() >= BATCH_RUNS {
                self.flush(thread, sites, sink);
            }
        }
        self.flush(thread, sites, sink);
        Ok(sync)
    }

    /// Decodes a block record; returns its words behind the first. `flush` empties a full batch.
    #[inline]
    fn block(
        &mut self,
        record: &[u64],
        sites: &SiteTable,
        fs_base: u64,
        flush: impl FnMut(&mut RunBatch),
    ) -> Result<usize, String> {
        let id = record[0] as u32;
        let block = sites
            .block(id)
            .ok_or_else(|| format!("block {id} is not in the site table"))?;
        match block.role {
            Role::Straight => {
                let length = block.slots as usize;
                let slots = record.get(1..=length).ok_or_else(|| short(id, length))?;
                execution(&mut self.batch, id, block, sites, slots, fs_base, 0);
                Ok(length)
            }
            Role::Loop => {
                let (record, length) = LoopRecord::parse(record, block, sites)?;
                repeat::expand(&mut self.batch, &mut self.slots, &record, sites, fs_base, flush);
                Ok(length)
            }
            Role::PartOfLoop(whole) => {
                Err(format!("block {id} is a part of loop {whole}: it has no records"))
            }
        }
    }

    fn event(argument: u32, rest: &[u64]) -> Result<(Event, usize), String> {
        let length = (argument >> 8) as usize;
        let payload = rest
            .get(..length)
            .ok_or_else(|| format!("event of {length} words, the chunk ends"))?;
        Ok((Event::parse(argument & 0xff, payload)?, length))
    }

    fn keep_fs_base(&mut self, thread: u32, fs_base: u64) {
        let index = thread as usize;
        if self.fs_bases.len() <= index {
            self.fs_bases.resize(index + 1, 0);
        }
        self.fs_bases[index] = fs_base;
    }

    fn flush(&mut self, thread: u32, sites: &SiteTable, sink: &mut impl Sink) {
        if !self.batch.is_empty() {
            sink.runs(thread, sites, &self.batch);
            self.batch.clear();
        }
    }
}

/// What is wrong with a record that is cut off.
pub(crate) fn short(id: u32, words: usize) -> String {
    format!("block {id} needs {words} words, the chunk ends")
}
