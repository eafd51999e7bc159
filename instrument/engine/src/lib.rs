//! The native capture engine: `libmemloupe.so`, preloaded into an unmodified target.
//!
//! It takes the process over in its constructor, translates what the threads execute block by block into a code cache,
//! and records every access on the way into the stream's rings. See `translator` for how code is translated, `dispatch`
//! for how a thread moves between translated code and the engine, `syscall` for what the kernel does meanwhile.
//!
//! Invariants: on the target's threads the engine uses no libc, no TLS and no lock that the target may hold; its memory
//! is its own (`memory`); the target's stack is never written but by the target's own instructions.
//!
//! If memloupe wants a part of the run only, threads run unrecorded outside of it: see `gate`.
#![allow(unsafe_code)] // every module here is about memory and code that the compiler knows nothing of

mod action;
mod attach;
mod cache;
mod context;
mod dispatch;
mod environment;
mod gate;
mod heap;
mod lock;
mod maps;
mod marker;
mod memory;
mod partial;
mod place;
mod probe;
mod ring;
mod signal;
mod stream;
mod syscall;
mod system;
mod thread;
mod translator;
mod unobserved;
mod withheld;

#[cfg(not(test))]
#[global_allocator]
static HEAP: memory::Heap = memory::Heap::new();
#[cfg(test)]
static HEAP: memory::Heap = memory::Heap::new();

static ENGINE: lock::Lock<dispatch::Engine> = lock::Lock::new(dispatch::Engine::new());

#[used]
#[unsafe(link_section = ".init_array")]
static START: extern "C" fn() = attach::start;
