//! The controller held against closed forms, where there are any.

use std::num::NonZero;

use memloupe_hierarchy::dram::{
    Command, ControllerConfig, Device, DramSystem, Mitigation, Pace, Place, RefreshMode, Request, RowOutcome,
    RowPolicy, Scheduler, Standard, Tick, Topology, Workload, check,
};
use proptest::prelude::*;

fn system(device: &str, channels: u32, config: ControllerConfig) -> DramSystem {
    let device = Device::find(device).unwrap();
    let topology = Topology {
        channels,
        ranks: 1,
        mapping: "RoBaRaCoCh".into(),
    };
    DramSystem::new(&device, &topology, config).unwrap()
}

fn quiet() -> ControllerConfig {
    ControllerConfig {
        no_refresh: true,
        ..ControllerConfig::default()
    }
}

/// A bin of each standard.
fn bins() -> Vec<&'static str> {
    Standard::all()
        .iter()
        .map(|standard| standard.bins().last().unwrap())
        .collect()
}

/// Bandwidth as a share of the peak, and mean read latency in nanoseconds.
fn measure(
    system: &mut DramSystem,
    addresses: impl IntoIterator<Item = (u64, bool)>,
    pace: Pace,
) -> (f64, f64) {
    let mut workload = Workload::default();
    for (address, write) in addresses {
        workload.push(system, Place::Address(address), 64, write, 0);
    }
    workload.run(system, pace, NonZero::<usize>::MIN);
    let device = &system.plan().device;
    let statistics = system.statistics();
    let ns = device.picoseconds(statistics.last_tick - 1) / 1000.0;
    let bytes = workload.bursts() as f64 * f64::from(device.burst_bytes);
    let latency = statistics.read_latency.mean().unwrap_or(0.0) * device.picoseconds(1000) / 1e6;
    (bytes / ns, latency)
}

fn random(count: u64, footprint: u64) -> Vec<u64> {
    // A linear congruential generator (Knuth's MMIX), so that every run sees the same addresses.
    let mut state = 1u64;
    let mut next = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        state >> 16
    };
    (0..count).map(|_| next() % (footprint / 64) * 64).collect()
}

#[test]
fn unloaded_reads_take_rcd_cl_and_the_burst() {
    for bin in bins() {
        let mut system = system(bin, 1, quiet());
        let device = system.plan().device.clone();
        let clocks = |names: &[&str]| {
            names
                .iter()
                .find_map(|name| device.parameters.get(*name))
                .copied()
                .unwrap_or(0) as u64
        };
        let tick = device.ticks_per_clock;
        // Commands of several clocks count from their last one; the data clock of LPDDR5 is started first.
        let act = device.command_ticks[Command::Activate as usize];
        let read = device.command_ticks[Command::Read as usize];
        let after_activate = if device.from_first_tick {
            0
        } else {
            act.saturating_sub(read)
        } + clocks(&["nRCD", "nRCDRD"]) * tick;
        let after_activate = after_activate
            - if device.from_first_tick {
                0
            } else {
                read.saturating_sub(act)
            };
        let start = u64::from(device.data_clock_off_ticks.is_some());
        let column = device.read_ticks + start;
        let bank_rows = u64::from(device.row_bytes)
            * u64::from(device.pseudo_channels * device.stack_ids * device.bank_groups * device.banks);
        // Far enough apart for tRC to be over.
        for (address, at, expected, outcome) in [
            (0, 1, after_activate + column, RowOutcome::Miss),
            (u64::from(device.burst_bytes), 10_001, column, RowOutcome::Hit),
            (
                bank_rows,
                20_001,
                clocks(&["nRP"]) * tick + after_activate + column,
                RowOutcome::Conflict,
            ),
        ] {
            let request = Request {
                tag: 7,
                address,
                write: false,
                source: 3,
            };
            assert!(system.try_send(&request, at));
            let mut latency = 0;
            system.advance(at + 9_000, |done| {
                assert_eq!((done.tag, done.source, done.arrival), (7, 3, at));
                latency = done.finish - done.arrival;
            });
            // Half clocks: what follows a row command may wait for the next rising edge.
            let edge = if outcome == RowOutcome::Hit { 1 } else { tick };
            let slack = if outcome == RowOutcome::Conflict && !device.from_first_tick {
                device.command_ticks[Command::Precharge as usize] as i64 - act as i64
            } else {
                0
            };
            let expected = (expected as i64 + slack) as u64;
            assert!(
                (expected..expected + edge).contains(&latency),
                "{bin} {outcome:?}: {latency}, not {expected}"
            );
            assert_eq!(system.statistics().row_outcomes(outcome), 1, "{bin} {outcome:?}");
        }
    }
}

