//! A machine with levels beyond plain caches, from its file to the report's columns.
#![forbid(unsafe_code)]

use memloupe_tests::{Capture, Program};

const MACHINE: &str = r#"
extends = "embedded"
name = "beyond plain"
[cache.l1d]
replacement = "srrip"
prefetcher = "next-line"
classify = true
[cache.l2]
inclusion = "inclusive"
replacement = "ship"
opt_bound = true
"#;

#[test]
fn prefetches_and_classes_of_misses_reach_the_report() {
    let program = Program::compile("kernels", &[]);
    let folder = tempfile::tempdir().expect("temporary folder");
    let machine = folder.path().join("machine.toml");
    std::fs::write(&machine, MACHINE).expect("machine file");
    let machine = machine.to_str().expect("UTF-8");
    let n: u64 = 1 << 16; // 512 KiB each
    let capture = Capture::success(
        &["--machine", machine, "--engine", "native"],
        program.path(),
        &["copy".to_owned(), n.to_string()],
    );
    let rows = capture.report("function,access,class");
    let classes = ["l1d_compulsory", "l1d_capacity", "l1d_conflict"].map(|class| rows.sum(class));
    assert_eq!(classes.iter().sum::<u64>(), rows.sum("l1d_misses"));

    let copy = rows.matching(&[("function", "copy"), ("class", "heap")]);
    let lines = 2 * n * 8 / 64;
    let covered = copy.sum("l1d_prefetch_hits");
    // The first line of each page is not prefetched.
    assert!(covered > lines * 9 / 10, "{covered} of {lines} lines prefetched");
    assert!(copy.sum("l1d_misses") < lines / 10);
    assert_eq!(rows.sum("l1d_prefetches_useful"), rows.sum("l1d_prefetch_hits"));
    assert!(rows.sum("l2_prefetch_lookups") >= rows.sum("l1d_prefetches_useful"));
    // Every line still comes from memory once.
    assert!(copy.sum("dram_read_bytes") / 64 >= lines - 2);

    let notes = capture.summary().get("notes").to_string();
    assert!(
        notes.contains("l2: ") && notes.contains("Belady's OPT would have had"),
        "{notes}"
    );
}
