//! A memory from a library: the example against what it should do, and libraries that can't be used.

use std::path::{Path, PathBuf};

use memloupe_hierarchy::Machine;
use memloupe_hierarchy::timed::{MemoryRequest, RequestKind, TimedConfig, TimedError, TimedMemory};

use crate::client::{compiler, package, succeed};

fn build(source: &Path, folder: &Path) -> PathBuf {
    let library = folder.join(source.with_extension("so").file_name().unwrap());
    let mut compile = compiler(source);
    compile
        .args(["-shared", "-fPIC", "-I"])
        .arg(package().join("wrappers"))
        .arg(source)
        .arg("-o")
        .arg(&library);
    succeed(&mut compile);
    library
}

fn memory(library: &Path, parameters: &str) -> Result<TimedMemory, TimedError> {
    let config = format!(
        "model = 'library'\nlibrary = '{}'\nlibrary_parameters = '{parameters}'\nlatency_ps = 7000\n",
        library.display()
    );
    TimedMemory::new(
        &Machine::load("desktop").unwrap(),
        TimedConfig::from_toml(&config).unwrap(),
    )
}

#[test]
fn banks_are_busy_one_after_the_other() {
    let folder = tempfile::tempdir().unwrap();
    let library = build(&package().join("examples/plugins/banks.c"), folder.path());
    let mut memory = memory(&library, "banks=4 cycle_ns=50").unwrap();
    let (mut now_ps, mut random) = (0, 1u64);
    // What each bank is busy until, and when each request should be done.
    let (mut banks, mut expected, mut found) = ([0u64; 4], vec![0; 2000], vec![0; 2000]);
    for id in 0..2000u64 {
        random = random.wrapping_mul(6364136223846793005).wrapping_add(1);
        now_ps += random >> 50;
        let request = MemoryRequest {
            id,
            address: (random >> 20) % (1 << 30),
            bytes: 1,
            kind: RequestKind::ALL[(random >> 62) as usize],
            core: 0,
            tag: 0,
        };
        memory
            .advance(now_ps, |done| found[done.id as usize] = done.finished_ps)
            .unwrap();
        while !memory.send(now_ps, &request).unwrap() {
            now_ps = memory.next_event_ps().unwrap();
            memory
                .advance(now_ps, |done| found[done.id as usize] = done.finished_ps)
                .unwrap();
        }
        let bank = &mut banks[(request.address / 64 % 4) as usize];
        *bank = now_ps.max(*bank) + 50_000;
        expected[id as usize] = *bank + 7000;
    }
    memory
        .drain(|done| found[done.id as usize] = done.finished_ps)
        .unwrap();
    assert_eq!(found, expected);
    assert!(memory.refusals() > 0);
    assert!(memory.checkpoint().is_err());
}

#[test]
fn large_requests_are_done_with_their_last_burst() {
    let folder = tempfile::tempdir().unwrap();
    let library = build(&package().join("examples/plugins/banks.c"), folder.path());
    let mut memory = memory(&library, "banks=2 cycle_ns=10").unwrap();
    let request = MemoryRequest {
        id: 5,
        address: 0,
        // More bursts than its queue holds.
        bytes: 64 * 200,
        kind: RequestKind::Read,
        core: 0,
        tag: 0,
    };
    assert!(memory.send(0, &request).unwrap());
    let mut ends = Vec::new();
    memory
        .drain(|done| ends.push((done.id, done.finished_ps)))
        .unwrap();
    assert_eq!(ends, [(5, 100 * 10_000 + 7000)]);
    assert_eq!(memory.outstanding(), 0);
}

#[test]
fn mistakes_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let refused = |library: &Path, parameters: &str, what: &str| {
        let error = memory(library, parameters).err().unwrap().to_string();
        assert!(error.contains(what), "{error}");
    };
    let library = build(&package().join("examples/plugins/banks.c"), folder.path());
    refused(&library, "banks=0 cycle_ns=1", "banks: 1 to 1024");
    refused(&library, "anything", "'anything' is not 'banks=N cycle_ns=N'");
    refused(
        Path::new("/nonexistent.so"),
        "",
        "/nonexistent.so: cannot be loaded",
    );
    let other = build(&package().join("examples/plugins/lru.c"), folder.path());
    refused(&other, "", "exports no function memloupe_dram_memory");
}

