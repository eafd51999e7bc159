//! `memloupe_reader`: the accesses of a recorded program, with names.

use std::ffi::c_char;
use std::path::Path;

use memloupe_attribute::Recorded;
use memloupe_stream::Engine;
use serde_json::{Value, json};

use crate::argument::{give_text, output, room, text};
use crate::error::{Failure, Status, guarded};
use crate::handle::{Handle, Kind, call, make};

/// `MEMLOUPE_NO_OPERATOR`.
pub const NO_OPERATOR: u32 = u32::MAX;

/// What `memloupe_reader *` points to.
pub type ReaderHandle = Handle<ReaderState>;

/// A recording that is being read.
pub struct ReaderState {
    recorded: Recorded,
    /// Its path, for messages.
    path: String,
    has_begun: bool,
    /// What one call reads.
    accesses: Vec<memloupe_attribute::RecordedAccess>,
}

impl Kind for ReaderState {
    const MARK: u32 = u32::from_le_bytes(*b"MLre");
    const NAME: &'static str = "reader";
}

/// `memloupe_recorded_access`.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct RecordedAccess {
    /// First byte.
    pub address: u64,
    /// Its instruction.
    pub pc: u64,
    /// Length.
    pub size_bytes: u32,
    /// A `memloupe_access_kind`.
    pub kind: u32,
    /// Who makes it.
    pub thread: u32,
    /// Id of the operator that the thread is in.
    pub operator_id: u32,
    /// Id of what it touches.
    pub object_id: u32,
    /// Id of the phase.
    pub phase_id: u32,
}

impl From<&memloupe_attribute::RecordedAccess> for RecordedAccess {
    fn from(access: &memloupe_attribute::RecordedAccess) -> Self {
        Self {
            address: access.address,
            pc: access.instruction,
            size_bytes: access.bytes,
            kind: access.kind as u32,
            thread: access.thread,
            operator_id: access.operator.unwrap_or(NO_OPERATOR),
            object_id: access.object,
            phase_id: access.phase,
        }
    }
}

/// `memloupe_reader_open`.
///
/// # Safety
/// `recording` is NULL or a NUL-terminated text, `reader` NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn memloupe_reader_open(
    recording: *const c_char,
    reader: *mut *mut ReaderHandle,
) -> Status {
    // SAFETY: this function's contract.
    unsafe {
        make(reader, || {
            let path = text(recording, "recording")?;
            let recorded =
                Recorded::open(Path::new(path)).map_err(|error| Failure::recording(path, &error))?;
            Ok(ReaderState {
                recorded,
                path: path.to_owned(),
                has_begun: false,
                accesses: Vec::new(),
            })
        })
    }
}

/// `memloupe_reader_destroy`.
///
/// # Safety
/// `reader` is NULL or a live handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn memloupe_reader_destroy(reader: *mut ReaderHandle) -> Status {
    // SAFETY: this function's contract.
    guarded(|| unsafe { Handle::destroy(reader) })
}

/// `memloupe_reader_moved`.
///
/// # Safety
/// `reader` is NULL or a live handle, `from` and `to` are NULL or NUL-terminated texts.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn memloupe_reader_moved(
    reader: *mut ReaderHandle,
    from: *const c_char,
    to: *const c_char,
) -> Status {
    // SAFETY: this function's contract.
    unsafe {
        call(reader, |state| {
            let (from, to) = (text(from, "from")?, text(to, "to")?);
            if state.has_begun {
                return Err(Failure::bad("reader: something was read from it already".into()));
            }
            state.recorded.moved(from.into(), to.into());
            Ok(())
        })
    }
}

/// `memloupe_reader_read`.
///
/// # Safety
/// `reader` is NULL or a live handle, `accesses` NULL or writable for `capacity`, `count` NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn memloupe_reader_read(
    reader: *mut ReaderHandle,
    accesses: *mut RecordedAccess,
    capacity: usize,
    count: *mut usize,
) -> Status {
    // SAFETY: this function's contract; an access is plain numbers, which any bytes are.
    unsafe {
        call(reader, |state| {
            let count = output(count, "count")?;
            *count = 0;
            let room = room(accesses, capacity, "accesses")?;
            state.has_begun = true;
            state.accesses.clear();
            let read = state.recorded.read(&mut state.accesses, room.len());
            read.map_err(|error| Failure::recording(&state.path, &error))?;
            for (place, access) in room.iter_mut().zip(&state.accesses) {
                *place = access.into();
            }
            *count = state.accesses.len();
            Ok(())
        })
    }
}

