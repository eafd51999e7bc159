//! llama.cpp on a mixture of experts, under the native engine: which experts a token reads, what that costs, and what of the
//! KV cache each layer reads. Matrices of other types than `inference.rs` has.
#![forbid(unsafe_code)]

use std::collections::{BTreeSet, HashMap};
use std::sync::LazyLock;

use memloupe_attribute::model::Model;
use memloupe_tests::{Capture, Rows, llama, model};

const PROMPT: u64 = 8;
const TOKENS: u64 = 4;
/// The shape `smoke-moe` of memloupe-models.
const LAYERS: u64 = 4;
const EXPERTS: u64 = 8;
const EXPERTS_USED: usize = 2;
const PARTS: [&str; 3] = ["ffn_gate", "ffn_up", "ffn_down"];
/// Bytes of the keys, or the values, of a position in a layer: two heads of 64 values in F16.
const KV_BYTES: u64 = 2 * 64 * 2;
/// Heads of queries that share a head of keys; each reads it for itself.
const QUERIES: u64 = 2;

/// A last level of 1 MiB: smaller than what a token reads of the weights.
fn run(element_type: &str) -> Capture {
    let model = model("smoke-moe", element_type);
    let (prompt, tokens) = (PROMPT.to_string(), TOKENS.to_string());
    let model = model.to_str().expect("UTF-8");
    let arguments = ["-m", model, "-p", &prompt, "-n", &tokens, "-t", "1"];
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
    let capture = Capture::success(&options, &llama(), &arguments);
    let alone = std::process::Command::new(llama())
        .args(arguments)
        .output()
        .expect("llama-infer");
    assert_eq!(capture.output.stdout, alone.stdout);
    capture
}

static EXPERTS_RUN: LazyLock<Capture> = LazyLock::new(|| run("q8_0"));

/// Bytes of each tensor; an expert's matrix is one.
fn tensors(element_type: &str) -> HashMap<String, u64> {
    let file = Model::open(&model("smoke-moe", element_type))
        .expect("a model file")
        .expect("readable")
        .own;
    file.tensors()
        .iter()
        .map(|tensor| (tensor.name.clone(), tensor.bytes))
        .collect()
}

fn assert_within(what: &str, found: u64, expected: u64) {
    assert!(
        found.abs_diff(expected) * 50 <= expected,
        "{what}: {found}, expected {expected}"
    );
}

fn weights(capture: &Capture) -> Rows {
    capture
        .report("phase,object,class")
        .matching(&[("class", "weight")])
}

/// The experts of a layer that a token reads a part of.
fn chosen(rows: &Rows, token: u64, layer: u64, part: &str) -> BTreeSet<u64> {
    let rows = rows.matching(&[("phase", &format!("decode[{token}]"))]);
    let is_read = |expert: &u64| {
        let name = format!("blk.{layer}.{part}_exps.weight[{expert}]");
        rows.matching(&[("object", &name)]).sum("loads") > 0
    };
    (0..EXPERTS).filter(is_read).collect()
}

/// A token reads two experts of each layer, all three matrices of them and each from DRAM once, also if the token before has
/// read them: what lies between has evicted them.
#[test]
fn a_token_reads_its_experts_once() {
    let rows = weights(&EXPERTS_RUN);
    let tensors = tensors("q8_0");
    let mut reused = 0;
    for layer in 0..LAYERS {
        let mut before = BTreeSet::new();
        for token in 0..TOKENS {
            let experts = chosen(&rows, token, layer, PARTS[0]);
            assert_eq!(
                experts.len(),
                EXPERTS_USED,
                "token {token}, layer {layer}: {experts:?}"
            );
            for part in PARTS {
                assert_eq!(chosen(&rows, token, layer, part), experts, "{part}");
                for expert in &experts {
                    let name = format!("blk.{layer}.{part}_exps.weight[{expert}]");
                    let read = rows
                        .matching(&[("phase", &format!("decode[{token}]")), ("object", &name)])
                        .sum("dram_read_bytes");
                    assert_within(&format!("{name}, token {token}"), read, tensors[&name]);
                }
            }
            reused += experts.intersection(&before).count();
            before = experts;
        }
    }
    assert!(
        reused > 0,
        "no token shares an expert with the one before: nothing is shown of reuse"
    );
}

