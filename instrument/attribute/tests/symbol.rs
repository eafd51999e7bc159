//! Functions and lines of programs compiled here, compared with what binutils makes of them.

mod compiled;

use std::path::Path;

use compiled::{compile, load, run, symbol};
use memloupe_attribute::{Location, Modules, Symbolizer};
use proptest::test_runner::TestCaseResult;

const C_SOURCE: &str = r#"
#include <stdio.h>
static inline __attribute__((always_inline)) float square(float x) { return x * x; }
static inline __attribute__((always_inline)) float norm(const float *v, int n) {
    float sum = 0;
    for (int i = 0; i < n; i++)
        sum += square(v[i]);
    return sum;
}
__attribute__((noinline)) float measure(const float *v, int n) {
    return norm(v, n) + 1;
}
int main(int argc, char **argv) {
    float v[64];
    for (int i = 0; i < 64; i++) v[i] = i * argc;
    printf("%f\n", measure(v, 64));
    return 0;
}
"#;

const CPP_SOURCE: &str = r#"
#include <cstdio>
#include <vector>
namespace shapes {
template <typename T> struct Grid {
    std::vector<T> cells;
    __attribute__((noinline)) T sum(int from) const {
        T total = 0;
        for (auto i = cells.begin() + from; i != cells.end(); ++i) total += *i;
        return total;
    }
};
}
namespace {
__attribute__((noipa)) int local(int n) { return n * n + std::printf("local\n"); }
}
int main(int argc, char **) {
    local(argc);
    shapes::Grid<double> grid{std::vector<double>(argc * 100, 1.5)};
    std::printf("%f\n", grid.sum(argc));
}
"#;

const RUST_SOURCE: &str = r#"
#[inline(always)]
fn square(x: f32) -> f32 { x * x }
#[inline(never)]
pub fn norm(values: &[f32]) -> f32 {
    values.iter().map(|x| square(*x)).sum()
}
fn main() {
    let values: Vec<f32> = std::env::args().map(|a| a.len() as f32).collect();
    println!("{}", norm(&values));
}
"#;

const BASE: u64 = 0x5555_5555_4000;

fn loaded(path: &Path) -> (Modules, u64) {
    let mut modules = Modules::default();
    let (events, bias) = load(path, BASE);
    events.iter().for_each(|event| modules.event(event));
    (modules, bias)
}

/// (function, file:line) of each frame, innermost first.
fn frames(location: &Location) -> Vec<(String, String)> {
    let place = |file: &Option<std::sync::Arc<str>>, line: Option<u32>| {
        let file = file.as_deref().unwrap_or("??");
        format!("{file}:{}", line.map_or("?".to_owned(), |line| line.to_string()))
    };
    std::iter::once((
        location.function.to_string(),
        place(&location.file, location.line),
    ))
    .chain(
        location
            .inlined
            .iter()
            .map(|frame| (frame.function.to_string(), place(&frame.file, frame.line))),
    )
    .collect()
}

/// What binutils says about link-time addresses.
fn reference(path: &Path, addresses: &[u64]) -> Vec<Vec<(String, String)>> {
    let mut arguments = vec!["-a".to_owned(), "-f".to_owned(), "-i".to_owned(), "-e".to_owned()];
    arguments.push(path.to_str().expect("UTF-8").to_owned());
    arguments.extend(addresses.iter().map(|address| format!("{address:#x}")));
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let output = run("addr2line", &arguments);
    let mut answers: Vec<Vec<(String, String)>> = Vec::new();
    let mut lines = output.lines();
    while let Some(line) = lines.next() {
        if line.starts_with("0x") {
            answers.push(Vec::new());
            continue;
        }
        let place = lines.next().expect("a function has a place");
        let place = place.split(" (discriminator").next().expect("one part at least");
        answers
            .last_mut()
            .expect("an address comes first")
            .push((line.to_owned(), place.to_owned()));
    }
    answers
}

/// Every address of a function against binutils. `names`: compare function names as well as places.
fn compare(path: &Path, function: &str, names: bool) -> usize {
    let (modules, bias) = loaded(path);
    let (start, bytes) = symbol(path, function);
    assert!(bytes > 0);
    let addresses: Vec<u64> = (start..start + bytes).collect();
    let expected = reference(path, &addresses);
    assert_eq!(expected.len(), addresses.len());
    let mut symbolizer = Symbolizer::default();
    let mut inlined = 0;
    for (address, expected) in addresses.iter().zip(expected) {
        let location = symbolizer.locate(modules.code_address(address + bias), &modules);
        let found = frames(location);
        inlined = inlined.max(location.inlined.len());
        if names {
            assert_eq!(found, expected, "at {address:#x} of {}", path.display());
        } else {
            let places = |frames: &[(String, String)]| -> Vec<String> {
                frames.iter().map(|(_, place)| place.clone()).collect()
            };
            assert_eq!(
                places(&found),
                places(&expected),
                "at {address:#x} of {}",
                path.display()
            );
        }
    }
    assert!(symbolizer.notes().is_empty(), "{:?}", symbolizer.notes());
    inlined
}

