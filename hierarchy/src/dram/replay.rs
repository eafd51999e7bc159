//! Drives a DRAM with a list of requests.
//!
//! Three ways to send: as fast as each channel takes them (open loop), at given times, or with a bounded number of
//! requests under way. In the first two, every channel has a sender of its own that offers a burst per tick in the
//! order of the list, so channels can run on several threads with the same result; a bound couples them.

use std::num::NonZero;

use super::controller::{Channel, Plan, Request};
use super::mapping::Location;
use super::system::DramSystem;
use super::timing::Tick;

/// When requests are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// As soon as they are accepted.
    OpenLoop,
    /// A request every so many command clocks.
    Every(u64),
    /// At the command clocks that the list gives, or as soon after that as they are accepted.
    AsTimed,
    /// As soon as fewer than this many requests are under way.
    Outstanding(NonZero<u32>),
}

/// Where a request goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// To an address, by the mapping.
    Address(u64),
    /// To a row and column; never more than a burst.
    Location(Location),
}

/// Requests in the order in which they are sent, split into bursts.
#[derive(Clone, Debug, Default)]
pub struct Workload {
    bursts: Vec<Burst>,
    requests: u64,
}

// Sixteen bytes and a tick: traces are long.
#[derive(Clone, Copy, Debug)]
pub(super) struct Burst {
    pub(super) tick: Tick,
    row: u32,
    channel: u16,
    bank: u16,
    column: u16,
    pub(super) write: bool,
    /// The first burst of its request.
    pub(super) first: bool,
}

impl Burst {
    pub(super) fn channel(&self) -> usize {
        self.channel.into()
    }

    pub(super) fn location(&self) -> Location {
        Location {
            channel: self.channel.into(),
            bank: self.bank.into(),
            row: self.row.into(),
            column: self.column.into(),
        }
    }
}

/// Requests under way of which there may be so many.
#[derive(Debug)]
pub(super) struct UnderWay {
    bound: usize,
    count: usize,
    /// Of each, the bursts that have not ended; its tag is its place here.
    left: Vec<u32>,
    free: Vec<usize>,
}

impl UnderWay {
    pub(super) fn new(bound: usize) -> Self {
        Self {
            bound,
            count: 0,
            left: Vec::new(),
            free: Vec::new(),
        }
    }

    pub(super) fn is_full(&self) -> bool {
        self.count >= self.bound
    }

    /// The tag that the next request will have.
    pub(super) fn next(&self) -> usize {
        self.free.last().copied().unwrap_or(self.left.len())
    }

    /// The next request is under way: the first of `bursts`, and what comes behind up to the first of another.
    pub(super) fn begin(&mut self, bursts: &[Burst]) -> usize {
        let tag = self.next();
        self.free.pop();
        self.count += 1;
        if tag == self.left.len() {
            self.left.push(0);
        }
        self.left[tag] = 1 + bursts[1..].iter().take_while(|burst| !burst.first).count() as u32;
        tag
    }

    /// A burst of a request has ended.
    pub(super) fn end(&mut self, tag: usize) {
        self.left[tag] -= 1;
        if self.left[tag] == 0 {
            self.free.push(tag);
            self.count -= 1;
        }
    }
}

impl Workload {
    /// Adds a request of `bytes`, at command clock `clock`.
    pub fn push(&mut self, system: &DramSystem, place: Place, bytes: u32, write: bool, clock: u64) {
        let burst_bytes = u64::from(system.plan().device.burst_bytes);
        self.requests += 1;
        match place {
            Place::Location(location) => self.push_burst(system, location, write, clock, true),
            Place::Address(address) => {
                let first = address / burst_bytes;
                let last = address.saturating_add(u64::from(bytes.max(1)) - 1) / burst_bytes;
                for burst in first..last + 1 {
                    let location = system.mapping().locate(burst * burst_bytes);
                    self.push_burst(system, location, write, clock, burst == first);
                }
            }
        }
    }

