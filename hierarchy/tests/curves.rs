//! Bandwidth–latency curves against closed forms of the device: unloaded latency, peak, and what the cores' miss
//! registers let through.

use memloupe_hierarchy::dram::Device;
use memloupe_hierarchy::{Curve, CurveOptions, Machine, Pattern};

/// One core with so many misses in flight, above this memory.
fn machine(device: &str, mshrs: u32, mapping: &str) -> Machine {
    let text = format!(
        "extends = \"embedded\"\n[core]\ncount = 1\n[cache.l1d]\nmshrs = {mshrs}\n[memory]\ndevice = \"{device}\"\n\
         channels = 1\nranks = 1\nmapping = \"{mapping}\"\nlatency = \"50 ns\"\n"
    );
    Machine::from_toml("one-channel", &text).unwrap()
}

fn curve(machine: &Machine, pattern: Pattern, loads: &[f64]) -> Curve {
    let options = CurveOptions {
        pattern,
        read_shares: vec![1.0],
        loads: loads.to_vec(),
        lines: 20_000,
    };
    machine.curves(&machine.memory, &options).unwrap().remove(0)
}

/// Bank groups alternate, so that the data bus is what bounds a stream.
const ALTERNATING: &str = "row-rank-bank-column-bankgroup-pseudochannel-channel";
const DEVICES: [&str; 5] = [
    "DDR4-3200AA",
    "DDR5-4800BN",
    "LPDDR5-6400",
    "HBM2-2000",
    "HBM3-6400",
];

/// How much of the time the device is refreshed, and how long a read that comes in that time waits for its end, on
/// average over all reads.
fn refresh(device: &Device) -> (f64, f64) {
    let (recovery, interval) = (device.ticks("nRFC"), device.refresh_interval_ticks);
    let share = recovery as f64 / interval as f64;
    (share, share * device.picoseconds(recovery) / 2.0 / 1e3)
}

#[test]
fn unloaded_random_reads_find_their_bank_closed() {
    for name in DEVICES {
        let machine = machine(name, 64, ALTERNATING);
        let device = Device::find(name).unwrap();
        // So few reads that each bank was refreshed since its last one.
        let curve = curve(&machine, Pattern::Random, &[0.000_1]);
        let miss_ps = device.activate_ps() + device.read_hit_ps(64);
        let expected = miss_ps as f64 / 1e3 + refresh(&device).1 + 50.0;
        assert!(
            (curve.unloaded_ns() / expected - 1.0).abs() < 0.02,
            "{name}: {} ns, closed form {expected}",
            curve.unloaded_ns()
        );
    }
}

#[test]
fn a_stream_uses_what_refresh_leaves_of_the_peak() {
    for name in DEVICES {
        let machine = machine(name, 256, ALTERNATING);
        let device = Device::find(name).unwrap();
        let curve = curve(&machine, Pattern::Sequential, &[0.01, 0.5, 1.5]);
        let peak = machine
            .memory
            .peak_bytes_per_second(machine.line_bytes())
            .unwrap();
        let left = peak * (1.0 - refresh(&device).0);
        let used = curve.most_bytes_per_second();
        // Floors, not closed forms: a queue of 32 bursts of 32 B for two pseudo-channels leaves gaps, and so do activates
        // whose second half waits for a clock that no read wants.
        let least = match &name[..3] {
            "HBM" => 0.75,
            "LPD" => 0.94,
            _ => 0.96,
        };
        assert!(
            used <= left * 1.001 && used > left * least,
            "{name}: {used} of {left}"
        );
        // Half of the peak is no load that anyone waits for.
        let half = curve.points[1].bytes_per_second / (0.5 * peak);
        assert!((half - 1.0).abs() < 0.05, "{name}: {half}");
    }
}

#[test]
fn latency_settles_at_registers_by_bandwidth() {
    for mshrs in [4, 64, 256] {
        let machine = machine("DDR5-4800BN", mshrs, ALTERNATING);
        let last = *curve(&machine, Pattern::Sequential, &[0.01, 2.0])
            .points
            .last()
            .unwrap();
        // Little: reads in flight = rate times latency.
        let in_flight = last.bytes_per_second / 64.0 * last.read_latency_ns / 1e9;
        assert!(
            (in_flight / f64::from(mshrs) - 1.0).abs() < 0.03,
            "{in_flight} of {mshrs}"
        );
    }
}

#[test]
fn curves_rise_to_a_knee_and_writes_cost_bandwidth() {
    let machine = Machine::load("zen4-server").unwrap();
    let options = CurveOptions {
        lines: 5_000,
        ..CurveOptions::default()
    };
    let curves = machine.curves(&machine.memory, &options).unwrap();
    let peak = machine
        .memory
        .peak_bytes_per_second(machine.line_bytes())
        .unwrap();
    assert_eq!(curves.len(), 3);
    for curve in &curves {
        let knee = curve.knee_bytes_per_second().expect("96 cores saturate it");
        assert!(
            knee > 0.3 * peak && knee < curve.most_bytes_per_second(),
            "{knee}"
        );
        assert!(curve.most_bytes_per_second() < peak);
        let latencies = || curve.points.iter().map(|point| point.read_latency_ns);
        // Rising but for the noise of a finite number of lines.
        assert!(latencies().zip(latencies().skip(1)).all(|(a, b)| b > 0.97 * a));
    }
    let most: Vec<f64> = curves.iter().map(Curve::most_bytes_per_second).collect();
    assert!(most.is_sorted_by(|a, b| a > b), "{most:?}");
}
