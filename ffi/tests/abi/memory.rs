//! The examples, driven through each form of the library, against the same requests in process.

use memloupe_hierarchy::Machine;
use memloupe_hierarchy::dram::RowOutcome;
use memloupe_hierarchy::timed::{MemoryRequest, RequestKind, TimedConfig, TimedMemory};
use serde_json::Value;

use crate::client::Form;

const MACHINE: &str = "desktop";

/// What `examples/memory.c` does.
fn in_process(requests: u64) -> TimedMemory {
    let config = TimedConfig::from_toml("latency_ps = 10000\n[controller]\nread_queue = 16\n").unwrap();
    let mut memory = TimedMemory::new(&Machine::load(MACHINE).unwrap(), config).unwrap();
    let mut random = 88172645463325252u64;
    let mut now_ps = 0;
    for id in 0..requests {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let request = MemoryRequest {
            id,
            address: (random >> 8) % (64 << 20),
            bytes: 1 + (random >> 40) as u32 % 200,
            kind: RequestKind::ALL[((random >> 50) as u32 % 4) as usize],
            core: (random >> 54) as u32 % 4,
            tag: (random >> 58) as u32 % 3,
        };
        now_ps += random % 10000;
        memory.advance(now_ps, |_| {}).unwrap();
        while !memory.send(now_ps, &request).unwrap() {
            now_ps = memory.next_event_ps().unwrap();
            memory.advance(now_ps, |_| {}).unwrap();
        }
    }
    memory.drain(|_| {}).unwrap();
    memory
}

fn assert_counts(form: Form, requests: u64) {
    let text = crate::client::run("examples/memory.c", form, &[MACHINE, &requests.to_string()]);
    let json: Value = serde_json::from_str(&text).unwrap();
    let memory = in_process(requests);
    let (sum, device) = (memory.totals(), memory.statistics().unwrap());
    let totals = &json["totals"];
    assert!(memory.refusals() > 0 && device.merged_writes > 0 || requests < 10_000);
    for (name, value) in [
        ("time_ps", memory.now_ps()),
        ("reads", sum.requests[0]),
        ("writes", sum.requests[1]),
        ("prefetches", sum.requests[2]),
        ("writebacks", sum.requests[3]),
        ("read_bytes", sum.bytes[0] + sum.bytes[2]),
        ("write_bytes", sum.bytes[1] + sum.bytes[3]),
        ("refusals", memory.refusals()),
        ("outstanding", 0),
        ("dram_reads", device.requests[0]),
        ("dram_writes", device.requests[1]),
        ("dram_forwarded_reads", device.forwarded_reads),
        ("dram_merged_writes", device.merged_writes),
        ("row_hits", device.row_outcomes(RowOutcome::Hit)),
        ("row_misses", device.row_outcomes(RowOutcome::Miss)),
        ("row_conflicts", device.row_outcomes(RowOutcome::Conflict)),
        ("turnarounds", device.turnarounds),
    ] {
        assert_eq!(totals[name], value, "{name}");
    }
    let energy_pj = memory.energy().unwrap().total_pj();
    let told_pj = totals["energy_pj"].as_f64().unwrap();
    // Reading decimals may lose the last bit.
    assert!(
        (told_pj / energy_pj - 1.0).abs() < 1e-12,
        "{told_pj} and {energy_pj}"
    );
    let tags = json["tags"].as_array().unwrap();
    assert_eq!(tags.len(), 3);
    for (json, counts) in tags.iter().zip(memory.tags()) {
        for (kind, name) in ["read", "write", "prefetch", "writeback"].iter().enumerate() {
            assert_eq!(json[format!("{name}_requests")], counts.requests[kind]);
            assert_eq!(json[format!("{name}_bytes")], counts.bytes[kind]);
            assert_eq!(json[format!("{name}_done")], counts.requests[kind]);
            assert_eq!(json[format!("{name}_latency_ps")], counts.latency_ps[kind]);
            assert_eq!(
                json[format!("{name}_max_latency_ps")],
                counts.max_latency_ps[kind]
            );
        }
        assert_eq!(json["row_hits"], counts.outcomes[0]);
        assert_eq!(json["row_misses"], counts.outcomes[1]);
        assert_eq!(json["row_conflicts"], counts.outcomes[2]);
    }
}

#[test]
fn with_the_shared_library() {
    assert_counts(Form::Shared, 100_000);
}

#[test]
fn with_the_static_library() {
    assert_counts(Form::Static, 100_000);
}

#[test]
fn under_sanitizers() {
    assert_counts(Form::Sanitized, 5_000);
}

#[test]
fn under_valgrind() {
    assert_counts(Form::Valgrind, 1_000);
}

#[test]
fn caches_above_memory_in_cpp() {
    for (form, accesses) in [
        (Form::Shared, 50_000),
        (Form::Sanitized, 5_000),
        (Form::Valgrind, 1_000),
    ] {
        let text = crate::client::run("examples/hierarchy.cpp", form, &[MACHINE, &accesses.to_string()]);
        let (system, memory) = text.split_once('\n').unwrap();
        let system: Value = serde_json::from_str(system).unwrap();
        let memory: Value = serde_json::from_str(memory).unwrap();
        let (caches, dram) = (&system["totals"], &memory["totals"]);
        // What leaves the caches is what the memory was sent, in all and by owner.
        assert!(caches["dram_read_bytes"].as_u64().unwrap() > 0);
        assert_eq!(caches["dram_read_bytes"], dram["read_bytes"]);
        assert_eq!(caches["dram_write_bytes"], dram["write_bytes"]);
        for owner in 0..3 {
            assert_eq!(
                system["owners"][owner]["dram_read_bytes"],
                memory["tags"][owner]["read_bytes"]
            );
            let written = &memory["tags"][owner]["writeback_bytes"];
            assert_eq!(&system["owners"][owner]["dram_write_bytes"], written);
        }
    }
}
