//! `memloupe dram` as its users see it: every trace format, the keys of its JSON, its errors, its command traces.

use std::path::Path;
use std::process::{Command as Process, Output};

use memloupe_hierarchy::dram::{Command, Device, IssuedCommand, check};
use serde_json::Value;

const DEVICE: &str = "DDR4-3200AA";

fn dram(trace: &Path, options: &[&str]) -> Output {
    let mut process = Process::new(env!("CARGO_BIN_EXE_memloupe"));
    process.arg("dram").arg(trace).args(options);
    process.output().expect("it starts")
}

fn json(trace: &Path, device: &str, options: &[&str]) -> Value {
    let options = [&["--device", device, "--format", "json"], options].concat();
    let output = dram(trace, &options);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {errors}", trace.display());
    serde_json::from_slice(&output.stdout).expect("an object")
}

/// The one line that a trace is refused with.
fn refusal(trace: &Path) -> String {
    let output = dram(trace, &["--device", DEVICE]);
    assert!(!output.status.success() && output.stdout.is_empty());
    let errors = String::from_utf8(output.stderr).expect("text");
    assert_eq!(errors.trim_end().lines().count(), 1, "{errors}");
    assert!(errors.contains(&*trace.to_string_lossy()), "{errors}");
    errors
}

/// Rows of bank 0 of an 8 Gb x8 DDR4 (128 bursts a row, 16 banks): row, column and whether it is written.
fn requests() -> Vec<(u64, u64, bool)> {
    (0..64).map(|i| (i / 8 % 3, i * 5 % 128, i % 4 == 3)).collect()
}

fn address(row: u64, column: u64) -> u64 {
    row * 16 * 8192 + column * 64
}

#[test]
fn every_trace_format_says_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let requests = requests();
    let lines = |line: &dyn Fn(usize, u64, u64, bool) -> String| -> String {
        let numbered = requests.iter().enumerate();
        numbered
            .map(|(i, &(row, column, write))| line(i, row, column, write))
            .collect()
    };
    let kind = |write, names: [&'static str; 2]| names[usize::from(write)];
    // A load and the store that follows it share a line.
    let with_store = |i: usize| requests.get(i + 1).filter(|next| next.2);
    let traces = [
        (
            "Ramulator 2 load/store",
            lines(&|_, row, column, write| {
                format!("{} {:#x}\n", kind(write, ["LD", "ST"]), address(row, column))
            }),
        ),
        (
            "Ramulator 2 read/write",
            lines(&|_, row, column, write| format!("{} 0,0,0,0,{row},{column}\n", kind(write, ["R", "W"]))),
        ),
        (
            "Ramulator 2 instructions",
            lines(&|i, row, column, write| match with_store(i) {
                _ if write => String::new(),
                Some(store) => format!("3 {} {}\n", address(row, column), address(store.0, store.1)),
                None => format!("3 {}\n", address(row, column)),
            }),
        ),
        (
            "DRAMsim3",
            lines(&|i, row, column, write| {
                format!(
                    "{:#X} {} {i}\n",
                    address(row, column),
                    kind(write, ["READ", "WRITE"])
                )
            }),
        ),
        (
            "DRAMSys",
            lines(&|i, row, column, write| {
                format!(
                    "# {i}\n\n{i}: (64) {} {:#x}\n",
                    kind(write, ["read", "write"]),
                    address(row, column)
                )
            }),
        ),
    ];
    let mut first: Option<Value> = None;
    for (format, text) in traces {
        let trace = folder.path().join("trace");
        std::fs::write(&trace, text).unwrap();
        let mut result = json(&trace, DEVICE, &["--open-loop", "--check"]);
        assert_eq!(result["trace_format"].take(), format);
        assert_eq!(result["requests"], 64, "{format}");
        assert_eq!(result["writes"], 16, "{format}");
        assert_eq!(result["timing_violations"], 0, "{format}");
        let count = |key: &str| result[key].as_u64().unwrap_or_else(|| panic!("{format}: {key}"));
        let served = [
            "row_hits",
            "row_misses",
            "row_conflicts",
            "forwarded_reads",
            "merged_writes",
        ];
        assert_eq!(served.map(count).iter().sum::<u64>(), 64, "{format}");
        assert_eq!(*first.get_or_insert_with(|| result.clone()), result, "{format}");
    }
}

