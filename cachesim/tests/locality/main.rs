//! Locality against the definitions taken literally, and against fully associative caches.

mod naive;

use std::collections::HashSet;

use memloupe_cachesim::locality::{Findings, Histogram, Locality, Options, Reuse, ReuseDistance};
use memloupe_cachesim::{
    AccessKind, CacheConfig, Caches, Config, Contents, Memory, Operand, Run, SCATTERED, Scope,
};
use naive::{Access, OwnedRun};
use proptest::prelude::*;

const OWNERS: u32 = 6;
const CAPACITIES: [u64; 2] = [3, 20];

fn operands() -> impl Strategy<Value = Operand> {
    (
        1u64 << 20..(1 << 20) + 6000,
        prop_oneof![
            4 => prop::sample::select(vec![0i64, 1, 4, 8, 18, 64, -4, -8, -64, 200]),
            1 => -300i64..300,
        ],
        prop::sample::select(vec![0u32, 1, 4, 8, 16, 64, 150]),
        prop::sample::select(AccessKind::ALL.to_vec()),
    )
        .prop_map(|(address, stride, bytes, kind)| Operand {
            address,
            stride,
            bytes,
            kind,
            owner: 0,
        })
}

/// The operands of a run are sites of their own, so they have different owners.
fn streams() -> impl Strategy<Value = Vec<OwnedRun>> {
    let run = (
        0u32..3,
        prop::collection::vec(operands(), 1..6),
        prop_oneof![Just(1u64), 1u64..80],
        0..OWNERS,
    )
        .prop_map(|(thread, mut operands, iterations, first_owner)| {
            for (operand, position) in operands.iter_mut().zip(first_owner..) {
                operand.owner = position % OWNERS;
            }
            (thread, operands, iterations)
        });
    prop::collection::vec(run, 1..12)
}

fn measure(stream: &[OwnedRun], one_in: u64) -> Findings {
    measure_within(stream, one_in, usize::MAX)
}

fn measure_within(stream: &[OwnedRun], one_in: u64, most_lines: usize) -> Findings {
    let mut locality = Locality::new(&Options {
        one_in,
        most_lines,
        capacities_lines: CAPACITIES.to_vec(),
        ..Options::default()
    });
    (0..OWNERS).for_each(|owner| locality.add_owner(owner, owner));
    for of_thread in stream.chunk_by(|a, b| a.0 == b.0) {
        let runs = of_thread.iter().map(|(_, operands, iterations)| Run {
            operands,
            iterations: *iterations,
            scattered: &[],
        });
        locality.runs(of_thread[0].0, runs);
    }
    locality.finish()
}

/// A table look-up in a loop is what its accesses are one by one.
#[test]
fn scattered_operands_are_their_accesses() {
    let load = |address, stride| Operand {
        address,
        stride,
        bytes: 8,
        kind: AccessKind::Load,
        owner: 1,
    };
    let looked_up = |i: u64| 0x9000 + i * 37 % 61 * 64;
    let scattered: Vec<u64> = (0..500).map(looked_up).collect();
    let options = Options {
        one_in: 1,
        capacities_lines: CAPACITIES.to_vec(),
        ..Options::default()
    };
    let findings = |each: &dyn Fn(&mut Locality)| {
        let mut locality = Locality::new(&options);
        (0..OWNERS).for_each(|owner| locality.add_owner(owner, owner));
        each(&mut locality);
        format!("{:?}", locality.finish())
    };
    let as_run = findings(&|locality| {
        let run = Run {
            operands: &[load(0x1000, 24), load(scattered[0], SCATTERED)],
            iterations: 500,
            scattered: &scattered,
        };
        locality.runs(0, [run].into_iter());
    });
    let one_by_one = findings(&|locality| {
        for i in 0..500 {
            let run = Run {
                operands: &[load(0x1000 + 24 * i, 0), load(looked_up(i), 0)],
                iterations: 1,
                scattered: &[],
            };
            locality.runs(0, [run].into_iter());
        }
    });
    assert_eq!(as_run, one_by_one);
}

