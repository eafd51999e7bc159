//! The directory against a protocol of states, line by line and message by message, and what holds for any machine with
//! one.

use std::collections::{HashMap, HashSet};

use memloupe_cachesim::{
    AccessKind, CacheConfig, Caches, Config, Contents, LevelDetail, LevelOptions, Memory, Operand, Protocol,
    Run, Scope,
};
use proptest::prelude::*;

const OWNERS: u32 = 3;
const L1_SETS: usize = 2;
const L1_WAYS: usize = 2;
const L2_SETS: usize = 4;
const L2_WAYS: usize = 3;

#[derive(Default)]
struct Recorder(Vec<(bool, u64)>);

impl Memory for Recorder {
    fn read(&mut self, line_address: u64, _lines: u64, _owner: u32) {
        self.0.push((false, line_address / 64));
    }
    fn write(&mut self, line_address: u64, _lines: u64, _owner: u32) {
        self.0.push((true, line_address / 64));
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum State {
    Modified,
    Owned,
    Exclusive,
    Shared,
}

impl State {
    fn is_dirty(self) -> bool {
        matches!(self, State::Modified | State::Owned)
    }
}

#[derive(Debug, Default, PartialEq)]
struct Counts {
    misses: u64,
    writebacks: u64,
    invalidations: u64,
    upgrades: u64,
    interventions: u64,
    true_sharing: u64,
    false_sharing: u64,
}

/// Private caches in front of a shared one, each a list of sets, most recently used first.
struct Naive {
    protocol: Protocol,
    cores: Vec<Vec<Vec<(u64, State)>>>,
    shared: Vec<Vec<(u64, bool)>>,
    /// What was written by others since a core lost a line.
    lost: HashMap<(usize, u64), HashSet<u64>>,
    counts: Counts,
    memory: Vec<(bool, u64)>,
}

impl Naive {
    fn new(protocol: Protocol, cores: usize) -> Self {
        Self {
            protocol,
            cores: vec![vec![Vec::new(); L1_SETS]; cores],
            shared: vec![Vec::new(); L2_SETS],
            lost: HashMap::new(),
            counts: Counts::default(),
            memory: Vec::new(),
        }
    }

    fn state(&mut self, core: usize, line: u64) -> Option<&mut State> {
        let set = &mut self.cores[core][line as usize % L1_SETS];
        set.iter_mut().find(|held| held.0 == line).map(|held| &mut held.1)
    }

    fn drop_line(&mut self, core: usize, line: u64) {
        self.cores[core][line as usize % L1_SETS].retain(|held| held.0 != line);
    }

    /// A dirty line arrives from a private cache.
    fn write_back(&mut self, line: u64) {
        self.counts.writebacks += 1;
        let set = &mut self.shared[line as usize % L2_SETS];
        set.retain(|held| held.0 != line);
        set.insert(0, (line, true));
        self.evict_shared(line);
    }

    fn evict_shared(&mut self, line: u64) {
        let set = &mut self.shared[line as usize % L2_SETS];
        if set.len() > L2_WAYS
            && let Some((gone, true)) = set.pop()
        {
            self.memory.push((true, gone));
        }
    }

    fn access(&mut self, core: usize, line: u64, bytes: std::ops::Range<u64>, store: bool) {
        if store {
            for (_, written) in self
                .lost
                .iter_mut()
                .filter(|((loser, at), _)| *loser != core && *at == line)
            {
                written.extend(bytes.clone());
            }
        }
        let others: Vec<usize> = (0..self.cores.len())
            .filter(|&other| other != core && self.state(other, line).is_some())
            .collect();
        if let Some(state) = self.state(core, line).copied() {
            let set = &mut self.cores[core][line as usize % L1_SETS];
            let at = set.iter().position(|held| held.0 == line).unwrap();
            let held = set.remove(at);
            set.insert(0, held);
            if store {
                if matches!(state, State::Shared | State::Owned) {
                    self.counts.upgrades += 1;
                }
                self.invalidate(&others, line, &bytes);
                *self.state(core, line).unwrap() = State::Modified;
            }
            return;
        }
        self.counts.misses += 1;
        if let Some(written) = self.lost.remove(&(core, line)) {
            if bytes.clone().any(|byte| written.contains(&byte)) {
                self.counts.true_sharing += 1;
            } else {
                self.counts.false_sharing += 1;
            }
        }
        let dirty = others
            .iter()
            .copied()
            .find(|&other| self.state(other, line).unwrap().is_dirty());
        let at_hand = self.shared[line as usize % L2_SETS]
            .iter()
            .any(|held| held.0 == line);
        let supplied = dirty.is_some() || !others.is_empty() && !at_hand;
        self.counts.interventions += u64::from(supplied);
        if store {
            self.invalidate(&others, line, &bytes);
        } else {
            for &other in &others {
                *self.state(other, line).unwrap() = State::Shared;
            }
            match (dirty, self.protocol) {
                (Some(other), Protocol::Moesi) => *self.state(other, line).unwrap() = State::Owned,
                (Some(_), Protocol::Mesi) => self.write_back(line),
                (None, _) => {}
            }
        }
        let set = &mut self.shared[line as usize % L2_SETS];
        match set.iter().position(|held| held.0 == line) {
            Some(at) => {
                let held = set.remove(at);
                set.insert(0, held);
            }
            None => {
                set.insert(0, (line, false));
                if !supplied {
                    self.memory.push((false, line));
                }
                self.evict_shared(line);
            }
        }
        let state = match (store, others.is_empty()) {
            (true, _) => State::Modified,
            (false, true) => State::Exclusive,
            (false, false) => State::Shared,
        };
        let set = &mut self.cores[core][line as usize % L1_SETS];
        set.insert(0, (line, state));
        if set.len() > L1_WAYS
            && let Some((gone, state)) = set.pop()
            && state.is_dirty()
        {
            self.write_back(gone);
        }
    }

    fn invalidate(&mut self, others: &[usize], line: u64, bytes: &std::ops::Range<u64>) {
        for &other in others {
            self.counts.invalidations += 1;
            self.drop_line(other, line);
            self.lost.insert((other, line), bytes.clone().collect());
        }
    }
}

fn config(protocol: Protocol) -> Config {
    let level = |name: &str, contents, scope, sets: usize, ways: usize, options| CacheConfig {
        name: name.into(),
        contents,
        scope,
        bytes: (sets * ways * 64) as u64,
        ways: ways as u32,
        options,
    };
    let classified = LevelOptions {
        classify: true,
        ..LevelOptions::default()
    };
    let coherent = LevelOptions {
        coherence: Some(protocol),
        ..LevelOptions::default()
    };
    Config {
        line_bytes: 64,
        levels: vec![
            level(
                "l1d",
                Contents::Data,
                Scope::Private,
                L1_SETS,
                L1_WAYS,
                classified,
            ),
            level("l2", Contents::Unified, Scope::Shared, L2_SETS, L2_WAYS, coherent),
        ],
        translation: None,
    }
}

fn counted(caches: &Caches) -> Counts {
    let detail = |level: usize, of: fn(&LevelDetail) -> u64| -> u64 {
        (0..OWNERS)
            .map(|owner| of(&caches.details(owner).unwrap()[level]))
            .sum()
    };
    Counts {
        misses: caches.ledger().total_misses(0),
        writebacks: (0..OWNERS)
            .map(|owner| caches.ledger().levels(owner)[0].writebacks)
            .sum(),
        invalidations: detail(0, |d| d.invalidations),
        upgrades: detail(1, |d| d.upgrades),
        interventions: detail(1, |d| d.interventions),
        true_sharing: detail(1, |d| d.true_sharing),
        false_sharing: detail(1, |d| d.false_sharing),
    }
}

fn operand(line: u64, bytes: &std::ops::Range<u64>, kind: AccessKind, owner: u32) -> Operand {
    Operand {
        address: line * 64 + bytes.start,
        stride: 0,
        bytes: (bytes.end - bytes.start) as u32,
        kind,
        owner,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn counters_are_those_of_the_states(
        protocol in proptest::sample::select(Protocol::ALL.to_vec()),
        cores in 1usize..=5,
        accesses in proptest::collection::vec(
            (
                0usize..5,
                0u64..16,
                0u64..8,
                proptest::sample::select(vec![AccessKind::Load, AccessKind::Store, AccessKind::ReadModifyWrite]),
                0..OWNERS,
            ),
            1..600,
        ),
    ) {
        let mut naive = Naive::new(protocol, cores);
        let mut caches = Caches::new(&config(protocol), cores).unwrap();
        caches.reserve_owners(OWNERS as usize);
        let mut memory = Recorder::default();
        for (core, line, word, kind, owner) in accesses {
            let core = core % cores;
            let bytes = word * 8..word * 8 + 8;
            naive.access(core, line, bytes.clone(), kind != AccessKind::Load);
            let operand = operand(line, &bytes, kind, owner);
            caches.run(core, Run { operands: &[operand], iterations: 1, scattered: &[] }, &mut memory);
        }
        prop_assert_eq!(counted(&caches), naive.counts);
        prop_assert_eq!(memory.0, naive.memory);
        let mut classes = 0;
        for owner in 0..OWNERS {
            let l1 = &caches.details(owner).unwrap()[0];
            classes += l1.compulsory + l1.capacity + l1.conflict + l1.coherence;
            let l2 = &caches.details(owner).unwrap()[1];
            // Every access to a line that was taken away is a miss.
            prop_assert_eq!(l1.coherence, l2.true_sharing + l2.false_sharing);
        }
        prop_assert_eq!(classes, caches.ledger().total_misses(0));
    }
}

/// Two cores that count in two words of a line, and in one.
#[test]
fn counters_in_one_line_are_false_sharing_and_one_counter_is_true() {
    for (words, true_sharing) in [([0u64, 8], false), ([0, 0], true)] {
        for protocol in Protocol::ALL {
            let mut caches = Caches::new(&config(*protocol), 2).unwrap();
            caches.reserve_owners(OWNERS as usize);
            let rounds = 100;
            for _ in 0..rounds {
                for (core, word) in words.into_iter().enumerate() {
                    let add = operand(0, &(word..word + 8), AccessKind::ReadModifyWrite, 0);
                    caches.run(
                        core,
                        Run {
                            operands: &[add],
                            iterations: 10,
                            scattered: &[],
                        },
                        &mut Recorder::default(),
                    );
                }
            }
            let counts = counted(&caches);
            let shared = 2 * rounds - 2;
            assert_eq!(
                (counts.misses, counts.invalidations),
                (2 * rounds, 2 * rounds - 1)
            );
            assert_eq!(
                (counts.true_sharing, counts.false_sharing),
                if true_sharing { (shared, 0) } else { (0, shared) }
            );
            // The line goes from cache to cache and never back.
            assert_eq!((counts.interventions, counts.writebacks), (2 * rounds - 1, 0));
        }
    }
}

#[test]
fn a_directory_needs_private_caches_below_and_all_cores_above() {
    let mut clustered = config(Protocol::Mesi);
    clustered.levels[1].scope = Scope::Cluster(2);
    let mut alone = config(Protocol::Mesi);
    alone.levels.remove(0);
    for config in [clustered, alone] {
        let error = Caches::new(&config, 4).unwrap_err().to_string();
        assert!(
            error.contains("l2: coherence: the directory's level must be"),
            "{error}"
        );
    }
    let error = Caches::new(&config(Protocol::Moesi), 129)
        .unwrap_err()
        .to_string();
    assert!(error.contains("a directory knows 128 cores, not 129"), "{error}");
}
