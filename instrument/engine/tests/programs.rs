//! Whole programs: what they print and return is what they do natively; what they did is recorded to the last access.

mod recording;

use std::process::Command;

use memloupe_stream::Event;
use recording::{Recording, compile};

const KERNELS: &str = "../../tests/programs/kernels.c";
const LIFECYCLE: &str = "../../tests/programs/lifecycle.c";

/// Runs a program natively and recorded; output and exit code must be the same, the stream sound and complete.
fn same_as_native(program: &str, arguments: &[&str]) -> Recording {
    let recording = does_as_natively(program, arguments);
    assert!(recording.finished, "{program} {arguments:?}");
    recording
}

/// Does so for a program that may end in a thread that was let go.
fn does_as_natively(program: &str, arguments: &[&str]) -> Recording {
    let native = Command::new(program)
        .args(arguments)
        .output()
        .expect("the program runs");
    let recording = Recording::of(program, arguments, false);
    assert_eq!(recording.output, native.stdout, "{program} {arguments:?}");
    assert_eq!(recording.code(), native.status.code(), "{program} {arguments:?}");
    assert_eq!(
        recording.violations,
        Vec::<String>::new(),
        "{program} {arguments:?}"
    );
    recording
}

fn loads_and_stores(kernels: &str, name: &str, n: u64) -> (u64, u64) {
    let recording = same_as_native(kernels, &[name, &n.to_string()]);
    (recording.loads, recording.stores)
}

#[test]
fn flags_pass_through_a_jump_through_a_variable() {
    let program = compile("tests/programs/flags.c", &["-O2"]);
    same_as_native(program.to_str().expect("a path of text"), &[]);
}

/// The page of system calls at a fixed address is no code that could be read; what comes behind a call of it is recorded.
#[test]
fn calls_of_the_page_of_system_calls_return() {
    let maps = std::fs::read_to_string("/proc/self/maps").expect("a list of mappings");
    if !maps.contains("[vsyscall]") {
        eprintln!("this kernel has no such page");
        return;
    }
    let program = compile("tests/programs/call_page.c", &["-O1"]);
    let recording = same_as_native(program.to_str().expect("a path of text"), &[]);
    assert_eq!(natively(&recording), Vec::<String>::new());
    assert!(recording.stores > 4096 * 10, "{} stores", recording.stores);
}

#[test]
fn kernels_access_what_they_are_made_to() {
    let kernels = compile(KERNELS, &["-O2"]);
    let kernels = kernels.to_str().expect("a path of text");
    // What the kernel adds when n grows; start-up and allocator are the same for both sizes, but for zeroing.
    let growth = |name, small: u64, large: u64| {
        let (loads, stores) = loads_and_stores(kernels, name, small);
        let (more_loads, more_stores) = loads_and_stores(kernels, name, large);
        (more_loads - loads, more_stores - stores)
    };
    // Large enough for calloc to take fresh pages from the system in both sizes.
    let (small, large) = (100_000, 300_000);
    let grown = large - small;
    assert_eq!(growth("copy", small, large), (grown, grown));
    assert_eq!(growth("increment", small, large), (grown, grown));
    assert_eq!(growth("gather", small, large), (2 * grown, 2 * grown));
    // Of the chase, the loads; it stores the cells beforehand.
    assert_eq!(growth("chase", small, large), (grown, grown));
    let (loads, stores) = growth("gemv", 300, 500);
    assert_eq!(loads, 2 * (500 * 500 - 300 * 300));
    // Beside the 200 of the kernel, calloc zeroes 1600 bytes more.
    assert!((200..=200 + 2 * 1600 / 16).contains(&stores), "{stores}");
}

#[test]
fn affine_loops_are_one_run() {
    let kernels = compile(KERNELS, &["-O2"]);
    let recording = same_as_native(kernels.to_str().expect("a path of text"), &["copy", "1000000"]);
    assert!(recording.longest_run >= 999_000, "{}", recording.longest_run);
}

