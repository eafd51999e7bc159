//! What a process does beside computing: memory, files, allocations and probed functions, as events.

mod recording;

use std::path::{Path, PathBuf};

use memloupe_stream::{Event, Fetch, Geometry, MapKind, Probe, Source};
use recording::{Recording, compile, symbol};

/// The Valgrind engine's test program: the same events are expected.
const PROCESS: &str = "../valgrind/tests/programs/process.c";

fn run(choice: &str) -> (PathBuf, Recording) {
    let program = compile(PROCESS, &["-O1", "-g", "-pthread", "-fno-omit-frame-pointer"]);
    let recording = Recording::of(&program, &[choice], false);
    (program, recording)
}

fn assert_sound(recording: &Recording) {
    assert_eq!(recording.code(), Some(3));
    assert!(recording.finished);
    assert_eq!(recording.violations, Vec::<String>::new());
}

fn numbers(output: &str) -> Vec<u64> {
    output
        .split_whitespace()
        .filter_map(|word| word.parse().ok())
        .collect()
}

/// Where a program's own code is mapped.
fn own_code(recording: &Recording, program: &Path) -> std::ops::Range<u64> {
    recording
        .pick(|event| match event {
            Event::Map {
                address,
                bytes,
                protection: 5,
                path,
                ..
            } if Path::new(path) == program => Some(*address..address + bytes),
            _ => None,
        })
        .remove(0)
}

#[test]
fn allocations_come_once_with_their_callers() {
    let (program, recording) = run("heap");
    assert_sound(&recording);
    let told = recording.pick(|event| match event {
        Event::Alloc { address, bytes, .. } => Some(format!("alloc {address} {bytes}")),
        Event::Free { address } => Some(format!("free {address} 0")),
        _ => None,
    });
    // The C library allocates too before and after main; the program's own come in this order.
    let output = String::from_utf8_lossy(&recording.output);
    let mut rest = told.iter();
    for line in output.lines() {
        assert!(
            rest.any(|event| event == line),
            "not told, or out of place: {line} in {told:#?}"
        );
    }
    let sizes = [100, 200_000, 21, 1000, 128];
    let code = own_code(&recording, &program);
    for wanted in sizes {
        let stacks = recording.pick(|event| match event {
            Event::Alloc { bytes, stack, .. } if *bytes == wanted => Some(*stack),
            _ => None,
        });
        assert_eq!(stacks.len(), 1, "{wanted} bytes are allocated once");
        let frames = recording.pick(|event| match event {
            Event::Stack { stack, frames } if *stack == stacks[0] => Some(frames.clone()),
            _ => None,
        });
        assert_eq!(frames.len(), 1, "a call stack is defined once");
        assert!(
            frames[0].len() >= 2 && code.contains(&frames[0][0]) && code.contains(&frames[0][1]),
            "{frames:x?}"
        );
    }
}

/// A position-dependent program that takes the address of `free` or `realloc` has a stub of its own for it, which is what
/// `dlsym` finds; the C library's calls go past the stub.
#[test]
fn a_librarys_allocations_are_told_in_position_dependent_programs() {
    let program = compile(
        "tests/programs/allocator_stubs.c",
        &["-O1", "-fno-pie", "-no-pie"],
    );
    let recording = Recording::of(&program, &[], false);
    assert_eq!(recording.code(), Some(0));
    assert_eq!(recording.violations, Vec::<String>::new());
    let output = String::from_utf8_lossy(&recording.output).into_owned();
    let [grown, bytes] = numbers(&output)[..] else {
        panic!("the program prints an address and a size: {output}")
    };
    let told = recording.events.iter().any(
        |event| matches!(event, Event::Alloc { address, bytes: size, .. } if *address == grown && *size == bytes),
    );
    assert!(
        told,
        "getline's realloc of {bytes} bytes at {grown:#x} is not in the stream"
    );
}

#[test]
fn mappings_and_file_reads_are_told() {
    let (program, recording) = run("memory");
    assert_sound(&recording);
    let output = String::from_utf8_lossy(&recording.output).into_owned();
    let [area, moved, file, buffer] = numbers(&output)[..] else {
        panic!("the program prints four addresses: {output}")
    };
    let path = program.to_str().expect("a path in UTF-8").to_owned();
    let page = 4096;
    // Whoever calls `mmap` is on the mapping's call stack.
    let mapping = recording.pick(|event| match event {
        Event::Map { address, stack, .. } if *address == area => Some(*stack),
        _ => None,
    })[0];
    let callers = recording.pick(|event| match event {
        Event::Stack { stack, frames } if *stack == mapping => Some(frames.clone()),
        _ => None,
    });
    let code = own_code(&recording, &program);
    assert!(
        callers[0].iter().take(2).any(|frame| code.contains(frame)),
        "{callers:x?}"
    );
    let expected = [
        Event::Map {
            address: area,
            bytes: 16 * page,
            protection: 3,
            kind: MapKind::Anonymous,
            file_offset: 0,
            stack: mapping,
            path: String::new(),
        },
        Event::Remap {
            from: area,
            from_bytes: 16 * page,
            to: moved,
            to_bytes: 4096 * page,
        },
        Event::Unmap {
            address: moved + page,
            bytes: page,
        },
        Event::Map {
            address: file,
            bytes: 2 * page,
            protection: 1,
            kind: MapKind::File,
            file_offset: page,
            stack: 0,
            path: path.clone(),
        },
    ];
    let reads = [
        (0, 50, 8),
        (0, 16, 64),
        (100, 10, 58),
        (200, 20, 68),
        (100, 10, 5),
    ];
    let reads = reads.map(|(offset, bytes, file_offset)| Event::FileRead {
        address: buffer + offset,
        bytes,
        file_offset,
        path: path.clone(),
    });
    let mut told = recording.events.iter();
    for wanted in expected.iter().chain(&reads) {
        assert!(
            told.any(|event| event == wanted),
            "not in the stream, or out of place: {wanted:?}"
        );
    }
    assert!(recording.counters.kernel_written_bytes >= 106);
}

