//! Locks that only the engine holds: they spin and yield, know no libc, and can't be held by the target.

use std::cell::UnsafeCell;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use crate::system;

/// A lock without content.
pub(crate) struct Spin(AtomicBool);

/// Held until dropped.
pub(crate) struct Held<'a>(&'a Spin);

impl Spin {
    pub(crate) const fn new() -> Self {
        Self(AtomicBool::new(false))
    }

    pub(crate) fn hold(&self) -> Held<'_> {
        while self
            .0
            .compare_exchange_weak(false, true, Acquire, Relaxed)
            .is_err()
        {
            system::yield_now();
        }
        Held(self)
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.0.0.store(false, Release);
    }
}

/// A value behind a lock.
pub(crate) struct Lock<T> {
    spin: Spin,
    value: UnsafeCell<T>,
}

// SAFETY: the value is reached under the lock only.
unsafe impl<T> Sync for Lock<T> {}

/// Access to a locked value.
pub(crate) struct Guard<'a, T> {
    _held: Held<'a>,
    value: &'a mut T,
}

impl<T> Lock<T> {
    pub(crate) const fn new(value: T) -> Self {
        Self {
            spin: Spin::new(),
            value: UnsafeCell::new(value),
        }
    }

    pub(crate) fn lock(&self) -> Guard<'_, T> {
        let held = self.spin.hold();
        // SAFETY: the lock is held for as long as the guard lives.
        let value = unsafe { &mut *self.value.get() };
        Guard { _held: held, value }
    }
}

impl<T> Deref for Guard<'_, T> {
    type Target = T;
    fn deref(&self) -> &T {
        self.value
    }
}

impl<T> DerefMut for Guard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        self.value
    }
}
