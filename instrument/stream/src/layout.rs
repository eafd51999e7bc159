//! Byte layout of the shared file, the Rust half of `include/memloupe_stream.h`.
//!
//! Fields that both processes touch while the target runs are atomics. The offsets are asserted below against
//! the numbers that the C header asserts, so the two can't drift apart.

use std::mem::{offset_of, size_of};
use std::sync::atomic::{AtomicU32, AtomicU64};

pub(crate) const MAGIC: u64 = u64::from_le_bytes(*b"STREAM01");
/// Version of the protocol; see `PROTOCOL.md`, "Changes".
pub const VERSION: u32 = 3;
/// The environment variable that tells the engine which inherited descriptor is the shared file.
pub const FD_VARIABLE: &str = "MEMLOUPE_STREAM_FD";
pub(crate) const HEADER_BYTES: usize = 4096;
pub(crate) const RING_HEADER_BYTES: usize = 4096;
pub(crate) const CHUNK_HEADER_BYTES: usize = 64;
pub(crate) const PROBE_BYTES: usize = 1024;
pub(crate) const PROBE_STEPS: usize = 4;
pub(crate) const PROBE_FETCHES: usize = 40;
pub(crate) const BLOCK_BYTES: usize = 40;
pub(crate) const OPERAND_BYTES: usize = 32;
/// No record is longer.
pub const MAX_RECORD_BYTES: usize = 16384;
pub(crate) const RECORD_SHIFT: u32 = 56;
pub(crate) const RECORD_BLOCK: u64 = 0;
pub(crate) const RECORD_EVENT: u64 = 1;
pub(crate) const NO_RING: u32 = u32::MAX;
/// Slot value of a conditional operand whose access did not happen.
pub(crate) const ABSENT: u64 = u64::MAX;
pub(crate) const OPERAND_CONDITIONAL: u8 = 1;
pub(crate) const OPERAND_FS: u8 = 2;
pub(crate) const OPERAND_ADDRESS_32: u8 = 4;
pub(crate) const OPERAND_VECTOR_MASK: u8 = 8;
pub(crate) const NO_SLOT: u16 = u16::MAX;
pub(crate) const BLOCK_LOOP: u16 = 1;
pub(crate) const BLOCK_PART: u16 = 2;
/// Where a loop's record says which part its last iteration was.
pub(crate) const PART_SHIFT: u32 = 32;
pub(crate) const PART_BITS: u32 = 24;
pub(crate) const FETCH_REGISTER: u8 = 0xff;

pub(crate) const RING_FREE: u32 = 0;
pub(crate) const RING_ENDED: u32 = 2;

/// Which engine produced a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    /// No engine has attached.
    None,
    /// The in-process translator.
    Native,
    /// The Valgrind tool.
    Valgrind,
}

impl Engine {
    pub(crate) fn from_code(code: u32) -> Self {
        match code {
            1 => Self::Native,
            2 => Self::Valgrind,
            _ => Self::None,
        }
    }
}

/// `struct ml_header`.
#[repr(C)]
pub(crate) struct Header {
    pub(crate) magic: u64,
    pub(crate) version: u32,
    pub(crate) header_bytes: u32,
    pub(crate) file_bytes: u64,
    pub(crate) sites_offset: u64,
    pub(crate) sites_bytes: u64,
    pub(crate) probes_offset: u64,
    pub(crate) probes_bytes: u64,
    pub(crate) rings_offset: u64,
    pub(crate) ring_bytes: u64,
    pub(crate) ring_count: u32,
    pub(crate) chunk_bytes: u32,
    pub(crate) chunk_count: u32,
    pub(crate) consumer_pid: u32,
    reserved0: [u32; 10],

    pub(crate) consumer_waiting: AtomicU32,
    pub(crate) probe_count: AtomicU32,
    pub(crate) sync_ack: AtomicU64,
    reserved1: [u32; 12],

    pub(crate) doorbell: AtomicU32,
    pub(crate) target_pid: AtomicU32,
    pub(crate) engine: AtomicU32,
    pub(crate) finished: AtomicU32,
    pub(crate) sites_published: AtomicU64,
    pub(crate) active_ring: AtomicU32,
    reserved2: u32,
    pub(crate) active_head: AtomicU64,
    reserved3: [u32; 6],

    pub(crate) lost_records: AtomicU64,
    pub(crate) unobserved_instructions: AtomicU64,
    pub(crate) syscalls: AtomicU64,
    pub(crate) kernel_read_bytes: AtomicU64,
    pub(crate) kernel_written_bytes: AtomicU64,
    pub(crate) unobserved_processes: AtomicU64,
    pub(crate) signals_delivered: AtomicU64,
    reserved4: u64,
}

/// `struct ml_ring`.
#[repr(C)]
pub(crate) struct Ring {
    pub(crate) state: AtomicU32,
    pub(crate) thread: AtomicU32,
    pub(crate) os_tid: AtomicU32,
    reserved0: u32,
    pub(crate) base: AtomicU64,
    reserved1: [u32; 10],

    pub(crate) head: AtomicU64,
    pub(crate) closed: AtomicU64,
    reserved2: [u32; 12],

    pub(crate) tail: AtomicU64,
    pub(crate) producer_waiting: AtomicU32,
    reserved3: [u32; 13],
}

const _: () = {
    assert!(size_of::<Header>() == 320);
    assert!(offset_of!(Header, consumer_waiting) == 128);
    assert!(offset_of!(Header, doorbell) == 192);
    assert!(offset_of!(Header, active_head) == 224);
    assert!(offset_of!(Header, lost_records) == 256);
    assert!(size_of::<Ring>() == 192);
    assert!(offset_of!(Ring, head) == 64);
    assert!(offset_of!(Ring, tail) == 128);
    assert!(PROBE_BYTES == 16 + PROBE_FETCHES * (4 + 4 * (PROBE_STEPS + 1)) + 48);
};
