//! Machines with several memories: placement against a naive model and in closed form, links, migration, and what a
//! tier costs.

use std::collections::{HashMap, HashSet};

use memloupe_cachesim::{AccessKind, Memory, Operand, OwnerTraits, Run};
use memloupe_hierarchy::dram::{Device, DramCounters};
use memloupe_hierarchy::timed::{TimedConfig, TimedMemory};
use memloupe_hierarchy::{CurveOptions, Machine, MainMemory, System, Wait};
use proptest::prelude::*;

const PAGE: u64 = 4096;
const CLASSES: [&str; 3] = ["other", "weight", "kv-cache"];

/// The desktop with `near` in its memory's table, `far` in that of a CXL memory, and `placement`.
fn machine(near: &str, far: &str, placement: &str) -> Machine {
    let text = format!(
        "extends = \"desktop\"\nname = \"tiered\"\n[memory]\nname = \"near\"\n{near}\n\
         [memory.tier.far]\ndevice = \"DDR5-4800BN\"\nchannels = 2\nranks = 1\nlatency = \"60 ns\"\n{far}\n\
         [memory.tier.far.link]\nlatency = \"70 ns\"\nbandwidth = \"32 GB/s\"\nflit = \"68 B\"\nflit_payload = \"64 B\"\n\
         header = \"16 B\"\nenergy = \"5 pJ/bit\"\n[memory.placement]\n{placement}\n"
    );
    Machine::from_toml("tiered", &text).unwrap()
}

fn memory(machine: &Machine, owners: u32) -> MainMemory {
    let mut memory = MainMemory::new(machine).unwrap();
    memory.name_classes(machine, &CLASSES).unwrap();
    memory.reserve_owners(owners as usize);
    for owner in 0..owners {
        memory.describe_owner(owner, owner as u8);
    }
    memory
}

fn bytes(memory: &MainMemory) -> Vec<u64> {
    let of = |dram: &memloupe_hierarchy::dram::Dram| dram.total_read_bytes() + dram.total_write_bytes();
    memory.memories().iter().map(of).collect()
}

#[test]
fn first_touch_fills_the_nearest_and_spills() {
    let machine = machine("capacity = \"64 KiB\"", "", "");
    let mut memory = memory(&machine, 1);
    for page in 0..40 {
        memory.read(page * PAGE, PAGE / 64, 0);
    }
    assert_eq!(bytes(&memory), [16 * PAGE, 24 * PAGE]);
    // What was placed stays.
    memory.read(0, 2 * PAGE / 64, 0);
    memory.write(39 * PAGE, 1, 0);
    assert_eq!(bytes(&memory), [18 * PAGE, 24 * PAGE + 64]);
    assert_eq!(memory.pages_beyond_capacity(), 0);
}

#[test]
fn more_than_all_memories_hold_is_counted() {
    let machine = machine("capacity = \"8 KiB\"", "capacity = \"8 KiB\"", "");
    let mut memory = memory(&machine, 1);
    memory.read(0, 5 * PAGE / 64, 0);
    assert_eq!(bytes(&memory), [2 * PAGE, 3 * PAGE]);
    assert_eq!(memory.pages_beyond_capacity(), 1);
}

#[test]
fn pages_interleave_by_weight_whatever_their_addresses() {
    let machine = machine(
        "weight = 3",
        "weight = 2",
        "policy = \"interleave\"\npage = \"64 KiB\"",
    );
    let mut memory = memory(&machine, 1);
    for page in 0..50u64 {
        memory.read((page * 7919 % 4096) << 16, 1, 0);
    }
    assert_eq!(bytes(&memory), [30 * 64, 20 * 64]);
    // Frames of a memory lie side by side, so that all of its banks are used.
    memory.read((49 * 7919 % 4096) << 16, 1024, 0);
    assert_eq!(bytes(&memory), [30 * 64, 20 * 64 + (64 << 10)]);
}

