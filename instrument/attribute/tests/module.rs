//! Modules that come and go, and the objects inside them.

mod compiled;

use std::path::{Path, PathBuf};

use compiled::{compile, load, symbol};
use memloupe_attribute::{Class, Modules, Objects, Region, Symbolizer};
use memloupe_stream::{Event, MapKind};

const SOURCE: &str = r#"
int filled[300] = {1, 2, 3};
int empty[5000];
const int table[64] = {4, 5, 6};
static double hidden[20] = {7};
int work(int i) { return filled[i] + empty[i] + table[i] + (int)hidden[i]; }
int main(int argc, char **argv) { (void)argv; return work(argc); }
"#;

const BASE: u64 = 0x7f00_1234_0000;

fn anonymous(address: u64, bytes: u64, protection: u64) -> Event {
    Event::Map {
        address,
        bytes,
        protection,
        kind: MapKind::Anonymous,
        file_offset: 0,
        stack: 0,
        path: String::new(),
    }
}

fn unmap_all(events: &[Event]) -> Vec<Event> {
    let unmap = |event: &Event| match event {
        Event::Map { address, bytes, .. } => Some(Event::Unmap {
            address: *address,
            bytes: *bytes,
        }),
        _ => None,
    };
    events.iter().filter_map(unmap).collect()
}

fn feed(modules: &mut Modules, objects: &mut Objects, events: &[Event]) {
    for event in events {
        modules.event(event);
        objects.event(event, modules);
    }
}

fn library(folder: &Path, name: &str, function: &str) -> PathBuf {
    let source = SOURCE.replace("work", function).replace("int main", "int unused");
    compile(folder, "cc", &source, name, &["-O1", "-shared", "-fPIC"])
}

#[test]
fn a_library_loaded_where_another_was_is_another_module() {
    let folder = tempfile::tempdir().expect("a folder");
    let first = library(folder.path(), "libfirst.so", "alpha");
    let second = library(folder.path(), "libsecond.so", "gamma");
    let (mut modules, mut objects) = (Modules::default(), Objects::new(Vec::new()));
    let (first_events, _) = load(&first, BASE);
    let (second_events, _) = load(&second, BASE);
    let at = BASE + symbol(&first, "alpha").0;
    assert_eq!(symbol(&second, "gamma").0 + BASE, at);

    feed(&mut modules, &mut objects, &first_events);
    let first_address = modules.code_address(at);
    assert_eq!(first_address.region, Region::Module(0));
    assert_eq!(modules.function_name(at), Some("alpha"));
    let code = objects.lookup(at, &modules);
    let generation = objects.generation();

    feed(&mut modules, &mut objects, &unmap_all(&first_events));
    assert_eq!(modules.module_at(at), None);
    assert_eq!(modules.function_name(at), None);
    assert!(!modules.get(0).is_loaded);

    feed(&mut modules, &mut objects, &second_events);
    assert_eq!(modules.function_name(at), Some("gamma"));
    assert_eq!(modules.module_at(at), Some(1));
    assert_ne!(objects.generation(), generation);
    assert_ne!(objects.lookup(at, &modules).object, code.object);

    feed(&mut modules, &mut objects, &unmap_all(&second_events));
    feed(&mut modules, &mut objects, &first_events);
    assert_eq!(modules.module_at(at), Some(2));

    // The address noted while the first was loaded still means the first.
    let mut symbolizer = Symbolizer::default();
    assert_eq!(&*symbolizer.locate(first_address, &modules).function, "alpha");
}

