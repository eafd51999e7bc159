//! `memloupe_memory`: the memory of a machine in time, driven by an outer simulator.

use std::collections::VecDeque;
use std::ffi::{c_char, c_void};
use std::ptr;

use memloupe_hierarchy::timed::{
    MemoryCompletion, MemoryRequest, RequestKind, TagCounts, TimedConfig, TimedMemory,
};
use memloupe_hierarchy::{Machine, MachineError};

use crate::argument::{give, give_text, input, optional_text, output, room, slice, text};
use crate::error::{Failure, Status, guarded};
use crate::handle::{Handle, Kind, call, make};
use crate::statistics;

/// What `memloupe_memory *` points to.
pub type MemoryHandle = Handle<MemoryState>;

/// `memloupe_completion_callback`.
pub type CompletionCallback = unsafe extern "C" fn(user_data: *mut c_void, completion: *const Completion);

/// A memory and what becomes of its completions.
pub struct MemoryState {
    memory: TimedMemory,
    machine: String,
    callback: Option<CompletionCallback>,
    user_data: *mut c_void,
    /// Without a callback: those that were not taken yet.
    completions: VecDeque<Completion>,
}

impl Kind for MemoryState {
    const MARK: u32 = u32::from_le_bytes(*b"MLme");
    const NAME: &'static str = "memory";
}

/// `memloupe_request`.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Request {
    /// The sender's name for it.
    pub id: u64,
    /// First byte.
    pub address: u64,
    /// The instruction that it is for.
    pub pc: u64,
    /// Length.
    pub size_bytes: u32,
    /// A `memloupe_request_kind`.
    pub kind: u32,
    /// Who sends it.
    pub core: u32,
    /// What it is charged to.
    pub tag: u32,
}

/// `memloupe_completion`.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Completion {
    /// The request's.
    pub id: u64,
    /// When it was accepted.
    pub accepted_ps: u64,
    /// When it was done.
    pub finished_ps: u64,
    /// The request's.
    pub kind: u32,
    /// The request's.
    pub tag: u32,
}

/// `memloupe_tag_counters`.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct TagCounters {
    /// By `memloupe_request_kind`.
    pub requests: [u64; 4],
    /// Likewise.
    pub bytes: [u64; 4],
    /// Likewise.
    pub done: [u64; 4],
    /// Likewise.
    pub latency_ps: [u64; 4],
    /// Likewise.
    pub max_latency_ps: [u64; 4],
    /// Bursts that found their row open.
    pub row_hits: u64,
    /// Bursts that found their bank closed.
    pub row_misses: u64,
    /// Bursts that found another row open.
    pub row_conflicts: u64,
}

/// `memloupe_statistic`.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Statistic {
    /// Name.
    pub name: *const c_char,
    /// Unit.
    pub unit: *const c_char,
    /// What it is.
    pub description: *const c_char,
    /// 1 if it only grows.
    pub is_count: u32,
    /// Not used.
    pub reserved: u32,
}

impl From<&MemoryCompletion> for Completion {
    fn from(done: &MemoryCompletion) -> Self {
        Self {
            id: done.id,
            accepted_ps: done.accepted_ps,
            finished_ps: done.finished_ps,
            kind: done.kind.into(),
            tag: done.tag,
        }
    }
}

impl MemoryState {
    /// What a completion is handed to.
    fn deliver(&mut self) -> (&mut TimedMemory, impl FnMut(&MemoryCompletion)) {
        let Self {
            memory,
            callback,
            user_data,
            completions,
            ..
        } = self;
        (memory, |done: &MemoryCompletion| {
            let completion = Completion::from(done);
            match callback {
                // SAFETY: the caller gave the callback with this user data and promised that it may be called so.
                Some(callback) => unsafe { callback(*user_data, &raw const completion) },
                None => completions.push_back(completion),
            }
        })
    }
}

