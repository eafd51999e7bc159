//! Replacement policies against textbook implementations over lists, OPT against every choice there is, and prefetchers
//! on the patterns that they are for.

use std::collections::{HashMap, HashSet};

use memloupe_cachesim::{
    AccessKind, CacheConfig, Caches, Config, Contents, LevelDetail, LevelOptions, Memory, Operand, Run,
    Scope, prefetch, replacement,
};
use proptest::prelude::*;

struct Nowhere;

impl Memory for Nowhere {
    fn read(&mut self, _line_address: u64, _lines: u64, _owner: u32) {}
    fn write(&mut self, _line_address: u64, _lines: u64, _owner: u32) {}
}

const OWNERS: u32 = 8;

fn cache(sets: u64, ways: u32, options: LevelOptions) -> Caches {
    let level = CacheConfig {
        name: "l1".into(),
        contents: Contents::Data,
        scope: Scope::Private,
        bytes: sets * u64::from(ways) * 64,
        ways,
        options,
    };
    let config = Config {
        line_bytes: 64,
        levels: vec![level],
        translation: None,
    };
    let mut caches = Caches::on_general_path(&config, 1).unwrap();
    caches.reserve_owners(OWNERS as usize);
    caches
}

fn policy(name: &str) -> LevelOptions {
    LevelOptions {
        replacement: replacement::builtin(name).unwrap(),
        ..LevelOptions::default()
    }
}

fn load(caches: &mut Caches, line: u64, owner: u32) -> bool {
    let before = caches.ledger().total_misses(0);
    let operand = Operand {
        address: line * 64,
        stride: 0,
        bytes: 8,
        kind: AccessKind::Load,
        owner,
    };
    caches.run(
        0,
        Run {
            operands: &[operand],
            iterations: 1,
            scattered: &[],
        },
        &mut Nowhere,
    );
    caches.ledger().total_misses(0) == before
}

/// One set in the plainest form: ways with whatever a policy writes beside a line.
#[derive(Clone, Default)]
struct Way {
    line: u64,
    stamp: u64,
    count: u64,
    value: u32,
    site: u32,
    reused: bool,
}

/// A whole cache of lists; `choose` and `mark` are the policy.
struct Lists {
    ways: usize,
    clock: u64,
    fills: u32,
    psel: u32,
    shct: HashMap<u32, u32>,
    sets: Vec<Vec<Option<Way>>>,
}

impl Lists {
    fn new(sets: usize, ways: usize) -> Self {
        Self {
            ways,
            clock: 0,
            fills: 0,
            psel: 512,
            shct: HashMap::new(),
            sets: vec![vec![None; ways]; sets],
        }
    }

    fn access(&mut self, name: &str, line: u64, site: u32) -> bool {
        self.clock += 1;
        let set = line as usize % self.sets.len();
        let clock = self.clock;
        let hit = self.sets[set]
            .iter()
            .position(|way| way.as_ref().is_some_and(|way| way.line == line));
        if let Some(at) = hit {
            let way = self.sets[set][at].as_mut().unwrap();
            way.count += 1;
            way.value = 0;
            way.reused = true;
            if name != "fifo" {
                way.stamp = clock;
            }
            let brought_by = way.site;
            if name == "ship" {
                let counter = self.shct.entry(brought_by).or_insert(1);
                *counter = (*counter + 1).min(7);
            }
            self.mark(name, set, at);
            return true;
        }
        let at = match self.sets[set].iter().position(Option::is_none) {
            Some(at) => at,
            None => self.victim(name, set),
        };
        if let Some(old) = &self.sets[set][at]
            && name == "ship"
            && !old.reused
        {
            let counter = self.shct.entry(old.site).or_insert(1);
            *counter = counter.saturating_sub(1);
        }
        let value = match name {
            "srrip" => 2,
            "brrip" => self.bimodal(),
            "drrip" => {
                let group = (self.sets.len() / 32).max(2);
                if set.is_multiple_of(group) {
                    self.psel = (self.psel + 1).min(1023);
                    2
                } else if set % group == group / 2 {
                    self.psel = self.psel.saturating_sub(1);
                    self.bimodal()
                } else if self.psel >= 512 {
                    self.bimodal()
                } else {
                    2
                }
            }
            "ship" if self.shct.get(&site) == Some(&0) => 3,
            _ => 2,
        };
        self.sets[set][at] = Some(Way {
            line,
            stamp: clock,
            count: 1,
            value,
            site,
            reused: false,
        });
        self.mark(name, set, at);
        false
    }

