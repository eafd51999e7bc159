//! A recorded run, replayed, gives the profile of the run; a recording that was cut off gives what is in it.
#![forbid(unsafe_code)]

use std::path::Path;
use std::process::{Command, Output};

use memloupe_tests::{Capture, Program, Rows, Summary, memloupe};

fn replay(recording: &Path, options: &[&str], profile: &Path) -> Output {
    let mut command = Command::new(memloupe());
    command
        .arg("replay")
        .arg(recording)
        .args(options)
        .arg("-o")
        .arg(profile);
    command.output().expect("memloupe replay")
}

fn record(engine: &str, folder: &Path) -> (Capture, std::path::PathBuf) {
    let program = Program::compile("lifecycle", &["-pthread"]);
    let recording = folder.join(format!("{engine}.stream"));
    let path = recording.to_str().expect("UTF-8");
    let options = ["--engine", engine, "--machine", "embedded", "--record", path];
    let capture = Capture::run(&options, program.path(), &["exit"]);
    assert_eq!(capture.output.status.code(), Some(42), "{}", capture.stderr());
    (capture, recording)
}

#[test]
fn a_replay_is_the_run() {
    let folder = tempfile::tempdir().expect("temporary folder");
    for engine in ["valgrind", "native"] {
        let (capture, recording) = record(engine, folder.path());
        let profile = folder.path().join("profile");
        let output = replay(&recording, &["--machine", "embedded"], &profile);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(42), "{said}");
        for by in ["function,line", "kind,layer,phase", "object,class", "thread"] {
            assert_eq!(
                format!("{:?}", Rows::read(&profile, by)),
                format!("{:?}", capture.report(by)),
                "{engine} by {by}"
            );
        }
        let (live, replayed) = (capture.summary(), Summary::read(&profile));
        for key in [
            "complete",
            "exit_status",
            "engine",
            "totals",
            "threads",
            "command",
            "stream_bytes",
        ] {
            assert_eq!(live.get(key), replayed.get(key), "{engine}: {key}");
        }
        let output = replay(&recording, &["--after", "1s"], &folder.path().join("refused"));
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains("it has no clock"), "{said}");
        // Another machine needs no other run.
        let other = folder.path().join("other");
        assert_eq!(
            replay(&recording, &["--machine", "desktop"], &other)
                .status
                .code(),
            Some(42)
        );
        let other = Summary::read(&other);
        assert_eq!(other.total("loads"), live.total("loads"));
        assert!(other.total("l1d_misses") < live.total("l1d_misses"));
    }
}

#[test]
fn a_recording_that_was_cut_off_says_where_and_gives_what_it_has() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let (capture, recording) = record("valgrind", folder.path());
    let bytes = std::fs::read(&recording).expect("the recording");
    std::fs::write(&recording, &bytes[..bytes.len() / 2]).expect("write");
    let profile = folder.path().join("profile");
    let output = replay(&recording, &["--machine", "none"], &profile);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(123), "{said}");
    assert!(
        said.contains("recording: at byte") && said.contains("cut off"),
        "{said}"
    );
    let summary = Summary::read(&profile);
    assert_eq!(summary.get("complete").as_bool(), Some(false));
    assert!(summary.total("loads") < capture.summary().total("loads"));
}
