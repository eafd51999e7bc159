//! Byte layout of the access stream, the Rust half of `instrument/stream/include/memloupe_stream.h`, whose comments say what
//! each field means. Both the native engine, which must not link the consumer, and `memloupe-stream` build on it.
//!
//! Fields that both processes touch while the target runs are atomics. The offsets are asserted below against
//! the numbers that the C header asserts, so the two can't drift apart.

#![forbid(unsafe_code)]
#![allow(missing_docs)] // named and explained in the C header

mod draw;
mod phases;

use std::mem::offset_of;
use std::sync::atomic::{AtomicU32, AtomicU64};

pub use draw::{draw, mix};
pub use phases::Phases;

pub const MAGIC: u64 = u64::from_le_bytes(*b"STREAM01");
/// Version of the protocol; see `PROTOCOL.md`, "Changes".
pub const VERSION: u32 = 5;
/// The environment variable that tells the engine which inherited descriptor is the shared file.
pub const FD_VARIABLE: &str = "MEMLOUPE_STREAM_FD";
pub const HEADER_BYTES: usize = 4096;
pub const RING_HEADER_BYTES: usize = 4096;
pub const CHUNK_HEADER_BYTES: usize = 64;
pub const PROBE_BYTES: usize = 2048;
pub const PROBE_STEPS: usize = 4;
pub const PROBE_FETCHES: usize = 40;
pub const PROBE_KEYS: usize = 264;
/// Value of [`Probe::keys`]: all that is fetched.
pub const ALL_KEYS: u16 = u16::MAX;
pub const BLOCK_BYTES: usize = 40;
pub const OPERAND_BYTES: usize = 32;
/// No record is longer.
pub const MAX_RECORD_BYTES: usize = 16384;
pub const RECORD_SHIFT: u32 = 56;
pub const RECORD_BLOCK: u64 = 0;
pub const RECORD_EVENT: u64 = 1;
pub const NO_RING: u32 = u32::MAX;
/// Slot value of a conditional operand whose access did not happen.
pub const ABSENT: u64 = u64::MAX;
pub const OPERAND_CONDITIONAL: u8 = 1;
pub const OPERAND_FS: u8 = 2;
pub const OPERAND_ADDRESS_32: u8 = 4;
pub const OPERAND_VECTOR_MASK: u8 = 8;
pub const NO_SLOT: u16 = u16::MAX;
pub const BLOCK_LOOP: u16 = 1;
pub const BLOCK_PART: u16 = 2;
pub const BLOCK_CALL: u16 = 4;
pub const BLOCK_RETURN: u16 = 8;
/// Where a loop's record says which part its last iteration was.
pub const PART_SHIFT: u32 = 32;
pub const PART_BITS: u32 = 24;
pub const FETCH_REGISTER: u8 = 0xff;
/// Values of [`Probe::allocator`].
pub const ALLOCATOR_NEW: u64 = 1;
pub const ALLOCATOR_DELETE: u64 = 2;
/// Bits of [`Header::gate`].
pub const GATE_REGION: u32 = 1;
pub const GATE_SAMPLE: u32 = 2;
pub const GATE_WINDOW: u32 = 4;
/// The two high bits of [`Key::bytes`]: what of the bytes matters.
pub const KEY_KIND_SHIFT: u32 = 14;
pub const KEY_BYTES: u16 = 0;
pub const KEY_TEXT: u16 = 1;
pub const KEY_PRESENCE: u16 = 2;
/// Bits of an answer's first word; its high half is the operator's number.
pub const ANSWER_OPERATOR: u64 = 1;
pub const ANSWER_UNTIL_NEXT: u64 = 2;
pub const ANSWER_REGION: u64 = 4;
pub const ANSWER_PHASE: u64 = 8;
pub const ANSWER_MARK_BEGIN: u64 = 16;
pub const ANSWER_MARK_END: u64 = 32;
pub const ANSWER_UNTIL_ENDED: u64 = 64;
pub const ANSWER_ENDS_OPERATOR: u64 = 128;
pub const ANSWER_PHASE_REGION: u64 = 256;
pub const ANSWER_ENDS_PHASE: u64 = 512;

pub const RING_FREE: u32 = 0;
pub const RING_LIVE: u32 = 1;
pub const RING_ENDED: u32 = 2;

pub const ENGINE_NATIVE: u32 = 1;
pub const ENGINE_VALGRIND: u32 = 2;

/// `struct ml_header`.
#[repr(C)]
pub struct Header {
    pub magic: u64,
    pub version: u32,
    pub header_bytes: u32,
    pub file_bytes: u64,
    pub sites_offset: u64,
    pub sites_bytes: u64,
    pub probes_offset: u64,
    pub probes_bytes: u64,
    pub rings_offset: u64,
    pub ring_bytes: u64,
    pub ring_count: u32,
    pub chunk_bytes: u32,
    pub chunk_count: u32,
    pub consumer_pid: u32,
    pub gate: u32,
    pub sample_count: u32,
    pub first_instance: u64,
    pub last_instance: u64,
    pub discards: u32,
    reserved0: [u32; 3],

