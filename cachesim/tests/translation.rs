//! TLBs, page-walk caches and walks against lists, access by access; walks that read in the caches against loads of a
//! program that reads its own page table.

use std::collections::HashMap;

use memloupe_cachesim::{
    AccessKind, CacheConfig, Caches, Config, Contents, LevelOptions, Memory, Operand, PageSize, Run, Scope,
    TlbConfig, TranslationConfig, TranslationCounters, Walks,
};
use proptest::prelude::*;

const OWNERS: u32 = 3;
/// The owner of the loads that stand for walks in the reference.
const WALKER: u32 = OWNERS;

#[derive(Default)]
struct Recorder(Vec<(bool, u64, u64)>);

impl Memory for Recorder {
    fn read(&mut self, line_address: u64, lines: u64, _owner: u32) {
        self.0.push((false, line_address, lines));
    }
    fn write(&mut self, line_address: u64, lines: u64, _owner: u32) {
        self.0.push((true, line_address, lines));
    }
}

/// Sets of pages, most recently used first.
struct Lists {
    sets: Vec<Vec<u64>>,
    ways: usize,
}

impl Lists {
    fn new(config: TlbConfig) -> Self {
        Self {
            sets: vec![Vec::new(); (config.entries / config.ways) as usize],
            ways: config.ways as usize,
        }
    }

    fn fully_associative(entries: u32) -> Self {
        Self {
            sets: vec![Vec::new()],
            ways: entries as usize,
        }
    }

    fn access(&mut self, page: u64) -> bool {
        let count = self.sets.len() as u64;
        let set = &mut self.sets[(page % count) as usize];
        let found = set.iter().position(|&held| held == page);
        if let Some(at) = found {
            set.remove(at);
        }
        set.insert(0, page);
        set.truncate(self.ways);
        found.is_some()
    }

    fn holds(&self, page: u64) -> bool {
        self.sets[(page % self.sets.len() as u64) as usize].contains(&page)
    }
}

struct Naive {
    config: TranslationConfig,
    data: Lists,
    instruction: Option<Lists>,
    unified: Option<Lists>,
    // Of levels 1 to 3.
    walk_caches: Vec<Lists>,
    counters: HashMap<u32, TranslationCounters>,
}

impl Naive {
    fn new(config: &TranslationConfig) -> Self {
        Self {
            config: config.clone(),
            data: Lists::new(config.data),
            instruction: config.instruction.map(Lists::new),
            unified: config.unified.map(Lists::new),
            walk_caches: config.walk_cache_entries.map(Lists::fully_associative).into(),
            counters: HashMap::new(),
        }
    }

    /// The addresses that an access to a byte makes a walk read.
    fn byte(&mut self, address: u64, kind: AccessKind, owner: u32) -> Vec<u64> {
        let page = address / self.config.page.bytes();
        let counters = self.counters.entry(owner).or_default();
        if kind == AccessKind::Fetch {
            let Some(tlb) = &mut self.instruction else {
                return Vec::new();
            };
            counters.itlb_accesses += 1;
            if tlb.access(page) {
                return Vec::new();
            }
            counters.itlb_misses += 1;
        } else {
            counters.dtlb_accesses += 1;
            if self.data.access(page) {
                return Vec::new();
            }
            counters.dtlb_misses += 1;
        }
        if let Some(unified) = &mut self.unified {
            counters.stlb_accesses += 1;
            if unified.access(page) {
                return Vec::new();
            }
            counters.stlb_misses += 1;
        }
        counters.page_walks += 1;
        let leaf = PageSize::ALL
            .iter()
            .position(|size| *size == self.config.page)
            .unwrap();
        // Bases of the tables' levels in a self-mapping table whose entry is 0x1ed, lowest first.
        let bases = [
            0xffff_f680_0000_0000u64,
            0xffff_f6fb_4000_0000,
            0xffff_f6fb_7da0_0000,
            0xffff_f6fb_7dbe_d000,
        ];
        let region = |level: usize| address >> (12 + 9 * level);
        let mut start = 3;
        for level in leaf + 1..4 {
            if self.walk_caches[level - 1].ways > 0 && self.walk_caches[level - 1].holds(region(level)) {
                self.walk_caches[level - 1].access(region(level));
                start = level - 1;
                break;
            }
        }
        let mut read = Vec::new();
        for level in (leaf..=start).rev() {
            read.push(bases[level] + region(level) * 8);
            if level > leaf {
                self.walk_caches[level - 1].access(region(level));
            }
        }
        self.counters.get_mut(&owner).unwrap().walk_reads += read.len() as u64;
        read
    }

