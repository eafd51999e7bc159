//! Against closed forms, on a machine whose numbers make them easy: 2 GHz, 4 wide, a reorder buffer of 200, latencies of
//! 4, 14 and 40 cycles and, from DRAM, 140.

use memloupe_cachesim::{Cause, LevelCounters};

use super::*;
use crate::dram::DramCounters;
use crate::system::Counters;

const WIDTH: f64 = 4.0;
const ROB: f64 = 200.0;
const MSHRS: f64 = 10.0;
const LINE: f64 = 64.0;

fn timing_with(rob: u32, mshrs: u32, cores: u32) -> CoreTiming {
    let text = format!(
        "extends = \"desktop\"\n[core]\ncount = {cores}\nfrequency = \"2 GHz\"\nissue_width = 4\nrob = {rob}\n\
         [cache.l1d]\nlatency = \"4 cycles\"\nmshrs = {mshrs}\n[cache.l2]\nlatency = \"14 cycles\"\nmshrs = 256\n\
         [cache.l3]\nlatency = \"40 cycles\"\n"
    );
    CoreTiming::new(&Machine::from_toml("test", &text).unwrap()).unwrap()
}

fn timing() -> CoreTiming {
    timing_with(200, 10, 4)
}

/// Reads of which L1, L2, L3 and DRAM each answer so many.
fn counters(answered: [u64; 4]) -> Counters {
    let mut counters = Counters {
        levels: vec![LevelCounters::default(); 4],
        ..Counters::default()
    };
    // The desktop's levels are l1d, l1i, l2, l3.
    for (place, level) in [0, 2, 3].into_iter().enumerate() {
        let missed: u64 = answered[place + 1..].iter().sum();
        counters.levels[level].accesses[Cause::Read as usize] = answered[place] + missed;
        counters.levels[level].misses[Cause::Read as usize] = missed;
    }
    counters.dram = DramCounters {
        read_bytes: answered[3] * 64,
        row_hits: answered[3],
        // As on a closed bank of DDR4-3200AA: nRCD + nCL + burst.
        read_latency_ps: answered[3] * (22 + 22 + 4) * 625,
        outside_ps: answered[3] * 40_000,
        ..DramCounters::default()
    };
    counters
}

/// DRAM's latency in cycles, on a closed bank and with the 40 ns outside of it.
const DRAM: f64 = ((22.0 + 22.0 + 4.0) * 0.625 + 40.0) * 2.0;

fn alone(timing: &CoreTiming, work: &Work) -> Cycles {
    timing.cycles(work, &timing.exposures(std::slice::from_ref(work))[0])
}

/// Cycles of a line on one of the two channels of DDR4-3200, and on both together.
const SERVICE: f64 = 64.0 / 25.6 * 2.0;
const SHARE: f64 = SERVICE / 2.0;

/// The cycles of a core that would take `unloaded` if nobody else used the memory, of which `waits` times the time in the
/// queue come on top, where all cores' lines take `busy`: t = unloaded + waits * w and, of an M/D/1 queue, w = service *
/// used / 2 / (1 - used) with used = busy / t; which is quadratic in t.
fn loaded(unloaded: f64, waits: f64, busy: f64, service: f64) -> f64 {
    let root = (unloaded - busy).powi(2) + 2.0 * waits * service * busy;
    (unloaded + busy + root.sqrt()) / 2.0
}

fn close(found: f64, expected: f64) {
    assert!(
        (found - expected).abs() <= 1e-9 * expected.abs().max(1.0),
        "{found} is not {expected}"
    );
}

#[test]
fn a_loop_of_arithmetic_takes_its_instructions_by_the_width() {
    let timing = timing();
    let work = timing.work(Wait::Fetch, &Counters::default(), 1_000_000);
    let cycles = alone(&timing, &work);
    close(cycles.base, 250_000.0);
    close(cycles.total(), 250_000.0);
    // First-level hits are part of it, of data as of instructions.
    let mut hits = timing.work(Wait::Independent, &counters([500_000, 0, 0, 0]), 0);
    hits += &work;
    close(alone(&timing, &hits).total(), 250_000.0);
}

#[test]
fn a_pointer_chase_takes_the_sum_of_its_latencies() {
    let timing = timing();
    let answered = [700, 500, 300, 200];
    let sum = 700.0 * 4.0 + 500.0 * 14.0 + 300.0 * 40.0 + 200.0 * DRAM;
    // Two instructions per link, and next to none.
    for instructions in [3400, 1] {
        let work = timing.work(Wait::Dependent, &counters(answered), instructions);
        close(
            alone(&timing, &work).total(),
            loaded(sum, 200.0, 200.0 * SHARE, SERVICE),
        );
    }
}

