//! The target's allocator, watched from outside: its functions are places where a thread comes to the dispatcher, on the
//! way in and on the way out. The target keeps its own allocator, whichever that is.
//!
//! Allocator functions call one another: only the outermost call counts. Call stacks are the caller, which is exact, and
//! its callers as far as frame pointers tell them: code built without them ends the stack early.

use std::collections::HashMap;
use std::ffi::{CStr, c_char, c_void};
use std::hash::BuildHasherDefault;
use std::sync::atomic::Ordering::Relaxed;

use crate::cache::AddressHash;
use crate::dispatch::Engine;
use crate::maps::{Maps, PROTECTION_EXECUTE};
use crate::ring::Event;
use crate::thread::{Thread, register};
use crate::{ENGINE, probe, stream, system};

const STACK_DEPTH: usize = 24;
/// Frames further apart than this are no frames.
const LARGEST_FRAME_BYTES: u64 = 1 << 20;

/// What a function of the allocator does with its arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Function {
    /// Allocates as many bytes as argument `0` says.
    Bytes(usize),
    /// Allocates the product of the first two arguments.
    Product,
    /// Frees argument 0, allocates as many bytes as argument 1 says.
    Resize,
    /// Frees argument 0, allocates the product of the others.
    ResizeProduct,
    /// Allocates as many bytes as argument 2 says; the address is stored at argument 0.
    Stored,
    /// Frees argument 0.
    Free,
}

const FUNCTIONS: [(&CStr, Function); 24] = [
    (c"malloc", Function::Bytes(0)),
    (c"calloc", Function::Product),
    (c"realloc", Function::Resize),
    (c"reallocarray", Function::ResizeProduct),
    (c"memalign", Function::Bytes(1)),
    (c"aligned_alloc", Function::Bytes(1)),
    (c"posix_memalign", Function::Stored),
    (c"valloc", Function::Bytes(0)),
    (c"pvalloc", Function::Bytes(0)),
    (c"free", Function::Free),
    (c"cfree", Function::Free),
    (c"_Znwm", Function::Bytes(0)),
    (c"_Znam", Function::Bytes(0)),
    (c"_ZnwmRKSt9nothrow_t", Function::Bytes(0)),
    (c"_ZnamRKSt9nothrow_t", Function::Bytes(0)),
    (c"_ZnwmSt11align_val_t", Function::Bytes(0)),
    (c"_ZnamSt11align_val_t", Function::Bytes(0)),
    (c"_ZdlPv", Function::Free),
    (c"_ZdaPv", Function::Free),
    (c"_ZdlPvm", Function::Free),
    (c"_ZdaPvm", Function::Free),
    (c"_ZdlPvSt11align_val_t", Function::Free),
    (c"_ZdlPvmSt11align_val_t", Function::Free),
    (c"_ZdaPvSt11align_val_t", Function::Free),
];

unsafe extern "C" {
    fn dlsym(handle: *mut c_void, name: *const c_char) -> *mut c_void;
}

/// The outermost call of an allocator function that a thread is inside of.
#[derive(Clone, Copy)]
pub(crate) struct Call {
    function: Function,
    stack_pointer: u64,
    return_address: u64,
    arguments: [u64; 3],
}

/// Call stacks that were told, by thread and content.
pub(crate) type Stacks = HashMap<(u32, Vec<u64>), u64, BuildHasherDefault<AddressHash>>;

/// Finds the allocator that the target's dynamic symbols lead to. While the process is still native.
pub(crate) fn find_functions(engine: &mut Engine) {
    /// The global scope; then what comes behind the executable and us in it. A position-dependent executable that takes
    /// the address of `malloc` has one of its own for it, a stub that calls from libraries do not pass through.
    const SCOPES: [*mut c_void; 2] = [std::ptr::null_mut(), std::ptr::without_provenance_mut(usize::MAX)];
    for (name, function) in FUNCTIONS {
        for scope in SCOPES {
            // SAFETY: looks a name up in RTLD_DEFAULT or RTLD_NEXT.
            let address = unsafe { dlsym(scope, name.as_ptr()) } as u64;
            if address != 0 {
                engine.entries.watch_allocator(address, function);
            }
        }
    }
}

/// Where the target's dynamic symbols lead `name` to, 0 if nowhere. While the process is still native.
pub(crate) fn symbol(name: &CStr) -> u64 {
    // SAFETY: looks a name up in the global scope (handle 0).
    unsafe { dlsym(std::ptr::null_mut(), name.as_ptr()) as u64 }
}

/// A function of the allocator is entered.
pub(crate) fn enter(thread: &mut Thread, function: Function) {
    let stack_pointer = thread.registers[register::RSP];
    // SAFETY: the call that led here has stored its return address there.
    let return_address = unsafe { (stack_pointer as *const u64).read_unaligned() };
    if let Some(call) = &thread.allocator_call {
        // Stacks grow downwards. At the same place with the same return, one function has jumped to another as its last
        // act. Above, the call was left by an exception or longjmp.
        let inside = stack_pointer < call.stack_pointer;
        let same = stack_pointer == call.stack_pointer && return_address == call.return_address;
        if inside || same {
            return;
        }
    }
    let arguments = [register::RDI, register::RSI, register::RDX].map(|register| thread.registers[register]);
    if matches!(
        function,
        Function::Free | Function::Resize | Function::ResizeProduct
    ) && arguments[0] != 0
    {
        // Whoever has used the block has done so before.
        thread.mark();
        thread.event(Event::Free, &[arguments[0]]);
    }
    thread.allocator_call = Some(Call {
        function,
        stack_pointer,
        return_address,
        arguments,
    });
    probe::watch_return(return_address);
}

