//! Deliveries of signals. The kernel delivers to [`deliver`], which decides how each goes on:
//!
//! - The interrupted thread is at a *place* (`place`): the context is rewritten to what it would be natively, the
//!   interrupted block's record is completed (`partial`), and the target's handler runs translated, on the stack that the
//!   kernel chose. It may change the context or `siglongjmp`; when it returns, the thread goes on at whatever the
//!   context then says. Faults of translated instructions and interrupted system calls are always at a place.
//! - It is between places: the signal is kept, all others are blocked, and the thread single-steps (the CPU's trap flag) to
//!   the next place, over instructions of the engine's making only, one or two dozen at most. There the signal is queued
//!   again and the kernel delivers it in its proper form.
//! - It is in the engine: the same, but the engine comes to its end first, where it runs into a trap.
//! - The thread runs natively: so does the handler, unobserved.
//!
//! A fault inside the engine ends the process with a line that says where.
//!
//! Not as natively: a signal that comes a second time while the first waits for a place is delivered once, as two that come
//! while blocked are.

use std::arch::{asm, naked_asm};
use std::ops::Range;
use std::ptr;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use crate::action::{self, ASYNCHRONOUS, DEFAULT, IGNORE, SIGTRAP, SYNCHRONOUS};
use crate::context::Context;
use crate::dispatch::{self, EXIT_HANDLER, EXIT_RESUME, Engine};
use crate::place::{Place, State};
use crate::system::number;
use crate::thread::{Thread, register};
use crate::unobserved::{self, Cause};
use crate::{ENGINE, partial, stream, system};

const RCX: u8 = 1;
const SIGNAL_CODE_OFFSET: usize = 8;
const FAULT_ADDRESS_OFFSET: usize = 16;
const INFO_BYTES: usize = 128;

/// A `siginfo_t`.
pub(crate) type Info = [u8; INFO_BYTES];

/// Where the engine's own code lies.
static LIBRARY: [AtomicU64; 2] = [const { AtomicU64::new(0) }; 2];

/// Finds the engine's own code among the mappings.
pub(crate) fn note_library(engine: &mut Engine) {
    if let Some(mapping) = engine.maps.find(deliver as *const () as u64) {
        LIBRARY[0].store(mapping.range.start, Relaxed);
        LIBRARY[1].store(mapping.range.end, Relaxed);
    }
}

fn library() -> Range<u64> {
    LIBRARY[0].load(Relaxed)..LIBRARY[1].load(Relaxed)
}

/// Returns from a handler.
#[unsafe(naked)]
pub(crate) extern "C" fn restore() {
    naked_asm!("mov eax, 15", "syscall")
}

/// What the kernel calls. The stack is as the target's handler would find it: the handler is jumped to.
#[unsafe(naked)]
pub(crate) extern "C" fn deliver() {
    naked_asm!(
        "push rdi",
        "push rsi",
        "push rdx",
        "mov rcx, rsp",
        "and rsp, -64",
        "push rcx",
        "sub rsp, 56",
        "call {decide}",
        "add rsp, 56",
        "pop rsp",
        "pop rdx",
        "pop rsi",
        "pop rdi",
        "test rax, rax",
        "jz 3f",
        "cmp rax, 1",
        "je 2f",
        "jmp rax", // natively
        "2: xor eax, eax",
        "jmp {enter}",
        "3: ret", // nothing to call: the return address is the restorer's
        decide = sym decide,
        enter = sym dispatch::enter,
    )
}

const NOTHING: u64 = 0;
const TRANSLATED: u64 = 1;

/// The calling thread's state, if it is one that the engine drives.
fn current() -> Option<&'static mut Thread> {
    let base: u64;
    // SAFETY: FSGSBASE was found at start-up.
    unsafe { asm!("rdgsbase {}", out(reg) base, options(nomem, nostack, preserves_flags)) };
    if !stream::range().contains(&base) {
        return None;
    }
    // SAFETY: GS points into the stream only where the engine has set it: to a thread's state.
    let thread = unsafe { &mut *(base as *mut Thread) };
    // A forked child has inherited its parent's.
    (thread.ring.os_tid.load(Relaxed) == system::thread_id()).then_some(thread)
}

/// What a delivery has interrupted.
enum Interrupted {
    /// The engine at work, which looks for a waiting signal when it is done.
    Engine,
    /// The engine on its way back to translated code.
    Leaving,
    /// Translated code, at a place.
    Place(Place),
    /// Translated code between places.
    Between,
    /// Code that is not translated.
    Native,
}

/// One delivery.
struct Delivery {
    signal: usize,
    info: *const u8,
    context: Context,
}

impl Delivery {
    fn code(&self) -> i32 {
        // SAFETY: the kernel's `siginfo_t` of this delivery.
        unsafe { self.info.add(SIGNAL_CODE_OFFSET).cast::<i32>().read() }
    }