#[test]
fn misses_that_overlap_take_lines_times_latency_by_registers() {
    let timing = timing();
    let lines = 100_000;
    // Eight instructions per line: 25 lines in the reorder buffer, more than there are registers.
    let work = timing.work(Wait::Independent, &counters([0, 0, 0, lines]), 8 * lines);
    let cycles = alone(&timing, &work);
    let (count, groups) = (lines as f64, lines as f64 / MSHRS);
    close(cycles.dram_latency + cycles.base, groups * DRAM);
    close(
        cycles.total(),
        loaded(groups * DRAM, groups, count * SHARE, SERVICE),
    );
    assert_eq!(cycles.levels, [0.0; 4]);
    close(
        cycles.dram_latency + cycles.dram_bandwidth,
        cycles.total() - cycles.base,
    );
}

#[test]
fn the_reorder_buffer_bounds_how_many_misses_overlap() {
    let timing = timing();
    let lines = 100_000;
    // 50 instructions per line: 4 lines per reorder buffer, one buffer's length per latency.
    let work = timing.work(Wait::Independent, &counters([0, 0, 0, lines]), 50 * lines);
    let groups = lines as f64 / 4.0;
    let expected = loaded(groups * DRAM, groups, lines as f64 * SHARE, SERVICE);
    close(alone(&timing, &work).total(), expected);
    // Alone among many instructions, a miss costs its latency less the time in which the buffer fills.
    let work = timing.work(Wait::Independent, &counters([0, 0, 0, 10]), 1_000_000);
    let cycles = alone(&timing, &work);
    close(cycles.dram_latency, 10.0 * (DRAM - ROB / WIDTH));
    // Latencies that fill no buffer cost nothing.
    let work = timing.work(Wait::Independent, &counters([0, 1000, 1000, 0]), 1_000_000);
    close(alone(&timing, &work).total(), 250_000.0);
}

#[test]
fn a_stream_takes_its_bytes_by_the_bandwidth() {
    // Two channels of DDR4-3200 at 2 GHz.
    let bytes_per_cycle = 51.2 / 2.0;
    let lines = 100_000;
    // As many registers as the reorder buffer can use: the core asks for more than the memory has.
    let timing = timing_with(2000, 256, 4);
    let work = timing.work(Wait::Independent, &counters([0, 0, 0, lines]), 8 * lines);
    let cycles = alone(&timing, &work);
    let busy = lines as f64 * LINE / bytes_per_cycle;
    // 250 lines in the reorder buffer, which takes longer to fill than a line without load.
    let groups = lines as f64 / 250.0;
    let unloaded = 2.0 * lines as f64 + groups * (DRAM - 2000.0 / WIDTH);
    close(cycles.total(), loaded(unloaded, groups, busy, SERVICE));
    assert!(cycles.dram_bandwidth > 0.0 && busy / cycles.total() > 0.99);

    // A core with ten registers leaves bandwidth; four of them do, and six do not.
    let mut used_before = 0.0;
    for (cores, is_saturated) in [(1, false), (4, false), (6, true)] {
        let timing = timing_with(200, 10, cores);
        let work = timing.work(Wait::Independent, &counters([0, 0, 0, lines]), 8 * lines);
        let works = vec![work; cores as usize];
        let groups = lines as f64 / MSHRS;
        let bandwidth_bound = f64::from(cores) * lines as f64 * LINE / bytes_per_cycle;
        assert_eq!(bandwidth_bound > groups * DRAM, is_saturated);
        let expected = loaded(groups * DRAM, groups, bandwidth_bound, SERVICE);
        for (work, exposure) in works.iter().zip(timing.exposures(&works)) {
            let cycles = timing.cycles(work, &exposure);
            close(cycles.total(), expected);
            close(cycles.dram_latency + cycles.base, groups * DRAM);
        }
        // Each core more takes longer, and what all use grows up to the peak.
        let used = bandwidth_bound / expected;
        assert!(
            used > used_before && used < 1.0 && (used > 0.9) == is_saturated,
            "{used}"
        );
        used_before = used;
        // More threads than cores take turns.
        let works = [works.clone(), works].concat();
        let exposures = timing.exposures(&works);
        let total = |(work, exposure)| timing.cycles(work, exposure).total();
        let all: f64 = works.iter().zip(&exposures).map(total).sum();
        let each = 2.0 * f64::from(cores);
        close(all, each * expected);
    }
}

#[test]
fn what_lies_in_the_shadow_of_farther_misses_is_free() {
    let timing = timing();
    let lines = 100_000;
    let dram_only = timing.work(Wait::Independent, &counters([0, 0, 0, lines]), 8 * lines);
    let both = timing.work(Wait::Independent, &counters([0, 0, lines, lines]), 8 * lines);
    close(alone(&timing, &both).total(), alone(&timing, &dram_only).total());
    // Half of the instructions lie outside of the shadows of few DRAM misses: half of the L3's are on their own, five
    // in a reorder buffer of a slower core.
    let slow = timing_with(20, 10, 4);
    let work = slow.work(Wait::Independent, &counters([0, 0, 2500, 250]), 10_000);
    let cycles = alone(&slow, &work);
    close(cycles.dram_latency, 250.0 * (DRAM - 20.0 / WIDTH));
    close(cycles.levels[3], 250.0 * (40.0 - 20.0 / WIDTH));
}

