//! Libraries that a program loads as it runs: what they allocate is theirs, and what comes to their place when they are unloaded has
//! its own names.
#![forbid(unsafe_code)]

use memloupe_tests::{Capture, Program};

const ROUNDS: u64 = 4;
const N: u64 = 1000;
const FUNCTIONS: [&str; 2] = ["add_up", "sum_up"];

const PRESET: &str = r#"
name = "plugins"
description = "each plugin's function is an operator"

[[probe]]
functions = ["add_up"]
operator = { kind = "ADD_UP" }

[[probe]]
functions = ["sum_up"]
operator = { kind = "SUM_UP" }
"#;

#[test]
fn what_takes_an_unloaded_librarys_place_has_its_own_names() {
    let program = Program::compile("unload", &["-ldl"]);
    let libraries = FUNCTIONS.map(|function| {
        let name = format!("-DNAME={function}");
        Program::compile("unload", &[&name, "-shared", "-fPIC"])
    });
    let folder = tempfile::tempdir().expect("temporary folder");
    let preset = folder.path().join("plugins.toml");
    std::fs::write(&preset, PRESET).expect("write");
    let mut arguments = vec![ROUNDS.to_string(), N.to_string()];
    for (library, function) in libraries.iter().zip(FUNCTIONS) {
        arguments.push(library.path().to_str().expect("UTF-8").to_owned());
        arguments.push(function.to_owned());
    }
    for engine in ["native", "valgrind"] {
        let options = [
            "--engine",
            engine,
            "--machine",
            "none",
            "--check",
            "--ops",
            preset.to_str().expect("UTF-8"),
        ];
        let capture = Capture::success(&options, program.path(), &arguments);
        let output = String::from_utf8_lossy(&capture.output.stdout).into_owned();
        assert!(
            output.ends_with(" 1\n"),
            "{engine}: both libraries come to one place: {output}"
        );
        let rows = capture.report("kind,function");
        for (kind, function) in ["ADD_UP", "SUM_UP"].into_iter().zip(FUNCTIONS) {
            let own = rows.matching(&[("kind", kind)]);
            let loads = own.matching(&[("function", function)]).sum("loads");
            assert!(
                (ROUNDS * N..ROUNDS * (N + 20)).contains(&loads),
                "{engine}, {kind}: {loads}"
            );
            assert_eq!(
                own.sum("loads"),
                loads,
                "{engine}, {kind}: {:?}",
                own.keys("function")
            );
            assert_eq!(rows.matching(&[("function", function)]).sum("loads"), loads);
        }
        let calls = capture.report("kind");
        for kind in ["ADD_UP", "SUM_UP"] {
            assert_eq!(
                calls.matching(&[("kind", kind)]).sum("calls"),
                ROUNDS,
                "{engine}, {kind}"
            );
        }
        let notes = capture.summary().get("notes").to_string();
        assert!(!notes.contains("stream check"), "{engine}: {notes}");
    }
}

/// `operator new` of a C++ library that came with a plugin: its caller allocates, not the library.
#[test]
fn a_plugins_cpp_library_allocates_for_its_callers() {
    let program = Program::compile("plugin", &["-ldl"]);
    let plugin = Program::compile("plugin", &["-DPLUGIN", "-shared", "-fPIC", "-lstdc++"]);
    let arguments = [N.to_string(), plugin.path().to_str().expect("UTF-8").to_owned()];
    for engine in ["native", "valgrind"] {
        let options = ["--engine", engine, "--machine", "none", "--check"];
        let capture = Capture::success(&options, program.path(), &arguments);
        let rows = capture
            .report("function,class,object")
            .matching(&[("function", "sum"), ("class", "heap")]);
        assert_eq!(rows.sum("loads"), N, "{engine}");
        let named = rows.filtered("object", |object| object.starts_with("heap: sum"));
        assert_eq!(named.sum("loads"), N, "{engine}: {:?}", rows.keys("object"));
    }
}
