//! The recording of freestanding assembly programs is exactly what their sources say, access for access.

mod recording;

use memloupe_stream::{AccessKind, Event};
use recording::{Access, Program};

/// What a line's comment says: its accesses, less the thread and the ip, and its floating-point operations.
struct Expected {
    line: usize,
    accesses: Vec<(AccessKind, u64, u32)>,
    flops: u64,
}

fn parse_place(place: &str, data: u64, stack: u64) -> u64 {
    let (base, rest) = if let Some(rest) = place.strip_prefix("data") {
        (data, rest)
    } else {
        (
            stack,
            place
                .strip_prefix("stack")
                .expect("a place is in data or on the stack"),
        )
    };
    base.wrapping_add_signed(rest.parse().expect("a place has an offset"))
}

fn parse(source: &str, data: u64, stack: u64) -> Vec<Expected> {
    let mut expected = Vec::new();
    for (number, line) in source.lines().enumerate() {
        let Some((code, comment)) = line.split_once("# =") else {
            continue;
        };
        if code.trim().is_empty() {
            continue; // the notation's explanation
        }
        let (list, flops) = comment.split_once("; flops ").unwrap_or((comment, "0"));
        let accesses = list
            .split(',')
            .map(|access| {
                let words: Vec<&str> = access.split_whitespace().collect();
                let kind = match words[0] {
                    "load" => AccessKind::Load,
                    "store" => AccessKind::Store,
                    "rmw" => AccessKind::ReadModifyWrite,
                    other => panic!("line {}: unknown kind {other}", number + 1),
                };
                (
                    kind,
                    parse_place(words[1], data, stack),
                    words[2].parse().expect("a size"),
                )
            })
            .collect();
        expected.push(Expected {
            line: number + 1,
            accesses,
            flops: flops.trim().parse().expect("a number of flops"),
        });
    }
    expected
}

fn check(source_name: &str, source: &str) {
    let program = Program::compile(source_name, &["-nostdlib", "-static", "-no-pie"]);
    let recording = program.record(&[], Vec::new());
    assert_eq!(
        recording.status.and_then(|status| status.code()),
        Some(7),
        "{}",
        recording.messages
    );
    assert!(
        recording.finished && recording.violations.is_empty(),
        "{:?}",
        recording.violations
    );
    let stack = recording
        .pick(|event| match event {
            Event::ThreadStart { stack_pointer, .. } => Some(*stack_pointer),
            _ => None,
        })
        .first()
        .copied()
        .expect("the main thread starts");

    let mut recorded = recording.accesses.iter();
    let mut flops = 0;
    for expected in parse(source, program.symbol("data"), stack) {
        for (kind, address, bytes) in expected.accesses {
            let found = recorded.next();
            let right = Access {
                thread: 0,
                ip: found.map_or(0, |access| access.ip),
                kind,
                address,
                bytes,
            };
            assert_eq!(found, Some(&right), "{source_name} line {}", expected.line);
        }
        flops += expected.flops;
    }
    assert_eq!(
        recorded.next(),
        None,
        "{source_name} does no more accesses than its comments say"
    );
    assert_eq!(recording.flops, flops, "{source_name}: floating-point operations");
}

#[test]
fn integer_string_x87_and_sse_operands() {
    check("operands.S", include_str!("programs/operands.S"));
}

#[test]
fn avx2_fma_mask_and_gather_operands() {
    let capable = ["avx2", "fma", "f16c"];
    let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").expect("Linux tells of its CPU");
    if let Some(missing) = capable
        .iter()
        .find(|flag| !cpuinfo.split_whitespace().any(|word| word == **flag))
    {
        eprintln!(
            "not run: this CPU has no {missing}, and Valgrind shows the target no more than the CPU has"
        );
        return;
    }
    check("vectors.S", include_str!("programs/vectors.S"));
}
