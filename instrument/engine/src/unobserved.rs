//! What ran unobserved, by cause. Counted here as it happens; told once, when the stream ends.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use crate::ring::Event;
use crate::stream;
use crate::thread::Thread;

/// Why something is not in the stream.
#[derive(Clone, Copy)]
pub(crate) enum Cause {
    /// A handler interrupted a thread that runs natively.
    NativeHandler,
    /// A system call accessed memory that it does not tell the extent of.
    SystemCall,
}

const CAUSES: [&str; 2] = [
    "signal handlers on threads that run natively",
    "what the kernel accesses in system calls that pass paths, structures or vectors",
];

struct Count {
    times: AtomicU64,
    instructions: AtomicU64,
}

static COUNTS: [Count; CAUSES.len()] = [const {
    Count {
        times: AtomicU64::new(0),
        instructions: AtomicU64::new(0),
    }
}; CAUSES.len()];

/// Something ran unobserved once; `instructions` are those that are known of it.
pub(crate) fn count(cause: Cause, instructions: u64) {
    let count = &COUNTS[cause as usize];
    count.times.fetch_add(1, Relaxed);
    count.instructions.fetch_add(instructions, Relaxed);
    stream::header()
        .unobserved_instructions
        .fetch_add(instructions, Relaxed);
}

/// Tells of all that was counted.
pub(crate) fn tell(thread: &Thread) {
    for (what, count) in CAUSES.iter().zip(&COUNTS) {
        let times = count.times.swap(0, Relaxed);
        if times > 0 {
            let cause = format!("{what}, {times} times");
            let instructions = count.instructions.swap(0, Relaxed);
            thread.event_with_text(Event::Unobserved, &[instructions], Some(cause.as_bytes()));
        }
    }
}
