//! The fast path against access by access: every counter of every owner, what is left in every set, and the lines that
//! memory was asked for.

use memloupe_cachesim::{
    AccessKind, CacheConfig, Caches, Config, Contents, LevelOptions, Memory, Operand, Run, SCATTERED, Scope,
};
use proptest::prelude::*;

const OWNERS: u32 = 6;

/// Requests line by line; their order is not compared.
#[derive(Default)]
struct Requests(Vec<(bool, u64, u32)>);

impl Memory for Requests {
    fn read(&mut self, line_address: u64, lines: u64, owner: u32) {
        self.0
            .extend((0..lines).map(|line| (false, line_address + line * 64, owner)));
    }
    fn write(&mut self, line_address: u64, lines: u64, owner: u32) {
        self.0
            .extend((0..lines).map(|line| (true, line_address + line * 64, owner)));
    }
}

fn level(position: usize, contents: Contents, scope: Scope, sets: u64, ways: u32) -> CacheConfig {
    CacheConfig {
        name: format!("level {position}"),
        contents,
        scope,
        bytes: sets * u64::from(ways) * 64,
        ways,
        options: LevelOptions::default(),
    }
}

/// Machines that the fast path takes: small ones, where everything is pushed out soon, and one of real size.
fn machines() -> impl Strategy<Value = (Config, usize)> {
    use Contents::{Data, Instruction, Unified};
    use Scope::{Private, Shared};
    let small = (
        prop::sample::select(vec![1u32, 2, 3, 4, 6, 8, 12, 16]),
        prop::sample::select(vec![2u32, 5, 8, 16, 17, 20, 32]),
        prop::sample::select(vec![1u32, 3, 12, 17]),
        prop::sample::select(vec![
            (16u64, 32u64, 64u64),
            (32, 32, 48),
            (64, 16, 240),
            (64, 128, 1024),
        ]),
        any::<bool>(),
        1usize..=4,
    )
        .prop_map(|(l1, l2, l3, sets, split, depth)| {
            let mut levels = Vec::new();
            if split {
                levels.push(level(0, Data, Private, sets.0, l1));
                levels.push(level(1, Instruction, Private, 16, 2));
            } else {
                levels.push(level(0, Unified, Private, sets.0, l1));
            }
            if depth > 1 {
                levels.push(level(2, Unified, Private, sets.1, l2));
            }
            if depth > 2 {
                levels.push(level(3, Unified, Shared, sets.2, l3));
            }
            (
                Config {
                    line_bytes: 64,
                    levels,
                    translation: None,
                },
                depth.min(2),
            )
        });
    let real = Just((
        Config {
            line_bytes: 64,
            levels: vec![
                level(0, Data, Private, 64, 12),
                level(1, Instruction, Private, 64, 8),
                level(2, Unified, Private, 1024, 20),
                level(3, Unified, Shared, 32768, 12),
            ],
            translation: None,
        },
        1,
    ));
    prop_oneof![4 => small, 1 => real]
}

#[derive(Clone, Debug)]
struct OwnedRun {
    core: usize,
    fetch: Option<u64>,
    operands: Vec<Operand>,
    iterations: u64,
    scatter: Option<Scatter>,
}

/// Which operands are scattered, and how far.
#[derive(Clone, Copy, Debug)]
struct Scatter {
    mask: u64,
    bytes: u64,
    seed: u64,
}

impl Scatter {
    /// Scatters the operands of a run; returns their addresses.
    fn addresses(self, operands: &mut [Operand], iterations: u64) -> Vec<u64> {
        let mut addresses = Vec::new();
        let mut random = self.seed | 1;
        for _ in 0..iterations {
            for operand in operands
                .iter()
                .zip(0..64)
                .filter(|(_, at)| self.mask >> at & 1 != 0)
                .map(|(it, _)| it)
            {
                random ^= random << 13;
                random ^= random >> 7;
                random ^= random << 17;
                addresses.push(operand.address.wrapping_add(random % self.bytes));
            }
        }
        let scattered = operands
            .iter_mut()
            .zip(0..64)
            .filter(|(_, at)| self.mask >> at & 1 != 0);
        for ((operand, _), first) in scattered.zip(&addresses) {
            (operand.stride, operand.address) = (SCATTERED, *first);
        }
        addresses
    }
}