#[test]
fn variables_sections_and_code_of_a_module_are_objects() {
    let folder = tempfile::tempdir().expect("a folder");
    for (name, flags, base) in [
        ("program", &["-O1", "-pie", "-fPIE"][..], BASE),
        ("fixed", &["-O1", "-no-pie", "-fno-pie"], 0),
        (
            "dense",
            &["-O1", "-no-pie", "-fno-pie", "-Wl,-z,noseparate-code"],
            0,
        ),
    ] {
        let program = compile(folder.path(), "cc", SOURCE, name, flags);
        let (events, bias) = load(&program, base);
        assert_eq!(bias, base);
        let (mut modules, mut objects) = (Modules::default(), Objects::new(Vec::new()));
        feed(&mut modules, &mut objects, &events);
        assert_eq!(modules.all().len(), 1);
        assert_eq!(modules.get(0).bias, bias);

        for variable in ["filled", "empty", "table", "hidden"] {
            let (linked, bytes) = symbol(&program, variable);
            let start = linked + bias;
            // `empty` begins in the file's last page and goes on in anonymous memory: two extents of one object.
            let mut position = start;
            while position < start + bytes {
                let extent = objects.lookup(position, &modules);
                let object = &objects.table()[extent.object as usize];
                assert_eq!(object.name, format!("static: {variable} ({name})"));
                assert_eq!((object.class, object.bytes), (Class::Static, bytes));
                assert!(extent.start <= position && position < extent.end && extent.end <= start + bytes);
                position = extent.end;
            }
            for outside in [start - 1, start + bytes] {
                let object = objects.lookup(outside, &modules).object;
                assert_ne!(
                    objects.table()[object as usize].name,
                    format!("static: {variable} ({name})")
                );
            }
        }
        let code = objects.lookup(symbol(&program, "work").0 + bias, &modules).object;
        assert_eq!(objects.table()[code as usize].class, Class::Code);

        // Extents are true for each byte that they claim.
        for event in &events {
            let Event::Map { address, bytes, .. } = event else {
                continue;
            };
            let mut position = *address;
            while position < address + bytes {
                let extent = objects.lookup(position, &modules);
                assert!(
                    extent.start <= position && position < extent.end,
                    "{position:#x}: {extent:?}"
                );
                for inside in [extent.start, extent.start.midpoint(extent.end), extent.end - 1] {
                    assert_eq!(objects.lookup(inside, &modules).object, extent.object);
                }
                position = extent.end;
            }
        }
    }
}

#[test]
fn a_stripped_program_has_its_sections() {
    let folder = tempfile::tempdir().expect("a folder");
    let whole = compile(folder.path(), "cc", SOURCE, "whole", &["-O1"]);
    let stripped = compile(folder.path(), "cc", SOURCE, "stripped", &["-O1", "-s"]);
    let (mut modules, mut objects) = (Modules::default(), Objects::new(Vec::new()));
    let (events, bias) = load(&stripped, BASE);
    feed(&mut modules, &mut objects, &events);
    for (variable, section) in [("filled", ".data"), ("empty", ".bss"), ("table", ".rodata")] {
        let object = objects.lookup(symbol(&whole, variable).0 + bias, &modules).object;
        assert_eq!(
            objects.table()[object as usize].name,
            format!("static: stripped {section}")
        );
    }
}

#[test]
fn code_outside_of_modules_is_told_apart() {
    let mut modules = Modules::default();
    modules.event(&anonymous(0x1000, 0x1000, 7));
    modules.event(&anonymous(0x3000, 0x1000, 3));
    modules.event(&Event::Map {
        address: 0x5000,
        bytes: 0x1000,
        protection: 5,
        kind: MapKind::Anonymous,
        file_offset: 0,
        stack: 0,
        path: "[vdso]".to_owned(),
    });
    let mut symbolizer = Symbolizer::default();
    for (ip, name) in [
        (0x1800, "[jit]"),
        (0x3000, "[anon]"),
        (0x5fff, "[vdso]"),
        (0x2000, "[unknown]"),
    ] {
        assert_eq!(modules.module_at(ip), None);
        assert_eq!(
            &*symbolizer.locate(modules.code_address(ip), &modules).module_name,
            name
        );
    }
    modules.event(&Event::Remap {
        from: 0x1000,
        from_bytes: 0x1000,
        to: 0x9000,
        to_bytes: 0x2000,
    });
    assert_eq!(modules.code_address(0xa000).region, Region::Jit);
    assert_eq!(modules.code_address(0x1000).region, Region::Unknown);
}

