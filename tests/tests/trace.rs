//! Recordings and traces as other tools' traces: what leaves the last level is what the profile says that DRAM saw.
#![forbid(unsafe_code)]

use std::path::Path;
use std::process::{Command, Output};

use memloupe_tests::{Capture, Program, memloupe};

fn trace(arguments: &[&str], folder: &Path) -> Output {
    let mut command = Command::new(memloupe());
    command.arg("trace").args(arguments).current_dir(folder);
    command.output().expect("memloupe trace")
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn formats_and_levels() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let program = Program::compile("marked", &["-DMARKED"]);
    let recording = folder.path().join("stream");
    let path = recording.to_str().expect("UTF-8");
    let options = ["--machine", "embedded", "--record", path];
    let capture = Capture::success(&options, program.path(), &["64", "2", "2"]);
    let summary = capture.summary();
    let convert = |arguments: &[&str]| {
        let output = trace(arguments, folder.path());
        assert!(output.status.success(), "{arguments:?}: {}", said(&output));
        String::from_utf8(output.stdout).expect("UTF-8")
    };
    let lines = |file: &str| std::fs::read_to_string(folder.path().join(file)).expect(file);

    // All accesses, by kind.
    let text = convert(&["stream", "all.lackey", "--to", "lackey"]);
    assert!(
        text.contains("do not keep times, instruction addresses, threads"),
        "{text}"
    );
    let all = lines("all.lackey");
    let count = |start: &str| all.lines().filter(|line| line.starts_with(start)).count() as u64;
    assert_eq!(count(" S") + count(" M"), summary.total("stores"));
    assert_eq!(count("I "), summary.total("fetches"));

    // What DRAM sees, and what leaves the first level.
    let below = [
        "stream",
        "dram",
        "--to",
        "dramsim3",
        "--below",
        "llc",
        "--machine",
        "embedded",
    ];
    convert(&below);
    let dram = lines("dram");
    let reads = dram.lines().filter(|line| line.contains(" READ ")).count() as u64;
    assert_eq!(reads * 64, summary.total("dram_read_bytes"));
    assert_eq!(
        (dram.lines().count() as u64 - reads) * 64,
        summary.total("dram_write_bytes")
    );
    let names = folder.path().join("dram.names.parquet");
    assert!(names.metadata().expect("names").len() > 0);
    convert(&[
        "stream",
        "l1",
        "--to",
        "dramsim3",
        "--below",
        "l1d",
        "--machine",
        "embedded",
        "--no-names",
    ]);
    let fills = lines("l1").lines().filter(|line| line.contains(" READ ")).count() as u64;
    assert_eq!(fills, summary.total("l1d_misses") + summary.total("l1i_misses"));
    assert!(!folder.path().join("l1.names.parquet").exists());

    // Round and round.
    for (from, to, file) in [
        ("dramsim3", "dramsys", "a.stl"),
        ("dramsys", "prospero", "b.gz"),
        ("prospero", "gem5", "c.gz"),
        ("gem5", "prospero-binary", "d"),
        ("prospero-binary", "dramsim3", "e"),
    ] {
        let before = match to {
            "dramsys" => "dram",
            "prospero" => "a.stl",
            "gem5" => "b.gz",
            "prospero-binary" => "c.gz",
            _ => "d",
        };
        convert(&[before, file, "--from", from, "--to", to]);
    }
    assert_eq!(lines("e"), dram);
    // Coordinates in memory, DDR4's six, are as good as addresses.
    for (from, to, before, file) in [
        ("dramsim3", "ramulator", "dram", "f"),
        ("dramsim3", "ramulator-rw", "dram", "g"),
        ("ramulator-rw", "ramulator", "g", "h"),
    ] {
        convert(&[before, file, "--from", from, "--to", to, "--machine", "embedded"]);
    }
    assert_eq!(lines("h"), lines("f"));
    assert_eq!(
        lines("g").lines().next().map(|line| line.split(',').count()),
        Some(6)
    );

    let refused = |arguments: &[&str], what: &str| {
        let output = trace(arguments, folder.path());
        assert!(!output.status.success(), "{arguments:?}");
        assert!(said(&output).contains(what), "{arguments:?}: {}", said(&output));
    };
    refused(
        &["dram", "x", "--to", "gem5"],
        "it is no recording of memloupe: say --from FORMAT",
    );
    refused(
        &["stream", "x", "--to", "gem6"],
        "there is no trace format 'gem6'; there are gem5,",
    );
    refused(
        &["stream", "x", "--to", "gem5", "--below", "l7"],
        "has no cache level 'l7': it has l1d",
    );
    std::fs::write(folder.path().join("damaged"), format!("{dram}0x40 REED 1\n")).expect("a file");
    refused(
        &["damaged", "x", "--from", "dramsim3", "--to", "ramulator"],
        "'0x40 REED 1' is not",
    );
    assert_eq!(lines("x").lines().count(), dram.lines().count());
}
