//! The clock that a native engine's segments begin with, for who compares them with times of other sources.
#![allow(unsafe_code)]

/// The processor's time stamp counter, which is the same on all its cores.
#[must_use]
pub fn clock() -> u64 {
    // SAFETY: every x86-64 processor has the instruction, which reads a register.
    unsafe { std::arch::x86_64::_rdtsc() }
}