/// `memloupe_memory_create`.
///
/// # Safety
/// `machine` and `config` are NULL or NUL-terminated texts, `memory` is NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn memloupe_memory_create(
    machine: *const c_char,
    config: *const c_char,
    memory: *mut *mut MemoryHandle,
) -> Status {
    // SAFETY: this function's contract is that of `create`.
    unsafe { create(machine, "machine", config, memory, Machine::load) }
}

/// `memloupe_memory_create_from_toml`.
///
/// # Safety
/// `toml` and `config` are NULL or NUL-terminated texts, `memory` is NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn memloupe_memory_create_from_toml(
    toml: *const c_char,
    config: *const c_char,
    memory: *mut *mut MemoryHandle,
) -> Status {
    // SAFETY: this function's contract is that of `create`.
    unsafe {
        create(toml, "toml", config, memory, |text| {
            Machine::from_toml("toml", text)
        })
    }
}

/// # Safety
/// `machine` and `config` are NULL or NUL-terminated texts, `memory` is NULL or writable.
unsafe fn create(
    machine: *const c_char,
    name: &'static str,
    config: *const c_char,
    memory: *mut *mut MemoryHandle,
    resolve: impl FnOnce(&str) -> Result<Machine, MachineError>,
) -> Status {
    // SAFETY: this function's contract.
    unsafe {
        make(memory, || {
            let machine = resolve(text(machine, name)?).map_err(Failure::machine)?;
            let config = optional_text(config, "config")?;
            let config = TimedConfig::from_toml(config)
                .map_err(|error| Failure::memory(format!("config: {error}")))?;
            let memory = TimedMemory::new(&machine, config)
                .map_err(|error| Failure::memory(format!("{}: {error}", machine.name)))?;
            Ok(MemoryState {
                memory,
                machine: machine.name,
                callback: None,
                user_data: ptr::null_mut(),
                completions: VecDeque::new(),
            })
        })
    }
}

/// `memloupe_memory_destroy`.
///
/// # Safety
/// `memory` is NULL or a live handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn memloupe_memory_destroy(memory: *mut MemoryHandle) -> Status {
    // SAFETY: this function's contract.
    guarded(|| unsafe { Handle::destroy(memory) })
}

/// `memloupe_memory_on_completion`.
///
/// # Safety
/// `memory` is NULL or a live handle; `callback` may be called with `user_data` until it is replaced.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn memloupe_memory_on_completion(
    memory: *mut MemoryHandle,
    callback: Option<CompletionCallback>,
    user_data: *mut c_void,
) -> Status {
    let listen = |state: &mut MemoryState| {
        state.callback = callback;
        state.user_data = user_data;
        Ok(())
    };
    // SAFETY: this function's contract.
    unsafe { call(memory, listen) }
}

/// `memloupe_memory_send`.
///
/// # Safety
/// `memory` is NULL or a live handle, `request` NULL or readable, `accepted` NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn memloupe_memory_send(
    memory: *mut MemoryHandle,
    time_ps: u64,
    request: *const Request,
    accepted: *mut bool,
) -> Status {
    // SAFETY: this function's contract.
    unsafe {
        call(memory, |state| {
            let accepted = output(accepted, "accepted")?;
            *accepted = false;
            let request = input(request, "request")?;
            let kind = RequestKind::ALL
                .get(request.kind as usize)
                .ok_or_else(|| Failure::bad(format!("kind: {} is no memloupe_request_kind", request.kind)))?;
            let request = MemoryRequest {
                id: request.id,
                address: request.address,
                bytes: request.size_bytes,
                kind: *kind,
                core: request.core,
                tag: request.tag,
            };
            *accepted = state
                .memory
                .send(time_ps, &request)
                .map_err(Failure::bad_request)?;
            Ok(())
        })
    }
}

/// `memloupe_memory_next_event`.
///
/// # Safety
/// `memory` is NULL or a live handle, `time_ps` NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn memloupe_memory_next_event(memory: *mut MemoryHandle, time_ps: *mut u64) -> Status {
    // SAFETY: this function's contract.
    unsafe {
        call(memory, |state| {
            *output(time_ps, "time_ps")? = state.memory.next_event_ps().unwrap_or(u64::MAX);
            Ok(())
        })
    }
}

