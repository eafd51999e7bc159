//! The gate: what is wanted is recorded whole, nothing else is, and the program does the same in either case.

mod recording;

use std::path::Path;
use std::process::Command;

use memloupe_stream::{Answer, Event, Fetch, Gate, Probe, Source};
use recording::{Recording, compile, symbol};

const CALLS: u64 = 40;
const N: u64 = 2000;

fn probe() -> Probe {
    Probe {
        address: 0,
        fetches: Vec::new(),
        keys: Vec::new(),
        allocator: None,
    }
}

/// Runs `gate` with `work` probed.
fn run(threads: u64, gate: Gate, answer: Answer) -> Recording {
    let program = compile("tests/programs/gate.c", &["-O1", "-pthread"]);
    let arguments = [CALLS, N, threads].map(|number| number.to_string());
    let arguments = arguments.each_ref().map(String::as_str);
    let functions = vec![(symbol(&program, "work"), probe(), answer)];
    let recording = Recording::gated(&program, &arguments, gate, functions);
    // Threads' events are ordered by chunk only.
    let unsound = recording
        .violations
        .iter()
        .find(|violation| !violation.contains("overlaps"));
    assert_eq!(unsound, None);
    assert!(recording.finished);
    let native = Command::new(&program)
        .args(arguments)
        .output()
        .expect("the program runs");
    assert_eq!((recording.code(), &recording.output), (Some(0), &native.stdout));
    recording
}

/// Bytes loaded by the two functions that are wanted in one call, but for what belongs to the call itself.
const BYTES: u64 = N * 8;

/// Bytes that were accessed, in whole calls of what is wanted.
fn passes(recording: &Recording) -> u64 {
    let sums = recording.sums.as_ref().expect("asked for");
    let bytes: u64 = sums.bytes.values().sum();
    // Calls and returns, `n` and `numbers` over and over: for each number, less than three words beside it.
    let times = sums.bytes.values().filter(|&&bytes| bytes >= BYTES / 2);
    assert!(times.count() <= 6, "{:?}", sums.bytes);
    bytes
}

#[test]
fn a_region_is_recorded_and_nothing_else() {
    let whole = run(1, Gate::default(), Answer::default());
    for threads in [1, 3] {
        let region = Gate {
            region: true,
            ..Gate::default()
        };
        let answer = Answer {
            region: true,
            ..Answer::default()
        };
        let recording = run(threads, region, answer);
        assert_eq!(
            recording.asked as u64, threads,
            "one answer serves all calls of a thread"
        );
        let sums = recording.sums.as_ref().expect("asked for");
        let executed = &sums.instructions;
        let wanted: u64 = executed.values().sum();
        // Blocks of the two functions alone, with what the whole run has of them.
        let expected = whole.sums.as_ref().expect("asked for");
        assert!(executed.len() < 12, "{} blocks", executed.len());
        assert!(wanted >= CALLS * N * 2 * threads && passes(&recording) >= CALLS * BYTES * threads);
        assert!(expected.instructions.len() > 100);
        // What allocations are there is told all the same.
        let allocations = |recording: &Recording| {
            let told = recording.pick(|event| match event {
                Event::Alloc { bytes, .. } => Some(*bytes),
                _ => None,
            });
            told.into_iter().filter(|bytes| *bytes == BYTES).count() as u64
        };
        // `qsort` may take room of its own.
        assert!(allocations(&recording) > threads);
    }
}

#[test]
fn of_a_sample_the_drawn_instances_are_recorded() {
    const COUNT: u32 = 2;
    let everything = Gate {
        region: true,
        ..Gate::default()
    };
    let inside = Answer {
        region: true,
        ..Answer::default()
    };
    let whole = passes(&run(1, everything, inside));
    let sample = Gate {
        region: true,
        sample: Some(COUNT),
        ..Gate::default()
    };
    let answer = Answer {
        operator: Some(5),
        series: 7,
        ..inside
    };
    let recording = run(1, sample, answer);
    let drawn = |ordinal: &u64| memloupe_stream::draw(COUNT, *ordinal).1;
    let simulated = (0..CALLS).filter(drawn).count() as u64;
    assert!(simulated < CALLS / 2);
    assert_eq!(passes(&recording) * CALLS, whole * simulated);
    let told = recording.pick(|event| match event {
        Event::Draw { series, ordinal } => Some((*series, *ordinal)),
        _ => None,
    });
    let expected: Vec<_> = (0..CALLS).map(|ordinal| (7, ordinal)).collect();
    assert_eq!(told, expected);
}

#[test]
fn of_a_window_the_instances_in_it_are_recorded() {
    let inside = Answer {
        region: true,
        ..Answer::default()
    };
    let gate = |window| Gate {
        region: true,
        window,
        ..Gate::default()
    };
    let whole = passes(&run(1, gate(None), inside));
    let part = passes(&run(1, gate(Some((11, 20))), inside));
    assert_eq!(part * CALLS, whole * 10);
}

/// An answer is asked for again if what it depends on has changed, and only then.
#[test]
fn answers_are_remembered_by_what_they_depend_on() {
    let program = compile("../valgrind/tests/programs/process.c", &["-O1", "-g", "-pthread"]);
    let reads = |keys: Vec<memloupe_stream::Key>| {
        let probe = Probe {
            // The number of frames to leave: 2, 1, 0.
            fetches: vec![Fetch::Register(Source { register: 7 })],
            keys,
            ..probe()
        };
        let gate = Gate {
            region: true,
            ..Gate::default()
        };
        let functions = vec![(symbol(&program, "jumps"), probe, Answer::default())];
        Recording::gated(&program, &["probes"], gate, functions).asked
    };
    let key = |kind| memloupe_stream::Key {
        start: 0,
        bytes: 8,
        kind,
    };
    assert_eq!(reads(vec![key(memloupe_stream::KeyKind::Bytes)]), 3);
    assert_eq!(reads(vec![key(memloupe_stream::KeyKind::Presence)]), 2);
    assert_eq!(reads(Vec::new()), 1);
}

/// Programs whose every instruction runs unrecorded do what they do natively.
#[test]
fn bare_code_is_transparent() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let nothing = Gate {
        region: true,
        ..Gate::default()
    };
    for (source, flags, arguments) in [
        ("tests/programs/exceptions.cpp", &["-O2", "-pthread"][..], &[][..]),
        ("tests/programs/signals.c", &["-O1", "-pthread"], &[]),
        (
            "../valgrind/tests/programs/process.c",
            &["-O1", "-pthread"],
            &["threads"],
        ),
        (
            "../valgrind/tests/programs/process.c",
            &["-O1", "-pthread"],
            &["heap"],
        ),
    ] {
        assert!(folder.join(source).exists());
        let program = compile(source, flags);
        let native = Command::new(&program)
            .args(arguments)
            .output()
            .expect("the program runs");
        let recording = Recording::gated(&program, arguments, nothing, Vec::new());
        assert_eq!(
            (recording.code(), recording.finished, recording.instructions),
            (native.status.code(), true, 0),
            "{source} {arguments:?}"
        );
        if arguments.is_empty() {
            assert_eq!(recording.output, native.stdout, "{source}"); // Elsewhere, it prints addresses.
        }
    }
}
