//! Between translated code and the engine: the switch of stacks and registers, and what to do at each exit.

use std::arch::naked_asm;
use std::hash::BuildHasherDefault;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};

use crate::cache::{Cache, Cause, Mode, NO_POINTER};
use crate::gate::{self, Gate};
use crate::heap::Stacks;
use crate::maps::Maps;
use crate::probe::Entries;
use crate::ring::{self, Event};
use crate::thread::{Thread, offset, register};
use crate::translator::{self, Translator};
use crate::{ENGINE, attach, probe, signal, syscall, system};

/// `Thread::exit` where it is not the index of a [`crate::cache::Exit`].
pub(crate) const EXIT_START: i64 = -1;
pub(crate) const EXIT_INDIRECT: i64 = -2;
/// Goes on at `Thread::start`.
pub(crate) const EXIT_RESUME: i64 = -4;
pub(crate) const EXIT_CHUNK_FULL: i64 = -3;
/// A handler of the target begins at `Thread::start`.
pub(crate) const EXIT_HANDLER: i64 = -5;

/// What all threads share.
pub(crate) struct Engine {
    pub(crate) cache: Cache,
    pub(crate) maps: Maps,
    pub(crate) entries: Entries,
    pub(crate) gate: Gate,
    pub(crate) stacks: Stacks,
    pub(crate) translator: Option<Translator>,
}

impl Engine {
    pub(crate) const fn new() -> Self {
        Self {
            cache: Cache::new(),
            maps: Maps::new(),
            entries: Entries::new(),
            gate: Gate::new(),
            stacks: Stacks::with_hasher(BuildHasherDefault::new()),
            translator: None,
        }
    }

    /// The translation of the code at `pc`, made if need be, for a block whose record pointer is in `pointer`. `Err` says
    /// why there is none.
    fn entry(&mut self, mode: Mode, pc: u64, pointer: Option<u8>) -> Result<usize, String> {
        match self.cache.find(mode, pc) {
            Some(at) => Ok(at.entry),
            None => translator::translate(self, mode, pc, pointer),
        }
    }
}

/// Leaves translated code: stores all registers, switches to the engine's stack, calls [`dispatch`], restores, and goes
/// on at `Thread::next`. The target's stack is not touched, not even its red zone.
#[unsafe(naked)]
pub(crate) extern "C" fn enter() {
    naked_asm!(
        "mov gs:[{registers}], rax",
        "mov gs:[{registers}+8], rcx",
        "mov gs:[{registers}+16], rdx",
        "mov gs:[{registers}+24], rbx",
        "mov gs:[{registers}+32], rsp",
        "mov gs:[{registers}+40], rbp",
        "mov gs:[{registers}+48], rsi",
        "mov gs:[{registers}+56], rdi",
        "mov gs:[{registers}+64], r8",
        "mov gs:[{registers}+72], r9",
        "mov gs:[{registers}+80], r10",
        "mov gs:[{registers}+88], r11",
        "mov gs:[{registers}+96], r12",
        "mov gs:[{registers}+104], r13",
        "mov gs:[{registers}+112], r14",
        "mov gs:[{registers}+120], r15",
        "mov rsp, gs:[{stack}]",
        "pushfq",
        "pop qword ptr gs:[{flags}]",
        "cld",
        "mov rdi, gs:[{extended}]",
        "mov eax, gs:[{mask}]",
        "xor edx, edx",
        // What has not changed since it was restored is not saved again.
        "cmp qword ptr gs:[{optimized}], 0",
        "je 3f",
        "xsaveopt64 [rdi]",
        "jmp 4f",
        "3: xsave64 [rdi]",
        "4:",
        "mov rdi, gs:[{this}]",
        "call {dispatch}",
        // A signal that came meanwhile is delivered at the end of the way back: see `signal`.
        "cmp qword ptr gs:[{pending}], 0",
        ".hidden memloupe_engine_leaving",
        ".globl memloupe_engine_leaving",
        "memloupe_engine_leaving:",
        "je 2f",
        "mov rax, gs:[{next}]",
        "mov gs:[{behind_trap}], rax",
        "lea rax, [rip + memloupe_engine_trap]",
        "mov gs:[{next}], rax",
        "2:",
        "mov rdi, gs:[{extended}]",
        "mov eax, gs:[{mask}]",
        "xor edx, edx",
        "xrstor64 [rdi]",
        "push qword ptr gs:[{flags}]",
        "popfq",
        "mov rax, gs:[{registers}]",
        "mov rcx, gs:[{registers}+8]",
        "mov rdx, gs:[{registers}+16]",
        "mov rbx, gs:[{registers}+24]",
        "mov rbp, gs:[{registers}+40]",
        "mov rsi, gs:[{registers}+48]",
        "mov rdi, gs:[{registers}+56]",
        "mov r8, gs:[{registers}+64]",
        "mov r9, gs:[{registers}+72]",
        "mov r10, gs:[{registers}+80]",
        "mov r11, gs:[{registers}+88]",
        "mov r12, gs:[{registers}+96]",
        "mov r13, gs:[{registers}+104]",
        "mov r14, gs:[{registers}+112]",
        "mov r15, gs:[{registers}+120]",
        "mov rsp, gs:[{registers}+32]",
        "jmp qword ptr gs:[{next}]",
        ".hidden memloupe_engine_left",
        ".globl memloupe_engine_left",
        "memloupe_engine_left:",
        ".hidden memloupe_engine_trap",
        ".globl memloupe_engine_trap",
        "memloupe_engine_trap:",
        "int3",
        registers = const offset::REGISTERS,
        stack = const offset::STACK_END,
        flags = const offset::FLAGS,
        extended = const offset::EXTENDED_STATE,
        mask = const offset::EXTENDED_MASK,
        optimized = const offset::SAVES_CHANGES_ONLY,
        this = const offset::THIS,
        next = const offset::NEXT,
        pending = const offset::PENDING_SIGNAL,
        behind_trap = const offset::BEHIND_TRAP,
        dispatch = sym dispatch,
    )
}

