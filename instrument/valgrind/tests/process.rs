//! Events: what a process does beside computing arrives in the stream, each thing once and in its place.

mod recording;

use std::os::unix::process::ExitStatusExt;

use memloupe_stream::{AccessKind, Event, FD_VARIABLE, Fetch, MapKind, Probe, Source};
use recording::{Program, Recording};

fn run(choice: &str) -> (Program, Recording) {
    let program = Program::compile("process.c", &["-O1", "-g", "-pthread"]);
    let recording = program.record(&[choice], Vec::new());
    (program, recording)
}

/// A run to the end, with nothing amiss in the stream.
fn assert_sound(recording: &Recording) {
    assert_eq!(
        recording.status.and_then(|status| status.code()),
        Some(3),
        "{}",
        recording.messages
    );
    assert_eq!(recording.violations, Vec::<String>::new());
    assert!(recording.finished);
    assert_eq!(recording.counters.lost_records, 0);
    assert_eq!(recording.counters.unobserved_instructions, 0);
    assert!(matches!(
        recording.events.last(),
        Some((_, Event::Exit { code: 3, signal: 0 }))
    ));
}

fn numbers(text: &str) -> Vec<u64> {
    text.split_whitespace()
        .filter_map(|word| word.parse().ok())
        .collect()
}

/// The program prints its heap events; the stream must hold them in this order among others.
fn assert_heap_events(recording: &Recording) {
    let mut told = recording.events.iter();
    for line in recording.output.lines() {
        let number = numbers(line);
        let found = told.any(|(_, event)| match event {
            Event::Alloc { address, bytes, .. } => {
                line.starts_with("alloc") && [*address, *bytes] == number[..]
            }
            Event::Free { address } => line.starts_with("free") && *address == number[0],
            _ => false,
        });
        assert!(found, "not in the stream: {line}");
    }
}

/// Where a program's own code is mapped.
fn own_code(recording: &Recording, program: &std::path::Path) -> std::ops::Range<u64> {
    recording
        .pick(|event| match event {
            Event::Map {
                address,
                bytes,
                protection: 5,
                path,
                ..
            } if std::path::Path::new(path) == program => Some(*address..address + bytes),
            _ => None,
        })
        .remove(0)
}

#[test]
fn allocations_come_once_with_their_call_stacks() {
    let (program, recording) = run("heap");
    assert_sound(&recording);
    assert_eq!(recording.output.lines().count(), 7);
    assert_heap_events(&recording);
    // The program alone allocates: realloc within the library must not appear a second time.
    let allocated = recording.pick(|event| match event {
        Event::Alloc { bytes, stack, .. } => Some((*bytes, *stack)),
        _ => None,
    });
    assert_eq!(
        allocated.iter().map(|(bytes, _)| *bytes).collect::<Vec<_>>(),
        [100, 200_000, 21, 1000, 128]
    );
    // The innermost frame is in the program: neither the wrapper nor the allocator shows.
    let code = own_code(&recording, &program.path);
    for (_, wanted) in allocated {
        let frames = recording.pick(|event| match event {
            Event::Stack { stack, frames } if *stack == wanted => Some(frames.clone()),
            _ => None,
        });
        assert_eq!(frames.len(), 1, "a call stack is defined once");
        assert!(
            frames[0].len() >= 2 && code.contains(&frames[0][0]) && code.contains(&frames[0][1]),
            "{frames:x?}"
        );
    }
}

#[test]
fn threads_keep_their_own_accesses_in_one_order() {
    let (_, recording) = run("threads");
    assert_sound(&recording);
    let touched = numbers(&recording.output)[0];
    let mut started = recording.pick(|event| match event {
        Event::ThreadStart { thread, parent, .. } => Some((*thread, *parent)),
        _ => None,
    });
    started.sort_unstable(); // numbered as they were created; they may start in another order
    assert_eq!(started, [(0, 0), (1, 0), (2, 0), (3, 0), (4, 0)]);
    for thread in 1..=4u64 {
        let first = touched + (thread - 1) * 256 * 8;
        let increments: Vec<_> = recording
            .accesses
            .iter()
            .filter(|access| (first..first + 256 * 8).contains(&access.address))
            .collect();
        assert!(increments.iter().all(|access| u64::from(access.thread) == thread));
        let (loads, stores): (u64, u64) = increments
            .iter()
            .map(|access| access.kind.loads_and_stores())
            .fold((0, 0), |sum, access| (sum.0 + access.0, sum.1 + access.1));
        assert_eq!(
            (loads, stores),
            (100 * (15 + thread), 100 * (15 + thread)),
            "thread {thread}"
        );
    }
    let ended = recording.pick(|event| matches!(event, Event::ThreadEnd { .. }).then_some(()));
    assert_eq!(ended.len(), 4);
}

#[test]
fn children_run_natively_and_unobserved() {
    let (_, recording) = run("children");
    assert_sound(&recording);
    let number = numbers(&recording.output);
    assert_eq!([number[1], number[3]], [9, 8], "the children's exit codes");
    let forked = recording.pick(|event| match event {
        Event::Fork { child } => Some(*child),
        _ => None,
    });
    assert_eq!(forked, [number[0], number[2]]);
    assert_eq!(recording.counters.unobserved_processes, 2);
    let allocated_by_child =
        recording.pick(|event| matches!(event, Event::Alloc { bytes: 10, .. }).then_some(()));
    assert!(allocated_by_child.is_empty());
}