#[test]
fn sequential_reads_reach_what_the_column_spacing_allows() {
    let addresses = || (0..20_000).map(|line| (line * 64, false));
    // One bank group at a time: a burst every tCCD_L; the row changes are hidden but for a few clocks.
    let (bandwidth, _) = measure(
        &mut system("DDR4-3200AA", 1, quiet()),
        addresses(),
        Pace::OpenLoop,
    );
    let bound = 64.0 / (8.0 * 0.625);
    assert!(bandwidth < 25.6 && bandwidth > bound, "{bandwidth}");
    let (bandwidth, _) = measure(&mut system("DDR3-1600K", 1, quiet()), addresses(), Pace::OpenLoop);
    assert!(
        bandwidth > 0.97 * 12.8 && bandwidth <= 12.8,
        "{bandwidth}: DDR3 has no bank groups"
    );
    // Bank groups by the lowest bits: a burst every tCCD_S, which is the peak.
    let device = Device::find("DDR4-3200AA").unwrap();
    let topology = Topology {
        channels: 1,
        ranks: 1,
        mapping: "RoRaBaCoBgCh".into(),
    };
    let mut interleaved = DramSystem::new(&device, &topology, quiet()).unwrap();
    let (bandwidth, _) = measure(&mut interleaved, addresses(), Pace::OpenLoop);
    assert!(bandwidth > 0.97 * 25.6 && bandwidth <= 25.6, "{bandwidth}");
}

#[test]
fn random_reads_are_bound_by_four_activates_a_window_and_refresh() {
    // Four bursts in each tFAW of 34 clocks of 0.625 ns, less tRFC in each tREFI.
    let bound = 4.0 * 64.0 / (34.0 * 0.625);
    let addresses = || {
        random(20_000, 512 << 20)
            .into_iter()
            .map(|address| (address, false))
    };
    let (without, _) = measure(
        &mut system("DDR4-3200AA", 1, quiet()),
        addresses(),
        Pace::OpenLoop,
    );
    assert!(without <= bound && without > 0.95 * bound, "{without} of {bound}");
    let (with, _) = measure(
        &mut system("DDR4-3200AA", 1, ControllerConfig::default()),
        addresses(),
        Pace::OpenLoop,
    );
    let bound = bound * (1.0 - 576.0 / 12480.0);
    assert!(with <= bound && with > 0.95 * bound, "{with} of {bound}");
}

#[test]
fn one_bank_is_bound_by_the_row_cycle() {
    let addresses = (0..2_000).map(|row| (row % 2 * 8192 * 16, false));
    let config = ControllerConfig {
        scheduler: Scheduler::Fcfs,
        ..quiet()
    };
    let (bandwidth, _) = measure(&mut system("DDR4-3200AA", 1, config), addresses, Pace::OpenLoop);
    let bound = 64.0 / (74.0 * 0.625);
    assert!((bandwidth / bound - 1.0).abs() < 0.01, "{bandwidth} of {bound}");
}

#[test]
fn channels_on_several_threads_give_the_same() {
    let run = |threads: usize| {
        let mut system = system("DDR4-3200AA", 4, ControllerConfig::default());
        let mut workload = Workload::default();
        for (i, address) in random(20_000, 1 << 30).into_iter().enumerate() {
            workload.push(&system, Place::Address(address), 64, i % 3 == 0, 0);
        }
        workload.run(&mut system, Pace::OpenLoop, NonZero::new(threads).unwrap());
        system.statistics()
    };
    assert_eq!(run(1), run(3));
}

