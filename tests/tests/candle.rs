//! A candle program, which knows nothing of memloupe: what inference and training do has operators, phases and objects.
#![forbid(unsafe_code)]

use std::process::Command;
use std::sync::LazyLock;

use memloupe_tests::{Capture, candle};

/// As in `workloads/candle/src/main.rs`.
const LAYERS: u64 = 2;
const STEPS: u64 = 3;
const TOKENS: u64 = 48;
const WIDTH: u64 = 128;
const FLOAT_BYTES: u64 = 4;
/// Products of a layer: four projections, scores, mixed values, up and down.
const PRODUCTS: u64 = 8;
/// Values of a layer's weights: four projections, up and down.
const LAYER_VALUES: u64 = (4 + 4 + 4) * WIDTH * WIDTH;

/// A last level of 1 MiB: the weights and what AdamW keeps of them do not fit.
fn run(arguments: &[&str], region: &[&str]) -> Capture {
    let options = [
        "--engine",
        "native",
        "--machine",
        "embedded",
        "--analyses",
        "none",
    ];
    let capture = Capture::success(&[&options, region].concat(), &candle(), arguments);
    let alone = Command::new(candle())
        .args(arguments)
        .output()
        .expect("memloupe-candle");
    assert_eq!(capture.output.stdout, alone.stdout);
    capture
}

static TRAINING: LazyLock<Capture> = LazyLock::new(|| run(&["train"], &[]));

#[test]
fn accesses_have_operators_and_traffic_has_objects() {
    // Without what makes up the weights.
    let inference = run(&[], &["--region", "function=memloupe_candle::forward"]);
    for capture in [&inference, &*TRAINING] {
        let attribution = capture.summary();
        let share = |part: &str, whole: &str| {
            let number = |name: &str| attribution.get("attribution")[name].as_f64().expect("a number");
            number(part) / number(whole)
        };
        let operators = share("operator_accesses", "compute_accesses");
        assert!(operators >= 0.99, "{operators} of the accesses have an operator");
        let objects = share("object_dram_bytes", "dram_bytes");
        assert!(objects >= 0.95, "{objects} of the DRAM bytes have an object");
    }
}

/// A product's gradient takes two: one for each factor. A product of a m×k and a k×n matrix takes 2·m·k·n operations.
#[test]
fn products_are_as_many_as_the_graph_says() {
    let rows = TRAINING
        .report("phase,kind")
        .matching(&[("kind", "tensor.matmul")]);
    let with_weights = 2 * TOKENS * LAYER_VALUES;
    let of_heads = 2 * (2 * TOKENS * TOKENS * WIDTH);
    let operations = LAYERS * (with_weights + of_heads);
    for step in 0..STEPS {
        let phase = format!("backward[{step}]");
        assert_eq!(
            rows.matching(&[("phase", &phase)]).sum("calls"),
            2 * LAYERS * PRODUCTS,
            "{phase}"
        );
        let flops = rows.matching(&[("phase", &phase)]).sum("flops");
        // The kernels' tiles go a little over the edges.
        assert!(
            (2 * operations..=2 * operations * 51 / 50).contains(&flops),
            "{phase}: {flops} operations, expected {}",
            2 * operations
        );
    }
    let outside = rows.filtered("phase", |phase| !phase.starts_with("backward"));
    assert_eq!(outside.sum("calls"), STEPS * LAYERS * PRODUCTS);
}

/// A step's memory traffic is the optimizer's: the moments, the weights, and the gradients that it reads of each of them.
#[test]
fn the_optimizer_reads_gradients_and_its_state() {
    let rows = TRAINING.report("phase,class");
    let bytes = LAYERS * LAYER_VALUES * FLOAT_BYTES;
    for step in 1..STEPS {
        let phase = format!("optimizer[{step}]");
        let of = |class: &str| {
            rows.matching(&[("phase", &phase), ("class", class)])
                .sum("dram_read_bytes")
        };
        let (state, gradients) = (of("optimizer-state"), of("gradient"));
        // Both moments and the weights once at least; each gradient once, and once more to be squared.
        assert!(
            state >= 3 * bytes,
            "{phase}: {state} bytes of state, {bytes} of each kind"
        );
        assert!(
            (bytes..=2 * bytes).contains(&gradients),
            "{phase}: {gradients} bytes of gradients, {bytes} there are"
        );
    }
}
