//! What `include/memloupe_markers.h` calls: being called is all that counts. Each is long enough for a jump to be put in
//! its place.

use std::arch::naked_asm;
use std::ffi::c_char;

/// A region begins on the calling thread.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub(crate) extern "C" fn memloupe_region_begin(_name: *const c_char) {
    naked_asm!("nop dword ptr [rax + rax]", "nop", "ret")
}

/// A region ends on the calling thread.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub(crate) extern "C" fn memloupe_region_end(_name: *const c_char) {
    naked_asm!("nop dword ptr [rax + rax]", "nop", "nop", "ret")
}
