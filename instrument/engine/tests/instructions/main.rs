//! Random instruction sequences, executed natively and translated: registers, flags, memory and faults must be the same, and
//! the recorded accesses those that the manuals tell.
//!
//! `MEMLOUPE_SEED` repeats a run, `MEMLOUPE_CASES` sets its length. `cargo test --release -p memloupe-engine --test
//! instructions -- --ignored` goes on with new seeds until it is stopped or finds something.

mod expect;
mod generate;
mod lanes;
mod machine;
mod random;
#[path = "../recording/mod.rs"]
mod recording;

use std::collections::BTreeMap;
use std::path::Path;

use iced_x86::{Code, Decoder, DecoderOptions, Instruction};

use expect::Expected;
use lanes::Lanes;
use machine::{ARENA_BYTES, CODE_START, Case, Files, Outcome, State, exit};
use random::Random;
use recording::{Access, Recording, compile};

const CASES: usize = 1500;
const LONGEST: usize = 8;

struct Program {
    code: Vec<u8>,
    arena: Vec<u8>,
    cases: Vec<Case>,
}

/// Cases that together have every instruction as often as they last.
fn generate(seed: u64, count: usize) -> Program {
    let mut random = Random(seed);
    let mut program = Program {
        code: Vec::new(),
        arena: (0..ARENA_BYTES).map(|_| random.next() as u8).collect(),
        cases: Vec::new(),
    };
    let mut left: Vec<Code> = Vec::new();
    while program.cases.len() < count {
        let start = CODE_START + program.code.len() as u64;
        let length = 1 + random.below(LONGEST);
        let mut instructions = 0;
        while instructions < length {
            let ip = CODE_START + program.code.len() as u64;
            if random.once_in(4) {
                program.code.extend(generate::arithmetic(&mut random));
                instructions += 1;
                continue;
            }
            if left.is_empty() {
                left = generate::all();
            }
            let code = left.swap_remove(random.below(left.len()));
            if let Some(bytes) = generate::instruction(code, ip, &mut random) {
                program.code.extend(bytes);
                instructions += 1;
            }
        }
        program.cases.push(Case {
            start,
            end: CODE_START + program.code.len() as u64,
            before: State::random(&mut random),
        });
        program.code.extend(exit());
    }
    program
}

fn text(access: &Access) -> Expected {
    let kind = match access.kind.name() {
        "read-modify-write" => "rmw",
        "non-temporal store" => "nt",
        other => other,
    };
    let bytes = if kind == "prefetch" { 1 } else { access.bytes };
    (kind, access.address, u64::from(bytes))
}

/// Pieces of a string that lie side by side become one.
fn joined(accesses: Vec<Expected>) -> Vec<Expected> {
    let mut joined: Vec<Expected> = Vec::new();
    for (kind, address, bytes) in accesses {
        let neighbour = joined.iter_mut().find(|(other, start, length)| {
            *other == kind && (*start + *length == address || address + bytes == *start)
        });
        match neighbour {
            Some((_, start, length)) => {
                *start = address.min(*start);
                *length += bytes;
            }
            None => joined.push((kind, address, bytes)),
        }
    }
    joined
}

fn decode(program: &Program, ip: u64) -> Instruction {
    let at = (ip - CODE_START) as usize;
    Decoder::with_ip(64, &program.code[at..], ip, DecoderOptions::NONE).decode()
}

fn listing(program: &Program, case: &Case) -> String {
    let mut text = String::new();
    let mut ip = case.start;
    while ip < case.end {
        let instruction = decode(program, ip);
        let at = (ip - CODE_START) as usize;
        let bytes = &program.code[at..at + instruction.len()];
        text += &format!("  {ip:#x}: {bytes:02x?} {:?}\n", instruction.code());
        ip = instruction.next_ip();
    }
    text
}

