//! The marker API: a program's own words for what it does, under both engines; and the same program without them.
#![forbid(unsafe_code)]

use memloupe_tests::{Capture, Program};

const WIDTH: u64 = 64;
const STEPS: u64 = 3;
const LAYERS: u64 = 2;

fn capture(engine: &str, options: &[&str], flags: &[&str], threads: u64) -> Capture {
    let program = Program::compile("marked", flags);
    let arguments = [WIDTH, STEPS, threads].map(|number| number.to_string());
    let options = [&["--engine", engine, "--machine", "embedded", "--check"], options].concat();
    let capture = Capture::success(&options, program.path(), &arguments);
    let alone = std::process::Command::new(program.path())
        .args(&arguments)
        .output()
        .expect("the program runs");
    assert_eq!(capture.output.stdout, alone.stdout);
    capture
}

/// Everything that the program tells is in the profile: phases by number, layers, operators, objects; and nearly every access in
/// a phase belongs to an operator.
fn check_words(capture: &Capture) {
    let rows = capture.report("phase,layer,kind,operator,object,access");
    for step in 0..STEPS {
        let phase = format!("step[{step}]");
        for layer in 0..LAYERS {
            let weights = rows.matching(&[
                ("phase", &phase),
                ("layer", &format!("blk.{layer}")),
                ("kind", "MATVEC"),
                ("operator", &format!("up-{layer}")),
                ("object", &format!("blk.{layer}.weight")),
                ("access", "load"),
            ]);
            assert_eq!(weights.sum("accesses"), WIDTH * WIDTH, "{phase}, layer {layer}");
        }
        let squashed = rows.matching(&[("phase", &phase), ("kind", "SQUASH")]);
        let of = |object: &str, access: &str| {
            squashed
                .matching(&[("object", object), ("access", access)])
                .sum("accesses")
        };
        assert_eq!(
            (of("y", "load"), of("x", "store")),
            (LAYERS * WIDTH, LAYERS * WIDTH)
        );
    }
    let phases = rows.filtered("phase", |phase| phase.starts_with("step"));
    let all = phases.sum("accesses");
    let unnamed = phases.matching(&[("kind", "(no operator)")]).sum("accesses");
    assert!(
        unnamed * 100 <= all,
        "{unnamed} of {all} accesses belong to no operator"
    );
    // Its name was taken back before the last loop.
    let after = rows.matching(&[("phase", "other"), ("access", "load")]);
    assert_eq!(after.matching(&[("object", "y")]).sum("accesses"), 0);
    assert!(after.matching(&[("object", "x")]).sum("accesses") >= WIDTH);
}

#[test]
fn a_program_names_what_it_does() {
    for engine in ["native", "valgrind"] {
        check_words(&capture(engine, &[], &["-DMARKED"], 1));
        // Operators that were begun are regions like any others.
        let products = capture(engine, &["--region", "kind=MATVEC"], &["-DMARKED"], 1);
        let instances = products.summary().get("region")["captured_instances"].as_u64();
        assert_eq!(instances, Some(STEPS * LAYERS), "{engine}");
        let kinds = products.report("kind").keys("kind");
        assert_eq!(kinds, ["MATVEC"], "{engine}");
    }
}

/// A call that is a phase, inside of a phase that the program begins: that one goes on behind the call.
#[test]
fn phases_nest() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let preset = folder.path().join("squash.toml");
    let markers = include_str!("../../instrument/attribute/presets/markers.toml");
    let call = "[[probe]]\nfunctions = [\"squash\"]\nphase.always = { name = \"squash\" }\n";
    std::fs::write(&preset, [markers, call].concat()).expect("write");
    let preset = preset.to_str().expect("UTF-8");
    for engine in ["native", "valgrind"] {
        let options = ["--ops", preset, "--region", "phase=step"];
        let rows = capture(engine, &options, &["-DMARKED"], 1).report("phase,object,access");
        for step in 0..STEPS {
            for layer in 0..LAYERS {
                let keys = [
                    ("phase", &*format!("step[{step}]")),
                    ("object", &*format!("blk.{layer}.weight")),
                    ("access", "load"),
                ];
                let loads = rows.matching(&keys).sum("accesses");
                assert_eq!(loads, WIDTH * WIDTH, "{engine}, {keys:?}");
            }
        }
        let phases = rows.filtered("phase", |phase| !phase.starts_with("step"));
        assert_eq!(phases.sum("accesses"), 0, "{engine}: {:?}", phases.keys("phase"));
    }
}

/// What a worker does belongs to the operator that the thread which started it is in. Valgrind's order over threads is exact.
#[test]
fn workers_have_the_operator_of_who_started_them() {
    let capture = capture("valgrind", &[], &["-DMARKED"], 2);
    check_words(&capture);
    let by_thread = capture
        .report("thread,kind,object")
        .matching(&[("thread", "1"), ("kind", "MATVEC")])
        .filtered("object", |object| object.ends_with(".weight"));
    assert_eq!(by_thread.sum("accesses"), STEPS * LAYERS * WIDTH * WIDTH / 2);
}

/// Without markers, functions and allocations are what there is to say; the accesses are the same.
#[test]
fn a_program_without_markers_still_has_functions_and_objects() {
    for engine in ["native", "valgrind"] {
        let capture = capture(engine, &[], &[], 1);
        let rows = capture.report("kind,phase,function,class");
        assert_eq!(
            rows.keys("kind")
                .iter()
                .filter(|kind| *kind != "(no operator)")
                .count(),
            0
        );
        let products = rows.matching(&[("function", "rows"), ("class", "heap")]);
        // Each step of each row's product loads a weight and a value of x.
        let loads = STEPS * LAYERS * WIDTH * WIDTH * 2;
        assert!(products.sum("loads").abs_diff(loads) * 100 < loads, "{engine}");
        assert_eq!(capture.summary().get("complete").as_bool(), Some(true));
    }
}