#[test]
fn classes_go_where_the_machine_says() {
    let machine = machine("classes = \"kv-cache\"", "classes = \"weight\"", "");
    let mut system = System::new(&machine).unwrap();
    system.name_classes(&CLASSES).unwrap();
    system.reserve_owners(3);
    for owner in 0..3u32 {
        let traits = OwnerTraits {
            site: owner,
            object: owner,
            class: owner as u8,
        };
        system.describe_owner(owner, traits);
        let load = Operand {
            address: u64::from(owner) << 30,
            stride: 64,
            bytes: 8,
            kind: AccessKind::Load,
            owner,
        };
        let run = Run {
            operands: &[load],
            iterations: 1000,
            scattered: &[],
        };
        system.run(0, run);
    }
    let of_owner = |owner| {
        let counters = system.counters(owner);
        assert_eq!(counters.dram.read_bytes, 64_000);
        counters
            .tiers
            .iter()
            .map(|tier| tier.read_bytes)
            .collect::<Vec<_>>()
    };
    assert_eq!(
        [of_owner(0), of_owner(1), of_owner(2)],
        [[64_000, 0], [0, 64_000], [64_000, 0]]
    );

    let error = System::new(&machine)
        .unwrap()
        .name_classes(&["weights", "other"])
        .unwrap_err();
    assert!(
        error
            .to_string()
            .contains("memory near: unknown class 'kv-cache'"),
        "{error}"
    );
    let error = System::new(&machine)
        .unwrap()
        .name_classes(&["kv-cache", "weights"])
        .unwrap_err();
    assert!(error.to_string().contains("did you mean 'weights'?"), "{error}");
}

#[test]
fn a_hot_page_moves_and_a_cold_one_makes_room() {
    let machine = machine(
        "capacity = \"4 KiB\"",
        "",
        "promote_after = 8\nepoch = \"100 accesses\"",
    );
    let mut memory = memory(&machine, 1);
    let counters = |memory: &MainMemory| {
        memory
            .memories()
            .iter()
            .map(|dram| *dram.counters(0))
            .collect::<Vec<_>>()
    };
    memory.read(0, 1, 0); // The nearest memory is full.
    for _ in 0..8 {
        memory.read(PAGE, 1, 0);
    }
    // Page 0 is not cold yet: epoch 0 is the present one.
    assert_eq!(bytes(&memory), [64, 8 * 64]);
    for _ in 0..200 {
        memory.read(2 * PAGE, 1, 0);
    }
    // Page 2 became hot in epoch 0 and 1, in vain, and changed places with page 0 when epoch 2 began.
    let [near, far] = counters(&memory)[..] else {
        panic!()
    };
    assert_eq!((near.migrated_in_bytes, near.migrated_out_bytes), (PAGE, PAGE));
    assert_eq!((far.migrated_in_bytes, far.migrated_out_bytes), (PAGE, PAGE));
    // Requests to page 2 before: 209 in all, 9 of them for others; epoch 2 begins with the 200th, and 8 make a page hot.
    assert_eq!(far.read_bytes - PAGE, (8 + 198) * 64);
    assert_eq!(near.read_bytes - PAGE, (1 + 2) * 64);
    assert_eq!((near.write_bytes, far.write_bytes), (PAGE, PAGE));
    // Nobody waits for a page that moves.
    assert_eq!(near.outside_ps, 3 * machine.memory.latency_ps);
}

#[test]
fn a_link_costs_what_its_flits_say() {
    let machine = machine("", "classes = \"other\"", "");
    let far = &machine.tiers[0];
    // A header is 16 * 68 / 64 = 17 bytes on the wires, with a line it is 85; 32 GB/s are 31.25 ps per byte.
    assert_eq!(far.outside_ps(64), 60_000 + 70_000 + 3_188);
    let link = far.link.as_ref().unwrap();
    assert_eq!(link.line_pj(64), [(17.0 + 85.0) * 8.0 * 5.0; 2]);
    let peak = far.peak_bytes_per_second(64).unwrap();
    assert!((peak - 32e9 * 64.0 / 85.0).abs() < 1.0, "{peak}");

    let mut memory = memory(&machine, 1);
    memory.read(0, 64, 0);
    let counters = memory.memories()[1].counters(0);
    assert_eq!(counters.outside_ps, 64 * far.outside_ps(64));
    assert_eq!(memory.memories()[0].counters(0), &DramCounters::default());
}