/// Runs of which some have scattered operands.
fn scattered(runs: impl Strategy<Value = Vec<OwnedRun>>) -> impl Strategy<Value = Vec<OwnedRun>> {
    let mask = prop_oneof![4 => (0u32..9).prop_map(|bit| 1 << bit), 1 => 0u64..512];
    let bytes = prop_oneof![Just(64u64), Just(600), Just(4096), Just(70_000)];
    let scatter = (mask, bytes, any::<u64>()).prop_map(|(mask, bytes, seed)| Scatter { mask, bytes, seed });
    (
        runs,
        prop::collection::vec(prop::option::weighted(0.7, scatter), 1..8),
    )
        .prop_map(|(mut runs, scatter)| {
            for (run, scatter) in runs.iter_mut().zip(scatter.iter().cycle()) {
                run.scatter = *scatter;
            }
            runs
        })
}

fn kinds() -> impl Strategy<Value = AccessKind> {
    use AccessKind::{Load, NonTemporalLoad, NonTemporalStore, Prefetch, ReadModifyWrite, Store};
    prop_oneof![
        12 => Just(Load), 6 => Just(Store), 3 => Just(ReadModifyWrite), 1 => Just(Prefetch), 1 => Just(NonTemporalStore),
        1 => Just(NonTemporalLoad),
    ]
}

const BASES: [u64; 4] = [
    0x10_0000,
    0x5555_5550_0000,
    0x7fff_ff00_0000,
    0xffff_ffff_ff00_0000,
];

/// Operands as loops have them: of a few strides, near to each other or at the same place of different pages.
fn operands() -> impl Strategy<Value = Vec<Operand>> {
    let stride = prop_oneof![
        8 => prop::sample::select(vec![
            0i64, 1, 4, 8, 16, 18, 20, 24, 32, 34, 64, 72, 100, 128, 192, 1536, 1600, 4096, -1, -4, -18, -64, -128, -200,
        ]),
        1 => -300i64..300,
    ];
    let bytes = prop_oneof![
        8 => prop::sample::select(vec![1u32, 2, 4, 8, 16, 32, 64]),
        1 => 0u32..200,
        1 => Just(5000),
    ];
    let place = (0usize..4, 0u64..8, 0u64..64, prop_oneof![Just(0u64), 0u64..64])
        .prop_map(|(base, page, line, offset)| BASES[base] + page * 8192 + line * 64 + offset);
    let operand = (any::<u8>(), place, 0u64..40, stride, bytes, kinds(), 0..OWNERS);
    prop::collection::vec(operand, 1..9).prop_map(|choices| {
        let mut operands: Vec<Operand> = Vec::new();
        for (choice, mut address, step, mut stride, bytes, kind, owner) in choices {
            if let Some(last) = operands.last() {
                if choice % 4 != 0 {
                    stride = last.stride;
                }
                match choice / 4 % 4 {
                    0 => address = last.address + step,
                    1 => address = last.address + u64::from(last.bytes),
                    2 => address = last.address + 4096 * (step % 4),
                    _ => {}
                }
            }
            operands.push(Operand {
                address,
                stride,
                bytes,
                kind,
                owner,
            });
        }
        operands
    })
}

fn runs() -> impl Strategy<Value = Vec<OwnedRun>> {
    let iterations = prop_oneof![3 => Just(1u64), 3 => 0u64..30, 3 => 30u64..300, 1 => 300u64..3000];
    let run = (0usize..2, prop::option::of(0u64..4000), operands(), iterations).prop_map(
        |(core, fetch, operands, iterations)| OwnedRun {
            core,
            fetch,
            operands,
            iterations,
            scatter: None,
        },
    );
    prop::collection::vec(run, 1..40)
}

/// The runs, and each of them again a little further on, as loops in loops have it.
fn nests() -> impl Strategy<Value = Vec<OwnedRun>> {
    (operands(), 1u64..200, 1usize..60, -200i64..2000, runs()).prop_map(
        |(operands, iterations, times, step, others)| {
            let mut runs = Vec::new();
            for time in 0..times {
                let mut operands = operands.clone();
                for (at, operand) in operands.iter_mut().enumerate() {
                    if at % 2 == 0 {
                        operand.address = operand.address.wrapping_add_signed(step * time as i64);
                    }
                }
                runs.push(OwnedRun {
                    core: 0,
                    fetch: Some(64),
                    operands,
                    iterations,
                    scatter: None,
                });
                if let Some(other) = others.get(time / 7).filter(|_| time % 7 == 6) {
                    runs.push(other.clone());
                }
            }
            runs
        },
    )
}

