//! The native engine against the Valgrind engine, the most trusted translator there is, and against the physics.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;

use memloupe_tests::{Capture, Program, Rows, llama, memloupe, model};

/// Accesses and instructions by function and kind of access, call and return and their like included.
fn by_function(capture: &Capture, functions: &[&str]) -> BTreeMap<(String, String), (u64, u64, u64)> {
    let rows = capture.report("function,access");
    functions
        .iter()
        .flat_map(|function| {
            let rows = rows.matching(&[("function", function)]);
            let counts = rows
                .column("accesses")
                .into_iter()
                .zip(rows.column("access_bytes"))
                .zip(rows.column("instructions"))
                .map(|((accesses, bytes), instructions)| (accesses, bytes, instructions));
            rows.keys("access")
                .into_iter()
                .map(|access| ((*function).to_owned(), access))
                .zip(counts)
                .collect::<Vec<_>>()
        })
        .collect()
}

#[test]
fn both_engines_count_the_same_in_the_kernels() {
    let program = Program::compile("kernels", &[]);
    for (kernel, n) in [
        ("copy", 3000),
        ("strided_sum", 9000),
        ("gemv", 70),
        ("gather", 2000),
        ("chase", 900),
        ("increment", 700),
    ] {
        let arguments = [kernel.to_owned(), n.to_string()];
        let count = |engine| {
            let capture = Capture::success(
                &["--machine", "embedded", "--engine", engine],
                program.path(),
                &arguments,
            );
            by_function(&capture, &[kernel, "main"])
        };
        assert_eq!(count("native"), count("valgrind"), "{kernel}");
    }
}

#[test]
fn llama_runs_unchanged_and_reads_its_weights_once_per_token() {
    check_llama(1);
}

/// Its threads wait for each other in loops of `pause` and plain loads.
#[test]
fn threads_that_wait_busily_come_to_their_end() {
    let capture = check_llama(2);
    let products = in_decode(&capture.report("phase,thread,kind")).matching(&[("kind", "MUL_MAT")]);
    for thread in ["0", "1"] {
        assert!(
            products.matching(&[("thread", thread)]).sum("access_bytes") > 0,
            "{thread}"
        );
    }
}

fn in_decode(rows: &Rows) -> Rows {
    rows.filtered("phase", |phase| phase.starts_with("decode"))
}

/// llama.cpp on so many threads: native output, each weight read from memory once per token, all of decode in an operator.
fn check_llama(threads: u32) -> Capture {
    const TOKENS: u64 = 3;
    let model = model("smoke", "q4_0");
    let arguments = [
        "-m",
        model.to_str().expect("UTF-8"),
        "-p",
        "8",
        "-n",
        &TOKENS.to_string(),
        "-t",
        &threads.to_string(),
    ];
    let capture = Capture::success(
        &["--check", "--machine", "embedded", "--engine", "native"],
        &llama(),
        &arguments,
    );
    let alone = std::process::Command::new(llama())
        .args(arguments)
        .output()
        .expect("llama-infer");
    assert_eq!(
        String::from_utf8_lossy(&capture.output.stdout),
        String::from_utf8_lossy(&alone.stdout)
    );

    let summary = capture.summary();
    assert_eq!(summary.get("engine").as_str(), Some("native"));
    assert_eq!(summary.get("complete").as_bool(), Some(true));
    let notes = summary.get("notes").to_string();
    assert!(!notes.contains("stream check"), "{notes}");

    let weights = in_decode(&capture.report("phase,class"))
        .matching(&[("class", "weight")])
        .sum("dram_read_bytes");
    let size = std::fs::metadata(&model).expect("model").len();
    let error = weights.abs_diff(TOKENS * size) as f64 / (TOKENS * size) as f64;
    assert!(
        error < 0.02,
        "{weights} bytes of weights in {TOKENS} tokens of a model of {size} bytes"
    );

    let accesses = in_decode(&capture.report("phase,kind"));
    let unnamed = accesses.matching(&[("kind", "(no operator)")]).sum("accesses");
    assert!(
        unnamed * 100 <= accesses.sum("accesses"),
        "{unnamed} of {}",
        accesses.sum("accesses")
    );
    capture
}

#[test]
fn a_static_program_is_refused_with_the_alternative() {
    let program = Program::compile("kernels", &["-static"]);
    let capture = Capture::run(&[], program.path(), &["copy", "10"]);
    assert_eq!(capture.output.status.code(), Some(122));
    let text = capture.stderr();
    assert!(
        text.contains("statically linked") && text.contains("--engine valgrind"),
        "{text}"
    );
}

/// What counts without simulating, and what does not even decode.
#[test]
fn less_than_a_simulation_can_be_asked_for() {
    let program = Program::compile("kernels", &[]);
    let arguments = ["gemv", "70"];
    for engine in ["native", "valgrind"] {
        let capture = |options: &[&str]| {
            let options = [&["--engine", engine], options].concat();
            Capture::success(&options, program.path(), &arguments)
        };
        let counts = |capture: &Capture| by_function(capture, &["gemv", "main"]);
        let simulated = capture(&["--machine", "embedded"]);
        let counted = capture(&["--machine", "none"]);
        assert_eq!(counts(&simulated), counts(&counted), "{engine}");
        assert!(counted.summary().get("machine").is_null());

        let discarded = capture(&["--discard"]);
        let bytes = |capture: &Capture| capture.summary().get("stream_bytes").as_u64().expect("bytes");
        // Probes aside, which a discarded stream has none of, the same was captured.
        assert!(
            bytes(&discarded).abs_diff(bytes(&counted)) * 20 < bytes(&counted),
            "{engine}"
        );
        assert_eq!(discarded.summary().get("totals"), &serde_json::json!({}));
        let report = std::process::Command::new(memloupe())
            .arg("report")
            .arg(discarded.profile())
            .output()
            .expect("memloupe report");
        assert_eq!(report.status.code(), Some(124));
        assert!(String::from_utf8_lossy(&report.stderr).contains("--discard"));
    }
}
