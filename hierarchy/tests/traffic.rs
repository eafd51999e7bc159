//! Traffic through a whole machine in closed form, and its cycles.

use memloupe_cachesim::{AccessKind, Cause, Operand, Run};
use memloupe_hierarchy::{Machine, System, Wait};

const LINE: u64 = 64;

fn machine() -> Machine {
    let text = r#"
        extends = "desktop"
        name = "small"
        [core]
        count = 2
        frequency = "2 GHz"
        issue_width = 4
        [cache.l3]
        size = "1536 KiB"    # 1536 sets: not a power of two
    "#;
    Machine::from_toml("small", text).unwrap()
}

fn system() -> System {
    let mut system = System::new(&machine()).unwrap();
    system.reserve_owners(3);
    system
}

fn run(system: &mut System, core: usize, operands: &[Operand], iterations: u64) {
    system.run(
        core,
        Run {
            operands,
            iterations,
            scattered: &[],
        },
    );
}

fn operand(address: u64, kind: AccessKind, owner: u32) -> Operand {
    Operand {
        address,
        stride: 8,
        bytes: 8,
        kind,
        owner,
    }
}

#[test]
fn a_read_stream_reads_every_byte_once_from_dram() {
    let mut system = system();
    let bytes = 16 << 20;
    run(&mut system, 0, &[operand(0, AccessKind::Load, 0)], bytes / 8);
    let counters = system.counters(0);
    assert_eq!(counters.dram.read_bytes, bytes);
    assert_eq!(counters.dram.write_bytes, 0);
    assert_eq!(counters.levels[0].accesses, [bytes / 8, 0, 0]);
    for level in [0, 2, 3] {
        assert_eq!(counters.levels[level].misses[Cause::Read as usize], bytes / LINE);
    }
    assert_eq!(
        counters.levels[1].line_accesses(),
        0,
        "data does not go to the instruction cache"
    );

    // Again: 16 MiB do not stay in 1.5 MiB under LRU.
    run(&mut system, 0, &[operand(0, AccessKind::Load, 1)], bytes / 8);
    assert_eq!(system.counters(1).dram.read_bytes, bytes);
    assert_eq!(system.totals().dram.read_bytes, 2 * bytes);
}

#[test]
fn what_fits_a_level_is_read_from_dram_once() {
    for (bytes, level) in [(24 << 10, 0), (256 << 10, 2), (1 << 20, 3)] {
        let mut system = system();
        run(&mut system, 0, &[operand(0, AccessKind::Load, 0)], bytes / 8);
        run(&mut system, 0, &[operand(0, AccessKind::Load, 1)], bytes / 8);
        let again = system.counters(1);
        assert_eq!(again.dram.read_bytes, 0, "{bytes} bytes");
        assert_eq!(again.levels[level].total_misses(), 0);
    }
}

#[test]
fn a_write_stream_reads_and_writes_every_byte() {
    let mut system = system();
    let bytes = 16 << 20;
    run(&mut system, 0, &[operand(0, AccessKind::Store, 0)], bytes / 8);
    let resident: u64 = system.caches().dirty_lines().count() as u64;
    // A line that an inner level still has dirty is in L3 too, clean: together they are what L3 holds.
    assert_eq!(resident, (1536 << 10) / LINE);
    let before = system.counters(0).dram;
    assert_eq!(
        before.read_bytes, bytes,
        "write-allocate fetches what it overwrites"
    );
    assert_eq!(before.write_bytes, bytes - resident * LINE);
    system.flush();
    assert_eq!(system.counters(0).dram.write_bytes, bytes, "each line once");
    assert_eq!(system.caches().dirty_lines().count(), 0);
}

#[test]
fn a_copy_charges_reads_and_writes_to_whom_they_belong() {
    let mut system = system();
    let bytes = 16 << 20;
    let copy = [
        operand(0, AccessKind::Load, 0),
        operand(1 << 30, AccessKind::Store, 1),
    ];
    run(&mut system, 0, &copy, bytes / 8);
    // A third owner pushes what is left out of every level, and pays for its own reads only.
    run(
        &mut system,
        0,
        &[operand(1 << 31, AccessKind::Load, 2)],
        bytes / 8,
    );
    for (owner, read, written) in [(0, bytes, 0), (1, bytes, bytes), (2, bytes, 0)] {
        let dram = system.counters(owner).dram;
        assert_eq!(
            (dram.read_bytes, dram.write_bytes),
            (read, written),
            "owner {owner}"
        );
        assert_eq!(
            dram.row_hits + dram.row_misses + dram.row_conflicts,
            (read + written) / LINE
        );
    }
}

