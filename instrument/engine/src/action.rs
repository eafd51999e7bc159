//! Signal actions: what the target has asked for, and what is installed instead. Every handler of the target stands
//! behind one of the engine's (`signal`), which runs with all signals blocked but those that a fault raises.

use std::mem::offset_of;
use std::ptr;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Acquire, Release};

use crate::system::number;
use crate::{signal, system};

const SIGNALS: usize = 65;
const SIGILL: usize = 4;
pub(crate) const SIGTRAP: usize = 5;
const SIGBUS: usize = 7;
const SIGFPE: usize = 8;
const SIGSEGV: usize = 11;
/// What an instruction can raise.
pub(crate) const SYNCHRONOUS: [usize; 5] = [SIGILL, SIGTRAP, SIGBUS, SIGFPE, SIGSEGV];
/// All others, as a set of signals.
pub(crate) const ASYNCHRONOUS: u64 = !(bit(SIGILL) | bit(SIGTRAP) | bit(SIGBUS) | bit(SIGFPE) | bit(SIGSEGV));
pub(crate) const DEFAULT: u64 = 0;
pub(crate) const IGNORE: u64 = 1;
const SA_SIGINFO: u64 = 4;
const SA_NODEFER: u64 = 0x4000_0000;
const SA_RESETHAND: u64 = 0x8000_0000;
const SA_RESTORER: u64 = 0x0400_0000;
const SA_ONSTACK: u64 = 0x0800_0000;
const MASK_BYTES: usize = 8;
const ACTION_BYTES: usize = 32;

/// A signal in a set of signals.
const fn bit(signal: usize) -> u64 {
    1 << (signal - 1)
}

/// `struct kernel_sigaction` of x86-64 Linux.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Action {
    handler: u64,
    flags: u64,
    restorer: u64,
    mask: u64,
}

const _: () = assert!(size_of::<Action>() == ACTION_BYTES && offset_of!(Action, mask) == 24);

/// What the target has asked for. Atomics, because a handler must not wait for a lock.
struct Asked {
    handler: AtomicU64,
    flags: AtomicU64,
    mask: AtomicU64,
}

static ASKED: [Asked; SIGNALS] = [const {
    Asked {
        handler: AtomicU64::new(DEFAULT),
        flags: AtomicU64::new(0),
        mask: AtomicU64::new(0),
    }
}; SIGNALS];

/// The handler that the target has asked for, or [`DEFAULT`] or [`IGNORE`].
pub(crate) fn handler(signal: usize) -> u64 {
    ASKED[signal].handler.load(Acquire)
}

/// What the target's handler blocks beside what is blocked already.
pub(crate) fn blocked_by_handler(signal: usize) -> u64 {
    let asked = &ASKED[signal];
    let own = if asked.flags.load(Acquire) & SA_NODEFER == 0 {
        bit(signal)
    } else {
        0
    };
    asked.mask.load(Acquire) | own
}

/// A handler is about to run: forgets it if it was asked for one delivery only.
pub(crate) fn use_up(signal: usize) {
    if ASKED[signal].flags.load(Acquire) & SA_RESETHAND != 0 {
        ASKED[signal].handler.store(DEFAULT, Release);
        set_default(signal);
        if SYNCHRONOUS.contains(&signal) {
            watch(signal);
        }
    }
}

/// Watches the signals that a fault of the engine itself would raise.
pub(crate) fn watch_faults() {
    for signal in SYNCHRONOUS {
        let mut present = Action::default();
        // SAFETY: the kernel writes one action.
        unsafe { set(signal, ptr::null(), &mut present) };
        if present.handler == DEFAULT {
            watch(signal);
        }
    }
}

/// Lets the kernel do what it does by default.
pub(crate) fn set_default(signal: usize) {
    // SAFETY: the action is ours.
    unsafe { set(signal, &Action::default(), ptr::null_mut()) };
}

fn watch(signal: usize) {
    // SAFETY: the action is ours; the handler stays for the process's life.
    unsafe { set(signal, &watching(), ptr::null_mut()) };
}

fn watching() -> Action {
    Action {
        handler: signal::deliver as *const () as u64,
        flags: SA_SIGINFO | SA_NODEFER | SA_RESTORER | SA_ONSTACK,
        restorer: signal::restore as *const () as u64,
        mask: ASYNCHRONOUS,
    }
}

/// # Safety
/// The pointers are null or point to an action.
unsafe fn set(signal: usize, new: *const Action, old: *mut Action) -> isize {
    // SAFETY: as the caller promises.
    unsafe {
        system::call(
            number::RT_SIGACTION,
            [signal, new as usize, old as usize, MASK_BYTES, 0, 0],
        )
    }
}

/// The target's `rt_sigaction`: returns its result.
pub(crate) fn change(signal: u64, new: u64, old: u64, mask_bytes: u64) -> isize {
    const BAD_ADDRESS: isize = -14;
    const INVALID: isize = -22;
    let signal = signal as usize;
    let Some(asked) = ASKED.get(signal).filter(|_| mask_bytes == MASK_BYTES as u64) else {
        return INVALID;
    };
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
    if wanted.handler != DEFAULT && wanted.handler != IGNORE {
        installed.handler = signal::deliver as *const () as u64;
        installed.flags = (wanted.flags | SA_SIGINFO | SA_NODEFER) & !SA_RESETHAND;
        installed.mask = ASYNCHRONOUS;
    } else if wanted.handler == DEFAULT && SYNCHRONOUS.contains(&signal) {
        installed = watching();
    }
    let mut present = Action::default();
    let before = Action {
        handler: asked.handler.load(Acquire),
        flags: asked.flags.load(Acquire),
        restorer: 0,
        mask: asked.mask.load(Acquire),
    };
    let note = |action: &Action| {
        asked.flags.store(action.flags, Release);
        asked.mask.store(action.mask, Release);
        asked.handler.store(action.handler, Release);
    };
    if new != 0 {
        note(&wanted);
    }
    let to_install = if new == 0 {
        ptr::null()
    } else {
        &raw const installed
    };
    // SAFETY: both point to actions of ours.
    let result = unsafe { set(signal, to_install, &mut present) };
    if result != 0 {
        note(&before);
        return result;
    }
    if old != 0 {
        if present.handler == signal::deliver as *const () as u64 {
            let restorer = if before.handler == DEFAULT {
                0
            } else {
                present.restorer
            };
            present = Action { restorer, ..before };
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
