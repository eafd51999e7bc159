//! The shared file and its mapping: the only module of this crate that touches memory another process writes.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicU32, AtomicU64};

use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
use rustix::io::{FdFlags, fcntl_dupfd_cloexec, fcntl_setfd};
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

use crate::StreamError;
use crate::gate::Gate;
use crate::layout::{self, Header, Ring};
use crate::probe::Probe;

/// The shared file's descriptor, or the next one that is free.
const DESCRIPTOR: i32 = 900;

/// Sizes of a stream's parts. The file is sparse: what is never used costs no memory.
#[derive(Clone, Copy, Debug)]
pub struct Geometry {
    /// Bytes of the site table.
    pub sites_bytes: u64,
    /// Entries of the probe table.
    pub probes: u32,
    /// Threads that can run at the same time.
    pub rings: u32,
    /// Bytes of one chunk.
    pub chunk_bytes: u32,
    /// Chunks of one ring.
    pub chunks: u32,
}

impl Default for Geometry {
    /// 512 threads, 4 chunks of 256 KiB for each, 1 GiB of site table, 16384 probes. The chunks of a thread stay in a
    /// second-level cache of 1.25 MiB: with 32 of them, recording branchy code took 1.3 times the CPU time.
    fn default() -> Self {
        Self {
            sites_bytes: 1 << 30,
            probes: 16384,
            rings: 512,
            chunk_bytes: 256 << 10,
            chunks: 4,
        }
    }
}

/// What the producer counts beside the records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Records dropped although the code was observed.
    pub lost_records: u64,
    /// Instructions executed without observation.
    pub unobserved_instructions: u64,
    /// System calls.
    pub syscalls: u64,
    /// Target memory the kernel read inside system calls.
    pub kernel_read_bytes: u64,
    /// Target memory the kernel wrote inside system calls.
    pub kernel_written_bytes: u64,
    /// Child processes, which run unobserved.
    pub unobserved_processes: u64,
    /// Signals delivered to handlers.
    pub signals_delivered: u64,
    /// Bytes of code that the engine has made of the target's; 0 if it does not tell.
    pub translated_bytes: u64,
}

/// The mapped file.
pub(crate) struct Shared {
    fd: OwnedFd,
    base: NonNull<u8>,
    bytes: usize,
}

// SAFETY: the mapping is plain memory owned by this value; every shared field in it is an atomic.
unsafe impl Send for Shared {}

impl Shared {
    pub(crate) fn create(geometry: &Geometry) -> Result<Self, StreamError> {
        let failed = |action| {
            move |e: rustix::io::Errno| StreamError::Shared {
                action,
                source: e.into(),
            }
        };
        let probes_bytes = u64::from(geometry.probes) * layout::PROBE_BYTES as u64;
        let ring_bytes =
            layout::RING_HEADER_BYTES as u64 + u64::from(geometry.chunks) * u64::from(geometry.chunk_bytes);
        let sites_offset = layout::HEADER_BYTES as u64;
        let probes_offset = sites_offset + geometry.sites_bytes.next_multiple_of(4096);
        let rings_offset = probes_offset + probes_bytes.next_multiple_of(4096);
        let file_bytes = rings_offset + u64::from(geometry.rings) * ring_bytes;

        let fd =
            memfd_create("memloupe-stream", MemfdFlags::empty()).map_err(failed("create the shared file"))?;
        // High: the numbers that a target's own files get stay what they are natively, and a shell's `exec 3>file` does not
        // replace it. A system that allows fewer descriptors keeps the low number.
        let fd = fcntl_dupfd_cloexec(&fd, DESCRIPTOR).unwrap_or(fd);
        fcntl_setfd(&fd, FdFlags::empty()).map_err(failed("let the target inherit the shared file"))?;
        ftruncate(&fd, file_bytes).map_err(failed("size the shared file"))?;
        let bytes = file_bytes as usize;
        // SAFETY: a fresh mapping at an address of the kernel's choice aliases nothing.
        let base = unsafe {
            mmap(
                std::ptr::null_mut(),
                bytes,
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::SHARED,
                &fd,
                0,
            )
        }
        .map_err(failed("map the shared file"))?;
        let base = NonNull::new(base.cast::<u8>()).expect("mmap does not return null");

        let header = base.cast::<Header>().as_ptr();
        // SAFETY: the mapping starts with a zeroed header page that no other process knows yet.
        unsafe {
            (*header).magic = layout::MAGIC;
            (*header).version = layout::VERSION;
            (*header).header_bytes = layout::HEADER_BYTES as u32;
            (*header).file_bytes = file_bytes;
            (*header).sites_offset = sites_offset;
            (*header).sites_bytes = geometry.sites_bytes;
            (*header).probes_offset = probes_offset;
            (*header).probes_bytes = probes_bytes;
            (*header).rings_offset = rings_offset;
            (*header).ring_bytes = ring_bytes;
            (*header).ring_count = geometry.rings;
            (*header).chunk_bytes = geometry.chunk_bytes;
            (*header).chunk_count = geometry.chunks;
            (*header).consumer_pid = rustix::process::getpid().as_raw_nonzero().get() as u32;
            (*header).active_ring.store(layout::NO_RING, Release);
        }
        Ok(Self { fd, base, bytes })
    }