#[test]
fn a_curve_starts_at_the_unloaded_latency_and_ends_at_the_link() {
    let machine = machine("", "", "");
    let far = &machine.tiers[0];
    let device = Device::find(&far.device).unwrap();
    let options = CurveOptions {
        read_shares: vec![1.0, 0.5],
        loads: vec![0.01, 0.5, 1.2],
        lines: 5_000,
        ..CurveOptions::default()
    };
    let curves = machine.curves(far, &options).unwrap();
    let closed_ns = (device.activate_ps() + device.read_hit_ps(64) + far.outside_ps(64)) as f64 / 1e3;
    let unloaded = curves[0].unloaded_ns();
    assert!(
        (closed_ns - 10.0..closed_ns + 15.0).contains(&unloaded),
        "{unloaded} against {closed_ns}"
    );
    let link_peak = 32e9 * 64.0 / 85.0;
    let most = curves[0].most_bytes_per_second();
    assert!(most <= link_peak * 1.01, "{most}");
    assert!(
        most >= link_peak * 0.9,
        "{most}: two DDR5 channels have 38.4 GB/s"
    );
    // Half reads, half writes: each direction carries a line and two headers for two lines.
    let both = curves[1].most_bytes_per_second();
    assert!(both <= 32e9 * 128.0 / (85.0 + 17.0) * 1.01, "{both}");
}

#[test]
fn cores_wait_for_the_slowest_memory() {
    let machine = machine("", "", "");
    let system = System::new(&machine).unwrap();
    let timing = system.timing();
    let gigabyte = 1u64 << 30;
    let cycles = |near: u64, far: u64| {
        let of = |read_bytes| DramCounters {
            read_bytes,
            ..DramCounters::default()
        };
        let mut counters = system.totals();
        counters.dram = of(near + far);
        counters.tiers = vec![of(near), of(far)];
        let work = timing.work(Wait::Independent, &counters, 1);
        let exposures = timing.exposures(std::slice::from_ref(&work));
        timing.cycles(&work, &exposures[0]).total()
    };
    let hertz = machine.core.frequency_hz as f64;
    let near_peak = machine.memory.peak_bytes_per_second(64).unwrap();
    let far_peak = machine.tiers[0].peak_bytes_per_second(64).unwrap();
    for (near, far) in [
        (gigabyte, 0),
        (0, gigabyte),
        (gigabyte, gigabyte),
        (gigabyte, 100),
    ] {
        let seconds = (near as f64 / near_peak).max(far as f64 / far_peak);
        let found = cycles(near, far);
        assert!(
            (found / (seconds * hertz) - 1.0).abs() < 1e-9,
            "{near} {far}: {found}"
        );
    }
}

