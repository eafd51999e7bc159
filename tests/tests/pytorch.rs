//! PyTorch as it is installed, on scripts that know nothing of memloupe: operators by their functions, modules, phases and
//! data by hooks that `memloupe run` gives to Python. What training moves has closed forms. `MEMLOUPE_TORCH` may name a Python with
//! another PyTorch than the system's (`scripts/bench names` makes one with PyPI's).
#![forbid(unsafe_code)]

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::LazyLock;

use memloupe_tests::{Capture, Rows};
use serde_json::Value;

const FLOAT_BYTES: u64 = 4;
/// The smoke size of `workloads/pytorch/models.py`.
const VOCABULARY: u64 = 256;
const CONTEXT: u64 = 32;
const WIDTH: u64 = 128;
const LAYERS: u64 = 2;

/// Three steps of a small GPT with AdamW. What comes before the first forward pass, the import of torch above all, is not observed.
static TRAINING: LazyLock<Capture> = LazyLock::new(|| train(&["gpt", "--steps", "3"]));

/// Two steps of a small convolutional network with SGD and momentum, two batches each.
static CONVOLUTIONS: LazyLock<Capture> =
    LazyLock::new(|| train(&["cnn", "--steps", "2", "--optimizer", "sgd", "--accumulate", "2"]));

fn python() -> PathBuf {
    std::env::var_os("MEMLOUPE_TORCH")
        .unwrap_or_else(|| OsString::from("/usr/bin/python3"))
        .into()
}

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../workloads/pytorch/run.py");

fn native(arguments: &[&str]) -> Output {
    let output = Command::new(python()).arg(SCRIPT).args(arguments).output();
    output.expect("scripts/setup --programs installs python3-torch")
}

fn train(how: &[&str]) -> Capture {
    let machine = concat!(env!("CARGO_MANIFEST_DIR"), "/machines/training.toml");
    let options = [
        "--engine",
        "native",
        "--machine",
        machine,
        "--region",
        "phase=*",
        "--analyses",
        "none",
    ];
    let arguments = [&["train"], how].concat();
    let capture = Capture::success(&options, &python(), &[&[SCRIPT], &*arguments].concat());
    assert_eq!(capture.output.stdout, native(&arguments).stdout);
    capture
}

/// Matrices by name: rows times columns.
fn matrices() -> Vec<(String, u64)> {
    let mut matrices = vec![
        ("tokens.weight".to_owned(), VOCABULARY * WIDTH),
        ("positions.weight".to_owned(), CONTEXT * WIDTH),
        ("head.weight".to_owned(), VOCABULARY * WIDTH),
    ];
    for layer in 0..LAYERS {
        for (name, values) in [
            ("attention.qkv", 3 * WIDTH * WIDTH),
            ("attention.project", WIDTH * WIDTH),
            ("mlp.0", 4 * WIDTH * WIDTH),
            ("mlp.2", 4 * WIDTH * WIDTH),
        ] {
            matrices.push((format!("blocks.{layer}.{name}.weight"), values));
        }
    }
    matrices
}

fn report(by: &str) -> Rows {
    TRAINING.report(by)
}

#[test]
fn phases_are_those_of_training() {
    let phases = report("phase").keys("phase");
    let mut expected = Vec::new();
    for step in 0..3 {
        expected.extend(["forward", "backward", "optimizer"].map(|name| format!("{name}[{step}]")));
    }
    assert_eq!(phases, expected);
}

/// Each step reads the optimizer's state twice per parameter element and writes it twice: `exp_avg` and `exp_avg_sq`, once each,
/// as long as the caches hold one parameter at a time. What a step leaves dirty is charged to it when it is written back.
#[test]
fn adamw_reads_and_writes_its_state_twice_per_element() {
    let rows =
        report("phase,class,object").matching(&[("phase", "optimizer[1]"), ("class", "optimizer-state")]);
    let (mut read, mut written, mut elements) = (0, 0, 0);
    for (name, values) in matrices() {
        for state in ["exp_avg", "exp_avg_sq"] {
            let state = rows.matching(&[("object", &format!("{state}: {name}"))]);
            read += state.sum("dram_read_bytes");
            written += state.sum("dram_write_bytes");
        }
        elements += values;
    }
    let expected = 2 * FLOAT_BYTES * elements;
    for (what, bytes) in [("read", read), ("written", written)] {
        assert!(
            bytes.abs_diff(expected) * 20 <= expected,
            "{bytes} bytes {what}, expected {expected}"
        );
    }
}

/// Every matrix of a block is read in the forward pass by the module that it belongs to, whole.
#[test]
fn modules_read_their_weights() {
    let rows = report("phase,layer,class,object,access").matching(&[
        ("phase", "forward[2]"),
        ("class", "weight"),
        ("access", "load"),
    ]);
    for (name, values) in matrices()
        .iter()
        .filter(|(name, _)| name.starts_with("blocks.") || name.starts_with("head"))
    {
        let layer = name.strip_suffix(".weight").expect("a weight");
        let own = rows.matching(&[("layer", layer), ("object", name)]);
        assert!(
            own.sum("footprint_bytes") >= values * FLOAT_BYTES,
            "{name}: {}",
            own.sum("footprint_bytes")
        );
        let all = rows.matching(&[("object", name)]);
        assert_eq!(
            all.sum("access_bytes"),
            own.sum("access_bytes"),
            "{name} is read by its module alone"
        );
    }
}

