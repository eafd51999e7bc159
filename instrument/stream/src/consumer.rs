//! The consumer: takes closed chunks of all rings in order and decodes them.

use std::os::fd::BorrowedFd;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release, SeqCst};
use std::time::Duration;

use rustix::thread::futex;

use crate::decode::{Decoder, Sink};
use crate::layout::{CHUNK_HEADER_BYTES, RING_ENDED, RING_FREE, RING_HEADER_BYTES};
use crate::shared::{Counters, Geometry, Shared, low_half};
use crate::{Engine, SiteTable, StreamError, layout};

/// First word of a SYNC event: one word of payload.
const SYNC_HEAD: u64 = layout::RECORD_EVENT << layout::RECORD_SHIFT | 1 << 8 | layout::EventCode::Sync as u64;

/// What a call of [`Consumer::poll`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// A chunk was decoded.
    Chunk,
    /// Nothing came within the time-out.
    Idle,
    /// The engine has finished and everything is decoded.
    Finished,
}

/// memloupe's end of a stream.
pub struct Consumer {
    shared: Shared,
    sites: SiteTable,
    decoder: Decoder,
    /// The chunk being decoded; copied so that the producer gets its place back at once.
    words: Vec<u64>,
    bytes_consumed: u64,
    threads: u32,
}

impl Consumer {
    /// Makes the shared file. The target inherits [`Consumer::descriptor`].
    ///
    /// # Errors
    /// [`StreamError::Shared`] if the system refuses the file or its mapping.
    pub fn create(geometry: &Geometry) -> Result<Self, StreamError> {
        let shared = Shared::create(geometry)?;
        let words = vec![0; geometry.chunk_bytes as usize / 8];
        Ok(Self {
            shared,
            sites: SiteTable::default(),
            decoder: Decoder::default(),
            words,
            bytes_consumed: 0,
            threads: 0,
        })
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

    /// Bytes of chunks taken so far.
    #[must_use]
    pub fn bytes_consumed(&self) -> u64 {
        self.bytes_consumed
    }

    /// Threads that chunks were taken from so far.
    #[must_use]
    pub fn threads(&self) -> u32 {
        self.threads
    }

    /// Decodes the oldest closed chunk; waits up to `timeout` for one.
    ///
    /// # Errors
    /// [`StreamError`] if the stream is corrupt; the chunk at fault is passed over by the next call.
    pub fn poll(&mut self, sink: &mut impl Sink, timeout: Duration) -> Result<Progress, StreamError> {
        // Read before looking for chunks: whatever was closed before `finished` is then seen.
        let finished = self.finished();
        if let Some(ring) = self.oldest_closed() {
            self.take_closed(ring, sink)?;
            return Ok(Progress::Chunk);
        }
        if finished {
            return Ok(Progress::Finished);
        }
        self.wait(timeout);
        Ok(Progress::Idle)
    }

    /// Drops the oldest closed chunk undecoded; waits up to `timeout` for one. For measuring what capture alone costs: the
    /// sink is only asked for probes.
    ///
    /// # Errors
    /// [`StreamError::ProbeTableFull`] if the sink's probes don't fit.
    pub fn discard(&mut self, sink: &mut impl Sink, timeout: Duration) -> Result<Progress, StreamError> {
        let finished = self.finished();
        let Some(ring) = self.oldest_closed() else {
            if !finished {
                self.wait(timeout);
            }
            return Ok(if finished {
                Progress::Finished
            } else {
                Progress::Idle
            });
        };
        let state = self.shared.ring(ring);
        let tail = state.tail.load(Relaxed);
        let mut chunk_header = [0u64; 2];
        self.shared.copy_chunk(ring, tail, &mut chunk_header);
        let used_bytes = (chunk_header[1] as u32 as usize).min(self.words.len() * 8);
        self.bytes_consumed += used_bytes as u64;
        self.threads = self.threads.max(state.thread.load(Acquire) + 1);
        // A producer closes its chunk behind a SYNC, and waits.
        let words = used_bytes / 8;
        let expected = self.shared.header().sync_ack.load(Relaxed) + 1;
        let answered = if self
            .shared
            .chunk_ends_with(ring, tail, words, [SYNC_HEAD, expected])
        {
            self.answer(expected, sink)
        } else {
            Ok(())
        };
        state.tail.store(tail + 1, SeqCst);
        if state.producer_waiting.load(SeqCst) != 0 {
            wake(low_half(&state.tail));
        }
        answered.map(|()| Progress::Chunk)
    }

    /// Decodes whatever is left after the target is gone: closed chunks, then what the open ones hold.
    ///
    /// # Errors
    /// [`StreamError`] at the first corrupt chunk.
    pub fn drain(&mut self, sink: &mut impl Sink) -> Result<(), StreamError> {
        while let Some(ring) = self.oldest_closed() {
            self.take_closed(ring, sink)?;
        }
        let mut open: Vec<(u64, u32)> = self
            .claimed_rings()
            .filter_map(|ring| self.open_bytes(ring).map(|_| (self.order(ring), ring)))
            .collect();
        open.sort_unstable();
        for (_, ring) in open {
            if let Some(used_bytes) = self.open_bytes(ring) {
                let chunk = self.shared.ring(ring).closed.load(Acquire);
                self.decode_chunk(ring, chunk, used_bytes, sink)?;
            }
        }
        Ok(())
    }

    /// Rings that some thread has owned. Producers claim the lowest free ring, so these come first.
    fn claimed_rings(&self) -> impl Iterator<Item = u32> + use<'_> {
        (0..self.shared.header().ring_count)
            .take_while(|&ring| self.shared.ring(ring).base.load(Acquire) != 0)
    }

