//! Command traces of Ramulator 2.1, to the clock.
//!
//! `golden/*.commands.csv` were written by Ramulator 2.1 (commit c5b1c3a, `CmdTraceRecorder`), and DRAMSys 5.5 issues the
//! same activates and column commands at the same clocks: DDR4-3200AA 8 Gb x8, one channel and rank, mapping
//! row-bank-bankgroup-column, open page, FR-FCFS, all-bank refresh, queues of 32. `seq_open`: 2,000 reads of 64 B in
//! sequence, each sent as soon as it is accepted. `rnd_spaced160`: the addresses of `rnd.addresses.txt`, a read every 160
//! clocks. Columns count from the start of the row in bursts; a precharge has the row and column of the request that
//! wants it.

use memloupe_hierarchy::dram::{ControllerConfig, Device, DramSystem, IssuedCommand, Request, Topology};

fn commands(addresses: &[u64], every: Option<u64>) -> Vec<IssuedCommand> {
    let device = Device::find("DDR4-3200AA").unwrap();
    let topology = Topology {
        channels: 1,
        ranks: 1,
        mapping: "RoBaRaCoCh".into(),
    };
    let mut system = DramSystem::new(&device, &topology, ControllerConfig::default()).unwrap();
    let (plan, mapping, channels) = system.split();
    let channel = &mut channels[0];
    channel.record_commands();
    let mut tick = 1;
    for (tag, &address) in addresses.iter().enumerate() {
        let request = Request {
            tag: tag as u64,
            address,
            write: false,
            source: 0,
        };
        while !channel.try_send(plan, &request, mapping.locate(address), tick) {
            channel.step(plan);
            tick = channel.now();
        }
        tick += every.unwrap_or(1);
    }
    while channel.has_queued() {
        channel.step(plan);
    }
    channel.take_commands()
}

fn golden(text: &str) -> Vec<(u64, String, u32, u32)> {
    let rows = text.lines().skip(1).map(|line| {
        let fields: Vec<&str> = line.split(',').collect();
        let number = |field: usize| fields[field].parse::<u32>().unwrap_or(0);
        (
            fields[0].parse().unwrap(),
            fields[1].into(),
            number(2) * 4 + number(3),
            number(4),
        )
    });
    rows.collect()
}

fn compare(ours: &[IssuedCommand], theirs: &[(u64, String, u32, u32)]) {
    for (ours, (clock, command, bank, row)) in ours.iter().zip(theirs) {
        let name = ours.command.name();
        let theirs_name = if command == "REF" { "REFab" } else { command };
        assert_eq!(
            (ours.tick, name),
            (*clock, theirs_name),
            "{ours:?}, golden bank {bank} row {row}"
        );
        if matches!(name, "ACT" | "RD") {
            assert_eq!((ours.bank, ours.row), (*bank, *row), "{ours:?}");
        }
    }
    assert_eq!(ours.len(), theirs.len());
}

#[test]
fn sequential_reads_at_full_speed() {
    let addresses: Vec<u64> = (0..2000).map(|line| line * 64).collect();
    compare(
        &commands(&addresses, None),
        &golden(include_str!("golden/ddr4_3200_seq_open.commands.csv")),
    );
}

#[test]
fn random_reads_160_clocks_apart() {
    let text = include_str!("golden/rnd.addresses.txt");
    let address = |line: &str| u64::from_str_radix(line.trim().trim_start_matches("0x"), 16).unwrap();
    let addresses: Vec<u64> = text.lines().map(address).collect();
    compare(
        &commands(&addresses, Some(160)),
        &golden(include_str!("golden/ddr4_3200_rnd_spaced160.commands.csv")),
    );
}
