//! The memory in which a trace's coordinates lie: that of a machine.

use std::rc::Rc;

use memloupe_hierarchy::Machine;
use memloupe_hierarchy::dram::{BurstCoordinates, Device, Topology};
use memloupe_trace::Coordinates;

use crate::failure::{Failure, Kind};

struct Memory(BurstCoordinates);

impl Coordinates for Memory {
    fn burst_bytes(&self) -> u32 {
        self.0.burst_bytes()
    }

    fn levels(&self) -> &[&'static str] {
        self.0.levels()
    }

    fn locate(&self, address: u64, values: &mut Vec<u64>) {
        self.0.locate(address, values);
    }

    fn address(&self, values: &[u64]) -> Option<u64> {
        self.0.address(values)
    }
}

/// The memory of a machine.
pub(super) fn memory(machine: &str) -> Result<Rc<dyn Coordinates>, Failure> {
    let machine = Machine::load(machine).map_err(Failure::of(Kind::Machine))?;
    let memory = &machine.memory;
    let refused = |error| Failure::new(Kind::Machine, format!("{}: {error}", machine.name));
    let device = Device::find(&memory.device).map_err(refused)?;
    let topology = Topology {
        channels: memory.channels,
        ranks: memory.ranks,
        mapping: memory.mapping.clone(),
    };
    let coordinates = BurstCoordinates::new(&device, &topology).map_err(refused)?;
    Ok(Rc::new(Memory(coordinates)))
}
