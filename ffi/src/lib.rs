//! memloupe's models behind a C ABI; `include/memloupe.h` is its reference, with a module here for each of its parts.
//!
//! The crate is of use through its C libraries; the modules are public for the tests that hold the header against them.
//!
//! Every exported function follows one pattern: turn the pointers into references, look into the handle, and leave the
//! rest to safe code, all inside a `call` or `make` of [`handle`] or [`guarded`](error::guarded), which turns errors and
//! panics into a status. Nothing is global but the thread's last error text.

// The C ABI needs raw pointers and unmangled names.
#![allow(unsafe_code)]

mod argument;
pub mod error;
pub mod handle;
pub mod memory;
pub mod reader;
mod statistics;
pub mod system;

use std::ffi::{CStr, c_char};

/// `MEMLOUPE_ABI_VERSION`.
pub const ABI_VERSION: u32 = 2;

/// `memloupe_abi_version`.
#[unsafe(no_mangle)]
pub extern "C" fn memloupe_abi_version() -> u32 {
    ABI_VERSION
}

/// `memloupe_version`.
#[unsafe(no_mangle)]
pub extern "C" fn memloupe_version() -> *const c_char {
    const VERSION: &CStr =
        match CStr::from_bytes_with_nul(concat!(env!("CARGO_PKG_VERSION"), "\0").as_bytes()) {
            Ok(version) => version,
            Err(_) => panic!("a version holds no NUL"),
        };
    VERSION.as_ptr()
}

/// `memloupe_last_error`.
#[unsafe(no_mangle)]
pub extern "C" fn memloupe_last_error() -> *const c_char {
    error::last_error()
}