    /// Says that nobody reads records.
    pub(crate) fn set_discards(&mut self) {
        // SAFETY: initialised in `create`; no other process knows the file yet.
        unsafe { self.base.cast::<Header>().as_mut() }.discards = 1;
    }

    pub(crate) fn set_gate(&mut self, gate: Gate) {
        // SAFETY: initialised in `create`; no other process knows the file yet.
        let header = unsafe { self.base.cast::<Header>().as_mut() };
        let (first, last) = gate.window.unwrap_or((0, u64::MAX));
        header.gate = gate.bits();
        header.sample_count = gate.sample.unwrap_or(0);
        header.first_instance = first;
        header.last_instance = last;
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    pub(crate) fn header(&self) -> &Header {
        // SAFETY: initialised in `create`; its non-atomic fields are constant from then on.
        unsafe { self.base.cast::<Header>().as_ref() }
    }

    pub(crate) fn ring(&self, index: u32) -> &Ring {
        debug_assert!(index < self.header().ring_count);
        let offset = self.header().rings_offset + u64::from(index) * self.header().ring_bytes;
        // SAFETY: the offset lies in the mapping, page aligned; all fields that change are atomics.
        unsafe { self.base.add(offset as usize).cast::<Ring>().as_ref() }
    }

    /// Copies `out.len()` words of a chunk's content, from word `first` on; its header are the first eight.
    pub(crate) fn copy_chunk(&self, ring: u32, chunk: u64, first: usize, out: &mut [u64]) {
        let header = self.header();
        let place = chunk % u64::from(header.chunk_count);
        let offset = header.rings_offset
            + u64::from(ring) * header.ring_bytes
            + layout::RING_HEADER_BYTES as u64
            + place * u64::from(header.chunk_bytes)
            + first as u64 * 8;
        let words = out
            .len()
            .min((header.chunk_bytes as usize / 8).saturating_sub(first));
        // SAFETY: the range is one chunk inside the mapping; the protocol keeps the producer from writing the part
        // of a chunk that lies before its published end.
        unsafe {
            std::ptr::copy_nonoverlapping(
                self.base.add(offset as usize).cast::<u64>().as_ptr(),
                out.as_mut_ptr(),
                words,
            );
        }
    }

    /// Published bytes of the site table from `start` on.
    pub(crate) fn sites_from(&self, start: usize) -> &[u8] {
        let header = self.header();
        let end = header.sites_published.load(Acquire).min(header.sites_bytes) as usize;
        let start = start.min(end);
        // SAFETY: published bytes are in the mapping and never change again.
        unsafe {
            std::slice::from_raw_parts(
                self.base.add(header.sites_offset as usize + start).as_ptr(),
                end - start,
            )
        }
    }

    /// Appends entries to the probe table and makes them visible.
    pub(crate) fn add_probes(&self, probes: &[Probe]) -> Result<(), StreamError> {
        let header = self.header();
        let first = header.probe_count.load(Relaxed);
        let capacity = header.probes_bytes as usize / layout::PROBE_BYTES;
        for (id, probe) in (first..).zip(probes) {
            if id as usize >= capacity {
                return Err(StreamError::ProbeTableFull { capacity });
            }
            let entry = probe.encode(id).map_err(|error| StreamError::Shared {
                action: "add an operator probe",
                source: io::Error::other(error),
            })?;
            let offset = header.probes_offset as usize + id as usize * layout::PROBE_BYTES;
            // SAFETY: entries at or past `probe_count` are this side's alone; the bound was checked above.
            unsafe {
                std::ptr::copy_nonoverlapping(
                    entry.as_ptr(),
                    self.base.add(offset).as_ptr(),
                    layout::PROBE_BYTES,
                );
            }
            header.probe_count.store(id + 1, Release);
        }
        Ok(())
    }

    pub(crate) fn counters(&self) -> Counters {
        let header = self.header();
        Counters {
            lost_records: header.lost_records.load(Relaxed),
            unobserved_instructions: header.unobserved_instructions.load(Relaxed),
            syscalls: header.syscalls.load(Relaxed),
            kernel_read_bytes: header.kernel_read_bytes.load(Relaxed),
            kernel_written_bytes: header.kernel_written_bytes.load(Relaxed),
            unobserved_processes: header.unobserved_processes.load(Relaxed),
            signals_delivered: header.signals_delivered.load(Relaxed),
            translated_bytes: header.translated_bytes.load(Relaxed),
        }
    }
}

/// A futex is 32 bits wide; on a little-endian machine the low half of a counter changes with the counter.
pub(crate) fn low_half(counter: &AtomicU64) -> &AtomicU32 {
    // SAFETY: an AtomicU64 is eight aligned bytes that may be accessed atomically; its first four are such a word.
    unsafe { &*std::ptr::from_ref(counter).cast::<AtomicU32>() }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // SAFETY: the mapping is this value's own and no reference into it outlives the value.
        let unmapped = unsafe { munmap(self.base.as_ptr().cast(), self.bytes) };
        debug_assert!(unmapped.is_ok());
    }
}