/// All that a token reads: what every token reads, and two experts of eight.
fn token_bytes(tensors: &HashMap<String, u64>) -> u64 {
    let (experts, others): (Vec<_>, Vec<_>) = tensors.iter().partition(|(name, _)| name.contains("_exps."));
    let sum = |tensors: Vec<(&String, &u64)>| tensors.iter().map(|(_, bytes)| **bytes).sum::<u64>();
    sum(others) + sum(experts) * EXPERTS_USED as u64 / EXPERTS
}

#[test]
fn a_token_reads_a_quarter_of_the_experts() {
    let rows = weights(&EXPERTS_RUN);
    for token in 0..TOKENS {
        let read = rows
            .matching(&[("phase", &format!("decode[{token}]"))])
            .sum("dram_read_bytes");
        assert_within(&format!("token {token}"), read, token_bytes(&tensors("q8_0")));
    }
}

/// Blocks of 256 weights; llama.cpp arranges them anew in memory of its own.
#[test]
fn a_token_reads_as_many_bytes_in_q4_k() {
    let rows = weights(&run("q4_k"));
    for token in 0..TOKENS {
        let read = rows
            .matching(&[("phase", &format!("decode[{token}]"))])
            .sum("dram_read_bytes");
        assert_within(&format!("token {token}"), read, token_bytes(&tensors("q4_k")));
    }
}

/// The prompt is one batch: it reads each expert that any of its tokens chooses, and no expert is read once for each token.
#[test]
fn a_batch_shares_its_experts() {
    let rows = weights(&EXPERTS_RUN).matching(&[("phase", "prefill")]);
    let tensors = tensors("q8_0");
    for layer in 0..LAYERS {
        let experts: Vec<String> = (0..EXPERTS)
            .map(|expert| format!("blk.{layer}.ffn_gate_exps.weight[{expert}]"))
            .filter(|name| rows.matching(&[("object", name)]).sum("loads") > 0)
            .collect();
        // In the last layer the last token alone goes on: only its logits are asked for.
        assert_eq!(
            experts.len() > EXPERTS_USED,
            layer + 1 < LAYERS,
            "layer {layer}: {experts:?}"
        );
        for name in experts {
            let read = rows.matching(&[("object", &name)]).sum("dram_read_bytes");
            assert_within(&name, read, tensors[&name]);
        }
    }
}

/// Attention of each layer reads the keys and the values of all positions so far, once for each head of queries.
#[test]
fn each_layer_reads_its_own_kv_cache() {
    let rows = EXPERTS_RUN
        .report("phase,layer,kind,object,access")
        .matching(&[("kind", "FLASH_ATTN_EXT"), ("access", "load")]);
    for token in 0..TOKENS {
        let rows = rows.matching(&[("phase", &format!("decode[{token}]"))]);
        for layer in 0..LAYERS {
            for cache in ["k", "v"] {
                let object = format!("cache_{cache}_l{layer}");
                let of_cache = rows.matching(&[("object", &object)]);
                let own = of_cache.matching(&[("layer", &format!("blk.{layer}"))]);
                let expected = (PROMPT + 1 + token) * KV_BYTES * QUERIES;
                assert_eq!(own.sum("access_bytes"), expected, "{object}, token {token}");
                assert_eq!(
                    of_cache.sum("access_bytes"),
                    expected,
                    "{object} is read by its layer alone"
                );
            }
        }
    }
}

#[test]
fn all_is_named() {
    let attribution = EXPERTS_RUN.summary().get("attribution").clone();
    for (named, all, percent) in [
        ("operator_accesses", "compute_accesses", 99),
        ("object_dram_bytes", "dram_bytes", 95),
    ] {
        let [named, all] = [named, all].map(|key| attribution[key].as_u64().expect("a count"));
        assert!(named * 100 >= all * percent, "{named} of {all}");
    }
}