#[test]
fn probes_read_arguments_and_see_every_way_out() {
    let program = compile(PROCESS, &["-O1", "-g", "-pthread", "-fno-optimize-sibling-calls"]);
    let (rdi, rsi) = (Source { register: 7 }, Source { register: 6 });
    let memory = |offsets: &[i32], bytes| Fetch::Memory {
        source: rsi,
        offsets: offsets.to_vec(),
        bytes,
    };
    let probed = Probe {
        address: 0,
        keys: Vec::new(),
        // depth, node->tag, node->name, node->next->tag, node->next->next->tag
        fetches: vec![
            Fetch::Register(rdi),
            memory(&[0], 8),
            memory(&[16], 16),
            memory(&[8, 0], 8),
            memory(&[8, 8, 0], 8),
        ],
        allocator: None,
    };
    let jumps = Probe {
        address: 0,
        keys: Vec::new(),
        fetches: vec![Fetch::Register(rdi)],
        allocator: None,
    };
    let wanted = vec![
        (symbol(&program, "probed"), probed),
        (symbol(&program, "jumps"), jumps),
    ];
    let recording = Recording::with_probes(&program, &["probes"], wanted);
    assert_sound(&recording);

    let value = |word: u64| word.to_le_bytes().to_vec();
    let name = |text: &str| {
        let mut bytes = text.as_bytes().to_vec();
        bytes.resize(16, 0);
        bytes
    };
    let entered = recording.pick(|event| match event {
        Event::ProbeEnter {
            probe,
            present,
            values,
            ..
        } => Some((*probe, *present, values.clone())),
        _ => None,
    });
    let first = [value(1), value(10), name("first"), value(20), value(0)].concat();
    let second = [value(0), value(20), name("second"), value(0), value(0)].concat();
    let signal = [value(0), value(30), name(""), value(0), value(0)].concat();
    let expected = [
        (0, 0b01111, first),
        (0, 0b00111, second),
        (1, 1, value(2)),
        (1, 1, value(1)),
        (1, 1, value(0)),
        (0, 0b00111, signal),
    ];
    assert_eq!(entered, expected);

    // Whatever was entered is left: by its own return, or by the first return beyond a longjmp.
    let mut open: Vec<u64> = Vec::new();
    for event in &recording.events {
        match event {
            Event::ProbeEnter { stack_pointer, .. } => open.push(*stack_pointer),
            Event::ProbeLeave { stack_pointer } => open.retain(|frame| frame > stack_pointer),
            _ => {}
        }
    }
    assert_eq!(open, [0u64; 0]);
}

#[test]
fn more_threads_than_rings_run_unobserved_and_say_so() {
    let program = compile(PROCESS, &["-O1", "-g", "-pthread"]);
    let geometry = Geometry {
        rings: 2,
        ..Geometry::default()
    };
    let recording = Recording::default().run(&program, &["threads"], &geometry);
    assert_eq!(recording.code(), Some(3));
    assert!(recording.finished);
    let started = recording
        .pick(|event| matches!(event, Event::ThreadStart { .. }).then_some(()))
        .len();
    let native = recording
        .pick(|event| match event {
            Event::Unobserved { cause, .. } => cause.contains("ring").then_some(()),
            _ => None,
        })
        .len();
    assert_eq!(started + native, 5);
    assert!((1..5).contains(&native), "{native}");
}

#[test]
fn a_program_that_uses_gs_runs_on_natively() {
    let program = compile("tests/programs/refused.c", &["-O1"]);
    let recording = Recording::of(&program, &["gs"], false);
    assert_eq!(
        (recording.code(), recording.output.as_slice()),
        (Some(7), &b"gs 22\n"[..])
    );
    assert_eq!(recording.violations, Vec::<String>::new());
    let told = recording.pick(|event| match event {
        Event::Unobserved { cause, .. } => Some(cause.clone()),
        _ => None,
    });
    assert!(told.len() == 1 && told[0].contains("GS segment"), "{told:?}");
    assert!(recording.loads >= 50_000, "{}", recording.loads);
}

#[test]
fn a_fault_inside_the_engine_keeps_what_was_recorded() {
    let program = compile("tests/programs/refused.c", &["-O1"]);
    let recording = Recording::of(&program, &["engine"], false);
    assert_eq!(recording.code(), Some(125));
    assert_eq!(recording.output, b"found\n");
    assert_eq!(recording.violations, Vec::<String>::new());
    assert!(!recording.finished);
    assert!(recording.loads >= 50_000, "{}", recording.loads);
}
