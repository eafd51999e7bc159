//! Paths of calls, under both engines: every access is found under the functions that led to it.
#![forbid(unsafe_code)]

use std::process::Command;

use memloupe_tests::{Capture, Program, memloupe};

const N: u64 = 1000;
const ENGINES: [&str; 2] = ["native", "valgrind"];

fn capture(engine: &str, options: &[&str]) -> Capture {
    let program = Program::compile("calls", &[]);
    let options = [
        &["--engine", engine, "--machine", "none", "--analyses", "none"],
        options,
    ]
    .concat();
    Capture::success(&options, program.path(), &[N.to_string()])
}

#[test]
fn every_load_has_its_path() {
    let expected = [
        ("main;left", N),
        ("main;right", 3 * N + 3 * N), // itself, and in the place of its tail caller
        ("main;again;again;again;again", N),
        ("main;through", N),
        ("main;lands;deep;deep;deep;deep;deep", N),
        ("main;lands", 5 * N),
    ];
    for engine in ENGINES {
        let capture = capture(engine, &["--call-paths"]);
        let leaves = capture
            .report("callpath,function")
            .matching(&[("function", "leaf")]);
        for (path, loads) in expected {
            // Before `main` there is the C library, if that has names.
            let seen = leaves.filtered("callpath", |callpath| {
                callpath == path || callpath.ends_with(&format!(";{path}"))
            });
            // A call and its return load a word or two.
            assert_eq!(seen.sum("loads") / N, loads / N, "{engine}: {path}");
        }
        let from_library = leaves.filtered("callpath", |callpath| callpath.ends_with(";compare"));
        assert!(
            from_library.sum("loads") > 0,
            "{engine}: the C library's qsort calls back"
        );
        assert_eq!(leaves.sum("loads") / N, 15, "{engine}");
    }
}

#[test]
fn paths_change_no_count() {
    for engine in ENGINES {
        let (with, without) = (capture(engine, &["--call-paths"]), capture(engine, &[]));
        for function in ["leaf", "right", "main", "deep"] {
            let loads = |capture: &Capture| {
                let rows = capture.report("function").matching(&[("function", function)]);
                (rows.sum("loads"), rows.sum("stores"), rows.sum("instructions"))
            };
            assert_eq!(loads(&with), loads(&without), "{engine}: {function}");
        }
        let report = with.report("callpath");
        assert_eq!(
            report.sum("accesses"),
            with.summary().total("accesses"),
            "{engine}"
        );
    }
}

#[test]
fn a_region_knows_its_callers() {
    let capture = capture("native", &["--call-paths", "--region", "function=leaf"]);
    let rows = capture
        .report("callpath,function")
        .matching(&[("function", "leaf")]);
    let left = rows.filtered("callpath", |path| path.ends_with("main;left"));
    assert_eq!(left.sum("loads") / N, 1);
}

#[test]
fn a_flame_graph_is_as_wide_as_the_report() {
    let capture = capture("native", &["--call-paths"]);
    let show = |options: &[&str]| {
        let output = Command::new(memloupe())
            .arg("report")
            .arg(capture.profile())
            .args(options)
            .output()
            .expect("memloupe report");
        (
            output.status.success(),
            String::from_utf8(output.stdout).expect("text"),
            String::from_utf8(output.stderr).expect("text"),
        )
    };
    let keys = ["--by", "callpath,function", "--sort", "loads"];
    let (done, folded, _) = show(&[&keys[..], &["--format", "folded"]].concat());
    assert!(done);
    let width = |line: &str| {
        line.rsplit_once(' ')
            .and_then(|(_, width)| width.parse::<u64>().ok())
    };
    let total: u64 = folded.lines().map(|line| width(line).expect("a width")).sum();
    assert_eq!(total, capture.summary().total("loads"));
    assert!(
        folded.lines().any(|line| line.contains("main;left;leaf ")),
        "{folded}"
    );
    let (done, svg, _) = show(&[&keys[..], &["--format", "flamegraph"]].concat());
    assert!(done && svg.contains("<svg") && svg.contains("again"), "{svg}");
}

#[test]
fn without_paths_a_report_says_how_to_get_them() {
    let capture = capture("native", &[]);
    let output = Command::new(memloupe())
        .arg("report")
        .arg(capture.profile())
        .args(["--by", "callpath"])
        .output()
        .expect("memloupe report");
    let error = String::from_utf8(output.stderr).expect("text");
    assert!(
        !output.status.success() && error.contains("--call-paths"),
        "{error}"
    );
}
