//! Tasks that programs announce by ITT or NVTX become operators: memloupe's collector is what their environment variables name.
#![forbid(unsafe_code)]

use memloupe_tests::{Capture, Program};

const N: u64 = 1000;

#[test]
fn tasks_are_operators() {
    let program = Program::compile("tasks", &[]);
    for (interface, domain) in [("itt", "example.domain"), ("nvtx", "(unnamed)")] {
        for engine in ["native", "valgrind"] {
            let options = ["--engine", engine, "--machine", "none", "--check"];
            let capture = Capture::success(&options, program.path(), &[interface, &N.to_string()]);
            let rows = capture
                .report("kind,operator,function")
                .matching(&[("function", "work")]);
            let passes = |kind: &str, name: &str| {
                rows.matching(&[("kind", kind), ("operator", name)]).sum("loads") / N
            };
            let none = rows.matching(&[("kind", "(no operator)")]).sum("loads") / N;
            assert_eq!(
                (passes("outer", domain), passes("inner", domain), none),
                (2, 2, 1),
                "{interface}, {engine}: {:?}",
                rows.keys("operator")
            );
        }
    }
}

/// A collector that the user has named is not replaced.
#[test]
fn the_users_own_collector_stays() {
    let program = Program::compile("tasks", &[]);
    let folder = tempfile::tempdir().expect("temporary folder");
    let options = ["--engine", "native", "--machine", "none"];
    let mut command = Capture::command(folder.path(), &options, program.path(), &["itt", "10"]);
    let status = command
        .env("INTEL_LIBITTNOTIFY64", "/nonexistent/collector.so")
        .status()
        .expect("memloupe");
    assert_eq!(status.code(), Some(3), "the program finds no collector");
}
