//! Row outcomes and latencies in closed form, and the mapping against arithmetic done by hand.

use std::collections::{HashMap, HashSet};

use memloupe_cachesim::Memory;
use memloupe_hierarchy::MemoryDevice;
use memloupe_hierarchy::dram::{AddressMapping, DEFAULT_MAPPING, Device, Dram, DramCounters, Standard};
use proptest::prelude::*;

const LINE: u32 = 64;

/// The default organisation of one bin of every standard.
fn devices() -> Vec<Device> {
    let one_bin = |standard: &Standard| Device::find(standard.bins().next().unwrap()).unwrap();
    Standard::all().iter().map(one_bin).collect()
}

/// Banks of one channel.
fn banks(device: &Device) -> u32 {
    device.pseudo_channels * device.stack_ids * device.bank_groups * device.banks
}

fn memory(device: &str, channels: u32) -> MemoryDevice {
    MemoryDevice {
        name: "memory".into(),
        device: device.into(),
        channels,
        ranks: 1,
        mapping: DEFAULT_MAPPING.into(),
        latency_ps: 0,
        link_pj_per_bit: 0.0,
        link: None,
        capacity_bytes: None,
        weight: 1,
        classes: Vec::new(),
    }
}

fn dram(device: &str, channels: u32) -> Dram {
    let mut dram = Dram::new(&memory(device, channels), LINE).unwrap();
    dram.reserve_owners(2);
    dram
}

fn outcomes(counters: &DramCounters) -> (u64, u64, u64) {
    (counters.row_hits, counters.row_misses, counters.row_conflicts)
}

#[test]
fn ddr4_3200_latencies_in_picoseconds() {
    // Clocks of 625 ps: CL 22, RCD 22, RP 22, burst 4.
    let mut dram = dram("DDR4-3200AA", 1);
    let bank_bytes_between_rows = 8192 * 16;
    for (address, latency_ps) in [
        (0, (22 + 22 + 4) * 625),                              // the bank is closed
        (64, (22 + 4) * 625),                                  // the same row
        (bank_bytes_between_rows, (22 + 22 + 22 + 4) * 625),   // the next row of the same bank
        (bank_bytes_between_rows + 8192, (22 + 22 + 4) * 625), // another, closed bank
        (bank_bytes_between_rows + 128, (22 + 4) * 625),       // the first bank kept its row
    ] {
        let before = dram.counters(0).read_latency_ps;
        dram.read(address, 1, 0);
        assert_eq!(
            dram.counters(0).read_latency_ps - before,
            latency_ps,
            "{address:#x}"
        );
    }
    assert_eq!(outcomes(dram.counters(0)), (2, 2, 1));
    assert_eq!(outcomes(dram.counters(1)), (0, 0, 0));
}

#[test]
fn a_sequential_stream_opens_each_row_once() {
    for device in devices() {
        for channels in [1u32, 2, 3, 8] {
            let mut dram = dram(&device.name, channels);
            let rows_per_channel = 100u64;
            let lines_per_row = u64::from(device.row_bytes / LINE);
            let lines = rows_per_channel * lines_per_row * u64::from(channels);
            for line in 0..lines {
                dram.read(line * u64::from(LINE), 1, 0);
            }
            let rows = rows_per_channel * u64::from(channels);
            // Rows go around the banks: the first time around the banks are closed.
            let closed = rows.min(u64::from(channels * banks(&device)));
            let counters = dram.counters(0);
            assert_eq!(
                outcomes(counters),
                (lines - rows, closed, rows - closed),
                "{} x{channels}",
                device.name
            );
            assert_eq!(counters.read_bytes, lines * 64);
            let clocks = lines * device.read_hit_ps(LINE)
                + rows * device.activate_ps()
                + (rows - closed) * device.precharge_ps();
            assert_eq!(counters.read_latency_ps, clocks);
        }
    }
}

