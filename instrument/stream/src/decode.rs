//! The decoder: a chunk's words back into what the program did.

use std::ops::Range;

use crate::event::Event;
use crate::gate::Answer;
use crate::layout;
use crate::repeat::{self, Cycle, LoopRecord, execution};
use crate::run::RunBatch;
use crate::site::{Role, SiteTable};

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
    /// What the last [`Event::ProbeEnter`] of `thread` means to the gate.
    fn answer(&mut self, thread: u32) -> Answer {
        let _ = thread;
        Answer::default()
    }
    /// Whether it wants to know when segments begin. Runs are then handed on in shorter batches.
    fn wants_clock(&self) -> bool {
        false
    }
    /// `thread` begins a segment at `clock`.
    fn clock(&mut self, thread: u32, clock: u64) {
        let _ = (thread, clock);
    }
    /// Whether runs may have scattered operands.
    fn takes_scattered(&self) -> bool {
        false
    }
    /// Whether something of what the target does may be wanted.
    fn wants(&self) -> bool {
        true
    }
}

/// What a producer waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Waiting {
    /// The acknowledgement of an [`Event::Sync`] with this number.
    Sync(u64),
    /// The answer to an [`Event::Ask`].
    Answer,
}

/// First word of an ORDER event.
const ORDER_HEAD: u64 =
    layout::RECORD_EVENT << layout::RECORD_SHIFT | 1 << 8 | layout::EventCode::Order as u64;
/// Words of an ORDER event.
pub(crate) const ORDER_WORDS: usize = 2;

/// How far decoding may go.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Extent {
    /// What comes behind an ORDER event later than this is left for another call.
    pub(crate) last_order: u64,
    /// So is what comes behind an ORDER event that ends further on in the words.
    pub(crate) known_words: usize,
    /// More may come behind the words: a block record at their end is left alone, its producer may take it back.
    pub(crate) is_open: bool,
}

/// How far decoding came, and why it stopped there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Decoded {
    /// Words that are done with.
    pub(crate) words: usize,
    /// The last ORDER event among them.
    pub(crate) order: Option<u64>,
    /// What the producer waits for behind them.
    pub(crate) waiting: Option<Waiting>,
    /// The block record behind them, the last one of an open chunk, is left alone.
    pub(crate) leaves_last: bool,
}

/// Turns records into runs and events.
#[derive(Debug, Default)]
pub(crate) struct Decoder {
    batch: RunBatch,
    /// A loop's header and the words of one of its iterations.
    slots: Vec<u64>,
    /// Of each thread that has told it.
    fs_bases: Vec<u64>,
}

impl Decoder {
    /// Decodes whole records, up to one that its producer waits behind.
    ///
    /// # Errors
    /// What breaks the protocol, and the word where; what came before has been handed on.
    pub(crate) fn decode(
        &mut self,
        thread: u32,
        words: &[u64],
        extent: Extent,
        sites: &SiteTable,
        sink: &mut impl Sink,
    ) -> Result<Decoded, (usize, String)> {
        self.batch.clear();
        let mut done = Decoded::default();
        let takes_scattered = sink.takes_scattered();
        let mut fs_base = self.fs_bases.get(thread as usize).copied().unwrap_or(0);
        // Behind the last ORDER event.
        let mut segment = 0;
        let mut at = 0;
        while at < words.len() && done.waiting.is_none() {
            let record = &words[at..];
            if record[0] == ORDER_HEAD && record.len() >= ORDER_WORDS {
                done.order = Some(record[1]);
                if !extent.admits(at, record[1]) {
                    at += ORDER_WORDS;
                    break;
                }
                let cycle = segment..at;
                at += ORDER_WORDS;
                if let Some((rounds, last)) = extent.rounds(words, cycle.clone())
                    && let Some(cycle) = Cycle::parse(&words[cycle], sites)
                {
                    at += rounds * (at - segment);
                    done.order = Some(last);
                    cycle.push(&mut self.batch, rounds as u64, sites, fs_base);
                }
                if sink.wants_clock() {
                    self.flush(thread, sites, sink);
                    sink.clock(thread, done.order.unwrap_or_default());
                }
                segment = at;
                continue;
            }
            let flush = |batch: &mut RunBatch| {
                sink.runs(thread, sites, batch);
                batch.clear();
            };
            let step = match record[0] >> layout::RECORD_SHIFT {
                layout::RECORD_BLOCK => {
                    self.block(record, extent.is_open, takes_scattered, sites, fs_base, flush)
                }
                layout::RECORD_EVENT => {
                    self.flush(thread, sites, sink);
                    Self::event(record[0] as u32, &record[1..]).map(|(event, length)| {
                        match event {
                            Event::Sync { number } => done.waiting = Some(Waiting::Sync(number)),
                            Event::Ask => done.waiting = Some(Waiting::Answer),
                            Event::SegmentBase { fs } => {
                                fs_base = fs;
                                self.keep_fs_base(thread, fs);
                            }
                            event => sink.event(thread, event),
                        }
                        Some(length)
                    })
                }
                other => Err(format!("record of unknown type {other:#x}")),
            };
            match step {
                Ok(Some(length)) => at += 1 + length,
                Ok(None) => {
                    done.leaves_last = true;
                    break;
                }
                Err(what) => {
                    self.flush(thread, sites, sink);
                    return Err((at, what));
                }
            }
            if self.batch.is_full() {
                self.flush(thread, sites, sink);
            }
        }
        self.flush(thread, sites, sink);
        done.words = at;
        Ok(done)
    }