#[test]
fn lines_and_inlined_frames_are_those_of_binutils() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    for (name, flags) in [
        ("pie", &["-g", "-O2", "-pie", "-fPIE"][..]),
        ("fixed", &["-g", "-O2", "-no-pie", "-fno-pie"]),
        ("dwarf4", &["-gdwarf-4", "-O2"]),
        ("compressed", &["-g", "-O2", "-gz=zlib"]),
        ("one-segment", &["-g", "-O2", "-Wl,-z,noseparate-code"]),
        (
            "high",
            &["-g", "-O2", "-no-pie", "-fno-pie", "-Wl,-Ttext-segment=0x7000000"],
        ),
    ] {
        let program = compile(folder, "cc", C_SOURCE, name, flags);
        assert_eq!(
            compare(&program, "measure", true),
            2,
            "{name}: square in norm in measure"
        );
        compare(&program, "main", true);
    }
    let rust = compile(
        folder,
        "rustc",
        RUST_SOURCE,
        "rust",
        &["-g", "-O", "-Csymbol-mangling-version=v0"],
    );
    let bytes = std::fs::read(&rust).expect("compiled");
    let file = object::File::parse(&*bytes).expect("an ELF file");
    let norm = object::Object::symbols(&file)
        .filter_map(|symbol| object::ObjectSymbol::name(&symbol).ok().map(str::to_owned))
        .find(|name| name.contains("4rust4norm"))
        .expect("norm has a symbol");
    assert!(compare(&rust, &norm, false) >= 2);
}

#[test]
fn names_are_demangled() {
    let folder = tempfile::tempdir().expect("a folder");
    let program = compile(folder.path(), "c++", CPP_SOURCE, "grid", &["-g", "-O2"]);
    let mangled = "_ZNK6shapes4GridIdE3sumEi";
    compare(&program, mangled, false);
    let (modules, bias) = loaded(&program);
    let (start, bytes) = symbol(&program, mangled);
    let mut symbolizer = Symbolizer::default();
    let mut at = |address: u64| {
        symbolizer
            .locate(modules.code_address(address + bias), &modules)
            .clone()
    };
    let located = at(start);
    assert_eq!(
        &**located.outermost_function(),
        "shapes::Grid<double>::sum(int) const"
    );
    assert_eq!(&*located.module_name, "grid");
    let local = symbol(&program, "_ZN12_GLOBAL__N_15localEi").0;
    assert_eq!(&*at(local).function, "(anonymous namespace)::local(int)");
    let names: Vec<String> = (start..start + bytes)
        .flat_map(|address| frames(&at(address)))
        .map(|(function, _)| function)
        .collect();
    assert!(names.iter().all(|name| !name.starts_with("_Z")), "{names:?}");
    assert!(
        names
            .iter()
            .any(|name| name.starts_with("__gnu_cxx::__normal_iterator<")),
        "{names:?}"
    );
    assert_eq!(
        modules.function_name(start + bias),
        Some("shapes::Grid<double>::sum")
    );
}

fn check_separate(program: &Path) {
    let (modules, bias) = loaded(program);
    assert!(modules.all()[0].has_debug_info(), "{}", program.display());
    let mut symbolizer = Symbolizer::default();
    let (start, _) = symbol(program.with_file_name("whole").as_path(), "measure");
    let location = symbolizer.locate(modules.code_address(start + bias), &modules);
    assert_eq!(&**location.outermost_function(), "measure");
    assert!(
        location
            .file
            .as_deref()
            .is_some_and(|file| file.ends_with("whole.c")),
        "{location:?}"
    );
    assert_eq!(
        modules.function_name(start + bias),
        Some("measure"),
        "from the debug file's symbol table"
    );
    assert!(symbolizer.notes().is_empty());
}

