//! The same binary under Valgrind's own tools: cachegrind for references and misses, lackey for loads and stores.
#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::path::Path;
use std::process::Command;

use memloupe_tests::{Capture, Program};

/// cachegrind's geometry: sizes in bytes, ways, line bytes.
const CACHEGRIND: [&str; 3] = ["--I1=32768,8,64", "--D1=32768,8,64", "--LL=262144,8,64"];
/// By default Valgrind's translator merges blocks across `a && b` and counts both sides, and drops loads whose value is
/// overwritten. Our tool turns that off; for a comparison the others must too.
const EVERY_INSTRUCTION: [&str; 2] = [
    "--vex-guest-chase=no",
    "--vex-iropt-register-updates=allregs-at-each-insn",
];
/// Start-up code walks the environment: theirs gets the variables that ours has.
const ENVIRONMENT: [(&str, &str); 2] = [
    ("VALGRIND_LIB", "/usr/libexec/valgrind"),
    ("MEMLOUPE_STREAM_FD", "3"),
];
/// The same as a machine file.
const MACHINE: &str = r#"
name = "cachegrind"
description = "the geometry given to cachegrind"
source = "this test"
[core]
count = 1
frequency = "1 GHz"
issue_width = 1
[cache.l1d]
level = 1
contents = "data"
scope = "private"
size = "32 KiB"
ways = 8
line = "64 B"
latency = "4 cycles"
[cache.l1i]
level = 1
contents = "instruction"
scope = "private"
size = "32 KiB"
ways = 8
line = "64 B"
latency = "4 cycles"
[cache.l2]
level = 2
contents = "unified"
scope = "shared"
size = "256 KiB"
ways = 8
line = "64 B"
latency = "14 cycles"
[memory]
device = "DDR4-3200AA"
channels = 1
ranks = 1
mapping = "row-rank-bank-bankgroup-column-channel"
latency = "40 ns"
"#;

const CASES: [(&str, u64); 5] = [
    ("copy", 80_000),
    ("strided_sum", 800_000),
    ("gemv", 400),
    ("gather", 60_000),
    ("chase", 40_000),
];

/// What differs, and why the comparison is still exact:
/// - The program is static: a dynamic one would load our allocation hooks' library and none of cachegrind's.
/// - Start-up code walks the environment, to which memloupe adds a few variables: some 1,700 instructions of it differ, and the kernels
///   agree exactly.
/// - cachegrind counts an access that straddles two lines as one reference and at most one miss; here it is one access, but
///   two line accesses. The kernels' accesses are aligned.
/// - cachegrind models no writebacks. Ours go to the L2 and refresh a line's recency there, so last-level misses may
///   differ slightly; first-level misses may not.
#[test]
fn references_and_misses_agree_with_cachegrind() {
    let program = Program::compile("kernels", &["-static"]);
    let folder = tempfile::tempdir().expect("temporary folder");
    let machine = folder.path().join("cachegrind.toml");
    std::fs::write(&machine, MACHINE).expect("machine file");
    let machine = machine.to_str().expect("UTF-8");
    for (kernel, n) in CASES {
        let arguments = [kernel.to_owned(), n.to_string()];
        let theirs = cachegrind(program.path(), &arguments, folder.path());
        let capture = Capture::success(
            &["--machine", machine, "--engine", "valgrind"],
            program.path(),
            &arguments,
        );

        let ours = capture.report("function,access");
        let kernel_rows = ours.matching(&[("function", kernel)]);
        let data = kernel_rows.filtered("access", |access| access != "fetch");
        let expected = &theirs.functions[kernel];
        assert_eq!(
            data.sum("accesses"),
            expected["Dr"] + expected["Dw"],
            "{kernel}: references"
        );
        assert_eq!(
            kernel_rows.sum("instructions"),
            expected["Ir"],
            "{kernel}: instructions"
        );
        assert_eq!(
            data.sum("l1d_misses"),
            expected["D1mr"] + expected["D1mw"],
            "{kernel}: L1 misses"
        );
        assert_close(
            kernel,
            "last-level misses",
            data.sum("l2_misses"),
            expected["DLmr"] + expected["DLmw"],
            0.02,
        );

        let summary = capture.summary();
        assert_close(
            kernel,
            "all references",
            summary.total("accesses"),
            theirs.total("Dr") + theirs.total("Dw"),
            0.005,
        );
        assert_close(
            kernel,
            "all L1 misses",
            summary.total("l1d_misses"),
            theirs.total("D1mr") + theirs.total("D1mw"),
            0.01,
        );
        assert_close(
            kernel,
            "all instructions",
            summary.total("instructions"),
            theirs.total("Ir"),
            0.005,
        );
    }
}

