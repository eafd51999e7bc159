//! Several senders on one DRAM: alone each is what it is without others, and who goes first is told.

use std::num::NonZero;

use memloupe_hierarchy::dram::{
    ControllerConfig, Device, DramSystem, Pace, Place, Scheduler, Statistics, Topology, Workload,
};
use proptest::prelude::*;

fn system(device: &str, channels: u32, config: ControllerConfig) -> DramSystem {
    let topology = Topology {
        channels,
        ranks: 1,
        mapping: "RoBaRaCoCh".into(),
    };
    DramSystem::new(&Device::find(device).unwrap(), &topology, config).unwrap()
}

/// Random lines; every third is written if there are to be writes.
fn random_lines(system: &DramSystem, count: u64, seed: u64, writes: bool) -> Workload {
    let mut workload = Workload::default();
    let mut random = seed;
    for i in 0..count {
        // Knuth's MMIX generator.
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let address = (random >> 16) % (1 << 23) * 64;
        workload.push(system, Place::Address(address), 64, writes && i % 3 == 2, i * 20);
    }
    workload
}

fn latency(statistics: &Statistics, source: usize) -> f64 {
    let source = &statistics.sources[source];
    source.read_latency_ticks as f64 / source.reads as f64
}

fn outstanding(bound: u32) -> Pace {
    Pace::Outstanding(NonZero::new(bound).unwrap())
}

#[test]
fn a_source_alone_is_what_it_is_without_sources() {
    for pace in [
        Pace::OpenLoop,
        Pace::Every(30),
        Pace::AsTimed,
        outstanding(1),
        outstanding(12),
    ] {
        let [mut one, mut other] = [(); 2].map(|()| system("DDR4-3200AA", 1, ControllerConfig::default()));
        let workload = random_lines(&one, 3000, 1, true);
        one.record_commands();
        other.record_commands();
        workload.run(&mut one, pace, NonZero::<usize>::MIN);
        other.run_together(&[(&workload, pace)]);
        assert_eq!(one.take_commands(), other.take_commands(), "{pace:?}");
        assert_eq!(one.statistics(), other.statistics(), "{pace:?}");
    }
}

#[test]
fn the_source_with_the_higher_priority_waits_less() {
    let run = |priorities: Vec<u8>| {
        let config = ControllerConfig {
            priorities,
            ..ControllerConfig::default()
        };
        let mut system = system("DDR4-3200AA", 1, config);
        let lists = [1, 2].map(|seed| random_lines(&system, 4000, seed, false));
        system.run_together(&lists.each_ref().map(|list| (list, outstanding(12))));
        let statistics = system.statistics();
        [0, 1].map(|source| latency(&statistics, source))
    };
    let [first, second] = run(vec![]);
    assert!((first / second - 1.0).abs() < 0.05, "alike: {first} and {second}");
    let [low, high] = run(vec![0, 1]);
    assert!(
        high < 0.8 * second && low > first,
        "{low} and {high}, alike {first}"
    );
    // The other way round, as which is which must not matter.
    let [high, low] = run(vec![1, 0]);
    assert!(
        high < 0.8 * first && low > second,
        "{low} and {high}, alike {second}"
    );
}

#[test]
fn bliss_keeps_a_stream_from_starving_its_bank() {
    // A stream that stays in one row, whose hits always go first, beside a few reads of other rows of that bank.
    let run = |scheduler| {
        let config = ControllerConfig {
            scheduler,
            ..ControllerConfig::default()
        };
        let mut system = system("DDR4-3200AA", 1, config);
        let mut stream = Workload::default();
        for line in 0..20_000 {
            stream.push(&system, Place::Address(line % 128 * 64), 64, false, 0);
        }
        let mut others = Workload::default();
        for row in 1..50 {
            others.push(&system, Place::Address(row * 16 * 8192), 64, false, 0);
        }
        system.run_together(&[(&stream, outstanding(24)), (&others, outstanding(1))]);
        latency(&system.statistics(), 1)
    };
    let hits_first = run(Scheduler::FrFcfsCap(0));
    // Between two acts of forgiveness both are blacklisted sooner or later, and then hits go first again.
    let fair = run(Scheduler::Bliss {
        threshold: 4,
        clear_every: 400,
    });
    assert!(fair < hits_first / 5.0, "{fair} and {hits_first}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn nothing_is_lost_between_sources(
        channels in 1u32..4,
        sources in proptest::collection::vec((1u64..400, 0usize..4, any::<bool>()), 1..5),
        priorities in proptest::collection::vec(any::<u8>(), 0..4),
        device in proptest::sample::select(vec!["DDR4-3200AA", "LPDDR5-6400", "HBM3-6400", "STT-MRAM-1333"]),
    ) {
        let config = ControllerConfig { priorities, ..ControllerConfig::default() };
        let mut system = system(device, channels, config);
        let paces = [Pace::OpenLoop, Pace::Every(7), Pace::AsTimed, outstanding(3)];
        let lists: Vec<(Workload, Pace)> = { sources.iter() }
            .map(|(count, pace, writes)| (random_lines(&system, *count, count ^ 77, *writes), paces[*pace]))
            .collect();
        let lists: Vec<(&Workload, Pace)> = lists.iter().map(|(list, pace)| (list, *pace)).collect();
        system.run_together(&lists);
        prop_assert_eq!(system.outstanding(), 0);
        let statistics = system.statistics();
        for (source, (list, _)) in lists.iter().enumerate() {
            let counted = &statistics.sources[source];
            prop_assert_eq!(counted.reads + counted.writes, list.bursts(), "source {}", source);
        }
    }
}
