//! memloupe's models behind a C ABI; `include/memloupe.h` is its reference.
//!
//! Every exported function follows one pattern: check the pointers, turn them into references, and leave the rest to
//! safe code inside [`guarded`], which turns errors and panics into a status. Nothing is global but the thread's last
//! error text.

// The C ABI needs raw pointers and unmangled names.
#![allow(unsafe_code)]

mod error;
mod statistics;

use std::ffi::{CStr, c_char};
use std::ptr;

use memloupe_cachesim::{AccessKind, Operand, Run};
use memloupe_hierarchy::{Machine, System};

use error::{Failure, guarded};

pub use error::Status;

/// The largest access, `MEMLOUPE_MAX_ACCESS_BYTES`.
const MAX_ACCESS_BYTES: u32 = 65536;
/// The largest number of owners, `MEMLOUPE_MAX_OWNERS`.
const MAX_OWNERS: u32 = 1 << 24;

/// `memloupe_system`: what the caller's pointer points to.
pub struct Handle {
    system: System,
    // Set while a call is at work: if it panics, the state may be half changed and stays out of use.
    unusable: bool,
}

impl Handle {
    fn usable(&self) -> Result<&System, Failure> {
        if self.unusable {
            Err(Failure::unusable())
        } else {
            Ok(&self.system)
        }
    }

    fn change(&mut self, work: impl FnOnce(&mut System) -> Result<(), Failure>) -> Result<(), Failure> {
        self.usable()?;
        self.unusable = true;
        let result = work(&mut self.system);
        self.unusable = false;
        result
    }
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

/// `memloupe_system_create`.
///
/// # Safety
/// `machine` is NULL or a NUL-terminated text, `system` NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn memloupe_system_create(machine: *const c_char, system: *mut *mut Handle) -> Status {
    // SAFETY: this function's contract is that of `create`.
    unsafe { create(machine, "machine", system, Machine::load) }
}

/// `memloupe_system_create_from_toml`.
///
/// # Safety
/// `toml` is NULL or a NUL-terminated text, `system` NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn memloupe_system_create_from_toml(
    toml: *const c_char,
    system: *mut *mut Handle,
) -> Status {
    // SAFETY: this function's contract is that of `create`.
    unsafe { create(toml, "toml", system, |text| Machine::from_toml("toml", text)) }
}

/// # Safety
/// `text` is NULL or a NUL-terminated text, `system` NULL or writable.
unsafe fn create(
    text: *const c_char,
    name: &'static str,
    system: *mut *mut Handle,
    resolve: impl FnOnce(&str) -> Result<Machine, memloupe_hierarchy::MachineError>,
) -> Status {
    guarded(|| {
        // SAFETY: NULL or writable by contract.
        let out = unsafe { system.as_mut() }.ok_or(Failure::null("system"))?;
        *out = ptr::null_mut();
        if text.is_null() {
            return Err(Failure::null(name));
        }
        // SAFETY: not NULL, so NUL-terminated by contract.
        let text = unsafe { CStr::from_ptr(text) };
        let text = text
            .to_str()
            .map_err(|_| Failure::bad(format!("{name}: not UTF-8")))?;
        let mut system = resolve(text)
            .and_then(|machine| System::new(&machine))
            .map_err(Failure::machine)?;
        system.reserve_owners(1);
        *out = Box::into_raw(Box::new(Handle {
            system,
            unusable: false,
        }));
        Ok(())
    })
}

/// `memloupe_system_destroy`.
///
/// # Safety
/// `system` is NULL or came from a create function and was not destroyed before.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn memloupe_system_destroy(system: *mut Handle) {
    guarded(|| {
        if !system.is_null() {
            // SAFETY: it came from `Box::into_raw` and is not used again, by contract.
            drop(unsafe { Box::from_raw(system) });
        }
        Ok(())
    });
}

/// `memloupe_system_core_count`.
///
/// # Safety
/// `system` is NULL or alive, `core_count` NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn memloupe_system_core_count(system: *const Handle, core_count: *mut u32) -> Status {
    guarded(|| {
        // SAFETY: NULL or alive by contract.
        let handle = unsafe { system.as_ref() }.ok_or(Failure::null("system"))?;
        // SAFETY: NULL or writable by contract.
        let out = unsafe { core_count.as_mut() }.ok_or(Failure::null("core_count"))?;
        *out = handle.usable()?.machine().core.count;
        Ok(())
    })
}