/// lackey counts a read-modify-write as a load and a store, as `loads` and `stores` do.
#[test]
fn loads_and_stores_agree_with_lackey() {
    let program = Program::compile("kernels", &["-static"]);
    for (kernel, n) in [
        ("copy", 200_000),
        ("gemv", 500),
        ("gather", 100_000),
        ("increment", 200_000),
    ] {
        let arguments = [kernel.to_owned(), n.to_string()];
        let (loads, stores) = lackey(program.path(), &arguments);
        let summary = Capture::success(
            &["--machine", "none", "--engine", "valgrind"],
            program.path(),
            &arguments,
        )
        .summary();
        assert_close(kernel, "loads", summary.total("loads"), loads, 0.005);
        assert_close(kernel, "stores", summary.total("stores"), stores, 0.005);
    }
}

fn assert_close(kernel: &str, what: &str, ours: u64, theirs: u64, tolerance: f64) {
    let difference = ours.abs_diff(theirs) as f64 / theirs.max(1) as f64;
    assert!(
        difference <= tolerance,
        "{kernel}: {what}: {ours} here, {theirs} there ({:.3} %)",
        difference * 100.0
    );
}

struct Cachegrind {
    functions: HashMap<String, HashMap<String, u64>>,
}

impl Cachegrind {
    fn total(&self, event: &str) -> u64 {
        self.functions.values().map(|counts| counts[event]).sum()
    }
}

/// Runs cachegrind and reads its output file: `events:` names columns, `fn=` opens a function, other lines start with a
/// source line's number.
fn cachegrind(program: &Path, arguments: &[String], folder: &Path) -> Cachegrind {
    let out = folder.join("cachegrind.out");
    let status = Command::new("valgrind")
        .args(["-q", "--tool=cachegrind", "--cache-sim=yes"])
        .args(EVERY_INSTRUCTION)
        .args(CACHEGRIND)
        .envs(ENVIRONMENT)
        .arg(format!("--cachegrind-out-file={}", out.display()))
        .arg(program)
        .args(arguments)
        .output()
        .expect("valgrind")
        .status;
    assert!(status.success(), "cachegrind");
    let text = std::fs::read_to_string(&out).expect("cachegrind's output");
    let mut events: Vec<String> = Vec::new();
    let mut functions: HashMap<String, HashMap<String, u64>> = HashMap::new();
    let mut function = String::new();
    for line in text.lines() {
        if let Some(names) = line.strip_prefix("events:") {
            events = names.split_whitespace().map(str::to_owned).collect();
        } else if let Some(name) = line.strip_prefix("fn=") {
            name.clone_into(&mut function);
        } else if line.starts_with(|c: char| c.is_ascii_digit()) {
            let counts = functions.entry(function.clone()).or_default();
            for (event, count) in events.iter().zip(line.split_whitespace().skip(1)) {
                *counts.entry(event.clone()).or_default() += count.parse::<u64>().expect("a count");
            }
        }
    }
    Cachegrind { functions }
}

fn lackey(program: &Path, arguments: &[String]) -> (u64, u64) {
    let output = Command::new("valgrind")
        .args(["--tool=lackey", "--basic-counts=no", "--detailed-counts=yes"])
        .args(EVERY_INSTRUCTION)
        .envs(ENVIRONMENT)
        .arg(program)
        .args(arguments)
        .output()
        .expect("valgrind");
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    // The table of loads and stores by type: "==PID==   I64      1,234      567   890".
    let mut totals = (0, 0);
    for line in text.lines() {
        let fields: Vec<&str> = line.split_whitespace().collect();
        if let [_, kind, loads, stores, _] = fields[..]
            && (kind.starts_with('I')
                || kind.starts_with('F')
                || kind.starts_with('V')
                || kind.starts_with('D'))
            && let (Ok(loads), Ok(stores)) = (number(loads), number(stores))
        {
            totals.0 += loads;
            totals.1 += stores;
        }
    }
    assert!(totals.0 > 0, "no counts in {text}");
    totals
}

fn number(text: &str) -> Result<u64, std::num::ParseIntError> {
    text.replace(',', "").parse()
}
