//! The header and the library say the same: every function's C type is derived from its Rust type, every struct's size
//! and offsets from its Rust layout, and a C and a C++ compiler hold the header against them.

use std::collections::BTreeSet;
use std::ffi::{c_char, c_void};
use std::fmt::Write;
use std::mem::{align_of, offset_of, size_of};
use std::process::Command;

use memloupe_cachesim::AccessKind;
use memloupe_ffi::error::Status;
use memloupe_ffi::memory::{self, MemoryHandle};
use memloupe_ffi::reader::{self, ReaderHandle};
use memloupe_ffi::system::{self, SystemHandle};
use memloupe_hierarchy::timed::{self, RequestKind};

/// A type's name in C.
trait CType {
    fn c() -> String;
}

macro_rules! c_types {
    ($($rust:ty => $c:literal;)*) => {
        $(impl CType for $rust { fn c() -> String { $c.into() } })*
    };
}

c_types! {
    () => "void";
    bool => "bool";
    u8 => "uint8_t";
    u32 => "uint32_t";
    u64 => "uint64_t";
    usize => "size_t";
    f64 => "double";
    c_char => "char";
    c_void => "void";
    Status => "memloupe_status";
    MemoryHandle => "memloupe_memory";
    ReaderHandle => "memloupe_reader";
    SystemHandle => "memloupe_system";
    memory::Request => "memloupe_request";
    memory::Completion => "memloupe_completion";
    memory::TagCounters => "memloupe_tag_counters";
    memory::Statistic => "memloupe_statistic";
    memory::CompletionCallback => "memloupe_completion_callback";
    reader::RecordedAccess => "memloupe_recorded_access";
    system::Access => "memloupe_access";
    system::Answer => "memloupe_answer";
    system::LineCallback => "memloupe_line_callback";
    Option<memory::CompletionCallback> => "memloupe_completion_callback";
    Option<system::LineCallback> => "memloupe_line_callback";
}

impl<T: CType> CType for *const T {
    fn c() -> String {
        format!("const {} *", T::c())
    }
}

impl<T: CType> CType for *mut T {
    fn c() -> String {
        format!("{} *", T::c())
    }
}

/// A function pointer's declaration in C.
trait Signature {
    fn declare(self, name: &str) -> String;
}

macro_rules! signatures {
    ($(($($argument:ident),*))*) => {
        $(
            impl<R: CType, $($argument: CType),*> Signature for unsafe extern "C" fn($($argument),*) -> R {
                fn declare(self, name: &str) -> String {
                    let arguments: Vec<String> = vec![$($argument::c()),*];
                    let arguments = if arguments.is_empty() { "void".into() } else { arguments.join(", ") };
                    format!("{} (*{name})({arguments})", R::c())
                }
            }
        )*
    };
}

signatures! { () (A) (A, B) (A, B, C) (A, B, C, D) (A, B, C, D, E) }

/// Declarations of pointers that the functions must be able to initialise.
macro_rules! functions {
    ($text:ident; $($module:path: $($name:ident($($any:tt),*)),* $(,)?;)*) => {
        $($({
            use $module as module;
            let pointer: unsafe extern "C" fn($($any),*) -> _ = module::$name;
            let name = stringify!($name);
            let declaration = Signature::declare(pointer, &format!("check_{name}"));
            writeln!($text, "extern {declaration};\n{declaration} = {name};").unwrap();
        })*)*
    };
}

/// Assertions of a struct's layout.
macro_rules! structs {
    ($text:ident; $($rust:ty { $($field:ident),* })*) => {
        $({
            let c = <$rust>::c();
            writeln!($text, "ASSERT(sizeof({c}) == {}, \"size\");", size_of::<$rust>()).unwrap();
            writeln!($text, "ASSERT(ALIGN({c}) == {}, \"alignment\");", align_of::<$rust>()).unwrap();
            let mut end = 0;
            $(
                let offset = offset_of!($rust, $field);
                let field = stringify!($field);
                writeln!($text, "ASSERT(offsetof({c}, {field}) == {offset}, \"{field}\");").unwrap();
                assert!(offset >= end, "{c}.{field} is out of order");
                end = offset + 1;
            )*
            let _ = end;
        })*
    };
}

