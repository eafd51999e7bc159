//! The paths of calls with the functions' names: call sites of one function in the same path are one.

use std::collections::HashMap;

use memloupe_attribute::{CallPaths, DEPTH_LIMIT, Location, PATH_LIMIT, PathId};
use memloupe_stream::SiteId;

use crate::profile::CallPath;

/// Named paths, and which of them each path of the attribution is.
#[derive(Default)]
pub(super) struct NamedPaths {
    pub(super) paths: Vec<CallPath>,
    place: Vec<Option<u32>>,
}

impl NamedPaths {
    /// `locate` says where a call is.
    pub(super) fn of(paths: &CallPaths, mut locate: impl FnMut(SiteId) -> Option<Location>) -> Self {
        let mut named = Self {
            paths: Vec::new(),
            place: vec![None],
        };
        let mut index: HashMap<CallPath, u32> = HashMap::new();
        for call in paths.calls() {
            let (function, module) = locate(call.site).map_or_else(
                || ("(unknown)".to_owned(), String::new()),
                |location| (chain(&location), location.module_name.to_string()),
            );
            let path = CallPath {
                before: named.place[call.caller as usize],
                function,
                module,
            };
            let place = *index.entry(path).or_insert_with_key(|path| {
                named.paths.push(path.clone());
                named.paths.len() as u32 - 1
            });
            named.place.push(Some(place));
        }
        named
    }

    pub(super) fn place(&self, path: PathId) -> Option<u32> {
        self.place[path as usize]
    }
}

/// The functions at a place, from the one that the machine code knows to the innermost one inlined into it.
fn chain(location: &Location) -> String {
    let outer = location.inlined.iter().rev().map(|frame| frame.function.as_ref());
    let frames: Vec<&str> = outer.chain([location.function.as_ref()]).collect();
    frames.join(";")
}

/// What a reader of the paths must know.
pub(super) fn note(paths: &CallPaths) -> Option<String> {
    (paths.unresolved() > 0).then(|| {
        format!(
            "{} calls deeper than {DEPTH_LIMIT} or beyond the first {PATH_LIMIT} paths are counted with their callers' paths",
            paths.unresolved()
        )
    })
}
