//! Accesses per second through a three-level hierarchy (48 KiB/12, 1.25 MiB/20, 24 MiB/12), memory counted only.
//!
//! Criterion's throughput figures are accesses: 100 Melem/s are 100 million simulated accesses per second.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use memloupe_cachesim::{
    AccessKind, CacheConfig, Caches, Config, Contents, LevelOptions, Memory, Operand, Run, Scope, replacement,
};

#[derive(Default)]
struct Traffic {
    reads: u64,
    writes: u64,
}

impl Memory for Traffic {
    fn read(&mut self, _line_address: u64, lines: u64, _owner: u32) {
        self.reads += lines;
    }
    fn write(&mut self, _line_address: u64, lines: u64, _owner: u32) {
        self.writes += lines;
    }
}

fn config() -> Config {
    let level = |name: &str, contents, scope, bytes, ways| CacheConfig {
        name: name.into(),
        contents,
        scope,
        bytes,
        ways,
        options: LevelOptions::default(),
    };
    Config {
        line_bytes: 64,
        levels: vec![
            level("l1d", Contents::Data, Scope::Private, 48 << 10, 12),
            level("l2", Contents::Unified, Scope::Private, 1280 << 10, 20),
            level("l3", Contents::Unified, Scope::Shared, 24 << 20, 12),
        ],
        translation: None,
    }
}

/// Runs one after the other: their operands, and for each the number of operands and iterations.
#[derive(Default)]
struct Stream {
    operands: Vec<Operand>,
    runs: Vec<(usize, u64)>,
}

impl Stream {
    fn push(&mut self, operands: &[Operand], iterations: u64) {
        self.operands.extend_from_slice(operands);
        self.runs.push((operands.len(), iterations));
    }

    fn of(runs: impl IntoIterator<Item = (Vec<Operand>, u64)>) -> Self {
        let mut stream = Stream::default();
        for (operands, iterations) in runs {
            stream.push(&operands, iterations);
        }
        stream
    }

    fn iter(&self) -> impl Iterator<Item = Run<'_>> + Clone {
        let mut rest = self.operands.as_slice();
        self.runs.iter().map(move |&(count, iterations)| {
            let (operands, behind) = rest.split_at(count);
            rest = behind;
            Run {
                operands,
                iterations,
                scattered: &[],
            }
        })
    }

    fn accesses(&self) -> u64 {
        self.iter()
            .map(|run| run.operands.len() as u64 * run.iterations)
            .sum()
    }
}

fn operand(address: u64, stride: i64, bytes: u32, kind: AccessKind, owner: u32) -> Operand {
    Operand {
        address,
        stride,
        bytes,
        kind,
        owner,
    }
}

fn streams() -> Vec<(&'static str, Stream)> {
    use AccessKind::{Load, Store};
    const A: u64 = 0x1000_0000;
    const B: u64 = 0x4000_0000;
    const C: u64 = 0x7000_0000;
    let mut random = 1u64;
    let mut next = move || {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random
    };
    vec![
        (
            "read 4 B",
            Stream::of([(vec![operand(A, 4, 4, Load, 0)], 8 << 20)]),
        ),
        (
            "read 32 B",
            Stream::of([(vec![operand(A, 32, 32, Load, 0)], 2 << 20)]),
        ),
        (
            "copy 32 B",
            Stream::of([(
                vec![operand(A, 32, 32, Load, 0), operand(B, 32, 32, Store, 1)],
                1 << 20,
            )]),
        ),
        (
            // Rows of 18-byte Q4_0 blocks against an activation vector that stays in L1.
            "gemv q4_0",
            Stream::of((0..32768).map(|row| {
                let weights = A + row * 896 / 32 * 18;
                let ops = vec![
                    operand(weights, 18, 2, Load, 0),
                    operand(weights + 2, 18, 16, Load, 0),
                    operand(B, 34, 2, Load, 1),
                    operand(B + 2, 34, 32, Load, 1),
                ];
                (ops, 28)
            })),
        ),
        (
            // One packed micro-kernel after another: per step two loads of B and six broadcasts of A.
            "gemm packed",
            Stream::of((0..2048u64).map(|tile| {
                let (a, b) = (A + tile % 16 * 6 * 4 * 256, B + tile / 16 * 64 * 256);
                let mut ops = vec![operand(b, 64, 32, Load, 1), operand(b + 32, 64, 32, Load, 1)];
                ops.extend((0..6).map(|r| operand(a + r * 4, 24, 4, Load, 0)));
                (ops, 256)
            })),
        ),
        (
            // As the native engine records 256 x 256 matrices in the order i, k, j, the row of C unrolled: a row of C stands.
            "gemm ikj",
            Stream::of((0..256u64).map(|i| {
                let (a, b, c) = (A + 16 + i * 1024, B + 16, C + 16 + i * 1024);
                let mut ops = vec![operand(a, 4, 4, Load, 0)];
                for j in (0..1024).step_by(64) {
                    ops.push(operand(b + j, 1024, 64, Load, 1));
                    ops.push(operand(c + j, 0, 64, Load, 2));
                    ops.push(operand(c + j, 0, 64, Store, 3));
                }
                (ops, 256)
            })),
        ),
        (
            // A micro-kernel on rows of B that are not packed: four broadcasts of A, two loads of B, 6 KiB apart.
            "gemm strided",
            Stream::of((0..48 * 64u64).map(|tile| {
                let (a, b) = (A + 16 + tile / 48 * 4 * 1536, B + 16 + tile % 48 * 128);
                let mut ops = vec![operand(b, 6144, 64, Load, 1), operand(b + 64, 6144, 64, Load, 1)];
                ops.extend((0..4).map(|row| operand(a + row * 1536, 4, 4, Load, 0)));
                (ops, 384)
            })),
        ),
        (
            "gather 64 MiB",
            Stream::of((0..1 << 20).map(|_| (vec![operand(C + next() % (64 << 20), 0, 4, Load, 2)], 1))),
        ),
        (
            // Four operands per block in 16 KiB: first-level hits, seldom in the most recently used way.
            "l1 blocks",
            Stream::of((0..1 << 18).map(|i| {
                let ops = (0..4).map(|k| {
                    let kind = if k == 3 { Store } else { Load };
                    operand(C + (i * 24 + k * 4096) % (16 << 10), 0, 8, kind, k as u32)
                });
                (ops.collect(), 1)
            })),
        ),
    ]
}

fn simulate(caches: &mut Caches, stream: &Stream) -> u64 {
    let mut traffic = Traffic::default();
    caches.runs(0, stream.iter(), &mut traffic);
    traffic.reads + traffic.writes
}

fn bench(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("streams");
    group.sample_size(10);
    for (name, stream) in streams() {
        group.throughput(Throughput::Elements(stream.accesses()));
        let with_replacement = |name: &str| {
            let mut config = config();
            for level in &mut config.levels {
                level.options.replacement = replacement::builtin(name).expect("a policy of this name");
            }
            config
        };
        let new: fn(&Config, usize) -> _ = Caches::new;
        for (path, new, config) in [
            ("access by access", Caches::access_by_access as _, config()),
            ("runs", new, config()),
            ("general, lru", Caches::on_general_path as _, config()),
            ("general, srrip", new, with_replacement("srrip")),
        ] {
            let mut caches = new(&config, 1).expect("the configuration is valid");
            caches.reserve_owners(16);
            group.bench_function(BenchmarkId::new(name, path), |b| {
                b.iter(|| black_box(simulate(&mut caches, &stream)));
            });
        }
    }
    group.finish();
}

criterion_group!(benches, bench);
criterion_main!(benches);
