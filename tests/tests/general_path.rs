//! A machine with levels beyond plain caches, from its file to the report's columns.
#![forbid(unsafe_code)]

use std::path::Path;
use std::process::Command;

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
[tlb]
page = "4 KiB"
walks = "cached"
[tlb.data]
entries = 16
ways = 4
[tlb.unified]
entries = 64
ways = 4
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

    // Each page of both arrays is walked for once: the TLBs hold fewer than were touched before.
    let pages = 2 * n * 8 / 4096;
    assert!(
        copy.sum("page_walks") >= pages,
        "{} of {pages} pages",
        copy.sum("page_walks")
    );
    assert!(copy.sum("page_walks") < pages * 11 / 10);
    assert_eq!(rows.sum("stlb_accesses"), rows.sum("dtlb_misses"));
    assert_eq!(rows.sum("l1d_walk_lookups"), rows.sum("walk_reads"));

    let notes = capture.summary().get("notes").to_string();
    assert!(
        notes.contains("l2: ") && notes.contains("Belady's OPT would have had"),
        "{notes}"
    );
}

/// Classes in their order: weight, kv-cache, activation, gradient, optimizer-state, input, workspace, heap, …
const PARTITIONED: &str = r#"
extends = "embedded"
[cache.l2]
partition_by = "class"
partition_ways = "0xf 0xf 0xf 0xf 0xf 0xf 0xf 0x0 0xfff0"
"#;

#[test]
fn a_class_without_ways_goes_past_the_cache() {
    let program = Program::compile("kernels", &[]);
    let folder = tempfile::tempdir().expect("temporary folder");
    let machine = folder.path().join("machine.toml");
    std::fs::write(&machine, PARTITIONED).expect("machine file");
    let machine = machine.to_str().expect("UTF-8");
    let capture = Capture::success(
        &["--machine", machine, "--engine", "native"],
        program.path(),
        &["copy".to_owned(), (1 << 14).to_string()],
    );
    let rows = capture.report("class");
    let heap = rows.matching(&[("class", "heap")]);
    assert!(heap.sum("l2_bypasses") > 0);
    assert_eq!(heap.sum("l2_fills"), 0);
    assert!(rows.sum("l2_fills") > 0);
}

#[test]
fn a_policy_of_a_library_beside_the_machine_file_is_simulated() {
    let program = Program::compile("kernels", &[]);
    let folder = tempfile::tempdir().expect("temporary folder");
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../ffi");
    let compiled = Command::new("cc")
        .args(["-O1", "-shared", "-fPIC", "-o"])
        .arg(folder.path().join("lru.so"))
        .arg("-I")
        .arg(root.join("include"))
        .arg(root.join("examples/plugins/lru.c"))
        .status();
    assert!(compiled.expect("cc").success());
    let machine = folder.path().join("machine.toml");
    let text = "extends = \"embedded\"\n[cache.l2]\nreplacement = \"./lru.so\"\n";
    std::fs::write(&machine, text).expect("machine file");
    let n: u64 = 1 << 14;
    let capture = Capture::success(
        &[
            "--machine",
            machine.to_str().expect("UTF-8"),
            "--engine",
            "native",
        ],
        program.path(),
        &["copy".to_owned(), n.to_string()],
    );
    let machine = capture.summary().get("machine").to_string();
    assert!(machine.contains("lru.so"), "{machine}");
    assert!(capture.report("class").sum("l2_fills") >= 2 * n * 8 / 64);
}
