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
            scattered: &[],
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

#[test]
fn translation_costs_its_look_ups_and_walks() {
    let text = |walks: &str| {
        format!(
            "extends = \"embedded\"\n[tlb]\npage = \"4 KiB\"\nwalks = \"{walks}\"\n\
             [tlb.data]\nentries = 64\nways = 4\nenergy = \"2 pJ\"\n\
             [tlb.unified]\nentries = 512\nways = 4\nenergy = \"7 pJ\"\n[tlb.walker]\nenergy = \"40 pJ\"\n"
        )
    };
    let pages = 2048;
    // A load of each page: every look-up misses; walks read four entries each, none of them cached by the walker.
    let run = |machine: &str| {
        let mut system = System::new(&Machine::from_toml("machine", machine).unwrap()).unwrap();
        system.reserve_owners(1);
        let operands = [Operand {
            address: 1 << 30,
            stride: 4096,
            bytes: 8,
            kind: AccessKind::Load,
            owner: 0,
        }];
        let iterations = pages;
        system.run(
            0,
            Run {
                operands: &operands,
                iterations,
                scattered: &[],
            },
        );
        (
            system.access_energy().picojoules(&system.counters(0)),
            system.counters(0),
        )
    };
    let (plain, _) = run("extends = \"embedded\"");
    let (counted, counters) = run(&text("counted"));
    let look_ups = (2.0 + 7.0) * pages as f64;
    assert_eq!(counters.translation.walk_reads, 4 * pages);
    let expected = plain + look_ups + 40.0 * 4.0 * pages as f64;
    assert!((counted / expected - 1.0).abs() < 1e-12, "{counted} {expected}");

    // Through the caches, a walk costs what its look-ups there do, and its misses go to memory.
    let (cached, counters) = run(&text("cached").replace("[tlb.walker]\nenergy = \"40 pJ\"\n", ""));
    let machine = Machine::from_toml("machine", &text("cached").replace("energy = \"40 pJ\"\n", "")).unwrap();
    let of_walks: f64 = { machine.caches.iter().zip(&counters.details) }
        .map(|(cache, level)| {
            let hits = level.walk_lookups - level.walk_lookup_misses;
            cache.hit_pj * hits as f64 + cache.miss_pj * level.walk_lookup_misses as f64
        })
        .sum();
    assert!(of_walks > 0.0 && cached > plain + look_ups + of_walks * 0.999);

    // What is not given is assumed, said, and written back to the file.
    let assumed = "extends = \"embedded\"\n[tlb]\npage = \"4 KiB\"\nwalks = \"counted\"\n\
                   [tlb.data]\nentries = 2048\nways = 4\n";
    let assumed = Machine::from_toml("machine", assumed).unwrap();
    assert_eq!(
        assumed.translation_energy.data_pj, ASSUMED_HIT_PJ,
        "as a cache of 32 KiB"
    );
    assert!(
        { assumed.notes.iter() }.any(|note| note.contains("translation")),
        "{:?}",
        assumed.notes
    );
    let again = Machine::from_toml("machine", &assumed.to_toml()).unwrap();
    assert_eq!(again.translation_energy, assumed.translation_energy);
}
