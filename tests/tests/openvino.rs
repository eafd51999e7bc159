//! OpenVINO as PyPI has it, stripped and with its kernels compiled just in time: nodes and oneDNN's primitives by their ITT tasks.
//! What OpenVINO's own profile says was run is the oracle.
#![forbid(unsafe_code)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use memloupe_tests::Capture;

const RUNS: u64 = 3;
/// Layers of the smoke size of `workloads/onnxruntime/models.py`.
const LAYERS: u64 = 2;
const TOKENS: u64 = 32;
const WIDTH: u64 = 128;
/// Of a convolution's kernel, a primitive of oneDNN.
const PRIMITIVE: &str = "convolution";
/// Types that the profile does not call by what they were in the graph of ONNX.
const SAME_TYPES: [&str; 4] = ["Convolution", "FullyConnected", "MVN", "Subgraph"];

/// A model run three times.
struct Inference {
    capture: Capture,
    /// The nodes that OpenVINO says it ran with a kernel: type, kernel and name.
    nodes: Vec<[String; 3]>,
}

impl Inference {
    fn run(model: &str) -> Self {
        let python = PathBuf::from(std::env::var_os("MEMLOUPE_PYTHON").expect(
            "MEMLOUPE_PYTHON must name a Python with openvino: run scripts/test, or set it to what scripts/python prints",
        ));
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../workloads/openvino/run.py");
        let folder = tempfile::tempdir().expect("temporary folder");
        let graph = folder.path().join("graph.txt");
        let arguments = [
            Path::new(script),
            Path::new(model),
            "--runs".as_ref(),
            "3".as_ref(),
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
        let alone = Command::new(&python)
            .args(arguments)
            .arg("--graph")
            .arg(&graph)
            .output()
            .expect("Python");
        assert_eq!(capture.output.stdout, alone.stdout);
        let graph = std::fs::read_to_string(&graph).expect("what was run");
        let nodes = graph
            .lines()
            .filter_map(|line| {
                let mut words = line.splitn(3, ' ').map(str::to_owned);
                Some([words.next()?, words.next()?, words.next()?])
            })
            .collect();
        Self { capture, nodes }
    }

    /// Every node that computes ran once in each run, by its name; so did every kernel of oneDNN.
    fn check_nodes(&self) {
        let rows = self.capture.report("phase,kind,operator");
        // What passes memory on as it is, or has become part of another node, has no kernel.
        let computes = |kernel: &str| {
            ["jit_", "brgconv_", "gemm_"]
                .iter()
                .any(|by| kernel.starts_with(by))
        };
        let computing: Vec<_> = self
            .nodes
            .iter()
            .filter(|[_, kernel, _]| computes(kernel))
            .collect();
        assert!(computing.len() > 10, "{:?}", self.nodes);
        for run in 0..RUNS {
            let phase = format!("run[{run}]");
            for [kind, kernel, name] in &computing {
                let own = rows.matching(&[("phase", &phase), ("operator", name)]);
                let calls = own.column("calls");
                assert!(
                    !calls.is_empty() && calls.iter().all(|calls| *calls == 1),
                    "{kind} {name} in {phase}: {calls:?} calls"
                );
                let kinds = own.keys("kind");
                let is_primitive = kernel.starts_with("brgconv_");
                assert_eq!(
                    kinds.contains(&PRIMITIVE.to_owned()),
                    is_primitive,
                    "{kernel} of {name}"
                );
                if SAME_TYPES.contains(&kind.as_str()) {
                    assert!(kinds.contains(kind), "{kind} {name}: {kinds:?}");
                }
            }
        }
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
}

/// A product of a row for each token and a matrix takes a multiplication and an addition for each token and weight, whether the
/// kernel was compiled before or just in time.
#[test]
fn products_compute_what_the_graph_says() {
    // A bias, and an activation (GELU's error function is a polynomial) where they are part of the kernel.
    const PER_RESULT: u64 = 16;
    let rows = ENCODER.capture.report("phase,operator");
    for layer in 0..LAYERS {
        for (name, before, after) in [
            ("attention/query", WIDTH, WIDTH),
            ("attention/key", WIDTH, WIDTH),
            ("attention/value", WIDTH, WIDTH),
            ("attention/output", WIDTH, WIDTH),
            ("intermediate", WIDTH, 4 * WIDTH),
            ("output", 4 * WIDTH, WIDTH),
        ] {
            let node = format!("/layers.{layer}/{name}/Add");
            let found = rows
                .matching(&[("phase", "run[1]"), ("operator", &node)])
                .sum("flops");
            let expected = 2 * TOKENS * before * after;
            assert!(
                (expected..=expected + PER_RESULT * TOKENS * after).contains(&found),
                "{node}: {found} operations, expected {expected}"
            );
        }
    }
}