/// Backward reads what forward has kept, in the layer that kept it, and makes a gradient of each weight, which the optimizer reads.
#[test]
fn backward_reads_what_was_kept_and_makes_gradients() {
    let rows = report("phase,layer,class,object");
    let backward = rows.matching(&[("phase", "backward[2]")]);
    for layer in (0..LAYERS)
        .flat_map(|layer| ["attention.qkv", "mlp.0", "mlp.2"].map(|part| format!("blocks.{layer}.{part}")))
    {
        let kept = backward.matching(&[("layer", &layer), ("object", &format!("saved: {layer}"))]);
        assert!(kept.sum("loads") > 0, "{layer} in backward");
        let gradient = [("class", "gradient"), ("object", &*format!("{layer}.weight"))];
        assert!(
            backward.matching(&gradient).sum("loads") > 0,
            "gradients are accumulated"
        );
        let read = rows.matching(&[("phase", "optimizer[2]")]).matching(&gradient);
        assert!(
            read.sum("loads") > 0 && read.sum("stores") == 0,
            "{layer}: the optimizer reads gradients"
        );
    }
}

#[test]
fn accesses_have_operators_and_traffic_has_objects() {
    let attribution = TRAINING.summary().get("attribution").clone();
    let count = |key: &str| attribution[key].as_u64().expect("a count");
    let (named, all) = (count("operator_accesses"), count("compute_accesses"));
    assert!(named * 100 >= all * 95, "{named} of {all} accesses");
    let (named, all) = (count("object_dram_bytes"), count("dram_bytes"));
    assert!(named * 100 >= all * 95, "{named} of {all} bytes");
    // The interpreter's objects and OpenBLAS's buffers are memory that they map themselves.
    let objects = report("object").keys("object");
    // PyPI's has MKL instead.
    let is_debian = std::env::var_os("MEMLOUPE_TORCH").is_none();
    let mapped = ["Python objects", "OpenBLAS: packed panels"];
    for mapped in &mapped[..1 + usize::from(is_debian)] {
        assert!(objects.iter().any(|object| object == *mapped), "{mapped}");
    }
}

/// Operators that no other one of the same name calls, and that forward, backward and the optimizer have.
const COUNTED: [&str; 15] = [
    "aten::addmm",
    "aten::mm",
    "aten::bmm",
    "aten::embedding",
    "aten::embedding_dense_backward",
    "aten::native_layer_norm",
    "aten::native_layer_norm_backward",
    "aten::gelu",
    "aten::gelu_backward",
    "aten::_softmax",
    "aten::_log_softmax",
    "aten::nll_loss_forward",
    "aten::addcmul_",
    "aten::addcdiv_",
    "aten::sqrt",
];

/// PyTorch's own profiler, on a native run, counts as many calls of each operator as the probes.
#[test]
fn pytorchs_own_profile_agrees() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let trace = folder.path().join("trace.json");
    let output = native(&[
        "train",
        "gpt",
        "--steps",
        "3",
        "--profile",
        trace.to_str().expect("UTF-8"),
    ]);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let trace: Value = serde_json::from_slice(&std::fs::read(trace).expect("a trace")).expect("JSON");
    // PyTorch 1 writes the list alone.
    let events = trace
        .as_array()
        .or_else(|| trace["traceEvents"].as_array())
        .expect("events");
    let rows = report("kind");
    for kind in COUNTED {
        let profiled = events
            .iter()
            .filter(|event| event["name"] == kind && event["ph"] == "X")
            .count();
        assert!(profiled > 0, "{kind}");
        assert_eq!(
            rows.matching(&[("kind", kind)]).sum("calls"),
            profiled as u64,
            "{kind}"
        );
    }
}

#[test]
fn one_table_adds_up() {
    let rows = report("layer,kind,object");
    for column in [
        "accesses",
        "l1d_misses",
        "l2_misses",
        "dram_read_bytes",
        "dram_write_bytes",
    ] {
        assert_eq!(rows.sum(column), TRAINING.summary().total(column), "{column}");
    }
}

const BATCH: u64 = 4;

/// A convolution of the smoke size of `workloads/pytorch/models.py`, with square images and kernels.
struct Convolution {
    layer: &'static str,
    channels: (u64, u64),
    kernel: u64,
    stride: u64,
    /// Of a row of the input.
    pixels: u64,
}

const fn convolution(
    layer: &'static str,
    channels: (u64, u64),
    kernel: u64,
    stride: u64,
    pixels: u64,
) -> Convolution {
    Convolution {
        layer,
        channels,
        kernel,
        stride,
        pixels,
    }
}

