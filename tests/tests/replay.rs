//! A recorded run, replayed, gives the profile of the run; a recording that was cut off gives what is in it.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Output};

use memloupe_tests::{Capture, Program, Rows, Summary, library_folder, memloupe};
use serde_json::Value;

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

/// What watches a C program.
#[derive(Clone, Copy, PartialEq)]
enum Watch {
    Nothing,
    /// AddressSanitizer and UndefinedBehaviorSanitizer.
    Sanitizers,
    Valgrind,
}

/// What the C library's example says of a recording.
fn read_by_c(ffi: &Path, library: &Path, recording: &Path, watch: Watch) -> String {
    let folder = tempfile::tempdir().expect("temporary folder");
    let reader = folder.path().join("reader");
    let mut compile = Command::new("cc");
    compile.arg(ffi.join("examples/reader.c")).arg("-o").arg(&reader);
    compile.arg("-g").arg("-I").arg(ffi.join("include"));
    if watch == Watch::Sanitizers {
        compile.args(["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]);
        compile.arg(library.join("libmemloupe_ffi.a"));
        compile.args(["-lpthread", "-ldl", "-lm"]);
    } else {
        compile.arg("-L").arg(library).arg("-lmemloupe_ffi");
        compile.arg(format!("-Wl,-rpath,{}", library.display()));
    }
    assert!(compile.status().expect("cc").success());
    let mut run = Command::new(if watch == Watch::Valgrind {
        "valgrind".as_ref()
    } else {
        reader.as_os_str()
    });
    if watch == Watch::Valgrind {
        run.args([
            "--quiet",
            "--error-exitcode=99",
            "--leak-check=full",
            "--errors-for-leak-kinds=definite",
        ]);
        run.arg(&reader);
    }
    run.arg(recording).env_remove("LD_LIBRARY_PATH");
    let output = run.output().expect("the reader");
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{complaint}");
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// A recording as others read it: by the C library's example, alone and watched, and by Python.
#[test]
fn a_reader_tells_what_the_profile_says() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let program = Program::compile("marked", &["-DMARKED"]);
    let recording = folder.path().join("stream");
    let path = recording.to_str().expect("UTF-8");
    let options = ["--machine", "none", "--record", path];
    let capture = Capture::success(&options, program.path(), &["32", "2", "1"]);
    let ffi = Path::new(env!("CARGO_MANIFEST_DIR")).join("../ffi");
    let library = library_folder();

    let text = read_by_c(&ffi, library, &recording, Watch::Nothing);
    assert_eq!(text, read_by_c(&ffi, library, &recording, Watch::Sanitizers));
    assert_eq!(text, read_by_c(&ffi, library, &recording, Watch::Valgrind));
    let mut kinds: BTreeMap<String, u64> = BTreeMap::new();
    for line in text.lines() {
        let columns: Vec<&str> = line.split('\t').collect();
        let operator: Value = serde_json::from_str(columns[2]).expect("JSON");
        let kind = operator["kind"].as_str().unwrap_or("(no operator)");
        *kinds.entry(kind.to_owned()).or_default() += columns[0].parse::<u64>().expect("a count");
    }
    let report = capture.report("kind,access");
    assert!(kinds.contains_key("MATVEC"), "{text}");
    for (kind, count) in kinds {
        let rows = report.matching(&[("kind", &kind)]);
        let prefetches = rows.matching(&[("access", "prefetch")]).sum("accesses");
        assert_eq!(count, rows.sum("accesses") - prefetches, "{kind}");
    }

    let output = Command::new("python3")
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("programs/read_recording.py"))
        .arg(&recording)
        .env("PYTHONPATH", ffi.join("python"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("MEMLOUPE_LIBRARY", library.join("libmemloupe_ffi.so"))
        .output()
        .expect("python3");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let rows: Vec<(String, String, String, u64)> =
        serde_json::from_slice(&output.stdout).expect("rows of names and a count");
    let report = capture.report("kind,object,access");
    assert!(
        rows.iter()
            .any(|(kind, object, ..)| kind == "MATVEC" && object == "blk.1.weight")
    );
    for (kind, object, access, count) in rows {
        let keys = [("kind", &*kind), ("object", &*object), ("access", &*access)];
        assert_eq!(count, report.matching(&keys).sum("accesses"), "{keys:?}");
    }
}
