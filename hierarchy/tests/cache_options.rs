//! What a machine file may say of a cache beyond its shape: it arrives, survives a round trip, and mistakes are named.

use memloupe_cachesim::{Inclusion, PageSize, PartitionBy, Protocol, Scope, Walks, WritePolicy};
use memloupe_hierarchy::{Machine, System};

const MACHINE: &str = r#"
name = "everything"
[core]
count = 4
frequency = "1 GHz"
issue_width = 1
rob = 64
[cache.l1d]
level = 1
contents = "data"
scope = "private"
size = "4 KiB"
ways = 4
line = "64 B"
latency = "2 cycles"
hit_energy = "5 pJ"
miss_energy = "11 pJ"
write = "through"
write_allocate = false
write_buffer_lines = 8
victim_lines = 4
mshrs = 10
miss_window = "200 accesses"
[cache.l2]
level = 2
contents = "unified"
scope = "cluster of 2"
size = "24 KiB"
ways = 6
line = "128 B"
sector = "64 B"
latency = "9 cycles"
hit_energy = "0.5 nJ"
miss_energy = "900 fJ"
replacement = "tree-plru"
prefetcher = "spp"
inclusion = "inclusive"
[cache.l3]
level = 3
contents = "unified"
scope = "shared"
size = "192 KiB"
ways = 12
line = "64 B"
latency = "30 cycles"
hit_energy = "37 pJ"
miss_energy = "74.5 pJ"
inclusion = "exclusive"
replacement = "random"
seed = 7
slices = 4
partition_by = "class"
partition_ways = "0xff 0xf00"
classify = true
opt_bound = true
[tlb]
page = "2 MiB"
walks = "cached"
[tlb.data]
entries = 64
ways = 4
energy = "1.5 pJ"
[tlb.unified]
entries = 1536
ways = 12
energy = "9 pJ"
[tlb.walker]
pde_entries = 32
[memory]
device = "DDR4-2400R"
channels = 1
ranks = 1
latency = "10 ns"
link_energy = "5 pJ/bit"
"#;

#[test]
fn options_arrive_and_survive_a_round_trip() {
    let machine = Machine::from_toml("everything.toml", MACHINE).unwrap();
    let [l1d, l2, l3] = &machine.caches[..] else {
        panic!("three caches")
    };
    assert_eq!(l1d.options.write, WritePolicy::Through);
    assert!(!l1d.options.write_allocate);
    assert_eq!((l1d.options.write_buffer_lines, l1d.options.victim_lines), (8, 4));
    assert_eq!((l1d.options.mshrs, l1d.options.miss_window_accesses), (10, 200));
    assert_eq!((l1d.mshrs, l2.mshrs), (Some(10), None));
    assert_eq!((l2.scope, l2.options.sectors), (Scope::Cluster(2), 2));
    assert_eq!(machine.line_bytes(), 64);
    assert_eq!(l2.options.replacement.name, "tree-plru");
    assert_eq!(l2.options.prefetcher.unwrap().name, "spp");
    assert_eq!(l2.options.inclusion, Inclusion::Inclusive);
    assert_eq!(l3.options.inclusion, Inclusion::Exclusive);
    assert_eq!((l3.options.replacement.name, l3.options.seed), ("random", 7));
    assert_eq!(
        (l3.options.slices, l3.options.classify, l3.options.opt_bound),
        (4, true, true)
    );
    let partition = l3.options.partition.as_ref().unwrap();
    assert_eq!(
        (partition.by, &partition.masks[..]),
        (PartitionBy::Class, &[0xff, 0xf00][..])
    );
    let translation = machine.translation.as_ref().unwrap();
    assert_eq!(
        (translation.page, translation.walks),
        (PageSize::Large, Walks::Cached)
    );
    assert_eq!((translation.data.entries, translation.data.ways), (64, 4));
    assert_eq!(
        (translation.instruction, translation.unified.unwrap().ways),
        (None, 12)
    );
    assert_eq!(translation.walk_cache_entries, [32, 0, 0]);
    assert_eq!(Machine::from_toml("again", &machine.to_toml()).unwrap(), machine);
    System::new(&machine).unwrap();
    let reasons = machine.cache_config().general_path_reasons();
    assert!(
        reasons.iter().any(|reason| reason == "l1d: write-through"),
        "{reasons:?}"
    );
}