/// `memloupe_system_reserve_owners`.
///
/// # Safety
/// `system` is NULL or alive and used by no other thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn memloupe_system_reserve_owners(system: *mut Handle, owner_count: u32) -> Status {
    guarded(|| {
        // SAFETY: NULL or alive and ours alone by contract.
        let handle = unsafe { system.as_mut() }.ok_or(Failure::null("system"))?;
        if owner_count > MAX_OWNERS {
            return Err(Failure::bad(format!(
                "owner_count: {owner_count} is more than {MAX_OWNERS}"
            )));
        }
        handle.change(|system| {
            system.reserve_owners(owner_count as usize);
            Ok(())
        })
    })
}

/// `memloupe_system_access`.
///
/// # Safety
/// `system` is NULL or alive and used by no other thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn memloupe_system_access(
    system: *mut Handle,
    core: u32,
    address: u64,
    size_bytes: u32,
    kind: u32,
    owner: u32,
) -> Status {
    guarded(|| {
        // SAFETY: NULL or alive and ours alone by contract.
        let handle = unsafe { system.as_mut() }.ok_or(Failure::null("system"))?;
        handle.change(|system| {
            let kind = u8::try_from(kind)
                .ok()
                .and_then(|kind| AccessKind::try_from(kind).ok())
                .ok_or_else(|| Failure::bad(format!("kind: {kind} is no memloupe_access_kind")))?;
            if core as usize >= system.cores() {
                return Err(Failure::bad(format!("core: {core} of {}", system.cores())));
            }
            if owner as usize >= system.owner_count() {
                return Err(Failure::bad(format!(
                    "owner: {owner} of {}",
                    system.owner_count()
                )));
            }
            if !(1..=MAX_ACCESS_BYTES).contains(&size_bytes) {
                return Err(Failure::bad(format!(
                    "size_bytes: {size_bytes} is not from 1 to {MAX_ACCESS_BYTES}"
                )));
            }
            if address.checked_add(u64::from(size_bytes) - 1).is_none() {
                return Err(Failure::bad(format!(
                    "address: {address:#x} + {size_bytes} B wraps around"
                )));
            }
            let operand = Operand {
                address,
                stride: 0,
                bytes: size_bytes,
                kind,
                owner,
            };
            system.run(
                core as usize,
                Run {
                    operands: &[operand],
                    iterations: 1,
                },
            );
            Ok(())
        })
    })
}

/// `memloupe_system_flush`.
///
/// # Safety
/// `system` is NULL or alive and used by no other thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn memloupe_system_flush(system: *mut Handle) -> Status {
    guarded(|| {
        // SAFETY: NULL or alive and ours alone by contract.
        let handle = unsafe { system.as_mut() }.ok_or(Failure::null("system"))?;
        handle.change(|system| {
            system.flush();
            Ok(())
        })
    })
}

/// `memloupe_system_statistics_json`.
///
/// # Safety
/// `system` is NULL or alive, `buffer` NULL or writable for `capacity_bytes`, `needed_bytes` NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn memloupe_system_statistics_json(
    system: *const Handle,
    buffer: *mut c_char,
    capacity_bytes: usize,
    needed_bytes: *mut usize,
) -> Status {
    guarded(|| {
        // SAFETY: NULL or alive by contract.
        let handle = unsafe { system.as_ref() }.ok_or(Failure::null("system"))?;
        // SAFETY: NULL or writable by contract.
        let needed = unsafe { needed_bytes.as_mut() }.ok_or(Failure::null("needed_bytes"))?;
        if buffer.is_null() && capacity_bytes > 0 {
            return Err(Failure::null("buffer"));
        }
        let text = statistics::to_json(handle.usable()?);
        *needed = text.len() + 1;
        if capacity_bytes < *needed {
            return Err(Failure::too_small(capacity_bytes, *needed));
        }
        // SAFETY: the buffer is not NULL, since its capacity is not 0, and by contract writable for that capacity,
        // which holds the text and its NUL; our own text cannot overlap it.
        unsafe {
            ptr::copy_nonoverlapping(text.as_ptr(), buffer.cast(), text.len());
            buffer.add(text.len()).write(0);
        }
        Ok(())
    })
}
