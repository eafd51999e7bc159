//! A prefetcher of a user's own, from a shared library.

use std::ffi::{CString, c_char, c_void};
use std::path::PathBuf;
use std::ptr::NonNull;

use super::{Access, Geometry, MOST_REQUESTS, Requests};
use crate::plugin::{self, PluginError, Table};

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
struct CPrefetcher {
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
}

/// A library with the parameters that its prefetchers get.
#[derive(Debug)]
pub(super) struct Kind {
    pub(super) library: PathBuf,
    pub(super) parameters: String,
    table: &'static CPrefetcher,
    c_parameters: CString,
}

impl Kind {
    pub(super) fn load(library: PathBuf, parameters: &str) -> Result<Self, PluginError> {
        Ok(Self {
            table: plugin::table(&library)?,
            c_parameters: plugin::c_text(&library, parameters)?,
            parameters: parameters.into(),
            library,
        })
    }

    pub(super) fn build(&self, geometry: &Geometry) -> Result<Loaded, PluginError> {
        let make = |parameters, error, error_bytes| match self.table.create {
            // SAFETY: the pointers are valid during the call; the function is the library's for this.
            Some(create) => unsafe { create(geometry.page_lines, parameters, error, error_bytes) },
            None => std::ptr::null_mut(),
        };
        Ok(Loaded {
            state: plugin::create(&self.library, &self.c_parameters, make)?,
            table: self.table,
        })
    }
}

/// The prefetcher of one cache.
#[derive(Debug)]
pub(crate) struct Loaded {
    table: &'static CPrefetcher,
    state: NonNull<c_void>,
}

// SAFETY: the header lets calls with one state come from any thread, one after the other: each needs `&mut self`.
unsafe impl Send for Loaded {}
// SAFETY: nothing is called through a shared reference.
unsafe impl Sync for Loaded {}

impl Loaded {
    pub(super) fn access(&mut self, access: &Access, requests: &mut Requests) {
        let Some(function) = self.table.access else { return };
        let access = CAccess {
            line: access.line,
            site: access.site,
            hit: access.hit.into(),
            first_use: access.first_use.into(),
            reserved: 0,
        };
        let mut lines = [0; MOST_REQUESTS];
        // SAFETY: the state is what `create` returned; the buffer has room for as many lines as the call says.
        let count = unsafe {
            function(
                self.state.as_ptr(),
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
        if let Some(filled) = self.table.filled {
            // SAFETY: the state is what `create` returned.
            unsafe { filled(self.state.as_ptr(), line, prefetched.into()) }
        }
    }

    pub(super) fn left(&mut self, line: u64) {
        if let Some(left) = self.table.left {
            // SAFETY: the state is what `create` returned.
            unsafe { left(self.state.as_ptr(), line) }
        }
    }
}

impl Drop for Loaded {
    fn drop(&mut self) {
        if let Some(destroy) = self.table.destroy {
            // SAFETY: the state is what `create` returned, and this is the last call with it.
            unsafe { destroy(self.state.as_ptr()) }
        }
    }
}
