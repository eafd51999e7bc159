//! The shared file of the stream: header, site table, probe table, rings.

use std::ptr;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release, SeqCst};
use std::sync::atomic::{AtomicPtr, AtomicU64};

use memloupe_layout::{ENGINE_NATIVE, Header, MAGIC, VERSION};
pub(crate) use memloupe_layout::{FD_VARIABLE, Probe, RING_ENDED, RING_FREE, RING_LIVE, Ring};

use crate::system;
use crate::thread::Thread;

pub(crate) const RING_HEADER_BYTES: u64 = memloupe_layout::RING_HEADER_BYTES as u64;
pub(crate) const CHUNK_HEADER_BYTES: u64 = memloupe_layout::CHUNK_HEADER_BYTES as u64;

static HEADER: AtomicPtr<Header> = AtomicPtr::new(ptr::null_mut());

/// What this process is to the stream that it inherited.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// The target, at its start.
    Target,
    /// The target after `exec`.
    Continuation,
    /// A descendant of the target: it must not touch the stream.
    Descendant,
    /// A descendant too: it was started with the descriptor closed, or put to another use.
    Stranger,
}

/// Maps the stream behind `descriptor`.
///
/// # Errors
/// A sentence for the person who runs the target.
pub(crate) fn attach(descriptor: usize) -> Result<Role, String> {
    let refused = |what: String| format!("{what}; the target runs without being recorded");
    // What lies behind the end of a file can't be read even where it can be mapped.
    if system::file_bytes(descriptor).is_none_or(|bytes| bytes < RING_HEADER_BYTES) {
        return Ok(Role::Stranger);
    }
    let Some(page) = system::map_shared(descriptor, RING_HEADER_BYTES as usize) else {
        return Ok(Role::Stranger);
    };
    // SAFETY: a page was mapped; the constant fields were written before this process began.
    let (magic, version, bytes) = unsafe {
        let header = &*page.cast::<Header>();
        (header.magic, header.version, header.file_bytes as usize)
    };
    if magic != MAGIC {
        return Ok(Role::Stranger);
    }
    if version != VERSION {
        return Err(refused(format!(
            "the stream has version {version}, this engine writes {VERSION}"
        )));
    }
    let base = system::map_shared(descriptor, bytes)
        .ok_or_else(|| refused(format!("the stream's {bytes} bytes can't be mapped")))?;
    // SAFETY: the small mapping was made above and nothing refers to it.
    unsafe {
        system::call3(
            system::number::MUNMAP,
            page as usize,
            RING_HEADER_BYTES as usize,
            0,
        )
    };
    HEADER.store(base.cast(), Release);
    let own = system::process_id();
    Ok(
        match header().target_pid.compare_exchange(0, own, SeqCst, SeqCst) {
            Ok(_) => {
                header().engine.store(ENGINE_NATIVE, Release);
                Role::Target
            }
            Err(pid) if pid == own => Role::Continuation,
            Err(_) => Role::Descendant,
        },
    )
}

/// The mapped header.
pub(crate) fn header() -> &'static Header {
    let header = HEADER.load(Relaxed);
    debug_assert!(!header.is_null());
    // SAFETY: set by `attach` before any thread is taken over; the mapping stays; what changes is atomic.
    unsafe { &*header }
}

fn at(offset: u64) -> *mut u8 {
    // SAFETY: offsets come from the header and lie in the mapping.
    unsafe { HEADER.load(Relaxed).cast::<u8>().add(offset as usize) }
}

/// Where the shared file is mapped.
pub(crate) fn range() -> std::ops::Range<u64> {
    let start = at(0) as u64;
    start..start + header().file_bytes
}

/// The thread state in ring `index`'s header page.
pub(crate) fn thread(index: u32) -> *mut Thread {
    at(header().rings_offset + u64::from(index) * header().ring_bytes).cast()
}

/// Rings that have had an owner.
pub(crate) fn claimed() -> impl Iterator<Item = *mut Thread> {
    (0..header().ring_count).map(thread).take_while(|&thread| {
        // SAFETY: a ring of the mapping.
        unsafe { (*thread).ring.base.load(Acquire) != 0 }
    })
}

/// Entry `id` of the probe table.
pub(crate) fn probe(id: u32) -> &'static Probe {
    debug_assert!(id < header().probe_count.load(Acquire));
    // SAFETY: an entry that is complete and constant from then on.
    unsafe { &*at(header().probes_offset + u64::from(id) * size_of::<Probe>() as u64).cast() }
}

/// Appends an entry to the site table; returns where it lies. One thread at a time.
pub(crate) fn publish_site(words: &[u64]) -> u64 {
    let header = header();
    let published = header.sites_published.load(Relaxed);
    let bytes = words.len() as u64 * 8;
    if published + bytes > header.sites_bytes {
        system::fatal(format_args!(
            "the site table's {} bytes are full",
            header.sites_bytes
        ));
    }
    // SAFETY: the range lies in the table behind what is published: nobody else touches it.
    unsafe {
        ptr::copy_nonoverlapping(
            words.as_ptr(),
            at(header.sites_offset + published).cast(),
            words.len(),
        );
    }
    header.sites_published.store(published + bytes, Release);
    published
}

/// The entry of the site table that was published at `offset`.
pub(crate) fn published_site(offset: u64) -> &'static [u64] {
    let entry = at(header().sites_offset + offset).cast::<u64>();
    // SAFETY: an entry begins there, which says its length in words, and does not change any more.
    unsafe { std::slice::from_raw_parts(entry, *entry as u32 as usize) }
}

const FUTEX_WAIT: usize = 0;
const FUTEX_WAKE: usize = 1;

/// Sleeps until the word's low half may have changed from `seen`, a second at most.
pub(crate) fn wait(word: &AtomicU64, seen: u64) {
    let timeout = [1u64, 0];
    // SAFETY: the kernel reads the word and the time.
    unsafe {
        system::call(
            system::number::FUTEX,
            [
                ptr::from_ref(word) as usize,
                FUTEX_WAIT,
                seen as u32 as usize,
                timeout.as_ptr() as usize,
                0,
                0,
            ],
        );
    }
}

/// Tells the consumer that a chunk is closed.
pub(crate) fn ring_doorbell() {
    let header = header();
    header.doorbell.fetch_add(1, SeqCst);
    if header.consumer_waiting.load(SeqCst) != 0 {
        // SAFETY: wakes sleepers on the word.
        unsafe {
            system::call3(
                system::number::FUTEX,
                ptr::from_ref(&header.doorbell) as usize,
                FUTEX_WAKE,
                usize::MAX >> 33,
            );
        }
    }
}

/// Whether memloupe is still there to read.
pub(crate) fn consumer_lives() -> bool {
    const NO_SUCH_PROCESS: isize = -3;
    // SAFETY: signal 0 only asks.
    unsafe { system::call3(system::number::KILL, header().consumer_pid as usize, 0, 0) != NO_SUCH_PROCESS }
}
