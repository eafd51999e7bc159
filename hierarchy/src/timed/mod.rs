//! The memory of a machine in time, driven request by request by an outer simulator.
//!
//! Modelled: what lies below the caches. Requests of any size at picoseconds of the sender's choice become bursts in the
//! queues of the machine's DRAM channels, whose controllers are those of [`crate::dram`]; a request is done when the
//! last of its bursts is. A full queue refuses. A request larger than a burst is accepted if its first burst is; the
//! others wait in order before their queues, and nothing else is accepted for those channels until they are in.
//!
//! Not modelled: data (a host that has none keeps it in a [`Store`](crate::timed::Store)), the way to the device but
//! for a fixed latency, priorities of prefetches.
//!
//! Time is the sender's: nothing happens between two calls that a later call cannot still find out, so a sender need not
//! come back before [`TimedMemory::next_event_ps`].

mod checkpoint;
mod clock;
mod config;
mod counts;
mod error;
#[allow(unsafe_code)]
mod library;
mod request;
mod store;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use serde::{Deserialize, Serialize};

use self::clock::Clock;
use self::library::Library;
use crate::dram::{
    AddressMapping, Channel, Completion, Device, DramError, Energy, EventEnergy, Plan, Request, Statistics,
    Tick,
};
use crate::machine::{Machine, MemoryDevice};

pub use checkpoint::CheckpointError;
pub use clock::MAX_PS;
pub use config::{Model, TimedConfig};
pub use counts::TagCounts;
pub use error::TimedError;
pub use request::{
    MAX_CORES, MAX_REQUEST_BYTES, MAX_TAGS, MemoryCompletion, MemoryRequest, RequestError, RequestKind,
};
pub use store::Store;

/// A memory that takes requests and gives completions.
#[derive(Debug)]
pub struct TimedMemory {
    config: TimedConfig,
    timing: Timing,
    // What two memories must share for one to go on from the other's state.
    description: String,
    state: State,
    /// Bursts that the channels have just done; empty between calls.
    done: Vec<Completion>,
}

/// What does not change; but a library's state, which is its own.
#[derive(Debug)]
enum Timing {
    Dram {
        plan: Box<Plan>,
        mapping: Box<AddressMapping>,
        clock: Clock,
    },
    Fixed,
    Library(Library),
}

/// What does.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct State {
    now_ps: u64,
    /// How far a library's time has passed.
    library_ps: u64,
    channels: Vec<Channel>,
    /// By channel, of which a library has one: bursts of accepted requests that its queue has no room for.
    waiting: Vec<VecDeque<Request>>,
    waiting_bursts: u64,
    /// Requests of which bursts are under way, by the tag of their bursts.
    under_way: Vec<UnderWay>,
    free: Vec<u32>,
    /// Requests whose end is known, by time; the number keeps those of one time in order.
    ends: BinaryHeap<Reverse<(u64, u64, MemoryCompletion)>>,
    ended: u64,
    outstanding: u64,
    /// A request was refused and none was accepted since.
    refused: bool,
    refusals: u64,
    tags: Vec<TagCounts>,
    store: Store,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct UnderWay {
    id: u64,
    accepted_ps: u64,
    /// In ticks of the DRAM; of a library, in picoseconds.
    finish: Tick,
    bursts: u32,
    tag: u32,
    kind: RequestKind,
}

impl TimedMemory {
    /// Nothing under way at time 0. The memory is that of the machine, which must have one; its caches and cores play no
    /// part.
    ///
    /// # Errors
    /// If there can't be such a memory.
    pub fn new(machine: &Machine, config: TimedConfig) -> Result<Self, TimedError> {
        if matches!(config.model, Model::Dram) && !machine.tiers.is_empty() {
            let message = format!(
                "machine {} has several memories, and requests by address can't say which: give a machine with one",
                machine.name
            );
            return Err(DramError::Controller(message).into());
        }
        let MemoryDevice {
            device,
            channels,
            ranks,
            mapping,
            ..
        } = &machine.memory;
        let description = format!("{:#?}\n{config:#?}", machine.memory);
        let (timing, channels) = match config.model {
            Model::Fixed => (Timing::Fixed, Vec::new()),
            Model::Library => {
                let library = Library::load(&config.library, &config.library_parameters)?;
                (Timing::Library(library), Vec::new())
            }
            Model::Dram => {
                let device = Device::find(device)?;
                let plan = Plan::new(&device, *ranks, config.controller.clone())?;
                let mapping = AddressMapping::new(mapping, &device, *channels, *ranks, device.burst_bytes)?;
                let mapping = Box::new(mapping);
                let clock = Clock::new(&device);
                let channels = vec![Channel::new(&plan); mapping.channels()];
                let plan = Box::new(plan);
                (Timing::Dram { plan, mapping, clock }, channels)
            }
        };
        let state = State {
            now_ps: 0,
            library_ps: 0,
            waiting: vec![VecDeque::new(); channels.len().max(1)],
            channels,
            waiting_bursts: 0,
            under_way: Vec::new(),
            free: Vec::new(),
            ends: BinaryHeap::new(),
            ended: 0,
            outstanding: 0,
            refused: false,
            refusals: 0,
            tags: Vec::new(),
            store: Store::default(),
        };
        Ok(Self {
            config,
            timing,
            description,
            state,
            done: Vec::new(),
        })
    }

