//! Policies and prefetchers from shared libraries: the examples act as what is built in, mistakes are named, and wrong
//! values do no harm.

use std::path::{Path, PathBuf};

use memloupe_cachesim::{
    AccessKind, CacheConfig, Caches, Config, Contents, LevelOptions, Memory, Operand, Run, Scope, prefetch,
    replacement,
};
use proptest::prelude::*;
use tempfile::TempDir;

#[derive(Default)]
struct Recorder(Vec<(bool, u64)>);

impl Memory for Recorder {
    fn read(&mut self, line_address: u64, _lines: u64, _owner: u32) {
        self.0.push((false, line_address));
    }
    fn write(&mut self, line_address: u64, _lines: u64, _owner: u32) {
        self.0.push((true, line_address));
    }
}

/// Libraries compiled from C; they stay loaded when the folder is gone.
struct Libraries {
    folder: TempDir,
}

impl Libraries {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self { folder }
    }

    fn compile(&self, source: &str, name: &str, flags: &[&str]) -> PathBuf {
        let crate_folder = Path::new(env!("CARGO_MANIFEST_DIR"));
        let target = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
        let compiler = cc::Build::new()
            .host(&target)
            .target(&target)
            .opt_level(1)
            .cargo_metadata(false)
            .get_compiler();
        let library = self.folder.path().join(name);
        let compiled = compiler
            .to_command()
            .args([
                "-std=c11",
                "-Wall",
                "-Wextra",
                "-Wconversion",
                "-Werror",
                "-shared",
                "-fPIC",
                "-I",
            ])
            .arg(crate_folder.join("../ffi/include"))
            .args(flags)
            .arg(crate_folder.join(source))
            .arg("-o")
            .arg(&library)
            .output()
            .unwrap();
        assert!(
            compiled.status.success(),
            "{}",
            String::from_utf8_lossy(&compiled.stderr)
        );
        library
    }
}

fn config(change: impl Fn(&mut LevelOptions)) -> Config {
    let mut options = LevelOptions::default();
    change(&mut options);
    let level = |name: &str, contents, bytes, ways| CacheConfig {
        name: name.into(),
        contents,
        scope: Scope::Private,
        bytes,
        ways,
        options: options.clone(),
    };
    Config {
        line_bytes: 64,
        levels: vec![
            level("l1d", Contents::Data, 1024, 4),
            level("l2", Contents::Unified, 8192, 8),
        ],
        translation: None,
    }
}

fn simulate(config: &Config, lines: &[(u64, bool)]) -> (Vec<(bool, u64)>, Vec<String>) {
    let mut caches = Caches::on_general_path(config, 1).unwrap();
    caches.reserve_owners(2);
    let mut memory = Recorder::default();
    for &(line, store) in lines {
        let operand = Operand {
            address: line * 64,
            stride: 0,
            bytes: 8,
            kind: if store {
                AccessKind::Store
            } else {
                AccessKind::Load
            },
            owner: u32::from(store),
        };
        let run = Run {
            operands: &[operand],
            iterations: 3,
            scattered: &[],
        };
        caches.run(0, run, &mut memory);
    }
    let counters =
        (0..2).map(|owner| format!("{:?}{:?}", caches.ledger().levels(owner), caches.details(owner)));
    let counters = counters.collect();
    caches.flush(&mut memory);
    (memory.0, counters)
}

fn lines() -> impl Strategy<Value = Vec<(u64, bool)>> {
    let stretch = (0u64..600, 1u64..40, any::<bool>()).prop_map(|(first, count, store)| {
        (first..first + count)
            .map(|line| (line, store))
            .collect::<Vec<_>>()
    });
    proptest::collection::vec(stretch, 1..60).prop_map(|stretches| stretches.concat())
}

#[test]
fn examples_act_as_what_is_built_in() {
    let libraries = Libraries::new();
    let lru = libraries.compile("../ffi/examples/plugins/lru.c", "lru.so", &[]);
    let lru = replacement::load(&lru, "").unwrap();
    let next_line = libraries.compile("../ffi/examples/plugins/next_line.c", "next_line.so", &[]);
    let next_line = prefetch::load(&next_line, "").unwrap();
    let builtin = prefetch::BUILTIN
        .iter()
        .find(|builtin| builtin.name == "next-line");
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(100)
    });
    runner
        .run(&lines(), |lines| {
            let loaded = config(|options| {
                options.replacement = lru;
                options.prefetcher = Some(next_line);
            });
            let plain = config(|options| options.prefetcher = builtin);
            prop_assert_eq!(simulate(&loaded, &lines), simulate(&plain, &lines));
            Ok(())
        })
        .unwrap();
}

