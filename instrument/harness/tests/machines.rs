//! Several machines from one stream, each on its thread: as if each had had the stream to itself, on the thread that decodes.

use memloupe::pipeline::Pipeline;
use memloupe::simulation::{Simulation, Step};
use memloupe::workers::Workers;
use memloupe_attribute::{Attribution, RowKey};
use memloupe_cachesim::OwnerTraits;
use memloupe_hierarchy::{Machine, System};
use memloupe_stream::{AccessKind, RunBatch, RunOperand, Sink, SiteTable};

const MACHINES: [&str; 3] = ["embedded", "desktop", "ice-lake-sp"];

fn system(name: &str) -> System {
    System::new(&Machine::load(name).expect("a preset")).expect("a machine that can be simulated")
}

/// One block at 0x1000 with two operands of 8 bytes: a load and a store.
fn sites() -> SiteTable {
    let mut entry = Vec::new();
    entry.extend(((40u32 + 32 * 2) / 8).to_le_bytes());
    entry.extend(0u32.to_le_bytes());
    entry.extend(0x1000u64.to_le_bytes());
    entry.extend(12u32.to_le_bytes());
    entry.extend(0u32.to_le_bytes());
    for count in [3u16, 2, 2] {
        entry.extend(count.to_le_bytes());
    }
    entry.extend([0; 10]);
    for slot in 0u16..2 {
        entry.extend((i32::from(slot) * 4).to_le_bytes());
        entry.extend(8u16.to_le_bytes());
        entry.extend([slot as u8, 0]);
        entry.extend(slot.to_le_bytes());
        entry.extend([0; 22]);
    }
    let mut table = SiteTable::default();
    table.extend(&entry).expect("a sound entry");
    table
}

/// Batches of two threads: sweeps over 32 MiB and scattered single executions.
fn stream(pipeline: &mut Pipeline) {
    let sites = sites();
    let mut random = 1u64;
    let mut next = |below: u64| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random % below
    };
    let operand = |site: u32, address, stride| RunOperand {
        address,
        stride,
        site,
        bytes: 8,
        kind: if site == 1 {
            AccessKind::Load
        } else {
            AccessKind::Store
        },
    };
    let mut batch = RunBatch::default();
    for number in 0..400 {
        batch.clear();
        for _ in 0..50 {
            batch.push_operand(RunOperand {
                address: 0x1000,
                stride: 0,
                site: 0,
                bytes: 12,
                kind: AccessKind::Fetch,
            });
            let (at, strided) = (next(32 << 20), next(2) == 0);
            batch.push_operand(operand(1, 1 << 32 | at, if strided { 24 } else { 0 }));
            batch.push_operand(operand(2, 2 << 32 | next(32 << 20), if strided { 8 } else { 0 }));
            batch.end_run(0, if strided { 1 + next(200) } else { 1 });
        }
        pipeline.runs(number % 2, &sites, &batch);
    }
}

fn simulated(machines: &[&str]) -> Vec<Simulation> {
    let systems = machines.iter().map(|name| system(name)).collect();
    let mut pipeline = Pipeline::new(Attribution::new(Vec::new()), systems, None);
    stream(&mut pipeline);
    pipeline.into_parts(&SiteTable::default()).simulations
}

#[test]
fn several_machines_count_what_each_would_alone() {
    let together = simulated(&MACHINES);
    assert_eq!(together.len(), MACHINES.len());
    for (name, simulation) in MACHINES.iter().zip(&together) {
        let alone = simulated(&[name]);
        let (mine, others) = (
            simulation.system().expect("a system"),
            alone[0].system().expect("a system"),
        );
        assert_eq!(mine.machine().name, others.machine().name);
        assert!(
            mine.owner_count() >= 6,
            "a fetch, a load and a store of two threads"
        );
        for owner in 0..mine.owner_count() as u32 {
            assert_eq!(
                mine.counters(owner),
                others.counters(owner),
                "{name}, owner {owner}"
            );
        }
        assert!(mine.totals().dram.read_bytes > 0);
        assert_eq!(simulation.timeline().bins(), alone[0].timeline().bins());
    }
}

#[test]
fn threads_change_nothing() {
    let run = |mut workers: Workers| {
        let mut pipeline = Pipeline::new(Attribution::new(Vec::new()), Vec::new(), None);
        stream(&mut pipeline);
        let ledger = pipeline.into_parts(&SiteTable::default()).attribution.ledger;
        let traits = |key: RowKey| OwnerTraits {
            site: key.site,
            object: key.object,
            class: 0,
        };
        let rows: Vec<_> = (0..ledger.len() as u32)
            .map(|row| traits(ledger.key(row)))
            .collect();
        for number in 0..100u64 {
            workers.submit(|step: &mut Step| {
                step.rows.clear();
                if number == 0 {
                    step.rows.extend(&rows);
                }
                step.thread = (number % 2) as u32;
                step.phase = (number / 30) as u32;
                step.instructions = 40_000;
                step.accesses_before = number * 10;
                step.accesses = number * 10 + 10;
            });
        }
        workers.finish(1000)
    };
    let here = run(Workers::here(vec![system("embedded")]));
    let threads = run(Workers::on_threads(vec![system("embedded")]));
    let bins = here[0].timeline().bins();
    assert_eq!(bins, threads[0].timeline().bins());
    // No bin spans two phases.
    let mut phases: Vec<u32> = bins.iter().map(|bin| bin.phase).collect();
    assert!(phases.is_sorted());
    phases.dedup();
    assert_eq!(phases, [0, 1, 2, 3]);
    assert_eq!(bins.iter().map(|bin| bin.accesses).sum::<u64>(), 1000);
}
