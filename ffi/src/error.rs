//! The boundary: failures and panics become a status and the thread's last error text.

use std::any::Any;
use std::cell::RefCell;
use std::ffi::{CStr, CString, c_char};
use std::panic::{AssertUnwindSafe, catch_unwind};

use memloupe_attribute::RecordedError;
use memloupe_hierarchy::MachineError;
use memloupe_hierarchy::timed::{CheckpointError, RequestError};

/// `memloupe_status`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub enum Status {
    /// It worked.
    Ok = 0,
    /// A pointer is NULL.
    NullArgument = 1,
    /// A number is out of range, or a text is no UTF-8.
    BadArgument = 2,
    /// The machine is unknown or its description wrong.
    BadMachine = 3,
    /// Only the needed size was written.
    BufferTooSmall = 4,
    /// A defect.
    InternalError = 5,
    /// The handle is of another kind.
    WrongHandle = 6,
    /// A call on the handle is at work already.
    Busy = 7,
    /// A checkpoint is damaged or of something else.
    BadCheckpoint = 8,
    /// A recording can't be read, is damaged, or its names can't be told.
    BadRecording = 9,
}

impl Status {
    /// All of them, by number.
    pub const ALL: [(Self, &str); 10] = [
        (Self::Ok, "OK"),
        (Self::NullArgument, "NULL_ARGUMENT"),
        (Self::BadArgument, "BAD_ARGUMENT"),
        (Self::BadMachine, "BAD_MACHINE"),
        (Self::BufferTooSmall, "BUFFER_TOO_SMALL"),
        (Self::InternalError, "INTERNAL_ERROR"),
        (Self::WrongHandle, "WRONG_HANDLE"),
        (Self::Busy, "BUSY"),
        (Self::BadCheckpoint, "BAD_CHECKPOINT"),
        (Self::BadRecording, "BAD_RECORDING"),
    ];
}

/// A status with its text.
pub(crate) struct Failure {
    status: Status,
    text: String,
}

impl Failure {
    pub(crate) fn null(argument: &str) -> Self {
        Self {
            status: Status::NullArgument,
            text: format!("{argument}: NULL"),
        }
    }

    pub(crate) fn bad(text: String) -> Self {
        Self {
            status: Status::BadArgument,
            text,
        }
    }

    #[allow(clippy::needless_pass_by_value)] // for map_err
    pub(crate) fn bad_request(error: RequestError) -> Self {
        Self::bad(error.to_string())
    }

    pub(crate) fn memory(text: String) -> Self {
        Self {
            status: Status::BadMachine,
            text,
        }
    }

    #[allow(clippy::needless_pass_by_value)] // for map_err
    pub(crate) fn checkpoint(error: CheckpointError) -> Self {
        Self {
            status: Status::BadCheckpoint,
            text: error.to_string(),
        }
    }

    pub(crate) fn recording(path: &str, error: &RecordedError) -> Self {
        Self {
            status: Status::BadRecording,
            text: format!("{path}: {error}"),
        }
    }

    pub(crate) fn wrong_handle(argument: &str) -> Self {
        Self {
            status: Status::WrongHandle,
            text: format!("{argument}: no memloupe_{argument}, or one that was destroyed"),
        }
    }

    pub(crate) fn busy(argument: &str) -> Self {
        Self {
            status: Status::Busy,
            text: format!("{argument}: a call on it is at work: this is its callback, or another thread"),
        }
    }

    #[allow(clippy::needless_pass_by_value)] // for map_err
    pub(crate) fn machine(error: MachineError) -> Self {
        Self {
            status: Status::BadMachine,
            text: error.to_string(),
        }
    }

    pub(crate) fn too_small(capacity_bytes: usize, needed_bytes: usize) -> Self {
        let text = format!("capacity_bytes: {capacity_bytes} where {needed_bytes} are needed");
        Self {
            status: Status::BufferTooSmall,
            text,
        }
    }

    pub(crate) fn unusable(argument: &str) -> Self {
        let text = format!("{argument}: an earlier call failed inside memloupe: it can only be destroyed");
        Self {
            status: Status::InternalError,
            text,
        }
    }

    fn panic(payload: &(dyn Any + Send)) -> Self {
        let text = payload.downcast_ref::<String>().map(String::as_str);
        let text = text
            .or_else(|| payload.downcast_ref::<&str>().copied())
            .unwrap_or("unknown");
        Self {
            status: Status::InternalError,
            text: format!("internal error: {text}"),
        }
    }
}

thread_local! {
    static LAST_ERROR: RefCell<CString> = RefCell::default();
}

/// Does `work`; no panic leaves it.
#[inline(always)]
pub(crate) fn guarded(work: impl FnOnce() -> Result<(), Failure>) -> Status {
    // Unwind safety: a handle that was being changed stays marked unusable, everything else is the call's own.
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(Ok(())) => Status::Ok,
        Ok(Err(failure)) => remember(failure),
        Err(payload) => remember(Failure::panic(&*payload)),
    }
}

/// Makes it the thread's last error.
#[cold]
fn remember(failure: Failure) -> Status {
    let mut bytes = failure.text.into_bytes();
    bytes.retain(|&byte| byte != 0);
    let text = CString::new(bytes).unwrap_or_default();
    // A thread that is being torn down has no last error any more.
    let _ = LAST_ERROR.try_with(|last| last.replace(text));
    failure.status
}

/// The thread's last error text, valid until the next failure.
pub(crate) fn last_error() -> *const c_char {
    LAST_ERROR
        .try_with(|last| last.borrow().as_ptr())
        .unwrap_or(CStr::as_ptr(c""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_a_status_and_a_text() {
        let status = guarded(|| panic!("planted"));
        assert_eq!(status, Status::InternalError);
        // SAFETY: the text is valid until the next failure on this thread.
        let text = unsafe { CStr::from_ptr(last_error()) };
        assert_eq!(text.to_str(), Ok("internal error: planted"));
    }
}