    /// Offers a request. False if it was refused: it may come again after the next event.
    ///
    /// # Errors
    /// If there is no such request, or `now_ps` lies before an earlier call's time.
    pub fn send(&mut self, now_ps: u64, request: &MemoryRequest) -> Result<bool, RequestError> {
        request.check()?;
        self.pass_to(now_ps)?;
        let state = &mut self.state;
        let limit = u64::from(self.config.max_outstanding);
        let accepted = if limit > 0 && state.outstanding >= limit {
            false
        } else {
            match &mut self.timing {
                Timing::Dram { plan, mapping, clock } => {
                    state.fill_queues(plan, mapping, clock.begun_at(now_ps));
                    let tick = clock.next_at(now_ps);
                    let channel_of = |address| mapping.locate(address).channel as usize;
                    let send = |channels: &mut [Channel], burst: &Request| {
                        let location = mapping.locate(burst.address);
                        channels[location.channel as usize].try_send(plan, burst, location, tick)
                    };
                    state.offer(plan.device.burst_bytes, channel_of, send, request, now_ps)
                }
                Timing::Library(library) => {
                    state.pass_in_library(library, now_ps, self.config.latency_ps);
                    let burst_bytes = library.burst_bytes;
                    let send = |_: &mut [Channel], burst: &Request| library.send(now_ps, burst);
                    state.offer(burst_bytes, |_| 0, send, request, now_ps)
                }
                Timing::Fixed => {
                    let completion = MemoryCompletion {
                        finished_ps: now_ps.saturating_add(self.config.latency_ps),
                        accepted_ps: now_ps,
                        id: request.id,
                        tag: request.tag,
                        kind: request.kind as u8,
                    };
                    state.end(completion);
                    true
                }
            }
        };
        state.refused = !accepted;
        if accepted {
            state.outstanding += 1;
            state.tag(request.tag).accept(request.kind, request.bytes);
        } else {
            state.refusals += 1;
        }
        Ok(accepted)
    }

    /// When to come back at the latest: a request may be done then or, if the last one was refused, there may be room.
    /// `None` if nothing is under way.
    pub fn next_event_ps(&mut self) -> Option<u64> {
        let State {
            channels,
            waiting,
            ends,
            refused,
            now_ps,
            outstanding,
            ..
        } = &mut self.state;
        let mut next = ends.peek().map_or(u64::MAX, |Reverse((end, ..))| *end);
        if let Timing::Dram { plan, clock, .. } = &self.timing
            && *outstanding > ends.len() as u64
        {
            for (channel, waiting) in channels.iter_mut().zip(waiting) {
                let end = clock.start_ps(channel.earliest_end(plan));
                next = next.min(end.saturating_add(self.config.latency_ps));
                // A command may make room; what waits takes it with the next tick. One that starts the data clock was
                // decided with the column command behind it: then room is there as soon as both are over.
                if *refused || !waiting.is_empty() {
                    let room = match channel.now() {
                        decided if decided > clock.begun_at(*now_ps) => decided,
                        _ => channel.earliest_command(plan).saturating_add(1),
                    };
                    next = next.min(clock.start_ps(room));
                }
            }
        }
        if let Timing::Library(library) = &mut self.timing
            && (*outstanding > ends.len() as u64 || *refused)
        {
            // Later than now: what is due now was done by the call before.
            let event = library.next_event_ps().max(now_ps.saturating_add(1));
            // Room is there at once, an answer after its way back.
            let way_ps = if *refused { 0 } else { self.config.latency_ps };
            next = next.min(event.saturating_add(way_ps));
        }
        (next != u64::MAX).then(|| next.max(*now_ps))
    }

