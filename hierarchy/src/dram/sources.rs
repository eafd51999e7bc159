//! Several senders share a DRAM, each with a list of requests of its own.
//!
//! Each sends in the order of its list and at its own pace, a burst per tick, over all channels; who offers first at a tick goes
//! around. What else it takes to keep them apart is the controller's: priorities, or a scheduler that is fair to sources.

use super::controller::{Channel, Plan, Request};
use super::replay::{Burst, Pace, UnderWay, Workload};
use super::system::DramSystem;
use super::timing::Tick;

/// One sender at work; its number is the source of its requests.
struct Sender<'a> {
    bursts: &'a [Burst],
    pace: Pace,
    under_way: UnderWay,
    /// Requests begun.
    requests: u64,
    tag: usize,
    /// Not before.
    tick: Tick,
}

/// Below it, the sender of a tag.
const SOURCE_BITS: u32 = 16;

impl Sender<'_> {
    /// When it offers its next burst, if nothing changes.
    fn offers_at(&self, plan: &Plan) -> Option<Tick> {
        let burst = self.bursts.first()?;
        if burst.first && self.under_way.is_full() {
            return None;
        }
        let due = match self.pace {
            Pace::Every(clocks) if burst.first => 1 + self.requests * clocks * plan.device.ticks_per_clock,
            Pace::AsTimed => burst.tick,
            _ => 0,
        };
        Some(self.tick.max(due))
    }

    /// Offers its next burst; if it is not taken, there is no use in doing so again before the channel has done something.
    fn offer(&mut self, source: usize, plan: &Plan, channel: &mut Channel, tick: Tick) -> bool {
        let burst = &self.bursts[0];
        if burst.first {
            self.tag = self.under_way.next();
        }
        let request = Request {
            tag: (self.tag as u64) << SOURCE_BITS | source as u64,
            address: 0,
            write: burst.write,
            source: source as u16,
        };
        if !channel.try_send(plan, &request, burst.location(), tick) {
            self.tick = channel.next_event(plan).max(tick).saturating_add(1);
            return false;
        }
        if burst.first {
            self.requests += 1;
            self.under_way.begin(self.bursts);
        }
        self.bursts = &self.bursts[1..];
        self.tick = tick + 1;
        true
    }
}

impl DramSystem {
    /// Sends each list as a source of its own, numbered from 0, and sees all of it through.
    pub fn run_together(&mut self, lists: &[(&Workload, Pace)]) {
        let (plan, _, channels) = self.split();
        let mut senders: Vec<Sender> = { lists.iter() }
            .map(|(workload, pace)| Sender {
                bursts: workload.all(),
                pace: *pace,
                under_way: UnderWay::new(match pace {
                    Pace::Outstanding(bound) => bound.get() as usize,
                    _ => usize::MAX,
                }),
                requests: 0,
                tag: 0,
                tick: 1,
            })
            .collect();
        let mut turn = 0;
        loop {
            let offer = senders.iter().filter_map(|sender| sender.offers_at(plan)).min();
            let event = channels.iter_mut().map(|channel| channel.next_event(plan)).min();
            let event = event.unwrap_or(Tick::MAX);
            match offer {
                Some(tick) if tick <= event => {
                    for step in 0..senders.len() {
                        let source = (turn + step) % senders.len();
                        let sender = &mut senders[source];
                        if sender.offers_at(plan) == Some(tick) {
                            let channel = &mut channels[sender.bursts[0].channel()];
                            sender.offer(source, plan, channel, tick);
                        }
                    }
                    turn += 1;
                }
                None if senders.iter().all(|sender| sender.bursts.is_empty()) => break,
                _ => {
                    for channel in &mut *channels {
                        channel.advance(plan, event, |done| {
                            let sender = &mut senders[(done.tag & ((1 << SOURCE_BITS) - 1)) as usize];
                            sender.under_way.end((done.tag >> SOURCE_BITS) as usize);
                            // It sees the end of the data with the next tick.
                            sender.tick = sender.tick.max(event + 1);
                        });
                    }
                }
            }
        }
        self.finish();
    }
}