/// Loop nests whose innermost loop is unrolled: a row or a tile that stands, a broadcast that creeps, and rows that pass by.
fn passings() -> impl Strategy<Value = Vec<OwnedRun>> {
    let standing = (
        0u64..128,
        prop_oneof![Just(0u64), 0u64..64],
        1usize..18,
        prop::sample::select(vec![0i64, 0, 0, 4, 8, -4, 20]),
        prop::sample::select(vec![4u32, 32, 64]),
        kinds(),
    );
    let moving = (
        0u64..128,
        prop_oneof![Just(0u64), 0u64..64],
        1usize..18,
        prop::sample::select(vec![
            64i64, 96, 128, 256, 1024, 1536, 1600, 2048, -1024, -64, 4096, 1000,
        ]),
        kinds(),
    );
    let run = (
        prop::collection::vec(standing, 1..4),
        moving,
        1u64..80,
        any::<u64>(),
        0..OWNERS,
    )
        .prop_map(
            |(standing, (line, offset, count, stride, kind), iterations, order, owner)| {
                let row = |base: u64,
                           line: u64,
                           offset: u64,
                           count: usize,
                           stride: i64,
                           bytes: u32,
                           kind,
                           owner| {
                    (0..count as u64).map(move |at| Operand {
                        address: base + line * 64 + offset + at * u64::from(bytes),
                        stride,
                        bytes,
                        kind,
                        owner: (owner + at as u32 % 2) % OWNERS,
                    })
                };
                let mut operands = Vec::new();
                for (at, (line, offset, count, stride, bytes, kind)) in (0u32..).zip(standing) {
                    let base = BASES[0] + u64::from(at) * 65536;
                    operands.extend(row(base, line, offset, count, stride, bytes, kind, at));
                }
                operands.extend(row(BASES[1], line, offset, count, stride, 64, kind, owner));
                // Interleaved as unrolled loops are, in one of many orders.
                operands.sort_by_key(|operand| ((operand.address / 64) ^ order) % 8);
                OwnedRun {
                    core: 0,
                    fetch: None,
                    operands,
                    iterations,
                    scatter: None,
                }
            },
        );
    prop::collection::vec(run, 1..30)
}

fn simulate(caches: &mut Caches, cores: usize, runs: &[OwnedRun]) -> Requests {
    let mut requests = Requests::default();
    for run in runs {
        let mut of_run = run.operands.clone();
        let scattered = run
            .scatter
            .map_or_else(Vec::new, |scatter| scatter.addresses(&mut of_run, run.iterations));
        let mut operands = Vec::new();
        operands.extend(run.fetch.map(|address| Operand {
            address,
            stride: 0,
            bytes: 100,
            kind: AccessKind::Fetch,
            owner: 0,
        }));
        operands.extend(of_run);
        let run_ = Run {
            operands: &operands,
            iterations: run.iterations,
            scattered: &scattered,
        };
        caches.run(run.core % cores, run_, &mut requests);
    }
    requests.0.sort_unstable();
    requests
}

fn pair(config: &Config, cores: usize) -> [Caches; 2] {
    let mut both = [
        Caches::new(config, cores).unwrap(),
        Caches::access_by_access(config, cores).unwrap(),
    ];
    both.iter_mut()
        .for_each(|caches| caches.reserve_owners(OWNERS as usize));
    assert!(both[0].simulates_runs() && !both[1].simulates_runs());
    both
}

/// The first run after which there is a difference, for the message of a failure.
fn first_difference(config: &Config, cores: usize, runs: &[OwnedRun]) -> Option<String> {
    let [mut fast, mut slow] = pair(config, cores);
    runs.iter().find_map(|run| {
        simulate(&mut fast, cores, std::slice::from_ref(run));
        simulate(&mut slow, cores, std::slice::from_ref(run));
        let difference = fast.difference(&slow)?;
        Some(format!("{difference}\nafter {run:?}"))
    })
}

fn check(config: &Config, cores: usize, runs: &[OwnedRun]) -> Result<(), TestCaseError> {
    let [mut fast, mut slow] = pair(config, cores);
    // To the middle, a flush, and on to the end.
    for part in [&runs[..runs.len() / 2], &runs[runs.len() / 2..]] {
        let requests = simulate(&mut fast, cores, part);
        let expected = simulate(&mut slow, cores, part);
        if let Some(difference) = fast.difference(&slow) {
            let first = first_difference(config, cores, runs).unwrap_or(difference);
            return Err(TestCaseError::fail(first));
        }
        prop_assert_eq!(requests.0, expected.0);
        let (mut written, mut expected) = (Requests::default(), Requests::default());
        fast.flush(&mut written);
        slow.flush(&mut expected);
        prop_assert_eq!(written.0, expected.0);
        prop_assert_eq!(fast.difference(&slow), None);
    }
    Ok(())
}

