//! The engine's own heap: one reserved range, power-of-two classes, never the target's allocator.
//!
//! It gives nothing back to the system: the engine holds on to nearly all that it allocates.

use std::alloc::{GlobalAlloc, Layout};
use std::cell::UnsafeCell;
use std::ops::Range;
use std::ptr;

use crate::lock::Spin;
use crate::system;

/// Address space, not memory: pages cost nothing until they are touched.
const RESERVED_BYTES: usize = 8 << 30;
const SMALLEST_BYTES: usize = 16;
const CLASSES: usize = 64;

struct State {
    start: usize,
    next: usize,
    /// Freed cells of each class, linked through their first word.
    free: [*mut u8; CLASSES],
}

/// The allocator.
pub(crate) struct Heap {
    lock: Spin,
    state: UnsafeCell<State>,
}

// SAFETY: `state` is touched under `lock` only.
unsafe impl Sync for Heap {}

impl Heap {
    pub(crate) const fn new() -> Self {
        Self {
            lock: Spin::new(),
            state: UnsafeCell::new(State {
                start: 0,
                next: 0,
                free: [ptr::null_mut(); CLASSES],
            }),
        }
    }

    /// Where it lies.
    pub(crate) fn range(&self) -> Range<u64> {
        let _held = self.lock.hold();
        // SAFETY: under the lock.
        let start = unsafe { (*self.state.get()).start } as u64;
        start..start + RESERVED_BYTES as u64
    }
}

fn class_bytes(layout: Layout) -> usize {
    layout
        .size()
        .max(layout.align())
        .max(SMALLEST_BYTES)
        .next_power_of_two()
}

// SAFETY: cells are disjoint and as large and aligned as their class, which is at least what was asked for.
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let bytes = class_bytes(layout);
        let _held = self.lock.hold();
        // SAFETY: under the lock.
        let state = unsafe { &mut *self.state.get() };
        let class = bytes.trailing_zeros() as usize;
        let freed = state.free[class];
        if !freed.is_null() {
            // SAFETY: a freed cell holds the link to the next one.
            state.free[class] = unsafe { freed.cast::<*mut u8>().read() };
            return freed;
        }
        if state.start == 0 {
            state.start = system::reserve(RESERVED_BYTES) as usize;
            state.next = state.start;
        }
        let cell = state.next.next_multiple_of(bytes);
        if cell + bytes > state.start + RESERVED_BYTES {
            return ptr::null_mut();
        }
        state.next = cell + bytes;
        cell as *mut u8
    }

    unsafe fn dealloc(&self, cell: *mut u8, layout: Layout) {
        let class = class_bytes(layout).trailing_zeros() as usize;
        let _held = self.lock.hold();
        // SAFETY: under the lock; the cell is free now and holds a pointer at least.
        unsafe {
            let state = &mut *self.state.get();
            cell.cast::<*mut u8>().write(state.free[class]);
            state.free[class] = cell;
        }
    }
}