    /// Lets time pass and hands over the requests that are done by then, in the order of their ends.
    ///
    /// # Errors
    /// If `until_ps` lies before an earlier call's time.
    pub fn advance(
        &mut self,
        until_ps: u64,
        mut completed: impl FnMut(&MemoryCompletion),
    ) -> Result<(), RequestError> {
        self.pass_to(until_ps)?;
        let state = &mut self.state;
        if let Timing::Dram { plan, mapping, clock } = &self.timing {
            let until = clock.begun_at(until_ps);
            state.fill_queues(plan, mapping, until);
            for channel in &mut state.channels {
                channel.advance_to(plan, until, |done| self.done.push(done));
            }
            for done in self.done.drain(..) {
                let slot = done.tag as u32;
                let tag = state.under_way[slot as usize].tag;
                state.tag(tag).found(done.outcome);
                let end = |finish| clock.start_ps(finish);
                state.burst_done(slot, done.finish, self.config.latency_ps, end);
            }
        }
        if let Timing::Library(library) = &mut self.timing {
            state.pass_in_library(library, until_ps, self.config.latency_ps);
        }
        while let Some(Reverse((end, ..))) = state.ends.peek()
            && *end <= until_ps
            && let Some(Reverse((_, _, completion))) = state.ends.pop()
        {
            state.outstanding -= 1;
            state.tag(completion.tag).complete(&completion);
            completed(&completion);
        }
        Ok(())
    }

    /// Lets time pass until everything is done; returns when that was.
    ///
    /// # Errors
    /// If that is after the last time there is.
    pub fn drain(&mut self, mut completed: impl FnMut(&MemoryCompletion)) -> Result<u64, RequestError> {
        while let Some(next) = self.next_event_ps() {
            self.advance(next, &mut completed)?;
        }
        Ok(self.state.now_ps)
    }

    fn pass_to(&mut self, time_ps: u64) -> Result<(), RequestError> {
        let now_ps = self.state.now_ps;
        if time_ps < now_ps || time_ps > MAX_PS {
            return Err(RequestError::Time {
                given_ps: time_ps,
                now_ps,
            });
        }
        self.state.now_ps = time_ps;
        Ok(())
    }

    /// The time of the last call.
    #[must_use]
    pub fn now_ps(&self) -> u64 {
        self.state.now_ps
    }

    /// Requests that were accepted and not handed over as done.
    #[must_use]
    pub fn outstanding(&self) -> u64 {
        self.state.outstanding
    }

    /// Requests that were refused, each as often as it was.
    #[must_use]
    pub fn refusals(&self) -> u64 {
        self.state.refusals
    }

    /// Its contents, for hosts that keep none themselves: what is read and written here takes no time.
    pub fn store(&mut self) -> &mut Store {
        &mut self.state.store
    }

    /// How it is timed.
    #[must_use]
    pub fn config(&self) -> &TimedConfig {
        &self.config
    }

    /// The device of its channels, if it has any.
    #[must_use]
    pub fn device(&self) -> Option<&Device> {
        match &self.timing {
            Timing::Dram { plan, .. } => Some(&plan.device),
            Timing::Fixed | Timing::Library(_) => None,
        }
    }

    /// Channels of the DRAM.
    #[must_use]
    pub fn channels(&self) -> usize {
        self.state.channels.len()
    }

    /// Counts by tag, as far as tags were used.
    #[must_use]
    pub fn tags(&self) -> &[TagCounts] {
        &self.state.tags
    }

    /// Counts of all tags.
    #[must_use]
    pub fn totals(&self) -> TagCounts {
        let mut sum = TagCounts::default();
        self.state.tags.iter().for_each(|tag| sum.merge(tag));
        sum
    }

    /// What all channels counted; `None` without DRAM.
    #[must_use]
    pub fn statistics(&self) -> Option<Statistics> {
        let Timing::Dram { plan, .. } = &self.timing else {
            return None;
        };
        let mut sum = Statistics::default();
        for channel in &self.state.channels {
            sum.merge(&channel.statistics(plan));
        }
        Some(sum)
    }

    /// What all channels cost; `None` without currents for the device.
    #[must_use]
    pub fn energy(&self) -> Option<Energy> {
        let device = self.device()?;
        Some(EventEnergy::of(device)?.energy(device, &self.statistics()?))
    }
}

