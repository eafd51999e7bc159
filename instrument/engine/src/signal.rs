//! Signals. The target's handlers are installed behind one of ours, which decides how each delivery goes on:
//!
//! - **translated**, with the context that the handler would see natively, where the interrupted place has one: a fault of a
//!   copied instruction, or a system call that was interrupted. The handler may change the context or `siglongjmp`;
//!   when it returns, the thread goes on at whatever the context then says. A fault ends its block's record: what the
//!   block did before the faulting instruction is counted as a lost record.
//! - **natively** everywhere else: the handler is unobserved and sees addresses of the code cache. A `siglongjmp` from
//!   there leaves the thread native for good.
//!
//! A fault inside the engine ends the process with a line that says where.

use std::arch::{asm, naked_asm};
use std::mem::offset_of;
use std::ptr;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use crate::dispatch::{self, EXIT_RESUME};
use crate::system::number;
use crate::thread::{Thread, register};
use crate::{ENGINE, stream, system};

const SIGNALS: usize = 65;
const SIGILL: usize = 4;
const SIGBUS: usize = 7;
const SIGFPE: usize = 8;
const SIGSEGV: usize = 11;
const FAULTS: [usize; 4] = [SIGILL, SIGBUS, SIGFPE, SIGSEGV];
const DEFAULT: u64 = 0;
const IGNORE: u64 = 1;
const SA_SIGINFO: u64 = 4;
const SA_NODEFER: u64 = 0x4000_0000;
const SA_RESTORER: u64 = 0x0400_0000;
const SA_ONSTACK: u64 = 0x0800_0000;

/// `struct kernel_sigaction` of x86-64 Linux.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Action {
    handler: u64,
    flags: u64,
    restorer: u64,
    mask: u64,
}

const ACTION_BYTES: usize = 32;
const MASK_BYTES: usize = 8;
/// `gregs` in a `ucontext_t`, and places in it.
const REGISTERS_OFFSET: u64 = 40;
const CONTEXT_RIP: usize = 16;
const CONTEXT_RSP: usize = 15;
const CONTEXT_RCX: usize = 14;
/// Place in `gregs` of each general register, by encoding number.
const CONTEXT_PLACES: [usize; 16] = [13, 14, 12, 11, 15, 10, 9, 8, 0, 1, 2, 3, 4, 5, 6, 7];

/// What the target has asked for, where it is not what the kernel knows: each signal's handler and flags. Atomics, because
/// a handler must not wait for a lock.
struct Asked {
    handler: [AtomicU64; SIGNALS],
    flags: [AtomicU64; SIGNALS],
}

static ASKED: Asked = Asked {
    handler: [const { AtomicU64::new(DEFAULT) }; SIGNALS],
    flags: [const { AtomicU64::new(0) }; SIGNALS],
};

/// Watches the signals that a fault of the engine itself would raise.
pub(crate) fn watch_faults() {
    for signal in FAULTS {
        let mut present = Action::default();
        let ours = Action {
            handler: deliver as *const () as u64,
            flags: SA_SIGINFO | SA_NODEFER | SA_RESTORER | SA_ONSTACK,
            restorer: restore as *const () as u64,
            mask: 0,
        };
        // SAFETY: the kernel writes one action; ours stays valid for the process's life.
        unsafe {
            set_action(signal, ptr::null(), &mut present);
            if present.handler == DEFAULT {
                set_action(signal, &ours, ptr::null_mut());
            }
        }
    }
}

/// # Safety
/// The pointers are null or point to an action.
unsafe fn set_action(signal: usize, new: *const Action, old: *mut Action) -> isize {
    // SAFETY: as the caller promises.
    unsafe {
        system::call(
            number::RT_SIGACTION,
            [signal, new as usize, old as usize, MASK_BYTES, 0, 0],
        )
    }
}