#[test]
fn ways_to_live_and_die() {
    let program = compile(LIFECYCLE, &["-O2", "-pthread"]);
    let lifecycle = program.to_str().expect("a path of text");
    let events = |recording: &Recording, wanted: fn(&Event) -> bool| {
        recording.events.iter().filter(|event| wanted(event)).count()
    };
    let is_exit =
        |code| move |event: &Event| matches!(event, Event::Exit { code: told, .. } if *told == code);
    for (what, code) in [
        ("", 0),
        ("exit", 42),
        ("fork", 7),
        ("spawn", 5),
        ("exec", 42),
        ("threads", 0),
    ] {
        let recording = same_as_native(lifecycle, &[what]);
        assert!(
            recording.events.last().is_some_and(is_exit(code)),
            "{what}: {:?}",
            recording.events.last()
        );
        let starts = events(&recording, |event| matches!(event, Event::ThreadStart { .. }));
        assert_eq!(
            starts,
            match what {
                "threads" => 4,
                "exec" => 2,
                _ => 1,
            },
            "{what}"
        );
        let children = u64::from(matches!(what, "fork" | "spawn"));
        assert_eq!(recording.counters.unobserved_processes, children, "{what}");
        assert_eq!(
            events(&recording, |event| matches!(event, Event::Exec { .. })),
            usize::from(what == "exec")
        );
    }
    for what in ["segv", "abort", "kill"] {
        let recording = Recording::of(&program, &[what], false);
        let native = Command::new(&program)
            .arg(what)
            .status()
            .expect("the program runs");
        assert_eq!(recording.status, Some(native), "{what}");
        // Ten rounds over 4096 cells came before.
        assert!(recording.loads >= 40_960 && recording.stores >= 40_960, "{what}");
        assert!(!recording.finished, "{what}");
    }
}

#[test]
fn unwinding_and_rewritten_code() {
    let program = compile("tests/programs/exceptions.cpp", &["-O2", "-pthread"]);
    same_as_native(program.to_str().expect("a path of text"), &[]);
}

#[test]
fn signals_are_delivered() {
    let program = compile("tests/programs/signals.c", &["-O2"]);
    let recording = same_as_native(program.to_str().expect("a path of text"), &[]);
    assert!(
        recording.counters.signals_delivered > 100,
        "{:?}",
        recording.counters
    );
}

/// What ran natively, by cause.
fn natively(recording: &Recording) -> Vec<String> {
    recording.pick(|event| match event {
        Event::Unobserved { cause, .. } if cause.contains("natively") => Some(cause.clone()),
        _ => None,
    })
}

/// The kernel restarts a sequence by the address that it finds a thread at, which is not the target's.
#[test]
fn restartable_sequences_lose_nothing() {
    let program = compile("tests/programs/restartable.c", &["-O2", "-pthread"]);
    let recording = same_as_native(program.to_str().expect("a path of text"), &[]);
    assert_eq!(natively(&recording), Vec::<String>::new());
}

#[test]
fn segments_are_the_targets() {
    let program = compile("tests/programs/segments.c", &["-O1", "-mfsgsbase"]);
    let program = program.to_str().expect("a path of text");
    for (what, ends) in [("rdgsbase", 0), ("get", 0), ("wrgsbase", 1), ("selector", 1)] {
        let recording = does_as_natively(program, &[what]);
        let natively = natively(&recording);
        assert_eq!(natively.len(), ends, "{what}: {natively:?}");
        assert_eq!(recording.finished, ends == 0, "{what}");
        assert!(recording.loads >= 50_000, "{what}: {}", recording.loads);
    }
}

/// Landing pads are instructions like others. A shadow stack would have to hold the return addresses that translated calls
/// push: the target is told that there is none.
#[test]
fn landing_pads_are_landed_on() {
    let program = compile("tests/programs/segments.c", &["-O1", "-fcf-protection=full"]);
    let recording = same_as_native(program.to_str().expect("a path of text"), &["shadow"]);
    assert_eq!(natively(&recording), Vec::<String>::new());
}

/// What is made by the system call itself: a thread is recorded, another process is counted.
#[test]
fn clones_are_threads_or_processes() {
    let program = compile("tests/programs/clones.c", &["-O1", "-fno-stack-protector"]);
    let program = program.to_str().expect("a path of text");
    let without = same_as_native(program, &[]);
    for (what, threads, processes) in [
        ("thread", 2, 0),
        ("memory", 1, 1),
        ("vfork", 1, 1),
        ("copy", 1, 1),
    ] {
        let recording = same_as_native(program, &[what]);
        let started = recording.pick(|event| matches!(event, Event::ThreadStart { .. }).then_some(()));
        assert_eq!(started.len(), threads, "{what}");
        assert_eq!(recording.counters.unobserved_processes, processes, "{what}");
        // What the child stores is there if it is a thread.
        let more = recording.stores - without.stores;
        assert_eq!(more >= 40_000, threads == 2, "{what}: {more} stores");
    }
}