#[test]
fn cycles_of_the_parts_add_up() {
    let timing = timing_with(100, 8, 2);
    let parts = [
        (Wait::Independent, [9000, 700, 500, 300], 0),
        (Wait::Dependent, [100, 50, 40, 30], 0),
        (Wait::Fetch, [0, 10, 5, 1], 20_000),
        (Wait::Independent, [1, 2, 3, 4], 0),
    ]
    .map(|(wait, answered, instructions)| timing.work(wait, &counters(answered), instructions));
    let mut whole = Work::default();
    for part in &parts {
        whole += part;
    }
    let exposures = timing.exposures(&[whole.clone(), whole.clone()]);
    let mut sum = Cycles::default();
    for part in &parts {
        sum += &timing.cycles(part, &exposures[0]);
    }
    close(sum.total(), timing.cycles(&whole, &exposures[0]).total());
    assert!(sum.total() > whole_base(&whole) && sum.levels.iter().all(|cycles| *cycles >= 0.0));
}

fn whole_base(work: &Work) -> f64 {
    work.instructions / WIDTH
}

#[test]
fn late_prefetches_wait_and_those_in_time_do_not() {
    let timing = timing();
    let mut in_time = counters([1000, 0, 0, 0]);
    in_time.dram.read_bytes = 1000 * 64;
    in_time.dram.read_latency_ps = 1000 * 30_000;
    in_time.dram.outside_ps = 1000 * 40_000;
    let mut late = in_time.clone();
    late.details = vec![memloupe_cachesim::LevelDetail::default(); 4];
    late.details[0].prefetches_late = 1000;
    let cycles = |counters: &Counters| alone(&timing, &timing.work(Wait::Independent, counters, 8000));
    close(cycles(&in_time).dram_latency, 0.0);
    let groups = 1000.0 / MSHRS;
    close(
        cycles(&late).total(),
        loaded(groups * DRAM, groups, 1000.0 * SHARE, SERVICE),
    );
}

#[test]
fn fetches_that_miss_wait_alone() {
    let timing = timing();
    let mut fetches = counters([0, 30, 20, 10]);
    fetches.levels.swap(0, 1);
    let work = timing.work(Wait::Fetch, &fetches, 1000);
    let unloaded = 250.0 + 30.0 * 14.0 + 20.0 * 40.0 + 10.0 * DRAM;
    close(
        alone(&timing, &work).total(),
        loaded(unloaded, 10.0, 10.0 * SHARE, SERVICE),
    );
}

#[test]
fn random_lines_are_bounded_by_the_rows_that_can_be_opened() {
    // Six cores with ten registers each: as many lines as above, and every one in a row of its own.
    let timing = timing_with(200, 10, 6);
    let lines = 100_000;
    let mut random = counters([0, 0, 0, lines]);
    random.dram.row_hits = 0;
    random.dram.row_conflicts = lines;
    let work = timing.work(Wait::Independent, &random, 8 * lines);
    let works = vec![work; 6];
    // DDR4-3200AA of the desktop: nFAW 34 for four rows of a rank, 0.625 ns, two channels of one rank.
    let service = 34.0 / 4.0 * 0.625 * 2.0;
    let busy = 6.0 * lines as f64 * service / 2.0;
    let groups = lines as f64 / MSHRS;
    let cycles = timing.cycles(&works[0], &timing.exposures(&works)[0]);
    close(cycles.total(), loaded(groups * DRAM, groups, busy, service));
}

#[test]
fn slow_writes_bound_what_an_array_takes_in() {
    let text = "extends = \"mram-embedded\"\n[core]\nfrequency = \"1 GHz\"\n[cache.l1d]\nmshrs = 4\n\
                [memory]\ndevice = \"FeRAM-800\"\n";
    let timing = CoreTiming::new(&Machine::from_toml("test", text).unwrap()).unwrap();
    let lines = 100_000;
    let moved = |read: u64, written: u64| {
        let mut counters = counters([0, 0, 0, 0]);
        counters.levels.truncate(3);
        counters.dram = DramCounters {
            read_bytes: read * 64,
            write_bytes: written * 64,
            row_conflicts: read + written,
            ..DramCounters::default()
        };
        let work = timing.work(Wait::Independent, &counters, 1);
        alone(&timing, &work).total()
    };
    // 16 banks; nRCD 24, nCWL 5, nBL 4, nWR 24, nRP 20 clocks of 2.5 ns to write a row.
    close(
        moved(0, lines),
        lines as f64 * (24.0 + 5.0 + 4.0 + 24.0 + 20.0) * 2.5 / 16.0,
    );
    // Nobody waits for what is prefetched, but it comes no faster than its bursts of 4: nRC 44 leaves the banks time.
    close(moved(lines, 0), lines as f64 * 4.0 * 2.5);
}