/// The target's `rt_sigaction`: returns its result.
pub(crate) fn change_action(signal: u64, new: u64, old: u64) -> isize {
    const BAD_ADDRESS: isize = -14;
    let Some(asked) = ASKED.handler.get(signal as usize) else {
        const INVALID: isize = -22;
        return INVALID;
    };
    let signal = signal as usize;
    let mut wanted = Action::default();
    if new != 0 {
        let mut bytes = [0; ACTION_BYTES];
        if !system::read_memory(new, &mut bytes) {
            return BAD_ADDRESS;
        }
        let word = |place: usize| {
            u64::from_le_bytes(bytes[place * 8..place * 8 + 8].try_into().expect("eight bytes"))
        };
        wanted = Action {
            handler: word(0),
            flags: word(1),
            restorer: word(2),
            mask: word(3),
        };
    }
    let mut installed = wanted;
    let is_function = wanted.handler != DEFAULT && wanted.handler != IGNORE;
    if is_function {
        installed.handler = deliver as *const () as u64;
        installed.flags |= SA_SIGINFO;
    } else if wanted.handler == DEFAULT && FAULTS.contains(&signal) {
        installed.handler = deliver as *const () as u64;
        installed.flags = SA_SIGINFO | SA_NODEFER | SA_RESTORER | SA_ONSTACK;
        installed.restorer = restore as *const () as u64;
    }
    let mut present = Action::default();
    let (before_handler, before_flags) = (asked.load(Acquire), ASKED.flags[signal].load(Acquire));
    if new != 0 {
        ASKED.flags[signal].store(wanted.flags, Release);
        asked.store(wanted.handler, Release);
    }
    // SAFETY: both point to actions of ours.
    let result = unsafe {
        set_action(
            signal,
            if new == 0 { ptr::null() } else { &installed },
            &mut present,
        )
    };
    if result != 0 {
        asked.store(before_handler, Release);
        ASKED.flags[signal].store(before_flags, Release);
        return result;
    }
    if old != 0 {
        if present.handler == deliver as *const () as u64 {
            present.handler = before_handler;
            present.flags = before_flags;
        }
        let mut probe = [0; ACTION_BYTES];
        if !system::read_memory(old, &mut probe) {
            return BAD_ADDRESS;
        }
        // SAFETY: the target's own buffer, which was there a moment ago; it may be unaligned.
        unsafe { (old as *mut Action).write_unaligned(present) };
    }
    0
}

#[unsafe(naked)]
extern "C" fn restore() {
    naked_asm!("mov eax, 15", "syscall")
}

/// What the kernel calls. The stack is as the target's handler would find it: the handler is jumped to.
#[unsafe(naked)]
extern "C" fn deliver() {
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

/// How a delivery goes on: `NOTHING`, `TRANSLATED`, or the address of a handler to run natively.
extern "C" fn decide(signal: usize, info: *const u8, context: u64) -> u64 {
    const CODE_OFFSET: usize = 8;
    let handler = ASKED.handler[signal].load(Acquire);
    let registers = (context + REGISTERS_OFFSET) as *mut u64;
    // SAFETY: the kernel's context of this delivery.
    let (rip, rsp) = unsafe { (*registers.add(CONTEXT_RIP), *registers.add(CONTEXT_RSP)) };
    // SAFETY: as above; `si_code` is positive for what the kernel raises itself.
    let is_fault = FAULTS.contains(&signal) && unsafe { info.add(CODE_OFFSET).cast::<i32>().read() } > 0;
    let thread = current();
    if let Some(thread) = &thread
        && is_fault
        && thread.is_engine_stack(rsp)
    {
        system::fatal(format_args!(
            "signal {signal} inside the engine at {rip:#x} (library at {:#x}), thread {}, translating or serving {:#x}",
            restore as *const () as u64,
            thread.index,
            thread.target_address(),
        ));
    }
    if handler == DEFAULT || handler == IGNORE {
        // Ours is installed for the engine's sake only: what would happen without it happens now.
        let default = Action::default();
        // SAFETY: the action is ours; the signal goes to this thread.
        unsafe {
            set_action(signal, &default, ptr::null_mut());
            if !is_fault {
                let process = system::process_id() as usize;
                system::call3(number::TGKILL, process, system::thread_id() as usize, signal);
            }
        }
        return NOTHING;
    }
    let Some(thread) = thread else { return handler };
    stream::header().signals_delivered.fetch_add(1, Relaxed);
    if thread.is_engine_stack(rsp) || !(is_fault || thread.in_kernel.load(Acquire) != 0) {
        return handler;
    }
    let Some(place) = ENGINE.lock().cache.place(rip as usize) else {
        return handler;
    };
    // SAFETY: the kernel's context of this delivery; the kernel restores from it what the handler leaves there.
    unsafe {
        *registers.add(CONTEXT_RIP) = place.address;
        match place.pointer {
            Some(pointer) => {
                *registers.add(CONTEXT_PLACES[usize::from(pointer)]) = thread.spilled();
                stream::header().lost_records.fetch_add(1, Relaxed);
            }
            None if thread.in_kernel.load(Acquire) != 0 => *registers.add(CONTEXT_RCX) = place.address,
            None => {}
        }
    }
    thread.in_kernel.store(0, Release);
    thread.exit = EXIT_RESUME;
    thread.start = handler;
    TRANSLATED
}

/// The target's `rt_sigreturn`: whatever the context says, the thread comes to the dispatcher first.
pub(crate) fn before_return(thread: &mut Thread) {
    let registers = (thread.registers[register::RSP] + REGISTERS_OFFSET) as *mut u64;
    // SAFETY: the frame that the kernel is about to restore from; it is the target's stack, which is mapped.
    unsafe {
        let rip = registers.add(CONTEXT_RIP);
        thread.start = *rip;
        *rip = dispatch::enter as *const () as u64;
    }
    thread.exit = EXIT_RESUME;
}

const _: () = assert!(size_of::<Action>() == ACTION_BYTES && offset_of!(Action, mask) == 24);
