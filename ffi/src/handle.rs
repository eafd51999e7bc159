//! Handles: what the caller's pointers point to.
//!
//! A handle knows what it is and whether a call is at work on it, so that a handle of another kind, a call out of a
//! callback and a call on a second thread are statuses, not undefined behaviour. What a destroyed handle's memory holds
//! nobody can know: using one is the caller's defect.

use std::cell::UnsafeCell;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use crate::argument::output;
use crate::error::{Failure, Status, guarded};

/// A kind of handle.
pub trait Kind {
    /// Tells handles apart in memory.
    const MARK: u32;
    /// The name of its arguments.
    const NAME: &'static str;
}

const IDLE: u32 = 0;
const BUSY: u32 = 1;
const UNUSABLE: u32 = 2;

/// What an opaque pointer points to; the mark comes first in each.
#[repr(C)]
pub struct Handle<T> {
    mark: AtomicU32,
    state: AtomicU32,
    value: UnsafeCell<T>,
}

/// Sets a handle's state when a call ends, or panics: what it had half changed then stays out of use.
struct Work<'a>(&'a AtomicU32);

impl Drop for Work<'_> {
    fn drop(&mut self) {
        let next = if std::thread::panicking() { UNUSABLE } else { IDLE };
        self.0.store(next, Release);
    }
}

impl<T: Kind> Handle<T> {
    pub(crate) fn create(value: T) -> *mut Self {
        Box::into_raw(Box::new(Self {
            mark: AtomicU32::new(T::MARK),
            state: AtomicU32::new(IDLE),
            value: UnsafeCell::new(value),
        }))
    }

    /// Frees it; NULL and a handle of another kind or at work are left alone.
    ///
    /// # Safety
    /// `handle` is NULL or a live handle of this library.
    pub(crate) unsafe fn destroy(handle: *mut Self) -> Result<(), Failure> {
        if handle.is_null() {
            return Ok(());
        }
        // SAFETY: a live handle of some kind by contract; all begin with a mark and a state.
        let this = unsafe { Self::check(handle) }?;
        if this.state.load(Acquire) == BUSY {
            return Err(Failure::busy(T::NAME));
        }
        this.mark.store(0, Relaxed);
        // SAFETY: it came from `Box::into_raw` and is not used again, by contract.
        drop(unsafe { Box::from_raw(handle) });
        Ok(())
    }

    /// Does `work` with what it holds.
    ///
    /// # Safety
    /// `handle` is NULL or a live handle of this library.
    #[inline(always)]
    pub(crate) unsafe fn with<R>(
        handle: *const Self,
        work: impl FnOnce(&mut T) -> Result<R, Failure>,
    ) -> Result<R, Failure> {
        // SAFETY: this function's contract.
        let this = unsafe { Self::check(handle) }?;
        match this.state.compare_exchange(IDLE, BUSY, Acquire, Relaxed) {
            Ok(_) => {}
            Err(UNUSABLE) => return Err(Failure::unusable(T::NAME)),
            Err(_) => return Err(Failure::busy(T::NAME)),
        }
        let _work = Work(&this.state);
        // SAFETY: the state was idle and is ours now, so nothing else refers to the value.
        work(unsafe { &mut *this.value.get() })
    }

    /// # Safety
    /// `handle` is NULL or a live handle of this library.
    #[inline(always)]
    unsafe fn check<'a>(handle: *const Self) -> Result<&'a Self, Failure> {
        if handle.is_null() {
            return Err(Failure::null(T::NAME));
        }
        // SAFETY: not NULL, so by contract a live handle; whatever its kind, a mark and a state come first.
        let mark = unsafe { &*handle.cast::<AtomicU32>() }.load(Relaxed);
        if mark != T::MARK {
            return Err(Failure::wrong_handle(T::NAME));
        }
        // SAFETY: the mark says that it is of this kind.
        Ok(unsafe { &*handle })
    }
}

/// Puts a new handle with what `work` makes where `out` points to, NULL if it fails.
///
/// # Safety
/// `out` is NULL or writable.
pub(crate) unsafe fn make<T: Kind>(
    out: *mut *mut Handle<T>,
    work: impl FnOnce() -> Result<T, Failure>,
) -> Status {
    guarded(|| {
        // SAFETY: this function's contract.
        let out = unsafe { output(out, T::NAME) }?;
        *out = std::ptr::null_mut();
        *out = Handle::create(work()?);
        Ok(())
    })
}

/// Does `work` with what a handle holds, as every call on one does.
///
/// # Safety
/// `handle` is NULL or a live handle of this library.
#[inline(always)]
pub(crate) unsafe fn call<T: Kind>(
    handle: *const Handle<T>,
    work: impl FnOnce(&mut T) -> Result<(), Failure>,
) -> Status {
    // SAFETY: this function's contract.
    guarded(|| unsafe { Handle::with(handle, work) })
}