    fn bimodal(&mut self) -> u32 {
        self.fills += 1;
        if self.fills.is_multiple_of(32) { 2 } else { 3 }
    }

    /// The bits of nru: cleared for all others when the last one is set.
    fn mark(&mut self, name: &str, set: usize, at: usize) {
        if name == "nru" {
            let ways = &mut self.sets[set];
            ways[at].as_mut().unwrap().value = 1;
            let marked = |way: &Option<Way>| way.as_ref().is_some_and(|way| way.value == 1);
            if ways.iter().all(marked) {
                for (other, way) in ways.iter_mut().enumerate() {
                    way.as_mut().unwrap().value = u32::from(other == at);
                }
            }
        }
    }

    fn victim(&mut self, name: &str, set: usize) -> usize {
        let ways = &mut self.sets[set];
        let least = |key: &dyn Fn(&Way) -> (u64, u64)| {
            (0..ways.len())
                .min_by_key(|&at| key(ways[at].as_ref().unwrap()))
                .unwrap()
        };
        match name {
            "lru" | "fifo" => least(&|way| (way.stamp, 0)),
            "lfu" => least(&|way| (way.count, way.stamp)),
            // A single way is always marked.
            "nru" => ways
                .iter()
                .position(|way| way.as_ref().unwrap().value != 1)
                .unwrap_or(0),
            "tree-plru" => {
                // Of each half, the one whose latest use is longer ago.
                let latest = |range: std::ops::Range<usize>| {
                    ways[range]
                        .iter()
                        .map(|way| way.as_ref().unwrap().stamp)
                        .max()
                        .unwrap()
                };
                let (mut low, mut high) = (0, self.ways);
                while high - low > 1 {
                    let middle = (low + high) / 2;
                    if latest(low..middle) < latest(middle..high) {
                        high = middle;
                    } else {
                        low = middle;
                    }
                }
                low
            }
            _ => loop {
                let distant = ways.iter().position(|way| way.as_ref().unwrap().value == 3);
                if let Some(at) = distant {
                    break at;
                }
                ways.iter_mut().for_each(|way| way.as_mut().unwrap().value += 1);
            },
        }
    }
}

/// Mostly near lines, some far ones, each kind by instructions of its own.
fn trace() -> impl Strategy<Value = Vec<(u64, u32)>> {
    let access = prop_oneof![
        4 => (0u64..24, 0u32..2),
        2 => (0u64..200, 2u32..4),
        1 => (1000u64..1100, 4u32..6),
    ];
    proptest::collection::vec(access, 1..1500)
}