#[test]
fn parameters_reach_the_library() {
    let libraries = Libraries::new();
    let library = libraries.compile("../ffi/examples/plugins/next_line.c", "next_line.so", &[]);
    let sweep: Vec<(u64, bool)> = (0..64).map(|line| (line, false)).collect();
    let misses = |parameters| {
        let engine = prefetch::load(&library, parameters).unwrap();
        let config = config(|options| options.prefetcher = Some(engine));
        let mut caches = Caches::new(&config, 1).unwrap();
        caches.reserve_owners(1);
        for &(line, _) in &sweep {
            let operand = Operand {
                address: line * 64,
                stride: 0,
                bytes: 8,
                kind: AccessKind::Load,
                owner: 0,
            };
            caches.run(
                0,
                Run {
                    operands: &[operand],
                    iterations: 1,
                    scattered: &[],
                },
                &mut Recorder::default(),
            );
        }
        let detail = caches.details(0).unwrap()[0];
        (
            caches.ledger().total_misses(0),
            detail.prefetches_issued + detail.prefetches_redundant,
        )
    };
    assert_eq!(misses("1"), (1, 63));
    // Each of 64 accesses asks for the 4 lines that follow in its page.
    assert_eq!(misses("4"), (1, 4 * 60 + 3 + 2 + 1));
    let engine = prefetch::load(&library, "many").unwrap();
    let error = Caches::new(&config(|options| options.prefetcher = Some(engine)), 1).unwrap_err();
    let text = error.to_string();
    assert!(
        text.starts_with("l1d: ") && text.ends_with("'many' is no number of lines from 1 to 64"),
        "{text}"
    );
}

#[test]
fn mistakes_are_named() {
    let libraries = Libraries::new();
    let lru = libraries.compile("../ffi/examples/plugins/lru.c", "lru.so", &[]);
    let old = libraries.compile("tests/plugins/wild.c", "old.so", &["-DVERSION=7"]);
    let partial = libraries.compile("tests/plugins/wild.c", "partial.so", &["-DNO_VICTIM"]);
    let text = libraries.folder.path().join("text.so");
    std::fs::write(&text, "no library").unwrap();
    for (error, message) in [
        (
            replacement::load(Path::new("/nowhere/x.so"), "").unwrap_err(),
            "/nowhere/x.so: cannot be loaded: ",
        ),
        (
            replacement::load(&text, "").unwrap_err(),
            "text.so: cannot be loaded: ",
        ),
        (
            prefetch::load(&lru, "").unwrap_err(),
            "lru.so: exports no function memloupe_prefetcher_engine",
        ),
        (
            replacement::load(&old, "").unwrap_err(),
            "old.so: compiled for version 7 of memloupe_plugin.h, this is version 1",
        ),
        (
            replacement::load(&partial, "").unwrap_err(),
            "partial.so: its table has no victim",
        ),
        (
            replacement::load(&lru, "a\0b").unwrap_err(),
            "contain a zero byte",
        ),
    ] {
        let error = error.to_string();
        assert!(error.contains(message) && !error.contains('\n'), "{error}");
    }
    let fussy = replacement::load(&lru, "fast").unwrap();
    let error = Caches::new(&config(|options| options.replacement = fussy), 1)
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("cannot be created: lru takes no parameters, not 'fast'"),
        "{error}"
    );
}

#[test]
fn wrong_values_do_no_harm() {
    let libraries = Libraries::new();
    let library = libraries.compile("tests/plugins/wild.c", "wild.so", &[]);
    let policy = replacement::load(&library, "").unwrap();
    let engine = prefetch::load(&library, "").unwrap();
    let wild = config(|options| {
        options.replacement = policy;
        options.prefetcher = Some(engine);
    });
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(30)
    });
    runner
        .run(&lines(), |lines| {
            let (requests, _) = simulate(&wild, &lines);
            // Whatever was stored reaches memory.
            for (line, _) in lines.iter().filter(|access| access.1) {
                prop_assert!(requests.contains(&(true, line * 64)));
            }
            Ok(())
        })
        .unwrap();
    // A message without an end, and none at all.
    let mut one_way = wild.clone();
    one_way.levels[0].ways = 1;
    let error = Caches::new(&one_way, 1).unwrap_err().to_string();
    assert!(error.ends_with(&"x".repeat(256)), "{error}");
    let silent = prefetch::load(&library, "no").unwrap();
    let error = Caches::new(&config(|options| options.prefetcher = Some(silent)), 1)
        .unwrap_err()
        .to_string();
    assert!(error.ends_with("the library does not say why"), "{error}");
}