    fn access(&mut self, address: u64, bytes: u32, kind: AccessKind, owner: u32) -> Vec<u64> {
        let page_bytes = self.config.page.bytes();
        let last = address + u64::from(bytes.max(1)) - 1;
        let mut read = self.byte(address, kind, owner);
        if address / page_bytes != last / page_bytes {
            read.extend(self.byte(last, kind, owner));
        }
        read
    }
}

fn tlb() -> impl Strategy<Value = TlbConfig> {
    (1u32..=4, 1u32..=5).prop_map(|(ways, sets)| TlbConfig {
        entries: ways * sets,
        ways,
    })
}

fn translations() -> impl Strategy<Value = TranslationConfig> {
    let page = proptest::sample::select(PageSize::ALL.to_vec());
    let some = || proptest::option::weighted(0.7, tlb());
    (page, tlb(), some(), some(), proptest::array::uniform3(0u32..3)).prop_map(
        |(page, data, instruction, unified, walk_cache_entries)| TranslationConfig {
            page,
            data,
            instruction,
            unified,
            walks: Walks::Counted,
            walk_cache_entries,
        },
    )
}

type Loop = (Vec<Operand>, u64);

/// Loops within a few pages of each size, some of them crossing pages slowly, some fast.
fn loops() -> impl Strategy<Value = Vec<Loop>> {
    let operand = (
        0u64..4,
        0u64..6,
        0u64..8,
        0u64..4096,
        prop_oneof![
            Just(0i64),
            -70i64..70,
            -9000i64..9000,
            Just(1 << 21),
            Just(-(1 << 30))
        ],
        prop_oneof![Just(0u32), Just(8), Just(64)],
        proptest::sample::select(AccessKind::ALL.to_vec()),
        0..OWNERS,
    )
        .prop_map(
            |(huge, large, base, offset, stride, bytes, kind, owner)| Operand {
                address: (1 << 46) + (huge << 30) + (large << 21) + (base << 12) + offset,
                stride,
                bytes,
                kind,
                owner,
            },
        );
    proptest::collection::vec((proptest::collection::vec(operand, 1..4), 1u64..300), 1..8)
}

fn caches(translation: Option<TranslationConfig>) -> Config {
    let level = |name: &str, contents, bytes, ways| CacheConfig {
        name: name.into(),
        contents,
        scope: Scope::Private,
        bytes,
        ways,
        options: LevelOptions::default(),
    };
    Config {
        line_bytes: 64,
        levels: vec![
            level("l1d", Contents::Data, 4096, 4),
            level("l1i", Contents::Instruction, 2048, 2),
            level("l2", Contents::Unified, 16384, 8),
        ],
        translation,
    }
}