    /// Raised by the interrupted instruction itself: what somebody sends has a code that is not positive.
    fn is_synchronous(&self) -> bool {
        SYNCHRONOUS.contains(&self.signal) && self.code() > 0
    }

    /// A single step, as [`Context::set_stepping`] asks for.
    fn is_step(&self) -> bool {
        const TRAP_TRACE: i32 = 2;
        self.signal == SIGTRAP && self.code() == TRAP_TRACE
    }

    /// The engine's own trap has been reached.
    fn is_trap(&self) -> bool {
        const LENGTH: u64 = 1;
        self.signal == SIGTRAP && self.context.instruction() == dispatch::trap() + LENGTH
    }

    fn fault_address(&self) -> u64 {
        // SAFETY: as for `code`.
        unsafe { self.info.add(FAULT_ADDRESS_OFFSET).cast::<u64>().read() }
    }

    fn interrupted(&self, thread: &Thread) -> Interrupted {
        let at = self.context.instruction();
        if dispatch::leaving().contains(&at) {
            return Interrupted::Leaving;
        }
        if at == dispatch::enter as *const () as u64
            && let Some(target) = dispatch::settled_target(thread)
        {
            return Interrupted::Place(Place::settled(target));
        }
        if thread.is_engine_stack(self.context.stack_pointer()) || library().contains(&at) {
            return Interrupted::Engine;
        }
        // The thread is not in the engine, so it does not hold the lock.
        let engine = ENGINE.lock();
        match engine.cache.places.find(at as usize) {
            Some(place) => Interrupted::Place(place),
            None if engine.cache.contains(at as usize) => Interrupted::Between,
            None => Interrupted::Native,
        }
    }
}

/// How a delivery goes on: `NOTHING`, `TRANSLATED`, or the address of a handler to run natively.
extern "C" fn decide(signal: usize, info: *const u8, context: u64) -> u64 {
    let delivery = Delivery {
        signal,
        info,
        // SAFETY: the kernel's context of this delivery; it restores from it what is left there.
        context: unsafe { Context::at(context) },
    };
    let Some(thread) = current() else {
        return natively(&delivery);
    };
    if thread.pending_signal != 0 && (delivery.is_step() || delivery.is_trap()) {
        return step(thread, delivery);
    }
    if delivery.is_synchronous() {
        return synchronous(thread, delivery);
    }
    match delivery.interrupted(thread) {
        Interrupted::Native => natively(&delivery),
        _ if !is_function(action::handler(signal)) => natively(&delivery),
        Interrupted::Place(place) if place.state.is_interruptible() => translated(thread, delivery, &place),
        interrupted => postpone(thread, delivery, &interrupted),
    }
}

fn is_function(handler: u64) -> bool {
    handler != DEFAULT && handler != IGNORE
}

/// What would happen without the engine, where it does not drive the thread.
fn natively(delivery: &Delivery) -> u64 {
    let handler = action::handler(delivery.signal);
    if is_function(handler) {
        stream::header().signals_delivered.fetch_add(1, Relaxed);
        unobserved::count(Cause::NativeHandler, 0);
        action::use_up(delivery.signal);
        return handler;
    }
    // Ours is installed for the engine's sake only.
    action::set_default(delivery.signal);
    // A fault comes again by itself; a trap and what was sent don't.
    if !delivery.is_synchronous() || delivery.signal == SIGTRAP {
        let process = system::process_id() as usize;
        // SAFETY: the signal goes to this thread, for which it was.
        unsafe {
            system::call3(
                number::TGKILL,
                process,
                system::thread_id() as usize,
                delivery.signal,
            )
        };
    }
    NOTHING
}

/// A fault or a trap.
fn synchronous(thread: &mut Thread, mut delivery: Delivery) -> u64 {
    let at = delivery.context.instruction();
    let place = match delivery.interrupted(thread) {
        Interrupted::Native => return natively(&delivery),
        Interrupted::Place(place) => place,
        Interrupted::Engine | Interrupted::Leaving => crash(&delivery, thread, thread.target_address()),
        Interrupted::Between => {
            let block = ENGINE.lock().cache.places.block_around(at as usize).unwrap_or(0);
            // Translations of rewritable code read it first: where it is gone, the target would fault in fetching it.
            if delivery.fault_address() >> 12 != block >> 12 {
                crash(&delivery, thread, block);
            }
            Place {
                address: block,
                state: State::Entry,
                block_start: block,
                body: None,
            }
        }
    };
    if is_function(action::handler(delivery.signal)) {
        return translated(thread, delivery, &place);
    }
    // The target dies of it: its profile has what it did until then.
    partial::settle(thread, &mut ENGINE.lock(), &place, &delivery.context);
    delivery.context.set_stepping(false);
    natively(&delivery)
}

