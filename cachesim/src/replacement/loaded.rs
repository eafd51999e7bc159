//! A replacement policy of a user's own, from a shared library.

use std::ffi::{c_char, c_void};

use super::{Geometry, Request};
use crate::plugin::{Model, Plugin, PluginError, Table};

/// `memloupe_cache_geometry`.
#[repr(C)]
struct CGeometry {
    sets: u64,
    ways: u32,
    reserved: u32,
    seed: u64,
}

/// `memloupe_line_request`.
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
pub(super) struct CReplacement {
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

    fn destroy(&self) -> Option<unsafe extern "C" fn(*mut c_void)> {
        self.destroy
    }
}

/// The policy of one cache.
#[derive(Debug)]
pub(crate) struct Loaded(Model<CReplacement>);

impl Loaded {
    pub(super) fn new(plugin: &Plugin<CReplacement>, geometry: &Geometry) -> Result<Self, PluginError> {
        let geometry = CGeometry {
            sets: geometry.sets as u64,
            ways: geometry.ways as u32,
            reserved: 0,
            seed: geometry.seed,
        };
        let make = |table: &CReplacement, parameters, error, error_bytes| match table.create {
            // SAFETY: the pointers are valid during the call; the function is the library's for this.
            Some(create) => unsafe { create(&raw const geometry, parameters, error, error_bytes) },
            None => std::ptr::null_mut(),
        };
        plugin.create(make).map(Self)
    }

    #[inline]
    pub(super) fn hit(&mut self, set: usize, way: usize, request: &Request) {
        if let Some(hit) = self.0.table.hit {
            // SAFETY: the state is the model's, and the request is valid during the call.
            unsafe {
                hit(self.0.state(), set as u64, way as u32, &CRequest::from(request));
            }
        }
    }

    #[inline]
    pub(super) fn fill(&mut self, set: usize, way: usize, request: &Request) {
        if let Some(fill) = self.0.table.fill {
            // SAFETY: as for `hit`.
            unsafe {
                fill(self.0.state(), set as u64, way as u32, &CRequest::from(request));
            }
        }
    }

    /// Whatever the library returns but a candidate is `None`.
    #[inline]
    pub(super) fn victim(&mut self, set: usize, candidates: u64, request: &Request) -> Option<usize> {
        // SAFETY: as for `hit`.
        let way = unsafe {
            (self.0.table.victim?)(self.0.state(), set as u64, candidates, &CRequest::from(request))
        };
        let way = u32::try_from(way).ok().filter(|&way| way < u64::BITS)?;
        (candidates >> way & 1 == 1).then_some(way as usize)
    }

    #[inline]
    pub(super) fn leave(&mut self, set: usize, way: usize) {
        if let Some(leave) = self.0.table.leave {
            // SAFETY: as for `hit`.
            unsafe { leave(self.0.state(), set as u64, way as u32) }
        }
    }
}