#[test]
fn exec_goes_on_in_the_same_stream() {
    let (program, recording) = run("exec");
    assert_sound(&recording);
    let executed = recording
        .events
        .iter()
        .position(
            |(_, event)| matches!(event, Event::Exec { path } if std::path::Path::new(path) == program.path),
        )
        .expect("an EXEC event");
    // Two threads before, one after; indices are never used again.
    let threads: Vec<u32> = recording.pick(|event| match event {
        Event::ThreadStart { thread, .. } => Some(*thread),
        _ => None,
    });
    assert_eq!(threads, [0, 1, 2]);
    assert!(
        recording.events[executed..]
            .iter()
            .all(|(thread, _)| *thread == 2)
    );
    // What was in the chunk that was open at the exec is there too.
    assert!(
        recording
            .accesses
            .iter()
            .filter(|access| access.thread == 0)
            .count()
            > 1000
    );
    assert_heap_events(&recording);
}

#[test]
fn mappings_and_file_reads_are_told() {
    let (program, recording) = run("memory");
    assert_sound(&recording);
    let [area, moved, file, buffer] = numbers(&recording.output)[..] else {
        panic!("the program prints four addresses: {}", recording.output)
    };
    let path = program.path.to_str().expect("a path in UTF-8").to_owned();
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
    let code = own_code(&recording, &program.path);
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
            told.any(|(_, event)| event == wanted),
            "not in the stream, or out of place: {wanted:?}"
        );
    }
    assert!(recording.counters.kernel_written_bytes >= 116);
}

#[test]
fn probes_read_arguments_and_see_every_way_out() {
    let program = Program::compile(
        "process.c",
        &["-O1", "-g", "-pthread", "-fno-optimize-sibling-calls"],
    );
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
        (program.symbol("probed"), probed),
        (program.symbol("jumps"), jumps),
    ];
    let recording = program.record(&["probes"], wanted);
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
    for (_, event) in &recording.events {
        match event {
            Event::ProbeEnter { stack_pointer, .. } => open.push(*stack_pointer),
            Event::ProbeLeave { stack_pointer } => open.retain(|frame| frame > stack_pointer),
            _ => {}
        }
    }
    assert_eq!(open, [0u64; 0]);
}

#[test]
fn more_threads_than_rings_lose_records_and_say_so() {
    let program = Program::compile("process.c", &["-O1", "-g", "-pthread"]);
    let recording = program.record_on(2, &["threads"], Vec::new());
    assert_eq!(
        recording.status.and_then(|status| status.code()),
        Some(3),
        "{}",
        recording.messages
    );
    assert!(recording.finished);
    let started = recording.pick(|event| matches!(event, Event::ThreadStart { .. }).then_some(()));
    assert!(
        (2..5).contains(&started.len()),
        "{} threads got a ring",
        started.len()
    );
    assert!(recording.counters.lost_records > 0);
    // A round of a thread that has no ring is some 16 × 4 instructions, and there are 100.
    let lost = (5 - started.len() as u64) * 100 * 16 * 4;
    assert!(
        recording.counters.unobserved_instructions > lost,
        "{:?}",
        recording.counters
    );
}

/// The program prints the address of the last store it did before its end.
fn assert_last_store_is_there(recording: &Recording) {
    assert_eq!(recording.violations, Vec::<String>::new());
    let address = numbers(&recording.output)[0];
    assert!(
        recording
            .accesses
            .iter()
            .any(|access| access.kind == AccessKind::Store && access.address == address)
    );
}

#[test]
fn a_crash_leaves_what_was_recorded() {
    let (_, recording) = run("crash");
    assert_eq!(recording.status.and_then(|status| status.signal()), Some(11));
    assert!(recording.messages.contains("SIGSEGV"), "{}", recording.messages);
    assert!(
        recording.accesses.iter().all(|access| access.address != 16),
        "the faulting store never happened"
    );
}

#[test]
fn a_killed_target_leaves_what_was_recorded() {
    let (_, recording) = run("kill");
    assert_eq!(recording.status.and_then(|status| status.signal()), Some(9));
    assert!(!recording.finished);
    assert_last_store_is_there(&recording);
}

fn refused(variable: Option<&str>) -> String {
    let folder = tempfile::tempdir().expect("a folder for the tool");
    let tool = memloupe_valgrind::install(folder.path()).unwrap_or_else(|e| panic!("{e}"));
    let mut command = tool.command("/bin/true".as_ref(), [""; 0]);
    command.env_remove(FD_VARIABLE);
    command.stdin(std::fs::File::open("/bin/true").expect("a file that is no stream"));
    if let Some(value) = variable {
        command.env(FD_VARIABLE, value);
    }
    let output = command.output().expect("Valgrind starts");
    assert_eq!(output.status.code(), Some(1));
    assert!(
        output.stdout.is_empty() && output.stderr.is_empty(),
        "its messages go to the log"
    );
    tool.messages()
}

#[test]
fn without_a_stream_the_tool_says_what_is_missing() {
    assert!(refused(None).contains("start it by `memloupe run`"));
    assert!(refused(Some("777")).contains("descriptor 777 is not open"));
    let message = refused(Some("0"));
    assert!(
        message.contains("cannot map") || message.contains("holds no access stream"),
        "{message}"
    );
}
