//! Whatever a level may do beyond the plain cache: no configuration that validates panics, counters conserve, inclusion
//! and exclusion hold, directories keep their protocol, and what was stored reaches memory. `-- --ignored` goes on until it
//! finds something that does not hold.

use std::collections::HashMap;

use memloupe_cachesim::{
    AccessKind, CacheConfig, Caches, Config, Contents, Inclusion, LevelDetail, LevelOptions, Memory, Operand,
    OwnerTraits, PageSize, Partition, PartitionBy, Protocol, Run, Scope, TlbConfig, TranslationConfig, Walks,
    WritePolicy, prefetch, replacement,
};
use proptest::prelude::*;
use proptest::test_runner::{TestCaseResult, TestRunner};

const OWNERS: u32 = 4;
const LINES: u64 = 200;

#[derive(Default)]
struct Recorder {
    reads: u64,
    /// By line address: how often it was written, and the owner of the last write.
    writes: HashMap<u64, (u64, u32)>,
}

impl Memory for Recorder {
    fn read(&mut self, _line_address: u64, lines: u64, _owner: u32) {
        self.reads += lines;
    }
    fn write(&mut self, line_address: u64, lines: u64, owner: u32) {
        for line in 0..lines {
            let write = self.writes.entry(line_address + line * 64).or_default();
            *write = (write.0 + 1, owner);
        }
    }
}

fn options(ways: u32) -> impl Strategy<Value = LevelOptions> {
    let mask = u64::MAX >> (64 - ways);
    let partition =
        (any::<bool>(), proptest::collection::vec(any::<u64>(), 1..3)).prop_map(move |(by_class, masks)| {
            Partition {
                by: if by_class {
                    PartitionBy::Class
                } else {
                    PartitionBy::Core
                },
                masks: masks.into_iter().map(|bits| bits & mask).collect(),
            }
        });
    let shape = (
        proptest::sample::select(replacement::BUILTIN.iter().collect::<Vec<_>>()),
        proptest::sample::select(WritePolicy::ALL.to_vec()),
        proptest::sample::select(Inclusion::ALL.to_vec()),
        prop_oneof![Just(1u32), Just(1), Just(2), Just(4)],
        prop_oneof![Just(1u32), Just(1), Just(2), Just(3)],
    );
    let buffers = (
        prop_oneof![Just(0u32), 1u32..4],
        prop_oneof![Just(0u32), 1u32..4],
        prop_oneof![Just(0u32), 1u32..4],
        any::<(bool, bool, bool)>(),
        proptest::option::weighted(0.3, partition),
        proptest::option::weighted(
            0.4,
            proptest::sample::select(prefetch::BUILTIN.iter().collect::<Vec<_>>()),
        ),
        any::<u64>(),
    );
    (shape, buffers).prop_map(
        |(
            (replacement, write, inclusion, sectors, slices),
            (
                victim_lines,
                mshrs,
                write_buffer_lines,
                (write_allocate, classify, opt_bound),
                partition,
                prefetcher,
                seed,
            ),
        )| LevelOptions {
            replacement,
            seed,
            write,
            write_allocate,
            inclusion,
            sectors,
            slices,
            victim_lines,
            mshrs,
            miss_window_accesses: mshrs * 10,
            write_buffer_lines,
            prefetcher,
            partition,
            coherence: None,
            classify,
            opt_bound,
        },
    )
}

fn level() -> impl Strategy<Value = (u32, u64, LevelOptions)> {
    (1u32..=6, 1u64..=4).prop_flat_map(|(ways, sets)| (Just(ways), Just(sets), options(ways)))
}

/// Pages hold 64 lines: a few TLB entries do for some of what is touched, not for all.
fn translation() -> impl Strategy<Value = TranslationConfig> {
    let tlb = || {
        (1u32..=2, 1u32..=2).prop_map(|(ways, sets)| TlbConfig {
            entries: ways * sets,
            ways,
        })
    };
    let some = || {
        proptest::option::of((1u32..=2, 1u32..=2)).prop_map(|shape| {
            shape.map(|(ways, sets)| TlbConfig {
                entries: ways * sets,
                ways,
            })
        })
    };
    (tlb(), some(), some(), proptest::array::uniform3(0u32..3)).prop_map(
        |(data, instruction, unified, walk_cache_entries)| TranslationConfig {
            page: PageSize::Base,
            data,
            instruction,
            unified,
            walks: Walks::Cached,
            walk_cache_entries,
        },
    )
}

