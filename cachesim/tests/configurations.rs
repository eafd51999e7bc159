//! Configurations that are refused, each with its message, and sizes that are real but not powers of two.

use memloupe_cachesim::{
    AccessKind, CacheConfig, Caches, Config, ConfigError, Contents, LevelOptions, Memory, Operand, Run, Scope,
};

struct Ignored;
impl Memory for Ignored {
    fn read(&mut self, _line_address: u64, _lines: u64, _owner: u32) {}
    fn write(&mut self, _line_address: u64, _lines: u64, _owner: u32) {}
}

fn level(name: &str, contents: Contents, scope: Scope, bytes: u64, ways: u32) -> CacheConfig {
    CacheConfig {
        name: name.into(),
        contents,
        scope,
        bytes,
        ways,
        options: LevelOptions::default(),
    }
}

fn refused(line_bytes: u32, levels: &[CacheConfig]) -> String {
    Caches::new(
        &Config {
            line_bytes,
            levels: levels.to_vec(),
            translation: None,
        },
        2,
    )
    .unwrap_err()
    .to_string()
}

#[test]
fn what_cannot_be_simulated_is_refused() {
    use Contents::{Data, Instruction, Unified};
    use Scope::{Private, Shared};
    let l1 = level("l1d", Data, Private, 32 << 10, 8);
    for (line_bytes, levels, message) in [
        (64, vec![], "no cache holds data"),
        (
            64,
            vec![level("l1i", Instruction, Private, 32 << 10, 8)],
            "no cache holds data",
        ),
        (0, vec![l1.clone()], "line size 0 B"),
        (48, vec![l1.clone()], "line size 48 B"),
        (4, vec![l1.clone()], "line size 4 B"),
        (
            64,
            vec![level("l1d", Data, Private, 32 << 10, 0)],
            "l1d: ways must be at least 1",
        ),
        (
            64,
            vec![level("l1d", Data, Private, 4096 * 64, 4096)],
            "l1d: 4096 ways are more than the 2048",
        ),
        (64, vec![level("l1d", Data, Private, 0, 8)], "l1d: size 0 B"),
        (
            64,
            vec![level("l1d", Data, Private, 1000, 8)],
            "multiple of ways × line = 512 B",
        ),
        (64, vec![level("l1d", Data, Private, 1 << 40, 8)], "64 GiB"),
        (64, vec![l1.clone(), l1.clone()], "l1d: two caches have this name"),
        (
            64,
            vec![
                level("l1", Unified, Shared, 32 << 10, 8),
                level("l2", Unified, Private, 32 << 10, 8),
            ],
            "l2: a private cache",
        ),
        (
            64,
            vec![level("l1", Unified, Private, 32 << 10, 8), l1.clone()],
            "l1d: a data or instruction",
        ),
    ] {
        let text = refused(line_bytes, &levels);
        assert!(text.contains(message), "{text}");
    }
    let one = Config {
        line_bytes: 64,
        levels: vec![l1],
        translation: None,
    };
    assert_eq!(Caches::new(&one, 0).unwrap_err(), ConfigError::NoCores);
}

#[test]
fn a_last_level_of_491520_sets_holds_exactly_its_size() {
    let config = Config {
        line_bytes: 64,
        levels: vec![level("l3", Contents::Unified, Scope::Shared, 480 << 20, 16)],
        translation: None,
    };
    let mut caches = Caches::new(&config, 2).unwrap();
    caches.reserve_owners(1);
    let lines = (480 << 20) / 64;
    let sweep = [Operand {
        address: 0,
        stride: 64,
        bytes: 8,
        kind: AccessKind::Load,
        owner: 0,
    }];
    for _ in 0..2 {
        caches.run(
            0,
            Run {
                operands: &sweep,
                iterations: lines,
                scattered: &[],
            },
            &mut Ignored,
        );
    }
    let counters = &caches.ledger().levels(0)[0];
    assert_eq!((counters.total_misses(), counters.hits()), (lines, lines));
    assert_eq!(caches.resident_lines(0), lines);
    // One line more than fits: LRU then loses every line of that one set, and no other.
    let one_more = [Operand {
        address: lines * 64,
        ..sweep[0]
    }];
    caches.run(
        0,
        Run {
            operands: &one_more,
            iterations: 1,
            scattered: &[],
        },
        &mut Ignored,
    );
    caches.run(
        0,
        Run {
            operands: &sweep,
            iterations: lines,
            scattered: &[],
        },
        &mut Ignored,
    );
    assert_eq!(caches.ledger().levels(0)[0].total_misses(), lines + 1 + 16);
}
