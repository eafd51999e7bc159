//! Modules: the program and libraries of the target, where they are loaded, and what their symbol tables say.
//!
//! A module is a file with an executable mapping. It is loaded from that mapping on until its last executable mapping
//! is gone; loading the same file again makes another module, so that ids are never used twice.

mod binary;
mod classes;
mod image;
mod symbols;

use std::collections::HashMap;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

use memloupe_stream::{Event, MapKind, PROTECTION_EXECUTE};

pub(crate) use binary::Binary;
pub(crate) use classes::{Class as CppClass, FOREIGN, classes};
pub(crate) use image::{Bytes, Image, ImageError, Reader};
pub(crate) use symbols::defined;

use crate::range_map::{Place, RangeMap};

/// Index of a module.
pub type ModuleId = u32;

/// A program or library that is or was loaded.
#[derive(Clone, Debug)]
pub struct Module {
    /// Its file.
    pub path: String,
    /// Run-time address less link-time address.
    pub bias: u64,
    /// Whether it is loaded now.
    pub is_loaded: bool,
    /// What is wrong with its file, if anything, for a person.
    pub note: Option<String>,
    binary: Option<Arc<Binary>>,
    executable_bytes: u64,
}

impl Module {
    /// The file's name without its folder.
    #[must_use]
    pub fn name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or(&self.path)
    }

    /// Its file with debug files, if it could be read.
    pub(crate) fn binary(&self) -> Option<&Arc<Binary>> {
        self.binary.as_ref()
    }

    /// Its build id in hexadecimal.
    #[must_use]
    pub fn build_id(&self) -> Option<String> {
        self.binary.as_ref()?.image().build_id().map(binary::hex)
    }

    /// Whether functions and lines are known, from the file itself or a separate debug file.
    #[must_use]
    pub fn has_debug_info(&self) -> bool {
        self.binary
            .as_ref()
            .is_some_and(|binary| binary.debug_image().is_some())
    }
}

/// What kind of memory code lies in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Region {
    /// A module.
    Module(ModuleId),
    /// The kernel's code that is mapped into every process.
    Vdso,
    /// Anonymous executable memory: code generated at run time.
    Jit,
    /// Anonymous memory that was not mapped executable; it may have been made so later.
    Anonymous,
    /// No mapping is known.
    Unknown,
}

impl Region {
    /// What stands in the place of a module's name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Module(_) => "[module]",
            Self::Vdso => "[vdso]",
            Self::Jit => "[jit]",
            Self::Anonymous => "[anon]",
            Self::Unknown => "[unknown]",
        }
    }
}

/// Where an instruction is, for good: it keeps its meaning when the module is unloaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CodeAddress {
    /// What it is in.
    pub region: Region,
    /// Link-time address in a module, run-time address elsewhere.
    pub offset: u64,
}

/// Tells files apart, also when one took another's name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct FileIdentity {
    path: String,
    device: u64,
    inode: u64,
    bytes: u64,
    modified: (i64, i64),
}

impl FileIdentity {
    fn new(path: &str, metadata: &Metadata) -> Self {
        Self {
            path: path.to_owned(),
            device: metadata.dev(),
            inode: metadata.ino(),
            bytes: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
        }
    }
}

/// All modules, those of the past included.
#[derive(Debug, Default)]
pub struct Modules {
    modules: Vec<Module>,
    /// Address ranges that loaded modules occupy, gaps between segments included.
    spans: RangeMap<ModuleId>,
    mappings: RangeMap<Region>,
    binaries: HashMap<FileIdentity, Arc<Binary>>,
    generation: u64,
}

impl Modules {
    /// Takes in an event; those that do not concern mappings are ignored.
    pub fn event(&mut self, event: &Event) {
        match event {
            Event::Map {
                address,
                bytes,
                protection,
                kind,
                file_offset,
                path,
                ..
            } => {
                let end = address.saturating_add(*bytes);
                self.unmap(*address, end);
                let is_executable = protection & PROTECTION_EXECUTE != 0;
                let region = match kind {
                    MapKind::File if is_executable => {
                        Region::Module(self.load(*address, end, *file_offset, path))
                    }
                    _ if path == "[vdso]" => Region::Vdso,
                    MapKind::Anonymous if is_executable => Region::Jit,
                    _ => Region::Anonymous,
                };
                self.mappings.put(*address, end, region);
            }
            Event::Unmap { address, bytes } => self.unmap(*address, address.saturating_add(*bytes)),
            Event::Remap {
                from,
                from_bytes,
                to,
                to_bytes,
            } => self.remap(*from, *from_bytes, *to, *to_bytes),
            Event::Exec { .. } => {
                self.unmap(0, u64::MAX);
                self.generation += 1;
            }
            _ => {}
        }
    }

    /// The module that occupies an address.
    #[must_use]
    pub fn module_at(&self, address: u64) -> Option<ModuleId> {
        match self.spans.at(address) {
            Place::In(span) => Some(span.value),
            Place::Gap { .. } => None,
        }
    }

    /// A module.
    ///
    /// # Panics
    /// If the id was not handed out by these modules.
    #[must_use]
    pub fn get(&self, id: ModuleId) -> &Module {
        &self.modules[id as usize]
    }

    /// Every module that is or was loaded, in order of their ids.
    #[must_use]
    pub fn all(&self) -> &[Module] {
        &self.modules
    }

    /// Changes when a module is loaded or unloaded.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Where an instruction is. To be asked while its module is loaded.
    #[must_use]
    pub fn code_address(&self, ip: u64) -> CodeAddress {
        if let Some(module) = self.module_at(ip) {
            return CodeAddress {
                region: Region::Module(module),
                offset: ip.wrapping_sub(self.get(module).bias),
            };
        }
        let region = match self.mappings.at(ip) {
            Place::In(mapping) => mapping.value,
            Place::Gap { .. } => Region::Unknown,
        };
        CodeAddress { region, offset: ip }
    }

