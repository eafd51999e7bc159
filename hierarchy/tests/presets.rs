//! Every machine that memloupe carries: peak bandwidth against published figures, and a stream in closed form.

use memloupe_cachesim::{AccessKind, Cause, Contents, Operand, Run};
use memloupe_hierarchy::{Machine, System};

/// Peak memory bandwidth of the machine's memory as its maker states it, in GB/s: a channel of the wrong width shows.
const PEAKS: &[(&str, f64)] = &[
    ("desktop", 51.2),
    ("ice-lake-sp", 204.8),
    ("embedded", 19.2),
    ("sapphire-rapids", 307.2),
    ("sapphire-rapids-hbm", 1638.4),
    ("zen4-server", 460.8),
    // With 6400 MT/s; with 6000 it is 576.
    ("zen5-server", 614.4),
    // Grace with 480 GB: 512 at 8000 MT/s.
    ("neoverse-v2", 546.1),
    ("apple-m1", 68.3),
    ("hbm3-accelerator", 6553.6),
    ("damov-host", 256.0),
    ("thesis-host", 25.6),
    // Seven of eight stacks, and 64 bits at 1333 MT/s.
    ("flash-accelerator", 5734.4),
    ("mram-embedded", 10.664),
    // Its DDR5; the expander is checked in tests/tiers.rs.
    ("cxl-server", 307.2),
];

#[test]
fn peaks_are_those_of_the_makers() {
    for (name, published) in PEAKS {
        let machine = Machine::load(name).unwrap();
        let peak = machine
            .memory
            .peak_bytes_per_second(machine.line_bytes())
            .unwrap()
            / 1e9;
        assert!((peak / published - 1.0).abs() < 0.001, "{name}: {peak}");
    }
    for preset in Machine::presets() {
        let is_known = preset.name == "host" || PEAKS.iter().any(|(name, _)| *name == preset.name);
        assert!(is_known, "{}: no peak to hold it against", preset.name);
    }
}

#[test]
fn a_stream_is_read_once_and_then_found_in_the_last_level() {
    for preset in Machine::presets() {
        let name = preset.name;
        let machine = Machine::load(name).unwrap();
        let mut system = System::new(&machine).unwrap();
        system.reserve_owners(2);
        let data: Vec<usize> = (0..machine.caches.len())
            .filter(|&level| machine.caches[level].contents != Contents::Instruction)
            .collect();
        let line = u64::from(machine.line_bytes());
        let last = &machine.caches[*data.last().unwrap()];
        let bytes = (last.size_bytes / 2).min(4 << 20) / 4096 * 4096;
        for owner in 0..2 {
            let load = Operand {
                address: 1 << 32,
                stride: 8,
                bytes: 8,
                kind: AccessKind::Load,
                owner,
            };
            let core = machine.core.count as usize - 1;
            system.run(
                core,
                Run {
                    operands: &[load],
                    iterations: bytes / 8,
                    scattered: &[],
                },
            );
        }
        let (cold, again) = (system.counters(0), system.counters(1));
        assert_eq!(
            (cold.dram.read_bytes, cold.dram.write_bytes),
            (bytes, 0),
            "{name}"
        );
        let rows = cold.dram.row_hits + cold.dram.row_misses + cold.dram.row_conflicts;
        assert_eq!(rows, bytes / line, "{name}");
        for &level in &data {
            let misses = cold.levels[level].misses[Cause::Read as usize];
            assert_eq!(misses, bytes / line, "{name}: level {level}");
            // Twice what a level holds, under LRU, is never found there again.
            let is_larger = machine.caches[level].size_bytes * 2 <= bytes;
            let misses_again = again.levels[level].misses[Cause::Read as usize];
            if is_larger {
                assert_eq!(misses_again, bytes / line, "{name}: level {level} again");
            }
        }
        assert_eq!(
            again.dram.read_bytes, 0,
            "{name}: half of the last level stays in it"
        );
    }
}

#[test]
fn every_value_says_where_it_comes_from() {
    for preset in Machine::presets() {
        let machine = Machine::load(preset.name).unwrap();
        assert!(!machine.source.is_empty() && !machine.description.is_empty());
        if preset.name == "host" {
            continue;
        }
        // A number without a comment is one that nobody vouches for; lines of 64 B and a single rank are no claims.
        for line in preset.toml.lines().filter(|line| !line.starts_with('#')) {
            let is_number = line.split_once(" = ").is_some_and(|(key, value)| {
                ![
                    "level",
                    "line",
                    "contents",
                    "scope",
                    "description",
                    "source",
                    "extends",
                    "name",
                    "policy",
                ]
                .contains(&key)
                    && value != "1"
            });
            assert!(!is_number || line.contains(" # "), "{}: {line}", preset.name);
        }
    }
}
