//! Bandwidth and latency beside those of another simulator, on the same streams.
//!
//! `peers/ramulator-2.1.csv` has its figures, their configuration and how they were measured. Bandwidth differs by less
//! than 0.5 %. Latency is a tick shorter here: it ends with the data, there with the tick in which that is noticed.
//!
//! Where readings of the standards differ (the page of peers in the project's facts has the figures of all three):
//! - Read to write on DDR4-3200: 12 clocks here, in Ramulator 2.1 and in DRAMSys, CL + BL/2 + 2 - CWL; 11 in DRAMsim3,
//!   which adds one clock for the bus to turn. JESD79-4 has CL - CWL + RBL/2 + 1 + tWPRE (as remembered): 12.
//! - ACTIVATE-2 of LPDDR5 here and in Ramulator 2.1 follows ACTIVATE-1 within tAAD, with other commands between them, as
//!   JESD209-5 allows; as one command of two clocks, random reads lose 6.6 % of their bandwidth.
//! - tRRD of DDR5: see `devices/ddr5.toml`.

use std::num::NonZero;

use memloupe_hierarchy::dram::{ControllerConfig, Device, DramSystem, Pace, Place, Topology, Workload};

const RAMULATOR: &str = include_str!("peers/ramulator-2.1.csv");
const FOOTPRINT_BYTES: u64 = 512 << 20;

/// A line of the table.
struct Figures {
    device: String,
    stream: String,
    requests: u64,
    pace: Pace,
    gb_per_s: f64,
    read_latency_ns: f64,
}

fn figures(table: &str) -> Vec<Figures> {
    let lines = table.lines().filter(|line| !line.starts_with('#')).skip(1);
    let parse = |line: &str| {
        let fields: Vec<&str> = line.split(',').collect();
        let [device, stream, requests, pace, gb_per_s, read_latency_ns] = fields[..] else {
            panic!("six fields: {line}");
        };
        Figures {
            device: device.into(),
            stream: stream.into(),
            requests: requests.parse().unwrap(),
            pace: match pace.split_once('=') {
                Some(("outstanding", count)) => Pace::Outstanding(count.parse::<NonZero<u32>>().unwrap()),
                Some(("every", clocks)) => Pace::Every(clocks.parse().unwrap()),
                _ => Pace::OpenLoop,
            },
            gb_per_s: gb_per_s.parse().unwrap(),
            read_latency_ns: read_latency_ns.parse().unwrap(),
        }
    };
    lines.map(parse).collect()
}

/// The stream's requests: address, and whether it is a write.
fn requests(stream: &str, count: u64) -> Vec<(u64, bool)> {
    // Knuth's MMIX generator.
    let mut random = 1u64;
    let mut next_line = || {
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (random >> 16) % (FOOTPRINT_BYTES / 64) * 64
    };
    let request = |i: u64| match stream {
        "seq" => (i * 64 % FOOTPRINT_BYTES, false),
        "str4k" => (i * 4096 % FOOTPRINT_BYTES, false),
        "rnd" => (next_line(), false),
        "mix21" => (next_line(), i % 3 == 2),
        other => panic!("stream {other}"),
    };
    (0..count).map(request).collect()
}

#[test]
fn bandwidth_within_3_and_latency_within_5_percent_of_ramulator_2_1() {
    let table = figures(RAMULATOR);
    assert_eq!(table.len(), 35, "five devices, seven runs each");
    for peer in table {
        let device = Device::find(&peer.device).unwrap();
        let topology = Topology {
            channels: 1,
            ranks: 1,
            mapping: "RoBaRaCoCh".into(),
        };
        let mut system = DramSystem::new(&device, &topology, ControllerConfig::default()).unwrap();
        let mut workload = Workload::default();
        for (address, write) in requests(&peer.stream, peer.requests) {
            workload.push(&system, Place::Address(address), 64, write, 0);
        }
        workload.run(&mut system, peer.pace, NonZero::<usize>::MIN);
        let statistics = system.statistics();
        let ns = device.picoseconds(statistics.last_tick - 1) / 1000.0;
        let gb_per_s = workload.bursts() as f64 * f64::from(device.burst_bytes) / ns;
        let latency_ns = statistics.read_latency.mean().unwrap() * device.picoseconds(1000) / 1e6;
        let off = |ours: f64, theirs: f64| (ours / theirs - 1.0) * 100.0;
        let (bandwidth_off, latency_off) = (
            off(gb_per_s, peer.gb_per_s),
            off(latency_ns, peer.read_latency_ns),
        );
        assert!(
            bandwidth_off.abs() < 3.0 && latency_off.abs() < 5.0,
            "{} {} {:?}: {gb_per_s:.3} GB/s ({bandwidth_off:+.1} %), {latency_ns:.2} ns ({latency_off:+.1} %)",
            peer.device,
            peer.stream,
            peer.pace
        );
    }
}
