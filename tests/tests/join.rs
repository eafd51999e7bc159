//! `replay --join`: operators by the profile that the framework itself has written of the recorded run, by time. What nodes
//! compute has closed forms.
#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use memloupe_tests::{Capture, Program, Rows, Summary, memloupe};

/// The smoke size of `workloads/onnxruntime/models.py`.
const TOKENS: u64 = 32;
const WIDTH: u64 = 128;
const LAYERS: u64 = 2;
const RUNS: u64 = 3;

fn replay(recording: &Path, join: &str, profile: &Path) -> Output {
    Command::new(memloupe())
        .arg("replay")
        .arg(recording)
        .args(["--region", "phase=*", "--join", join, "--machine", "none"])
        .args(["--analyses", "none", "--quiet", "-o"])
        .arg(profile)
        .output()
        .expect("memloupe replay")
}

/// With markers alone, nodes have no names. By time, each multiplies what it multiplies.
#[test]
fn nodes_are_told_by_onnx_runtimes_own_profile() {
    let python = PathBuf::from(
        std::env::var_os("MEMLOUPE_PYTHON").expect("MEMLOUPE_PYTHON must name what scripts/python prints"),
    );
    let folder = tempfile::tempdir().expect("temporary folder");
    let [recording, trace, profile] =
        ["run.stream", "trace.json", "joined"].map(|name| folder.path().join(name));
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../workloads/onnxruntime/run.py");
    let runs = RUNS.to_string();
    let arguments = [
        script,
        "encoder",
        "--runs",
        &runs,
        "--profile",
        trace.to_str().expect("UTF-8"),
    ];
    let options = [
        "--ops",
        "markers",
        "--region",
        "phase=*",
        "--machine",
        "none",
        "--analyses",
        "none",
        "--record",
        recording.to_str().expect("UTF-8"),
    ];
    let capture = Capture::success(&options, &python, &arguments);
    let unnamed = capture.report("kind").keys("kind");
    assert!(unnamed.iter().all(|kind| !kind.contains("Gemm")), "{unnamed:?}");
    let said = capture.stderr();
    let began = said.lines().find_map(|line| line.strip_prefix("profile: "));
    let join = format!("{}@{}", trace.display(), began.expect("when the profile began"));
    let output = replay(&recording, &join, &profile);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );

    let rows = Rows::read(&profile, "phase,kind,operator").matching(&[("kind", "Gemm (by time)")]);
    for run in 0..RUNS {
        for layer in 0..LAYERS {
            for (name, factor) in [
                ("attention/query", 1),
                ("attention/key", 1),
                ("attention/value", 1),
                ("attention/output", 1),
                ("intermediate", 4),
                ("output", 4),
            ] {
                let node = format!("/layers.{layer}/{name}/MatMul/MatMulAddFusion");
                let keys = [("phase", &*format!("run[{run}]")), ("operator", &node)];
                let flops = rows.matching(&keys).sum("flops");
                let expected = 2 * TOKENS * WIDTH * factor * WIDTH;
                // The bias too, and what a neighbour is given.
                assert!(
                    flops.abs_diff(expected) * 20 <= expected,
                    "{keys:?}: {flops} operations, expected {expected}"
                );
            }
        }
    }
    let notes = Summary::read(&profile).get("notes").to_string();
    assert!(
        notes.contains("approximate") && notes.contains("trace.json"),
        "{notes}"
    );
}

#[test]
fn a_recording_without_a_clock_is_refused() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let recording = folder.path().join("run.stream");
    let program = Program::compile("lifecycle", &["-pthread"]);
    let options = ["--engine", "valgrind", "--machine", "none", "--record"];
    let options = [&options[..], &[recording.to_str().expect("UTF-8")]].concat();
    let capture = Capture::run(&options, program.path(), &["exit"]);
    assert!(recording.exists(), "{}", capture.stderr());
    let output = replay(&recording, "trace.json@0", &folder.path().join("joined"));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        !output.status.success() && said.contains("native engine"),
        "{said}"
    );
    assert_eq!(said.lines().count(), 1, "{said}");
}
