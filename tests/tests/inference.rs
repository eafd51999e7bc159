//! The main job: real llama.cpp on a random-weight model, mapped to operators, layers, phases, objects and levels.
#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::sync::LazyLock;

use memloupe_attribute::model::Model;
use memloupe_tests::{Capture, Rows, llama, model};

const PROMPT: u64 = 16;
const TOKENS: u64 = 8;

/// One run serves all tests: prefill and decode of the smoke model on a machine whose last level is far smaller.
static RUN: LazyLock<Capture> = LazyLock::new(|| {
    let model = model("smoke", "q4_0");
    let arguments = [
        "-m",
        model.to_str().expect("UTF-8"),
        "-p",
        &PROMPT.to_string(),
        "-n",
        &TOKENS.to_string(),
        "-t",
        "1",
    ]
    .map(str::to_owned);
    Capture::success(
        &["--check", "--machine", "embedded", "--engine", "valgrind"],
        &llama(),
        &arguments,
    )
});

fn in_decode(rows: &Rows) -> Rows {
    rows.filtered("phase", |phase| phase.starts_with("decode"))
}

fn computing(rows: &Rows) -> Rows {
    rows.filtered("phase", |phase| phase == "prefill" || phase.starts_with("decode"))
}

fn assert_within(what: &str, found: u64, expected: u64, tolerance: f64) {
    let error = found.abs_diff(expected) as f64 / expected as f64;
    assert!(
        error <= tolerance,
        "{what}: {found}, expected {expected} ({:.2} % off)",
        error * 100.0
    );
}

/// Name and bytes of each tensor.
fn tensors() -> HashMap<String, u64> {
    let file = Model::open(&model("smoke", "q4_0"))
        .expect("a model file")
        .expect("readable")
        .own;
    file.tensors()
        .iter()
        .map(|tensor| (tensor.name.clone(), tensor.bytes))
        .collect()
}

#[test]
fn the_output_is_the_programs_own() {
    let model = model("smoke", "q4_0");
    let native = std::process::Command::new(llama())
        .args([
            "-m",
            model.to_str().expect("UTF-8"),
            "-p",
            &PROMPT.to_string(),
            "-n",
            &TOKENS.to_string(),
            "-t",
            "1",
        ])
        .output()
        .expect("llama-infer");
    assert_eq!(
        String::from_utf8_lossy(&RUN.output.stdout),
        String::from_utf8_lossy(&native.stdout)
    );
    assert_eq!(
        native.stdout.split(|byte| *byte == b' ').count() as u64,
        TOKENS + 1
    );
}

#[test]
fn the_stream_breaks_no_invariant_and_loses_nothing() {
    let summary = RUN.summary();
    let notes = summary.get("notes").to_string();
    assert!(!notes.contains("stream check"), "{notes}");
    for key in ["lost_accesses", "unobserved_instructions", "unobserved_processes"] {
        assert_eq!(summary.get(key).as_u64(), Some(0), "{key}");
    }
    assert_eq!(summary.get("complete").as_bool(), Some(true));
}

#[test]
fn phases_are_load_prefill_and_each_decoded_token() {
    let phases = RUN.report("phase").keys("phase");
    for phase in ["load", "prefill", "decode[0]", &format!("decode[{}]", TOKENS - 1)] {
        assert!(phases.iter().any(|found| found == phase), "{phase} in {phases:?}");
    }
    assert_eq!(
        phases.iter().filter(|phase| phase.starts_with("decode")).count() as u64,
        TOKENS
    );
}

/// Every weight is read once for each token: it was evicted since the last one.
#[test]
fn decode_reads_each_weight_tensor_once_per_token() {
    let weights = in_decode(&RUN.report("phase,object,class")).matching(&[("class", "weight")]);
    let tensors = tensors();
    // The embedding table is tied: it is the output matrix, of which GET_ROWS also reads a row.
    assert!(!tensors.contains_key("output.weight"));
    for token in 0..TOKENS {
        let rows = weights.matching(&[("phase", &format!("decode[{token}]"))]);
        let all: u64 = tensors.values().sum();
        assert_within("all weights", rows.sum("dram_read_bytes"), all, 0.02);
        for (name, bytes) in tensors.iter().filter(|(_, bytes)| **bytes > 64 << 10) {
            let read = rows.matching(&[("object", name)]).sum("dram_read_bytes");
            assert_within(&format!("{name}, token {token}"), read, *bytes, 0.02);
        }
    }
}

/// Attention reads the keys and values of all tokens so far, each once: smoke has 8 layers with 512 values for keys and for values
/// each, in F16.
#[test]
fn kv_cache_reads_grow_linearly_with_position() {
    const PER_POSITION: u64 = 8 * 2 * 512 * 2;
    let attention = in_decode(&RUN.report("phase,kind,class,access")).matching(&[
        ("kind", "FLASH_ATTN_EXT"),
        ("class", "kv-cache"),
        ("access", "load"),
    ]);
    for token in 0..TOKENS {
        let rows = attention.matching(&[("phase", &format!("decode[{token}]"))]);
        assert_eq!(
            rows.sum("access_bytes"),
            (PROMPT + 1 + token) * PER_POSITION,
            "token {token}"
        );
    }
    let caches = RUN
        .report("object")
        .filtered("object", |object| object.starts_with("cache_"));
    assert_eq!(caches.len(), 8 * 2, "{:?}", caches.keys("object"));
}