#[test]
fn a_stride_of_one_bank_conflicts_every_time() {
    for device in devices() {
        let mut dram = dram(&device.name, 1);
        let stride = u64::from(device.row_bytes * banks(&device));
        for i in 0..1000 {
            dram.write(i * stride, 1, 1);
        }
        let counters = dram.counters(1);
        assert_eq!(outcomes(counters), (0, 1, 999), "{}", device.name);
        assert_eq!((counters.read_bytes, counters.write_bytes), (0, 64_000));
        assert_eq!(counters.read_latency_ps, 0, "writes are not waited for");
    }
}

#[test]
fn a_line_of_two_bursts_takes_a_second_column_read() {
    let lpddr5 = Device::find("LPDDR5-6400").unwrap();
    assert_eq!(lpddr5.read_hit_ps(32), (17 + 2) * 1250);
    assert_eq!(lpddr5.read_hit_ps(64), (17 + 4 + 2) * 1250);
}

/// Row, bank over everything, and column, by peeling fields off the low end with `%` and `/`.
fn by_hand(order: &[&str], device: &Device, channels: u32, ranks: u32, address: u64) -> (u64, u64, u64) {
    let mut rest = address / u64::from(LINE);
    let mut values = HashMap::new();
    for name in order.iter().rev() {
        let size = u64::from(match *name {
            "channel" => channels,
            "rank" => ranks * device.stack_ids,
            "pseudochannel" => device.pseudo_channels,
            "bankgroup" => device.bank_groups,
            "bank" => device.banks,
            _ => device.row_bytes / LINE,
        });
        values.insert(*name, rest % size);
        rest /= size;
    }
    let ranks = u64::from(ranks * device.stack_ids);
    let pseudo_channel = values["channel"] * u64::from(device.pseudo_channels) + values["pseudochannel"];
    let bank = ((pseudo_channel * ranks + values["rank"]) * u64::from(device.bank_groups)
        + values["bankgroup"])
        * u64::from(device.banks)
        + values["bank"];
    (rest, bank, values["column"])
}

#[test]
fn cells_that_wear_out_are_counted_by_line_or_by_page() {
    // 1 KiB rows in 16 banks; 4 KiB pages in 64 banks. Lines of 64 B.
    for (device, by_line) in [("STT-MRAM-1333", true), ("HBF-6400", false)] {
        let mut dram = dram(device, 1);
        // Line 0 three times, line 1 once, in one open row; a read between two writes leaves the page open.
        dram.write(0, 1, 0);
        dram.write(0, 2, 0);
        dram.read(64, 1, 0);
        dram.write(0, 1, 0);
        let written = dram.written().unwrap();
        let expected = if by_line { (4, 64, 3) } else { (1, 4096, 1) };
        assert_eq!(
            (written.writes, written.unit_bytes, written.most),
            expected,
            "{device}"
        );
        // Another row of the bank, and back: the page is written again.
        let other_row = u64::from(Device::find(device).unwrap().row_bytes) * 64;
        dram.read(other_row, 1, 0);
        dram.write(0, 1, 0);
        let expected = if by_line { (5, 64, 4) } else { (2, 4096, 2) };
        let written = dram.written().unwrap();
        assert_eq!(
            (written.writes, written.unit_bytes, written.most),
            expected,
            "{device}"
        );
    }
    assert!(dram("DDR4-3200AA", 1).written().is_none());
    // What wears out at a rate that nobody knows of is not counted either.
    assert!(dram("SRAM-4000", 1).written().is_none());
}

#[test]
fn an_array_is_read_in_its_own_time() {
    // Clocks of 1.5 ns: read 35 ns, CL 10, a burst of 4.
    let mram = Device::find("STT-MRAM-1333").unwrap();
    assert_eq!(mram.activate_ps(), 24 * 1500);
    assert_eq!(mram.read_hit_ps(64), 14 * 1500);
    let flash = Device::find("HBF-6400").unwrap();
    assert!((5_000_000..5_000_312).contains(&flash.activate_ps()));
}

