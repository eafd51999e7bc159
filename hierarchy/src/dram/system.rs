//! All channels of one kind of device behind one address mapping.

use serde::{Deserialize, Serialize};

use super::controller::{Channel, Completion, ControllerConfig, IssuedCommand, Plan, Request};
use super::device::Device;
use super::energy::{Energy, EventEnergy};
use super::error::DramError;
use super::mapping::AddressMapping;
use super::statistics::Statistics;
use super::timing::Tick;

/// A timed DRAM: mapping, channels and their controllers.
///
/// Time is in ticks of the [device](Plan::device) and starts at 1. Channels share nothing, so each may be ahead of
/// the others; [`advance`](Self::advance) brings them together.
#[derive(Clone, Debug)]
pub struct DramSystem {
    plan: Plan,
    mapping: AddressMapping,
    channels: Vec<Channel>,
}

/// What a [`DramSystem`] is made of.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Topology {
    /// Channels; one of HBM has two pseudo-channels.
    pub channels: u32,
    /// Chip selects per channel.
    pub ranks: u32,
    /// The address mapping.
    pub mapping: String,
}

impl DramSystem {
    /// All banks closed.
    pub fn new(device: &Device, topology: &Topology, config: ControllerConfig) -> Result<Self, DramError> {
        let plan = Plan::new(device, topology.ranks, config)?;
        let Topology {
            channels,
            ranks,
            mapping,
        } = topology;
        let mapping = AddressMapping::new(mapping, device, *channels, *ranks, device.burst_bytes)?;
        let channels = vec![Channel::new(&plan); mapping.channels()];
        Ok(Self {
            plan,
            mapping,
            channels,
        })
    }

    /// Goes on from the channels of an equal system, as [`channels`](Self::channels) gave them.
    pub fn restore(&mut self, channels: Vec<Channel>) -> Result<(), DramError> {
        if channels.len() != self.channels.len() {
            let (given, own) = (channels.len(), self.channels.len());
            return Err(DramError::Controller(format!(
                "a state of {given} channels, but there are {own}"
            )));
        }
        self.channels = channels;
        Ok(())
    }

    /// What does not change.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The mapping; its unit is a burst.
    pub fn mapping(&self) -> &AddressMapping {
        &self.mapping
    }

    /// The channels' states.
    pub fn channels(&self) -> &[Channel] {
        &self.channels
    }

    /// The parts that simulating a channel on its own needs.
    pub fn split(&mut self) -> (&Plan, &AddressMapping, &mut [Channel]) {
        (&self.plan, &self.mapping, &mut self.channels)
    }

    /// Offers a burst at `tick`, which is not before that of an earlier offer to its channel. False if the channel's
    /// queue is full: it was not taken.
    pub fn try_send(&mut self, request: &Request, tick: Tick) -> bool {
        let location = self.mapping.locate(request.address);
        self.channels[location.channel as usize].try_send(&self.plan, request, location, tick)
    }

    /// When something happens next: a command issues or a request's data ends. `Tick::MAX` for never.
    pub fn next_event(&mut self) -> Tick {
        self.channels
            .iter_mut()
            .map(|channel| channel.next_event(&self.plan))
            .min()
            .unwrap_or(Tick::MAX)
    }

    /// Decides every tick up to `until` and hands over the requests whose data ends by then; those of a channel in the
    /// order of their ends.
    pub fn advance(&mut self, until: Tick, mut completed: impl FnMut(Completion)) {
        for channel in &mut self.channels {
            channel.advance(&self.plan, until, &mut completed);
        }
    }

    /// Sees all requests through. Writes may still wait for a watermark that never comes: what is left goes out on its own.
    pub(super) fn finish(&mut self) {
        for channel in &mut self.channels {
            while channel.has_queued() {
                channel.step(&self.plan);
            }
            channel.advance(&self.plan, channel.now(), |_| {});
            channel.take_ends(Tick::MAX, |_| {});
        }
    }

    /// Keeps every command from now on, for [`take_commands`](Self::take_commands).
    pub fn record_commands(&mut self) {
        self.channels.iter_mut().for_each(Channel::record_commands);
    }

    /// The commands of each channel since the last call.
    pub fn take_commands(&mut self) -> Vec<Vec<IssuedCommand>> {
        self.channels.iter_mut().map(Channel::take_commands).collect()
    }

    /// Requests that were accepted and whose data is not through.
    pub fn outstanding(&self) -> usize {
        self.channels.iter().map(Channel::outstanding).sum()
    }

    /// What all channels counted.
    pub fn statistics(&self) -> Statistics {
        let mut sum = Statistics::default();
        for channel in &self.channels {
            sum.merge(&channel.statistics(&self.plan));
        }
        sum
    }

    /// What all channels cost; `None` without currents for the device.
    pub fn energy(&self) -> Option<Energy> {
        let events = EventEnergy::of(&self.plan.device)?;
        Some(events.energy(&self.plan.device, &self.statistics()))
    }
}