#[test]
fn a_row_that_is_hammered_is_seen_and_protected() {
    let hammer = |mitigation| {
        let config = ControllerConfig {
            mitigation,
            ..ControllerConfig::default()
        };
        let mut system = system("DDR5-4800BN", 1, config);
        // Two rows of one bank in turn.
        let rows = (0..20_000).map(|i| (i % 2 * 4096 * 32 * 7, false));
        measure(&mut system, rows, Pace::Outstanding(NonZero::new(1).unwrap()));
        (system.channels()[0].exposure(), system.statistics())
    };
    let (exposure, _) = hammer(Mitigation::None);
    assert!(
        exposure.activations >= 9_990 && exposure.activations <= 10_050,
        "{exposure:?}"
    );
    let (exposure, statistics) = hammer(Mitigation::Graphene {
        threshold: 500,
        entries: 16,
    });
    assert!(exposure.activations <= 1_000, "{exposure:?}");
    // Row 0 has one neighbour.
    assert!(statistics.mitigations >= 3 * 19, "{}", statistics.mitigations);
    let (exposure, statistics) = hammer(Mitigation::Prac(512));
    assert!(exposure.activations <= 512, "{exposure:?}");
    assert!(statistics.commands_of(Command::ManageSame) >= 38);
    let (_, statistics) = hammer(Mitigation::Rfm(32));
    assert_eq!(
        statistics.commands_of(Command::ManageSame),
        statistics.mitigations
    );
    assert!(
        (600..=640).contains(&statistics.mitigations),
        "{}",
        statistics.mitigations
    );
    let (_, statistics) = hammer(Mitigation::Para(0.01));
    // 20,000 tosses at 1 in 100: within five standard deviations.
    assert!(
        (130..=270).contains(&statistics.mitigations),
        "{}",
        statistics.mitigations
    );
}

#[test]
fn graphics_memory_has_one_rank() {
    for bin in bins() {
        let device = Device::find(bin).unwrap();
        let topology = Topology {
            channels: 1,
            ranks: 2,
            mapping: "RoBaRaCoCh".into(),
        };
        let built = DramSystem::new(&device, &topology, ControllerConfig::default());
        assert_eq!(built.is_err(), bin.starts_with("GDDR"), "{bin}");
        if let Err(error) = built {
            assert!(error.to_string().contains("one rank per channel"), "{error}");
        }
    }
}

#[test]
fn row_policies_do_what_they_say() {
    let outcomes = |row_policy, addresses: Vec<(u64, bool)>| {
        let config = ControllerConfig {
            row_policy,
            ..quiet()
        };
        let mut system = system("DDR4-3200AA", 1, config);
        measure(&mut system, addresses, Pace::Every(400));
        let s = system.statistics();
        [RowOutcome::Hit, RowOutcome::Miss, RowOutcome::Conflict].map(|outcome| s.row_outcomes(outcome))
    };
    let same_row: Vec<_> = (0..128).map(|line| (line * 64, false)).collect();
    let other_rows: Vec<_> = (0..128).map(|row| (row * 8192 * 16, false)).collect();
    assert_eq!(outcomes(RowPolicy::Open, same_row.clone()), [127, 1, 0]);
    assert_eq!(outcomes(RowPolicy::Open, other_rows.clone()), [0, 1, 127]);
    assert_eq!(outcomes(RowPolicy::Closed, same_row.clone()), [0, 128, 0]);
    assert_eq!(outcomes(RowPolicy::Closed, other_rows.clone()), [0, 128, 0]);
    assert_eq!(outcomes(RowPolicy::Capped(4), same_row.clone()), [96, 32, 0]);
    assert_eq!(outcomes(RowPolicy::Timeout(100), same_row.clone()), [0, 128, 0]);
    assert_eq!(outcomes(RowPolicy::Timeout(1000), same_row.clone()), [127, 1, 0]);
    // It needs two conflicts to learn.
    assert_eq!(outcomes(RowPolicy::Adaptive, other_rows), [0, 126, 2]);
    assert_eq!(outcomes(RowPolicy::Adaptive, same_row), [127, 1, 0]);
}

#[test]
fn refreshes_come_as_often_as_they_must() {
    // 100 tREFI of idle time, refreshed in every way that the standards have.
    for (bin, mode, command, per_interval) in [
        ("DDR4-3200AA", RefreshMode::AllBank, Command::RefreshAll, 1),
        ("DDR4-3200AA", RefreshMode::Fine2x, Command::RefreshAll, 2),
        ("DDR4-3200AA", RefreshMode::Fine4x, Command::RefreshAll, 4),
        ("DDR5-4800BN", RefreshMode::SameBank, Command::RefreshSame, 4),
        ("LPDDR5-6400", RefreshMode::PerBank, Command::RefreshBank, 16),
        (
            "HBM3-6400",
            RefreshMode::PerBank,
            Command::RefreshBank,
            2 * 2 * 16,
        ),
    ] {
        let config = ControllerConfig {
            refresh: Some(mode),
            ..ControllerConfig::default()
        };
        let mut system = system(bin, 1, config);
        system.record_commands();
        let interval = Device::find(bin).unwrap().refresh_interval_ticks;
        system.advance(100 * interval + interval / 100, |_| {});
        let done = system.statistics().commands_of(command);
        let expected = 100 * per_interval;
        // Intervals are cut to whole ticks, so a few more come.
        assert!(
            (expected..=expected + expected / 50).contains(&done),
            "{bin} {mode:?}: {done}"
        );
        assert_eq!(
            check(&system.plan().device.clone(), 1, &system.take_commands()[0]),
            [],
            "{bin} {mode:?}"
        );
    }
}

