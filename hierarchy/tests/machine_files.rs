//! Machine files: what they say, what they inherit, and every mistake with its file, line and key.

use std::fs;

use memloupe_cachesim::{Contents, Scope};
use memloupe_hierarchy::{Machine, MachineError, System};

const SMALL: &str = r#"
name = "small"
[core]
count = 2
frequency = "1 GHz"
issue_width = 1
[cache.l1d]
level = 1
contents = "data"
scope = "private"
size = "4 KiB"
ways = 4
line = "64 B"
latency = "2 ns"
[memory]
device = "DDR4-2400R"
channels = 3
ranks = 1
latency = "10 ns"
"#;

/// The message for `SMALL` with one text replaced.
fn refused(from: &str, to: &str) -> String {
    assert!(SMALL.contains(from), "{from}");
    let error = Machine::from_toml("small.toml", &SMALL.replacen(from, to, 1)).unwrap_err();
    let text = error.to_string();
    assert!(!text.contains('\n'), "one line: {text}");
    text
}

#[test]
fn mistakes_name_file_line_and_key() {
    let table: &[(&str, &str, &str)] = &[
        ("count = 2", "count = ", "small.toml:4: "),
        ("count = 2", "count = 2\ncount = 2", "small.toml:5: duplicate key"),
        (
            "ways = 4",
            "wyas = 4",
            "small.toml:12: cache.l1d.wyas: unknown key; did you mean 'cache.l1d.ways'?",
        ),
        (
            "[core]",
            "[croe]",
            "small.toml:3: croe: unknown key; did you mean 'core'?",
        ),
        (
            "name =",
            "nmae =",
            "small.toml:2: nmae: unknown key; did you mean 'name'?",
        ),
        (
            "[core]",
            "[core.boost]\nx = 1\n[core]",
            "small.toml:3: core.boost: unknown key",
        ),
        (
            "ways = 4",
            "ways.up = 4",
            "small.toml:12: cache.l1d.ways: unknown key",
        ),
        ("[core]\n", "core = 1\n[corf]\n", "core: unknown key"),
        ("ways = 4", "", "small.toml: cache.l1d.ways: missing"),
        (
            "device = \"DDR4-2400R\"",
            "",
            "small.toml: memory.device: missing",
        ),
        (
            "ways = 4",
            "ways = \"4\"",
            "small.toml:12: cache.l1d.ways: \"4\" is not an integer from 1 to 65536",
        ),
        (
            "ways = 4",
            "ways = 0",
            "small.toml:12: cache.l1d.ways: 0 is not an integer from 1",
        ),
        ("ways = 4", "ways = -4", "cache.l1d.ways: -4 is not"),
        (
            "ways = 4",
            "ways = 99999999999999999999",
            "cache.l1d.ways: 99999999999999999999 is not a 64-bit integer",
        ),
        ("ways = 4", "ways = 4.5", "cache.l1d.ways: 4.5 is not an integer"),
        ("ways = 4", "ways = [4]", "cache.l1d.ways: array is not"),
        (
            "name = \"small\"",
            "name = 3",
            "small.toml:2: name: 3 is not a text",
        ),
        (
            "\"4 KiB\"",
            "4096",
            "small.toml:11: cache.l1d.size: 4096 is not a size with a unit (B, KiB, MiB, GiB)",
        ),
        (
            "\"4 KiB\"",
            "\"4 KB\"",
            "cache.l1d.size: \"4 KB\" is not a size with a unit",
        ),
        (
            "\"1 GHz\"",
            "\"1 cycles\"",
            "core.frequency: \"1 cycles\" is not a frequency with a unit",
        ),
        (
            "\"2 ns\"",
            "\"2\"",
            "cache.l1d.latency: \"2\" is not a number of cycles with a unit",
        ),
        (
            "\"64 B\"",
            "\"65 B\"",
            "cache.l1d.line: \"65 B\" is not a power of two",
        ),
        (
            "\"data\"",
            "\"dat\"",
            "cache.l1d.contents: \"dat\" is not \"data\", \"instruction\" or \"unified\"",
        ),
        (
            "\"private\"",
            "true",
            "cache.l1d.scope: true is not \"private\", \"shared\" or",
        ),
        (
            "DDR4-2400R",
            "DDR9",
            "small.toml:16: memory.device: \"DDR9\" is not a device, such as DDR4-3200AA",
        ),
        (
            "level = 1",
            "level = 1\npresent = 1",
            "cache.l1d.present: 1 is not true or false",
        ),
        (
            "level = 1",
            "level = 1\npresent = false",
            "machine small: it has no cache",
        ),
        (
            "\"4 KiB\"",
            "\"5000 B\"",
            "machine small: l1d: size 5000 B is not a positive multiple of ways × line",
        ),
        (
            "ranks = 1",
            "ranks = 1\nmapping = \"row-bank\"",
            "machine small: memory: mapping 'row-bank': it does not name column",
        ),
        (
            "ranks = 1",
            "ranks = 1\nmapping = \"row-bank-bank-bankgroup-column-channel\"",
            "memory: mapping",
        ),
        ("\"64 B\"", "\"16 KiB\"", "not a positive multiple"),
        (
            "name =",
            "extends = \"desktpo\"\nname =",
            "unknown machine 'desktpo'; did you mean 'desktop'?",
        ),
        (
            "name =",
            "extends = 3\nname =",
            "small.toml:2: extends: 3 is not a text",
        ),
    ];
    for (from, to, message) in table {
        let text = refused(from, to);
        assert!(text.contains(message), "{from} -> {to}:\n  {text}\n  {message}");
    }
    let two_lines = format!(
        "{SMALL}\n[cache.l2]\nlevel = 2\ncontents = \"unified\"\nscope = \"shared\"\nsize = \"64 KiB\"\nways = 4\n\
         line = \"128 B\"\nlatency = \"9 cycles\"\n"
    );
    let text = Machine::from_toml("small.toml", &two_lines)
        .unwrap_err()
        .to_string();
    assert!(
        text.contains("one line size, or one sector size, but l1d has 64 B and l2 has 128 B"),
        "{text}"
    );
}