/// The fewest misses of one set over every choice of victims.
fn fewest_misses(trace: &[u64], ways: usize, contents: &HashSet<u64>) -> u64 {
    let Some((line, rest)) = trace.split_first() else {
        return 0;
    };
    if contents.contains(line) {
        return fewest_misses(rest, ways, contents);
    }
    let with = |without: Option<&u64>| {
        let mut next = contents.clone();
        without.map(|line| next.remove(line));
        next.insert(*line);
        1 + fewest_misses(rest, ways, &next)
    };
    if contents.len() < ways {
        return with(None);
    }
    contents.iter().map(|victim| with(Some(victim))).min().unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn policies_are_those_of_the_textbook(
        trace in trace(),
        sets in 0u32..3,
        ways in proptest::sample::select(vec![1usize, 2, 4, 8]),
        name in proptest::sample::select(vec![
            "lru", "fifo", "lfu", "nru", "tree-plru", "srrip", "brrip", "drrip", "ship",
        ]),
    ) {
        let sets = 1usize << (2 * sets);
        let mut caches = cache(sets as u64, ways as u32, policy(name));
        let mut lists = Lists::new(sets, ways);
        for (i, &(line, site)) in trace.iter().enumerate() {
            let expected = lists.access(name, line, site);
            prop_assert_eq!(load(&mut caches, line, site), expected, "{}: access {}, line {}", name, i, line);
        }
    }

    #[test]
    fn opt_makes_the_best_of_all_choices(
        trace in proptest::collection::vec(0u64..5, 1..11),
        ways in 1usize..4,
    ) {
        let mut recording = replacement::opt::Recording::default();
        trace.iter().for_each(|&line| recording.push(line, 0));
        let misses = recording.misses(1, ways, 1, |_| 0);
        prop_assert_eq!(misses[0], fewest_misses(&trace, ways, &HashSet::new()));
    }

    #[test]
    fn no_policy_beats_opt(trace in trace(), ways in 1u32..9, seed: u64) {
        for builtin in replacement::BUILTIN {
            let options = LevelOptions { replacement: builtin, seed, opt_bound: true, ..LevelOptions::default() };
            let mut caches = cache(4, ways, options);
            for &(line, site) in &trace {
                load(&mut caches, line, site);
            }
            let optimal: u64 = caches.opt_misses(0).unwrap().iter().sum();
            prop_assert!(optimal <= caches.ledger().total_misses(0), "{}", builtin.name);
        }
    }

    #[test]
    fn a_larger_lru_set_hits_wherever_a_smaller_one_does(trace in trace(), ways in 1u32..16) {
        let mut smaller = cache(4, ways, policy("lru"));
        let mut larger = cache(4, ways + 1, policy("lru"));
        for &(line, site) in &trace {
            let hit = load(&mut smaller, line, site);
            prop_assert!(load(&mut larger, line, site) || !hit);
        }
    }

    /// Iterations that stay in their lines are counted, not simulated: whatever the policy, with the same results.
    #[test]
    fn a_run_is_its_iterations_one_by_one(
        runs in proptest::collection::vec(
            (
                proptest::collection::vec((0u64..2048, -16i64..40, any::<bool>(), 0..OWNERS), 1..5),
                1u64..40,
            ),
            1..30,
        ),
        ways in 1u32..6,
        policy in proptest::sample::select(replacement::BUILTIN.iter().collect::<Vec<_>>()),
    ) {
        let options = LevelOptions { replacement: policy, ..LevelOptions::default() };
        let (mut whole, mut single) = (cache(4, ways, options.clone()), cache(4, ways, options));
        for (operands, iterations) in &runs {
            let mut operands: Vec<Operand> = operands
                .iter()
                .map(|&(address, stride, store, owner)| Operand {
                    address: 4096 + address,
                    stride,
                    bytes: 8,
                    kind: if store { AccessKind::Store } else { AccessKind::Load },
                    owner,
                })
                .collect();
            whole.run(0, Run { operands: &operands, iterations: *iterations, scattered: &[] }, &mut Nowhere);
            for _ in 0..*iterations {
                single.run(0, Run { operands: &operands, iterations: 1, scattered: &[] }, &mut Nowhere);
                for operand in &mut operands {
                    operand.address = operand.address.wrapping_add_signed(operand.stride);
                }
            }
        }
        for owner in 0..OWNERS {
            prop_assert_eq!(whole.ledger().levels(owner), single.ledger().levels(owner));
            prop_assert_eq!(whole.ledger().owner(owner), single.ledger().owner(owner));
        }
        prop_assert_eq!(whole.dirty_lines().collect::<Vec<_>>(), single.dirty_lines().collect::<Vec<_>>());
    }

    /// Compulsory: never seen. Capacity: a fully associative LRU list of all lines misses too. Else conflict.
    #[test]
    fn misses_are_classified_as_by_lists(trace in trace(), ways in 1u32..5) {
        let options = LevelOptions { classify: true, ..LevelOptions::default() };
        let mut caches = cache(8, ways, options);
        let (mut seen, mut recency) = (HashSet::new(), Vec::new());
        let mut expected = [0u64; 3];
        for &(line, site) in &trace {
            let depth = recency.iter().rev().position(|&other| other == line);
            let hit = load(&mut caches, line, site);
            if !hit {
                let class = if seen.insert(line) {
                    0
                } else if depth.is_none_or(|depth| depth >= 8 * ways as usize) {
                    1
                } else {
                    2
                };
                expected[class] += 1;
            }
            recency.retain(|&other| other != line);
            recency.push(line);
        }
        let sum = |of: fn(&LevelDetail) -> u64| total(&caches, of);
        prop_assert_eq!([sum(|d| d.compulsory), sum(|d| d.capacity), sum(|d| d.conflict)], expected);
    }
}

fn total(caches: &Caches, of: fn(&LevelDetail) -> u64) -> u64 {
    (0..OWNERS)
        .map(|owner| of(&caches.details(owner).unwrap()[0]))
        .sum()
}