/// `memloupe_memory_advance`.
///
/// # Safety
/// `memory` is NULL or a live handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn memloupe_memory_advance(memory: *mut MemoryHandle, until_ps: u64) -> Status {
    let advance = |state: &mut MemoryState| {
        let (memory, deliver) = state.deliver();
        memory.advance(until_ps, deliver).map_err(Failure::bad_request)
    };
    // SAFETY: this function's contract.
    unsafe { call(memory, advance) }
}

/// `memloupe_memory_drain`.
///
/// # Safety
/// `memory` is NULL or a live handle, `end_ps` NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn memloupe_memory_drain(memory: *mut MemoryHandle, end_ps: *mut u64) -> Status {
    // SAFETY: this function's contract.
    unsafe {
        call(memory, |state| {
            let (memory, deliver) = state.deliver();
            let end = memory.drain(deliver).map_err(Failure::bad_request)?;
            if let Some(end_ps) = end_ps.as_mut() {
                *end_ps = end;
            }
            Ok(())
        })
    }
}

/// `memloupe_memory_take_completions`.
///
/// # Safety
/// `memory` is NULL or a live handle, `completions` NULL or writable for `capacity`, `count` NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn memloupe_memory_take_completions(
    memory: *mut MemoryHandle,
    completions: *mut Completion,
    capacity: usize,
    count: *mut usize,
) -> Status {
    // SAFETY: this function's contract; a completion is plain numbers, which any bytes are.
    unsafe {
        call(memory, |state| {
            let count = output(count, "count")?;
            *count = 0;
            let waiting = state.completions.len().min(capacity);
            let room = room(completions, waiting, "completions")?;
            for (place, done) in room.iter_mut().zip(state.completions.drain(..waiting)) {
                *place = done;
            }
            *count = waiting;
            Ok(())
        })
    }
}

/// `memloupe_memory_outstanding`.
///
/// # Safety
/// `memory` is NULL or a live handle, `count` NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn memloupe_memory_outstanding(memory: *const MemoryHandle, count: *mut u64) -> Status {
    // SAFETY: this function's contract.
    unsafe {
        call(memory, |state| {
            *output(count, "count")? = state.memory.outstanding();
            Ok(())
        })
    }
}

/// `memloupe_memory_read_store`.
///
/// # Safety
/// `memory` is NULL or a live handle, `bytes` NULL or writable for `count`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn memloupe_memory_read_store(
    memory: *mut MemoryHandle,
    address: u64,
    bytes: *mut u8,
    count: usize,
) -> Status {
    // SAFETY: this function's contract.
    unsafe {
        call(memory, |state| {
            let bytes = room(bytes, count, "bytes")?;
            state.memory.store().read(address, bytes);
            Ok(())
        })
    }
}

/// `memloupe_memory_write_store`.
///
/// # Safety
/// `memory` is NULL or a live handle, `bytes` NULL or readable for `count`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn memloupe_memory_write_store(
    memory: *mut MemoryHandle,
    address: u64,
    bytes: *const u8,
    count: usize,
) -> Status {
    // SAFETY: this function's contract.
    unsafe {
        call(memory, |state| {
            state.memory.store().write(address, slice(bytes, count, "bytes")?);
            Ok(())
        })
    }
}

/// `memloupe_memory_checkpoint`.
///
/// # Safety
/// `memory` is NULL or a live handle, `buffer` NULL or writable for `capacity_bytes`, `needed_bytes` NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn memloupe_memory_checkpoint(
    memory: *const MemoryHandle,
    buffer: *mut u8,
    capacity_bytes: usize,
    needed_bytes: *mut usize,
) -> Status {
    // SAFETY: this function's contract.
    unsafe {
        call(memory, |state| {
            if !state.completions.is_empty() {
                let count = state.completions.len();
                let text = format!("memory: {count} completions were not taken, which no checkpoint holds");
                return Err(Failure::bad(text));
            }
            let bytes = state.memory.checkpoint().map_err(Failure::checkpoint)?;
            give(&bytes, buffer, capacity_bytes, needed_bytes)
        })
    }
}

