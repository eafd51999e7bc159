//! `misuse_system.c`, compiled against the header and each form of the library, misuses every function, then counts what
//! the same accesses count in process.

use memloupe_cachesim::{AccessKind, Cause, Operand, Run, TranslationCounters};
use memloupe_hierarchy::{Counters, Machine, System};
use serde_json::Value;

use crate::client::Form;

const MACHINE: &str = "embedded";

/// The pattern of `misuse_system.c`.
fn in_process(accesses: u32) -> System {
    let mut system = System::new(&Machine::load(MACHINE).unwrap()).unwrap();
    system.reserve_owners(3);
    let mut random = 88172645463325252u64;
    for _ in 0..accesses {
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
                scattered: &[],
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
    for field in TranslationCounters::FIELDS {
        check(field.name.into(), (field.get)(&counters.translation));
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

fn assert_client_counts(form: Form, accesses: u32) {
    let text = crate::client::run(
        "tests/abi/misuse_system.c",
        form,
        &[MACHINE, &accesses.to_string()],
    );
    let (version, json) = text.split_once('\n').unwrap();
    let json: Value = serde_json::from_str(json).unwrap();
    assert_eq!(version, env!("CARGO_PKG_VERSION"));
    assert_eq!(json["machine"], MACHINE);
    let system = in_process(accesses);
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
    assert_client_counts(Form::Shared, 200_000);
}

#[test]
fn with_the_static_library() {
    assert_client_counts(Form::Static, 200_000);
}

#[test]
fn under_sanitizers() {
    assert_client_counts(Form::Sanitized, 20_000);
}

#[test]
fn under_valgrind() {
    assert_client_counts(Form::Valgrind, 5_000);
}