/// Two to four levels; some combinations do not validate and are mended or left out.
fn machines() -> impl Strategy<Value = (Config, usize)> {
    (
        proptest::collection::vec(level(), 2..=4),
        any::<(bool, bool)>(),
        0usize..=4,
        1usize..=4,
        proptest::option::weighted(0.4, translation()),
        proptest::option::weighted(0.6, proptest::sample::select(Protocol::ALL.to_vec())),
    )
        .prop_map(
            |(sizes, (split, clustered), first_shared, cores, translation, protocol)| {
                let line_bytes = 64;
                let levels = sizes
                    .into_iter()
                    .enumerate()
                    .map(|(position, (ways, sets, mut options))| {
                        let contents = match (split, position) {
                            (true, 0) => Contents::Data,
                            (true, 1) => Contents::Instruction,
                            _ => Contents::Unified,
                        };
                        if position == 0 || contents != Contents::Unified {
                            options.inclusion = Inclusion::Nine;
                        }
                        if position > 0
                            && position == first_shared
                            && !clustered
                            && contents == Contents::Unified
                        {
                            options.coherence = protocol;
                        }
                        if options.inclusion == Inclusion::Inclusive
                            && let Some(partition) = &mut options.partition
                        {
                            partition
                                .masks
                                .iter_mut()
                                .filter(|mask| **mask == 0)
                                .for_each(|mask| *mask = 1);
                        }
                        CacheConfig {
                            name: format!("level {position}"),
                            contents,
                            scope: match position.cmp(&first_shared) {
                                std::cmp::Ordering::Less => Scope::Private,
                                std::cmp::Ordering::Equal if clustered => Scope::Cluster(2),
                                _ => Scope::Shared,
                            },
                            bytes: u64::from(ways * options.sectors * options.slices) * sets * line_bytes,
                            ways,
                            options,
                        }
                    });
                (
                    Config {
                        line_bytes: 64,
                        levels: levels.collect(),
                        translation,
                    },
                    cores,
                )
            },
        )
}

type Access = (usize, u64, AccessKind, u32);

fn accesses() -> impl Strategy<Value = Vec<Access>> {
    let kind = proptest::sample::select(AccessKind::ALL.to_vec());
    proptest::collection::vec((0usize..4, 0..LINES, kind, 0..OWNERS), 1..800)
}

fn new_caches(config: &Config, cores: usize) -> Caches {
    let mut caches = Caches::on_general_path(config, cores).expect("the strategy makes valid configurations");
    caches.reserve_owners(OWNERS as usize);
    for owner in 0..OWNERS {
        let traits = OwnerTraits {
            site: owner * 7,
            object: owner,
            class: (owner % 2) as u8,
        };
        caches.describe_owner(owner, traits);
    }
    caches
}

fn access(caches: &mut Caches, memory: &mut Recorder, (core, line, kind, owner): Access) {
    let operand = Operand {
        address: line * 64,
        stride: 0,
        bytes: 8,
        kind,
        owner,
    };
    let core = core % caches.cores();
    caches.run(
        core,
        Run {
            operands: &[operand],
            iterations: 1,
            scattered: &[],
        },
        memory,
    );
}

fn total(caches: &Caches, level: usize, of: impl Fn(&LevelDetail) -> u64) -> u64 {
    (0..OWNERS)
        .map(|owner| of(&caches.details(owner).expect("the general path has details")[level]))
        .sum()
}

/// Inclusion and exclusion, for every line that there may be.
fn check_contents(config: &Config, caches: &Caches, cores: usize) -> TestCaseResult {
    let per_instance = |scope: Scope| match scope {
        Scope::Private => 1,
        Scope::Cluster(size) => (size as usize).min(cores),
        Scope::Shared => cores,
    };
    for line in 0..LINES {
        let holders = caches.holders(line * 64);
        for inner in &holders {
            for (level, outer) in config.levels.iter().enumerate().skip(inner.level + 1) {
                if outer.contents != Contents::Unified {
                    continue;
                }
                let size = per_instance(outer.scope);
                let held = holders
                    .iter()
                    .any(|h| h.level == level && h.core == inner.core / size * size);
                match outer.options.inclusion {
                    Inclusion::Nine => {}
                    Inclusion::Inclusive => {
                        prop_assert!(held, "{line}: in {} but not in {level}", inner.level);
                    }
                    Inclusion::Exclusive => {
                        prop_assert!(!held, "{line}: in {} and in {level}", inner.level);
                    }
                }
            }
        }
    }
    Ok(())
}

