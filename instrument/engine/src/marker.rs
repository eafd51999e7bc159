//! What the marker API (`instrument/markers`) calls: being called is all that counts, and the arguments are read by probes
//! like those of any function. Each has code of its own, long enough for a jump to be put in its place.

use std::arch::naked_asm;
use std::ffi::{c_char, c_void};

/// Exported functions that do nothing.
macro_rules! markers {
    ($($(#[$doc:meta])* $name:ident($($argument:ident: $type:ty),*) = $number:literal;)*) => {$(
        $(#[$doc])*
        #[unsafe(naked)]
        #[unsafe(no_mangle)]
        pub(crate) extern "C" fn $name($($argument: $type),*) {
            naked_asm!("nop dword ptr [rax + rax + {number}]", "nop", "ret", number = const $number)
        }
    )*};
}

markers! {
    /// An operator begins on the calling thread: kind, name, layer, shape, element type.
    memloupe_marker_operator_begin(
        _kind: *const c_char, _name: *const c_char, _layer: *const c_char, _shape: *const c_char,
        _element_type: *const c_char
    ) = 1;
    /// The thread's innermost operator ends.
    memloupe_marker_operator_end() = 2;
    /// A phase of the process begins.
    memloupe_marker_phase_begin(_name: *const c_char, _number: i64) = 3;
    /// The innermost phase ends.
    memloupe_marker_phase_end() = 4;
    /// Memory gets a name.
    memloupe_marker_object(_class: *const c_char, _name: *const c_char, _address: *const c_void, _bytes: u64) = 5;
    /// Memory loses its name.
    memloupe_marker_object_end(_address: *const c_void) = 6;
    /// A region begins on the calling thread.
    memloupe_marker_region_begin(_name: *const c_char) = 7;
    /// A region ends on the calling thread.
    memloupe_marker_region_end(_name: *const c_char) = 8;
}