    /// Decodes a block record; returns its words behind the first. `None` if it is to be left: it is the last one of an open
    /// chunk. `flush` empties a full batch.
    #[inline]
    fn block(
        &mut self,
        record: &[u64],
        is_open: bool,
        takes_scattered: bool,
        sites: &SiteTable,
        fs_base: u64,
        flush: impl FnMut(&mut RunBatch),
    ) -> Result<Option<usize>, String> {
        let id = record[0] as u32;
        let block = sites
            .block(id)
            .ok_or_else(|| format!("block {id} is not in the site table"))?;
        let is_left = |length: usize| is_open && 1 + length == record.len();
        match block.role {
            Role::Straight => {
                let length = block.slots as usize;
                let slots = record.get(1..=length).ok_or_else(|| short(id, length))?;
                if is_left(length) {
                    return Ok(None);
                }
                execution(&mut self.batch, id, block, sites, slots, fs_base, 0);
                Ok(Some(length))
            }
            Role::Loop => {
                let (parsed, length) = LoopRecord::parse(record, block, sites)?;
                if is_left(length) {
                    return Ok(None);
                }
                repeat::expand(
                    &mut self.batch,
                    &mut self.slots,
                    &parsed,
                    takes_scattered,
                    sites,
                    fs_base,
                    flush,
                );
                Ok(Some(length))
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

impl Extent {
    /// Whether what follows an ORDER event at word `at` may be decoded.
    fn admits(self, at: usize, order: u64) -> bool {
        order <= self.last_order && at + ORDER_WORDS <= self.known_words
    }

    /// How often the words in `cycle` and the ORDER event behind them come again, and the clock of the last one. That is
    /// what a spinning thread leaves: round after round of the same blocks with the same addresses.
    fn rounds(self, words: &[u64], cycle: Range<usize>) -> Option<(usize, u64)> {
        let step = cycle.len() + ORDER_WORDS;
        let first = cycle.end + ORDER_WORDS;
        // The round's records and the event's first word; its clock differs.
        let round = &words[cycle.start..=cycle.end];
        let is_again = |start: usize| {
            let mark = start + cycle.len();
            words.get(start..=mark) == Some(round)
                && words.get(mark + 1).is_some_and(|&clock| self.admits(mark, clock))
        };
        let rounds = (0..).take_while(|round| is_again(first + round * step)).count();
        (rounds > 0 && !cycle.is_empty()).then(|| (rounds, words[first + rounds * step - 1]))
    }
}

/// What is wrong with a record that is cut off.
pub(crate) fn short(id: u32, words: usize) -> String {
    format!("block {id} needs {words} words, the chunk ends")
}