    /// The function that an instruction is in by the symbol table: demangled, without parameters. Needs no debug
    /// information and costs a binary search.
    #[must_use]
    pub fn function_name(&self, ip: u64) -> Option<&str> {
        let module = self.get(self.module_at(ip)?);
        Some(
            module
                .binary
                .as_ref()?
                .function(ip.wrapping_sub(module.bias))
                .ok()?
                .name(),
        )
    }

    /// The bytes of code in a module's file; none where it has fewer, is no longer there or was overwritten.
    #[must_use]
    pub fn code(&self, at: CodeAddress, bytes: u32) -> Option<&[u8]> {
        let Region::Module(module) = at.region else {
            return None;
        };
        let image = self.get(module).binary()?.image();
        let segment = image.segment_at(at.offset).ok()?;
        let start = at.offset - segment.address;
        let end = start + u64::from(bytes);
        if !segment.is_executable || end > segment.file_bytes || image.is_overwritten() {
            return None;
        }
        let from = segment.file_offset.checked_add(start)? as usize;
        image.file().get(from..from + bytes as usize)
    }

    /// The module that occupies an address, and around it the addresses [start, end) that it occupies.
    pub(crate) fn span_at(&self, address: u64) -> Option<(ModuleId, u64, u64)> {
        match self.spans.at(address) {
            Place::In(span) => Some((span.value, span.start, span.end)),
            Place::Gap { .. } => None,
        }
    }

    /// The addresses [start, end) around one in no module that are in none either.
    pub(crate) fn gap_at(&self, address: u64) -> (u64, u64) {
        match self.spans.at(address) {
            Place::In(_) => (address, address),
            Place::Gap { start, end } => (start, end),
        }
    }

    /// What a person should know about the modules' files.
    pub fn notes(&self) -> impl Iterator<Item = &str> {
        self.modules.iter().filter_map(|module| module.note.as_deref())
    }

    fn load(&mut self, address: u64, end: u64, file_offset: u64, path: &str) -> ModuleId {
        let opened = self.open(path);
        let (binary, mut note) = match opened {
            Ok(binary) => (Some(binary), None),
            Err(note) => (None, Some(note)),
        };
        let bias = binary
            .as_ref()
            .map(|binary| binary.image().bias(address, file_offset));
        if bias == Some(None) {
            note = Some(format!(
                "{path}: no segment of it is at file offset {file_offset:#x}, which is mapped: was it changed since it \
                 was loaded? Its code has no names"
            ));
        }
        let binary = binary.filter(|_| bias != Some(None));
        // Without headers: as if the file were laid out in memory as on disk.
        let bias = bias.flatten().unwrap_or(address.wrapping_sub(file_offset));
        let known = self
            .modules
            .iter()
            .rposition(|module| module.is_loaded && module.bias == bias && module.path == path);
        let id = known.unwrap_or(self.modules.len());
        if known.is_none() {
            self.modules.push(Module {
                path: path.to_owned(),
                bias,
                is_loaded: true,
                note,
                binary: binary.clone(),
                executable_bytes: 0,
            });
            self.generation += 1;
        }
        self.modules[id].executable_bytes += end.saturating_sub(address);
        let id = id as ModuleId;
        let span = binary.and_then(|binary| binary.image().span());
        let (start, end) = span.map_or((address, end), |(start, end)| {
            (start.wrapping_add(bias), end.wrapping_add(bias))
        });
        self.spans.remove(start, end, |_| ());
        self.spans.join(start, end, id);
        id
    }

    fn open(&mut self, path: &str) -> Result<Arc<Binary>, String> {
        let missing =
            |error: std::io::Error| format!("{path}: cannot be read ({error}): its code has no names");
        let metadata = std::fs::metadata(path).map_err(missing)?;
        let identity = FileIdentity::new(path, &metadata);
        if let Some(binary) = self.binaries.get(&identity) {
            return Ok(Arc::clone(binary));
        }
        let binary =
            Binary::open(Path::new(path)).map_err(|error| format!("{error}: its code has no names"))?;
        let binary = Arc::new(binary);
        self.binaries.insert(identity, Arc::clone(&binary));
        Ok(binary)
    }

    fn unmap(&mut self, start: u64, end: u64) {
        let mut unloaded = Vec::new();
        self.mappings.remove(start, end, |lost| {
            if let Region::Module(id) = lost.value {
                let module = &mut self.modules[id as usize];
                module.executable_bytes -= lost.bytes();
                if module.executable_bytes == 0 {
                    module.is_loaded = false;
                    unloaded.push(id);
                }
            }
        });
        for id in unloaded {
            self.generation += 1;
            let spans: Vec<_> = self.spans.iter().filter(|span| span.value == id).collect();
            for span in spans {
                self.spans.remove(span.start, span.end, |_| ());
            }
        }
    }

    /// Generated code keeps its kind when it moves. A moved piece of a module does not belong to it any more.
    fn remap(&mut self, from: u64, from_bytes: u64, to: u64, to_bytes: u64) {
        let region = match self.mappings.at(from) {
            Place::In(mapping) if !matches!(mapping.value, Region::Module(_)) => mapping.value,
            _ => Region::Anonymous,
        };
        self.unmap(from, from.saturating_add(from_bytes));
        let end = to.saturating_add(to_bytes);
        self.unmap(to, end);
        self.mappings.put(to, end, region);
    }
}