#[test]
fn non_temporal_stores_write_without_reading() {
    let mut system = system();
    let bytes = 1 << 20;
    run(
        &mut system,
        0,
        &[operand(0, AccessKind::NonTemporalStore, 0)],
        bytes / 8,
    );
    system.flush();
    let counters = system.counters(0);
    assert_eq!((counters.dram.read_bytes, counters.dram.write_bytes), (0, bytes));
    assert_eq!(counters.accesses.non_temporal_lines, bytes / 8);
}

#[test]
fn cores_have_private_levels_above_a_shared_one() {
    let mut system = system();
    let bytes = 128 << 10;
    run(&mut system, 0, &[operand(0, AccessKind::Load, 0)], bytes / 8);
    run(&mut system, 1, &[operand(0, AccessKind::Load, 1)], bytes / 8);
    let second = system.counters(1);
    assert_eq!(
        second.levels[2].total_misses(),
        bytes / LINE,
        "the other core's L2 does not help"
    );
    assert_eq!(second.levels[3].total_misses(), 0, "the shared L3 does");
    assert_eq!(second.dram.read_bytes, 0);
}

#[test]
fn cycles_follow_from_what_was_simulated() {
    // DDR4-3200AA on a closed bank, 40 ns to it and back, at 2 GHz.
    let memory_cycles = ((22.0 + 22.0 + 4.0) * 0.625 + 40.0) * 2.0;
    let mut system = system();
    let load = |address, owner| {
        [Operand {
            stride: 0,
            ..operand(address, AccessKind::Load, owner)
        }]
    };
    let cycles = |system: &System, owner, instructions| {
        let timing = system.timing();
        let work = timing.work(Wait::Dependent, &system.counters(owner), instructions);
        timing.cycles(&work, &timing.exposures(std::slice::from_ref(&work))[0])
    };
    run(&mut system, 0, &load(0, 0), 1);
    let found = cycles(&system, 0, 1);
    let alone = found.total() - found.dram_bandwidth;
    assert!((alone - memory_cycles).abs() < 1e-9, "from DRAM: {found:?}");
    // Arrivals at random would make even so few requests wait for each other now and then.
    assert!(found.dram_bandwidth < 0.01 * memory_cycles, "{found:?}");
    run(&mut system, 1, &load(0, 1), 1);
    assert_eq!(cycles(&system, 1, 1).total(), 42.0, "L3 has it");
    run(&mut system, 1, &load(0, 2), 1);
    let found = cycles(&system, 2, 1);
    assert_eq!((found.total(), found.levels[0]), (5.0, 4.75), "L1 has it");
}

#[test]
fn streams_of_several_cores_end_at_the_bandwidth() {
    let bytes = 8 << 20;
    let text = machine().to_toml().replacen("count = 2", "count = 8", 1);
    let mut system = System::new(&Machine::from_toml("eight", &text).unwrap()).unwrap();
    system.reserve_owners(8);
    for core in 0..8 {
        let load = operand(u64::from(core) << 30, AccessKind::Load, core);
        run(&mut system, core as usize, &[load], bytes / 8);
    }
    // Two instructions per load.
    let timing = system.timing();
    let works: Vec<_> = (0..8)
        .map(|core| timing.work(Wait::Independent, &system.counters(core), bytes / 4))
        .collect();
    let all = timing.exposures(&works);
    // Two channels of DDR4-3200: 51.2 GB/s at 2 GHz.
    let bandwidth_bound = 8.0 * bytes as f64 / 25.6;
    for (work, exposure) in works.iter().zip(&all) {
        let cycles = timing.cycles(work, exposure);
        // What is waited in queues keeps it from being used up.
        let beyond = cycles.total() / bandwidth_bound - 1.0;
        assert!((0.0..0.05).contains(&beyond), "{beyond}: {cycles:?}");
    }
    // One alone is bound by its twelve registers: rows are hits but for one in 128 lines, at 60 to 100 ns.
    let alone = timing.cycles(&works[0], &timing.exposures(&works[..1])[0]);
    let lines = bytes as f64 / LINE as f64;
    let latency_bound = |latency_ns: f64| lines * latency_ns * 2.0 / 12.0;
    let hit_ns = (22.0 + 4.0) * 0.625 + 40.0;
    let unloaded = alone.total() - alone.dram_bandwidth;
    assert!(unloaded > latency_bound(hit_ns) && unloaded < latency_bound(hit_ns + 5.0));
    assert!(alone.dram_bandwidth < 0.1 * alone.total(), "{alone:?}");
}

#[test]
fn runs_can_be_checked_against_their_accesses() {
    let mut system = system();
    system.check_runs().unwrap();
    assert!(system.caches().simulates_runs());
    let bytes = 4 << 20;
    let copy = [
        operand(0, AccessKind::Load, 0),
        operand((1 << 30) + 72, AccessKind::Store, 1),
    ];
    run(&mut system, 0, &copy, bytes / 8);
    run(&mut system, 1, &copy, bytes / 16);
    system.flush();
    assert_eq!(system.disagreement(), None);
}
