//! The producer's side of a thread's ring: opening and closing chunks, writing events. Block records are written by
//! translated code.

use std::arch::x86_64::{_mm_lfence, _rdtsc};
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release, SeqCst};

pub(crate) use memloupe_layout::EventCode as Event;
use memloupe_layout::{RECORD_EVENT, RECORD_SHIFT};

use crate::stream::{self, CHUNK_HEADER_BYTES, RING_ENDED, RING_HEADER_BYTES};
use crate::thread::Thread;
use crate::{system, unobserved};

/// The longest block record; translated code looks at the limit once for each.
pub(crate) const RECORD_BYTES: usize = 2048;
const EVENT_BYTES: u64 = 16384;
/// Bytes of a mark, which translated code may write behind a record without looking for room.
pub(crate) const MARK_BYTES: u64 = 16;
/// A mark's first word.
pub(crate) const MARK_HEAD: u64 = RECORD_EVENT << RECORD_SHIFT | 1 << 8 | Event::Order as u64;

/// The process is ending: threads stop instead of opening chunks.
pub(crate) static STOPPING: AtomicBool = AtomicBool::new(false);
/// memloupe is gone: what is recorded is thrown away.
static UNREAD: AtomicBool = AtomicBool::new(false);

/// The clock that orders the rings' segments. It comes behind all that the thread has seen so far; the kernel keeps the
/// CPUs' counters in step.
fn clock() -> u64 {
    // SAFETY: neither has preconditions.
    unsafe {
        _mm_lfence();
        _rdtsc()
    }
}

impl Thread {
    fn chunk_start(&self) -> u64 {
        let header = stream::header();
        let place = self.ring.closed.load(Acquire) % u64::from(header.chunk_count);
        self.ring.base.load(Acquire) + RING_HEADER_BYTES + place * u64::from(header.chunk_bytes)
    }

    /// Opens the next chunk; waits for the consumer if it is behind.
    pub(crate) fn open_chunk(&self) {
        let header = stream::header();
        let closed = self.ring.closed.load(Acquire);
        let has_room = || closed - self.ring.tail.load(SeqCst) < u64::from(header.chunk_count);
        if !has_room() && !UNREAD.load(Relaxed) {
            self.parked.store(1, SeqCst);
            while !has_room() && !UNREAD.load(Relaxed) {
                self.ring.producer_waiting.store(1, SeqCst);
                let tail = self.ring.tail.load(SeqCst);
                if !has_room() {
                    stream::wait(&self.ring.tail, tail);
                }
                if !has_room() && !stream::consumer_lives() {
                    UNREAD.store(true, Relaxed);
                }
            }
            self.ring.producer_waiting.store(0, SeqCst);
            if !STOPPING.load(SeqCst) {
                self.parked.store(0, SeqCst);
            }
        }
        let start = self.chunk_start();
        // SAFETY: the chunk is this thread's: the consumer is done with it, or gone.
        unsafe { (start as *mut u64).write_volatile(clock()) };
        self.ring.head.store(start + CHUNK_HEADER_BYTES, Release);
        let room = u64::from(header.chunk_bytes) - 2 * RECORD_BYTES as u64;
        self.limit.store(start + room, SeqCst);
        if STOPPING.load(SeqCst) {
            self.limit.store(0, SeqCst);
        }
    }

    /// Closes the open chunk, if one is open. Where the stream is discarded, the chunk is written anew instead.
    pub(crate) fn close_chunk(&self) {
        let start = self.chunk_start();
        let used = self.ring.head.load(Acquire).wrapping_sub(start);
        if !(CHUNK_HEADER_BYTES..=u64::from(stream::header().chunk_bytes)).contains(&used) {
            return;
        }
        if UNREAD.load(Relaxed) {
            return;
        }
        let header = stream::header();
        if header.discards != 0 {
            header.discarded_bytes.fetch_add(used, Relaxed);
            self.ring.head.store(start, Release);
            return;
        }
        // SAFETY: the chunk's header; nobody else writes it.
        unsafe { ((start + 8) as *mut u32).write_volatile(used as u32) };
        self.ring.closed.fetch_add(1, SeqCst);
        stream::ring_doorbell();
    }

    /// Closes the chunk that a former image of this process left open at another address.
    pub(crate) fn close_abandoned_chunk(&self) {
        let here = std::ptr::from_ref(self) as u64;
        let moved = here.wrapping_sub(self.ring.base.load(Acquire));
        // Not for a moment does `head` belong to another base than the one beside it.
        let head = self.ring.head.swap(0, SeqCst);
        self.ring.base.store(here, SeqCst);
        self.ring.head.store(head.wrapping_add(moved), SeqCst);
        self.close_chunk();
    }

    /// Goes on in a fresh chunk with the unfinished record that lies at `head`.
    pub(crate) fn next_chunk(&self) {
        let partial = self.ring.head.load(Acquire);
        self.close_chunk();
        if STOPPING.load(SeqCst) {
            self.park();
        }
        self.open_chunk();
        // SAFETY: both ranges lie in chunks of this ring; translated code never starts a record behind `limit`. Until
        // the consumer overtakes a whole ring, the closed chunk's bytes stay.
        unsafe {
            std::ptr::copy(
                partial as *const u8,
                self.ring.head.load(Acquire) as *mut u8,
                RECORD_BYTES,
            );
        }
    }

