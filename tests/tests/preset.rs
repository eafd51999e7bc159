//! A preset of a user's own, the one that the tutorial shows, and what is said of its mistakes.
#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};

use memloupe_tests::{Capture, Program};

const N: u64 = 64;
const TUTORIAL: &str = include_str!("../../instrument/attribute/presets/README.md");

/// The tutorial's preset, with a word of it replaced.
fn preset(folder: &Path, (from, to): (&str, &str)) -> PathBuf {
    let text = TUTORIAL
        .split("```toml\n")
        .nth(1)
        .and_then(|rest| rest.split("```").next())
        .expect("a preset in the tutorial");
    assert!(text.lines().count() <= 22, "twenty lines");
    assert!(text.contains(from), "the tutorial's preset has no {from}");
    let file = folder.join("engine.toml");
    std::fs::write(&file, text.replace(from, to)).expect("preset file");
    file
}

fn capture(change: (&str, &str)) -> Capture {
    let folder = tempfile::tempdir().expect("temporary folder");
    let file = preset(folder.path(), change);
    let program = Program::compile("tutorial", &[]);
    let options = [
        "--engine",
        "native",
        "--machine",
        "none",
        "--ops",
        file.to_str().expect("UTF-8"),
    ];
    Capture::success(&options, program.path(), &[N.to_string()])
}

#[test]
fn the_tutorial_holds() {
    let rows = capture(("", "")).report("kind,layer,operator,object,class,access");
    for block in 0..3 {
        let layer = format!("block {block}");
        let product = rows.matching(&[
            ("kind", "MATMUL"),
            ("layer", &layer),
            ("operator", &format!("block{block}/q")),
            ("object", &format!("block{block}/q.weight")),
            ("class", "weight"),
            ("access", "load"),
        ]);
        assert_eq!(product.sum("accesses"), N * N, "{layer}");
        assert!(
            !rows
                .matching(&[("kind", "SOFTMAX"), ("layer", &layer)])
                .is_empty(),
            "{layer}"
        );
    }
}

#[test]
fn a_field_that_is_not_there_is_named_with_the_nearest() {
    let capture = capture(("\"node->shape\"", "\"node->shap\""));
    let notes = capture.summary().get("notes").to_string();
    assert!(
        notes.contains("engine_compute")
            && notes.contains("no field `shap`")
            && notes.contains("nearest: `shape`"),
        "{notes}"
    );
}

/// Which function, where it was looked for, and what was probably meant.
#[test]
fn a_function_that_no_module_has_is_named_with_the_nearest() {
    let capture = capture(("\"engine_compute\"", "\"engine_compte\", \"engine::compute_*\""));
    let notes = capture.summary().get("notes").to_string();
    for part in [
        "engine.toml",
        "`engine_compte` or `engine::compute_*`",
        "nearest: `engine_compute` in ",
        "tutorial",
    ] {
        assert!(notes.contains(part), "{part}: {notes}");
    }
}

#[test]
fn a_class_that_no_module_has_is_named() {
    let capture = capture((
        "\"engine_compute\"",
        "\"engine_compute\"]\n[[probe]]\nfunctions = [\"vtable(engine::Kernel)[2]\"",
    ));
    let notes = capture.summary().get("notes").to_string();
    assert!(notes.contains("`vtable(engine::Kernel)[2]`"), "{notes}");
}