/// Control has come back to some watched place: perhaps from the allocator.
pub(crate) fn leave(thread: &mut Thread) {
    let Some(call) = thread.allocator_call else { return };
    if thread.registers[register::RSP] <= call.stack_pointer {
        return;
    }
    thread.allocator_call = None;
    let [first, second, third] = call.arguments;
    let result = thread.registers[register::RAX];
    let (address, bytes) = match call.function {
        Function::Free => return,
        Function::Bytes(argument) => (result, call.arguments[argument]),
        Function::Product => (result, first.wrapping_mul(second)),
        Function::Resize => (result, second),
        Function::ResizeProduct => (result, second.wrapping_mul(third)),
        Function::Stored => {
            let mut word = [0; 8];
            if result as u32 != 0 || !system::read_memory(first, &mut word) {
                return;
            }
            (u64::from_le_bytes(word), third)
        }
    };
    // Whoever has freed the memory has told so before.
    thread.mark();
    if address == 0 {
        // A failed `realloc` keeps the old block.
        if matches!(call.function, Function::Resize | Function::ResizeProduct) && first != 0 && bytes != 0 {
            let stack = stack_id(thread, call.return_address, call.stack_pointer);
            thread.event(Event::Alloc, &[first, 0, stack]);
        }
        return;
    }
    let stack = stack_id(thread, call.return_address, call.stack_pointer);
    thread.event(Event::Alloc, &[address, bytes, stack]);
}

/// The id of the call stack that maps anonymous memory, 0 if it is not known. What the allocator maps is handed out later,
/// with call stacks of its own. `mmap` is a system call behind a function without a frame, whose caller is on top of the stack.
pub(crate) fn mapping_stack(thread: &Thread) -> u64 {
    let stack_pointer = thread.registers[register::RSP];
    let mut word = [0; 8];
    if thread.allocator_call.is_some() || !system::read_memory(stack_pointer, &mut word) {
        return 0;
    }
    let caller = u64::from_le_bytes(word);
    if !follows_call(&mut ENGINE.lock().maps, caller) {
        return 0;
    }
    stack_id(thread, caller, stack_pointer)
}

/// The id of the stack of a call that returns to `caller`; tells it if it is new to this thread: what other threads have told
/// may be read later.
fn stack_id(thread: &Thread, caller: u64, stack_pointer: u64) -> u64 {
    let mut engine = ENGINE.lock();
    let frames = walk(&mut engine.maps, caller, stack_pointer, thread.registers[5]);
    let key = (thread.index, frames);
    if let Some(&id) = engine.stacks.get(&key) {
        return id;
    }
    let id = 1 + u64::from(stream::header().next_stack.fetch_add(1, Relaxed));
    let mut payload = vec![id];
    payload.extend_from_slice(&key.1);
    engine.stacks.insert(key, id);
    drop(engine);
    thread.event(Event::Stack, &payload);
    id
}

/// The return addresses from `caller` outwards, along the chain of frame pointers that begins with `frame`.
fn walk(maps: &mut Maps, caller: u64, stack_pointer: u64, mut frame: u64) -> Vec<u64> {
    let mut frames = vec![caller];
    let mut below = stack_pointer;
    // The stack pointer's page is there; what lies above it in the mapping is so too.
    let stack_end = maps.find(stack_pointer).map_or(0, |stack| stack.range.end);
    while frames.len() < STACK_DEPTH {
        let apart = frame.wrapping_sub(below);
        let inside = frame.checked_add(16).is_some_and(|end| end <= stack_end);
        if !frame.is_multiple_of(8) || apart == 0 || apart > LARGEST_FRAME_BYTES || !inside {
            break;
        }
        // SAFETY: two words between the stack pointer and the end of the stack's mapping.
        let [saved, return_address] = unsafe { *(frame as *const [u64; 2]) };
        if !follows_call(maps, return_address) {
            break;
        }
        frames.push(return_address);
        below = frame;
        frame = saved;
    }
    frames
}

/// Whether a call instruction ends at `address`.
fn follows_call(maps: &mut Maps, address: u64) -> bool {
    const LONGEST_CALL: u64 = 7;
    let before = address.wrapping_sub(LONGEST_CALL);
    let is_code = maps.find(address).is_some_and(|mapping| {
        mapping.protection & PROTECTION_EXECUTE != 0 && mapping.range.contains(&before)
    });
    if !is_code {
        return false;
    }
    // SAFETY: executable, which on x86-64 means readable.
    let code = unsafe { *(before as *const [u8; LONGEST_CALL as usize]) };
    // call rel32; call r/m64 with 0, 1 or 4 bytes of displacement, with and without SIB.
    let indirect = |length: usize| code[7 - length] == 0xff && code[8 - length] >> 3 & 7 == 2;
    code[2] == 0xe8 || [2, 3, 4, 6, 7].into_iter().any(indirect)
}
