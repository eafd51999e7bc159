//! The memory of a machine in time, driven request by request by an outer simulator.
//!
//! Modelled: what lies below the caches. Requests of any size at picoseconds of the sender's choice become bursts in the
//! queues of the machine's DRAM channels, whose controllers are those of [`crate::dram`]; a request is done when the
//! last of its bursts is. A full queue refuses. A request larger than a burst is accepted if its first burst is; the
//! others wait in order before their queues, and nothing else is accepted for those channels until they are in.
//!
//! The memories of a machine that has several lie one behind the other in the address space, each as large as its capacity: which page
//! goes where is decided by the sender, or by the operating system that it simulates. A memory may have a link before it.
//!
//! Not modelled: data (a host that has none keeps it in a [`Store`](crate::timed::Store)), the way to the first memory but
//! for a fixed latency, a machine's placement and migration of pages, priorities of prefetches.
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
mod state;
mod store;
mod tier;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use self::library::Library;
use self::state::{State, UnderWay};
use self::tier::{LinkState, Tier};
use crate::dram::{Channel, Completion, Device, Energy, Request, Statistics};
use crate::machine::Machine;

pub use checkpoint::CheckpointError;
pub use clock::MAX_PS;
pub use config::{Model, TimedConfig};
pub use counts::TagCounts;
pub use error::TimedError;
pub use request::{
    MAX_CORES, MAX_REQUEST_BYTES, MAX_TAGS, MemoryCompletion, MemoryRequest, RequestError, RequestKind,
};
pub use store::Store;
pub use tier::MemoryPart;

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
    /// Memories by their first addresses.
    Dram(Vec<Tier>),
    Fixed,
    Library(Library),
}

