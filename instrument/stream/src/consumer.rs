//! The consumer: decodes what lies in the rings, segment by segment in the order of all rings.
//!
//! A segment is what a ring holds from the opening of a chunk or an ORDER event on, up to the next; its `order` is the
//! clock that it begins with. An engine begins one wherever a thread may have learnt of what another has done. So
//! whatever happened before a segment lies in segments that begin earlier, and is there to be read once the segment's
//! beginning is: the consumer notes how far each ring goes, then how far it goes now, and takes of that the segments whose
//! beginning it had noted, the earliest first. It reads open chunks up to `head` and waits for nobody.

use std::os::fd::BorrowedFd;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release, SeqCst};
use std::time::Duration;

use rustix::thread::futex;

use crate::decode::{Decoder, Extent, Sink, Waiting};
use crate::gate::{Answer, Gate};
use crate::layout::{CHUNK_HEADER_BYTES, RING_ENDED, RING_FREE, RING_HEADER_BYTES};
use crate::reader::{HEADER_WORDS, Position, Reader};
use crate::record::{ProbeAnswer, Recorder};
use crate::shared::{Counters, Geometry, Shared, low_half};
use crate::{Engine, SiteTable, StreamError};

/// What a call of [`Consumer::poll`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// A chunk was decoded, or a part of one.
    Chunk,
    /// Nothing came within the time-out.
    Idle,
    /// The engine has finished and everything is decoded.
    Finished,
}

/// What is known of a stream beside its records.
#[derive(Clone, Copy, Debug)]
pub struct Captured {
    /// The engine that attached.
    pub engine: Engine,
    /// Whether it ended the stream in good order.
    pub finished: bool,
    /// Threads that chunks were taken from.
    pub threads: u32,
    /// Bytes of chunks taken.
    pub bytes: u64,
    /// What the producer counts beside the records.
    pub counters: Counters,
}

/// memloupe's end of a stream.
pub struct Consumer {
    shared: Shared,
    sites: SiteTable,
    decoder: Decoder,
    /// Of each ring that some thread has owned. Producers claim the lowest free ring, so these come first.
    readers: Vec<Reader>,
    bytes_consumed: u64,
    threads: u32,
    recorder: Option<Recorder>,
    /// A chunk as it is recorded.
    recorded: Vec<u8>,
}

impl Consumer {
    /// Makes the shared file. The target inherits [`Consumer::descriptor`].
    ///
    /// # Errors
    /// [`StreamError::Shared`] if the system refuses the file or its mapping.
    pub fn create(geometry: &Geometry) -> Result<Self, StreamError> {
        let shared = Shared::create(geometry)?;
        Ok(Self {
            shared,
            sites: SiteTable::default(),
            decoder: Decoder::default(),
            readers: Vec::new(),
            bytes_consumed: 0,
            threads: 0,
            recorder: None,
            recorded: Vec::new(),
        })
    }

    /// Says what is wanted, before the target starts. An engine that has no gate records all the same.
    pub fn gate(&mut self, gate: Gate) {
        self.shared.set_gate(gate);
    }

    /// Says, before the target starts, that nobody will read what it records: engines fill chunks as ever, and write them
    /// anew. For measuring what capture alone costs.
    pub fn set_discards(&mut self) {
        self.shared.set_discards();
    }

    /// Records what is decoded from now on.
    pub fn record(&mut self, recorder: Recorder) {
        self.recorder = Some(recorder);
    }

    /// Ends the recording, if there is one; `text` is for who replays it.
    ///
    /// # Errors
    /// [`StreamError::Shared`] if the file can't be written.
    pub fn finish_recording(&mut self, text: &str) -> Result<(), StreamError> {
        let captured = self.captured();
        self.recorder
            .take()
            .map_or(Ok(()), |recorder| recorder.finish(&captured, text))
    }

    /// What is known of the stream so far.
    #[must_use]
    pub fn captured(&self) -> Captured {
        Captured {
            engine: self.engine(),
            finished: self.finished(),
            threads: self.threads,
            bytes: self.bytes_consumed(),
            counters: self.counters(),
        }
    }