#[test]
fn random_chooses_each_way_equally_often() {
    let ways = 8;
    let mut caches = cache(1, ways, policy("random"));
    // Line 0 is asked for after each new line: it misses after one victim in 8.
    let mut misses = 0;
    for new in 1..=80_000 {
        misses += u64::from(!load(&mut caches, 0, 0));
        load(&mut caches, new, 0);
    }
    assert!((9_000..11_000).contains(&misses), "{misses}");
}

/// New lines, twice as many as the cache holds, between two rounds over a few hot ones: LRU keeps nothing of it, the policies that resist
/// scans and learn keep the hot lines.
#[test]
fn scans_push_out_lru_and_not_the_others() {
    let misses = |name: &str| {
        let mut caches = cache(64, 16, policy(name));
        for round in 0..200u64 {
            for hot in (0..256).chain(0..256) {
                load(&mut caches, hot, 0);
            }
            for scanned in 0..2048 {
                load(&mut caches, 10_000 + round * 2048 + scanned, 1);
            }
        }
        caches.ledger().levels(0)[0].total_misses()
    };
    let lru = misses("lru");
    assert_eq!(lru, 200 * 256);
    // Of 64 sets half lead for SRRIP in drrip, and keep nothing.
    for (name, percent) in [("brrip", 25), ("drrip", 65), ("ship", 25), ("hawkeye", 25)] {
        let others = misses(name);
        assert!(others * 100 < lru * percent, "{name}: {others} of {lru}");
    }
}

/// Accesses, misses left, and prefetches issued and useful, of a cache with a prefetcher.
fn prefetched(name: &str, lines: impl Iterator<Item = (u64, u32)>) -> (u64, u64, u64, u64) {
    let prefetcher = prefetch::BUILTIN.iter().find(|builtin| builtin.name == name);
    assert!(prefetcher.is_some(), "{name}");
    let mut caches = cache(
        64,
        8,
        LevelOptions {
            prefetcher,
            ..LevelOptions::default()
        },
    );
    let mut accesses = 0;
    for (line, site) in lines {
        load(&mut caches, line, site);
        accesses += 1;
    }
    let (issued, useful) = (
        total(&caches, |d| d.prefetches_issued),
        total(&caches, |d| d.prefetches_useful),
    );
    (accesses, caches.ledger().total_misses(0), issued, useful)
}

#[test]
fn prefetchers_cover_their_patterns() {
    let sequential = |i: u64| (i, 0);
    let by_threes = |i: u64| (i * 3, 0);
    // Deltas 1, 2, 1, 4 in turn, from page to page.
    let deltas = |i: u64| (i / 4 * 8 + [0, 1, 3, 4][i as usize % 4], 0);
    // Four lines of each region, the same ones for the same instruction, regions in no order.
    let footprint = |i: u64| {
        let region = (i / 4).wrapping_mul(0x9e37_79b9) % 100_000;
        (region * 32 + [3, 9, 17, 30][i as usize % 4], (i % 4) as u32)
    };
    type Pattern = fn(u64) -> (u64, u32);
    // Misses that may be left, in percent of the accesses.
    let cases: [(&str, Pattern, u64); 9] = [
        ("next-line", sequential, 2),
        ("stride", by_threes, 6),
        ("stream", sequential, 6),
        ("best-offset", sequential, 4),
        ("best-offset", by_threes, 12),
        ("ampm", sequential, 6),
        ("ampm", by_threes, 16),
        ("spp", deltas, 15),
        ("sms", footprint, 30),
    ];
    for (name, pattern, left_percent) in cases {
        let (accesses, misses, issued, useful) = prefetched(name, (0..40_000).map(pattern));
        assert!(
            misses * 100 <= accesses * left_percent,
            "{name}: {misses} misses of {accesses}"
        );
        assert!(useful * 10 >= issued * 8, "{name}: {useful} useful of {issued}");
        assert!(
            misses + useful >= accesses,
            "{name}: what neither missed nor was prefetched cannot be"
        );
    }
}

#[test]
fn prefetchers_that_look_for_patterns_leave_random_accesses_alone() {
    let mut state = 1u64;
    let lines: Vec<(u64, u32)> = (0..40_000)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 40, (state % 4) as u32)
        })
        .collect();
    for name in ["stride", "stream", "best-offset", "ampm", "spp", "sms"] {
        let (accesses, _, issued, _) = prefetched(name, lines.iter().copied());
        assert!(
            issued * 7 < accesses,
            "{name}: {issued} prefetches on {accesses} random accesses"
        );
    }
}