/// What the wrappers of other simulators have in common, with a simulator that answers so many clocks after it took a burst.
#[test]
fn a_model_of_clocks_answers_at_clocks() {
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("pipe.cpp");
    let text = r#"
        #include "clocked_memory.hh"
        namespace {
        class Pipe : public memloupe::ClockedMemory {
          public:
            explicit Pipe(const std::string &parameters) : clocks_(std::stoul(parameters)) { set_clock_ns(static_cast<double>(clocks_) / 4); }

          private:
            uint32_t burst_bytes() const override { return 64; }
            void tick() override {
                now_++;
                while (!stages_.empty() && stages_.front().second <= now_) {
                    done(stages_.front().first);
                    stages_.pop_front();
                }
            }
            bool offer(uint64_t id, uint64_t, bool, uint32_t) override {
                if (stages_.size() == 2)
                    return false;
                stages_.push_back({id, now_ + clocks_});
                return true;
            }
            uint64_t clocks_;
            uint64_t now_ = 0;
            std::deque<std::pair<uint64_t, uint64_t>> stages_;
        };
        } // namespace
        extern "C" const memloupe_dram *memloupe_dram_memory(void) { return memloupe::ClockedMemory::table<Pipe>(); }
    "#;
    std::fs::write(&source, text).unwrap();
    let library = build(&source, folder.path());
    // A clock of 1 ns, and an answer in the tick after the fourth: 4 clocks from the one before the request.
    let mut pipe = memory(&library, "4").unwrap();
    let mut ends = Vec::new();
    for id in 0..3u64 {
        let request = MemoryRequest {
            id,
            address: 64 * id,
            bytes: 64,
            kind: RequestKind::Read,
            core: 0,
            tag: 0,
        };
        let mut now_ps = 10_500;
        while !pipe.send(now_ps, &request).unwrap() {
            assert_eq!(id, 2);
            now_ps = pipe.next_event_ps().unwrap();
            assert_eq!(now_ps % 1000, 0);
            pipe.advance(now_ps, |done| ends.push((done.id, done.finished_ps)))
                .unwrap();
        }
    }
    pipe.drain(|done| ends.push((done.id, done.finished_ps))).unwrap();
    assert_eq!(ends, [(0, 20_000), (1, 20_000), (2, 24_000)]);
    assert_eq!(pipe.next_event_ps(), None);
    let error = memory(&library, "0").err().unwrap().to_string();
    assert!(error.contains("its clock is 0.0"), "{error}");
}

/// What a library says wrongly spoils its results only.
#[test]
fn wrong_values_do_no_harm() {
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("wrong.c");
    let text = r"
        #include <memloupe_plugin.h>
        static int state;
        static void *create(const char *p, char *e, size_t n) { (void)p; (void)e; (void)n; return &state; }
        static void destroy(void *s) { (void)s; }
        static uint32_t burst_bytes(void *s) { (void)s; return 64; }
        static uint32_t send(void *s, uint64_t t, uint64_t i, uint64_t a, uint32_t w, uint32_t c) {
            (void)s; (void)t; (void)i; (void)a; (void)w; (void)c;
            return 1;
        }
        static uint64_t next_event(void *s) { (void)s; return state > 9 ? UINT64_MAX : 0; }
        static uint32_t advance(void *s, uint64_t t, memloupe_dram_completion *d, uint32_t most) {
            (void)s;
            for (uint32_t i = 0; i < most; i++) d[i] = (memloupe_dram_completion){UINT64_MAX - i, t + 1000};
            return state++ < 5 ? 77777 : 0;
        }
        const memloupe_dram *memloupe_dram_memory(void) {
            static const memloupe_dram t = {MEMLOUPE_PLUGIN_VERSION, create, destroy, burst_bytes, send, next_event, advance};
            return &t;
        }
    ";
    std::fs::write(&source, text).unwrap();
    let library = build(&source, folder.path());
    let mut memory = memory(&library, "").unwrap();
    let request = MemoryRequest {
        id: 1,
        address: 0,
        bytes: 256,
        kind: RequestKind::Write,
        core: 0,
        tag: 3,
    };
    assert!(memory.send(10, &request).unwrap());
    memory.drain(|_| panic!("nothing was done")).unwrap();
    assert_eq!(memory.outstanding(), 1);
}
