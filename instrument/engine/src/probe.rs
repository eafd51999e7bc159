//! Operator probes: functions whose entry and return are told as events, with what the consumer wants to know of their
//! arguments. A block begins at each such function; it comes to the dispatcher before anything else. So does the return:
//! the thread's look-up table leads from the return address to a stub that comes here first.
//!
//! A frame that is left by `longjmp` or an exception is left where the jump lands: what begins such a jump is watched too.
//! By other ways (`swapcontext`), it is noticed at the next watched entry or return, or system call, above it.

use std::collections::BTreeMap;
use std::ffi::CStr;
use std::sync::atomic::Ordering::{Acquire, Relaxed};

use memloupe_layout::{ALLOCATOR_DELETE, ALLOCATOR_NEW};

use crate::cache::{self, AddressMap, Cause, Exit, Mode, address_map};
use crate::dispatch::Engine;
use crate::maps::Maps;
use crate::ring::Event;
use crate::stream::{self, Probe};
use crate::thread::{FRAMES, Frame, Thread, register};
use crate::{ENGINE, gate, heap};

const FETCH_REGISTER: u8 = 0xff;

/// Places in the target's code where a thread has to come to the dispatcher.
pub(crate) struct Entries {
    probes: BTreeMap<u64, Vec<u32>>,
    taken_in: u32,
    allocator: AddressMap<heap::Function>,
    jumps: Vec<u64>,
}

/// What jumps out of several frames at once, or is called right before: C, and the unwinder of C++ and Rust.
const JUMPS: [&CStr; 5] = [
    c"longjmp",
    c"_longjmp",
    c"siglongjmp",
    c"__longjmp_chk",
    c"_Unwind_SetIP",
];

impl Entries {
    pub(crate) const fn new() -> Self {
        Self {
            probes: BTreeMap::new(),
            taken_in: 0,
            allocator: address_map(),
            jumps: Vec::new(),
        }
    }

    pub(crate) fn contains(&self, pc: u64) -> bool {
        self.probes.contains_key(&pc) || self.allocator.contains_key(&pc) || self.jumps.contains(&pc)
    }

    /// What lay there is unmapped: other code may come to where functions were probed.
    pub(crate) fn unmapped(&mut self, start: u64, bytes: u64) {
        let range = start..start.saturating_add(bytes);
        while let Some((&address, _)) = self.probes.range(range.clone()).next() {
            self.probes.remove(&address);
        }
        self.allocator.retain(|address, _| !range.contains(address));
    }

    /// Watches a function of the target's allocator.
    pub(crate) fn watch_allocator(&mut self, address: u64, function: heap::Function) {
        self.allocator.entry(address).or_insert(function);
    }
}

/// Finds what jumps out of frames. While the process is still native.
pub(crate) fn find_jumps(engine: &mut Engine) {
    let found = JUMPS
        .into_iter()
        .map(heap::symbol)
        .filter(|&address| address != 0);
    engine.entries.jumps.extend(found);
}

/// Takes in what the consumer has added to the probe table.
pub(crate) fn take_in(engine: &mut Engine) {
    let published = stream::header().probe_count.load(Acquire);
    for id in engine.entries.taken_in..published {
        let probe = stream::probe(id);
        let address = probe.address;
        match probe.allocator {
            ALLOCATOR_NEW => engine.entries.watch_allocator(address, heap::Function::Bytes(0)),
            ALLOCATOR_DELETE => engine.entries.watch_allocator(address, heap::Function::Free),
            _ => engine.entries.probes.entry(address).or_default().push(id),
        }
        engine.cache.remove_range(address, 1);
    }
    engine.entries.taken_in = published;
}

/// A probed function at `pc`, or one of the allocator, is entered.
pub(crate) fn enter(thread: &mut Thread, pc: u64) {
    let (probes, allocator, jumps) = {
        let engine = ENGINE.lock();
        (
            engine.entries.probes.get(&pc).cloned().unwrap_or_default(),
            engine.entries.allocator.get(&pc).copied(),
            engine.entries.jumps.contains(&pc),
        )
    };
    if jumps && thread.frame_count > 0 {
        thread.await_landing();
    }
    if let Some(function) = allocator {
        heap::enter(thread, function);
    }
    if probes.is_empty() {
        return;
    }
    let stack_pointer = thread.registers[register::RSP];
    // SAFETY: the call that led here has stored its return address there.
    let return_address = unsafe { (stack_pointer as *const u64).read_unaligned() };
    for id in probes {
        note(
            thread,
            Frame {
                stack_pointer,
                return_address,
                probe: id,
            },
        );
    }
    watch_return(return_address);
}