#[test]
fn a_directory_is_named_by_its_protocol() {
    let text = MACHINE.replace("\"cluster of 2\"", "\"private\"");
    let text = text.replace("opt_bound = true", "coherence = \"moesi\"");
    let machine = Machine::from_toml("coherent.toml", &text).unwrap();
    assert_eq!(machine.caches[2].options.coherence, Some(Protocol::Moesi));
    assert_eq!(Machine::from_toml("again", &machine.to_toml()).unwrap(), machine);
    let reasons = machine.cache_config().general_path_reasons();
    assert!(
        reasons.iter().any(|reason| reason == "l3: coherence moesi"),
        "{reasons:?}"
    );
}

#[test]
fn mistakes_name_the_key_and_what_it_takes() {
    for (from, to, message) in [
        (
            "replacement =",
            "replacment =",
            "did you mean 'cache.l2.replacement'?",
        ),
        ("\"tree-plru\"", "\"plru\"", "is not one of: lru, tree-plru, nru,"),
        ("\"spp\"", "\"sspp\"", "is not one of: none, next-line, stride,"),
        ("\"through\"", "\"around\"", "is not one of: back, through"),
        (
            "\"200 accesses\"",
            "200",
            "cache.l1d.miss_window: 200 is not a number of accesses with a unit",
        ),
        ("\"200 accesses\"", "\"20 ns\"", "cache.l1d.miss_window"),
        (
            "mshrs = 10",
            "mshrs = 100000",
            "cache.l1d.mshrs: 100000 is not an integer",
        ),
        (
            "mshrs = 10",
            "mshrs = 300",
            "l1d: MSHRs: 300 is more than the 256",
        ),
        (
            "mshrs = 10\n",
            "",
            "l1d: miss window: is of MSHRs or a prefetcher",
        ),
        (
            "sector = \"64 B\"",
            "sector = \"48 B\"",
            "divides the line of 128 B",
        ),
        (
            "sector = \"64 B\"",
            "sector = \"32 B\"",
            "but l1d has 64 B and l2 has 32 B",
        ),
        (
            "\"2 MiB\"",
            "\"64 KiB\"",
            "tlb.page: \"64 KiB\" is not one of: 4 KiB, 2 MiB, 1 GiB",
        ),
        (
            "\"cached\"",
            "\"caches\"",
            "tlb.walks: \"caches\" is not \"counted\" or \"cached\"",
        ),
        (
            "entries = 64",
            "entries = 63",
            "data TLB: 63 entries: it must be a multiple of its 4 ways",
        ),
        ("[tlb.data]", "[tlb.date]", "did you mean 'tlb.data'?"),
        (
            "[tlb.data]\nentries = 64\nways = 4\nenergy = \"1.5 pJ\"\n",
            "",
            "tlb.data.entries: missing",
        ),
        (
            "opt_bound = true",
            "coherence = \"mesif\"",
            "is not one of: none, mesi, moesi",
        ),
        (
            "opt_bound = true",
            "coherence = \"mesi\"",
            "l3: coherence: the directory's level must be the first that cores share",
        ),
        (
            "\"tree-plru\"",
            "\"./nowhere.so\"",
            "cache.l2.replacement: \"./nowhere.so\" is not a library that can be used: ./nowhere.so: cannot be loaded: ",
        ),
        (
            "\"spp\"",
            "\"spp\"\nprefetcher_parameters = \"4\"",
            "cache.l2.prefetcher_parameters: \"4\" is not for a model that is built in: remove it, or name a library",
        ),
        (
            "victim_lines = 4",
            "victim_lines = 4\nreplacement_parameters = \"4\"",
            "cache.l1d.replacement_parameters: \"4\" is not of use without a library under cache.l1d.replacement",
        ),
        (
            "slices = 4",
            "slices = 5",
            "l3: size 196608 B is not a positive multiple",
        ),
        ("\"0xff 0xf00\"", "\"ff\"", "masks of ways in hexadecimal"),
        (
            "\"0xff 0xf00\"",
            "\"0xffff\"",
            "l3: partition: mask 0xffff names ways beyond the 12",
        ),
        ("\"cluster of 2\"", "\"cluster of two\"", "\"cluster of N\" cores"),
        (
            "\"cluster of 2\"",
            "\"cluster of 0\"",
            "l2: scope: a cluster needs at least one core",
        ),
        (
            "write = \"through\"",
            "inclusion = \"inclusive\"",
            "l1d: inclusion: the level nearest to the core",
        ),
    ] {
        assert!(MACHINE.contains(from), "{from}");
        let text = Machine::from_toml("m.toml", &MACHINE.replacen(from, to, 1))
            .unwrap_err()
            .to_string();
        assert!(
            text.contains(message) && !text.contains('\n'),
            "{from} -> {to}:\n  {text}\n  {message}"
        );
    }
}
