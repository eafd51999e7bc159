//! The state of one taken-over thread. It lies in the header page of the thread's ring, where the GS base points while
//! translated code runs: `gs:[64]`, the ring's `head`, is the record pointer itself, so a target that is killed leaves
//! all that it recorded.

use std::arch::asm;
use std::mem::{offset_of, size_of};
use std::ptr;
use std::sync::atomic::AtomicPtr;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release, SeqCst};

use crate::cache::Mode;
use crate::stream::{self, RING_FREE, RING_LIVE, Ring};
use crate::system;
use crate::{dispatch, heap, signal};

/// General registers in the order of their encoding numbers.
pub(crate) mod register {
    pub(crate) const RAX: usize = 0;
    pub(crate) const RDX: usize = 2;
    pub(crate) const RSP: usize = 4;
    pub(crate) const RSI: usize = 6;
    pub(crate) const RDI: usize = 7;
    pub(crate) const R8: usize = 8;
    pub(crate) const R10: usize = 10;
}

const LOOKUP_ENTRIES: usize = 1 << 16;
/// As a power of two, the bytes of an entry of a look-up table.
pub(crate) const LOOKUP_ENTRY_SHIFT: u8 = 4;
/// Bytes of a look-up table.
pub(crate) const LOOKUP_BYTES: usize = LOOKUP_ENTRIES << LOOKUP_ENTRY_SHIFT;
/// There is one for each register that may hold the record pointer.
const LOOKUP_TABLES: usize = 16;
/// The tag of an entry that nothing matches.
const NO_TARGET: u64 = 1;
const STACK_BYTES: usize = 512 << 10;
const EXTENDED_STATE_BYTES: usize = 8192;
/// SSE, AVX and AVX-512 state. Not x87, AMX tiles or protection keys: the engine touches none.
const EXTENDED_STATE: u64 = 0xe6;
/// Probed frames that a thread can be inside of.
pub(crate) const FRAMES: usize = 64;

/// One entry of the tables that find the translation of an indirect branch's target, warm for one register; the index is
/// the low 16 bits of the target. `tag` is the negated target, so that a match needs no flags.
#[repr(C)]
pub(crate) struct Lookup {
    tag: AtomicU64,
    entry: AtomicU64,
}

/// One probed function that has not returned yet.
#[derive(Clone, Copy)]
pub(crate) struct Frame {
    pub(crate) stack_pointer: u64,
    pub(crate) return_address: u64,
    pub(crate) probe: u32,
}