/// Blocks that are fetched again and again, some of them larger than the cache.
#[test]
fn repeated_fetches_are_their_accesses() {
    let config = Config {
        line_bytes: 64,
        levels: vec![
            level(0, Contents::Data, Scope::Private, 16, 2),
            level(1, Contents::Instruction, Scope::Private, 16, 2),
            level(2, Contents::Unified, Scope::Shared, 64, 4),
        ],
        translation: None,
    };
    let [mut fast, mut slow] = pair(&config, 1);
    let mut random = 9u64;
    let mut next = |below: u64| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random % below
    };
    let mut code = (0, 0);
    for _ in 0..40 {
        let mut operands = Vec::new();
        for _ in 0..100 {
            if next(3) == 0 {
                code = (next(6) * 700, [20, 64, 300, 1024, 1100, 2500][next(6) as usize]);
            }
            operands.push(Operand {
                address: code.0,
                stride: 0,
                bytes: code.1,
                kind: AccessKind::Fetch,
                owner: next(u64::from(OWNERS)) as u32,
            });
            operands.push(Operand {
                address: 1 << 20 | next(1 << 12),
                stride: 0,
                bytes: 8,
                kind: AccessKind::Store,
                owner: next(u64::from(OWNERS)) as u32,
            });
        }
        let block = |operands| Run {
            operands,
            iterations: 1,
            scattered: &[],
        };
        let again = |operands| Run {
            operands,
            iterations: 2,
            scattered: &[],
        };
        let batch = [
            block(&operands[..150]),
            again(&operands[150..151]),
            block(&operands[150..]),
        ];
        let (mut requests, mut expected) = (Requests::default(), Requests::default());
        fast.runs(0, batch, &mut requests);
        slow.runs(0, batch, &mut expected);
        assert_eq!(fast.difference(&slow), None);
        assert_eq!(requests.0, expected.0);
    }
}

/// More regions than tags can tell apart, in the middle of a batch in which misses are often: the slow path takes over.
#[test]
fn a_batch_that_leaves_the_fast_path_is_its_accesses() {
    let config = Config {
        line_bytes: 64,
        levels: vec![
            level(0, Contents::Data, Scope::Private, 16, 2),
            level(1, Contents::Unified, Scope::Shared, 64, 4),
        ],
        translation: None,
    };
    let [mut fast, mut slow] = pair(&config, 1);
    let mut random = 7u64;
    let mut next = |below: u64| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random % below
    };
    for regions in [2, 2, 200] {
        let blocks: Vec<[Operand; 2]> = (0..500)
            .map(|at| {
                [AccessKind::Load, AccessKind::Store].map(|kind| Operand {
                    // Region after region, so that the batch is under way when there is one too many.
                    address: (at * regions / 500) << 36 | next(100) << 6,
                    stride: 0,
                    bytes: 8,
                    kind,
                    owner: next(u64::from(OWNERS)) as u32,
                })
            })
            .collect();
        let batch = || {
            let block = |operands| Run {
                operands,
                iterations: 1,
                scattered: &[],
            };
            blocks.iter().map(move |operands| block(operands.as_slice()))
        };
        let (mut requests, mut expected) = (Requests::default(), Requests::default());
        fast.runs(0, batch(), &mut requests);
        slow.runs(0, batch(), &mut expected);
        assert_eq!(fast.difference(&slow), None);
        assert_eq!(requests.0, expected.0);
        assert_eq!(fast.simulates_runs(), regions == 2);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, max_shrink_iters: 500, ..ProptestConfig::default() })]

    #[test]
    fn runs_are_their_accesses((config, cores) in machines(), runs in runs()) {
        check(&config, cores, &runs)?;
    }

    #[test]
    fn nested_loops_are_their_accesses((config, cores) in machines(), runs in nests()) {
        check(&config, cores, &runs)?;
    }

    #[test]
    fn what_passes_by_is_its_accesses((config, cores) in machines(), runs in passings()) {
        check(&config, cores, &runs)?;
    }

    #[test]
    fn scattered_operands_are_their_accesses((config, cores) in machines(), runs in scattered(runs())) {
        check(&config, cores, &runs)?;
    }

    #[test]
    fn scattered_operands_in_nested_loops_are_their_accesses((config, cores) in machines(), runs in scattered(nests())) {
        check(&config, cores, &runs)?;
    }

    #[test]
    fn scattered_operands_among_what_passes_by_are_their_accesses(
        (config, cores) in machines(), runs in scattered(passings()),
    ) {
        check(&config, cores, &runs)?;
    }
}
