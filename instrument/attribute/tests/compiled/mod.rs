//! Small programs compiled for a test, and the events of loading them.

use std::path::{Path, PathBuf};
use std::process::Command;

use memloupe_stream::{Event, MapKind};
use object::read::elf::{ElfFile64, ProgramHeader};
use object::{LittleEndian, Object, ObjectSymbol, elf};

const PAGE_BYTES: u64 = 4096;

/// Runs a tool of the build environment; its output.
pub(crate) fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    let output =
        output.unwrap_or_else(|error| panic!("{program}, which these tests need, does not run: {error}"));
    assert!(
        output.status.success(),
        "{program} {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Compiles a source text with `cc`, `c++` or `rustc`.
pub(crate) fn compile(folder: &Path, compiler: &str, source: &str, name: &str, flags: &[&str]) -> PathBuf {
    let extension = match compiler {
        "cc" => "c",
        "c++" => "cc",
        _ => "rs",
    };
    let source_path = folder.join(format!("{name}.{extension}"));
    std::fs::write(&source_path, source).expect("the source is written");
    let output = folder.join(name);
    let mut arguments = flags.to_vec();
    arguments.extend([
        "-o",
        output.to_str().expect("UTF-8"),
        source_path.to_str().expect("UTF-8"),
    ]);
    run(compiler, &arguments);
    output
}

/// The events of loading a file at a base, as the kernel and the dynamic loader do it: each segment is a mapping of the
/// file, and what its memory exceeds the file's pages by is anonymous. Returns the load bias, too.
pub(crate) fn load(path: &Path, base: u64) -> (Vec<Event>, u64) {
    let bytes = std::fs::read(path).expect("the file is readable");
    let file = ElfFile64::<LittleEndian>::parse(&*bytes).expect("an ELF file");
    let is_fixed = file.elf_header().e_type.get(LittleEndian) == elf::ET_EXEC;
    let bias = if is_fixed { 0 } else { base };
    let down = |address: u64| address & !(PAGE_BYTES - 1);
    let mut events = Vec::new();
    for header in file.elf_program_headers() {
        if header.p_type(LittleEndian) != elf::PT_LOAD {
            continue;
        }
        let address = header.p_vaddr(LittleEndian) + bias;
        let flags = header.p_flags(LittleEndian);
        let protection = [(elf::PF_R, 1), (elf::PF_W, 2), (elf::PF_X, 4)]
            .iter()
            .map(|(flag, bit)| u64::from(flags.contains(*flag)) * bit)
            .sum();
        let file_end = (address + header.p_filesz(LittleEndian)).next_multiple_of(PAGE_BYTES);
        let memory_end = (address + header.p_memsz(LittleEndian)).next_multiple_of(PAGE_BYTES);
        events.push(Event::Map {
            address: down(address),
            bytes: file_end - down(address),
            protection,
            kind: MapKind::File,
            file_offset: down(header.p_offset(LittleEndian)),
            stack: 0,
            path: path.to_str().expect("UTF-8").to_owned(),
        });
        if memory_end > file_end {
            events.push(Event::Map {
                address: file_end,
                bytes: memory_end - file_end,
                protection,
                kind: MapKind::Anonymous,
                file_offset: 0,
                stack: 0,
                path: String::new(),
            });
        }
    }
    (events, bias)
}

/// Link-time address and size of a symbol.
pub(crate) fn symbol(path: &Path, name: &str) -> (u64, u64) {
    let bytes = std::fs::read(path).expect("the file is readable");
    let file = ElfFile64::<LittleEndian>::parse(&*bytes).expect("an ELF file");
    let found = file
        .symbols()
        .chain(file.dynamic_symbols())
        .find(|symbol| symbol.name() == Ok(name));
    let found = found.unwrap_or_else(|| panic!("{name} is in the symbol table"));
    (found.address(), found.size())
}