impl State {
    /// Takes a request as bursts, if its first burst finds room.
    fn offer(
        &mut self,
        burst_bytes: u32,
        channel_of: impl Fn(u64) -> usize,
        mut send: impl FnMut(&mut [Channel], &Request) -> bool,
        request: &MemoryRequest,
        now_ps: u64,
    ) -> bool {
        let burst_bytes = u64::from(burst_bytes);
        let first = request.address / burst_bytes;
        let last = (request.address + u64::from(request.bytes - 1)) / burst_bytes;
        let channel_of = |burst: u64| channel_of(burst * burst_bytes);
        if self.waiting_bursts > 0 && (first..=last).any(|burst| !self.waiting[channel_of(burst)].is_empty())
        {
            return false;
        }
        let slot = self.free.last().copied().unwrap_or(self.under_way.len() as u32);
        let burst_at = |burst: u64| Request {
            tag: slot.into(),
            address: burst * burst_bytes,
            write: request.kind.writes(),
            source: request.core as u16,
        };
        if !send(&mut self.channels, &burst_at(first)) {
            return false;
        }
        for burst in first + 1..=last {
            let channel = channel_of(burst);
            let burst = burst_at(burst);
            if !self.waiting[channel].is_empty() || !send(&mut self.channels, &burst) {
                self.waiting[channel].push_back(burst);
                self.waiting_bursts += 1;
            }
        }
        let under_way = UnderWay {
            id: request.id,
            accepted_ps: now_ps,
            finish: 0,
            bursts: (last - first + 1) as u32,
            tag: request.tag,
            kind: request.kind,
        };
        if self.free.pop().is_some() {
            self.under_way[slot as usize] = under_way;
        } else {
            self.under_way.push(under_way);
        }
        true
    }

    /// Sends the bursts that wait, as soon as there is room for each, up to a tick.
    fn fill_queues(&mut self, plan: &Plan, mapping: &AddressMapping, until: Tick) {
        if self.waiting_bursts == 0 {
            return;
        }
        for (channel, waiting) in self.channels.iter_mut().zip(&mut self.waiting) {
            while let Some(burst) = waiting.front() {
                let now = channel.now();
                if now > until {
                    break;
                }
                if channel.try_send(plan, burst, mapping.locate(burst.address), now) {
                    waiting.pop_front();
                    self.waiting_bursts -= 1;
                } else if now < until && channel.next_command(plan) < until {
                    channel.step(plan);
                } else {
                    break;
                }
            }
        }
    }

    /// Lets time pass in a library, which takes the bursts that wait as soon as it has room for them.
    fn pass_in_library(&mut self, library: &mut Library, until_ps: u64, latency_ps: u64) {
        let mut reached_ps = self.library_ps;
        loop {
            while let Some(burst) = self.waiting[0].front()
                && library.send(reached_ps, burst)
            {
                self.waiting[0].pop_front();
                self.waiting_bursts -= 1;
            }
            let event = library.next_event_ps().max(reached_ps.saturating_add(1));
            reached_ps = if self.waiting_bursts > 0 {
                event.min(until_ps)
            } else {
                until_ps
            };
            library.advance(reached_ps, |slot, finished_ps| {
                let is_known = self
                    .under_way
                    .get(slot as usize)
                    .is_some_and(|request| request.bursts > 0);
                if is_known {
                    self.burst_done(slot as u32, finished_ps, latency_ps, |finish| finish);
                }
            });
            if reached_ps == until_ps {
                break;
            }
        }
        self.library_ps = until_ps;
    }

    /// `end` turns the finish of a request into picoseconds.
    fn burst_done(&mut self, slot: u32, finish: u64, latency_ps: u64, end: impl Fn(u64) -> u64) {
        let request = &mut self.under_way[slot as usize];
        request.bursts -= 1;
        request.finish = request.finish.max(finish);
        let UnderWay {
            id,
            accepted_ps,
            finish,
            bursts,
            tag,
            kind,
        } = *request;
        if bursts == 0 {
            self.free.push(slot);
            self.end(MemoryCompletion {
                finished_ps: end(finish).saturating_add(latency_ps),
                accepted_ps,
                id,
                tag,
                kind: kind as u8,
            });
        }
    }

    fn end(&mut self, completion: MemoryCompletion) {
        self.ended += 1;
        self.ends
            .push(Reverse((completion.finished_ps, self.ended, completion)));
    }

    #[inline]
    fn tag(&mut self, tag: u32) -> &mut TagCounts {
        let index = tag as usize;
        if index >= self.tags.len() {
            self.tags.resize(index + 1, TagCounts::default());
        }
        &mut self.tags[index]
    }
}
