//! Energy by owner: against the timed DRAM of the same stream, in closed form, and for every machine.

use std::num::NonZero;

use memloupe_cachesim::{AccessKind, Operand, Run};
use memloupe_hierarchy::dram::{ControllerConfig, Device, DramSystem, Pace, Place, Topology, Workload};
use memloupe_hierarchy::{ASSUMED_HIT_PJ, Machine, System};

const LINE: u64 = 64;

fn stream(system: &mut System, lines: u64, kind: AccessKind, owner: u32) {
    let operand = Operand {
        address: 1 << 30,
        stride: LINE as i64,
        bytes: 8,
        kind,
        owner,
    };
    system.run(
        0,
        Run {
            operands: &[operand],
            iterations: lines,
        },
    );
}

#[test]
fn a_stream_costs_its_misses_and_what_the_timed_dram_says_of_it() {
    let machine = Machine::load("ice-lake-sp").unwrap();
    let mut system = System::new(&machine).unwrap();
    system.reserve_owners(1);
    let lines = 40_000;
    stream(&mut system, lines, AccessKind::Load, 0);
    let energy = system.access_energy();

    let device = Device::find(&machine.memory.device).unwrap();
    let topology = Topology {
        channels: machine.memory.channels,
        ranks: machine.memory.ranks,
        mapping: machine.memory.mapping.clone(),
    };
    let config = ControllerConfig {
        no_refresh: true,
        ..ControllerConfig::default()
    };
    let mut timed = DramSystem::new(&device, &topology, config).unwrap();
    let mut workload = Workload::default();
    for line in 0..lines {
        workload.push(
            &timed,
            Place::Address((1 << 30) + line * LINE),
            LINE as u32,
            false,
            0,
        );
    }
    workload.run(&mut timed, Pace::OpenLoop, NonZero::<usize>::MIN);
    let timed = timed.energy().unwrap();

    // Every level but that of instructions is missed once per line.
    let caches: f64 = machine
        .caches
        .iter()
        .filter(|cache| cache.name != "l1i")
        .map(|cache| cache.miss_pj * lines as f64)
        .sum();
    let expected = caches + timed.activate_pj + timed.read_pj;
    let found = energy.picojoules(&system.counters(0));
    assert!((found / expected - 1.0).abs() < 1e-9, "{found} {expected}");
}

#[test]
fn hits_cost_a_hit_and_dirty_lines_their_way_down() {
    let machine = Machine::load("embedded").unwrap();
    let mut system = System::new(&machine).unwrap();
    system.reserve_owners(2);
    stream(&mut system, 8, AccessKind::Store, 0);
    let energy = system.access_energy();
    let stored = energy.picojoules(&system.counters(0));
    stream(&mut system, 8, AccessKind::Load, 1);
    let l1d = machine.caches.iter().find(|cache| cache.name == "l1d").unwrap();
    assert_eq!(energy.picojoules(&system.counters(1)), 8.0 * l1d.hit_pj);
    system.flush();
    let device = Device::find(&machine.memory.device).unwrap();
    let events = memloupe_hierarchy::dram::EventEnergy::of(&device).unwrap();
    let bursts = f64::from(machine.line_bytes() / device.burst_bytes);
    let written = energy.picojoules(&system.counters(0)) - stored;
    // Written to memory, each on a row that the fill had opened, from the level below by way of its hit.
    assert!(written >= 8.0 * bursts * events.write_pj, "{written}");
    assert!(written < 8.0 * (bursts * events.write_pj + events.activate_pj) + 8.0 * 1000.0);
}

#[test]
fn every_machine_has_energies_and_standby_of_a_sensible_size() {
    for preset in Machine::presets() {
        let machine = Machine::load(preset.name).unwrap();
        let l1d = &machine.caches[0];
        assert!(l1d.hit_pj < l1d.miss_pj, "{}", preset.name);
        let mut hits: Vec<(u64, f64)> = machine.caches.iter().map(|c| (c.size_bytes, c.hit_pj)).collect();
        hits.sort_by_key(|(size, _)| *size);
        assert!(
            hits.is_sorted_by_key(|(_, pj)| *pj),
            "{}: larger costs more",
            preset.name
        );
        assert!(l1d.hit_pj > ASSUMED_HIT_PJ / 4.0 && l1d.hit_pj < ASSUMED_HIT_PJ * 4.0);
        let system = System::new(&machine).unwrap();
        if let Some(watts) = system.access_energy().standby_watts() {
            let channels = f64::from(machine.memory.channels * machine.memory.ranks);
            assert!(
                watts / channels > 0.02 && watts / channels < 20.0,
                "{}: {watts} W",
                preset.name
            );
        }
    }
}
