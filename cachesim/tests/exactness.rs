//! Random machines and runs against the list-based reference: every counter, every request to memory in its order,
//! and what is left in the caches.

mod reference;

use std::cmp::Ordering;
use std::collections::HashMap;

use memloupe_cachesim::{
    AccessKind, CacheConfig, Caches, Config, Contents, LevelOptions, Memory, Operand, Run, Scope,
};
use proptest::prelude::*;
use reference::{Reference, Trace};

const OWNERS: u32 = 4;

struct Recorder(Trace);

impl Memory for Recorder {
    fn read(&mut self, line_address: u64, lines: u64, owner: u32) {
        assert_eq!(lines, 1);
        self.0.push((false, line_address, owner));
    }
    fn write(&mut self, line_address: u64, lines: u64, owner: u32) {
        assert_eq!(lines, 1);
        self.0.push((true, line_address, owner));
    }
}

type OwnedRun = (usize, Vec<Operand>, u64);

/// Levels as they may follow each other: split ones first, private ones before shared ones.
fn machines() -> impl Strategy<Value = (Config, usize)> {
    let level = (
        proptest::sample::select(vec![1u32, 2, 3, 4, 5, 8, 12, 16, 20]),
        prop_oneof![Just(1u64), Just(2), Just(4), Just(8), 1u64..=9],
    );
    (
        proptest::collection::vec(level, 2..=4),
        any::<(bool, bool)>(),
        0usize..=4,
        prop_oneof![Just(8u32), Just(16), Just(64)],
        1usize..=4,
    )
        .prop_map(|(sizes, (split, clustered), first_shared, line_bytes, cores)| {
            let levels = sizes
                .iter()
                .enumerate()
                .map(|(position, &(ways, sets))| CacheConfig {
                    name: format!("level {position}"),
                    contents: match (split, position) {
                        (true, 0) => Contents::Data,
                        (true, 1) => Contents::Instruction,
                        _ => Contents::Unified,
                    },
                    scope: match position.cmp(&first_shared) {
                        Ordering::Less => Scope::Private,
                        Ordering::Equal if clustered => Scope::Cluster(2),
                        _ => Scope::Shared,
                    },
                    bytes: u64::from(ways) * sets * u64::from(line_bytes),
                    ways,
                    options: LevelOptions::default(),
                });
            let mut levels: Vec<_> = levels.collect();
            if split && sizes.len() == 2 && sizes[1].0 % 2 == 0 {
                levels.pop(); // a lone data cache: fetches are not simulated
            }
            (
                Config {
                    line_bytes,
                    levels,
                    translation: None,
                },
                cores,
            )
        })
}

fn operands() -> impl Strategy<Value = Operand> {
    (
        prop_oneof![9 => 0u64..4096, 1 => (u64::MAX - 4096)..=u64::MAX],
        prop_oneof![
            4 => proptest::sample::select(vec![0i64, 1, 2, 4, 8, 16, 18, 64, -1, -4, -8, -16, 100, 512]),
            1 => -300i64..300,
            1 => -(1i64 << 40)..1 << 40,
        ],
        prop_oneof![4 => proptest::sample::select(vec![0u32, 1, 4, 8, 16]), 1 => 0u32..200],
        proptest::sample::select(AccessKind::ALL.to_vec()),
        0..OWNERS,
    )
        .prop_map(|(address, stride, bytes, kind, owner)| Operand {
            address,
            stride,
            bytes,
            kind,
            owner,
        })
}

fn runs() -> impl Strategy<Value = Vec<OwnedRun>> {
    let iterations = prop_oneof![Just(1u64), 0u64..60];
    proptest::collection::vec(
        (0usize..4, proptest::collection::vec(operands(), 0..6), iterations),
        1..60,
    )
}

fn assert_equal(caches: &Caches, reference: &Reference, trace: &Trace, levels: usize) {
    assert_eq!(trace, &reference.trace);
    for owner in 0..OWNERS {
        for (level, counters) in caches.ledger().levels(owner).iter().enumerate() {
            let expected = reference.levels.get(&(owner, level)).copied().unwrap_or_default();
            assert_eq!(*counters, expected, "owner {owner}, level {level}");
        }
        let expected = reference.owners.get(&owner).copied().unwrap_or_default();
        assert_eq!(*caches.ledger().owner(owner), expected, "owner {owner}");
    }
    for level in 0..levels {
        assert_eq!(caches.resident_lines(level), reference.resident(level));
    }
    let dirty: Vec<_> = caches
        .dirty_lines()
        .map(|d| (d.level, d.core, d.address, d.owner))
        .collect();
    assert_eq!(in_order(dirty), in_order(reference.dirty()));
}