/// What is wrong with one case.
fn complaints(
    program: &Program,
    case: &Case,
    native: &Outcome,
    translated: &Outcome,
    recorded: &BTreeMap<u64, Vec<Expected>>,
    lanes: &Lanes,
) -> Vec<String> {
    // At a fault, flags that the instructions behind it overwrite unread need not be the target's.
    let is_told = |difference: &String| native.after.signal() == 0 || !difference.starts_with("flags");
    let mut complaints = native.after.differences(&translated.after);
    complaints.retain(is_told);
    if native.arena != translated.arena {
        complaints.push("memory differs".to_owned());
    }
    let steps = &native.steps;
    let mut at = 0;
    while at + 1 < steps.len() {
        let (before, _) = &steps[at];
        let ip = before.instruction();
        // A repeated string traps after each element.
        let mut end = at + 1;
        while end + 1 < steps.len() && steps[end].0.instruction() == ip {
            end += 1;
        }
        let changed = steps[at + 1..=end].iter().flat_map(|(_, changed)| changed);
        let after = &steps[end].0;
        let instruction = decode(program, ip);
        let none = Vec::new();
        let recorded = recorded.get(&ip).unwrap_or(&none);
        let faulted = end + 1 == steps.len() && after.signal() != 0;
        let is_string = instruction.is_string_instruction();
        let got = if is_string {
            joined(recorded.clone())
        } else {
            recorded.clone()
        };
        if !faulted || is_string {
            let expected = expect::accesses(&instruction, before, after, lanes);
            if expected != got {
                complaints.push(format!(
                    "{ip:#x} {:?}: expected {expected:x?}, recorded {got:x?}",
                    instruction.code()
                ));
            }
            // What the memory itself says.
            for &place in changed {
                let is_told = recorded.iter().any(|&(kind, address, bytes)| {
                    kind != "load" && kind != "prefetch" && (address..address + bytes).contains(&place)
                });
                if !is_told {
                    complaints.push(format!(
                        "{ip:#x} {:?}: {place:#x} was written, recorded {recorded:x?}",
                        instruction.code()
                    ));
                    break;
                }
            }
        } else if !got.is_empty() {
            complaints.push(format!(
                "{ip:#x} {:?} faulted, but was recorded: {got:x?}",
                instruction.code()
            ));
        }
        at = end;
    }
    if !complaints.is_empty() {
        complaints.push(listing(program, case));
    }
    complaints
}

/// Runs cases both ways; returns what is wrong with them, and how many instructions were executed.
fn check(stub: &Path, lanes: &Lanes, seed: u64, count: usize) -> (Vec<String>, usize) {
    let program = generate(seed, count);
    let files = Files::write(&program.code, &program.arena, &program.cases);
    let native = files.run_natively(stub, "steps");
    let range = CODE_START..CODE_START + program.code.len() as u64;
    let recording = Recording::within(stub, &files.arguments("whole"), range);
    assert_eq!(
        recording.code(),
        Some(0),
        "seed {seed}: the translated program fails"
    );
    let translated = files.outcomes();
    assert_eq!((native.len(), translated.len()), (count, count));
    let mut recorded: BTreeMap<u64, Vec<Expected>> = BTreeMap::new();
    for access in &recording.accesses {
        recorded.entry(access.ip).or_default().push(text(access));
    }
    let executed = native
        .iter()
        .map(|outcome| outcome.steps.len().saturating_sub(1))
        .sum();
    let mut wrong: Vec<String> = recording.violations.clone();
    for ((case, native), translated) in program.cases.iter().zip(&native).zip(&translated) {
        let complaints = complaints(&program, case, native, translated, &recorded, lanes);
        if !complaints.is_empty() {
            wrong.push(complaints.join("\n"));
        }
    }
    (wrong, executed)
}

fn setting(name: &str, otherwise: usize) -> usize {
    std::env::var(name)
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(otherwise)
}

fn stub() -> std::path::PathBuf {
    // Away from the addresses of the cases, so that what the engine maps near it is so too.
    let place = "-Wl,-Ttext-segment=0x70000000";
    let flags = [
        "-O1",
        "-no-pie",
        "-fno-pie",
        "-fno-stack-protector",
        "-mno-avx",
        place,
    ];
    compile("tests/programs/instructions.c", &flags)
}

fn assert_none_wrong(seed: u64, wrong: &[String]) {
    let shown = wrong.iter().take(setting("MEMLOUPE_SHOWN", 20));
    let shown: Vec<&str> = shown.map(String::as_str).collect();
    assert!(
        wrong.is_empty(),
        "MEMLOUPE_SEED={seed}: {} cases are wrong:\n{}",
        wrong.len(),
        shown.join("\n")
    );
}

#[test]
fn translated_instructions_do_what_they_do_natively() {
    let seed = setting("MEMLOUPE_SEED", 1) as u64;
    let stub = stub();
    let lanes = Lanes::learn(&stub);
    let (wrong, executed) = check(&stub, &lanes, seed, setting("MEMLOUPE_CASES", CASES));
    println!("{executed} instructions");
    assert_none_wrong(seed, &wrong);
    assert!(executed > 1000, "{executed}");
}

#[test]
#[ignore = "goes on until it finds something"]
fn translated_instructions_do_what_they_do_natively_for_ever() {
    let stub = stub();
    let lanes = Lanes::learn(&stub);
    for seed in setting("MEMLOUPE_SEED", 2) as u64.. {
        let (wrong, executed) = check(&stub, &lanes, seed, setting("MEMLOUPE_CASES", CASES));
        println!("seed {seed}: {executed} instructions");
        assert_none_wrong(seed, &wrong);
    }
}