/// The state.
#[repr(C)]
pub(crate) struct Thread {
    pub(crate) ring: Ring,
    reserved: [u64; 8],
    this: *mut Thread,
    /// Records start below it; the finisher sets it to 0 to stop the thread.
    pub(crate) limit: AtomicU64,
    /// Spilled registers of the block in progress.
    scratch: [u64; 3],
    spilled_rax: u64,
    spilled_rcx: u64,
    spilled_rdx: u64,
    /// Where an indirect branch goes, in the target's addresses.
    pub(crate) target: u64,
    /// Where translated code looks targets up: [`Thread::table`], or an empty one.
    lookup: AtomicPtr<Lookup>,
    /// The register that holds the record pointer where an indirect branch was not found in the table.
    pub(crate) came_with: u64,
    /// Why translated code came to the dispatcher: `dispatch::Exit…` or the index of a [`crate::cache::Exit`].
    pub(crate) exit: i64,
    enter: u64,
    /// Where a block that ran out of room goes on.
    pub(crate) resume: u64,
    /// Where the dispatcher goes on: an address in the code cache, or in the target for a release.
    pub(crate) next: u64,
    stack_end: u64,
    extended_state: *mut u8,
    extended_mask: u64,
    /// Whether the CPU has XSAVEOPT.
    saves_changes_only: u64,
    pub(crate) flags: u64,
    pub(crate) registers: [u64; 16],
    /// The signal that waits for the thread to reach a place where it can be delivered; 0 for none.
    pub(crate) pending_signal: u64,
    /// Where the dispatcher goes on behind the trap that it ends in while a signal waits.
    pub(crate) behind_trap: u64,
    /// Runs unrecorded: writes nothing.
    pub(crate) bare: AtomicU64,
    /// Others ask it to look whether it is to be recorded.
    pub(crate) called: AtomicU32,
    /// Which translations it goes through.
    pub(crate) mode: Mode,
    /// In a system call: writes no records.
    pub(crate) in_kernel: AtomicU64,
    /// Stopped for good, or waiting for the consumer.
    pub(crate) parked: AtomicU32,
    // From here on, the engine's alone.
    pub(crate) index: u32,
    pub(crate) parent: u32,
    /// Where a new thread begins.
    pub(crate) start: u64,
    pub(crate) pending_syscall: usize,
    /// Where the target goes on behind the system call.
    pub(crate) after_syscall: u64,
    pub(crate) frames: [Frame; FRAMES],
    pub(crate) frame_count: usize,
    table: *mut Lookup,
    /// Indirect branches that still come to the dispatcher because a jump out of several frames is under way.
    landing: u32,
    pub(crate) allocator_call: Option<heap::Call>,
    /// Of the signal that waits: its `siginfo_t`, and the signals that were blocked when it came.
    pub(crate) pending_info: signal::Info,
    pub(crate) pending_mask: u64,
    /// The signals to be blocked while the handler that is about to run runs.
    pub(crate) handler_mask: u64,
    /// The state of a thread whose creation the kernel may be asked for again.
    pub(crate) child: *mut Thread,
    /// A register that holds another argument than the target's during a system call, and the target's.
    pub(crate) replaced: Option<(usize, u64)>,
}

/// Offsets of what translated code reaches through GS.
pub(crate) mod offset {
    use super::{Thread, offset_of};
    pub(crate) const HEAD: u32 = offset_of!(Thread, ring.head) as u32;
    pub(crate) const THIS: u32 = offset_of!(Thread, this) as u32;
    pub(crate) const LIMIT: u32 = offset_of!(Thread, limit) as u32;
    pub(crate) const SCRATCH_0: u32 = offset_of!(Thread, scratch) as u32;
    pub(crate) const SCRATCH_1: u32 = SCRATCH_0 + 8;
    pub(crate) const SCRATCH_2: u32 = SCRATCH_0 + 16;
    pub(crate) const RAX: u32 = offset_of!(Thread, spilled_rax) as u32;
    pub(crate) const RCX: u32 = offset_of!(Thread, spilled_rcx) as u32;
    pub(crate) const RDX: u32 = offset_of!(Thread, spilled_rdx) as u32;
    pub(crate) const TARGET: u32 = offset_of!(Thread, target) as u32;
    pub(crate) const CAME_WITH: u32 = offset_of!(Thread, came_with) as u32;
    pub(crate) const LOOKUP: u32 = offset_of!(Thread, lookup) as u32;
    pub(crate) const EXIT: u32 = offset_of!(Thread, exit) as u32;
    pub(crate) const ENTER: u32 = offset_of!(Thread, enter) as u32;
    pub(crate) const RESUME: u32 = offset_of!(Thread, resume) as u32;
    pub(crate) const NEXT: u32 = offset_of!(Thread, next) as u32;
    pub(crate) const STACK_END: u32 = offset_of!(Thread, stack_end) as u32;
    pub(crate) const EXTENDED_STATE: u32 = offset_of!(Thread, extended_state) as u32;
    pub(crate) const SAVES_CHANGES_ONLY: u32 = offset_of!(Thread, saves_changes_only) as u32;
    pub(crate) const EXTENDED_MASK: u32 = offset_of!(Thread, extended_mask) as u32;
    pub(crate) const FLAGS: u32 = offset_of!(Thread, flags) as u32;
    pub(crate) const REGISTERS: u32 = offset_of!(Thread, registers) as u32;
    pub(crate) const PENDING_SIGNAL: u32 = offset_of!(Thread, pending_signal) as u32;
    pub(crate) const BEHIND_TRAP: u32 = offset_of!(Thread, behind_trap) as u32;
    pub(crate) const IN_KERNEL: u32 = offset_of!(Thread, in_kernel) as u32;
}