#[test]
fn an_unloaded_device_gives_what_the_standard_says() {
    let folder = tempfile::tempdir().unwrap();
    let trace = folder.path().join("trace");
    // A closed bank, its open row, another row: nRCD 22, nCL 22, nRP 22 clocks of 0.625 ns, and a burst of 4.
    std::fs::write(&trace, "R 0,0,0,0,0,0\nR 0,0,0,0,0,1\nR 0,0,0,0,1,0\n").unwrap();
    let result = json(&trace, DEVICE, &["--every", "1000"]);
    let number = |key: &str| {
        result[key]
            .as_f64()
            .unwrap_or_else(|| panic!("{key}: {}", result[key]))
    };
    let latencies = [48.0 * 0.625, 26.0 * 0.625, 70.0 * 0.625];
    assert!((number("read_latency_mean_ns") - latencies.iter().sum::<f64>() / 3.0).abs() < 1e-6);
    assert!((number("read_latency_p99_ns") - latencies[2]).abs() < 1e-6);
    assert_eq!(["row_hits", "row_misses", "row_conflicts"].map(number), [1.0; 3]);
    let time_ns = 2000.0 * 0.625 + latencies[2];
    assert!((number("bandwidth_gb_per_s") - 3.0 * 64.0 / time_ns).abs() < 1e-6);
    let bits = 3.0 * 64.0 * 8.0;
    assert!(number("energy_pj_per_bit") > 0.0);
    assert!((number("energy_pj_per_bit") * bits / 1000.0 - number("energy_total_nj")).abs() < 1e-6);
}

#[test]
fn traces_that_cannot_be_read_are_refused_by_line() {
    let folder = tempfile::tempdir().unwrap();
    let refused = |bytes: &[u8]| {
        let trace = folder.path().join("trace");
        std::fs::write(&trace, bytes).unwrap();
        refusal(&trace)
    };
    for (bytes, expected) in [
        (
            b"LD 0x40\nST".as_slice(),
            "line 2 (byte 8): 'ST' is not 'LD ADDRESS' or 'ST ADDRESS'",
        ),
        (
            b"0x40 READ 1\n0x80 REA",
            "line 2 (byte 12): '0x80 REA' is not 'ADDRESS READ|WRITE CLOCK'",
        ),
        (b"1: read 0x40\n2: re", "line 2 (byte 13): '2: re' is not"),
        (b"3 64\n4", "line 2 (byte 5): '4' is not"),
        (b"R 0,0,0,0,1,2\nW 0,0,0,0,1", "line 2 (byte 14)"),
        (b"R 0,0,4,0,1,2\n", "within the memory"),
        (b"\x7fELF\x02\x01\x01\0\xff\xfe\x80", "line 1 (byte 0)"),
        (b"", "it has no request"),
        (b"# nothing\n\n", "it has no request"),
    ] {
        let line = refused(bytes);
        assert!(line.contains(expected), "{line} for {expected}");
    }
    refusal(&folder.path().join("missing"));
    // A directory opens, but does not read.
    refusal(folder.path());
    let trace = folder.path().join("good");
    std::fs::write(&trace, "LD 0x40\n").unwrap();
    assert_eq!(json(&trace, DEVICE, &[])["requests"], 1);
}