fn is_coherent(config: &Config) -> bool {
    config
        .levels
        .iter()
        .any(|level| level.options.coherence.is_some())
}

/// Below a directory one core at most has a line dirty, and with MESI no other then holds it.
fn check_coherence(config: &Config, caches: &Caches) -> TestCaseResult {
    let directory = config
        .levels
        .iter()
        .position(|level| level.options.coherence.is_some());
    let Some(at) = directory else { return Ok(()) };
    for line in 0..LINES {
        let private: Vec<_> = caches
            .holders(line * 64)
            .into_iter()
            .filter(|holder| holder.level < at)
            .collect();
        let Some(dirty) = private.iter().find(|holder| holder.writer.is_some()) else {
            continue;
        };
        let others = || private.iter().filter(|holder| holder.core != dirty.core);
        prop_assert!(
            others().all(|other| other.writer.is_none()),
            "{line} is dirty twice"
        );
        let mesi = config.levels[at].options.coherence == Some(Protocol::Mesi);
        prop_assert!(!mesi || others().count() == 0, "{line} is dirty and shared");
    }
    Ok(())
}

fn contents_and_counters_agree(config: &Config, cores: usize, accesses: &[Access]) -> TestCaseResult {
    let mut caches = new_caches(config, cores);
    let mut memory = Recorder::default();
    for (i, &one) in accesses.iter().enumerate() {
        access(&mut caches, &mut memory, one);
        if i % 50 == 0 {
            check_coherence(config, &caches)?;
            check_contents(config, &caches, cores)?;
        }
    }
    check_contents(config, &caches, cores)?;
    for (level, options) in config.levels.iter().map(|level| &level.options).enumerate() {
        let came = total(&caches, level, |d| d.fills);
        let left = total(&caches, level, |d| d.evictions + d.removals);
        prop_assert_eq!(came - left, caches.resident_lines(level), "level {}", level);
        let mut misses = 0;
        for owner in 0..OWNERS {
            let counters = &caches.ledger().levels(owner)[level];
            for (accesses, misses) in counters.accesses.iter().zip(counters.misses) {
                prop_assert!(misses <= *accesses);
            }
            misses += counters.total_misses();
        }
        if options.classify {
            let classes = total(&caches, level, |d| {
                d.compulsory + d.capacity + d.conflict + d.coherence
            });
            prop_assert_eq!(classes, misses);
        }
        let useful = total(&caches, level, |d| d.prefetches_useful);
        prop_assert_eq!(useful, total(&caches, level, |d| d.prefetch_hits));
        let settled = useful + total(&caches, level, |d| d.prefetches_unused);
        prop_assert!(settled <= total(&caches, level, |d| d.prefetches_issued));
        let optimal = caches.opt_misses(level);
        prop_assert_eq!(optimal.is_some(), options.opt_bound);
        if options.write == WritePolicy::Through {
            prop_assert!(caches.dirty_lines().all(|dirty| dirty.level != level));
        }
    }
    caches.flush(&mut memory);
    prop_assert_eq!(caches.dirty_lines().count(), 0);
    Ok(())
}

/// One core, or coherent ones, so that the order of stores to a line is that of the program.
fn the_last_store_reaches_memory_last(config: &Config, cores: usize, accesses: &[Access]) -> TestCaseResult {
    let mut caches = new_caches(config, if is_coherent(config) { cores } else { 1 });
    let mut memory = Recorder::default();
    let mut last_writer = HashMap::new();
    for &(core, line, mut kind, owner) in accesses {
        if kind == AccessKind::NonTemporalStore {
            // The write-combining buffer does not keep it in order with other stores.
            kind = AccessKind::Store;
        }
        access(&mut caches, &mut memory, (core, line, kind, owner));
        if matches!(kind, AccessKind::Store | AccessKind::ReadModifyWrite) {
            last_writer.insert(line * 64, owner);
        }
    }
    caches.flush(&mut memory);
    let reached: HashMap<u64, u32> = memory
        .writes
        .iter()
        .map(|(&address, &(_, owner))| (address, owner))
        .collect();
    prop_assert_eq!(reached, last_writer);
    Ok(())
}