const _: () = {
    assert!(size_of::<Lookup>() == 1 << LOOKUP_ENTRY_SHIFT);
    assert!(size_of::<Thread>() <= stream::RING_HEADER_BYTES as usize);
    assert!(offset::HEAD == 64);
};

fn extended_mask() -> u64 {
    let (low, high): (u32, u32);
    // SAFETY: every x86-64 CPU with FSGSBASE has XSAVE, and Linux turns it on.
    unsafe { asm!("xgetbv", in("ecx") 0, out("eax") low, out("edx") high, options(nomem, nostack)) };
    (u64::from(high) << 32 | u64::from(low)) & EXTENDED_STATE
}

/// Claims a ring for a thread that does not run yet and sets up its state. One caller at a time (the engine's lock).
/// `None` if as many threads run as there are rings.
pub(crate) fn claim(parent: u32) -> Option<*mut Thread> {
    let header = stream::header();
    let place = (0..header.ring_count).map(stream::thread).find(|&place| {
        // SAFETY: a ring of the mapping.
        unsafe { (*place).ring.state.load(Acquire) == RING_FREE }
    })?;
    let index = header.next_thread.fetch_add(1, Relaxed);
    // SAFETY: the ring is free, so no thread has its state there; only the claimer touches it until it is live.
    unsafe {
        let used_before = (*place).ring.base.load(Acquire) == place as u64 && !(*place).table.is_null();
        let (lookup, stack, extended) = if used_before {
            ((*place).table, (*place).stack_end, (*place).extended_state)
        } else {
            (
                system::reserve(LOOKUP_TABLES * LOOKUP_BYTES).cast(),
                system::reserve(STACK_BYTES) as u64 + STACK_BYTES as u64,
                system::reserve(EXTENDED_STATE_BYTES),
            )
        };
        let words = place.cast::<u8>().add(offset_of!(Thread, this));
        ptr::write_bytes(words, 0, size_of::<Thread>() - offset_of!(Thread, this));
        let thread = &mut *place;
        thread.this = place;
        thread.allocator_call = None;
        thread.replaced = None;
        thread.lookup.store(lookup, Relaxed);
        thread.table = lookup;
        thread.stack_end = stack;
        thread.extended_state = extended;
        thread.extended_mask = extended_mask();
        thread.saves_changes_only = u64::from(std::arch::x86_64::__cpuid_count(0xd, 1).eax & 1);
        thread.enter = dispatch::enter as *const () as u64;
        thread.index = index;
        thread.parent = parent;
        thread.ring.thread.store(index, Relaxed);
        thread.ring.closed.store(0, SeqCst);
        thread.ring.tail.store(0, SeqCst);
        thread.ring.head.store(0, SeqCst);
        thread.ring.base.store(place as u64, Release);
        thread.ring.state.store(RING_LIVE, Release);
        if used_before {
            system::clear(lookup.cast(), LOOKUP_TABLES * LOOKUP_BYTES);
        }
        for pointer in 0..LOOKUP_TABLES {
            // Zeros would match a jump to 0.
            thread.entry(0, pointer as u8).tag.store(NO_TARGET, Relaxed);
        }
    }
    Some(place)
}

impl Thread {
    /// Whether an address lies in the stack that the engine uses on this thread.
    pub(crate) fn is_engine_stack(&self, address: u64) -> bool {
        (self.stack_end - STACK_BYTES as u64..=self.stack_end).contains(&address)
    }

    /// The target's value of the register that holds the record pointer.
    pub(crate) fn spilled(&self) -> u64 {
        self.scratch[0]
    }

    /// The target's value of the register that an operand out of reach has borrowed.
    pub(crate) fn borrowed(&self) -> u64 {
        self.scratch[1]
    }

    /// Gives back a ring whose thread never began.
    pub(crate) fn unclaim(&self) {
        self.ring.state.store(RING_FREE, Release);
    }