#[test]
fn accesses_belong_to_operators_and_traffic_to_objects() {
    let accesses = computing(&RUN.report("phase,kind"));
    let unnamed = accesses.matching(&[("kind", "(no operator)")]).sum("accesses");
    let all = accesses.sum("accesses");
    assert!(
        unnamed * 100 <= all,
        "{unnamed} of {all} accesses belong to no operator"
    );
    // The graph's own nodes, not the host code around them, are nearly all of it.
    let host = accesses
        .filtered("kind", |kind| kind.starts_with("host."))
        .sum("accesses");
    assert!(host * 10 <= all, "{host} of {all} accesses belong to host code");

    let traffic = RUN.report("class");
    let moved = |rows: &Rows| rows.sum("dram_read_bytes") + rows.sum("dram_write_bytes");
    let unnamed = moved(&traffic.matching(&[("class", "other")]));
    assert!(
        unnamed * 20 <= moved(&traffic),
        "{unnamed} bytes of DRAM traffic belong to no object"
    );
}

/// Smoke has 8 layers; each has 7 matrix products, of which attention's 2 are one FLASH_ATTN_EXT.
#[test]
fn operators_and_layers_are_those_of_the_graph() {
    let layers = RUN
        .report("layer")
        .filtered("layer", |layer| layer.starts_with("blk."));
    assert_eq!(layers.len(), 8, "{:?}", layers.keys("layer"));
    let products = RUN
        .report("phase,layer,kind,operator")
        .matching(&[("phase", "decode[3]"), ("kind", "MUL_MAT")]);
    assert_eq!(
        products.matching(&[("layer", "blk.3")]).len(),
        7,
        "{:?}",
        products.keys("operator")
    );
    assert_eq!(products.len(), 8 * 7 + 1, "and the output matrix");
    let flops = RUN
        .report("phase,kind")
        .matching(&[("phase", "prefill"), ("kind", "FLASH_ATTN_EXT")])
        .sum("flops");
    assert!(flops > 0);
}

#[test]
fn every_grouping_adds_up_to_the_totals() {
    let summary = RUN.summary();
    for by in [
        "kind",
        "layer",
        "phase",
        "object",
        "function",
        "line",
        "kind,layer,object",
        "phase,operator,access",
    ] {
        let rows = RUN.report(by);
        for column in [
            "accesses",
            "loads",
            "stores",
            "instructions",
            "flops",
            "l1d_misses",
            "l2_misses",
            "dram_read_bytes",
        ] {
            assert_eq!(rows.sum(column), summary.total(column), "{column} by {by}");
        }
    }
}

#[test]
fn the_page_stands_alone() {
    let page = std::fs::read_to_string(RUN.profile().join("report.html")).expect("report.html");
    assert!(page.contains("<svg") && page.contains("MUL_MAT") && page.contains("decode"));
    for outside in ["http://", "https://", "src=\"", "@import"] {
        let allowed = page.replace("http://www.w3.org/2000/svg", "");
        assert!(!allowed.contains(outside), "{outside}");
    }
}

/// Two threads: the same traffic by operators, private caches, both threads' work.
#[test]
fn two_threads_share_the_work() {
    let model = model("smoke", "q4_0");
    let arguments = [
        "-m",
        model.to_str().expect("UTF-8"),
        "-p",
        "4",
        "-n",
        "2",
        "-t",
        "2",
    ];
    let capture = Capture::success(
        &["--check", "--machine", "embedded", "--engine", "valgrind"],
        &llama(),
        &arguments,
    );
    let products = in_decode(&capture.report("phase,thread,kind")).matching(&[("kind", "MUL_MAT")]);
    let by_thread = |thread: &str| products.matching(&[("thread", thread)]).sum("access_bytes");
    assert!(by_thread("0") > 0 && by_thread("1") > 0);
    let weights = in_decode(&capture.report("phase,class"))
        .matching(&[("class", "weight")])
        .sum("dram_read_bytes");
    let all: u64 = tensors().values().sum();
    assert_within("weights of two tokens", weights, 2 * all, 0.02);
    let accesses = computing(&capture.report("phase,kind"));
    let unnamed = accesses.matching(&[("kind", "(no operator)")]).sum("accesses");
    assert!(
        unnamed * 100 <= accesses.sum("accesses"),
        "{unnamed} of {}",
        accesses.sum("accesses")
    );
}

/// Without symbols there is less to say, and it is said.
#[test]
fn a_stripped_program_still_works() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let stripped = folder.path().join("llama-stripped");
    let status = std::process::Command::new("strip")
        .arg("-o")
        .arg(&stripped)
        .arg(llama())
        .status()
        .expect("strip");
    assert!(status.success());
    let model = model("smoke", "q4_0");
    let arguments = [
        "-m",
        model.to_str().expect("UTF-8"),
        "-p",
        "2",
        "-n",
        "1",
        "-t",
        "1",
    ];
    let capture = Capture::success(&["--machine", "embedded"], &stripped, &arguments);
    let functions = capture.report("function").keys("function");
    assert!(
        functions
            .iter()
            .any(|function| function.starts_with("[llama-stripped+0x")),
        "module and offset"
    );
    let notes = capture.summary().get("notes").to_string();
    assert!(
        notes.contains("no debug info") && notes.contains("llama-stripped") && notes.contains("-g"),
        "{notes}"
    );
    // Weights that are used where the file is mapped keep their names without any symbol.
    let weights = capture.report("class").matching(&[("class", "weight")]);
    assert!(weights.sum("accesses") > 0);
}