    pub consumer_waiting: AtomicU32,
    pub probe_count: AtomicU32,
    pub sync_ack: AtomicU64,
    pub closed: AtomicU32,
    reserved1: [u32; 11],

    pub doorbell: AtomicU32,
    pub target_pid: AtomicU32,
    pub engine: AtomicU32,
    pub finished: AtomicU32,
    pub sites_published: AtomicU64,
    pub active_ring: AtomicU32,
    reserved2: u32,
    pub active_head: AtomicU64,
    pub next_order: AtomicU64,
    pub next_thread: AtomicU32,
    pub next_block: AtomicU32,
    pub next_stack: AtomicU32,
    pub next_sync: AtomicU32,

    pub lost_records: AtomicU64,
    pub unobserved_instructions: AtomicU64,
    pub syscalls: AtomicU64,
    pub kernel_read_bytes: AtomicU64,
    pub kernel_written_bytes: AtomicU64,
    pub unobserved_processes: AtomicU64,
    pub signals_delivered: AtomicU64,
    pub translated_bytes: AtomicU64,
    pub discarded_bytes: AtomicU64,
}

/// `struct ml_ring`.
#[repr(C)]
pub struct Ring {
    pub state: AtomicU32,
    pub thread: AtomicU32,
    pub os_tid: AtomicU32,
    reserved0: u32,
    pub base: AtomicU64,
    reserved1: [u32; 10],

    pub head: AtomicU64,
    pub closed: AtomicU64,
    reserved2: [u32; 12],

    pub tail: AtomicU64,
    pub producer_waiting: AtomicU32,
    reserved3: u32,
    pub answered: AtomicU64,
    pub answer: [AtomicU64; 2],
    reserved4: [u32; 6],
}

/// `struct ml_fetch`.
#[repr(C)]
pub struct Fetch {
    pub register: u8,
    pub steps: u8,
    pub bytes: u16,
    pub offset: [i32; PROBE_STEPS + 1],
}

/// `struct ml_probe`.
#[repr(C)]
pub struct Probe {
    pub address: u64,
    pub id: u32,
    pub fetches: u16,
    pub keys: u16,
    pub fetch: [Fetch; PROBE_FETCHES],
    pub key: [Key; PROBE_KEYS],
    pub allocator: u64,
    reserved0: u64,
}

/// `struct ml_key`.
#[repr(C)]
pub struct Key {
    pub start: u16,
    pub bytes: u16,
}

/// `enum ml_form`: how an operand becomes accesses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Form {
    Plain = 0,
    Gather = 1,
    Masked = 2,
    AnyLane = 3,
    Compress = 4,
    String = 5,
    Table = 6,
    Tile = 7,
    Bits = 8,
}

impl Form {
    /// Every form, in the order of its number.
    pub const ALL: [Self; 9] = [
        Self::Plain,
        Self::Gather,
        Self::Masked,
        Self::AnyLane,
        Self::Compress,
        Self::String,
        Self::Table,
        Self::Tile,
        Self::Bits,
    ];
}

/// `enum ml_event`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum EventCode {
    ThreadStart = 1,
    ThreadEnd = 2,
    Map = 3,
    Unmap = 4,
    Remap = 5,
    Alloc = 6,
    Free = 7,
    Stack = 8,
    FileRead = 9,
    ProbeEnter = 10,
    ProbeLeave = 11,
    Sync = 12,
    Fork = 13,
    Exec = 14,
    Exit = 15,
    Unobserved = 16,
    SegmentBase = 17,
    Order = 18,
    Ask = 19,
    Draw = 20,
}

impl EventCode {
    /// Every event, in the order of its number, from 1 on.
    pub const ALL: [Self; 20] = [
        Self::ThreadStart,
        Self::ThreadEnd,
        Self::Map,
        Self::Unmap,
        Self::Remap,
        Self::Alloc,
        Self::Free,
        Self::Stack,
        Self::FileRead,
        Self::ProbeEnter,
        Self::ProbeLeave,
        Self::Sync,
        Self::Fork,
        Self::Exec,
        Self::Exit,
        Self::Unobserved,
        Self::SegmentBase,
        Self::Order,
        Self::Ask,
        Self::Draw,
    ];

    /// The event with a number.
    #[must_use]
    pub fn from_number(number: u32) -> Option<Self> {
        Self::ALL.get((number as usize).checked_sub(1)?).copied()
    }
}

const _: () = {
    assert!(size_of::<Header>() == 328);
    assert!(offset_of!(Header, gate) == 88);
    assert!(offset_of!(Header, consumer_waiting) == 128);
    assert!(offset_of!(Header, closed) == 144);
    assert!(offset_of!(Header, doorbell) == 192);
    assert!(offset_of!(Header, active_head) == 224);
    assert!(offset_of!(Header, next_order) == 232);
    assert!(offset_of!(Header, lost_records) == 256);
    assert!(size_of::<Ring>() == 192);
    assert!(offset_of!(Ring, head) == 64);
    assert!(offset_of!(Ring, tail) == 128);
    assert!(offset_of!(Ring, answered) == 144);
    assert!(size_of::<Fetch>() == 24);
    assert!(size_of::<Probe>() == PROBE_BYTES);
    assert!(offset_of!(Probe, key) == 976);
};
