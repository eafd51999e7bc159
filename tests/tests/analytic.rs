//! Programs whose loads and stores are known by counting: each site must match exactly.
#![forbid(unsafe_code)]

use memloupe_tests::{Capture, Program};

/// One site: its executions as a function of n, and the bytes of each.
type Site = (fn(u64) -> u64, u64);

/// Accesses of one kernel by what they do, call and return left out.
struct Expected {
    kernel: &'static str,
    n: u64,
    loads: &'static [Site],
    stores: &'static [Site],
    modifications: &'static [Site],
}

const EXPECTED: [Expected; 6] = [
    Expected {
        kernel: "copy",
        n: 10_000,
        loads: &[(|n| n, 8)],
        stores: &[(|n| n, 8)],
        modifications: &[],
    },
    Expected {
        kernel: "strided_sum",
        n: 10_000,
        loads: &[(|n| n / 8, 8)],
        stores: &[],
        modifications: &[],
    },
    Expected {
        kernel: "gemv",
        n: 120,
        loads: &[(|n| n * n, 4), (|n| n * n, 4)],
        stores: &[(|n| n, 4)],
        modifications: &[],
    },
    Expected {
        kernel: "gather",
        n: 5_000,
        loads: &[(|n| n, 4), (|n| n, 8)],
        stores: &[(|n| n, 8)],
        modifications: &[],
    },
    Expected {
        kernel: "chase",
        n: 5_000,
        loads: &[(|n| n, 8)],
        stores: &[],
        modifications: &[],
    },
    Expected {
        kernel: "increment",
        n: 5_000,
        loads: &[],
        stores: &[],
        modifications: &[(|n| n, 8)],
    },
];

#[test]
fn accesses_per_site_are_exact_under_valgrind() {
    assert_sites_are_exact("valgrind");
}

#[test]
fn accesses_per_site_are_exact_natively() {
    assert_sites_are_exact("native");
}

fn assert_sites_are_exact(engine: &str) {
    let program = Program::compile("kernels", &[]);
    for expected in &EXPECTED {
        let arguments = [expected.kernel.to_owned(), expected.n.to_string()];
        let options = ["--check", "--machine", "embedded", "--engine", engine];
        let capture = Capture::success(&options, program.path(), &arguments);
        let rows = capture
            .report("function,access,site")
            .matching(&[("function", expected.kernel)]);
        for (access, sites, extra) in [
            ("load", expected.loads, 1), // ret pops the return address
            ("store", expected.stores, 0),
            ("read-modify-write", expected.modifications, 0),
        ] {
            let rows = rows.matching(&[("access", access)]);
            let mut found: Vec<(u64, u64)> = rows
                .column("accesses")
                .into_iter()
                .zip(rows.column("access_bytes"))
                .collect();
            let mut wanted: Vec<(u64, u64)> = sites
                .iter()
                .map(|(count, bytes)| (count(expected.n), count(expected.n) * bytes))
                .chain((0..extra).map(|_| (1, 8)))
                .collect();
            found.sort_unstable();
            wanted.sort_unstable();
            assert_eq!(found, wanted, "{access}s of {}({})", expected.kernel, expected.n);
        }
        assert_eq!(capture.summary().get("lost_accesses").as_u64(), Some(0));
    }
}

/// A chain of loads takes the whole latency of each link; loads by an index overlap, up to the bandwidth.
#[test]
fn chains_wait_for_each_link_and_gathers_do_not() {
    let program = Program::compile("kernels", &[]);
    for engine in ["valgrind", "native"] {
        // Behind DDR4-3200W: 15 ns on an open row, 40 on a conflict, and 10 outside, at 4 GHz.
        let options = ["--machine", "thesis-host", "--engine", engine];
        let function = |kernel: &str, n: u64| {
            let arguments = [kernel.to_owned(), n.to_string()];
            let capture = Capture::success(&options, program.path(), &arguments);
            let rows = capture.report("function").matching(&[("function", kernel)]);
            let stalls = ["l1d", "l1i", "l2", "l3"].map(|level| rows.sum(&format!("{level}_stall_cycles")));
            let memory = rows.sum("dram_latency_cycles") + rows.sum("dram_bandwidth_cycles");
            let parts = rows.sum("base_cycles") + stalls.iter().sum::<u64>() + memory;
            assert_eq!(rows.sum("est_cycles"), parts, "{engine}, {kernel}");
            rows
        };
        let chase = function("chase", 80_000);
        let lines = chase.sum("dram_read_bytes") / 64;
        let nearer = 5 * (chase.sum("l1d_accesses") - chase.sum("l1d_misses"))
            + 15 * (chase.sum("l2_accesses") - chase.sum("l2_misses"))
            + 35 * (chase.sum("l3_accesses") - chase.sum("l3_misses"));
        // But for the few accesses that are no links.
        let bounds = (99 * lines + nearer)..=(201 * lines + nearer);
        let cycles = chase.sum("est_cycles");
        assert!(
            lines > 60_000 && bounds.contains(&cycles),
            "{engine}: {cycles}, {lines} lines"
        );

        let gather = function("gather", 400_000);
        let lines = gather.sum("dram_read_bytes") / 64;
        let per_line = gather.sum("est_cycles") as f64 / lines as f64;
        // 16 misses in flight at 100 to 200 cycles each, and 64 B at 25.6 GB/s are 10; but nearly each opens a row, four in
        // nFAW, 21 ns, and waits for others that do.
        assert!(
            lines > 100_000 && (20.0..26.0).contains(&per_line),
            "{engine}: {per_line}"
        );
    }
}

/// The traffic of a copy larger than the last level is the closed form: both arrays are read (write-allocate), the target is
/// written back but for what is still in the caches.
#[test]
fn a_copy_moves_what_it_must() {
    let program = Program::compile("kernels", &[]);
    let n: u64 = 1 << 19; // 4 MiB each; the embedded machine's last level is far smaller
    let capture = Capture::success(
        &["--machine", "embedded"],
        program.path(),
        &["copy".to_owned(), n.to_string()],
    );
    let copy = capture
        .report("function,class")
        .matching(&[("function", "copy"), ("class", "heap")]);
    let lines = n * 8 / 64;
    // The arrays begin 16 bytes behind a page's start, so each touches one line more; but its first line, which holds
    // malloc's header, is cached since the header was written.
    assert_eq!(
        copy.sum("dram_read_bytes") / 64,
        2 * lines,
        "each line of both arrays is filled once"
    );
    let written = copy.sum("dram_write_bytes") / 64;
    let resident = capture
        .summary()
        .get("dirty_lines_at_end")
        .as_u64()
        .expect("a number");
    assert!(
        written <= lines + 1 && written + resident > lines,
        "{written} written, {resident} resident, {lines} lines"
    );
    assert_eq!(copy.sum("footprint_bytes"), 2 * (lines + 1) * 64);
}
