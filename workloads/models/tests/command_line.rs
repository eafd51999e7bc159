//! The program as a user meets it.

use std::fs;
use std::process::{Command, Output};

fn run(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_memloupe-models"))
        .args(args)
        .output()
        .unwrap()
}

fn stderr_of(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn a_shape_is_written_under_its_name_and_nothing_else_is_left() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("smoke.gguf");
    let output = run(&["write", "smoke", "--type", "q4_0", "-o", path.to_str().unwrap()]);
    assert!(output.status.success(), "{}", stderr_of(&output));
    assert!(stderr_of(&output).contains("15.5 MB"), "{}", stderr_of(&output));
    assert_eq!(fs::read(&path).unwrap()[..4], *b"GGUF");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn the_list_names_every_shape() {
    let output = run(&["list"]);
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    for shape in memloupe_models::SHAPES {
        assert!(text.contains(shape.name), "{text}");
    }
}

#[test]
fn an_unknown_shape_gets_the_nearest_name() {
    let output = run(&["write", "smollm2-135", "-o", "unused.gguf"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(
        stderr_of(&output).contains("a similar value exists: 'smollm2-135m'"),
        "{}",
        stderr_of(&output)
    );
}

#[test]
fn a_missing_folder_is_named() {
    let output = run(&["write", "smoke", "-o", "/no/such/folder/smoke.gguf"]);
    assert_eq!(output.status.code(), Some(1));
    let message = stderr_of(&output);
    assert!(
        message.starts_with("error: cannot create a file in /no/such/folder: No such file"),
        "{message}"
    );
}

#[test]
fn a_device_is_not_replaced() {
    let output = run(&["write", "smoke", "-o", "/dev/null"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stderr_of(&output).contains("/dev/null exists and is not a regular file"),
        "{}",
        stderr_of(&output)
    );
}

/// A file size limit stands in for a full disk: the write fails midway just so.
#[test]
fn a_write_that_fails_midway_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("smoke.gguf");
    let output = Command::new("sh")
        .args([
            "-c",
            "trap '' XFSZ; ulimit -f 2000; exec \"$0\" write smoke -o \"$1\"",
        ])
        .arg(env!("CARGO_BIN_EXE_memloupe-models"))
        .arg(&path)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", stderr_of(&output));
    assert!(
        stderr_of(&output).contains("File too large"),
        "{}",
        stderr_of(&output)
    );
    assert!(
        stderr_of(&output).contains("it takes 16 MB there"),
        "{}",
        stderr_of(&output)
    );
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}