impl TimedMemory {
    /// Nothing under way at time 0. The memory is that of the machine, which must have one; its caches and cores play no
    /// part.
    ///
    /// # Errors
    /// If there can't be such a memory.
    pub fn new(machine: &Machine, config: TimedConfig) -> Result<Self, TimedError> {
        let description = format!("{:#?}\n{:#?}\n{config:#?}", machine.memory, machine.tiers);
        let timing = match config.model {
            Model::Fixed => Timing::Fixed,
            Model::Library => Timing::Library(Library::load(&config.library, &config.library_parameters)?),
            Model::Dram => Timing::Dram(tiers(machine, &config)?),
        };
        let (mut channels, mut links) = (Vec::new(), Vec::new());
        if let Timing::Dram(tiers) = &timing {
            for tier in tiers {
                channels.extend(tier.channels.clone().map(|_| Channel::new(&tier.plan)));
                links.push(LinkState::default());
            }
        }
        let state = State {
            now_ps: 0,
            library_ps: 0,
            waiting: vec![VecDeque::new(); channels.len().max(1)],
            channels,
            links,
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
                Timing::Dram(tiers) => {
                    state.fill_all_queues(tiers, now_ps);
                    let place = tiers.partition_point(|tier| tier.base <= request.address) - 1;
                    let last = request.address + u64::from(request.bytes - 1);
                    if tiers.get(place + 1).is_some_and(|next| next.base <= last) {
                        let MemoryRequest { address, bytes, .. } = *request;
                        return Err(RequestError::Crosses { address, bytes });
                    }
                    let tier = &tiers[place];
                    let request = &MemoryRequest {
                        address: request.address - tier.base,
                        ..*request
                    };
                    match &tier.link {
                        Some(link) => state.offer_over(link, place, tier, request, now_ps),
                        None => {
                            let tick = tier.clock.next_at(now_ps);
                            let channel_of = |address| tier.locate(address).0;
                            let send = |channels: &mut [Channel], burst: &Request| {
                                let (channel, location) = tier.locate(burst.address);
                                channels[channel].try_send(&tier.plan, burst, location, tick)
                            };
                            let burst_bytes = tier.plan.device.burst_bytes;
                            state.offer(burst_bytes, channel_of, send, request, now_ps)
                        }
                    }
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
        if let Timing::Dram(tiers) = &self.timing
            && *outstanding > ends.len() as u64
        {
            for tier in tiers {
                let range = tier.channels.clone();
                let begun = tier.clock.begun_at(*now_ps);
                for (channel, waiting) in channels[range.clone()].iter_mut().zip(&waiting[range]) {
                    let end = tier.clock.start_ps(channel.earliest_end(&tier.plan));
                    next = next.min(end.saturating_add(self.config.latency_ps));
                    let entering = waiting.front().map(|waiting| waiting.ready);
                    // A command may make room; what waits takes it with the next tick. One that starts the data clock was
                    // decided with the column command behind it: then room is there as soon as both are over.
                    let room = match channel.now() {
                        _ if !*refused && entering.is_none() => continue,
                        _ if entering.is_some_and(|ready| ready > begun) => entering.unwrap_or(begun),
                        decided if decided > begun => decided,
                        _ => channel.earliest_command(&tier.plan).saturating_add(1),
                    };
                    next = next.min(tier.clock.start_ps(room));
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
        if let Timing::Dram(tiers) = &self.timing {
            state.fill_all_queues(tiers, until_ps);
            for (place, tier) in tiers.iter().enumerate() {
                let until = tier.clock.begun_at(until_ps);
                for channel in &mut state.channels[tier.channels.clone()] {
                    channel.advance_to(&tier.plan, until, |done| self.done.push(done));
                }
                if tier.link.is_some() {
                    self.done.sort_by_key(|done| done.finish);
                }
                for done in self.done.drain(..) {
                    let slot = done.tag as u32;
                    let UnderWay { tag, kind, bytes, .. } = state.under_way[slot as usize];
                    state.tag(tag).found(done.outcome);
                    let mut link = state.links[place];
                    let end = |finish| tier.end_ps(&mut link, kind, bytes, finish);
                    state.burst_done(slot, done.finish, self.config.latency_ps, end);
                    state.links[place] = link;
                }
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

    /// Its memories, by their first addresses; none without DRAM.
    pub fn parts(&self) -> impl Iterator<Item = MemoryPart<'_>> {
        let tiers: &[Tier] = match &self.timing {
            Timing::Dram(tiers) => tiers,
            Timing::Fixed | Timing::Library(_) => &[],
        };
        let channels = &self.state.channels;
        tiers.iter().map(move |tier| MemoryPart { tier, channels })
    }

    /// Its one memory; `None` if it has several, or no DRAM.
    fn part(&self) -> Option<MemoryPart<'_>> {
        let mut parts = self.parts();
        parts.next().filter(|_| parts.next().is_none())
    }

    /// The device of its channels; `None` if it has several memories, or no DRAM.
    #[must_use]
    pub fn device(&self) -> Option<&Device> {
        match &self.timing {
            Timing::Dram(tiers) if tiers.len() == 1 => Some(&tiers[0].plan.device),
            _ => None,
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

    /// What all channels counted; `None` if it has several memories, whose clocks differ, or no DRAM.
    #[must_use]
    pub fn statistics(&self) -> Option<Statistics> {
        Some(self.part()?.statistics())
    }

    /// What all channels cost; `None` without DRAM, or without currents for a device.
    #[must_use]
    pub fn energy(&self) -> Option<Energy> {
        let mut parts = self.parts();
        let first = parts.next()?.energy()?;
        parts.try_fold(first, |sum, part| Some(sum.plus(&part.energy()?)))
    }
}

/// The memories of a machine, one behind the other.
fn tiers(machine: &Machine, config: &TimedConfig) -> Result<Vec<Tier>, TimedError> {
    let (mut tiers, mut base, mut channels) = (Vec::new(), Some(0u64), 0);
    for memory in machine.memories() {
        let Some(first) = base else {
            return Err(TimedError::Capacity {
                machine: machine.name.clone(),
                memory: memory.name.clone(),
            });
        };
        let tier = Tier::new(memory, &machine.memory, first, channels, config)?;
        base = memory.capacity_bytes.and_then(|bytes| first.checked_add(bytes));
        channels = tier.channels.end;
        tiers.push(tier);
    }
    Ok(tiers)
}
