//! `--sample ops:K`: what is estimated from some instances of each operator against what the whole run shows.
#![forbid(unsafe_code)]

use memloupe_tests::{Capture, Rows, generation, llama, model};

/// DRAM bytes of a kind, both directions.
fn dram_bytes(kinds: &Rows, kind: &str) -> u64 {
    let rows = kinds.matching(&[("kind", kind)]);
    rows.sum("dram_read_bytes") + rows.sum("dram_write_bytes")
}

/// Of each kind of graph operator that moves a hundredth of all bytes or more: what it is, what was estimated, what the whole run
/// shows. What the host does around the graph has no arguments that say where its memory lies.
fn compared(whole: &Rows, sampled: &Rows) -> Vec<(String, u64, u64)> {
    let all = whole.sum("dram_read_bytes") + whole.sum("dram_write_bytes");
    let both = |kind: String| {
        let (estimate, expected) = (dram_bytes(sampled, &kind), dram_bytes(whole, &kind));
        (expected * 100 >= all && !kind.starts_with("host.")).then_some((kind, estimate, expected))
    };
    whole.keys("kind").into_iter().filter_map(both).collect()
}

/// The model's weights are eight times as large as the last level, so what goes by must neither be forgotten nor stay; attention's
/// keys grow from token to token. Loading the model, which is no operator, is left out of both.
#[test]
fn dram_bytes_of_operator_kinds_are_estimated_within_two_percent() {
    let arguments = generation(&model("smoke", "q4_0"), 8, 20);
    let region = ["--region", "phase=*"];
    let options = [&["--engine", "native", "--machine", "embedded"][..], &region].concat();
    let run = |more: &[&str]| Capture::success(&[&options[..], more].concat(), &llama(), &arguments);
    let whole = run(&["--analyses", "none"]);
    let sampled = run(&["--sample", "ops:2"]);

    let (truth, estimates) = (whole.report("kind"), sampled.report("kind"));
    let kinds = compared(&truth, &estimates);
    for (kind, estimate, expected) in &kinds {
        assert!(
            estimate.abs_diff(*expected) * 50 < *expected,
            "{kind}: {estimate} bytes estimated, {expected} in the whole run"
        );
    }
    assert!(kinds.len() >= 2, "{kinds:?}");
    // Of equal instances the estimate is exact.
    let accesses = |kinds: &Rows| kinds.matching(&[("kind", "MUL_MAT")]).sum("accesses");
    assert_eq!(accesses(&estimates), accesses(&truth));

    // A sampled run says so wherever its numbers stand.
    let sampling = sampled.summary().get("sampling").clone();
    let count = |key: &str| sampling[key].as_u64().expect("a count");
    assert!(
        count("observed_instances") < count("instances") / 10 && count("warm_up_instances") > 0,
        "{sampling}"
    );
    assert!(
        sampling["estimates"]["dram_read_bytes"]["margin"].is_number(),
        "{sampling}"
    );
    assert!(sampled.stderr().contains("SAMPLED ops:2"), "{}", sampled.stderr());
    assert!(sampled.stderr().contains("±95%"), "{}", sampled.stderr());
    let page = std::fs::read_to_string(sampled.profile().join("report.html")).expect("a page");
    assert!(page.contains("SAMPLED ops:2") && page.contains("<small>±"));
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
