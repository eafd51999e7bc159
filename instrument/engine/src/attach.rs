//! Start-up: from the loader's call of our constructor to the first translated instruction.

use std::arch::naked_asm;
use std::ffi::c_char;
use std::ptr;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::{Acquire, Release, SeqCst};

use crate::dispatch::{self, EXIT_START};
use crate::maps::PROTECTION_EXECUTE;
use crate::ring::Event;
use crate::stream::{self, FD_VARIABLE, RING_LIVE, Role};
use crate::thread::{self, Thread};
use crate::translator::Translator;
use crate::{ENGINE, action, environment, heap, probe, signal, system, withheld};

/// The thread that brings the process's mappings into the stream.
static FIRST_THREAD: AtomicU32 = AtomicU32::new(u32::MAX);

/// The constructor: `(argc, argv, envp)`. Where it would return to its caller, the target goes on translated.
#[unsafe(naked)]
pub(crate) extern "C" fn start() {
    naked_asm!(
        "push rbx",
        "call {prepare}",
        "pop rbx",
        "test rax, rax",
        "jz 2f",
        "wrgsbase rax",
        "mov rax, [rsp]",
        "mov gs:[{start}], rax",
        "lea rsp, [rsp+8]",
        "jmp {enter}",
        "2: ret",
        start = const std::mem::offset_of!(Thread, start),
        prepare = sym prepare,
        enter = sym dispatch::enter,
    )
}

/// Attaches to the stream. The state of the calling thread, or null to run natively.
extern "C" fn prepare(_: i32, _: *const *const c_char, environment: *const *const c_char) -> *mut Thread {
    // SAFETY: the loader passes the process's environment.
    let Some(descriptor) = (unsafe { environment::variable(environment, FD_VARIABLE) }) else {
        return ptr::null_mut();
    };
    std::panic::set_hook(Box::new(|panic| system::fatal(format_args!("{panic}"))));
    let number = str::from_utf8(descriptor).ok().and_then(|text| text.parse().ok());
    let Some(descriptor) = number else {
        system::warn(format_args!(
            "{FD_VARIABLE} is not a number: {}; the target runs without being recorded",
            descriptor.escape_ascii()
        ));
        return ptr::null_mut();
    };
    // SAFETY: the auxiliary vector lies behind the environment.
    if !unsafe { has_fsgsbase(environment) } {
        system::warn(format_args!(
            "the native engine needs the FSGSBASE instructions (Linux 5.9); the target runs without being recorded"
        ));
        return ptr::null_mut();
    }
    match stream::attach(descriptor) {
        Err(what) => {
            system::warn(format_args!("{what}"));
            return ptr::null_mut();
        }
        Ok(Role::Descendant | Role::Stranger) => return ptr::null_mut(),
        Ok(Role::Target) => {}
        Ok(Role::Continuation) => end_former_threads(),
    }
    if let Err(why) = withheld::withhold() {
        system::warn(format_args!("the target runs without being recorded: {why}"));
        return ptr::null_mut();
    }
    // SAFETY: as above.
    unsafe { environment::keep(environment) };
    let mut engine = ENGINE.lock();
    engine.translator = Some(Translator::new());
    heap::find_functions(&mut engine);
    signal::note_library(&mut engine);
    probe::find_jumps(&mut engine);
    drop(engine);
    action::watch_faults();
    let Some(thread) = thread::claim(0) else {
        system::warn(format_args!(
            "the stream has no free ring; the target runs without being recorded"
        ));
        return ptr::null_mut();
    };
    // SAFETY: just claimed for this thread.
    unsafe {
        (*thread).ring.os_tid.store(system::thread_id(), SeqCst);
        (*thread).exit = EXIT_START;
        FIRST_THREAD.store((*thread).index, SeqCst);
    }
    thread
}

/// Whether `index` is the thread that began this process image.
pub(crate) fn is_first_of_process(index: u32) -> bool {
    FIRST_THREAD.load(SeqCst) == index
}

/// Tells that the process has called `exec`, if it has.
pub(crate) fn report_exec(thread: &Thread) {
    if thread.index > 0 {
        thread.event_with_text(Event::Exec, &[], Some(&system::read_link(b"/proc/self/exe\0")));
    }
}

/// Tells of all that is mapped at the start, and takes in the probes of the modules.
pub(crate) fn report_mappings(thread: &Thread) {
    let mappings = ENGINE.lock().maps.all().to_vec();
    for mapping in &mappings {
        let bytes = mapping.range.end - mapping.range.start;
        let payload = [
            mapping.range.start,
            bytes,
            mapping.protection,
            mapping.kind(),
            mapping.offset,
            0,
        ];
        thread.event_with_text(Event::Map, &payload, Some(&mapping.path));
    }
    if mappings
        .iter()
        .any(|mapping| mapping.protection & PROTECTION_EXECUTE != 0)
    {
        thread.sync();
        probe::take_in(&mut ENGINE.lock());
    }
}

/// After `exec`: what the old image's threads left open is closed; their state points to memory that is gone.
fn end_former_threads() {
    for place in stream::claimed() {
        // SAFETY: a ring of the mapping whose thread is gone.
        unsafe {
            (*place).forget_resources();
            if (*place).ring.state.load(Acquire) == RING_LIVE {
                (*place).close_abandoned_chunk();
                (*place).ring.state.store(stream::RING_ENDED, Release);
            }
        }
    }
    stream::ring_doorbell();
}

/// Whether user code may use `rdgsbase` and its kin.
///
/// # Safety
/// `environment` is the process's, with the auxiliary vector behind it.
unsafe fn has_fsgsbase(environment: *const *const c_char) -> bool {
    const AT_HWCAP2: u64 = 26;
    const HWCAP2_FSGSBASE: u64 = 2;
    let mut entry = environment;
    // SAFETY: as the caller promises.
    unsafe {
        while !(*entry).is_null() {
            entry = entry.add(1);
        }
        let mut pair = entry.add(1).cast::<u64>();
        while *pair != 0 {
            if *pair == AT_HWCAP2 {
                return *pair.add(1) & HWCAP2_FSGSBASE != 0;
            }
            pair = pair.add(2);
        }
    }
    false
}