#[test]
fn energy_is_that_of_each_memory() {
    let machine = machine("", "classes = \"weight\"", "");
    let mut system = System::new(&machine).unwrap();
    system.name_classes(&CLASSES).unwrap();
    let energy = system.access_energy();
    let with = |tier: usize| {
        let dram = DramCounters {
            read_bytes: 64_000,
            ..DramCounters::default()
        };
        let mut counters = system.totals();
        counters.dram = dram;
        counters.tiers = vec![DramCounters::default(); 2];
        counters.tiers[tier] = dram;
        energy.picojoules(&counters)
    };
    let alone = |device: &str, channels: u32, text: &str| {
        let text =
            format!("extends = \"desktop\"\n[memory]\ndevice = \"{device}\"\nchannels = {channels}\n{text}");
        let system = System::new(&Machine::from_toml("alone", &text).unwrap()).unwrap();
        let mut counters = system.totals();
        counters.dram.read_bytes = 64_000;
        system.access_energy().picojoules(&counters)
    };
    let desktop = &machine.memory;
    assert_eq!(with(0), alone(&desktop.device, desktop.channels, ""));
    let link = 1000.0 * (17.0 + 85.0) * 8.0 * 5.0;
    let far = alone("DDR5-4800BN", 2, "");
    // The desktop's own energy of moving a bit to its modules is not the expander's.
    let desktop_link = 64_000.0 * 8.0 * desktop.link_pj_per_bit;
    assert!(
        (with(1) - (far - desktop_link + link)).abs() < 1e-6,
        "{} {far}",
        with(1)
    );
}

#[test]
fn contradictions_are_refused() {
    let refused = |near: &str, far: &str, placement: &str| {
        let text = format!(
            "extends = \"desktop\"\n[memory]\n{near}\n[memory.tier.far]\ndevice = \"DDR5-4800BN\"\nchannels = 2\n\
             ranks = 1\nlatency = \"60 ns\"\n{far}\n[memory.placement]\n{placement}\n"
        );
        Machine::from_toml("t.toml", &text).unwrap_err().to_string()
    };
    for (near, far, placement, expected) in [
        (
            "classes = \"weight\"",
            "classes = \"kv-cache, weight\"",
            "",
            "class weight is given to two memories",
        ),
        (
            "capacity = \"1 KiB\"",
            "",
            "",
            "memory memory: its capacity must be from one page",
        ),
        (
            "",
            "",
            "policy = \"random\"",
            "t.toml:11: memory.placement.policy: \"random\" is not \"first touch\"",
        ),
        (
            "",
            "",
            "page = \"5 KiB\"",
            "memory.placement.page: \"5 KiB\" is not a power of two",
        ),
        ("", "", "promote_after = 3", "memory.placement.epoch: missing"),
        ("", "wieght = 2", "", "did you mean 'memory.tier.far.weight'?"),
    ] {
        let text = refused(near, far, placement);
        assert!(text.contains(expected), "{text}");
    }
    let error = TimedMemory::new(&machine("", "", ""), TimedConfig::default()).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("memory far begins where that before it ends: give that one a capacity"),
        "{error}"
    );
}

/// Pages and what each memory got, as simply as can be.
struct Naive {
    capacities: [u64; 2],
    weights: [u64; 2],
    interleaves: bool,
    placed: HashMap<u64, usize>,
    turns: u64,
    bytes: [u64; 2],
}

impl Naive {
    fn request(&mut self, address: u64, class: u32) {
        let used = |placed: &HashMap<u64, usize>, tier| {
            placed.values().filter(|other| **other == tier).count() as u64
        };
        let tier = match self.placed.get(&(address / PAGE)) {
            Some(tier) => *tier,
            None => {
                // Weights go to the far memory, caches of keys to the near one.
                let wanted = match class {
                    1 => 1,
                    2 => 0,
                    _ if self.interleaves => {
                        self.turns += 1;
                        usize::from((self.turns - 1) % (self.weights[0] + self.weights[1]) >= self.weights[0])
                    }
                    _ => 0,
                };
                let has_room = |tier: usize| used(&self.placed, tier) < self.capacities[tier];
                let tier = if has_room(wanted) {
                    wanted
                } else if has_room(1 - wanted) {
                    1 - wanted
                } else {
                    1
                };
                self.placed.insert(address / PAGE, tier);
                tier
            }
        };
        self.bytes[tier] += 64;
    }
}

