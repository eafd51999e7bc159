//! ONNX Runtime as PyPI has it, without symbols: nodes by run-time type information, weights by who packs them. The
//! graph that was run, and the profile of a native run, as ONNX Runtime itself writes them, are the oracles.
#![forbid(unsafe_code)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use memloupe_tests::Capture;
use serde_json::Value;

const FLOAT_BYTES: u64 = 4;
const RUNS: u64 = 3;
/// Width and layers of the smoke size of `workloads/onnxruntime/models.py`.
const WIDTH: u64 = 128;
const LAYERS: u64 = 2;

/// Op type and name.
type Node = (String, String);

/// A model run three times, and its nodes.
struct Inference {
    capture: Capture,
    nodes: BTreeSet<Node>,
    /// How often each was executed, by ONNX Runtime's own profile.
    executions: BTreeMap<Node, u64>,
}

impl Inference {
    fn run(model: &str) -> Self {
        let python = PathBuf::from(std::env::var_os("MEMLOUPE_PYTHON").expect(
            "MEMLOUPE_PYTHON must name a Python with onnxruntime: run scripts/test, or set it to what scripts/python prints",
        ));
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../workloads/onnxruntime/run.py");
        let folder = tempfile::tempdir().expect("temporary folder");
        let [optimized, profile] = ["optimized.onnx", "profile.json"].map(|name| folder.path().join(name));
        let arguments = [
            Path::new(script),
            Path::new(model),
            "--runs".as_ref(),
            "3".as_ref(),
            "--optimized".as_ref(),
            &optimized,
            "--profile".as_ref(),
            &profile,
        ];
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
        let capture = Capture::success(&options, &python, &arguments);
        let alone = Command::new(&python).args(arguments).output().expect("Python");
        assert_eq!(capture.output.stdout, alone.stdout);
        assert_eq!(
            alone.stdout.iter().filter(|byte| **byte == b'\n').count() as u64,
            RUNS
        );
        let list = "import onnx, sys\n\
                    for n in onnx.load(sys.argv[1], load_external_data=False).graph.node: print(n.op_type, n.name)";
        let nodes = Command::new(&python)
            .args(["-c", list])
            .arg(&optimized)
            .output()
            .expect("Python");
        let nodes = String::from_utf8(nodes.stdout).expect("UTF-8");
        let split = |line: &str| {
            line.split_once(' ')
                .map(|(kind, name)| (kind.to_owned(), name.to_owned()))
        };
        Self {
            capture,
            nodes: nodes.lines().filter_map(split).collect(),
            executions: executions(&profile),
        }
    }

    /// Every node of the graph ran in every run, under its own name, and nothing else did.
    fn check_nodes(&self) {
        let rows = self.capture.report("phase,kind,operator");
        assert!(self.nodes.len() > 10, "{:?}", self.nodes);
        for run in 0..RUNS {
            let rows = rows
                .matching(&[("phase", &format!("run[{run}]"))])
                .filtered("kind", |kind| {
                    !kind.starts_with("host.") && kind != "(no operator)"
                });
            let seen: BTreeSet<_> = rows.keys("kind").into_iter().zip(rows.keys("operator")).collect();
            assert_eq!(seen, self.nodes, "run {run}");
        }
        let executed = rows
            .keys("kind")
            .into_iter()
            .zip(rows.keys("operator"))
            .zip(rows.column("calls"));
        let mut calls = BTreeMap::new();
        for (node, times) in executed.filter(|(node, _)| self.nodes.contains(node)) {
            *calls.entry(node).or_default() += times;
        }
        assert_eq!(calls, self.executions, "ONNX Runtime's own profile");
    }

    fn check_named(&self) {
        let attribution = self.capture.summary().get("attribution").clone();
        for (named, all) in [
            ("operator_accesses", "compute_accesses"),
            ("object_dram_bytes", "dram_bytes"),
        ] {
            let [named, all] = [named, all].map(|key| attribution[key].as_u64().expect("a count"));
            assert!(named * 100 >= all * 95, "{named} of {all}");
        }
    }
}