/// Whether a sample follows a line, found out by touching it.
fn follows(one_in: u64, line: u64) -> bool {
    let operand = Operand {
        address: line * 64,
        stride: 0,
        bytes: 1,
        kind: AccessKind::Load,
        owner: 0,
    };
    measure(&[(0, vec![operand], 1)], one_in).lines_followed == 1
}

fn naively(all: &[Access], one_in: u64) -> Vec<memloupe_cachesim::locality::GroupLocality> {
    let lines: HashSet<u64> = all.iter().flat_map(Access::lines).collect();
    let followed: HashSet<u64> = lines.into_iter().filter(|line| follows(one_in, *line)).collect();
    naive::measure(all, OWNERS, &CAPACITIES, one_in, |line| followed.contains(&line))
}

fn sum(found: &Findings) -> Reuse {
    let mut sum = Reuse::default();
    found.groups.iter().for_each(|group| sum += &group.reuse);
    sum
}

#[derive(Default)]
struct Reads(u64);

impl Memory for Reads {
    fn read(&mut self, _line_address: u64, lines: u64, _owner: u32) {
        self.0 += lines;
    }
    fn write(&mut self, _line_address: u64, _lines: u64, _owner: u32) {}
}

/// Misses of a cache of one set, into which every line is fetched that is not in it.
fn fully_associative_misses(all: &[Access], lines: u32) -> u64 {
    let config = Config {
        line_bytes: 64,
        levels: vec![CacheConfig {
            name: "cache".into(),
            contents: Contents::Data,
            scope: Scope::Private,
            bytes: u64::from(lines) * 64,
            ways: lines,
            options: memloupe_cachesim::LevelOptions::default(),
        }],
        translation: None,
    };
    let mut caches = Caches::new(&config, 1).expect("a cache of one set");
    caches.reserve_owners(1);
    let mut reads = Reads::default();
    for access in all {
        let load = Operand {
            address: access.first,
            kind: AccessKind::Load,
            owner: 0,
            ..access.operand
        };
        let run = Run {
            operands: &[load],
            iterations: 1,
            scattered: &[],
        };
        caches.run(0, run, &mut reads);
    }
    reads.0
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn everything_is_as_defined(stream in streams(), one_in in prop_oneof![Just(1u64), 2u64..6]) {
        let mut found = measure(&stream, one_in);
        let all = naive::accesses(&stream);
        prop_assert_eq!(found.accesses, all.len() as u64);
        found.groups.iter_mut().for_each(|group| group.used_bytes.resize(2, Histogram::default()));
        prop_assert_eq!(&found.groups, &naively(&all, one_in));
        prop_assert_eq!(&found.strides, &naive::strides(&all, OWNERS));
    }

    /// Runs are only another way to write accesses.
    #[test]
    fn a_run_is_its_accesses_one_by_one(stream in streams(), one_in in 1u64..4) {
        let single: Vec<OwnedRun> = naive::accesses(&stream)
            .iter()
            .map(|access| (access.thread, vec![Operand { address: access.first, ..access.operand }], 1))
            .collect();
        let mut of_runs = measure(&stream, one_in);
        let mut of_accesses = measure(&single, one_in);
        // A run is of one scope, its accesses here of several.
        of_runs.scores.clear();
        of_accesses.scores.clear();
        prop_assert_eq!(of_runs, of_accesses);
    }

    /// Exact at every size, so each larger cache contains what a smaller one does: the curve never rises.
    #[test]
    fn the_miss_ratio_curve_is_that_of_fully_associative_caches(stream in streams()) {
        let all = naive::accesses(&stream);
        let mut reuse = ReuseDistance::default();
        let touched: Vec<u64> = all.iter().flat_map(Access::lines).collect();
        let mut distances = Vec::new();
        reuse.touch_all(&touched, |distance| distances.push(distance));
        let lines = distances.iter().filter(|distance| distance.is_none()).count() as u64;
        let mut smaller = u64::MAX;
        for size in 1..=lines {
            let misses = distances.iter().filter(|distance| distance.is_none_or(|d| d >= size)).count() as u64;
            prop_assert_eq!(misses, fully_associative_misses(&all, size as u32), "{} lines", size);
            prop_assert!(misses <= smaller);
            smaller = misses;
        }
        let found = measure(&stream, 1);
        let (reuse, line_accesses) = (sum(&found), distances.len() as u64);
        for point in reuse.miss_ratio_curve(line_accesses) {
            let misses = fully_associative_misses(&all, point.lines as u32);
            prop_assert_eq!(reuse.misses(point.lines), misses, "{} lines", point.lines);
            prop_assert_eq!(point.ratio, misses as f64 / line_accesses.max(1) as f64);
        }
    }

    #[test]
    fn footprint_and_working_set_are_those_of_windows_counted_one_by_one(stream in streams()) {
        let found = measure(&stream, 1);
        let reuse = sum(&found);
        let all = naive::accesses(&stream);
        let accesses = all.len() as u64;
        let lines_in = |from: u64, to: u64| {
            let within = &all[from as usize - 1..to as usize];
            within.iter().flat_map(Access::lines).collect::<HashSet<_>>().len() as f64
        };
        for window in Histogram::bounds(accesses).filter(|window| *window <= accesses).step_by(3) {
            let starts = 1..=accesses - window + 1;
            let mean = starts.clone().map(|start| lines_in(start, start + window - 1)).sum::<f64>()
                / starts.count() as f64;
            let footprint = reuse.footprint(window, accesses);
            prop_assert!((footprint - mean).abs() < 1e-9 * mean.max(1.0), "{footprint} is not {mean}");
            let by_group: f64 = found.groups.iter().map(|group| group.reuse.footprint(window, accesses)).sum();
            prop_assert!((by_group - footprint).abs() < 1e-9 * mean.max(1.0));
            let mean = (1..=accesses).map(|end| lines_in((end + 1).saturating_sub(window).max(1), end)).sum::<f64>()
                / accesses as f64;
            let working_set = reuse.working_set(window, accesses);
            prop_assert!((working_set - mean).abs() < 1e-9 * mean.max(1.0), "{working_set} is not {mean}");
        }
    }

    /// The limit holds whatever comes, and what is counted exactly stays exact.
    #[test]
    fn lines_followed_are_bounded(stream in streams(), most_lines in 1usize..40) {
        let found = measure_within(&stream, 1, most_lines);
        let exact = measure(&stream, 1);
        prop_assert!(found.lines_followed <= most_lines as u64);
        prop_assert!(found.one_in.is_power_of_two());
        prop_assert_eq!(found.one_in == 1, exact.lines_followed <= most_lines as u64);
        for (bounded, exact) in found.groups.iter().zip(&exact.groups) {
            prop_assert_eq!(bounded.line_accesses, exact.line_accesses);
        }
    }
}

/// Lines that lie apart leave most slots of their pages empty: they are numbered one by one after a while.
#[test]
fn scattered_lines_are_followed_as_neighbouring_ones() {
    let stream = |apart: u64| -> Vec<OwnedRun> {
        let load = |i: u64| Operand {
            address: i * i % 9001 * apart * 64,
            stride: 0,
            bytes: 4,
            kind: AccessKind::Load,
            owner: 0,
        };
        let runs = (0..10_000u64).map(|run| (0, (0..4).map(|k| load(run * 4 + k)).collect(), 1));
        runs.collect()
    };
    let (near, far) = (measure(&stream(1), 1), measure(&stream(1000), 1));
    assert!(near.lines_followed > 4500);
    assert_eq!(near.groups, far.groups);
}