/// `memloupe_memory_restore`.
///
/// # Safety
/// `memory` is NULL or a live handle, `bytes` NULL or readable for `count`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn memloupe_memory_restore(
    memory: *mut MemoryHandle,
    bytes: *const u8,
    count: usize,
) -> Status {
    // SAFETY: this function's contract.
    unsafe {
        call(memory, |state| {
            let bytes = slice(bytes, count, "bytes")?;
            state.memory.restore(bytes).map_err(Failure::checkpoint)?;
            state.completions.clear();
            Ok(())
        })
    }
}

/// `memloupe_memory_statistics_json`.
///
/// # Safety
/// `memory` is NULL or a live handle, `buffer` NULL or writable for `capacity_bytes`, `needed_bytes` NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn memloupe_memory_statistics_json(
    memory: *const MemoryHandle,
    buffer: *mut c_char,
    capacity_bytes: usize,
    needed_bytes: *mut usize,
) -> Status {
    // SAFETY: this function's contract.
    unsafe {
        call(memory, |state| {
            let text = statistics::memory::to_json(&state.machine, &state.memory);
            give_text(text, buffer, capacity_bytes, needed_bytes)
        })
    }
}

/// `memloupe_memory_tag_counters`.
///
/// # Safety
/// `memory` is NULL or a live handle, `counters` NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn memloupe_memory_tag_counters(
    memory: *const MemoryHandle,
    tag: u32,
    counters: *mut TagCounters,
) -> Status {
    // SAFETY: this function's contract.
    unsafe {
        call(memory, |state| {
            let none = TagCounts::default();
            let counts = state.memory.tags().get(tag as usize).unwrap_or(&none);
            let [row_hits, row_misses, row_conflicts] = counts.outcomes;
            *output(counters, "counters")? = TagCounters {
                requests: counts.requests,
                bytes: counts.bytes,
                done: counts.done,
                latency_ps: counts.latency_ps,
                max_latency_ps: counts.max_latency_ps,
                row_hits,
                row_misses,
                row_conflicts,
            };
            Ok(())
        })
    }
}

/// `memloupe_memory_statistic_count`.
#[unsafe(no_mangle)]
pub extern "C" fn memloupe_memory_statistic_count() -> u32 {
    statistics::memory::FIELDS.len() as u32
}

/// `memloupe_memory_statistic_about`.
///
/// # Safety
/// `about` is NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn memloupe_memory_statistic_about(index: u32, about: *mut Statistic) -> Status {
    guarded(|| {
        // SAFETY: this function's contract.
        let about = unsafe { output(about, "about") }?;
        let field = statistics::memory::FIELDS.get(index as usize);
        let field = field.ok_or_else(|| {
            let count = statistics::memory::FIELDS.len();
            Failure::bad(format!("index: {index} of {count}"))
        })?;
        *about = Statistic {
            name: field.name.as_ptr(),
            unit: field.unit.as_ptr(),
            description: field.description.as_ptr(),
            is_count: field.is_count().into(),
            reserved: 0,
        };
        Ok(())
    })
}

/// `memloupe_memory_statistic`.
///
/// # Safety
/// `memory` is NULL or a live handle, `name` NULL or a NUL-terminated text, `value` NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn memloupe_memory_statistic(
    memory: *const MemoryHandle,
    name: *const c_char,
    value: *mut f64,
) -> Status {
    // SAFETY: this function's contract.
    unsafe {
        call(memory, |state| {
            let name = text(name, "name")?;
            let value = output(value, "value")?;
            *value = statistics::memory::value(&state.memory, name)
                .ok_or_else(|| Failure::bad(format!("name: there is no statistic '{name}'")))?;
            Ok(())
        })
    }
}