    fn oldest_closed(&self) -> Option<u32> {
        self.claimed_rings()
            .filter(|&index| {
                let ring = self.shared.ring(index);
                if ring.tail.load(Relaxed) < ring.closed.load(Acquire) {
                    return true;
                }
                if ring.state.load(Acquire) == RING_ENDED {
                    // The thread closed its last chunk before it ended the ring: look again, then free it.
                    if ring.tail.load(Relaxed) < ring.closed.load(Acquire) {
                        return true;
                    }
                    ring.state.store(RING_FREE, Release);
                }
                false
            })
            .min_by_key(|&ring| self.order(ring))
    }

    /// `order` of the ring's next chunk.
    fn order(&self, ring: u32) -> u64 {
        let mut order = [0];
        self.shared
            .copy_chunk(ring, self.shared.ring(ring).tail.load(Relaxed), &mut order);
        order[0]
    }

    fn take_closed(&mut self, ring: u32, sink: &mut impl Sink) -> Result<(), StreamError> {
        let tail = self.shared.ring(ring).tail.load(Relaxed);
        let mut chunk_header = [0u64; 2];
        self.shared.copy_chunk(ring, tail, &mut chunk_header);
        let decoded = self.decode_chunk(ring, tail, chunk_header[1] as u32 as usize, sink);
        let state = self.shared.ring(ring);
        state.tail.store(tail + 1, SeqCst);
        if state.producer_waiting.load(SeqCst) != 0 {
            wake(low_half(&state.tail));
        }
        decoded
    }

    /// Bytes of complete records in a ring's open chunk, chunk header included.
    fn open_bytes(&self, index: u32) -> Option<usize> {
        let header = self.shared.header();
        let ring = self.shared.ring(index);
        if ring.state.load(Acquire) == RING_FREE {
            return None;
        }
        let head = if header.active_ring.load(Acquire) == index {
            header.active_head.load(Acquire)
        } else {
            ring.head.load(Acquire)
        };
        let place = ring.closed.load(Acquire) % u64::from(header.chunk_count);
        let chunk_start =
            ring.base.load(Acquire) + RING_HEADER_BYTES as u64 + place * u64::from(header.chunk_bytes);
        let used = head.checked_sub(chunk_start)?;
        (CHUNK_HEADER_BYTES as u64 + 1..=u64::from(header.chunk_bytes))
            .contains(&used)
            .then_some(used as usize)
    }

    fn decode_chunk(
        &mut self,
        ring: u32,
        chunk: u64,
        used_bytes: usize,
        sink: &mut impl Sink,
    ) -> Result<(), StreamError> {
        let thread = self.shared.ring(ring).thread.load(Acquire);
        if used_bytes < CHUNK_HEADER_BYTES
            || used_bytes > self.words.len() * 8
            || !used_bytes.is_multiple_of(8)
        {
            let what = format!("a chunk claims {used_bytes} bytes of {}", self.words.len() * 8);
            return Err(StreamError::Corrupt {
                thread,
                offset: 8,
                what,
            });
        }
        let words = used_bytes / 8;
        self.shared.copy_chunk(ring, chunk, &mut self.words[..words]);
        self.bytes_consumed += used_bytes as u64;
        self.threads = self.threads.max(thread + 1);
        // Blocks are published before their first record, so all that this chunk names are there now.
        self.sites
            .extend(self.shared.sites_from(self.sites.parsed_bytes()))
            .map_err(|what| StreamError::Corrupt {
                thread,
                offset: 0,
                what,
            })?;
        let records = &self.words[CHUNK_HEADER_BYTES / 8..words];
        if let Some(number) = self.decoder.decode(thread, records, &self.sites, sink)? {
            self.answer(number, sink)?;
        }
        Ok(())
    }

    /// Lets a producer that waits at a SYNC go on, with the probes for what it has mapped.
    fn answer(&self, number: u64, sink: &mut impl Sink) -> Result<(), StreamError> {
        let header = self.shared.header();
        let probes = sink.probes(header.probe_count.load(Relaxed));
        let added = self.shared.add_probes(&probes);
        header.sync_ack.store(number, SeqCst);
        wake(low_half(&header.sync_ack));
        added
    }

    fn wait(&self, timeout: Duration) {
        let header = self.shared.header();
        let seen = header.doorbell.load(SeqCst);
        header.consumer_waiting.store(1, SeqCst);
        if self.oldest_closed().is_none() && !self.finished() {
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
