//! The controller under load, whatever its configuration: nothing is lost, nobody starves, no constraint breaks.

use std::collections::HashMap;

use memloupe_hierarchy::dram::{
    ControllerConfig, Device, DramError, DramSystem, Mitigation, RefreshMode, Request, RowPolicy, Scheduler,
    Tick, Topology, check,
};
use proptest::prelude::*;
use proptest::test_runner::{TestCaseResult, TestRunner};

/// Longest row cycle of any DRAM, and its longest refresh with what it displaces, in clocks (generous).
const ROW_CYCLE_CLOCKS: u64 = 300;
const REFRESHES_CLOCKS: u64 = 24_000;

#[derive(Clone, Debug)]
struct Sent {
    address: u64,
    write: bool,
    gap: u64,
    source: u16,
}

#[derive(Clone, Debug)]
struct Case {
    device: Device,
    topology: Topology,
    config: ControllerConfig,
    requests: Vec<Sent>,
}

fn devices() -> impl Strategy<Value = Device> {
    let names: Vec<&str> = Device::names().collect();
    proptest::sample::select(names).prop_map(|name| Device::find(name).unwrap())
}

fn schedulers() -> impl Strategy<Value = Scheduler> {
    prop_oneof![
        Just(Scheduler::Fcfs),
        Just(Scheduler::FrFcfs),
        (0u32..8).prop_map(Scheduler::FrFcfsCap),
        (1u32..8, 100u64..20_000).prop_map(|(threshold, clear_every)| Scheduler::Bliss {
            threshold,
            clear_every
        }),
    ]
}

fn row_policies() -> impl Strategy<Value = RowPolicy> {
    prop_oneof![
        Just(RowPolicy::Open),
        Just(RowPolicy::Closed),
        (1u32..6).prop_map(RowPolicy::Capped),
        (0u64..500).prop_map(RowPolicy::Timeout),
        Just(RowPolicy::Adaptive),
    ]
}

fn mitigations() -> impl Strategy<Value = Mitigation> {
    prop_oneof![
        3 => Just(Mitigation::None),
        1 => (0.0..0.2f64).prop_map(Mitigation::Para),
        1 => (2u32..50, 1u16..8)
            .prop_map(|(threshold, entries)| Mitigation::Graphene { threshold, entries }),
        1 => (4u32..50).prop_map(Mitigation::Rfm),
        1 => (4u32..50).prop_map(Mitigation::Prac),
    ]
}

/// `None` is the standard's own.
fn refreshes() -> impl Strategy<Value = Option<RefreshMode>> {
    let modes = [
        RefreshMode::PerBank,
        RefreshMode::SameBank,
        RefreshMode::Fine2x,
        RefreshMode::Fine4x,
    ];
    proptest::option::of(proptest::sample::select(modes.to_vec()))
}

/// Watermarks at the ends of the queue, too: without any writes, one of 0 is still reached.
fn watermarks() -> impl Strategy<Value = f64> {
    prop_oneof![1 => Just(0.0), 1 => Just(1.0), 4 => 0.0..=1.0f64]
}

fn configs() -> impl Strategy<Value = ControllerConfig> {
    let queues = (1u16..64, 1u16..64, watermarks(), watermarks());
    let rows = (schedulers(), row_policies(), mitigations());
    let refresh = (refreshes(), prop::bool::weighted(0.2), 0u8..9, 0u8..9);
    let order = (100u64..4_000, proptest::collection::vec(any::<u8>(), 0..3));
    (queues, rows, refresh, order).prop_map(|(queues, rows, refresh, order)| ControllerConfig {
        read_queue: queues.0,
        write_queue: queues.1,
        write_low_watermark: queues.2.min(queues.3),
        write_high_watermark: queues.2.max(queues.3),
        scheduler: rows.0,
        row_policy: rows.1,
        mitigation: rows.2,
        refresh: refresh.0,
        no_refresh: refresh.1,
        refresh_postpone: refresh.2,
        refresh_pull_in: refresh.3,
        starvation_limit: order.0,
        priorities: order.1,
    })
}