    /// Makes sure that a record has room at `head`, between blocks.
    pub(crate) fn make_room(&self) {
        if self.ring.head.load(Acquire) >= self.limit.load(SeqCst) {
            self.next_chunk();
        }
    }

    /// Waits for the end of the process.
    pub(crate) fn park(&self) -> ! {
        self.parked.store(1, SeqCst);
        loop {
            stream::wait(&self.limit, self.limit.load(SeqCst));
        }
    }

    /// Begins a segment of the stream: the thread may have learnt of what others have done.
    pub(crate) fn mark(&self) {
        self.event(Event::Order, &[clock()]);
    }

    /// Writes an event.
    pub(crate) fn event(&self, kind: Event, payload: &[u64]) {
        self.event_with_text(kind, payload, None);
    }

    /// Writes an event that ends in a text.
    pub(crate) fn event_with_text(&self, kind: Event, payload: &[u64], text: Option<&[u8]>) {
        let text_words = text.map_or(0, |text| 1 + text.len().div_ceil(8));
        let words = payload.len() + text_words;
        let bytes = (words as u64 + 1) * 8;
        debug_assert!(bytes <= EVENT_BYTES);
        let mut head = self.ring.head.load(Acquire);
        let end = self.chunk_start() + u64::from(stream::header().chunk_bytes);
        if head + bytes > end {
            self.close_chunk();
            self.open_chunk();
            head = self.ring.head.load(Acquire);
        }
        let record = head as *mut u64;
        // SAFETY: the room was checked; the open chunk is this thread's alone.
        unsafe {
            record.write(RECORD_EVENT << RECORD_SHIFT | (words as u64) << 8 | kind as u64);
            record
                .add(1)
                .copy_from_nonoverlapping(payload.as_ptr(), payload.len());
            if let Some(text) = text {
                let out = record.add(1 + payload.len());
                out.write(text.len() as u64);
                if !text.is_empty() {
                    out.add(text_words - 1).write(0);
                }
                out.add(1)
                    .cast::<u8>()
                    .copy_from_nonoverlapping(text.as_ptr(), text.len());
            }
        }
        self.ring.head.store(head + bytes, Release);
    }

    /// Waits until the consumer has seen everything so far, which it answers with operator probes.
    pub(crate) fn sync(&self) {
        let header = stream::header();
        let number = u64::from(header.next_sync.fetch_add(1, SeqCst) + 1);
        self.event(Event::Sync, &[number]);
        self.close_chunk();
        stream::ring_doorbell();
        self.open_chunk();
        loop {
            let acknowledged = header.sync_ack.load(SeqCst);
            if acknowledged >= number || UNREAD.load(Relaxed) {
                return;
            }
            stream::wait(&header.sync_ack, acknowledged);
            if header.sync_ack.load(SeqCst) == acknowledged && !stream::consumer_lives() {
                UNREAD.store(true, Relaxed);
            }
        }
    }

    /// Asks the consumer what the last [`Event::ProbeEnter`] means; zeros if there is no consumer any more.
    pub(crate) fn ask(&self) -> [u64; 2] {
        let answered = &self.ring.answered;
        let before = answered.load(SeqCst);
        self.event(Event::Ask, &[]);
        self.close_chunk();
        self.open_chunk();
        while answered.load(SeqCst) == before && !UNREAD.load(Relaxed) {
            stream::wait(answered, before);
            if answered.load(SeqCst) == before && !stream::consumer_lives() {
                UNREAD.store(true, Relaxed);
            }
        }
        if answered.load(SeqCst) == before {
            return [0; 2];
        }
        [0, 1].map(|word| self.ring.answer[word].load(Acquire))
    }

    /// Hands the ring back. The thread must not touch its state from then on.
    pub(crate) fn end_ring(&self) {
        self.close_chunk();
        self.ring.state.store(RING_ENDED, Release);
        stream::ring_doorbell();
    }
}

/// Ends the stream from `thread`: stops the others, closes every chunk, says that it is over.
pub(crate) fn finish(thread: &Thread, code: i32, signal: i32) {
    /// Other threads are given this long to reach a safe place.
    const PATIENCE_YIELDS: usize = 20_000;
    if STOPPING.swap(true, SeqCst) {
        thread.park();
    }
    let header = stream::header();
    for other in stream::claimed() {
        // SAFETY: a claimed ring; all that is touched is atomic.
        let other = unsafe { &*other };
        if std::ptr::eq(other, thread) || other.ring.state.load(Acquire) != stream::RING_LIVE {
            continue;
        }
        other.limit.store(0, SeqCst);
        let still = || {
            let words = [&other.bare, &other.in_kernel];
            other.parked.load(SeqCst) != 0 || words.iter().any(|word| word.load(SeqCst) != 0)
        };
        for _ in 0..PATIENCE_YIELDS {
            if still() {
                break;
            }
            system::yield_now();
        }
        other.end_ring();
    }
    thread.close_chunk();
    STOPPING.store(false, SeqCst);
    thread.open_chunk();
    STOPPING.store(true, SeqCst);
    unobserved::tell(thread);
    thread.event(Event::Exit, &[code as u64, signal as u64]);
    thread.end_ring();
    header.finished.store(1, Release);
    stream::ring_doorbell();
}