fn note(thread: &mut Thread, frame: Frame) {
    leave_abandoned(thread, &frame);
    if thread.frame_count == FRAMES {
        stream::header().lost_records.fetch_add(1, Relaxed);
        return;
    }
    thread.frames[thread.frame_count] = frame;
    thread.frame_count += 1;
    let probe = stream::probe(frame.probe);
    let mut payload = vec![u64::from(frame.probe), frame.stack_pointer, 0];
    let mut engine = ENGINE.lock();
    for index in 0..usize::from(probe.fetches) {
        let bytes = usize::from(probe.fetch[index].bytes);
        let mut value = vec![0; bytes.next_multiple_of(8)];
        if fetch(&mut engine.maps, thread, probe, index, &mut value[..bytes]) {
            payload[2] |= 1 << index;
        }
        let words = value
            .chunks_exact(8)
            .map(|word| u64::from_le_bytes(word.try_into().expect("eight bytes")));
        payload.extend(words);
    }
    drop(engine);
    if thread.mode == Mode::Bare {
        thread.mark();
    }
    thread.event(Event::ProbeEnter, &payload);
    gate::enter(thread, probe, &payload);
}

fn fetch(maps: &mut Maps, thread: &Thread, probe: &Probe, index: usize, out: &mut [u8]) -> bool {
    let fetch = &probe.fetch[index];
    let mut pointer = thread.registers[usize::from(fetch.register & 15)];
    if fetch.steps == FETCH_REGISTER {
        let bytes = out.len().min(8);
        out[..bytes].copy_from_slice(&pointer.to_le_bytes()[..bytes]);
        return true;
    }
    let steps = usize::from(fetch.steps).min(fetch.offset.len() - 1);
    for offset in &fetch.offset[..steps] {
        let mut word = [0; 8];
        if pointer == 0 || !maps.read(pointer.wrapping_add_signed(i64::from(*offset)), &mut word) {
            return false;
        }
        pointer = u64::from_le_bytes(word);
    }
    pointer != 0 && maps.read(pointer.wrapping_add_signed(i64::from(fetch.offset[steps])), out)
}

/// A frame at or above which another begins: it was left by a non-local exit, or its function has jumped to the new one
/// as its last act. Then the return address is the same, and the two stand at one place until both are left.
fn leave_abandoned(thread: &mut Thread, entered: &Frame) {
    leave_below(thread, entered.stack_pointer, false);
    let same_place = |frame: &&Frame| frame.stack_pointer == entered.stack_pointer;
    let abandoned = thread.frames[..thread.frame_count]
        .iter()
        .rev()
        .take_while(same_place)
        .any(|frame| frame.probe == entered.probe || frame.return_address != entered.return_address);
    if abandoned {
        leave_below(thread, entered.stack_pointer, true);
    }
}

/// Leaves the frames entered below `stack_pointer`, those at it too if `inclusive`.
fn leave_below(thread: &mut Thread, stack_pointer: u64, inclusive: bool) {
    let mut outermost = None;
    while let Some(frame) = thread.frame_count.checked_sub(1).map(|last| thread.frames[last]) {
        let left = frame.stack_pointer < stack_pointer || inclusive && frame.stack_pointer == stack_pointer;
        if !left {
            break;
        }
        outermost = Some(frame.stack_pointer);
        thread.frame_count -= 1;
    }
    if let Some(outermost) = outermost {
        thread.event(Event::ProbeLeave, &[outermost]);
        gate::leave(thread, outermost);
    }
}

/// Control has come back to where a probed function was called from.
pub(crate) fn leave(thread: &mut Thread) {
    leave_passed(thread);
    heap::leave(thread);
}

/// Leaves the frames that the stack pointer has passed, unless it is on another stack: a signal handler's or a
/// coroutine's says nothing of theirs.
/// Whether any was left.
pub(crate) fn leave_passed(thread: &mut Thread) -> bool {
    let stack_pointer = thread.registers[register::RSP];
    let Some(innermost) = thread
        .frame_count
        .checked_sub(1)
        .map(|last| thread.frames[last].stack_pointer)
    else {
        return false;
    };
    if stack_pointer <= innermost {
        return false;
    }
    let is_own_return = stack_pointer == innermost + 8;
    let same_stack = || {
        let mut engine = ENGINE.lock();
        if engine.maps.find(innermost).is_none() {
            // Stacks grow without a system call.
            engine.maps.invalidate();
        }
        engine
            .maps
            .find(innermost)
            .is_some_and(|stack| stack.range.contains(&stack_pointer))
    };
    let passed = is_own_return || same_stack();
    if passed {
        leave_below(thread, stack_pointer, false);
    }
    passed
}

/// Makes returns to `return_address` come to the dispatcher.
pub(crate) fn watch_return(return_address: u64) {
    let mut engine = ENGINE.lock();
    if engine.cache.leave_stubs.contains_key(&return_address) {
        return;
    }
    // From recorded and bare code alike: where it goes on is the dispatcher's matter.
    let exit = Exit::of(Cause::Leave, Mode::Recorded, return_address);
    let index = engine.cache.new_exit(exit);
    let mut assembler = engine.cache.open(return_address);
    let stub = assembler.position();
    assembler.leave(index as i32);
    engine.cache.close(&assembler);
    engine.cache.leave_stubs.insert(return_address, stub);
    cache::forget(return_address);
}