/// Write-back and allocation everywhere: a line that is stored to once is written once.
fn each_dirty_line_is_written_once(config: &Config, cores: usize, accesses: &[Access]) -> TestCaseResult {
    let mut config = config.clone();
    for level in &mut config.levels {
        level.options.write = WritePolicy::Back;
        level.options.write_allocate = true;
        level.options.partition = None;
    }
    let mut caches = new_caches(&config, cores);
    let mut memory = Recorder::default();
    let mut written = HashMap::new();
    for &(core, line, kind, _) in accesses {
        let owner = (line % u64::from(OWNERS)) as u32;
        let store = kind == AccessKind::Store && written.insert(line * 64, (1, owner)).is_none();
        let kind = if store {
            AccessKind::Store
        } else {
            AccessKind::Load
        };
        let owner = if store { owner } else { (owner + 1) % OWNERS };
        // Without coherence a line belongs to one core: copies elsewhere would be stale.
        let core = if is_coherent(&config) { core } else { line as usize };
        access(&mut caches, &mut memory, (core, line, kind, owner));
    }
    caches.flush(&mut memory);
    prop_assert_eq!(memory.writes, written);
    Ok(())
}

/// Runs of any shape anywhere: nothing panics, and each line that came in is there or left.
fn any_run_is_simulated(config: &Config, cores: usize, loops: &[Loop]) -> TestCaseResult {
    let mut caches = Caches::new(config, cores).expect("the strategy makes valid configurations");
    caches.reserve_owners(OWNERS as usize);
    let mut memory = Recorder::default();
    for (core, operands, iterations) in loops {
        let run = Run {
            operands,
            iterations: *iterations,
            scattered: &[],
        };
        caches.run(core % cores, run, &mut memory);
    }
    for level in 0..config.levels.len() {
        for owner in 0..OWNERS {
            let counters = &caches.ledger().levels(owner)[level];
            for (accesses, misses) in counters.accesses.iter().zip(counters.misses) {
                prop_assert!(misses <= *accesses);
            }
        }
        if caches.details(0).is_some() {
            let came = total(&caches, level, |d| d.fills);
            let left = total(&caches, level, |d| d.evictions + d.removals);
            prop_assert_eq!(came - left, caches.resident_lines(level), "level {}", level);
        }
    }
    caches.flush(&mut memory);
    prop_assert_eq!(caches.dirty_lines().count(), 0);
    Ok(())
}

type Loop = (usize, Vec<Operand>, u64);

fn loops() -> impl Strategy<Value = Vec<Loop>> {
    let address = prop_oneof![
        0..LINES * 64,
        0..LINES * 64,
        any::<u64>(),
        u64::MAX - 5000..=u64::MAX
    ];
    let stride = prop_oneof![Just(0i64), -200i64..200, any::<i64>()];
    let bytes = prop_oneof![Just(0u32), 1u32..=64, 1u32..5000];
    let kind = proptest::sample::select(AccessKind::ALL.to_vec());
    let operand =
        (address, stride, bytes, kind, 0..OWNERS).prop_map(|(address, stride, bytes, kind, owner)| Operand {
            address,
            stride,
            bytes,
            kind,
            owner,
        });
    let operands = proptest::collection::vec(operand, 1..4);
    proptest::collection::vec((0usize..4, operands, 0u64..60), 1..12)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(800))]

    #[test]
    fn accesses_to_any_machine((config, cores) in machines(), accesses in accesses()) {
        contents_and_counters_agree(&config, cores, &accesses)?;
        the_last_store_reaches_memory_last(&config, cores, &accesses)?;
        each_dirty_line_is_written_once(&config, cores, &accesses)?;
    }

    #[test]
    fn runs_on_any_machine((config, cores) in machines(), loops in loops()) {
        any_run_is_simulated(&config, cores, &loops)?;
    }
}

#[test]
#[ignore = "goes on until it finds something"]
fn accesses_to_any_machine_for_ever() {
    let mut runner = TestRunner::new(ProptestConfig::with_cases(u32::MAX));
    let cases = (machines(), accesses(), loops());
    let result = runner.run(&cases, |((config, cores), accesses, loops)| {
        contents_and_counters_agree(&config, cores, &accesses)?;
        the_last_store_reaches_memory_last(&config, cores, &accesses)?;
        each_dirty_line_is_written_once(&config, cores, &accesses)?;
        any_run_is_simulated(&config, cores, &loops)
    });
    if let Err(error) = result {
        panic!("{error}");
    }
}