proptest! {
    #[test]
    fn placement_equals_a_map_of_pages(
        requests in proptest::collection::vec((0u64..64 * PAGE / 64, 1u64..150, any::<bool>(), 0u32..3), 1..200),
        capacities in (1u64..40, 1u64..40),
        weights in (1u64..5, 1u64..5),
        interleaves in any::<bool>(),
    ) {
        let near = format!("capacity = \"{} B\"\nweight = {}\nclasses = \"kv-cache\"", capacities.0 * PAGE, weights.0);
        let far = format!("capacity = \"{} B\"\nweight = {}\nclasses = \"weight\"", capacities.1 * PAGE, weights.1);
        let policy = if interleaves { "policy = \"interleave\"" } else { "" };
        let machine = machine(&near, &far, policy);
        let mut memory = memory(&machine, 3);
        let mut naive = Naive {
            capacities: [capacities.0, capacities.1],
            weights: [weights.0, weights.1],
            interleaves,
            placed: HashMap::new(),
            turns: 0,
            bytes: [0; 2],
        };
        for (line, lines, is_write, owner) in requests {
            for step in 0..lines {
                naive.request((line + step) * 64, owner);
            }
            if is_write {
                memory.write(line * 64, lines, owner);
            } else {
                memory.read(line * 64, lines, owner);
            }
        }
        prop_assert_eq!(bytes(&memory), naive.bytes);
    }

    #[test]
    fn migration_loses_nothing(
        requests in proptest::collection::vec((0u64..24, 0u64..64, any::<bool>()), 1..3000),
        capacity in 1u64..12,
        promote_after in 1u64..20,
        epoch in 1u64..200,
    ) {
        let near = format!("capacity = \"{} B\"", capacity * PAGE);
        let placement = format!("promote_after = {promote_after}\nepoch = \"{epoch} accesses\"");
        let machine = machine(&near, "", &placement);
        let mut memory = memory(&machine, 1);
        let mut pages = HashSet::new();
        for (page, line, is_write) in &requests {
            pages.insert(page);
            if *is_write {
                memory.write(page * PAGE + line * 64, 1, 0);
            } else {
                memory.read(page * PAGE + line * 64, 1, 0);
            }
        }
        let [near, far] = [0, 1].map(|tier| *memory.memories()[tier].counters(0));
        prop_assert_eq!(near.migrated_in_bytes, far.migrated_out_bytes);
        prop_assert_eq!(near.migrated_out_bytes, far.migrated_in_bytes);
        let moved = 2 * (near.migrated_in_bytes + near.migrated_out_bytes);
        prop_assert_eq!(bytes(&memory).iter().sum::<u64>(), requests.len() as u64 * 64 + moved);
        // No more pages came in than there is room, and none left that had not come.
        let first_touched = capacity.min(pages.len() as u64) * PAGE;
        prop_assert!(first_touched + near.migrated_in_bytes - near.migrated_out_bytes <= capacity * PAGE);
        let opened = |dram: &DramCounters| dram.row_hits + dram.row_misses + dram.row_conflicts;
        prop_assert_eq!((opened(&near) + opened(&far)) * 64, bytes(&memory).iter().sum::<u64>());
    }
}

#[test]
fn the_cxl_server_has_its_makers_peaks() {
    let machine = Machine::load("cxl-server").unwrap();
    let cxl = &machine.tiers[0];
    let link = cxl.link.as_ref().unwrap();
    // 16 lanes of 32 GT/s with 128b/130b.
    let wires = 16.0 * 32e9 / 8.0 * 128.0 / 130.0;
    assert!((link.bytes_per_second as f64 / wires - 1.0).abs() < 0.001);
    // Pond (ASPLOS 2023) and Demystifying CXL (MICRO 2023): two to three times the latency of local DDR5.
    let device = Device::find(&cxl.device).unwrap();
    let latency = |memory: &memloupe_hierarchy::MemoryDevice| {
        (device.activate_ps() + device.read_hit_ps(64) + memory.outside_ps(64)) as f64
    };
    let ratio = latency(cxl) / latency(&machine.memory);
    assert!((1.6..3.0).contains(&ratio), "{ratio}");
}