const STEM: &str = "stem";
const CONVOLUTION_LAYERS: [Convolution; 6] = [
    convolution(STEM, (3, 16), 3, 1, 16),
    convolution("blocks.0.conv_1", (16, 16), 3, 1, 16),
    convolution("blocks.0.conv_2", (16, 16), 3, 1, 16),
    convolution("blocks.1.conv_1", (16, 32), 3, 2, 16),
    convolution("blocks.1.conv_2", (32, 32), 3, 1, 8),
    convolution("blocks.1.shortcut", (16, 32), 1, 2, 16),
];

impl Convolution {
    fn weight_bytes(&self) -> u64 {
        self.channels.0 * self.channels.1 * self.kernel * self.kernel * FLOAT_BYTES
    }

    /// A multiplication and an addition for each weight and each place where it meets a pixel, padding left out.
    fn flops(&self) -> u64 {
        let padding = self.kernel / 2;
        let meets = |place: &u64| (padding..padding + self.pixels).contains(place);
        let along = (0..self.pixels / self.stride)
            .flat_map(|output| (0..self.kernel).map(move |tap| output * self.stride + tap))
            .filter(meets)
            .count() as u64;
        2 * BATCH * self.channels.0 * self.channels.1 * along * along
    }
}

/// oneDNN announces its primitives by ITT, PyTorch's own operators around them are probed, and modules come from the hooks:
/// all three tell the same convolutions, and their just-in-time compiled kernels compute what a convolution takes.
#[test]
fn tasks_probes_and_hooks_agree_on_convolutions() {
    let rows = CONVOLUTIONS.report("phase,layer,kind");
    let expected: BTreeSet<String> = CONVOLUTION_LAYERS
        .iter()
        .map(|layer| layer.layer.to_owned())
        .collect();
    for (phase, probed) in [
        ("forward[2]", "aten::mkldnn_convolution"),
        ("backward[2]", "aten::convolution_backward"),
    ] {
        for kind in ["convolution", probed] {
            let rows = rows.matching(&[("phase", phase), ("kind", kind)]);
            let layers: BTreeSet<String> = rows.keys("layer").into_iter().collect();
            assert_eq!(layers, expected, "{phase}, {kind}");
        }
        for layer in &CONVOLUTION_LAYERS {
            // Backward computes gradients of the weights and, unless it is the first layer, of the input.
            let times = if phase.starts_with("backward") && layer.layer != STEM {
                2
            } else {
                1
            };
            let task = [("phase", phase), ("kind", "convolution"), ("layer", layer.layer)];
            let (found, expected) = (rows.matching(&task).sum("flops"), times * layer.flops());
            assert!(
                found.abs_diff(expected) * 100 <= expected,
                "{phase}, {}: {found} of {expected} operations",
                layer.layer
            );
        }
    }
}

/// A batch after the first adds its gradients to what is there: it reads both and writes the sum. The optimizer reads that.
#[test]
fn gradients_accumulate() {
    let rows = CONVOLUTIONS
        .report("phase,class,object,access")
        .matching(&[("class", "gradient")]);
    for layer in &CONVOLUTION_LAYERS {
        let bytes = |phase: &str, access: &str| {
            let object = format!("{}.weight", layer.layer);
            let keys = [("phase", phase), ("object", &*object), ("access", access)];
            rows.matching(&keys).sum("access_bytes")
        };
        let expected = layer.weight_bytes();
        for backward in ["backward[1]", "backward[2]", "backward[3]"] {
            assert_eq!(
                (bytes(backward, "load"), bytes(backward, "store")),
                (2 * expected, expected),
                "{}, {backward}",
                layer.layer
            );
        }
        for optimizer in ["optimizer[0]", "optimizer[1]"] {
            assert_eq!(
                (bytes(optimizer, "load"), bytes(optimizer, "store")),
                (expected, 0),
                "{}, {optimizer}",
                layer.layer
            );
        }
    }
}

/// `momentum.mul_(m).add_(gradient)`, then `weight.add_(momentum)`: three reads and two writes for each element.
#[test]
fn sgd_reads_its_momentum_three_times_and_writes_it_twice() {
    let rows = CONVOLUTIONS
        .report("phase,class,object,access")
        .matching(&[("class", "optimizer-state"), ("phase", "optimizer[1]")]);
    for layer in &CONVOLUTION_LAYERS {
        let object = format!("momentum_buffer: {}.weight", layer.layer);
        let state = rows.matching(&[("object", &object)]);
        let bytes = |access: &str| state.matching(&[("access", access)]).sum("access_bytes");
        let expected = layer.weight_bytes();
        assert_eq!(
            (bytes("load"), bytes("store")),
            (3 * expected, 2 * expected),
            "{object}"
        );
    }
}

#[test]
fn a_convolutional_network_is_named() {
    let attribution = CONVOLUTIONS.summary().get("attribution").clone();
    for (named, all) in [
        ("operator_accesses", "compute_accesses"),
        ("object_dram_bytes", "dram_bytes"),
    ] {
        let [named, all] = [named, all].map(|key| attribution[key].as_u64().expect("a count"));
        assert!(named * 100 >= all * 95, "{named} of {all}");
    }
}