/// `memloupe_reader_operator_json`.
///
/// # Safety
/// `reader` is NULL or a live handle, `buffer` NULL or writable for `capacity_bytes`, `needed_bytes` NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn memloupe_reader_operator_json(
    reader: *const ReaderHandle,
    operator_id: u32,
    buffer: *mut c_char,
    capacity_bytes: usize,
    needed_bytes: *mut usize,
) -> Status {
    let describe = |recorded: &Recorded| {
        let operator = recorded.names().probes().operators().get(operator_id as usize)?;
        Some(json!({
            "kind": operator.kind,
            "name": operator.name,
            "layer": operator.layer,
            "shape": operator.shape,
            "type": operator.element_type,
            "sources": operator.sources,
        }))
    };
    let unknown = || format!("operator_id: {operator_id} was not read yet");
    // SAFETY: this function's contract.
    unsafe { give_json(reader, describe, unknown, buffer, capacity_bytes, needed_bytes) }
}

/// `memloupe_reader_object_json`.
///
/// # Safety
/// As [`memloupe_reader_operator_json`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn memloupe_reader_object_json(
    reader: *const ReaderHandle,
    object_id: u32,
    buffer: *mut c_char,
    capacity_bytes: usize,
    needed_bytes: *mut usize,
) -> Status {
    let describe = |recorded: &Recorded| {
        let object = recorded.names().objects().table().get(object_id as usize)?;
        Some(json!({ "name": object.name, "class": object.class.name(), "bytes": object.bytes }))
    };
    let unknown = || format!("object_id: {object_id} was not read yet");
    // SAFETY: this function's contract.
    unsafe { give_json(reader, describe, unknown, buffer, capacity_bytes, needed_bytes) }
}

/// `memloupe_reader_phase_json`.
///
/// # Safety
/// As [`memloupe_reader_operator_json`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn memloupe_reader_phase_json(
    reader: *const ReaderHandle,
    phase_id: u32,
    buffer: *mut c_char,
    capacity_bytes: usize,
    needed_bytes: *mut usize,
) -> Status {
    let describe = |recorded: &Recorded| {
        let phase = recorded.names().contexts().phases().get(phase_id as usize)?;
        Some(json!({ "name": phase.name, "index": phase.index }))
    };
    let unknown = || format!("phase_id: {phase_id} was not read yet");
    // SAFETY: this function's contract.
    unsafe { give_json(reader, describe, unknown, buffer, capacity_bytes, needed_bytes) }
}

/// `memloupe_reader_about_json`.
///
/// # Safety
/// As [`memloupe_reader_operator_json`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn memloupe_reader_about_json(
    reader: *const ReaderHandle,
    buffer: *mut c_char,
    capacity_bytes: usize,
    needed_bytes: *mut usize,
) -> Status {
    let describe = |recorded: &Recorded| {
        let (about, captured) = (recorded.about(), recorded.captured());
        Some(json!({
            "command": about.command,
            "executable": about.executable,
            "started_unix_seconds": about.started_unix_seconds,
            "engine": match captured.engine {
                Engine::None => None,
                Engine::Native => Some("native"),
                Engine::Valgrind => Some("valgrind"),
            },
            "threads": captured.threads,
            "lost_records": captured.counters.lost_records,
            "unobserved_instructions": captured.counters.unobserved_instructions,
            "is_complete": recorded.is_complete(),
        }))
    };
    // SAFETY: this function's contract.
    unsafe {
        give_json(
            reader,
            describe,
            String::new,
            buffer,
            capacity_bytes,
            needed_bytes,
        )
    }
}

/// # Safety
/// As [`memloupe_reader_operator_json`].
unsafe fn give_json(
    reader: *const ReaderHandle,
    describe: impl FnOnce(&Recorded) -> Option<Value>,
    unknown: impl FnOnce() -> String,
    buffer: *mut c_char,
    capacity_bytes: usize,
    needed_bytes: *mut usize,
) -> Status {
    // SAFETY: this function's contract.
    unsafe {
        call(reader, |state| {
            let value = describe(&state.recorded).ok_or_else(|| Failure::bad(unknown()))?;
            give_text(value.to_string(), buffer, capacity_bytes, needed_bytes)
        })
    }
}
