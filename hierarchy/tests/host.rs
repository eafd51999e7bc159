//! The machine `host` from kernel folders of several shapes.

use std::fs;
use std::path::Path;

use memloupe_cachesim::Scope;
use memloupe_hierarchy::{Machine, System};

/// Level, type, size, ways, sets, line, CPUs that share it.
type Index<'a> = (&'a str, &'a str, &'a str, &'a str, &'a str, &'a str, &'a str);

fn cpu_folder(online: &str, siblings: &str, indices: &[Index<'_>]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, format!("{text}\n")).unwrap();
    };
    write("online", online);
    write("cpu0/topology/thread_siblings_list", siblings);
    for (i, (level, kind, size, ways, sets, line, shared)) in indices.iter().enumerate() {
        let files = [
            ("level", level),
            ("type", kind),
            ("size", size),
            ("ways_of_associativity", ways),
            ("number_of_sets", sets),
            ("coherency_line_size", line),
            ("shared_cpu_list", shared),
        ];
        for (name, text) in files.iter().filter(|(_, text)| !text.is_empty()) {
            write(&format!("cpu0/cache/index{i}/{name}"), text);
        }
    }
    folder
}

fn geometry(machine: &Machine) -> Vec<(&str, u64, u32, Scope)> {
    machine
        .caches
        .iter()
        .map(|c| (c.name.as_str(), c.size_bytes, c.ways, c.scope))
        .collect()
}

fn has_note(machine: &Machine, text: &str) -> bool {
    machine.notes.iter().any(|note| note.contains(text))
}

use Scope::{Private, Shared};

const XEON: [Index<'_>; 4] = [
    ("1", "Data", "48K", "12", "64", "64", "0"),
    ("1", "Instruction", "64K", "16", "64", "64", "0"),
    ("2", "Unified", "2048K", "16", "2048", "64", "0"),
    ("3", "Unified", "491520K", "16", "491520", "64", "0-1"),
];

#[test]
fn a_virtual_machine_with_a_huge_last_level() {
    let folder = cpu_folder("0-1", "0", &XEON);
    let machine = Machine::host(folder.path()).unwrap();
    assert_eq!(machine.core.count, 2);
    assert_eq!(
        geometry(&machine),
        [
            ("l1d", 48 << 10, 12, Private),
            ("l1i", 64 << 10, 16, Private),
            ("l2", 2 << 20, 16, Private),
            ("l3", 480 << 20, 16, Shared),
        ]
    );
    assert!(has_note(&machine, "no frequency"));
    System::new(&machine).unwrap();
}

#[test]
fn hyper_threads_are_one_core_and_another_socket_is_left_out() {
    let mut caches = XEON;
    for cache in &mut caches[..3] {
        cache.6 = "0,8";
    }
    caches[3].6 = "0-3,8-11";
    let folder = cpu_folder("0-15", "0,8", &caches);
    fs::create_dir_all(folder.path().join("cpu0/cpufreq")).unwrap();
    fs::write(folder.path().join("cpu0/cpufreq/cpuinfo_max_freq"), "3500000\n").unwrap();
    let machine = Machine::host(folder.path()).unwrap();
    assert_eq!(
        machine.core.count, 4,
        "CPUs 0-3 with their siblings share the last level"
    );
    assert_eq!(machine.core.frequency_hz, 3_500_000_000);
    assert_eq!(machine.caches[2].scope, Private);
    assert_eq!(machine.caches[3].scope, Shared);
    assert!(!has_note(&machine, "frequency"));
}

#[test]
fn a_container_without_the_cache_folder() {
    let folder = cpu_folder("0-3", "0", &[]);
    let machine = Machine::host(folder.path()).unwrap();
    assert_eq!(machine.core.count, 4);
    assert_eq!(machine.caches.len(), 4, "the file's caches stand");
    assert!(has_note(&machine, "reports no cache"), "{:?}", machine.notes);

    let nothing = Machine::host(Path::new("/nonexistent/cpu")).unwrap();
    assert_eq!(nothing.core.count, 1);
    assert!(has_note(&nothing, "reports no cache"));
}

#[test]
fn levels_that_the_kernel_does_not_report_do_not_exist() {
    let folder = cpu_folder(
        "0-3",
        "0",
        &[XEON[0], ("2", "Unified", "1M", "16", "", "64", "0-3")],
    );
    let machine = Machine::host(folder.path()).unwrap();
    assert_eq!(
        geometry(&machine),
        [("l1d", 48 << 10, 12, Private), ("l2", 1 << 20, 16, Shared)]
    );
}

#[test]
fn odd_entries_are_mended_or_ignored_and_noted() {
    let folder = cpu_folder(
        "0-7",
        "0",
        &[
            ("1", "Data", "32K", "0", "64", "64", "0"),
            ("1", "Instruction", "lots", "8", "64", "64", "0"),
            ("2", "Unified", "512K", "0", "", "64", "0-3"),
            ("3", "Unified", "1000", "16", "1", "64", "0-7"),
            ("3", "Unified", "8192K", "16", "8192", "64", "0-7"),
            ("4", "Unified", "64M", "16", "65536", "64", "0-7"),
            ("3", "Unified", "16384K", "16", "16384", "64", "0-7"),
        ],
    );
    let machine = Machine::host(folder.path()).unwrap();
    assert_eq!(
        geometry(&machine),
        [
            ("l1d", 32 << 10, 8, Private),
            ("l2", 512 << 10, 16, Private),
            ("l3", 8 << 20, 16, Shared)
        ]
    );
    for note in [
        "l1d: the kernel reports no ways: 8, from its sets",
        "size 'lots' is not understood",
        "l2: the kernel reports no ways: 16 assumed",
        "l2 is shared by 4 of 8 CPUs",
        "size 1000 is no multiple of 16 ways",
        "level 4 Unified is not simulated",
        "a second l3",
    ] {
        assert!(has_note(&machine, note), "{note}: {:#?}", machine.notes);
    }
}

#[test]
fn this_computer_resolves_and_simulates() {
    let machine = Machine::load("host").unwrap();
    System::new(&machine).unwrap();
}