    /// Where the target was headed when the thread last came to the dispatcher, for a person.
    pub(crate) fn target_address(&self) -> u64 {
        if self.exit == dispatch::EXIT_INDIRECT {
            self.target
        } else {
            self.start
        }
    }

    fn entry(&self, target: u64, pointer: u8) -> &Lookup {
        let index = usize::from(pointer) * LOOKUP_ENTRIES + usize::from(target as u16);
        // SAFETY: each table has an entry for every 16-bit number.
        unsafe { &*self.table.add(index) }
    }

    /// Lets indirect branches to `target`, taken while the record pointer is in `pointer`, go straight to `entry`. Under the
    /// engine's lock.
    pub(crate) fn remember(&self, target: u64, pointer: u8, entry: usize) {
        let place = self.entry(target, pointer);
        place.tag.store(NO_TARGET, SeqCst);
        place.entry.store(entry as u64, SeqCst);
        place.tag.store(target.wrapping_neg(), SeqCst);
    }

    /// Makes indirect branches to `target` come to the dispatcher. Under the engine's lock.
    pub(crate) fn forget(&self, target: u64) {
        if self.table.is_null() {
            // A thread of the image before `exec`, whose ring nobody has claimed since.
            return;
        }
        for pointer in 0..LOOKUP_TABLES {
            let place = self.entry(target, pointer as u8);
            if place.tag.load(SeqCst) == target.wrapping_neg() {
                place.tag.store(NO_TARGET, SeqCst);
            }
        }
    }

    /// After `exec`: the memory that the state of the old image's threads points to is gone.
    pub(crate) fn forget_resources(&mut self) {
        self.table = ptr::null_mut();
    }

    /// A jump out of several frames begins: the dispatcher sees the next indirect branches, one of which lands.
    pub(crate) fn await_landing(&mut self) {
        /// Between `_Unwind_SetIP` and the landing, libgcc returns from about ten functions; `longjmp` lands at once.
        const BRANCHES: u32 = 64;
        self.lookup.store(Self::empty_table(), Relaxed);
        self.landing = BRANCHES;
    }

    /// Asks all other threads to come to the dispatcher with their next return or indirect branch.
    pub(crate) fn call_others(&self) {
        for other in stream::claimed() {
            // SAFETY: a claimed ring's state; what is touched is atomic.
            let other = unsafe { &*other };
            if !ptr::eq(other, self) && other.ring.state.load(Acquire) == RING_LIVE {
                other.lookup.store(Self::empty_table(), SeqCst);
                other.called.store(1, SeqCst);
            }
        }
    }

    /// In the dispatcher: answers [`Thread::call_others`].
    pub(crate) fn hear_call(&self) {
        if self.called.swap(0, SeqCst) != 0 && self.landing == 0 {
            self.lookup.store(self.table, SeqCst);
        }
    }

    /// Tables in which nothing is found.
    fn empty_table() -> *mut Lookup {
        static EMPTY: AtomicPtr<Lookup> = AtomicPtr::new(ptr::null_mut());
        if EMPTY.load(Acquire).is_null() {
            // Read only from then on, so it costs little memory; nor does a second one that is made at the same time.
            let empty: *mut Lookup = system::reserve(LOOKUP_TABLES * LOOKUP_BYTES).cast();
            for pointer in 0..LOOKUP_TABLES {
                // SAFETY: the first entry of each table.
                let first = unsafe { &*empty.add(pointer * LOOKUP_ENTRIES) };
                first.tag.store(NO_TARGET, Relaxed);
            }
            EMPTY.store(empty, Release);
        }
        EMPTY.load(Acquire)
    }

    /// Whether an indirect branch may be the landing.
    pub(crate) fn may_land(&mut self) -> bool {
        if self.landing == 0 {
            return false;
        }
        self.landing -= 1;
        if self.landing == 0 {
            self.lookup.store(self.table, Relaxed);
        }
        true
    }

    /// The jump has landed.
    pub(crate) fn landed(&mut self) {
        self.landing = 0;
        self.lookup.store(self.table, Relaxed);
    }
}
