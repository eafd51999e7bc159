//! Arguments: pointers that the caller gives become references, texts and slices, or a status.

use std::ffi::{CStr, c_char};

use crate::error::Failure;

/// What an argument points to.
///
/// # Safety
/// `pointer` is NULL or points to a readable `T` that does not change for `'a`.
pub(crate) unsafe fn input<'a, T>(pointer: *const T, name: &str) -> Result<&'a T, Failure> {
    // SAFETY: this function's contract.
    unsafe { pointer.as_ref() }.ok_or_else(|| Failure::null(name))
}

/// Where a result goes.
///
/// # Safety
/// `pointer` is NULL or points to a `T` that is the callee's alone for `'a`.
pub(crate) unsafe fn output<'a, T>(pointer: *mut T, name: &str) -> Result<&'a mut T, Failure> {
    // SAFETY: this function's contract.
    unsafe { pointer.as_mut() }.ok_or_else(|| Failure::null(name))
}

/// A text.
///
/// # Safety
/// `pointer` is NULL or a NUL-terminated text that does not change for `'a`.
pub(crate) unsafe fn text<'a>(pointer: *const c_char, name: &str) -> Result<&'a str, Failure> {
    if pointer.is_null() {
        return Err(Failure::null(name));
    }
    // SAFETY: not NULL, so NUL-terminated by contract.
    unsafe { CStr::from_ptr(pointer) }
        .to_str()
        .map_err(|_| Failure::bad(format!("{name}: not UTF-8")))
}

/// A text that may be left out.
///
/// # Safety
/// As [`text`].
pub(crate) unsafe fn optional_text<'a>(pointer: *const c_char, name: &str) -> Result<&'a str, Failure> {
    if pointer.is_null() {
        return Ok("");
    }
    // SAFETY: this function's contract.
    unsafe { text(pointer, name) }
}

/// Bytes or records.
///
/// # Safety
/// `pointer` is NULL or readable for `count` values that do not change for `'a`.
pub(crate) unsafe fn slice<'a, T>(pointer: *const T, count: usize, name: &str) -> Result<&'a [T], Failure> {
    if count == 0 {
        return Ok(&[]);
    }
    check_extent::<T>(pointer.is_null(), count, name)?;
    // SAFETY: not NULL, and of a size that there can be; the rest is this function's contract.
    Ok(unsafe { std::slice::from_raw_parts(pointer, count) })
}

/// Room for bytes or records.
///
/// # Safety
/// `pointer` is NULL or writable for `count` initialised values that are the callee's alone for `'a`.
pub(crate) unsafe fn room<'a, T>(pointer: *mut T, count: usize, name: &str) -> Result<&'a mut [T], Failure> {
    if count == 0 {
        return Ok(&mut []);
    }
    check_extent::<T>(pointer.is_null(), count, name)?;
    // SAFETY: not NULL, and of a size that there can be; the rest is this function's contract.
    Ok(unsafe { std::slice::from_raw_parts_mut(pointer, count) })
}

fn check_extent<T>(is_null: bool, count: usize, name: &str) -> Result<(), Failure> {
    if is_null {
        return Err(Failure::null(name));
    }
    let most = isize::MAX as usize / size_of::<T>().max(1);
    if count > most {
        return Err(Failure::bad(format!(
            "{name}: no memory has room for {count} of them"
        )));
    }
    Ok(())
}

/// Writes `bytes` to the caller's buffer if they fit, and what they need in any case.
///
/// # Safety
/// `buffer` is NULL or writable for `capacity_bytes`, `needed_bytes` NULL or writable.
pub(crate) unsafe fn give(
    bytes: &[u8],
    buffer: *mut u8,
    capacity_bytes: usize,
    needed_bytes: *mut usize,
) -> Result<(), Failure> {
    // SAFETY: this function's contract.
    let needed = unsafe { output(needed_bytes, "needed_bytes") }?;
    if buffer.is_null() && capacity_bytes > 0 {
        return Err(Failure::null("buffer"));
    }
    *needed = bytes.len();
    if capacity_bytes < bytes.len() {
        return Err(Failure::too_small(capacity_bytes, bytes.len()));
    }
    // SAFETY: not NULL unless there is nothing to write, writable for what the bytes need; the caller's memory can't
    // overlap bytes of our own.
    unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), buffer, bytes.len()) };
    Ok(())
}

/// As [`give`], for a text, with its NUL.
///
/// # Safety
/// As [`give`].
pub(crate) unsafe fn give_text(
    text: String,
    buffer: *mut c_char,
    capacity_bytes: usize,
    needed_bytes: *mut usize,
) -> Result<(), Failure> {
    let mut bytes = text.into_bytes();
    bytes.push(0);
    // SAFETY: this function's contract.
    unsafe { give(&bytes, buffer.cast(), capacity_bytes, needed_bytes) }
}
