//! How targets end, and what is kept then: exit codes, crashes, kills, Ctrl-C, fork, exec, threads.
#![forbid(unsafe_code)]

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use memloupe_tests::{Capture, Program, Rows, Summary};
use rustix::process::{Pid, Signal, kill_process};

const ENGINES: [&str; 2] = ["native", "valgrind"];

fn options(engine: &str) -> [&str; 5] {
    ["--check", "--machine", "embedded", "--engine", engine]
}

fn lifecycle(engine: &str, what: &str) -> Capture {
    let program = Program::compile("lifecycle", &["-pthread"]);
    Capture::run(&options(engine), program.path(), &[what])
}

/// Read-modify-writes of `rounds` calls of work(): one load and one store for each of 4096 cells and round.
fn assert_work(capture: &Capture, rounds: u64) {
    let work = capture.report("function").matching(&[("function", "work")]);
    let stores = work.sum("stores");
    // A call may push and pop saved registers.
    assert!(
        (rounds * 4096..rounds * 4096 + 100).contains(&stores),
        "{stores} stores for {rounds} rounds"
    );
}

fn assert_sound(summary: &Summary) {
    assert_eq!(summary.get("lost_accesses").as_u64(), Some(0));
    let notes = summary.get("notes").to_string();
    assert!(!notes.contains("stream check"), "{notes}");
}

#[test]
fn the_exit_code_is_the_targets() {
    for engine in ENGINES {
        let capture = lifecycle(engine, "exit");
        assert_eq!(capture.output.status.code(), Some(42));
        let summary = capture.summary();
        assert_eq!(summary.get("complete").as_bool(), Some(true));
        assert_eq!(summary.get("exit_status").as_i64(), Some(42));
        assert_sound(&summary);
        assert_work(&capture, 10);
    }
}

#[test]
fn a_crash_leaves_a_profile_marked_incomplete() {
    for engine in ENGINES {
        for (what, signal, status) in [
            ("segv", "SIGSEGV", 139),
            ("abort", "SIGABRT", 134),
            ("kill", "SIGKILL", 137),
        ] {
            let capture = lifecycle(engine, what);
            assert_eq!(
                capture.output.status.code(),
                Some(status),
                "{what}: {}",
                capture.stderr()
            );
            let summary = capture.summary();
            assert_eq!(summary.get("complete").as_bool(), Some(false), "{what}");
            let reason = summary.get("incomplete_reason").to_string();
            assert!(reason.contains(signal), "{what}: {reason}");
            assert_work(&capture, 10);
        }
    }
}

/// Valgrind hides AVX-512; a program that uses it all the same is told what to do.
#[test]
fn an_instruction_that_valgrind_lacks_is_explained() {
    let capture = lifecycle("valgrind", "avx512");
    assert_eq!(capture.output.status.code(), Some(132), "{}", capture.stderr());
    let reason = capture.summary().get("incomplete_reason").to_string();
    assert!(
        reason.contains("SIGILL") && reason.contains("AVX-512") && reason.contains("x86-64-v3"),
        "{reason}"
    );
    assert_work(&capture, 10);
}

#[test]
fn ctrl_c_leaves_a_profile_marked_incomplete() {
    for engine in ENGINES {
        let program = Program::compile("lifecycle", &["-pthread"]);
        let folder = tempfile::tempdir().expect("temporary folder");
        let mut running = Capture::command(folder.path(), &options(engine), program.path(), &["forever"])
            .stdout(Stdio::piped())
            .spawn()
            .expect("memloupe");
        let mut line = String::new();
        BufReader::new(running.stdout.take().expect("pipe"))
            .read_line(&mut line)
            .expect("target's output");
        assert_eq!(line, "running\n");
        let pid = Pid::from_raw(running.id().try_into().expect("pid")).expect("pid");
        kill_process(pid, Signal::INT).expect("kill");
        let status = running.wait().expect("wait");
        assert_eq!(status.code(), Some(130));
        let profile = folder.path().join("profile");
        let summary = Summary::read(&profile);
        assert_eq!(summary.get("complete").as_bool(), Some(false));
        assert!(
            summary
                .get("incomplete_reason")
                .to_string()
                .contains("interrupted")
        );
        assert!(
            Rows::read(&profile, "function")
                .matching(&[("function", "work")])
                .sum("stores")
                >= 10 * 4096
        );
    }
}

/// A target must not hang because its observer is gone: rings fill, nobody empties them, and it goes on unobserved.
#[test]
fn the_target_outlives_memloupe() {
    for engine in ENGINES {
        let program = Program::compile("lifecycle", &["-pthread"]);
        let folder = tempfile::tempdir().expect("temporary folder");
        let mut running = Capture::command(folder.path(), &options(engine), program.path(), &["ticks"])
            .stdout(Stdio::piped())
            .spawn()
            .expect("memloupe");
        let mut lines = BufReader::new(running.stdout.take().expect("pipe")).lines();
        assert!(
            lines
                .next()
                .expect("a line")
                .expect("text")
                .starts_with("tick 0 ")
        );
        running.kill().expect("kill");
        running.wait().expect("wait");
        let last = lines.last().expect("more lines").expect("text");
        assert!(last.starts_with("tick 99 "), "{last}");
    }
}

#[test]
fn a_forked_child_runs_unobserved_and_is_counted() {
    for engine in ENGINES {
        let capture = lifecycle(engine, "fork");
        assert_eq!(capture.output.status.code(), Some(7));
        let summary = capture.summary();
        assert_eq!(summary.get("unobserved_processes").as_u64(), Some(1));
        assert_sound(&summary);
        assert_work(&capture, 11);
    }
}

#[test]
fn a_spawned_shell_runs_natively_and_is_counted() {
    for engine in ENGINES {
        let capture = lifecycle(engine, "spawn");
        assert_eq!(capture.output.status.code(), Some(5), "{}", capture.stderr());
        assert_eq!(capture.summary().get("unobserved_processes").as_u64(), Some(1));
        assert_work(&capture, 10);
    }
}

#[test]
fn exec_goes_on_in_the_same_profile() {
    for engine in ENGINES {
        let capture = lifecycle(engine, "exec");
        assert_eq!(capture.output.status.code(), Some(42), "{}", capture.stderr());
        let summary = capture.summary();
        assert_sound(&summary);
        assert!(summary.get("notes").to_string().contains("exec"));
        assert_work(&capture, 20);
    }
}

#[test]
fn every_thread_is_captured() {
    for engine in ENGINES {
        let capture = lifecycle(engine, "threads");
        assert_eq!(capture.output.status.code(), Some(0), "{}", capture.stderr());
        assert_eq!(capture.summary().get("threads").as_u64(), Some(4));
        assert_sound(&capture.summary());
        assert_work(&capture, 10 + 1 + 2 + 3);
        let threads = capture
            .report("thread,function")
            .matching(&[("function", "work")]);
        assert_eq!(threads.len(), 4);
        let stacks = capture.report("class,object").matching(&[("class", "stack")]);
        assert_eq!(stacks.len(), 4, "{:?}", stacks.keys("object"));
    }
}
