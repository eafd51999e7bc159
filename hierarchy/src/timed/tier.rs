//! One memory of a machine in time: its channels, and the link before them if it has one.
//!
//! Of the link: a request waits until those before it are on the wires, crosses them, and waits again where its channel's queue is
//! full; answers go back likewise, in the order in which their data is through. What [`crate::link`] does not model is not modelled here.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::clock::Clock;
use super::config::TimedConfig;
use super::request::{MemoryRequest, RequestKind};
use crate::dram::{
    AddressMapping, Channel, Device, DramError, Energy, EventEnergy, Location, Plan, Statistics,
};
use crate::link::Link;
use crate::machine::MemoryDevice;

/// What of a memory does not change.
#[derive(Debug)]
pub(super) struct Tier {
    pub(super) name: String,
    /// Its first address.
    pub(super) base: u64,
    pub(super) plan: Plan,
    mapping: AddressMapping,
    pub(super) clock: Clock,
    /// Its channels among those of all memories.
    pub(super) channels: Range<usize>,
    pub(super) link: Option<Link>,
    /// What its way is longer than that of the first memory, which is the sender's, but for the link.
    pub(super) extra_ps: u64,
}

/// When the two directions of a link are free.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct LinkState {
    down_ps: u64,
    up_ps: u64,
}

impl Tier {
    pub(super) fn new(
        memory: &MemoryDevice,
        first: &MemoryDevice,
        base: u64,
        first_channel: usize,
        config: &TimedConfig,
    ) -> Result<Self, DramError> {
        let device = Device::find(&memory.device)?;
        let plan = Plan::new(&device, memory.ranks, config.controller.clone())?;
        let (channels, ranks) = (memory.channels, memory.ranks);
        let mapping = AddressMapping::new(&memory.mapping, &device, channels, ranks, device.burst_bytes)?;
        Ok(Self {
            name: memory.name.clone(),
            base,
            clock: Clock::new(&device),
            channels: first_channel..first_channel + mapping.channels(),
            plan,
            mapping,
            link: memory.link.clone(),
            extra_ps: memory.latency_ps.saturating_sub(first.latency_ps),
        })
    }

    /// The channel, among those of all memories, and the place of a burst at an address, counted from its first.
    #[inline]
    pub(super) fn locate(&self, address: u64) -> (usize, Location) {
        let location = self.mapping.locate(address);
        (self.channels.start + location.channel as usize, location)
    }

    /// Bursts that wait before a channel at most, if there is a link: as many as its queues hold.
    pub(super) fn most_waiting(&self) -> usize {
        let config = &self.plan.config;
        usize::from(config.read_queue) + usize::from(config.write_queue)
    }

    /// When a request that is sent now is at the other end of the link.
    pub(super) fn arrival_ps(
        &self,
        link: &Link,
        state: &mut LinkState,
        request: &MemoryRequest,
        now_ps: u64,
    ) -> u64 {
        let wires = match request.kind.writes() {
            true => link.write(request.bytes),
            false => link.read(request.bytes),
        };
        state.down_ps = state.down_ps.max(now_ps) + link.picoseconds(wires.down).round() as u64;
        state.down_ps + link.latency_ps / 2
    }

    /// When a request is done whose data was through at the end of `finish`.
    #[inline]
    pub(super) fn end_ps(&self, state: &mut LinkState, kind: RequestKind, bytes: u32, finish: u64) -> u64 {
        let through_ps = self.clock.start_ps(finish);
        let back_ps = match &self.link {
            None => through_ps,
            Some(link) => {
                let wires = match kind.writes() {
                    true => link.write(bytes),
                    false => link.read(bytes),
                };
                state.up_ps = state.up_ps.max(through_ps) + link.picoseconds(wires.up).round() as u64;
                state.up_ps + link.latency_ps.div_ceil(2)
            }
        };
        back_ps.saturating_add(self.extra_ps)
    }

    pub(super) fn statistics(&self, channels: &[Channel]) -> Statistics {
        let mut sum = Statistics::default();
        for channel in &channels[self.channels.clone()] {
            sum.merge(&channel.statistics(&self.plan));
        }
        sum
    }
}

/// A memory of a [`TimedMemory`](super::TimedMemory), for its statistics.
#[derive(Debug)]
pub struct MemoryPart<'a> {
    pub(super) tier: &'a Tier,
    pub(super) channels: &'a [Channel],
}

impl MemoryPart<'_> {
    /// Its name in the machine.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.tier.name
    }

    /// Its first address.
    #[must_use]
    pub fn base(&self) -> u64 {
        self.tier.base
    }

    /// The device of its channels.
    #[must_use]
    pub fn device(&self) -> &Device {
        &self.tier.plan.device
    }

    /// How many channels it has.
    #[must_use]
    pub fn channels(&self) -> usize {
        self.tier.channels.len()
    }

    /// What its channels counted.
    #[must_use]
    pub fn statistics(&self) -> Statistics {
        self.tier.statistics(self.channels)
    }

    /// What its channels cost; `None` without currents for the device.
    #[must_use]
    pub fn energy(&self) -> Option<Energy> {
        Some(EventEnergy::of(self.device())?.energy(self.device(), &self.statistics()))
    }
}