unsafe extern "C" {
    static memloupe_engine_leaving: u8;
    static memloupe_engine_left: u8;
    static memloupe_engine_trap: u8;
}

/// The part of [`enter`] behind [`dispatch`].
pub(crate) fn leaving() -> std::ops::Range<u64> {
    &raw const memloupe_engine_leaving as u64..&raw const memloupe_engine_left as u64
}

/// An instruction that traps, all registers being the target's.
pub(crate) fn trap() -> u64 {
    &raw const memloupe_engine_trap as u64
}

/// Where the target goes on if `thread` has come to [`enter`] with all registers the target's and its record complete.
pub(crate) fn settled_target(thread: &Thread) -> Option<u64> {
    match thread.exit {
        EXIT_RESUME => Some(thread.start),
        EXIT_INDIRECT => Some(thread.target),
        index if index >= 0 => {
            let exit = ENGINE.lock().cache.exit(index as usize);
            matches!(exit.cause, Cause::Branch).then_some(exit.target)
        }
        _ => None,
    }
}

extern "C" fn dispatch(thread: *mut Thread) {
    // SAFETY: GS points to the state of the calling thread, which nobody else changes but through atomics.
    let thread = unsafe { &mut *thread };
    if thread.bare.swap(0, SeqCst) != 0 && ring::STOPPING.load(SeqCst) {
        thread.park();
    }
    thread.hear_call();
    match thread.exit {
        EXIT_CHUNK_FULL => {
            thread.next_chunk();
            thread.next = thread.resume;
        }
        EXIT_START => {
            begin(thread);
            gate::pass(thread);
            go_on(thread, thread.start, None);
        }
        EXIT_HANDLER => {
            signal::begin_handler(thread);
            go_on(thread, thread.start, None);
        }
        EXIT_RESUME => {
            gate::pass(thread);
            go_on(thread, thread.start, None);
        }
        EXIT_INDIRECT => {
            if thread.may_land() && probe::leave_passed(thread) {
                thread.landed();
            }
            gate::pass(thread);
            go_on_indirectly(thread);
        }
        index => leave_block(thread, index as usize),
    }
    thread.bare.store(u64::from(thread.mode == Mode::Bare), SeqCst);
}