fn in_order<T: Ord>(mut list: Vec<T>) -> Vec<T> {
    list.sort_unstable();
    list
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn equals_the_reference((config, cores) in machines(), runs in runs(), general: bool) {
        let mut caches =
            if general { Caches::on_general_path(&config, cores) } else { Caches::new(&config, cores) }.unwrap();
        caches.reserve_owners(OWNERS as usize);
        let mut reference = Reference::new(&config, cores);
        let mut memory = Recorder(Vec::new());
        for (core, operands, iterations) in &runs {
            let run = Run { operands, iterations: *iterations, scattered: &[] };
            caches.run(core % cores, run, &mut memory);
            reference.run(core % cores, run);
        }
        assert_equal(&caches, &reference, &memory.0, config.levels.len());
        caches.flush(&mut memory);
        reference.flush();
        if !general {
            // The general path flushes a set in the order of its ways, not of their last use.
            assert_equal(&caches, &reference, &memory.0, config.levels.len());
        }
        prop_assert_eq!(caches.dirty_lines().count(), 0);
    }

    #[test]
    fn counters_conserve((config, cores) in machines(), runs in runs()) {
        let mut caches = Caches::new(&config, cores).unwrap();
        caches.reserve_owners(OWNERS as usize);
        let mut reference = Reference::new(&config, cores);
        let mut memory = Recorder(Vec::new());
        for (core, operands, iterations) in &runs {
            let run = Run { operands, iterations: *iterations, scattered: &[] };
            caches.run(core % cores, run, &mut memory);
            reference.run(core % cores, run);
        }
        let total = |level: usize, of: fn(&memloupe_cachesim::LevelCounters) -> u64| -> u64 {
            (0..OWNERS).map(|owner| of(&caches.ledger().levels(owner)[level])).sum()
        };
        for level in 0..config.levels.len() {
            let fills = total(level, |c| c.fills());
            prop_assert_eq!(fills - reference.evictions(level), caches.resident_lines(level));
            prop_assert!(total(level, |c| c.total_misses()) <= total(level, |c| c.line_accesses()));
        }
        // What misses at the end of a path is what memory reads; what misses before it is asked of the next level.
        let mut asked: HashMap<usize, u64> = HashMap::new();
        for (position, level) in config.levels.iter().enumerate() {
            let next = if level.contents == Contents::Data { config.data_path() } else { config.fetch_path() }
                .into_iter().find(|&l| l > position).unwrap_or(usize::MAX);
            *asked.entry(next).or_default() += total(position, |c| c.total_misses());
        }
        let reads = memory.0.iter().filter(|(write, ..)| !write).count() as u64;
        prop_assert_eq!(asked.remove(&usize::MAX).unwrap_or(0) + reference.streamed_lines, reads);
        for (level, misses) in asked {
            prop_assert_eq!(total(level, |c| c.line_accesses()), misses);
        }
    }

    #[test]
    fn each_dirty_line_is_written_once(
        (config, cores) in machines(),
        accesses in proptest::collection::vec((0u64..300, any::<bool>()), 1..600),
    ) {
        // Every line is stored to at most once, by the core that alone uses it, and loaded any number of times.
        let mut caches = Caches::new(&config, cores).unwrap();
        caches.reserve_owners(OWNERS as usize);
        let mut memory = Recorder(Vec::new());
        let mut written = HashMap::new();
        for (line, store) in accesses {
            let owner = (line % u64::from(OWNERS)) as u32;
            let store = store && written.insert(line, owner).is_none();
            let kind = if store { AccessKind::Store } else { AccessKind::Load };
            let address = line * u64::from(config.line_bytes);
            // A load must not be charged with the write: it has another owner.
            let owner = if store { owner } else { (owner + 1) % OWNERS };
            let operands = [Operand { address, stride: 0, bytes: 8, kind, owner }];
            caches.run(line as usize % cores, Run { operands: &operands, iterations: 1, scattered: &[] }, &mut memory);
        }
        caches.flush(&mut memory);
        let mut writes: Vec<(u64, u32)> =
            memory.0.iter().filter(|(write, ..)| *write).map(|&(_, address, owner)| (address, owner)).collect();
        writes.sort_unstable();
        let mut expected: Vec<(u64, u32)> =
            written.iter().map(|(&line, &owner)| (line * u64::from(config.line_bytes), owner)).collect();
        expected.sort_unstable();
        prop_assert_eq!(writes, expected);
    }
}
