//! Locality of real programs: STREAM Add against DAMOV's figures and the physics, a sample of lines against all of them.
#![forbid(unsafe_code)]

use std::path::Path;
use std::process::Command;

use memloupe_tests::{Capture, Program, llama, memloupe, model};
use serde_json::Value;

/// The rows of `memloupe report --table TABLE --by KEY`.
fn table(profile: &Path, table: &str, key: &str) -> Vec<Value> {
    let output = Command::new(memloupe())
        .arg("report")
        .arg(profile)
        .args(["--table", table, "--by", key, "--format", "json"])
        .output()
        .expect("memloupe report");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).expect("JSON")
}

fn number(row: &Value, column: &str) -> f64 {
    row[column]
        .as_f64()
        .unwrap_or_else(|| panic!("no {column} in {row}"))
}

/// DAMOV's anchor: L3 MPKI 23.4 and LFMR 1. An element takes three eighths of a line fill whatever the caches, so MPKI
/// is 375 / instructions per element: 23.44 for STREAM compiled without optimisation as position-independent code (16
/// instructions), 37.5 compiled so but not position-independent (10), 62.5 with -O2 and without vectors (6). DAMOV's flags are
/// not known: the build here is the one of the three that matches, so the anchor checks the caches, not the flags.
#[test]
fn stream_add_misses_as_damov_says() {
    const ELEMENTS: u64 = 1 << 20; // as in the program; three arrays of 8 MiB
    const PASSES: u64 = 2;
    let program = Program::compile("stream_add", &["-O0"]);
    let machine = concat!(env!("CARGO_MANIFEST_DIR"), "/machines/damov.toml");
    let options = ["--engine", "native", "--machine", machine, "--analyses", "all"];
    let capture = Capture::success(&options, program.path(), &[PASSES.to_string()]);
    let add = capture.report("function").matching(&[("function", "add")]);
    let elements = (ELEMENTS * PASSES) as f64;
    let (instructions, l1, l3) = (
        add.sum("instructions") as f64,
        add.sum("l1d_misses") as f64,
        add.sum("l3_misses") as f64,
    );
    let (lfmr, mpki) = (l3 / l1, l3 / instructions * 1000.0);
    println!(
        "LFMR {lfmr:.4}, MPKI {mpki:.2} at {:.2} instructions per element",
        instructions / elements
    );
    assert!((0.999..=1.001).contains(&lfmr), "LFMR {lfmr}");
    assert!(
        (l3 / elements - 0.375).abs() < 0.001,
        "{} misses per element",
        l3 / elements
    );
    // Another compiler may take an instruction more or less.
    assert!((mpki - 23.4).abs() < 2.0, "MPKI {mpki}");

    // Each line is fetched to be used whole, and its neighbours are used next.
    let used = table(&capture.profile(), "line-use", "object");
    for array in ["static: a ", "static: b ", "static: c "] {
        let row = used
            .iter()
            .find(|row| row["object"].as_str().is_some_and(|name| name.starts_with(array)))
            .unwrap_or_else(|| panic!("no {array} in {used:?}"));
        assert!(number(row, "used_32.0KiB") > 0.99, "{row}");
    }
    let scores = table(&capture.profile(), "score", "thread");
    assert!(number(&scores[0], "spatial") > 0.99, "{scores:?}");
}

/// One line in a hundred is enough (SHARDS: within 0.01 of the miss ratio, on average over cache sizes).
#[test]
fn a_sample_of_lines_has_the_miss_ratio_curve_of_all() {
    let model = model("smoke", "q4_0");
    let arguments = [
        "-m",
        model.to_str().expect("UTF-8"),
        "-p",
        "4",
        "-n",
        "2",
        "-t",
        "1",
    ];
    let curve = |one_in: &str| -> Vec<(String, f64)> {
        let options = [
            "--engine",
            "native",
            "--machine",
            "none",
            "--analyses",
            "reuse",
            "--line-sample",
            one_in,
        ];
        let capture = Capture::success(&options, &llama(), &arguments);
        let rows = table(&capture.profile(), "mrc", "thread");
        let Value::Object(row) = &rows[0] else {
            panic!("no thread")
        };
        row.iter()
            .filter_map(|(name, value)| Some((name.strip_prefix("miss_ratio_")?.to_owned(), value.as_f64()?)))
            .collect()
    };
    let (all, sample) = (curve("1"), curve("100"));
    let errors: Vec<f64> = sample
        .iter()
        .filter_map(|(size, ratio)| {
            let (_, exact) = all.iter().find(|(other, _)| other == size)?;
            Some((ratio - exact).abs())
        })
        .collect();
    assert!(errors.len() >= 8, "{sample:?}");
    let mean = errors.iter().sum::<f64>() / errors.len() as f64;
    println!("mean error {mean:.5} over {} sizes", errors.len());
    assert!(mean <= 0.01, "{mean}: {all:?}, {sample:?}");
}