fn assertions() -> String {
    let mut text = String::from(
        "#include <memloupe.h>\n#include <memloupe_plugin.h>\n#ifdef __cplusplus\n#define ASSERT static_assert\n#define ALIGN alignof\n#else\n\
         #define ASSERT _Static_assert\n#define ALIGN _Alignof\n#endif\n",
    );
    functions! { text;
        memloupe_ffi:
            memloupe_abi_version(),
            memloupe_version(),
            memloupe_last_error();
        memloupe_ffi::memory:
            memloupe_memory_create(_, _, _),
            memloupe_memory_create_from_toml(_, _, _),
            memloupe_memory_destroy(_),
            memloupe_memory_on_completion(_, _, _),
            memloupe_memory_send(_, _, _, _),
            memloupe_memory_next_event(_, _),
            memloupe_memory_advance(_, _),
            memloupe_memory_drain(_, _),
            memloupe_memory_take_completions(_, _, _, _),
            memloupe_memory_outstanding(_, _),
            memloupe_memory_read_store(_, _, _, _),
            memloupe_memory_write_store(_, _, _, _),
            memloupe_memory_checkpoint(_, _, _, _),
            memloupe_memory_restore(_, _, _),
            memloupe_memory_statistics_json(_, _, _, _),
            memloupe_memory_tag_counters(_, _, _),
            memloupe_memory_statistic_count(),
            memloupe_memory_statistic_about(_, _),
            memloupe_memory_statistic(_, _, _);
        memloupe_ffi::reader:
            memloupe_reader_open(_, _),
            memloupe_reader_destroy(_),
            memloupe_reader_moved(_, _, _),
            memloupe_reader_read(_, _, _, _),
            memloupe_reader_operator_json(_, _, _, _, _),
            memloupe_reader_object_json(_, _, _, _, _),
            memloupe_reader_phase_json(_, _, _, _, _),
            memloupe_reader_about_json(_, _, _, _);
        memloupe_ffi::system:
            memloupe_system_create(_, _),
            memloupe_system_create_from_toml(_, _),
            memloupe_system_destroy(_),
            memloupe_system_core_count(_, _),
            memloupe_system_reserve_owners(_, _),
            memloupe_system_on_line(_, _, _),
            memloupe_system_access(_, _, _),
            memloupe_system_flush(_),
            memloupe_system_statistics_json(_, _, _, _),
            memloupe_system_statistic_count(_, _),
            memloupe_system_statistic_about(_, _, _),
            memloupe_system_statistic(_, _, _);
    }
    structs! { text;
        memory::Request { id, address, pc, size_bytes, kind, core, tag }
        memory::Completion { id, accepted_ps, finished_ps, kind, tag }
        memory::TagCounters {
            requests, bytes, done, latency_ps, max_latency_ps, row_hits, row_misses, row_conflicts
        }
        memory::Statistic { name, unit, description, is_count, reserved }
        reader::RecordedAccess {
            address, pc, size_bytes, kind, thread, operator_id, object_id, phase_id
        }
        system::Access { address, pc, size_bytes, kind, core, owner }
        system::Answer { level, reserved, latency_ns }
    }
    let mut constants: Vec<(String, u64)> = Status::ALL
        .iter()
        .map(|(status, name)| ((*name).into(), *status as u64))
        .collect();
    let kinds = [
        RequestKind::Read,
        RequestKind::Write,
        RequestKind::Prefetch,
        RequestKind::Writeback,
    ];
    constants.extend(kinds.map(|kind| (format!("REQUEST_{kind:?}").to_uppercase(), kind as u64)));
    constants.extend(AccessKind::ALL.map(|kind| {
        let mut name = String::new();
        for letter in format!("{kind:?}").chars() {
            if letter.is_uppercase() && !name.is_empty() {
                name.push('_');
            }
            name.extend(letter.to_uppercase());
        }
        (name, kind as u64)
    }));
    constants.extend([
        ("ABI_VERSION".into(), memloupe_ffi::ABI_VERSION.into()),
        ("MAX_REQUEST_BYTES".into(), timed::MAX_REQUEST_BYTES.into()),
        ("MAX_TAGS".into(), timed::MAX_TAGS.into()),
        ("MAX_CORES".into(), timed::MAX_CORES.into()),
        ("MAX_TIME_PS".into(), timed::MAX_PS),
        ("NEVER_PS".into(), u64::MAX),
        ("NO_OPERATOR".into(), reader::NO_OPERATOR.into()),
        ("MAX_ACCESS_BYTES".into(), system::MAX_ACCESS_BYTES.into()),
        ("MAX_OWNERS".into(), system::MAX_OWNERS.into()),
    ]);
    for (name, value) in constants {
        writeln!(text, "ASSERT(MEMLOUPE_{name} == {value}u, \"{name}\");").unwrap();
    }
    text
}

#[test]
fn compilers_agree_with_it() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["header.c", "header.cpp"] {
        let source = folder.path().join(name);
        std::fs::write(&source, assertions()).unwrap();
        let mut compile = crate::client::compiler(&source);
        compile.arg("-fsyntax-only").arg(&source);
        crate::client::succeed(&mut compile);
    }
}

/// The functions that a text declares or defines.
fn functions_of(text: &str) -> BTreeSet<&str> {
    let starts = text.match_indices("memloupe_").map(|(at, _)| at);
    starts
        .filter(|&at| text[..at].ends_with([' ', '*', '\n']))
        .filter_map(|at| {
            let rest = &text[at..];
            let end = rest.find(|c: char| c != '_' && !c.is_ascii_alphanumeric())?;
            rest[end..].starts_with('(').then_some(&rest[..end])
        })
        .collect()
}

#[test]
fn it_declares_what_the_library_exports() {
    let header = std::fs::read_to_string(crate::client::package().join("include/memloupe.h")).unwrap();
    let declared = functions_of(&header);
    let library = std::env::current_exe()
        .unwrap()
        .with_file_name("libmemloupe_ffi.so");
    let symbols = crate::client::succeed(Command::new("nm").args(["-D", "--defined-only"]).arg(library));
    let symbols = String::from_utf8(symbols.stdout).unwrap();
    let exported: BTreeSet<&str> = symbols
        .lines()
        .filter_map(|line| line.split(' ').nth(2))
        .collect();
    assert_eq!(declared, exported);
    let checked = assertions();
    let checked: BTreeSet<&str> = checked
        .lines()
        .filter_map(|line| line.strip_suffix(';')?.split(" = ").nth(1))
        .collect();
    assert_eq!(declared, checked);
}