#[test]
fn values_arrive_in_their_units() {
    let machine = Machine::from_toml("small.toml", SMALL).unwrap();
    assert_eq!(
        (machine.core.count, machine.core.frequency_hz),
        (2, 1_000_000_000)
    );
    let l1d = &machine.caches[0];
    assert_eq!((l1d.size_bytes, l1d.ways, l1d.line_bytes), (4096, 4, 64));
    assert_eq!((l1d.contents, l1d.scope), (Contents::Data, Scope::Private));
    assert_eq!(l1d.latency_cycles, 2.0, "2 ns at 1 GHz");
    assert_eq!(machine.memory.latency_ps, 10_000);
    let json = serde_json::to_value(&machine).unwrap();
    assert_eq!(json["caches"][0]["contents"], "data");
    assert_eq!(json["memory"]["channels"], 3);
}

#[test]
fn presets_resolve_simulate_and_survive_a_round_trip() {
    for preset in Machine::presets() {
        let machine = Machine::load(preset.name).unwrap();
        assert_eq!(machine.name, preset.name);
        System::new(&machine).unwrap();
        let mut again = Machine::from_toml("again", &machine.to_toml()).unwrap();
        assert!(again.notes.is_empty());
        again.notes.clone_from(&machine.notes);
        assert_eq!(again, machine, "{}", machine.to_toml());
    }
}

#[test]
fn levels_are_ordered_from_the_core_outwards() {
    let machine = Machine::load("desktop").unwrap();
    let system = System::new(&machine).unwrap();
    assert_eq!(
        system.level_names().collect::<Vec<_>>(),
        ["l1d", "l1i", "l2", "l3"]
    );
}

#[test]
fn a_file_extends_presets_and_files() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    write(
        "middle.toml",
        "extends = \"desktop\"\ndescription = \"half a cache\"\n[cache.l3]\nsize = \"8 MiB\"\n",
    );
    let top = write(
        "top.toml",
        "extends = \"middle.toml\"\n[cache.l2]\npresent = false\n[core]\ncount = 1\n",
    );
    let machine = Machine::load(&top).unwrap();
    let desktop = Machine::load("desktop").unwrap();
    assert_eq!(machine.name, "top");
    assert_eq!(machine.description, "half a cache");
    assert_eq!(machine.core.count, 1);
    assert_eq!(
        machine.caches.iter().map(|c| c.name.as_str()).collect::<Vec<_>>(),
        ["l1d", "l1i", "l3"]
    );
    assert_eq!(machine.caches[2].size_bytes, 8 << 20);
    assert_eq!(machine.caches[2].ways, desktop.caches[3].ways);
    assert_eq!(machine.memory, desktop.memory);

    let circle = write("circle.toml", "extends = \"./circle.toml\"\n");
    let error = Machine::load(&circle).unwrap_err();
    assert!(matches!(&error, MachineError::ExtendsItself { .. }), "{error}");
    assert!(error.to_string().contains("circle.toml:1: extends"), "{error}");

    // A mistake is reported where it stands, also when it was inherited.
    write("bad.toml", "extends = \"desktop\"\n\n[cache.l3]\nsize = \"8\"\n");
    let heir = write("heir.toml", "extends = \"bad.toml\"\n");
    let text = Machine::load(&heir).unwrap_err().to_string();
    assert!(text.contains("bad.toml:4: cache.l3.size"), "{text}");
}

#[test]
fn unknown_machines_and_absent_files() {
    let text = Machine::load("desktpo").unwrap_err().to_string();
    assert!(
        text.contains("did you mean 'desktop'?") && text.contains("host, desktop, ice-lake-sp"),
        "{text}"
    );
    let text = Machine::load("pdp11").unwrap_err().to_string();
    assert!(!text.contains("did you mean"), "{text}");
    let error = Machine::load("./no-such-machine.toml").unwrap_err();
    assert!(matches!(error, MachineError::Read { .. }));
    assert!(
        error.to_string().contains("no-such-machine.toml: No such file"),
        "{error}"
    );
}
