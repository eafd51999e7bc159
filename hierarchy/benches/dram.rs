//! Requests per second of the timed DRAM, on the streams on which other simulators were measured.
//!
//! `cargo bench -p memloupe-hierarchy --bench dram [DEVICE [STREAM [REQUESTS]]]`. For instructions per request, run the
//! built program under `valgrind --tool=callgrind` with two numbers of requests and divide the difference.

use std::num::NonZero;
use std::time::Instant;

use memloupe_hierarchy::dram::{ControllerConfig, Device, DramSystem, Pace, Place, Topology, Workload};

const FOOTPRINT_BYTES: u64 = 512 << 20;

/// The address of request `i`, and whether it is a write.
fn request(stream: &str, i: u64, random: &mut u64) -> (u64, bool) {
    // Knuth's MMIX generator.
    *random = random
        .wrapping_mul(6_364_136_223_846_793_005)
        .wrapping_add(1_442_695_040_888_963_407);
    let line = (*random >> 16) % (FOOTPRINT_BYTES / 64);
    match stream {
        "seq" => (i * 64 % FOOTPRINT_BYTES, false),
        "str4k" => (i * 4096 % FOOTPRINT_BYTES, false),
        "mix21" => (line * 64, i % 3 == 2),
        _ => (line * 64, false),
    }
}

/// When requests of a stream are sent; those behind the first four are `rnd` at other paces.
fn pace(stream: &str) -> Pace {
    match stream {
        "mlp1" => Pace::Outstanding(NonZero::<u32>::MIN),
        "mlp16" => Pace::Outstanding(NonZero::new(16).expect("16 is not 0")),
        "every160" => Pace::Every(160),
        _ => Pace::OpenLoop,
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args()
        .skip(1)
        .filter(|argument| !argument.starts_with("--"))
        .collect();
    let devices = match arguments.first() {
        Some(device) => vec![device.as_str()],
        None => vec![
            "DDR4-3200AA",
            "DDR5-4800BN",
            "HBM2-2000",
            "HBM3-6400",
            "LPDDR5-6400",
        ],
    };
    let streams = match arguments.get(1) {
        Some(stream) => vec![stream.as_str()],
        None => vec!["seq", "rnd", "mix21", "str4k", "mlp1", "mlp16", "every160"],
    };
    let requests = arguments
        .get(2)
        .and_then(|count| count.parse().ok())
        .unwrap_or(200_000);
    for device in devices {
        for stream in &streams {
            let device = Device::find(device).expect("a device");
            let topology = Topology {
                channels: 1,
                ranks: 1,
                mapping: "RoBaRaCoCh".into(),
            };
            let mut system =
                DramSystem::new(&device, &topology, ControllerConfig::default()).expect("a configuration");
            let mut workload = Workload::default();
            let mut random = 1;
            for i in 0..requests {
                let (address, write) = request(stream, i, &mut random);
                workload.push(&system, Place::Address(address), 64, write, 0);
            }
            let start = Instant::now();
            workload.run(&mut system, pace(stream), NonZero::<usize>::MIN);
            let rate = requests as f64 / start.elapsed().as_secs_f64();
            println!("{:<14} {stream:<8} {:>9.0} requests/s", device.name, rate);
        }
    }
}
