//! Coordinates of a burst as Ramulator 2 gives them: those levels of its hierarchy that the device has, from the channel to the
//! column, here counted in bursts.

use super::device::Device;
use super::error::DramError;
use super::mapping::{AddressMapping, Location};
use super::system::Topology;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Level {
    name: &'static str,
    /// None where a row has whatever number an address gives it.
    size: Option<u64>,
}

/// The coordinates of a memory's bursts.
#[derive(Clone, Debug)]
pub struct BurstCoordinates {
    mapping: AddressMapping,
    burst_bytes: u32,
    levels: Vec<Level>,
    names: Vec<&'static str>,
}

impl BurstCoordinates {
    /// Those of a memory whose mapping's unit is a burst.
    ///
    /// # Errors
    /// If the mapping does not go with the device.
    pub fn new(device: &Device, topology: &Topology) -> Result<Self, DramError> {
        let Topology {
            channels,
            ranks,
            mapping,
        } = topology;
        let mapping = AddressMapping::new(mapping, device, *channels, *ranks, device.burst_bytes)?;
        Ok(Self::of(device, &mapping))
    }

    /// Those of a memory with this mapping, whose unit is a burst.
    #[must_use]
    pub fn of(device: &Device, mapping: &AddressMapping) -> Self {
        let (groups, banks) = (u64::from(device.bank_groups), u64::from(device.banks));
        let pseudo_channels = u64::from(device.pseudo_channels);
        let ranks = mapping.banks_per_channel() as u64 / (pseudo_channels * groups * banks);
        // Ramulator 2 gives these standards no rank, and so has one of each channel.
        let has_ranks =
            ranks > 1 || !device.standard.starts_with("GDDR") && !device.standard.starts_with("HBM2");
        let columns = u64::from(device.row_bytes / device.burst_bytes);
        let level = |name, size| Level { name, size };
        let levels: Vec<Level> = [
            (true, level("channel", Some(mapping.channels() as u64))),
            (pseudo_channels > 1, level("pseudochannel", Some(pseudo_channels))),
            (has_ranks, level("rank", Some(ranks))),
            (groups > 1, level("bankgroup", Some(groups))),
            (true, level("bank", Some(banks))),
            (true, level("row", None)),
            (true, level("column", Some(columns))),
        ]
        .into_iter()
        .filter_map(|(is_given, level)| is_given.then_some(level))
        .collect();
        Self {
            mapping: mapping.clone(),
            burst_bytes: device.burst_bytes,
            names: levels.iter().map(|level| level.name).collect(),
            levels,
        }
    }

    /// Length of a burst.
    #[must_use]
    pub fn burst_bytes(&self) -> u32 {
        self.burst_bytes
    }

    /// What the coordinates are, in their order.
    #[must_use]
    pub fn levels(&self) -> &[&'static str] {
        &self.names
    }

    /// Replaces `values` by the coordinates of the burst at an address.
    pub fn locate(&self, address: u64, values: &mut Vec<u64>) {
        let location = self.mapping.locate(address);
        let mut bank = u64::from(location.bank);
        values.clear();
        // Banks are numbered over pseudo-channels, ranks and groups: from the last level on.
        for level in self.levels.iter().rev() {
            values.push(match (level.name, level.size) {
                ("channel", _) => location.channel.into(),
                ("row", _) => location.row,
                ("column", _) => location.column.into(),
                (_, size) => {
                    let size = size.unwrap_or(1);
                    let value = bank % size;
                    bank /= size;
                    value
                }
            });
        }
        values.reverse();
    }

    /// Where the burst with these coordinates lies; none if there is no such burst.
    #[must_use]
    pub fn location(&self, values: &[u64]) -> Option<Location> {
        let mut location = Location {
            channel: 0,
            bank: 0,
            row: 0,
            column: 0,
        };
        if values.len() != self.levels.len() {
            return None;
        }
        for (level, &value) in self.levels.iter().zip(values) {
            if value >= level.size.unwrap_or(1 << 32) {
                return None;
            }
            match level.name {
                "channel" => location.channel = value as u32,
                "row" => location.row = value,
                "column" => location.column = value as u32,
                _ => location.bank = location.bank * level.size.unwrap_or(1) as u32 + value as u32,
            }
        }
        Some(location)
    }

    /// The address of the burst with these coordinates; none if there is no such burst.
    #[must_use]
    pub fn address(&self, values: &[u64]) -> Option<u64> {
        self.mapping.address(&self.location(values)?)
    }
}
