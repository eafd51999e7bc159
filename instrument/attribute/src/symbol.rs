//! From instructions to functions and source lines.
//!
//! DWARF is read lazily, per file, and each instruction is looked up once. Where there is no DWARF the symbol tables
//! answer, and failing them the address within the module.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::demangle::{Parameters, demangle};
use crate::module::{Binary, CodeAddress, Module, ModuleId, Modules, Reader, Region};

/// A function that another one is inlined into.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Frame {
    /// Its demangled name.
    pub function: Arc<str>,
    /// The source file of the inlined call.
    pub file: Option<Arc<str>>,
    /// The line of the inlined call.
    pub line: Option<u32>,
}

/// What the source says about an instruction.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Location {
    /// The module it is in.
    pub module: Option<ModuleId>,
    /// The module's file name, or what kind of memory it is in: `[jit]`, `[vdso]`, `[anon]`, `[unknown]`.
    pub module_name: Arc<str>,
    /// The innermost function, demangled: the one whose source was written for this instruction.
    pub function: Arc<str>,
    /// The source file.
    pub file: Option<Arc<str>>,
    /// The line in it.
    pub line: Option<u32>,
    /// The functions that `function` is inlined into, from the inside out. The last one is a function of its own in
    /// the machine code.
    pub inlined: Vec<Frame>,
}

impl Location {
    /// The function as the machine code has it, after inlining.
    #[must_use]
    pub fn outermost_function(&self) -> &Arc<str> {
        self.inlined
            .last()
            .map_or(&self.function, |frame| &frame.function)
    }
}

/// Names, each kept once. Thousands of instructions are of one function, and demangling C++ costs more than finding it.
#[derive(Default)]
struct Names {
    names: HashSet<Arc<str>>,
    demangled: HashMap<Box<str>, Arc<str>>,
}

impl Names {
    fn intern(&mut self, name: &str) -> Arc<str> {
        if let Some(known) = self.names.get(name) {
            return Arc::clone(known);
        }
        let name: Arc<str> = name.into();
        self.names.insert(Arc::clone(&name));
        name
    }

    fn demangled(&mut self, mangled: &str) -> Arc<str> {
        if let Some(known) = self.demangled.get(mangled) {
            return Arc::clone(known);
        }
        let name = self.intern(&demangle(mangled, Parameters::Shown));
        self.demangled.insert(mangled.into(), Arc::clone(&name));
        name
    }
}

/// Looks up instructions and remembers the answers.
#[derive(Default)]
pub struct Symbolizer {
    /// By address of the shared binary, which is kept alive beside it.
    contexts: HashMap<*const Binary, Dwarf>,
    locations: HashMap<CodeAddress, Location>,
    names: Names,
    notes: Vec<String>,
}

impl Symbolizer {
    /// What the source says about an instruction.
    pub fn locate(&mut self, at: CodeAddress, modules: &Modules) -> &Location {
        let Self {
            contexts,
            locations,
            names,
            notes,
        } = self;
        match locations.entry(at) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(unknown) => {
                let location = match at.region {
                    Region::Module(id) => {
                        let module = modules.get(id);
                        let dwarf = module.binary().map(|binary| {
                            &*contexts
                                .entry(Arc::as_ptr(binary))
                                .or_insert_with(|| Dwarf::load(module, binary, notes))
                        });
                        in_module(id, module, dwarf, at.offset, names)
                    }
                    elsewhere => Location {
                        module: None,
                        module_name: names.intern(elsewhere.name()),
                        function: names.intern(elsewhere.name()),
                        file: None,
                        line: None,
                        inlined: Vec::new(),
                    },
                };
                unknown.insert(location)
            }
        }
    }

    /// What is missing for full names and how to get it: a sentence for each module that was looked into.
    #[must_use]
    pub fn notes(&self) -> &[String] {
        &self.notes
    }
}

/// What DWARF says of a frame: function, file, line.
type Covered = (Option<Arc<str>>, Option<Arc<str>>, Option<u32>);

/// The parsed DWARF of a binary.
struct Dwarf {
    binary: Arc<Binary>,
    context: Option<addr2line::Context<Reader>>,
}

impl Dwarf {
    fn load(module: &Module, binary: &Arc<Binary>, notes: &mut Vec<String>) -> Self {
        let context = binary.debug_image().and_then(|debug| {
            addr2line::Context::from_dwarf(binary.dwarf())
                .inspect_err(|error| {
                    notes.push(format!(
                        "{}: its debug info cannot be read: {error}",
                        debug.path().display()
                    ));
                })
                .ok()
        });
        if binary.image().is_overwritten() {
            notes.push(format!(
                "{}: was written while the target ran; functions and lines may be those of another build",
                module.path
            ));
        }
        if binary.debug_image().is_none() {
            let debuginfod = module
                .build_id()
                .map(|id| format!(", or fetch them with `debuginfod-find debuginfo {id}`"))
                .unwrap_or_default();
            notes.push(format!(
                "no debug info in {}: no source lines for it. Build it with -g, or install its debug symbols (Debian: \
                 its -dbgsym package){debuginfod}",
                module.path
            ));
        }
        Self {
            binary: Arc::clone(binary),
            context,
        }
    }

    /// The frames at a link-time address, innermost first: function, file, line. Empty if DWARF does not cover it.
    fn frames(&self, address: u64, names: &mut Names) -> Vec<Covered> {
        let mut found = Vec::new();
        let Some(context) = &self.context else {
            return found;
        };
        let Ok(mut frames) = context.find_frames(address).skip_all_loads() else {
            return found;
        };
        // Broken DWARF: what was read before the error still counts.
        while let Ok(Some(frame)) = frames.next() {
            let function = frame
                .function
                .as_ref()
                .and_then(|function| function.raw_name().ok().map(|name| names.demangled(&name)));
            let (file, line) = frame.location.map_or((None, None), |location| {
                (
                    location.file.map(|file| names.intern(file)),
                    location.line.filter(|line| *line != 0),
                )
            });
            found.push((function, file, line));
        }
        found
    }
}

fn in_module(
    id: ModuleId,
    module: &Module,
    dwarf: Option<&Dwarf>,
    offset: u64,
    names: &mut Names,
) -> Location {
    let from_symbols = |names: &mut Names| {
        let symbol = dwarf.and_then(|dwarf| dwarf.binary.function(offset).ok());
        match symbol {
            Some(symbol) => names.demangled(symbol.mangled()),
            None => names.intern(&format!("[{}+{offset:#x}]", module.name())),
        }
    };
    let mut frames: Vec<Frame> = dwarf
        .map(|dwarf| dwarf.frames(offset, names))
        .unwrap_or_default()
        .into_iter()
        .map(|(function, file, line)| Frame {
            function: function.unwrap_or_else(|| from_symbols(names)),
            file,
            line,
        })
        .collect();
    // DWARF gives file-local C++ functions no linkage name: the symbol knows their namespace and parameters.
    if let Some(outermost) = frames.last_mut()
        && let Some(symbol) = dwarf.and_then(|dwarf| dwarf.binary.function(offset).ok())
        && symbol.mangled().starts_with("_Z")
        && symbol.name().ends_with(&format!("::{}", outermost.function))
    {
        outermost.function = names.demangled(symbol.mangled());
    }
    if frames.is_empty() {
        frames.push(Frame {
            function: from_symbols(names),
            file: None,
            line: None,
        });
    }
    let inlined = frames.split_off(1);
    let Frame { function, file, line } = frames.remove(0);
    Location {
        module: Some(id),
        module_name: names.intern(module.name()),
        function,
        file,
        line,
        inlined,
    }
}
