//! `client.c`, compiled against the header and each form of the library, counts what the same accesses count in
//! process.

use std::path::{Path, PathBuf};
use std::process::Command;

use memloupe_cachesim::{AccessKind, Cause, Operand, Run};
use memloupe_hierarchy::{Counters, Machine, System};
use serde_json::Value;

const MACHINE: &str = "embedded";

/// Where cargo puts the libraries of the package under test: beside the test itself.
fn library_folder() -> PathBuf {
    std::env::current_exe().unwrap().parent().unwrap().to_owned()
}

/// Compiles and runs the client with these linker arguments; returns the version and the statistics.
fn client(folder: &Path, link: &[String]) -> (String, Value) {
    let source = Path::new(env!("CARGO_MANIFEST_DIR"));
    let target = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let compiler = cc::Build::new()
        .host(&target)
        .target(&target)
        .opt_level(1)
        .cargo_metadata(false)
        .get_compiler();
    let program = folder.join("client");
    let compiled = compiler
        .to_command()
        .args([
            "-std=c11",
            "-Wall",
            "-Wextra",
            "-Wundef",
            "-Wconversion",
            "-Werror",
            "-I",
        ])
        .arg(source.join("include"))
        .arg(source.join("tests/client.c"))
        .arg("-o")
        .arg(&program)
        .args(link)
        .output()
        .unwrap();
    assert!(
        compiled.status.success(),
        "{}",
        String::from_utf8_lossy(&compiled.stderr)
    );
    let run = Command::new(&program).arg(MACHINE).output().unwrap();
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    let text = String::from_utf8(run.stdout).unwrap();
    let (version, json) = text.split_once('\n').unwrap();
    (version.into(), serde_json::from_str(json).unwrap())
}

/// The pattern of `client.c`.
fn in_process() -> System {
    let mut system = System::new(&Machine::load(MACHINE).unwrap()).unwrap();
    system.reserve_owners(3);
    let mut random = 88172645463325252u64;
    for _ in 0..200_000 {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let operand = Operand {
            address: (random >> 8) % (8 << 20),
            stride: 0,
            bytes: 1 + (random >> 40) as u32 % 80,
            kind: AccessKind::ALL[((random >> 48) as u32 % 7) as usize],
            owner: (random >> 56) as u32 % 3,
        };
        system.run(
            (random % 4) as usize,
            Run {
                operands: &[operand],
                iterations: 1,
            },
        );
    }
    system.flush();
    system
}

fn assert_counted(system: &System, counters: &Counters, json: &Value) {
    let mut names = 0;
    let mut check = |name: String, value: u64| {
        assert_eq!(json[&name], value, "{name}");
        names += 1;
    };
    for (level, counted) in system.level_names().zip(&counters.levels) {
        check(format!("{level}_line_accesses"), counted.line_accesses());
        check(format!("{level}_misses"), counted.total_misses());
        check(
            format!("{level}_read_misses"),
            counted.misses[Cause::Read as usize],
        );
        check(
            format!("{level}_write_misses"),
            counted.misses[Cause::Write as usize],
        );
        check(
            format!("{level}_prefetch_misses"),
            counted.misses[Cause::Prefetch as usize],
        );
        check(format!("{level}_fills"), counted.fills());
        check(format!("{level}_writebacks"), counted.writebacks);
    }
    check("straddles".into(), counters.accesses.straddles);
    check("non_temporal_lines".into(), counters.accesses.non_temporal_lines);
    check("dram_read_bytes".into(), counters.dram.read_bytes);
    check("dram_write_bytes".into(), counters.dram.write_bytes);
    check("row_hits".into(), counters.dram.row_hits);
    check("row_misses".into(), counters.dram.row_misses);
    check("row_conflicts".into(), counters.dram.row_conflicts);
    check("dram_read_latency_ps".into(), counters.dram.read_latency_ps);
    assert_eq!(
        json.as_object().unwrap().len(),
        names,
        "no counter is left unchecked"
    );
}

fn assert_client_counts(link: &[String]) {
    let folder = tempfile::tempdir().unwrap();
    let (version, json) = client(folder.path(), link);
    assert_eq!(version, env!("CARGO_PKG_VERSION"));
    assert_eq!(json["machine"], MACHINE);
    let system = in_process();
    let totals = system.totals();
    assert!(totals.dram.read_bytes > 0 && totals.dram.write_bytes > 0 && totals.accesses.straddles > 0);
    assert_counted(&system, &totals, &json["totals"]);
    let owners = json["owners"].as_array().unwrap();
    assert_eq!(owners.len(), 3);
    for (owner, json) in owners.iter().enumerate() {
        assert_counted(&system, &system.counters(owner as u32), json);
    }
}

#[test]
fn with_the_shared_library() {
    let folder = library_folder().display().to_string();
    assert_client_counts(&[
        format!("-L{folder}"),
        "-lmemloupe_ffi".into(),
        format!("-Wl,-rpath,{folder}"),
    ]);
}

#[test]
fn with_the_static_library() {
    let library = library_folder().join("libmemloupe_ffi.a").display().to_string();
    let system_libraries = ["-lpthread", "-ldl", "-lm"].map(String::from);
    assert_client_counts(&[&[library], &system_libraries[..]].concat());
}