/// A command trace as `--commands` writes it.
fn commands(path: &Path, device: &Device, ranks: u32) -> Vec<IssuedCommand> {
    let text = std::fs::read_to_string(path).unwrap();
    let (header, lines) = text.split_once('\n').unwrap();
    assert_eq!(header, "clk,cmd,channel,pc,rank,bg,bank,row,col");
    let of = |line: &str| {
        let fields: Vec<&str> = line.split(',').collect();
        let number = |place: usize| fields[place].parse::<u32>().unwrap();
        let rank = number(3) * ranks * device.stack_ids + number(4);
        IssuedCommand {
            tick: (fields[0].parse::<f64>().unwrap() * device.ticks_per_clock as f64) as u64,
            command: Command::find(fields[1]).expect("a command's name"),
            bank: (rank * device.bank_groups + number(5)) * device.banks + number(6),
            row: fields[7].parse().unwrap_or(u32::MAX),
            column: fields[8].parse().unwrap_or(0),
        }
    };
    lines.lines().map(of).collect()
}

#[test]
fn command_traces_pass_the_checker_and_changed_ones_do_not() {
    let folder = tempfile::tempdir().unwrap();
    let (trace, written) = (folder.path().join("trace"), folder.path().join("commands"));
    // Strides that meet many banks and rows; enough time for refreshes.
    let text: String = (0..3000u64)
        .map(|i| {
            let kind = ["LD", "ST"][usize::from(i % 3 == 2)];
            format!("{kind} {}\n", i * 7919 * 64 % (1 << 28))
        })
        .collect();
    std::fs::write(&trace, text).unwrap();
    for (name, ranks) in [
        (DEVICE, 2),
        ("DDR5-4800BN", 1),
        ("HBM3-6400", 1),
        ("LPDDR5-6400", 1),
    ] {
        let (count, path) = (ranks.to_string(), written.to_str().unwrap());
        let result = json(&trace, name, &["--ranks", &count, "--commands", path, "--check"]);
        assert_eq!(result["timing_violations"], 0, "{name}");
        let device = Device::find(name).unwrap();
        let mut issued = commands(&written, &device, ranks);
        let total: u64 = result["commands"]
            .as_object()
            .unwrap()
            .values()
            .filter_map(Value::as_u64)
            .sum();
        assert_eq!(issued.len() as u64, total, "{name}");
        let violations = check(&device, ranks, &issued);
        assert!(violations.is_empty(), "{name}: {}", violations[0]);
        // A read straight after the activate of its row.
        let activate = issued
            .iter()
            .position(|c| c.command == Command::Activate)
            .unwrap();
        let (bank, tick) = (issued[activate].bank, issued[activate].tick);
        let column = issued[activate..]
            .iter()
            .position(|c| c.bank == bank && c.command.is_column())
            .unwrap();
        let mut early = issued.remove(activate + column);
        early.tick = tick + 2 * device.ticks_per_clock;
        issued.insert(activate + 1, early);
        assert!(!check(&device, ranks, &issued).is_empty(), "{name}");
    }
}

#[test]
fn traces_are_sources_and_priorities_tell_who_goes_first() {
    let folder = tempfile::tempdir().unwrap();
    let trace = |name: &str, seed: u64| {
        let line = |i: u64| (seed + i).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40 << 6;
        let text: String = (0..2000).map(|i| format!("LD {:#x}\n", line(i))).collect();
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let (first, second) = (trace("first.trace", 1), trace("second.trace", 1 << 20));
    let run = |options: &[&str]| {
        let second = second.to_str().expect("UTF-8");
        json(
            &first,
            DEVICE,
            &[&[second, "--outstanding", "12"], options].concat(),
        )
    };
    let alike = run(&[]);
    assert_eq!(alike["requests"], 4000);
    let latency = |result: &Value, source: usize| {
        assert_eq!(result["sources"][source]["reads"], 2000);
        result["sources"][source]["read_latency_mean_ns"]
            .as_f64()
            .expect("a number")
    };
    let preferred = run(&["--priorities", "0,1"]);
    assert!(latency(&preferred, 1) < 0.8 * latency(&alike, 1));
    assert!(latency(&preferred, 0) > latency(&alike, 0));
    // One trace is one source: there is nothing to tell.
    assert!(json(&first, DEVICE, &[])["sources"].is_null());
    let refused = dram(&first, &["--device", DEVICE, "--priorities", "1,2"]);
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(
        !refused.status.success() && said.contains("2 of them for 1 traces"),
        "{said}"
    );
}
