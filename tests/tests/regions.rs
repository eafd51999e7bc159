//! `--region`, `--after` and `--for`: what is inside is counted exactly, what is outside is not, under both engines.
#![forbid(unsafe_code)]

use memloupe_tests::{Capture, Program, generation, llama, model};

const CALLS: u64 = 5;
const N: u64 = 1000;
const ENGINES: [&str; 2] = ["native", "valgrind"];

/// Runs `regions` and returns the loads of its functions, the loads of all, and instances: captured, of all.
fn loads(engine: &str, options: &[&str], threads: u64) -> Observed {
    let program = Program::compile("regions", &[]);
    let arguments = [CALLS, N, threads].map(|number| number.to_string());
    let options = [&["--engine", engine, "--machine", "none", "--check"], options].concat();
    let capture = Capture::success(&options, program.path(), &arguments);
    let alone = std::process::Command::new(program.path())
        .args(&arguments)
        .output()
        .expect("the program runs");
    assert_eq!(capture.output.stdout, alone.stdout);
    let summary = capture.summary();
    assert_eq!(summary.get("complete").as_bool(), Some(true), "{options:?}");
    assert!(
        !summary.get("notes").to_string().contains("stream check"),
        "{}",
        summary.get("notes")
    );
    let rows = capture.report("function");
    let region = summary.get("region");
    let count = |key: &str| {
        region
            .get(key)
            .and_then(serde_json::Value::as_u64)
            .expect("a count")
    };
    Observed {
        functions: ["work", "outside", "marked", "leap"]
            .map(|function| rows.matching(&[("function", function)]).sum("loads") / N),
        // Without what belongs to calls: a few loads each.
        all: rows.sum("loads") / N,
        instances: (count("captured_instances"), count("instances")),
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Observed {
    /// Passes over the numbers by work, outside, marked and leap.
    functions: [u64; 4],
    all: u64,
    instances: (u64, u64),
}

fn passes(work: u64, outside: u64, marked: u64, leap: u64, instances: (u64, u64)) -> Observed {
    Observed {
        functions: [work, outside, marked, leap],
        all: work + outside + marked + leap,
        instances,
    }
}

#[test]
fn a_function_is_seen_alone_on_every_thread() {
    for engine in ENGINES {
        for threads in [1, 3] {
            let calls = CALLS * threads;
            let seen = loads(engine, &["--region", "function=work"], threads);
            assert_eq!(
                seen,
                passes(calls, 0, 0, 0, (calls, calls)),
                "{engine}, {threads} threads"
            );
        }
    }
}

#[test]
fn a_marked_stretch_is_seen_alone() {
    for engine in ENGINES {
        let seen = loads(engine, &["--region", "marker=inner"], 1);
        assert_eq!(seen, passes(0, 0, 1, 0, (1, 1)), "{engine}");
    }
}

#[test]
fn a_region_left_by_a_jump_is_over() {
    for engine in ENGINES {
        let seen = loads(engine, &["--region", "leap"], 1);
        assert_eq!(seen, passes(0, 0, 0, CALLS, (CALLS, CALLS)), "{engine}");
    }
}

#[test]
fn instances_can_be_chosen() {
    for engine in ENGINES {
        let seen = loads(
            engine,
            &["--region", "work", "--after", "1op", "--for", "2ops"],
            1,
        );
        assert_eq!(seen, passes(2, 0, 0, 0, (2, CALLS)), "{engine}");
    }
}

/// One step of generation out of five: alone, it reads the weights once, and so it does in the whole run.
#[test]
fn one_token_reads_the_weights_once() {
    let model = model("smoke", "q4_0");
    let arguments = generation(&model, 8, 5);
    let bounds = [
        "--region",
        "phase=decode",
        "--after",
        "2tokens",
        "--for",
        "1token",
    ];
    let options = [&["--engine", "native", "--machine", "embedded"][..], &bounds].concat();
    let capture = Capture::success(&options, &llama(), &arguments);
    let rows = capture.report("phase,class");
    assert_eq!(
        rows.keys("phase")
            .into_iter()
            .collect::<std::collections::BTreeSet<_>>(),
        ["decode[2]".to_owned()].into()
    );
    let weights = rows.matching(&[("class", "weight")]).sum("dram_read_bytes");
    let size = std::fs::metadata(&model).expect("model").len();
    assert!(
        weights.abs_diff(size) * 50 < size,
        "{weights} bytes of weights of a model of {size} bytes"
    );
    let region = capture.summary().get("region").clone();
    assert_eq!(
        (
            region["captured_instances"].as_u64(),
            region["instances"].as_u64()
        ),
        (Some(1), Some(5))
    );
}
