//! What a simulated line costs: the bytes that caches ask the allocator for, of which pages are taken as they are used.

#![allow(unsafe_code)] // an allocator that counts

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use memloupe_cachesim::{
    AccessKind, CacheConfig, Caches, Config, Contents, LevelOptions, Memory, Operand, Run, Scope,
};

struct Counting;

static LIVE: AtomicUsize = AtomicUsize::new(0);

// SAFETY: the system's allocator, with a count beside it.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LIVE.fetch_add(layout.size(), Relaxed);
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        LIVE.fetch_add(layout.size(), Relaxed);
        // SAFETY: the caller's promise.
        unsafe { System.alloc_zeroed(layout) }
    }
    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Relaxed);
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

struct Unheard;

impl Memory for Unheard {
    fn read(&mut self, _line_address: u64, _lines: u64, _owner: u32) {}
    fn write(&mut self, _line_address: u64, _lines: u64, _owner: u32) {}
}

/// Bytes for each line of one cache of 16 MiB, after accesses to four times as much.
fn bytes_per_line(
    ways: u32,
    new: fn(&Config, usize) -> Result<Caches, memloupe_cachesim::ConfigError>,
) -> f64 {
    let sets = (16u64 << 20) / 64 / u64::from(ways) / 16 * 16;
    let config = Config {
        line_bytes: 64,
        levels: vec![CacheConfig {
            name: "cache".into(),
            contents: Contents::Unified,
            scope: Scope::Private,
            bytes: sets * u64::from(ways) * 64,
            ways,
            options: LevelOptions::default(),
        }],
        translation: None,
    };
    let before = LIVE.load(Relaxed);
    let mut caches = new(&config, 1).expect("a configuration");
    caches.reserve_owners(1);
    let operand = Operand {
        address: 1 << 20,
        stride: 64,
        bytes: 8,
        kind: AccessKind::Store,
        owner: 0,
    };
    let run = Run {
        operands: &[operand],
        iterations: 1 << 20,
        scattered: &[],
    };
    caches.run(0, run, &mut Unheard);
    let bytes = LIVE.load(Relaxed) - before;
    bytes as f64 / (sets * u64::from(ways)) as f64
}

/// One test: tests beside it would be counted.
#[test]
fn a_line_costs_what_the_documentation_says() {
    for ways in [4u32, 8, 10, 12, 16, 20, 32] {
        // Tags and owners in blocks of 16 ways, and a seventeenth set for each group of sixteen.
        let blocks = f64::from(ways.div_ceil(16) * 16) / f64::from(ways);
        let by_runs = bytes_per_line(ways, Caches::new);
        let by_accesses = bytes_per_line(ways, Caches::access_by_access);
        println!("{ways} ways: {by_runs:.1} bytes by runs, {by_accesses:.1} access by access");
        // The path access by access lies ready behind that by runs: 12 bytes a line, unused pages.
        assert!((by_accesses - 12.0).abs() < 0.2, "{ways} ways: {by_accesses}");
        // And two bytes for each region that an address may lie in, which are shared by all caches.
        let regions = f64::from(2 << (57 - 6 - 30)) / f64::from(16 << 20 >> 6);
        let expected = 12.0 + blocks * 8.0 * 17.0 / 16.0 + regions;
        assert!(
            (by_runs - expected).abs() < 0.6,
            "{ways} ways: {by_runs}, not {expected}"
        );
    }
}