#[test]
fn refreshes_are_postponed_under_load_and_made_up_for() {
    let config = ControllerConfig {
        refresh_postpone: 8,
        ..ControllerConfig::default()
    };
    let mut system = system("DDR4-3200AA", 1, config);
    system.record_commands();
    let addresses = random(30_000, 512 << 20)
        .into_iter()
        .map(|address| (address, false));
    measure(&mut system, addresses, Pace::OpenLoop);
    let statistics = system.statistics();
    let intervals = statistics.last_tick / 12480;
    let done = statistics.commands_of(Command::RefreshAll);
    assert_eq!(intervals - done, 8, "eight are owed");
    assert!(statistics.postponed_refreshes >= 8);
    // Idle: the next that falls due pays them all.
    system.advance((intervals + 3) * 12480, |_| {});
    assert!(system.statistics().commands_of(Command::RefreshAll) >= intervals + 2);
    let device = Device::find("DDR4-3200AA").unwrap();
    assert_eq!(check(&device, 1, &system.take_commands()[0]), []);
}

#[test]
fn priorities_and_blacklists_help_the_light_source() {
    let latency = |config: ControllerConfig| {
        let mut system = system("DDR4-3200AA", 1, config);
        let mut tick = 1;
        let heavy = random(40_000, 256 << 20);
        let light = random(400, 256 << 20);
        for (i, address) in heavy.iter().enumerate() {
            for (source, address) in [(0, Some(*address)), (1, (i % 100 == 0).then(|| light[i / 100]))] {
                let Some(address) = address else { continue };
                let request = Request {
                    tag: i as u64,
                    address,
                    write: false,
                    source,
                };
                while !system.try_send(&request, tick) {
                    tick = tick.max(system.next_event());
                    system.advance(tick, |_| {});
                    tick += 1;
                }
            }
        }
        while system.outstanding() > 0 {
            tick = system.next_event();
            system.advance(tick, |_| {});
        }
        let statistics = system.statistics();
        let of = |source: usize| {
            let s = &statistics.sources[source];
            s.read_latency_ticks as f64 / s.reads as f64
        };
        (of(0), of(1))
    };
    let (_, plain) = latency(ControllerConfig::default());
    let (_, prioritised) = latency(ControllerConfig {
        priorities: vec![0, 9],
        ..ControllerConfig::default()
    });
    let bliss = Scheduler::Bliss {
        threshold: 4,
        clear_every: 10_000,
    };
    let (heavy, blacklisted) = latency(ControllerConfig {
        scheduler: bliss,
        ..ControllerConfig::default()
    });
    assert!(prioritised < 0.6 * plain, "{prioritised} of {plain}");
    assert!(
        blacklisted < 0.8 * plain && blacklisted < heavy,
        "{blacklisted} of {plain}, heavy {heavy}"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]
    #[test]
    fn a_restored_state_goes_on_as_the_original(
        requests in proptest::collection::vec((0u64..1 << 24, any::<bool>()), 2..200),
        at in any::<prop::sample::Index>(),
    ) {
        let mut original = system("HBM3-6400", 1, ControllerConfig::default());
        let run = |system: &mut DramSystem, requests: &[(u64, bool)], start: Tick| {
            let mut tick = start;
            for &(address, write) in requests {
                let request = Request { tag: 0, address, write, source: 0 };
                while !system.try_send(&request, tick) {
                    tick = tick.max(system.next_event());
                    system.advance(tick, |_| {});
                    tick += 1;
                }
            }
            tick
        };
        let middle = at.index(requests.len());
        let tick = run(&mut original, &requests[..middle], 1);
        let saved = serde_json::to_string(original.channels()).unwrap();
        let mut restored = system("HBM3-6400", 1, ControllerConfig::default());
        restored.restore(serde_json::from_str(&saved).unwrap()).unwrap();
        run(&mut original, &requests[middle..], tick);
        run(&mut restored, &requests[middle..], tick);
        prop_assert_eq!(original.statistics(), restored.statistics());
    }
}
