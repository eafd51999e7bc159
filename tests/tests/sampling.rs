//! `--sample ops:K`: what is estimated from some instances of each operator against what the whole run shows.
#![forbid(unsafe_code)]

use memloupe_tests::{Capture, llama, model};

/// DRAM bytes, both directions.
fn dram_bytes(capture: &Capture, kind: &str) -> u64 {
    let rows = capture.report("kind").matching(&[("kind", kind)]);
    rows.sum("dram_read_bytes") + rows.sum("dram_write_bytes")
}

#[test]
fn dram_bytes_of_operator_kinds_are_estimated_within_two_percent() {
    let model = model("smoke", "q4_0");
    let arguments = [
        "-m",
        model.to_str().expect("UTF-8"),
        "-p",
        "8",
        "-n",
        "32",
        "-t",
        "1",
    ];
    let options = ["--engine", "native", "--machine", "embedded"];
    let whole = Capture::success(
        &[&options[..], &["--analyses", "none"]].concat(),
        &llama(),
        &arguments,
    );
    let sampled = Capture::success(
        &[&options[..], &["--sample", "ops:4"]].concat(),
        &llama(),
        &arguments,
    );

    // What moves a hundredth of all bytes matters.
    let kinds = whole.report("kind");
    let all = kinds.sum("dram_read_bytes") + kinds.sum("dram_write_bytes");
    let mut compared = 0;
    for kind in kinds.keys("kind") {
        let expected = dram_bytes(&whole, &kind);
        if expected * 100 < all {
            continue;
        }
        let estimate = dram_bytes(&sampled, &kind);
        assert!(
            estimate.abs_diff(expected) * 50 < expected,
            "{kind}: {estimate} bytes estimated, {expected} in the whole run"
        );
        compared += 1;
    }
    assert!(compared >= 3, "{compared} kinds");
    // Of equal instances the estimate is exact.
    let accesses = |capture: &Capture| {
        capture
            .report("kind")
            .matching(&[("kind", "MUL_MAT")])
            .sum("accesses")
    };
    assert_eq!(accesses(&sampled), accesses(&whole));

    // A sampled run says so wherever its numbers stand.
    let sampling = sampled.summary().get("sampling").clone();
    let count = |key: &str| sampling[key].as_u64().expect("a count");
    assert!(
        count("observed_instances") + count("warm_up_instances") < count("instances") / 5,
        "{sampling}"
    );
    assert!(
        sampling["estimates"]["dram_read_bytes"]["margin"].is_number(),
        "{sampling}"
    );
    assert!(sampled.stderr().contains("SAMPLED ops:4"), "{}", sampled.stderr());
    assert!(sampled.stderr().contains("±95%"), "{}", sampled.stderr());
    let page = std::fs::read_to_string(sampled.profile().join("report.html")).expect("a page");
    assert!(page.contains("SAMPLED ops:4") && page.contains("<small>±"));
    assert!(
        whole.summary().get("sampling").is_null(),
        "a whole run is no sample"
    );
}

#[test]
fn a_sample_is_not_combined_with_what_it_can_not_serve() {
    for other in [["--line-sample", "1"], ["--analyses", "reuse"]] {
        let options = [&["--sample", "ops:4"][..], &other].concat();
        let capture = Capture::run(&options, std::path::Path::new("/bin/true"), &[""; 0]);
        assert_eq!(capture.output.status.code(), Some(2), "{other:?}");
    }
}
