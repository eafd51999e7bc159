//! What the kernel does by the address that it finds a thread at, or by the return addresses that `call` pushes, it can't do
//! for translated code. It is turned off before the target begins, and refused from then on, as by a kernel that lacks it:
//! programs have another way for those.
//!
//! Restartable sequences (rseq): the kernel restarts a sequence that it has interrupted if the thread is inside of it; a
//! thread in the translation never is, so two threads could be in the sequence of one CPU. Shadow stacks (CET): translated
//! calls push return addresses and jump, and leave no copy of them for `ret` to compare.

use crate::{heap, system};
use system::number;

const ENOSYS: i64 = -38;
const EOPNOTSUPP: i64 = -95;
const EPERM: isize = -1;

const ARCH_SHSTK_ENABLE: u64 = 0x5001;
const ARCH_SHSTK_DISABLE: usize = 0x5002;
const SHSTK_SHSTK: usize = 1;

/// `RSEQ_SIG` of x86, which every user of them passes.
const SEQUENCE_SIGNATURE: usize = 0x5305_3053;
const RSEQ_FLAG_UNREGISTER: usize = 1;
/// `RSEQ_CPU_ID_REGISTRATION_FAILED`: the C library does not try for new threads if the first one's area says so.
const REGISTRATION_FAILED: u32 = (-2_i32).cast_unsigned();
/// Where `cpu_id` lies in the area.
const CPU_ID_OFFSET: u64 = 4;

/// Turns off what was turned on for the first thread.
///
/// # Errors
/// Why it can't be: the target would not run as it does natively.
pub(crate) fn withhold() -> Result<(), &'static str> {
    // SAFETY: the stack goes on without a shadow; a kernel or CPU that has none refuses.
    let result = unsafe { system::call3(number::ARCH_PRCTL, ARCH_SHSTK_DISABLE, SHSTK_SHSTK, 0) };
    if result == EPERM {
        return Err("its shadow stack is locked; turn it off with GLIBC_TUNABLES=glibc.cpu.x86_shstk=off");
    }
    if !unregister_sequences() {
        return Err(
            "its restartable sequences can't be turned off; turn them off with GLIBC_TUNABLES=glibc.pthread.rseq=0",
        );
    }
    Ok(())
}

/// Whether the C library's area of the calling thread is not registered any more.
fn unregister_sequences() -> bool {
    let offset = heap::symbol(c"__rseq_offset") as *const i64;
    if offset.is_null() {
        return true;
    }
    // SAFETY: the C library's constant, set before any constructor runs.
    let area = system::fs_base().wrapping_add_signed(unsafe { *offset });
    let cpu_id = (area + CPU_ID_OFFSET) as *mut u32;
    // SAFETY: the area is there whether it is registered or not; only this thread and the kernel write to it.
    if unsafe { cpu_id.read_volatile() }.cast_signed() < 0 {
        return true;
    }
    // Registered with the size of the area, a multiple of 32 bytes that the C library does not tell.
    let is_off = (32..=512).step_by(32).any(|bytes| {
        let arguments = [
            area as usize,
            bytes,
            RSEQ_FLAG_UNREGISTER,
            SEQUENCE_SIGNATURE,
            0,
            0,
        ];
        // SAFETY: the kernel forgets the area, or refuses.
        unsafe { system::call(number::RSEQ, arguments) == 0 }
    });
    if is_off {
        // SAFETY: as above.
        unsafe { cpu_id.write_volatile(REGISTRATION_FAILED) };
    }
    is_off
}

/// What a system call of the target returns that would turn something on; `None` for all others.
pub(crate) fn refuse(call: usize, first_argument: u64) -> Option<i64> {
    match call {
        number::RSEQ => Some(ENOSYS),
        number::ARCH_PRCTL if first_argument == ARCH_SHSTK_ENABLE => Some(EOPNOTSUPP),
        _ => None,
    }
}
