//! A replacement policy of a user's own, from a shared library.

use std::ffi::{CString, c_char, c_void};
use std::path::PathBuf;
use std::ptr::NonNull;

use super::{Geometry, Request};
use crate::plugin::{self, PluginError, Table};

/// `memloupe_cache_geometry`.
#[repr(C)]
struct CGeometry {
    sets: u64,
    ways: u32,
    reserved: u32,
    seed: u64,
}

/// `memloupe_request`.
#[repr(C)]
struct CRequest {
    line: u64,
    site: u32,
    purpose: u32,
}

impl From<&Request> for CRequest {
    fn from(request: &Request) -> Self {
        Self {
            line: request.line,
            site: request.site,
            purpose: request.purpose as u32,
        }
    }
}

type Create = unsafe extern "C" fn(*const CGeometry, *const c_char, *mut c_char, usize) -> *mut c_void;
type Touch = unsafe extern "C" fn(*mut c_void, u64, u32, *const CRequest);

/// `memloupe_replacement`.
#[repr(C)]
#[derive(Debug)]
struct CReplacement {
    version: u32,
    create: Option<Create>,
    destroy: Option<unsafe extern "C" fn(*mut c_void)>,
    hit: Option<Touch>,
    fill: Option<Touch>,
    victim: Option<unsafe extern "C" fn(*mut c_void, u64, u64, *const CRequest) -> i32>,
    leave: Option<unsafe extern "C" fn(*mut c_void, u64, u32)>,
}

// SAFETY: the layout is that of the header.
unsafe impl Table for CReplacement {
    const SYMBOL: &'static str = "memloupe_replacement_policy";

    fn lacks(&self) -> Option<&'static str> {
        let needed = [
            (self.create.is_some(), "create"),
            (self.destroy.is_some(), "destroy"),
            (self.hit.is_some(), "hit"),
            (self.fill.is_some(), "fill"),
            (self.victim.is_some(), "victim"),
        ];
        needed.into_iter().find(|needed| !needed.0).map(|needed| needed.1)
    }
}

/// A library with the parameters that its policies get.
#[derive(Debug)]
pub(super) struct Kind {
    pub(super) library: PathBuf,
    pub(super) parameters: String,
    table: &'static CReplacement,
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
        let geometry = CGeometry {
            sets: geometry.sets as u64,
            ways: geometry.ways as u32,
            reserved: 0,
            seed: geometry.seed,
        };
        let make = |parameters, error, error_bytes| match self.table.create {
            // SAFETY: the pointers are valid during the call; the function is the library's for this.
            Some(create) => unsafe { create(&raw const geometry, parameters, error, error_bytes) },
            None => std::ptr::null_mut(),
        };
        Ok(Loaded {
            state: plugin::create(&self.library, &self.c_parameters, make)?,
            table: self.table,
        })
    }
}

/// The policy of one cache.
#[derive(Debug)]
pub(crate) struct Loaded {
    table: &'static CReplacement,
    state: NonNull<c_void>,
}

// SAFETY: the header lets calls with one state come from any thread, one after the other: each needs `&mut self`.
unsafe impl Send for Loaded {}
// SAFETY: nothing is called through a shared reference.
unsafe impl Sync for Loaded {}

impl Loaded {
    #[inline]
    pub(super) fn hit(&mut self, set: usize, way: usize, request: &Request) {
        if let Some(hit) = self.table.hit {
            // SAFETY: the state is what `create` returned, and the request is valid during the call.
            unsafe {
                hit(
                    self.state.as_ptr(),
                    set as u64,
                    way as u32,
                    &CRequest::from(request),
                );
            }
        }
    }

    #[inline]
    pub(super) fn fill(&mut self, set: usize, way: usize, request: &Request) {
        if let Some(fill) = self.table.fill {
            // SAFETY: as for `hit`.
            unsafe {
                fill(
                    self.state.as_ptr(),
                    set as u64,
                    way as u32,
                    &CRequest::from(request),
                );
            }
        }
    }

    /// Whatever the library returns but a candidate is `None`.
    #[inline]
    pub(super) fn victim(&mut self, set: usize, candidates: u64, request: &Request) -> Option<usize> {
        // SAFETY: as for `hit`.
        let way = unsafe {
            (self.table.victim?)(
                self.state.as_ptr(),
                set as u64,
                candidates,
                &CRequest::from(request),
            )
        };
        let way = u32::try_from(way).ok().filter(|&way| way < u64::BITS)?;
        (candidates >> way & 1 == 1).then_some(way as usize)
    }

    #[inline]
    pub(super) fn leave(&mut self, set: usize, way: usize) {
        if let Some(leave) = self.table.leave {
            // SAFETY: as for `hit`.
            unsafe { leave(self.state.as_ptr(), set as u64, way as u32) }
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