fn cases(requests: usize) -> impl Strategy<Value = Case> {
    let mappings = ["RoRaBaCoCh", "RoBaRaCoCh", "ChRaBaRoCo", "RoRaBaCoBgCh"];
    let request = (0u64..1 << 24, any::<bool>(), 0u64..40, 0u16..3);
    let request = request.prop_map(|(address, write, gap, source)| Sent {
        address,
        write,
        gap: gap * gap / 8,
        source,
    });
    let requests = proptest::collection::vec(request, 1..requests);
    let places = (
        1u32..3,
        0u32..3,
        proptest::sample::select(mappings.to_vec()),
        any::<bool>(),
    );
    (devices(), places, configs(), requests).prop_map(
        |(device, (channels, ranks, mapping, hot), mut config, mut requests)| {
            config.refresh = config.refresh.filter(|mode| device.refresh_modes.contains(mode));
            if hot {
                // A few rows of few banks.
                requests
                    .iter_mut()
                    .for_each(|request| request.address &= 0x1_03c0);
            }
            let ranks = if device.standard.starts_with("GDDR") {
                1
            } else {
                1 << ranks
            };
            let mapping = mapping.into();
            let topology = Topology {
                channels,
                ranks,
                mapping,
            };
            Case {
                device,
                topology,
                config,
                requests,
            }
        },
    )
}

/// The system of a case; without the mitigation, where the standard has no refresh management.
fn system(case: &Case) -> Result<DramSystem, DramError> {
    DramSystem::new(&case.device, &case.topology, case.config.clone()).or_else(|_| {
        let config = ControllerConfig {
            mitigation: Mitigation::None,
            ..case.config.clone()
        };
        DramSystem::new(&case.device, &case.topology, config)
    })
}

/// Every request ends once, in bounded time, and no command breaks a constraint.
fn holds(case: &Case) -> TestCaseResult {
    let mut system = system(case).map_err(|error| TestCaseError::fail(error.to_string()))?;
    system.record_commands();
    let mut sent: HashMap<u64, (bool, Tick)> = HashMap::new();
    let mut ended = Vec::new();
    let mut tick = 1;
    for (tag, request) in case.requests.iter().enumerate() {
        tick += request.gap;
        let request = Request {
            tag: tag as u64,
            address: request.address,
            write: request.write,
            source: request.source,
        };
        while !system.try_send(&request, tick) {
            let next = system.next_event();
            prop_assert!(next < Tick::MAX, "the queue is full and nothing happens");
            tick = tick.max(next);
            system.advance(tick, |done| ended.push(done));
            tick += 1;
        }
        sent.insert(request.tag, (request.write, tick));
    }
    while system.outstanding() > 0 {
        let next = system.next_event();
        prop_assert!(next < Tick::MAX, "requests wait and nothing happens");
        system.advance(next, |done| ended.push(done));
    }
    prop_assert_eq!(ended.len(), case.requests.len());
    let (config, device) = (&case.config, &case.device);
    // Starved requests are served oldest first: each takes at most a few row cycles and refreshes.
    let queued = u64::from(config.read_queue) + u64::from(config.write_queue) + 2;
    // A write to an array that is not DRAM may take longer than all of that: nRCD, the write, nWR, nRP.
    let clocks = |name: &str| device.parameters.get(name).map_or(0, |clocks| *clocks as u64);
    let write_cycle: u64 = ["nRCD", "nCWL", "nBL", "nWR", "nRP"].map(clocks).iter().sum();
    let bound = config.starvation_limit + queued * ROW_CYCLE_CLOCKS.max(write_cycle) + REFRESHES_CLOCKS;
    for done in &ended {
        let (write, at) = sent
            .remove(&done.tag)
            .expect("it was sent and did not end before");
        prop_assert_eq!(done.write, write);
        // A column command that starts the data clock holds the bus, and newcomers, for two ticks.
        prop_assert!((at..at + 2).contains(&done.arrival), "{} for {at}", done.arrival);
        let waited = done.finish - done.arrival;
        prop_assert!(waited < bound * device.ticks_per_clock, "{waited} ticks");
    }
    for commands in system.take_commands() {
        let violations = check(&system.plan().device, case.topology.ranks, &commands);
        prop_assert!(violations.is_empty(), "{}", violations[0]);
    }
    let statistics = system.statistics();
    let outcomes: u64 = statistics.outcomes.iter().flatten().sum();
    let served = outcomes + statistics.forwarded_reads + statistics.merged_writes;
    prop_assert_eq!(served, case.requests.len() as u64);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]
    #[test]
    fn every_request_ends_once_in_bounded_time_without_a_violation(case in cases(600)) {
        holds(&case)?;
    }
}

#[test]
#[ignore = "goes on until it finds something"]
fn every_request_ends_once_in_bounded_time_without_a_violation_for_ever() {
    let config = ProptestConfig::with_cases(u32::MAX);
    let mut runner = TestRunner::new(config);
    if let Err(error) = runner.run(&cases(5_000), |case| holds(&case)) {
        panic!("{error}");
    }
}
