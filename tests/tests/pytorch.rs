//! PyTorch as it is installed, on scripts that know nothing of memloupe: operators by their functions, modules, phases and
//! data by hooks that `memloupe run` gives to Python. What training moves has closed forms.
#![forbid(unsafe_code)]

use std::path::Path;
use std::sync::LazyLock;

use memloupe_tests::{Capture, Rows};

const FLOAT_BYTES: u64 = 4;
/// The smoke size of `workloads/pytorch/models.py`.
const VOCABULARY: u64 = 256;
const CONTEXT: u64 = 32;
const WIDTH: u64 = 128;
const LAYERS: u64 = 2;

/// Three steps of a small GPT with AdamW. What comes before the first forward pass, the import of torch above all, is not observed.
static TRAINING: LazyLock<Capture> = LazyLock::new(|| {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../workloads/pytorch/run.py");
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
    let arguments = [script, "train", "gpt", "--steps", "3"];
    let capture = Capture::success(&options, Path::new("/usr/bin/python3"), &arguments);
    let alone = std::process::Command::new("/usr/bin/python3")
        .args(arguments)
        .output()
        .expect("scripts/setup --programs installs python3-torch");
    assert_eq!(capture.output.stdout, alone.stdout);
    capture
});

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
    for mapped in ["Python objects", "OpenBLAS: packed panels"] {
        assert!(objects.iter().any(|object| object == mapped), "{mapped}");
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
