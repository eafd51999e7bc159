//! The compiled tool, as part of memloupe's own binary: an installed memloupe needs no file beside itself.

/// A file of the tool: its name in Valgrind's library folder, and its bytes.
pub(crate) struct Artefact {
    pub(crate) name: &'static str,
    pub(crate) bytes: &'static [u8],
}

/// The Valgrind version the tool was compiled against; `None` if its package was missing when memloupe was built.
#[cfg(valgrind_tool)]
pub const BUILT_FOR: Option<&str> = Some(env!("MEMLOUPE_VALGRIND_VERSION"));
/// The Valgrind version the tool was compiled against; `None` if its package was missing when memloupe was built.
#[cfg(not(valgrind_tool))]
pub const BUILT_FOR: Option<&str> = None;

#[cfg(valgrind_tool)]
pub(crate) const ARTEFACTS: &[Artefact] = &[
    Artefact {
        name: "memloupe-amd64-linux",
        bytes: include_bytes!(concat!(env!("OUT_DIR"), "/memloupe-amd64-linux")),
    },
    Artefact {
        name: "vgpreload_memloupe-amd64-linux.so",
        bytes: include_bytes!(concat!(env!("OUT_DIR"), "/vgpreload_memloupe-amd64-linux.so")),
    },
];
#[cfg(not(valgrind_tool))]
pub(crate) const ARTEFACTS: &[Artefact] = &[];