/// How often a profile of ONNX Runtime says that each node was executed.
fn executions(profile: &Path) -> BTreeMap<Node, u64> {
    let text = std::fs::read(profile).expect("ONNX Runtime's profile");
    let events: Vec<Value> = serde_json::from_slice(&text).expect("JSON");
    let mut executions = BTreeMap::new();
    for event in events.iter().filter(|event| event["cat"] == "Node") {
        let name = event["name"]
            .as_str()
            .and_then(|name| name.strip_suffix("_kernel_time"));
        let kind = event["args"]["op_name"].as_str();
        let (Some(name), Some(kind)) = (name, kind) else {
            continue;
        };
        *executions.entry((kind.to_owned(), name.to_owned())).or_default() += 1;
    }
    executions
}

static ENCODER: LazyLock<Inference> = LazyLock::new(|| Inference::run("encoder"));

#[test]
fn nodes_of_an_encoder_have_their_names() {
    ENCODER.check_nodes();
    ENCODER.check_named();
    let layers: BTreeSet<_> = ENCODER
        .capture
        .report("layer")
        .keys("layer")
        .into_iter()
        .collect();
    for layer in 0..LAYERS {
        assert!(layers.contains(&format!("layers.{layer}")), "{layers:?}");
    }
}

#[test]
fn nodes_of_a_residual_network_have_their_names() {
    let network = Inference::run("resnet");
    network.check_nodes();
    network.check_named();
    // Reordered for the kernels when the session is made, the weights are weights still.
    let rows = network
        .capture
        .report("phase,kind,class")
        .matching(&[("kind", "Conv"), ("class", "weight")]);
    let bytes = CONVOLUTIONS.map(|(before, after, kernel)| before * after * kernel * kernel * FLOAT_BYTES);
    for run in 0..RUNS {
        let read = rows
            .matching(&[("phase", &format!("run[{run}]"))])
            .sum("footprint_bytes");
        assert!(read >= bytes.iter().sum(), "run {run}: {read} bytes of {bytes:?}");
    }
}

/// Channels in and out, and extent of the kernel, of the smoke size's convolutions.
const CONVOLUTIONS: [(u64, u64, u64); 9] = [
    (3, 16, 7),
    (16, 16, 1),
    (16, 16, 3),
    (16, 64, 1),
    (16, 64, 1),
    (64, 32, 1),
    (32, 32, 3),
    (32, 128, 1),
    (64, 128, 1),
];

/// The weights of an encoder are more than the last level holds: each run reads every packed matrix from DRAM once, by the
/// node that it was packed for.
#[test]
fn every_run_reads_each_packed_weight_once() {
    let rows = ENCODER
        .capture
        .report("phase,operator,class,object")
        .matching(&[("class", "weight")]);
    for layer in 0..LAYERS {
        for (name, values) in [
            ("attention/query", WIDTH * WIDTH),
            ("attention/key", WIDTH * WIDTH),
            ("attention/value", WIDTH * WIDTH),
            ("attention/output", WIDTH * WIDTH),
            ("intermediate", 4 * WIDTH * WIDTH),
            ("output", 4 * WIDTH * WIDTH),
        ] {
            let node = format!("/layers.{layer}/{name}/MatMul/MatMulAddFusion");
            let bytes = values * FLOAT_BYTES;
            for run in 0..RUNS {
                let phase = format!("run[{run}]");
                let object = format!("packed: {node}");
                let weight = rows.matching(&[("phase", &phase), ("object", &object)]);
                let read = weight.sum("dram_read_bytes");
                assert!(
                    read.abs_diff(bytes) * 20 <= bytes,
                    "{object}, run {run}: {read} of {bytes} bytes"
                );
                // A neighbour's prefetches may run over.
                let own = weight.matching(&[("operator", &node)]);
                assert!(
                    own.sum("accesses") * 100 >= weight.sum("accesses") * 99,
                    "{object} is read by its node"
                );
            }
        }
    }
}