fn begin(thread: &mut Thread) {
    let tid = system::thread_id();
    thread.ring.os_tid.store(tid, Relaxed);
    thread.open_chunk();
    let stack_pointer = thread.registers[register::RSP];
    let start = [
        u64::from(thread.index),
        u64::from(tid),
        u64::from(thread.parent),
        stack_pointer,
    ];
    let is_first = attach::is_first_of_process(thread.index);
    if is_first {
        attach::report_exec(thread);
    }
    thread.event(Event::ThreadStart, &start);
    thread.event(Event::SegmentBase, &[system::fs_base()]);
    if is_first {
        attach::report_mappings(thread);
    }
}

fn leave_block(thread: &mut Thread, index: usize) {
    let exit = ENGINE.lock().cache.exit(index);
    match exit.cause {
        Cause::Branch => {
            gate::pass(thread);
            go_on(thread, exit.target, Some(index));
        }
        Cause::SystemCall { plain, watched } => {
            thread.next = syscall::before(thread, exit.target, plain, watched);
        }
        Cause::AfterSystemCall => {
            syscall::after(thread);
            gate::pass(thread);
            go_on(thread, exit.target, None);
        }
        Cause::Stale => {
            let mut engine = ENGINE.lock();
            engine.cache.remove(exit.target);
            drop(engine);
            go_on(thread, exit.target, None);
        }
        Cause::Enter => {
            probe::enter(thread, exit.target);
            gate::pass(thread);
            let mut engine = ENGINE.lock();
            if resume_at(thread, &mut engine, exit.target, None)
                && let Some(told) = engine.cache.find(thread.mode, exit.target).and_then(|at| at.told)
            {
                thread.next = told as u64;
            }
        }
        Cause::Leave => {
            probe::leave(thread);
            gate::pass(thread);
            let mut engine = ENGINE.lock();
            resume_at(thread, &mut engine, exit.target, None);
        }
    }
}

/// Goes on at `pc`; `from` is the exit that led there directly, if one did.
fn go_on(thread: &mut Thread, pc: u64, from: Option<usize>) {
    if let Some(behind) = syscall::call_page(thread, pc) {
        return go_on(thread, behind, None);
    }
    let mut engine = ENGINE.lock();
    if from.is_none()
        && let Some(&stub) = engine.cache.leave_stubs.get(&pc)
    {
        thread.next = stub as u64;
        return;
    }
    let pointer = from.and_then(|index| engine.cache.exit(index).pointer);
    if resume_at(thread, &mut engine, pc, pointer)
        && let Some(index) = from
        && engine.cache.exit(index).mode == thread.mode
    {
        engine.cache.link(index);
    }
}

/// Goes on where an indirect branch leads, and lets such branches find the way by themselves from then on.
fn go_on_indirectly(thread: &mut Thread) {
    let pc = thread.target;
    if let Some(behind) = syscall::call_page(thread, pc) {
        return go_on(thread, behind, None);
    }
    let pointer = thread.came_with as u8;
    let mut engine = ENGINE.lock();
    let came_in = if pointer == NO_POINTER {
        Mode::Bare
    } else {
        Mode::Recorded
    };
    if let Some(&stub) = engine.cache.leave_stubs.get(&pc) {
        thread.remember(pc, pointer, engine.cache.adapter(stub, pointer));
        thread.next = stub as u64;
    } else if resume_at(thread, &mut engine, pc, Some(pointer))
        && came_in == thread.mode
        && let Some(entry) = engine.cache.find_warm(came_in, pc, pointer)
    {
        thread.remember(pc, pointer, entry);
    }
}

/// Sets the thread to go on at `pc`. Whether a translation was found; if not, the thread is let go.
fn resume_at(thread: &mut Thread, engine: &mut Engine, pc: u64, pointer: Option<u8>) -> bool {
    match engine.entry(thread.mode, pc, pointer) {
        Ok(entry) => {
            thread.next = entry as u64;
            true
        }
        Err(why) => {
            // What the target does from here on is its own: a jump to nowhere must fault there, not here.
            let cause = format!("thread {} runs natively from {pc:#x} on: {why}", thread.index);
            thread.event_with_text(Event::Unobserved, &[0], Some(cause.as_bytes()));
            thread.next = pc;
            false
        }
    }
}