fn crash(delivery: &Delivery, thread: &Thread, target: u64) -> ! {
    system::fatal(format_args!(
        "signal {} inside the engine at {:#x} (library at {:#x}), thread {}, translating or serving {target:#x}; \
         what was recorded until now is kept",
        delivery.signal,
        delivery.context.instruction(),
        library().start,
        thread.index,
    ))
}

/// Lets the target's handler run translated, with the context that it would see natively.
fn translated(thread: &mut Thread, mut delivery: Delivery, place: &Place) -> u64 {
    let context = &mut delivery.context;
    partial::settle(thread, &mut ENGINE.lock(), place, context);
    context.set_instruction(place.address);
    if let Some(body) = &place.body
        && place.state.has_pointer()
    {
        context.set_general(body.pointer, thread.spilled());
    }
    if let State::Borrowed(register) = place.state {
        context.set_general(register, thread.borrowed());
    }
    if thread.in_kernel.load(Acquire) != 0 {
        // The system call has left the address behind it there.
        context.set_general(RCX, thread.after_syscall);
        thread.in_kernel.store(0, Release);
    }
    if thread.pending_signal != 0 {
        // A fault on the way to the next place: it comes first.
        context.set_stepping(false);
        queue_again(thread, context);
    }
    stream::header().signals_delivered.fetch_add(1, Relaxed);
    let signal = delivery.signal;
    thread.start = action::handler(signal);
    thread.handler_mask = delivery.context.mask() | action::blocked_by_handler(signal);
    thread.exit = EXIT_HANDLER;
    action::use_up(signal);
    TRANSLATED
}

/// In the dispatcher: a handler begins. Until now all signals were blocked.
pub(crate) fn begin_handler(thread: &Thread) {
    thread.make_room();
    thread.mark();
    set_mask(thread.handler_mask);
}

/// Keeps a signal until the thread is at a place.
fn postpone(thread: &mut Thread, mut delivery: Delivery, interrupted: &Interrupted) -> u64 {
    // SAFETY: the kernel's `siginfo_t` of this delivery.
    thread.pending_info = unsafe { delivery.info.cast::<Info>().read() };
    thread.pending_mask = delivery.context.mask();
    thread.pending_signal = delivery.signal as u64;
    delivery.context.set_mask(ASYNCHRONOUS);
    match interrupted {
        Interrupted::Engine => {}
        Interrupted::Leaving => {
            thread.behind_trap = thread.next;
            thread.next = dispatch::trap();
        }
        _ => delivery.context.set_stepping(true),
    }
    NOTHING
}

/// One instruction further on the way to a place.
fn step(thread: &mut Thread, mut delivery: Delivery) -> u64 {
    if delivery.is_trap() {
        delivery.context.set_instruction(thread.behind_trap);
    }
    match delivery.interrupted(thread) {
        Interrupted::Engine | Interrupted::Leaving => delivery.context.set_stepping(false),
        Interrupted::Place(place) if !place.state.is_interruptible() => delivery.context.set_stepping(true),
        Interrupted::Between => delivery.context.set_stepping(true),
        Interrupted::Place(_) | Interrupted::Native => {
            delivery.context.set_stepping(false);
            queue_again(thread, &mut delivery.context);
        }
    }
    NOTHING
}

/// Gives the waiting signal back to the kernel, which delivers it as soon as the context's mask is in force.
fn queue_again(thread: &mut Thread, context: &mut Context) {
    context.set_mask(thread.pending_mask);
    let signal = std::mem::take(&mut thread.pending_signal) as usize;
    let arguments = [
        system::process_id() as usize,
        system::thread_id() as usize,
        signal,
        thread.pending_info.as_ptr() as usize,
        0,
        0,
    ];
    // SAFETY: the kernel reads the information; the signal goes to this thread.
    let result = unsafe { system::call(number::RT_TGSIGQUEUEINFO, arguments) };
    if result != 0 {
        system::fatal(format_args!(
            "signal {signal} can't be delivered: rt_tgsigqueueinfo fails with error {}",
            -result
        ));
    }
}

/// Blocks all signals of the calling thread but faults: it is about to end.
pub(crate) fn block_all() {
    set_mask(ASYNCHRONOUS);
}

fn set_mask(mask: u64) {
    const SET: usize = 2;
    let bytes = size_of_val(&mask);
    // SAFETY: the kernel reads the mask.
    unsafe {
        system::call(
            number::RT_SIGPROCMASK,
            [SET, ptr::from_ref(&mask) as usize, 0, bytes, 0, 0],
        )
    };
}

/// The target's `rt_sigreturn`: whatever the context says, the thread comes to the dispatcher first.
pub(crate) fn before_return(thread: &mut Thread) {
    // SAFETY: the frame that the kernel is about to restore from; it is the target's stack, which is mapped.
    let mut context = unsafe { Context::at(thread.registers[register::RSP]) };
    thread.start = context.instruction();
    context.set_instruction(dispatch::enter as *const () as u64);
    thread.exit = EXIT_RESUME;
}
