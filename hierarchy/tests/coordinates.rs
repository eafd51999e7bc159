//! Addresses, places and coordinates: each way and back.

use memloupe_hierarchy::dram::{AddressMapping, BurstCoordinates, Device, NAMED, Topology};
use proptest::prelude::*;

fn topology(mapping: &str, channels: u32, ranks: u32) -> Topology {
    Topology {
        channels,
        ranks,
        mapping: mapping.into(),
    }
}

proptest! {
    #[test]
    fn addresses_come_back(
        named in 0..NAMED.len(),
        name in prop_oneof!["DDR4-3200AA", "DDR5-4800BN", "HBM2-2000", "HBM3-6400", "LPDDR5-6400"],
        channels in 1..4u32,
        ranks in 1..3u32,
        address in 0..1u64 << 47,
    ) {
        let device = Device::find(&name).unwrap();
        let topology = topology(NAMED[named].1, channels, ranks);
        // Not every order goes with every number of channels.
        let Ok(coordinates) = BurstCoordinates::new(&device, &topology) else {
            prop_assert!(!channels.is_power_of_two());
            return Ok(());
        };
        let burst = address & !u64::from(coordinates.burst_bytes() - 1);
        let mapping = AddressMapping::new(&topology.mapping, &device, channels, ranks, device.burst_bytes).unwrap();
        let location = mapping.locate(address);
        // Only an order with the row on top has rows without end.
        let has_room = mapping.address(&location) == Some(burst);
        prop_assert!(has_room || !topology.mapping.starts_with("row"));
        let mut values = Vec::new();
        coordinates.locate(address, &mut values);
        prop_assert_eq!(coordinates.location(&values), Some(location));
        if has_room {
            prop_assert_eq!(coordinates.address(&values), Some(burst));
        }
    }

    #[test]
    fn bits_that_are_put_together_come_apart(address in 0..1u64 << 34) {
        let device = Device::find("DDR4-3200AA").unwrap();
        // Bank groups, banks and half the columns are XORs of bits.
        let mapping = "row=33:17; bank=16^20 15^19; bankgroup=7^18 6^17; column=14:11 10^22 9^21 8^23";
        let coordinates = BurstCoordinates::new(&device, &topology(mapping, 1, 1)).unwrap();
        let mut values = Vec::new();
        coordinates.locate(address, &mut values);
        prop_assert_eq!(coordinates.address(&values), Some(address & !63));
    }
}
