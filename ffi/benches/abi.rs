//! What a million requests cost through the C ABI, beside the same requests in process.

// The calls of C, made from here.
#![allow(unsafe_code)]

use std::ffi::c_void;
use std::hint::black_box;
use std::ptr;

use criterion::{Criterion, criterion_group, criterion_main};
use memloupe_ffi::memory::*;
use memloupe_hierarchy::Machine;
use memloupe_hierarchy::timed::{MemoryRequest, RequestKind, TimedConfig, TimedMemory};

const REQUESTS: u64 = 1_000_000;

/// Random lines of 64 MiB at three quarters of the peak of two channels of DDR4-3200, every fourth written.
fn request(id: u64) -> (u64, u64, usize) {
    let mut random = id.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    random ^= random >> 29;
    (
        id * 2000,
        random % (64 << 20) / 64 * 64,
        usize::from(id.is_multiple_of(4)),
    )
}

fn in_process() -> u64 {
    let mut memory = TimedMemory::new(&Machine::load("desktop").unwrap(), TimedConfig::default()).unwrap();
    let mut done = 0;
    let mut late_ps = 0;
    for id in 0..REQUESTS {
        let (time_ps, address, kind) = request(id);
        let mut now_ps = time_ps.max(late_ps);
        let request = MemoryRequest {
            id,
            address,
            bytes: 64,
            kind: RequestKind::ALL[kind],
            core: 0,
            tag: 0,
        };
        memory.advance(now_ps, |_| done += 1).unwrap();
        while !memory.send(now_ps, &request).unwrap() {
            now_ps = memory.next_event_ps().unwrap();
            memory.advance(now_ps, |_| done += 1).unwrap();
        }
        late_ps = now_ps;
    }
    memory.drain(|_| done += 1).unwrap();
    done
}

unsafe extern "C" fn completed(user_data: *mut c_void, _completion: *const Completion) {
    // SAFETY: the user data of this callback is a counter that nothing else refers to.
    unsafe { *user_data.cast::<u64>() += 1 };
}

fn through_the_abi() -> u64 {
    let mut memory = ptr::null_mut();
    let mut done = 0u64;
    // SAFETY: every pointer points to what it says, and the handle is alive until its end.
    unsafe {
        memloupe_memory_create(c"desktop".as_ptr(), ptr::null(), &raw mut memory);
        memloupe_memory_on_completion(memory, Some(completed), (&raw mut done).cast());
        let mut late_ps = 0;
        for id in 0..REQUESTS {
            let (time_ps, address, kind) = request(id);
            let mut now_ps = time_ps.max(late_ps);
            let request = Request {
                id,
                address,
                pc: 0,
                size_bytes: 64,
                kind: kind as u32,
                core: 0,
                tag: 0,
            };
            let mut accepted = false;
            memloupe_memory_advance(memory, now_ps);
            memloupe_memory_send(memory, now_ps, &raw const request, &raw mut accepted);
            while !accepted {
                memloupe_memory_next_event(memory, &raw mut now_ps);
                memloupe_memory_advance(memory, now_ps);
                memloupe_memory_send(memory, now_ps, &raw const request, &raw mut accepted);
            }
            late_ps = now_ps;
        }
        memloupe_memory_drain(memory, ptr::null_mut());
        memloupe_memory_destroy(memory);
        black_box(&raw mut done);
    }
    done
}

fn requests(criterion: &mut Criterion) {
    assert_eq!((in_process(), through_the_abi()), (REQUESTS, REQUESTS));
    let mut group = criterion.benchmark_group("a_million_requests");
    group.sample_size(10);
    group.bench_function("in_process", |bench| bench.iter(in_process));
    group.bench_function("through_the_abi", |bench| bench.iter(through_the_abi));
    group.finish();
}

criterion_group!(benches, requests);
criterion_main!(benches);