    fn push_burst(&mut self, system: &DramSystem, location: Location, write: bool, clock: u64, first: bool) {
        let device = &system.plan().device;
        self.bursts.push(Burst {
            tick: 1 + clock * device.ticks_per_clock,
            row: location.row as u32 & (device.rows - 1),
            channel: location.channel as u16,
            bank: location.bank as u16,
            column: location.column as u16,
            write,
            first,
        });
    }

    /// How many requests there are.
    pub fn requests(&self) -> u64 {
        self.requests
    }

    /// How many bursts there are.
    pub fn bursts(&self) -> u64 {
        self.bursts.len() as u64
    }

    /// Sends everything and sees it through, on at most `threads` threads.
    pub fn run(&self, system: &mut DramSystem, pace: Pace, threads: NonZero<usize>) {
        let (plan, _, channels) = system.split();
        if let Pace::Outstanding(bound) = pace {
            self.run_bounded(plan, channels, bound.get() as usize);
        } else {
            let share = channels.len().div_ceil(threads.get());
            std::thread::scope(|scope| {
                for (chunk, channels) in channels.chunks_mut(share).enumerate() {
                    let mut run = move || {
                        for (index, channel) in channels.iter_mut().enumerate() {
                            self.run_channel(plan, channel, chunk * share + index, pace);
                        }
                    };
                    // One thread needs no other.
                    if threads.get() == 1 {
                        run();
                    } else {
                        drop(scope.spawn(run));
                    }
                }
            });
        }
        system.finish();
    }

    /// Its bursts, in the order in which they are sent.
    pub(super) fn all(&self) -> &[Burst] {
        &self.bursts
    }

    fn run_channel(&self, plan: &Plan, channel: &mut Channel, number: usize, pace: Pace) {
        let mut tick = 1;
        let mut request = 0;
        // Ends are counted when they are decided; nobody waits for them here.
        channel.drop_ends();
        for burst in &self.bursts {
            request += u64::from(burst.first);
            if usize::from(burst.channel) != number {
                continue;
            }
            match pace {
                Pace::Every(clocks) => {
                    tick = tick.max(1 + (request - 1) * clocks * plan.device.ticks_per_clock);
                }
                Pace::AsTimed => tick = tick.max(burst.tick),
                _ => {}
            }
            tick = 1 + send(plan, channel, burst, request, tick);
        }
    }

    fn run_bounded(&self, plan: &Plan, channels: &mut [Channel], bound: usize) {
        let mut under_way = UnderWay::new(bound);
        // No data ends in a channel before this; a channel where none can is not asked.
        let mut events: Vec<Tick> = vec![0; channels.len()];
        let (mut tick, mut reached) = (1, 0);
        let mut tag = 0;
        for (number, burst) in self.bursts.iter().enumerate() {
            if burst.first {
                while under_way.is_full() {
                    for (event, channel) in events.iter_mut().zip(&mut *channels) {
                        if *event == 0 {
                            *event = channel.next_end(plan);
                        }
                    }
                    let next = events.iter().copied().min().unwrap_or(Tick::MAX).max(tick);
                    for (event, channel) in events.iter_mut().zip(&mut *channels) {
                        if *event > next {
                            continue;
                        }
                        *event = 0;
                        channel.advance(plan, next, |done| under_way.end(done.tag as usize));
                    }
                    // The sender sees the end of the data with the next tick.
                    (tick, reached) = (next + 1, next);
                }
                tag = under_way.begin(&self.bursts[number..]);
            }
            let channel = burst.channel();
            events[channel] = 0;
            tick = 1 + send(plan, &mut channels[channel], burst, tag as u64, tick);
        }
        for channel in channels {
            channel.advance(plan, reached, |_| {});
        }
    }
}

/// Sends a burst at `tick` or as soon as there is room; returns when.
fn send(plan: &Plan, channel: &mut Channel, burst: &Burst, tag: u64, tick: Tick) -> Tick {
    let request = Request {
        tag,
        address: 0,
        write: burst.write,
        source: 0,
    };
    channel.send(plan, &request, burst.location(), tick)
}
