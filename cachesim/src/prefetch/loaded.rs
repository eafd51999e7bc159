//! A prefetcher of a user's own, from a shared library.

use std::ffi::{c_char, c_void};

use super::{Access, Geometry, MOST_REQUESTS, Requests};
use crate::plugin::{Model, Plugin, PluginError, Table};

/// `memloupe_prefetch_access`.
#[repr(C)]
struct CAccess {
    line: u64,
    site: u32,
    hit: u8,
    first_use: u8,
    reserved: u16,
}

type Create = unsafe extern "C" fn(u64, *const c_char, *mut c_char, usize) -> *mut c_void;

/// `memloupe_prefetcher`.
#[repr(C)]
#[derive(Debug)]
pub(super) struct CPrefetcher {
    version: u32,
    create: Option<Create>,
    destroy: Option<unsafe extern "C" fn(*mut c_void)>,
    access: Option<unsafe extern "C" fn(*mut c_void, *const CAccess, *mut u64, u32) -> u32>,
    filled: Option<unsafe extern "C" fn(*mut c_void, u64, u32)>,
    left: Option<unsafe extern "C" fn(*mut c_void, u64)>,
}

// SAFETY: the layout is that of the header.
unsafe impl Table for CPrefetcher {
    const SYMBOL: &'static str = "memloupe_prefetcher_engine";

    fn lacks(&self) -> Option<&'static str> {
        let needed = [
            (self.create.is_some(), "create"),
            (self.destroy.is_some(), "destroy"),
            (self.access.is_some(), "access"),
        ];
        needed.into_iter().find(|needed| !needed.0).map(|needed| needed.1)
    }

    fn destroy(&self) -> Option<unsafe extern "C" fn(*mut c_void)> {
        self.destroy
    }
}

/// The prefetcher of one cache.
#[derive(Debug)]
pub(crate) struct Loaded(Model<CPrefetcher>);

impl Loaded {
    pub(super) fn new(plugin: &Plugin<CPrefetcher>, geometry: &Geometry) -> Result<Self, PluginError> {
        let make = |table: &CPrefetcher, parameters, error, error_bytes| match table.create {
            // SAFETY: the pointers are valid during the call; the function is the library's for this.
            Some(create) => unsafe { create(geometry.page_lines, parameters, error, error_bytes) },
            None => std::ptr::null_mut(),
        };
        plugin.create(make).map(Self)
    }

    pub(super) fn access(&mut self, access: &Access, requests: &mut Requests) {
        let Some(function) = self.0.table.access else {
            return;
        };
        let access = CAccess {
            line: access.line,
            site: access.site,
            hit: access.hit.into(),
            first_use: access.first_use.into(),
            reserved: 0,
        };
        let mut lines = [0; MOST_REQUESTS];
        // SAFETY: the state is the model's; the buffer has room for as many lines as the call says.
        let count = unsafe {
            function(
                self.0.state(),
                &raw const access,
                lines.as_mut_ptr(),
                MOST_REQUESTS as u32,
            )
        };
        for &line in &lines[..MOST_REQUESTS.min(count as usize)] {
            requests.push(line);
        }
    }

    pub(super) fn filled(&mut self, line: u64, prefetched: bool) {
        if let Some(filled) = self.0.table.filled {
            // SAFETY: the state is the model's.
            unsafe { filled(self.0.state(), line, prefetched.into()) }
        }
    }

    pub(super) fn left(&mut self, line: u64) {
        if let Some(left) = self.0.table.left {
            // SAFETY: the state is the model's.
            unsafe { left(self.0.state(), line) }
        }
    }
}