#[test]
fn a_file_that_is_gone_or_no_elf_file_is_a_module_with_a_note() {
    let folder = tempfile::tempdir().expect("a folder");
    let script = folder.path().join("script");
    std::fs::write(&script, "#!/bin/sh\n").expect("written");
    let gone = folder.path().join("gone (deleted)");
    for (path, expected) in [
        (&gone, "cannot be read"),
        (&script, "not a 64-bit x86-64 ELF file"),
    ] {
        let (mut modules, mut objects) = (Modules::default(), Objects::new(Vec::new()));
        let event = Event::Map {
            address: BASE,
            bytes: 0x2000,
            protection: 5,
            kind: MapKind::File,
            file_offset: 0x1000,
            stack: 0,
            path: path.to_str().expect("UTF-8").to_owned(),
        };
        feed(&mut modules, &mut objects, &[event]);
        let notes: Vec<&str> = modules.notes().collect();
        assert!(notes.len() == 1 && notes[0].contains(expected), "{notes:?}");
        let mut symbolizer = Symbolizer::default();
        let location = symbolizer.locate(modules.code_address(BASE + 0x10), &modules);
        let name = path.file_name().expect("a name").to_str().expect("UTF-8");
        assert_eq!(&*location.function, format!("[{name}+0x1010]"));
        let code = objects.lookup(BASE + 0x10, &modules).object;
        assert_eq!(objects.table()[code as usize].class, Class::Code);
    }
}

#[test]
fn a_program_written_over_while_it_runs_is_noted() {
    let folder = tempfile::tempdir().expect("a folder");
    let program = compile(folder.path(), "cc", SOURCE, "rebuilt", &["-g", "-O1"]);
    let bytes = std::fs::read(&program).expect("readable");
    let linked = symbol(&program, "work").0;
    let notes = |change: &dyn Fn()| {
        let mut modules = Modules::default();
        load(&program, BASE)
            .0
            .iter()
            .for_each(|event| modules.event(event));
        change();
        let mut symbolizer = Symbolizer::default();
        symbolizer.locate(modules.code_address(BASE + linked), &modules);
        symbolizer.notes().to_vec()
    };
    let replace = || {
        let replacement = folder.path().join("replacement");
        std::fs::write(&replacement, &bytes).expect("written");
        std::fs::rename(&replacement, &program).expect("renamed");
    };
    assert!(notes(&|| ()).is_empty());
    assert!(
        notes(&replace).is_empty(),
        "the file that was loaded stays readable"
    );
    let written_over = notes(&|| std::fs::write(&program, &bytes).expect("written"));
    assert!(written_over.len() == 1 && written_over[0].contains("was written while the target ran"));
}

#[test]
fn threads_stacks_are_told_apart() {
    let (mut modules, mut objects) = (Modules::default(), Objects::new(Vec::new()));
    let start = |thread, stack_pointer| Event::ThreadStart {
        thread,
        os_tid: 0,
        parent: 0,
        stack_pointer,
    };
    let main_stack = Event::Map {
        address: 0x7ff0_0000,
        bytes: 0x10_0000,
        protection: 3,
        kind: MapKind::Stack,
        file_offset: 0,
        stack: 0,
        path: String::new(),
    };
    let events = [
        main_stack,
        start(0, 0x7fff_0000),
        anonymous(0x10_0000, 0x10_0000, 3),
        anonymous(0x20_0000, 0x10_0000, 3),
        start(1, 0x1f_ff00),
        start(2, 0x2f_ff00),
    ];
    feed(&mut modules, &mut objects, &events);
    let name_at = |objects: &mut Objects, address| {
        let extent = objects.lookup(address, &modules);
        objects.table()[extent.object as usize].name.clone()
    };
    assert_eq!(name_at(&mut objects, 0x7ff0_0000), "main stack");
    assert_eq!(name_at(&mut objects, 0x10_0000), "stack of thread 1");
    assert_eq!(name_at(&mut objects, 0x20_0000), "stack of thread 2");
    // The C library keeps stacks for later threads.
    objects.event(&start(3, 0x1f_ff00), &modules);
    assert_eq!(name_at(&mut objects, 0x10_0000), "stack of thread 3");
}
