//! Every form of memory access is recorded as what it is: the program says what it does, the stream must say the same.

mod recording;

use recording::{Access, Recording, compile};

/// One call of a case: its code, and what it must be recorded as.
struct Case {
    name: String,
    code: std::ops::Range<u64>,
    expected: Vec<String>,
}

fn hexadecimal(text: &str) -> u64 {
    u64::from_str_radix(text.trim_start_matches("0x"), 16).expect("a hexadecimal number")
}

fn cases(output: &str) -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    for line in output.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        if let ["case", name, start, end] = words[..] {
            let code = hexadecimal(start)..hexadecimal(end);
            cases.push(Case {
                name: name.to_owned(),
                code,
                expected: Vec::new(),
            });
        } else {
            cases
                .last_mut()
                .expect("a case comes first")
                .expected
                .push(line.to_owned());
        }
    }
    cases
}

fn text(access: &Access) -> String {
    let kind = match access.kind.name() {
        "read-modify-write" => "rmw",
        "non-temporal store" => "nt",
        other => other,
    };
    // A prefetch moves a line or nothing: its size means nothing.
    let bytes = if kind == "prefetch" { 1 } else { access.bytes };
    format!("{kind} {:#x} {bytes}", access.address)
}

fn features() -> String {
    let mut features = Vec::new();
    if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
        features.push("avx2");
    }
    if is_x86_feature_detected!("avx512bw") && is_x86_feature_detected!("avx512vbmi2") {
        features.push("avx512");
    }
    // CPUID.7.0:EDX bit 24: AMX tiles.
    if std::arch::x86_64::__cpuid_count(7, 0).edx & 1 << 24 != 0 {
        features.push("amx");
    }
    features.join(",")
}

#[test]
fn accesses_are_what_the_instructions_do() {
    let program = compile(
        "tests/programs/operands.c",
        &["-O1", "-mavx2", "-mfma", "-Wno-psabi"],
    );
    let recording = Recording::of(&program, &[&features()], true);
    assert_eq!(recording.code(), Some(0));
    assert_eq!(recording.violations, Vec::<String>::new());
    let output = String::from_utf8(recording.output).expect("text");
    let cases = cases(&output);
    assert!(cases.len() > 20, "{output}");
    // The spinning loop, which has side exits, is one run.
    assert!(recording.longest_run >= 1000, "{}", recording.longest_run);
    let mut wrong = Vec::new();
    for name in cases
        .iter()
        .map(|case| &case.name)
        .collect::<std::collections::BTreeSet<_>>()
    {
        let calls: Vec<&Case> = cases.iter().filter(|case| case.name == *name).collect();
        let expected: Vec<&String> = calls.iter().flat_map(|case| &case.expected).collect();
        let recorded: Vec<String> = recording
            .accesses
            .iter()
            .filter(|access| calls[0].code.contains(&access.ip))
            .map(text)
            .collect();
        if !expected.iter().copied().eq(&recorded) {
            wrong.push(format!("{name}: expected {expected:#?}, recorded {recorded:#?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
