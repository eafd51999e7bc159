//! Accesses per second through the locality meters: exact reuse distance at a footprint of ten million lines, and samples.
//!
//! Criterion's throughput figures are accesses; where a line is dwelt in, that is more than line accesses.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use memloupe_cachesim::locality::{Analysis, Locality, Options, ReuseDistance};
use memloupe_cachesim::{AccessKind, Operand, Run};

const LINES: u64 = 10_000_000;

fn random() -> impl FnMut() -> u64 {
    let mut state = 1u64;
    move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    }
}

/// One line after another, at random, of [`LINES`].
fn exact_distances(criterion: &mut Criterion) {
    const TOUCHES: u64 = 1 << 20;
    let mut group = criterion.benchmark_group("reuse distance, 10 M lines");
    group.sample_size(10).throughput(Throughput::Elements(TOUCHES));
    type Pattern = Box<dyn FnMut() -> u64>;
    let mut next = random();
    let mut position = 0;
    let patterns: [(&str, Pattern); 3] = [
        ("random", Box::new(move || next() % LINES)),
        (
            "round",
            Box::new(move || {
                position = (position + 1) % LINES;
                position
            }),
        ),
        ("near", {
            let (mut next, mut at) = (random(), 0);
            Box::new(move || {
                at += 1;
                (at + next() % 10_000) % LINES
            })
        }),
    ];
    for (name, mut pattern) in patterns {
        let mut reuse = ReuseDistance::default();
        (0..LINES).for_each(|line| {
            reuse.touch(line);
        });
        let lines: Vec<u64> = (0..TOUCHES).map(|_| pattern()).collect();
        group.bench_function(name, |b| {
            b.iter(|| {
                let mut sum = 0u64;
                reuse.touch_all(&lines, |distance| {
                    sum = sum.wrapping_add(distance.unwrap_or(0));
                });
                black_box(sum)
            });
        });
    }
    group.finish();
}

fn operand(address: u64, stride: i64, bytes: u32, owner: u32) -> Operand {
    Operand {
        address,
        stride,
        bytes,
        kind: AccessKind::Load,
        owner,
    }
}

/// Runs one after the other: their operands, and for each the number of operands and iterations.
struct Stream {
    operands: Vec<Operand>,
    runs: Vec<(usize, u64)>,
}

impl FromIterator<(Vec<Operand>, u64)> for Stream {
    fn from_iter<I: IntoIterator<Item = (Vec<Operand>, u64)>>(all: I) -> Self {
        let (mut operands, mut runs) = (Vec::new(), Vec::new());
        for (of_run, iterations) in all {
            runs.push((of_run.len(), iterations));
            operands.extend(of_run);
        }
        Self { operands, runs }
    }
}

fn streams() -> [(&'static str, Stream); 4] {
    const A: u64 = 0x1000_0000;
    const B: u64 = 0x8000_0000;
    let mut next = random();
    [
        (
            "read 32 B",
            [(vec![operand(A, 32, 32, 0)], 4 << 20)].into_iter().collect(),
        ),
        (
            // Rows of 18-byte Q4_0 blocks against an activation vector.
            "gemv q4_0",
            (0..32768)
                .map(|row| {
                    let weights = A + row * 896 / 32 * 18;
                    let operands = vec![
                        operand(weights, 18, 2, 0),
                        operand(weights + 2, 18, 16, 1),
                        operand(B, 34, 2, 2),
                        operand(B + 2, 34, 32, 3),
                    ];
                    (operands, 28)
                })
                .collect(),
        ),
        (
            "gather 640 MB",
            (0..1 << 20)
                .map(|_| (vec![operand(A + next() % LINES * 64, 0, 4, 0)], 1))
                .collect(),
        ),
        (
            "blocks of 4 in 16 KiB",
            (0..1 << 18u64)
                .map(|i| {
                    let block = (0..4).map(|k| operand(B + (i * 24 + k * 4096) % (16 << 10), 0, 8, k as u32));
                    (block.collect(), 1)
                })
                .collect(),
        ),
    ]
}

fn meters(criterion: &mut Criterion) {
    let settings: [(&str, u64, &[Analysis]); 6] = [
        ("all lines, reuse", 1, &[Analysis::Reuse]),
        ("1 in 100, reuse", 100, &[Analysis::Reuse]),
        ("1 in 100, stride", 100, &[Analysis::Stride]),
        ("1 in 100, score", 100, &[Analysis::Score]),
        (
            "1 in 100, lines",
            100,
            &[
                Analysis::Reuse,
                Analysis::LineUse,
                Analysis::Lifetime,
                Analysis::Sharing,
            ],
        ),
        (
            "1 in 100, all",
            100,
            &[
                Analysis::Reuse,
                Analysis::LineUse,
                Analysis::Lifetime,
                Analysis::Sharing,
                Analysis::Stride,
                Analysis::Score,
            ],
        ),
    ];
    let mut group = criterion.benchmark_group("locality");
    group.sample_size(10);
    for (name, stream) in streams() {
        let runs = stream.runs.iter();
        let accesses = runs.map(|(count, iterations)| *count as u64 * iterations).sum();
        group.throughput(Throughput::Elements(accesses));
        for (setting, one_in, analyses) in settings {
            let mut locality = Locality::new(&Options {
                analyses: analyses.to_vec(),
                one_in,
                most_lines: usize::MAX,
                ..Options::default()
            });
            (0..4).for_each(|owner| locality.add_owner(owner, 0));
            group.bench_function(BenchmarkId::new(name, setting), |b| {
                b.iter(|| {
                    let mut rest = stream.operands.as_slice();
                    let runs = stream.runs.iter().map(move |&(count, iterations)| {
                        let (operands, behind) = rest.split_at(count);
                        rest = behind;
                        Run {
                            operands,
                            iterations,
                            scattered: &[],
                        }
                    });
                    locality.runs(0, runs);
                    black_box(locality.owner_count())
                });
            });
        }
    }
    group.finish();
}

criterion_group!(benches, exact_distances, meters);
criterion_main!(benches);
