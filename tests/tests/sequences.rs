//! llama.cpp that continues several sequences at once: a step reads the weights once for all of them, and the keys and values of
//! each.
#![forbid(unsafe_code)]

use std::process::Command;
use std::sync::LazyLock;

use memloupe_attribute::model::Model;
use memloupe_tests::{Capture, generation, llama, model};

const SEQUENCES: u64 = 4;
const PROMPT: u64 = 8;
const TOKENS: u64 = 4;
/// Of all layers: smoke has 8 with 512 values for keys and for values each, in F16.
const KV_BYTES: u64 = 8 * 2 * 512 * 2;

/// A last level of 1 MiB: smaller than what a step reads of the weights.
static RUN: LazyLock<Capture> = LazyLock::new(|| {
    let options = [
        "--engine",
        "native",
        "--machine",
        "embedded",
        "--region",
        "phase=*",
        "--analyses",
        "none",
    ];
    let one = generation(&model("smoke", "q4_0"), PROMPT as u32, TOKENS as u32);
    let all = [&one[..], &["-s".to_owned(), SEQUENCES.to_string()]].concat();
    let capture = Capture::success(&options, &llama(), &all);
    let native = |arguments: &[String]| {
        let output = Command::new(llama())
            .args(arguments)
            .output()
            .expect("llama-infer");
        String::from_utf8(output.stdout).expect("UTF-8")
    };
    let alone = native(&all);
    assert_eq!(String::from_utf8_lossy(&capture.output.stdout), alone);
    assert_eq!(alone.lines().count() as u64, SEQUENCES);
    assert_eq!(
        alone.lines().next(),
        native(&one).lines().next(),
        "sequences know nothing of each other"
    );
    capture
});

#[test]
fn a_step_of_all_sequences_is_one_phase() {
    let mut expected = vec!["prefill".to_owned()];
    expected.extend((0..TOKENS).map(|token| format!("decode[{token}]")));
    let mut found = RUN.report("phase").keys("phase");
    found.sort_by_key(|phase| phase != "prefill");
    assert_eq!(found, expected);
}

#[test]
fn a_step_reads_the_weights_once_and_the_keys_and_values_of_each_sequence() {
    let file = Model::open(&model("smoke", "q4_0"))
        .expect("a model file")
        .expect("readable")
        .own;
    let weights: u64 = file.tensors().iter().map(|tensor| tensor.bytes).sum();
    let rows = RUN.report("phase,kind,class,access");
    for token in 0..TOKENS {
        let phase = format!("decode[{token}]");
        let rows = rows.matching(&[("phase", &phase)]);
        let read = rows.matching(&[("class", "weight")]).sum("dram_read_bytes");
        assert!(
            read.abs_diff(weights) * 50 <= weights,
            "{phase}: {read} bytes of weights, expected {weights}"
        );
        let attention = rows.matching(&[("kind", "FLASH_ATTN_EXT"), ("access", "load")]);
        let read = attention.matching(&[("class", "kv-cache")]).sum("access_bytes");
        assert_eq!(read, SEQUENCES * (PROMPT + 1 + token) * KV_BYTES, "{phase}");
    }
}
