//! A memory of a user's own, from a shared library: `memloupe_dram` of `ffi/include/memloupe_plugin.h`. What it is, only the
//! library knows: it takes bursts, refuses them, and says when they are done.

use std::ffi::{c_char, c_void};
use std::path::Path;

use memloupe_cachesim::plugin::{Model, Plugin, PluginError, Table};

use crate::dram::Request;

/// `memloupe_dram_completion`.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
struct CCompletion {
    id: u64,
    finished_ps: u64,
}

type Create = unsafe extern "C" fn(*const c_char, *mut c_char, usize) -> *mut c_void;
type Destroy = unsafe extern "C" fn(*mut c_void);

/// `memloupe_dram`.
#[repr(C)]
#[derive(Debug)]
pub(super) struct CDram {
    version: u32,
    create: Option<Create>,
    destroy: Option<Destroy>,
    burst_bytes: Option<unsafe extern "C" fn(*mut c_void) -> u32>,
    send: Option<unsafe extern "C" fn(*mut c_void, u64, u64, u64, u32, u32) -> u32>,
    next_event: Option<unsafe extern "C" fn(*mut c_void) -> u64>,
    advance: Option<unsafe extern "C" fn(*mut c_void, u64, *mut CCompletion, u32) -> u32>,
}

// SAFETY: the layout is that of the header.
unsafe impl Table for CDram {
    const SYMBOL: &'static str = "memloupe_dram_memory";

    fn lacks(&self) -> Option<&'static str> {
        let needed = [
            (self.create.is_some(), "create"),
            (self.destroy.is_some(), "destroy"),
            (self.burst_bytes.is_some(), "burst_bytes"),
            (self.send.is_some(), "send"),
            (self.next_event.is_some(), "next_event"),
            (self.advance.is_some(), "advance"),
        ];
        needed.into_iter().find(|needed| !needed.0).map(|needed| needed.1)
    }

    fn destroy(&self) -> Option<Destroy> {
        self.destroy
    }
}

/// The largest burst that a library may have.
const MOST_BURST_BYTES: u32 = 4096;
/// Completions that one call of the library hands over at most.
const BATCH: usize = 64;

/// A memory at work.
#[derive(Debug)]
pub(super) struct Library {
    model: Model<CDram>,
    pub(super) burst_bytes: u32,
}

impl Library {
    pub(super) fn load(library: &Path, parameters: &str) -> Result<Self, PluginError> {
        let plugin = Plugin::<CDram>::load(library, parameters)?;
        let make = |table: &CDram, parameters, error, error_bytes| match table.create {
            // SAFETY: the pointers are valid during the call; the function is the library's for this.
            Some(create) => unsafe { create(parameters, error, error_bytes) },
            None => std::ptr::null_mut(),
        };
        let mut model = plugin.create(make)?;
        let burst_bytes = model.table.burst_bytes.map_or(0, |function| {
            // SAFETY: the state is the model's.
            unsafe { function(model.state()) }
        });
        if burst_bytes.is_power_of_two() && burst_bytes <= MOST_BURST_BYTES {
            return Ok(Self { model, burst_bytes });
        }
        Err(PluginError::Create {
            library: library.into(),
            message: format!("bursts of {burst_bytes} B: no power of two up to {MOST_BURST_BYTES}"),
        })
    }

    /// Offers a burst; whether it was accepted.
    pub(super) fn send(&mut self, now_ps: u64, burst: &Request) -> bool {
        let Some(send) = self.model.table.send else {
            return false;
        };
        let source = u32::from(burst.source);
        // SAFETY: the state is the model's.
        let accepted = unsafe {
            send(
                self.model.state(),
                now_ps,
                burst.tag,
                burst.address,
                burst.write.into(),
                source,
            )
        };
        accepted != 0
    }

    /// When to come back at the latest; `u64::MAX` if nothing will happen.
    pub(super) fn next_event_ps(&mut self) -> u64 {
        self.model.table.next_event.map_or(u64::MAX, |function| {
            // SAFETY: the state is the model's.
            unsafe { function(self.model.state()) }
        })
    }

    /// Lets time pass; `done` is told the tags of the bursts that are done by then, and when each was.
    pub(super) fn advance(&mut self, until_ps: u64, mut done: impl FnMut(u64, u64)) {
        let Some(advance) = self.model.table.advance else {
            return;
        };
        loop {
            let mut completions = [CCompletion::default(); BATCH];
            let most = BATCH as u32;
            // SAFETY: the state is the model's; there is room for as many completions as the call says.
            let count = unsafe { advance(self.model.state(), until_ps, completions.as_mut_ptr(), most) };
            let count = BATCH.min(count as usize);
            for completion in &completions[..count] {
                done(completion.id, completion.finished_ps.min(until_ps));
            }
            if count < BATCH {
                return;
            }
        }
    }
}