    /// The shared file; not close-on-exec, so that the target inherits it.
    #[must_use]
    pub fn descriptor(&self) -> BorrowedFd<'_> {
        self.shared.fd()
    }

    /// The site table as far as it has been needed.
    #[must_use]
    pub fn sites(&self) -> &SiteTable {
        &self.sites
    }

    /// What the producer counts beside the records.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.shared.counters()
    }

    /// The engine that has attached.
    #[must_use]
    pub fn engine(&self) -> Engine {
        Engine::from_code(self.shared.header().engine.load(Acquire))
    }

    /// Whether the engine has ended the stream in good order.
    #[must_use]
    pub fn finished(&self) -> bool {
        self.shared.header().finished.load(Acquire) != 0
    }

    /// Bytes of chunks taken so far, or discarded.
    #[must_use]
    pub fn bytes_consumed(&self) -> u64 {
        self.bytes_consumed + self.shared.header().discarded_bytes.load(Relaxed)
    }

    /// Threads that chunks were taken from so far.
    #[must_use]
    pub fn threads(&self) -> u32 {
        self.threads
    }

    /// Decodes what comes next, if there is a closed chunk; waits up to `timeout` for one.
    ///
    /// # Errors
    /// [`StreamError`] if the stream is corrupt; the chunk at fault is passed over by the next call.
    pub fn poll(&mut self, sink: &mut impl Sink, timeout: Duration) -> Result<Progress, StreamError> {
        // Read before looking for chunks: whatever was closed before `finished` is then seen.
        let finished = self.finished();
        if self.take_next(false, sink)? {
            return Ok(Progress::Chunk);
        }
        if finished {
            return Ok(Progress::Finished);
        }
        self.wait(timeout, || self.oldest_closed().is_some());
        Ok(Progress::Idle)
    }

    /// Answers engines that write for nobody ([`Consumer::set_discards`]); waits up to `timeout` for something to answer.
    /// The sink is only asked for probes.
    ///
    /// # Errors
    /// [`StreamError::ProbeTableFull`] if the sink's probes don't fit.
    pub fn discard(&mut self, sink: &mut impl Sink, timeout: Duration) -> Result<Progress, StreamError> {
        let finished = self.finished();
        self.free_ended();
        self.threads = self.shared.header().next_thread.load(Acquire);
        if let Some(number) = self.asked() {
            return self.acknowledge(number, sink).map(|()| Progress::Chunk);
        }
        if finished {
            return Ok(Progress::Finished);
        }
        self.wait(timeout, || self.asked().is_some());
        Ok(Progress::Idle)
    }

    /// The SYNC that a producer waits at, or is about to.
    fn asked(&self) -> Option<u64> {
        let header = self.shared.header();
        let expected = header.sync_ack.load(Relaxed) + 1;
        (u64::from(header.next_sync.load(SeqCst)) >= expected).then_some(expected)
    }

    /// Decodes whatever is left after the target is gone, what the open chunks hold included.
    ///
    /// # Errors
    /// [`StreamError`] at the first corrupt chunk.
    pub fn drain(&mut self, sink: &mut impl Sink) -> Result<(), StreamError> {
        while self.take_next(true, sink)? {}
        Ok(())
    }

    /// Decodes what comes next. Only if there is a closed chunk, unless `is_over`: nobody writes any more. Whether anything
    /// was there.
    fn take_next(&mut self, is_over: bool, sink: &mut impl Sink) -> Result<bool, StreamError> {
        let mut has_looked = false;
        loop {
            let is_due = self
                .readers
                .iter()
                .any(|reader| reader.has_closed() || is_over && reader.has_data());
            if is_due && let Some((ring, others)) = self.earliest() {
                self.take(ring, others, is_over, sink)?;
                return Ok(true);
            }
            if has_looked && !is_due {
                return Ok(false);
            }
            self.look();
            has_looked = true;
        }
    }

    /// Notes how far every ring goes.
    fn look(&mut self) {
        self.free_ended();
        let claimed = self.claimed_rings().count();
        let mut readers = std::mem::take(&mut self.readers);
        readers.resize_with(claimed.max(readers.len()), Reader::default);
        for (ring, reader) in (0..).zip(&mut readers) {
            reader.known = self.published(ring);
        }
        // What happened before a beginning that was seen above is visible by now.
        for (ring, reader) in (0..).zip(&mut readers) {
            reader.limit = self.published(ring);
        }
        self.readers = readers;
    }

    /// The ring whose segment comes first, and the order of the first one of the others. `None` if the rings have to be looked
    /// at again: its beginning may be newer than what is known of the others.
    fn earliest(&mut self) -> Option<(u32, u64)> {
        let (mut first, mut others) = (None, u64::MAX);
        for (ring, reader) in (0..).zip(&mut self.readers) {
            if !reader.has_data() {
                continue;
            }
            if reader.is_fresh() {
                let mut order = [0];
                self.shared.copy_chunk(ring, reader.chunk(), 0, &mut order);
                reader.begin(order[0]);
                self.bytes_consumed += CHUNK_HEADER_BYTES as u64;
            }
            match first {
                Some((_, order)) if order <= reader.order => others = others.min(reader.order),
                _ => {
                    others = first.map_or(u64::MAX, |(_, order)| order);
                    first = Some((ring, reader.order));
                }
            }
        }
        let (ring, _) = first?;
        self.readers[ring as usize].is_known().then_some((ring, others))
    }

    /// Decodes the segment of a ring and those that follow it up to the order of the others', of one chunk at most.
    fn take(
        &mut self,
        ring: u32,
        others: u64,
        is_over: bool,
        sink: &mut impl Sink,
    ) -> Result<(), StreamError> {
        let thread = self.shared.ring(ring).thread.load(Acquire);
        let corrupt = |offset: usize, what: String| StreamError::Corrupt { thread, offset, what };
        self.threads = self.threads.max(thread + 1);
        let mut recorded = Ok(());
        // Blocks are published before their first record, so all that this chunk names are there now.
        let filled = self.fill(ring).map_err(|what| (8, what)).and_then(|()| {
            let new = self.shared.sites_from(self.sites.parsed_bytes());
            if let Some(recorder) = &mut self.recorder {
                recorded = recorder.sites(new);
            }
            self.sites.extend(new).map_err(|what| (0, what))
        });
        if let Err((offset, what)) = filled {
            self.readers[ring as usize].skip();
            return Err(corrupt(offset, what));
        }
        let reader = &mut self.readers[ring as usize];
        let (at, words) = reader.rest();
        let extent = Extent {
            last_order: others,
            known_words: reader.known_words().saturating_sub(at),
            is_open: !reader.is_whole() && !is_over,
        };
        match self.decoder.decode(thread, words, extent, &self.sites, sink) {
            Ok(decoded) => {
                // What is done with now, so that a replay has the order of all rings.
                if let Some(recorder) = self.recorder.as_mut().filter(|_| recorded.is_ok()) {
                    recorded = recorder.chunk(thread, &words[..decoded.words], &mut self.recorded);
                }
                reader.advance(decoded);
                let closed = u32::from(!sink.wants());
                self.shared.header().closed.store(closed, Release);
                let answered = match decoded.waiting {
                    Some(Waiting::Sync(number)) => self.acknowledge(number, sink),
                    Some(Waiting::Answer) => {
                        self.answer(ring, sink.answer(thread));
                        Ok(())
                    }
                    None => Ok(()),
                };
                recorded.and(answered)
            }
            Err((word, what)) => {
                reader.skip();
                Err(corrupt((at + word) * 8, what))
            }
        }
    }

    /// Copies what there is of the chunk at hand. Gives its place back if it is closed.
    fn fill(&mut self, ring: u32) -> Result<(), String> {
        let reader = &mut self.readers[ring as usize];
        if reader.is_whole() {
            return Ok(());
        }
        let chunk = reader.chunk();
        let is_whole = reader.has_closed();
        let mut header = [0u64; 2];
        let words = if is_whole {
            self.shared.copy_chunk(ring, chunk, 0, &mut header);
            header[1] as u32 as usize / 8
        } else {
            reader.limit.words
        };
        let room = self.shared.header().chunk_bytes as usize / 8;
        let is_sound = (HEADER_WORDS..=room).contains(&words) && (header[1] as u32).is_multiple_of(8);
        let first = reader.filled();
        let copy = reader.grow(if is_sound { words } else { first }, is_whole);
        self.shared.copy_chunk(ring, chunk, first, copy);
        self.bytes_consumed += copy.len() as u64 * 8;
        if is_whole {
            self.give_back(ring, chunk);
        }
        if is_sound {
            Ok(())
        } else {
            Err(format!(
                "a chunk claims {} bytes of {}",
                header[1] as u32,
                room * 8
            ))
        }
    }

    /// Tells the producer that chunk number `chunk` has been taken.
    fn give_back(&self, ring: u32, chunk: u64) {
        let state = self.shared.ring(ring);
        state.tail.store(chunk + 1, SeqCst);
        if state.producer_waiting.load(SeqCst) != 0 {
            wake(low_half(&state.tail));
        }
    }

    /// Rings that some thread has owned.
    fn claimed_rings(&self) -> impl Iterator<Item = u32> + use<'_> {
        (0..self.shared.header().ring_count)
            .take_while(|&ring| self.shared.ring(ring).base.load(Acquire) != 0)
    }

    /// Lets the rings of threads that are over have new owners, once everything is taken.
    fn free_ended(&mut self) {
        for ring in 0..self.claimed_rings().count() as u32 {
            let state = self.shared.ring(ring);
            // A thread closes its last chunk before it ends its ring.
            let is_over = state.state.load(Acquire) == RING_ENDED
                && state.tail.load(Relaxed) == state.closed.load(Acquire);
            let reader = self.readers.get_mut(ring as usize);
            if !is_over || reader.as_ref().is_some_and(|reader| reader.is_whole()) {
                continue;
            }
            if let Some(reader) = reader {
                reader.reset();
            }
            state.state.store(RING_FREE, Release);
        }
    }

    fn oldest_closed(&self) -> Option<u32> {
        self.claimed_rings()
            .filter(|&index| {
                let ring = self.shared.ring(index);
                ring.tail.load(Relaxed) < ring.closed.load(Acquire)
            })
            .min_by_key(|&ring| {
                let mut order = [0];
                let tail = self.shared.ring(ring).tail.load(Relaxed);
                self.shared.copy_chunk(ring, tail, 0, &mut order);
                order[0]
            })
    }

    /// How far a ring goes; a free one holds nothing.
    fn published(&self, index: u32) -> Position {
        let ring = self.shared.ring(index);
        loop {
            if ring.state.load(Acquire) == RING_FREE {
                return Position::default();
            }
            let (chunk, base) = (ring.closed.load(Acquire), ring.base.load(Acquire));
            let words = self
                .open_bytes(index, chunk, base)
                .map_or(HEADER_WORDS, |bytes| bytes / 8);
            // Otherwise `head` may have been another chunk's, or that of the image before `exec`.
            if ring.closed.load(Acquire) == chunk && ring.base.load(Acquire) == base {
                return Position { chunk, words };
            }
        }
    }

    /// Bytes of complete records in a ring's open chunk, chunk header included.
    fn open_bytes(&self, index: u32, chunk: u64, base: u64) -> Option<usize> {
        let header = self.shared.header();
        let ring = self.shared.ring(index);
        let head = if header.active_ring.load(Acquire) == index {
            header.active_head.load(Acquire)
        } else {
            ring.head.load(Acquire)
        };
        let place = chunk % u64::from(header.chunk_count);
        let chunk_start = base + RING_HEADER_BYTES as u64 + place * u64::from(header.chunk_bytes);
        let used = head.checked_sub(chunk_start)?;
        (CHUNK_HEADER_BYTES as u64 + 1..=u64::from(header.chunk_bytes))
            .contains(&used)
            .then_some(used as usize)
    }

    fn answer(&self, ring: u32, answer: Answer) {
        let state = self.shared.ring(ring);
        for (word, value) in state.answer.iter().zip(answer.words()) {
            word.store(value, Release);
        }
        state.answered.fetch_add(1, SeqCst);
        wake(low_half(&state.answered));
    }

    /// Lets a producer that waits at a SYNC go on, with the probes for what it has mapped.
    fn acknowledge(&mut self, number: u64, sink: &mut impl Sink) -> Result<(), StreamError> {
        let header = self.shared.header();
        let first = header.probe_count.load(Relaxed);
        let probes = sink.probes(first);
        let added = self.shared.add_probes(&probes);
        // A producer waits for the answer, whatever becomes of the recording.
        let recorded = self.recorder.as_mut().map_or(Ok(()), |recorder| {
            recorder.probes(ProbeAnswer::of(first, &probes))
        });
        header.sync_ack.store(number, SeqCst);
        wake(low_half(&header.sync_ack));
        added.and(recorded)
    }

    /// Sleeps until the doorbell rings, unless something is due already.
    fn wait(&self, timeout: Duration, is_due: impl Fn() -> bool) {
        let header = self.shared.header();
        let seen = header.doorbell.load(SeqCst);
        header.consumer_waiting.store(1, SeqCst);
        if !is_due() && !self.finished() {
            let timeout = rustix::thread::Timespec {
                tv_sec: timeout.as_secs().cast_signed(),
                tv_nsec: timeout.subsec_nanos().into(),
            };
            // Woken, timed out, interrupted or the doorbell has moved: the caller looks again in each case.
            let _ = futex::wait(&header.doorbell, futex::Flags::empty(), seen, Some(&timeout));
        }
        header.consumer_waiting.store(0, SeqCst);
    }
}

fn wake(word: &AtomicU32) {
    // Waking nobody is no error; a failure leaves the waiter to its time-out.
    let _ = futex::wake(word, futex::Flags::empty(), u32::MAX);
}