fn feed(caches: &mut Caches, memory: &mut Recorder, loops: &[Loop]) {
    for (operands, iterations) in loops {
        let run = Run {
            operands,
            iterations: *iterations,
            scattered: &[],
        };
        caches.run(0, run, memory);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn counters_are_those_of_lists(translation in translations(), loops in loops()) {
        let mut naive = Naive::new(&translation);
        for (operands, iterations) in &loops {
            for i in 0..*iterations {
                for operand in operands {
                    let address = operand.address.wrapping_add_signed(operand.stride * i as i64);
                    naive.access(address, operand.bytes, operand.kind, operand.owner);
                }
            }
        }
        for walks in Walks::ALL {
            let config = caches(Some(TranslationConfig { walks: *walks, ..translation.clone() }));
            let mut caches = Caches::new(&config, 1).unwrap();
            prop_assert_eq!(caches.simulates_runs(), *walks == Walks::Counted);
            caches.reserve_owners(OWNERS as usize);
            feed(&mut caches, &mut Recorder::default(), &loops);
            for owner in 0..OWNERS {
                let counters = caches.translation(owner).unwrap();
                let expected = naive.counters.get(&owner).copied().unwrap_or_default();
                prop_assert_eq!(*counters, expected, "owner {}, {}", owner, walks);
            }
        }
    }

    /// What walks do to the caches is what loads of the entries would do.
    #[test]
    fn walks_read_as_loads_do(translation in translations(), loops in loops()) {
        let mut naive = Naive::new(&translation);
        let mut plain = Caches::on_general_path(&caches(None), 1).unwrap();
        plain.reserve_owners(WALKER as usize + 1);
        let mut expected = Recorder::default();
        for (operands, iterations) in &loops {
            for i in 0..*iterations {
                for operand in operands {
                    let address = operand.address.wrapping_add_signed(operand.stride * i as i64);
                    let walks = naive.access(address, operand.bytes, operand.kind, operand.owner);
                    let load = |address| Operand {
                        address, stride: 0, bytes: 8, kind: AccessKind::Load, owner: WALKER,
                    };
                    let mut body: Vec<Operand> = walks.into_iter().map(load).collect();
                    body.push(Operand { address, ..*operand });
                    for operand in body {
                        plain.run(0, Run { operands: &[operand], iterations: 1, scattered: &[] }, &mut expected);
                    }
                }
            }
        }
        let config = caches(Some(TranslationConfig { walks: Walks::Cached, ..translation }));
        let mut caches = Caches::new(&config, 1).unwrap();
        caches.reserve_owners(OWNERS as usize);
        let mut memory = Recorder::default();
        feed(&mut caches, &mut memory, &loops);
        caches.flush(&mut memory);
        plain.flush(&mut expected);
        prop_assert_eq!(memory.0, expected.0);
        for level in 0..3 {
            let walks: (u64, u64) = (0..OWNERS)
                .map(|owner| caches.details(owner).unwrap()[level])
                .fold((0, 0), |sum, detail| (sum.0 + detail.walk_lookups, sum.1 + detail.walk_lookup_misses));
            let loads = plain.ledger().levels(WALKER)[level];
            prop_assert_eq!(walks, (loads.line_accesses(), loads.total_misses()));
            for owner in 0..OWNERS {
                prop_assert_eq!(caches.ledger().levels(owner)[level], plain.ledger().levels(owner)[level]);
            }
        }
    }
}

#[test]
fn a_sweep_walks_once_per_page() {
    for (page, pages) in [
        (PageSize::Base, 1 << 12),
        (PageSize::Large, 8),
        (PageSize::Huge, 1),
    ] {
        let translation = TranslationConfig {
            page,
            data: TlbConfig { entries: 64, ways: 4 },
            instruction: None,
            unified: Some(TlbConfig {
                entries: 1536,
                ways: 12,
            }),
            walks: Walks::Counted,
            walk_cache_entries: [32, 4, 2],
        };
        let mut caches = Caches::new(&caches(Some(translation)), 1).unwrap();
        caches.reserve_owners(1);
        let load = Operand {
            address: 0,
            stride: 8,
            bytes: 8,
            kind: AccessKind::Load,
            owner: 0,
        };
        let sweep = Run {
            operands: &[load],
            iterations: (16 << 20) / 8,
            scattered: &[],
        };
        caches.run(0, sweep, &mut Recorder::default());
        let counters = caches.translation(0).unwrap();
        assert_eq!(counters.dtlb_accesses, sweep.iterations);
        assert_eq!(
            [counters.dtlb_misses, counters.stlb_misses, counters.page_walks],
            [pages; 3]
        );
    }
}

#[test]
fn what_cannot_be_simulated_is_refused() {
    let right = TranslationConfig {
        page: PageSize::Base,
        data: TlbConfig { entries: 64, ways: 4 },
        instruction: None,
        unified: None,
        walks: Walks::Cached,
        walk_cache_entries: [0; 3],
    };
    let uneven = TranslationConfig {
        data: TlbConfig { entries: 63, ways: 4 },
        ..right.clone()
    };
    let no_ways = TranslationConfig {
        unified: Some(TlbConfig { entries: 64, ways: 0 }),
        ..right.clone()
    };
    let large = TranslationConfig {
        walk_cache_entries: [0, 5000, 0],
        ..right.clone()
    };
    for (translation, message) in [
        (
            uneven,
            "data TLB: 63 entries: it must be a multiple of its 4 ways",
        ),
        (no_ways, "unified TLB: 0 ways"),
        (large, "page-walk cache: 5000 entries"),
    ] {
        let error = Caches::new(&caches(Some(translation)), 1)
            .unwrap_err()
            .to_string();
        assert!(error.contains(message), "{error}");
    }
    let reasons = caches(Some(right)).general_path_reasons();
    assert_eq!(reasons, ["page walks read in the caches"]);
}