proptest! {
    #[test]
    fn any_order_maps_as_by_hand_and_one_to_one(
        order in Just(vec!["pseudochannel", "rank", "bank", "bankgroup", "column", "channel"]).prop_shuffle(),
        device in 0..devices().len(),
        channels in 1u32..13,
        ranks in 1u32..5,
        lines in proptest::collection::hash_set(any::<u64>().prop_map(|line| line >> 6), 1..50),
    ) {
        let device = &devices()[device];
        let text = format!("row-{}", order.join("-"));
        let mapping = AddressMapping::new(&text, device, channels, ranks, LINE).unwrap();
        let mut seen = HashSet::new();
        for line in &lines {
            let location = mapping.locate(line * 64);
            let place = location.channel as usize * mapping.banks_per_channel() + location.bank as usize;
            let (row, bank, column) = by_hand(&order, device, channels, ranks, line * 64);
            prop_assert_eq!((location.row, place as u64), (row, bank));
            prop_assert!(place < mapping.banks());
            prop_assert!(seen.insert((row, bank, column)), "two lines in one place");
        }
    }

    #[test]
    fn neighbouring_lines_in_one_request_are_requests_of_a_line_each(
        order in Just(vec!["row", "pseudochannel", "rank", "bank", "bankgroup", "column", "channel"]).prop_shuffle(),
        hashed: bool,
        channels in 1u32..9,
        ranks in 1u32..4,
        requests in proptest::collection::vec((0u64..1 << 40, 1u64..100, any::<bool>()), 1..100),
    ) {
        let device = Device::find("DDR4-3200AA").unwrap();
        let text = if hashed {
            // One channel and rank: bank groups and banks are XORs of row bits and others, the column begins at bit 6 or 8.
            "row=40:17;column=14:8;bankgroup=6^17 7^18;bank=15^19 16^20".to_owned()
        } else {
            order.join("-")
        };
        let (channels, ranks) = if hashed { (1, 1) } else { (channels, ranks) };
        let memory = MemoryDevice { mapping: text.clone(), ranks, ..memory("DDR4-3200AA", channels) };
        let mapping = match AddressMapping::new(&text, &device, channels, ranks, LINE) {
            Ok(mapping) => mapping,
            // Not every order goes with every number of channels.
            Err(error) => {
                prop_assert!(!hashed, "{error}");
                return Ok(());
            }
        };
        let mut dram = Dram::new(&memory, LINE).unwrap();
        dram.reserve_owners(1);
        let mut open = HashMap::new();
        let mut expected = (0, 0, 0);
        for (address, lines, write) in requests {
            let address = address & !63;
            for line in 0..lines {
                let location = mapping.locate(address + line * 64);
                match open.insert((location.channel, location.bank), location.row) {
                    Some(row) if row == location.row => expected.0 += 1,
                    Some(_) => expected.2 += 1,
                    None => expected.1 += 1,
                }
            }
            if write {
                dram.write(address, lines, 0);
            } else {
                dram.read(address, lines, 0);
            }
        }
        prop_assert_eq!(outcomes(dram.counters(0)), expected);
    }

    #[test]
    fn outcomes_equal_a_map_of_open_rows(
        requests in proptest::collection::vec((0u64..1 << 22, any::<bool>(), 0u32..2), 1..500),
        channels in 1u32..4,
    ) {
        let mut dram = dram("LPDDR5-6400", channels);
        let device = Device::find("LPDDR5-6400").unwrap();
        let order = ["rank", "pseudochannel", "bank", "bankgroup", "column", "channel"];
        let mut open = HashMap::new();
        let mut expected = [DramCounters::default(); 2];
        for (address, write, owner) in requests {
            let (row, bank, _) = by_hand(&order, &device, channels, 1, address);
            let counters = &mut expected[owner as usize];
            let mut latency_ps = (17 + 4 + 2) * 1250;
            match open.insert(bank, row) {
                Some(other) if other == row => counters.row_hits += 1,
                Some(_) => {
                    counters.row_conflicts += 1;
                    latency_ps += (15 + 15) * 1250;
                }
                None => {
                    counters.row_misses += 1;
                    latency_ps += 15 * 1250;
                }
            }
            if write {
                counters.write_bytes += 64;
                dram.write(address & !63, 1, owner);
            } else {
                counters.read_bytes += 64;
                counters.read_latency_ps += latency_ps;
                dram.read(address & !63, 1, owner);
            }
        }
        for owner in 0..2 {
            prop_assert_eq!(dram.counters(owner), &expected[owner as usize]);
        }
    }
}