#[test]
fn separate_debug_files_are_found() {
    for build_id in ["-Wl,--build-id=sha1", "-Wl,--build-id=none"] {
        let folder = tempfile::tempdir().expect("a folder");
        let folder = folder.path();
        let whole = compile(folder, "cc", C_SOURCE, "whole", &["-g", "-O2", build_id]);
        let debug = folder.join("stripped.debug");
        let stripped = folder.join("stripped");
        let [whole, debug_name, stripped_name] =
            [&whole, &debug, &stripped].map(|path| path.to_str().expect("UTF-8").to_owned());
        run(
            "objcopy",
            &[
                "--only-keep-debug",
                "--compress-debug-sections=zlib",
                &whole,
                &debug_name,
            ],
        );
        run(
            "objcopy",
            &[
                "--strip-all",
                &format!("--add-gnu-debuglink={debug_name}"),
                &whole,
                &stripped_name,
            ],
        );
        check_separate(&stripped);
        std::fs::create_dir(folder.join(".debug")).expect("made");
        std::fs::rename(&debug, folder.join(".debug/stripped.debug")).expect("moved");
        check_separate(&stripped);
        // Another build's debug file must not be taken.
        let other = compile(
            folder,
            "cc",
            &C_SOURCE.replace("+ 1", "+ 2"),
            "other",
            &["-g", "-O2", build_id],
        );
        run(
            "objcopy",
            &["--only-keep-debug", other.to_str().expect("UTF-8"), &debug_name],
        );
        std::fs::rename(&debug, folder.join(".debug/stripped.debug")).expect("moved");
        assert!(!loaded(&stripped).0.all()[0].has_debug_info(), "{build_id}");
    }
}

#[test]
fn without_debug_info_symbols_answer_and_the_way_to_mend_it_is_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let exported = compile(
        folder.path(),
        "cc",
        C_SOURCE,
        "exported",
        &["-O2", "-rdynamic", "-s"],
    );
    let (modules, bias) = loaded(&exported);
    let (start, bytes) = symbol(&exported, "measure");
    let mut symbolizer = Symbolizer::default();
    for address in start..start + bytes {
        let location = symbolizer.locate(modules.code_address(address + bias), &modules);
        assert_eq!(frames(location), [("measure".to_owned(), "??:?".to_owned())]);
    }
    let [note] = symbolizer.notes() else {
        panic!("one note: {:?}", symbolizer.notes())
    };
    let id = modules.all()[0]
        .build_id()
        .expect("linkers give one by default here");
    assert!(
        note.contains("no debug info in") && note.contains("-g") && note.contains(&id),
        "{note}"
    );

    let bare = compile(folder.path(), "cc", C_SOURCE, "bare", &["-O2", "-s"]);
    let (modules, bias) = loaded(&bare);
    let (start, _) = symbol(
        &compile(folder.path(), "cc", C_SOURCE, "same", &["-O2"]),
        "measure",
    );
    let mut symbolizer = Symbolizer::default();
    let location = symbolizer.locate(modules.code_address(start + bias), &modules);
    assert_eq!(&*location.function, format!("[bare+{start:#x}]"));
    assert_eq!(modules.function_name(start + bias), None);
}

/// Arbitrary damage to debug sections gives wrong answers at worst.
#[test]
fn damaged_debug_info_is_survived() {
    let folder = tempfile::tempdir().expect("a folder");
    let program = compile(folder.path(), "cc", C_SOURCE, "damaged", &["-g", "-O2"]);
    let (start, bytes) = symbol(&program, "measure");
    let whole = std::fs::read(&program).expect("readable");
    let debug_start = {
        let file = object::File::parse(&*whole).expect("an ELF file");
        let section = object::Object::section_by_name(&file, ".debug_info").expect("compiled with -g");
        object::ObjectSection::file_range(&section)
            .expect("it has contents")
            .0 as usize
    };
    let mut runner = proptest::test_runner::TestRunner::new(proptest::test_runner::Config::with_cases(64));
    let strategy = proptest::collection::vec((debug_start..whole.len(), proptest::num::u8::ANY), 1..40);
    let damaged = folder.path().join("damaged-copy");
    let check = |damage: Vec<(usize, u8)>| -> TestCaseResult {
        let mut bytes_on_disk = whole.clone();
        damage
            .iter()
            .for_each(|(place, value)| bytes_on_disk[*place] = *value);
        // A new file each time: the old one is mapped.
        let _ = std::fs::remove_file(&damaged);
        std::fs::write(&damaged, bytes_on_disk).expect("written");
        let mut modules = Modules::default();
        let (events, bias) = load(&program, BASE);
        for event in events {
            if let memloupe_stream::Event::Map { path, .. } = &event
                && !path.is_empty()
            {
                let path = damaged.to_str().expect("UTF-8").to_owned();
                let memloupe_stream::Event::Map {
                    address,
                    bytes,
                    protection,
                    kind,
                    file_offset,
                    ..
                } = event
                else {
                    unreachable!("matched above")
                };
                modules.event(&memloupe_stream::Event::Map {
                    address,
                    bytes,
                    protection,
                    kind,
                    file_offset,
                    stack: 0,
                    path,
                });
            }
        }
        let mut symbolizer = Symbolizer::default();
        for address in start..start + bytes {
            assert!(
                !symbolizer
                    .locate(modules.code_address(address + bias), &modules)
                    .function
                    .is_empty()
            );
        }
        Ok(())
    };
    runner.run(&strategy, check).expect("no panic");
}
