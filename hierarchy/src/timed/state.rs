//! What of a timed memory changes: requests on their way into the queues, under way, and done.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use serde::{Deserialize, Serialize};

use super::counts::TagCounts;
use super::library::Library;
use super::request::{MemoryCompletion, MemoryRequest, RequestKind};
use super::store::Store;
use super::tier::{LinkState, Tier};
use crate::dram::{Channel, Request, Tick};
use crate::link::Link;

/// Everything about a memory that changes; but a library's state, which is its own.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct State {
    pub(super) now_ps: u64,
    /// How far a library's time has passed.
    pub(super) library_ps: u64,
    /// Of all memories.
    pub(super) channels: Vec<Channel>,
    /// By memory.
    pub(super) links: Vec<LinkState>,
    /// By channel, of which a library has one: bursts of accepted requests that are on their way to its queue, or that it has no
    /// room for.
    pub(super) waiting: Vec<VecDeque<Waiting>>,
    pub(super) waiting_bursts: u64,
    /// Requests of which bursts are under way, by the tag of their bursts.
    pub(super) under_way: Vec<UnderWay>,
    pub(super) free: Vec<u32>,
    /// Requests whose end is known, by time; the number keeps those of one time in order.
    pub(super) ends: BinaryHeap<Reverse<(u64, u64, MemoryCompletion)>>,
    pub(super) ended: u64,
    pub(super) outstanding: u64,
    /// A request was refused and none was accepted since.
    pub(super) refused: bool,
    pub(super) refusals: u64,
    pub(super) tags: Vec<TagCounts>,
    pub(super) store: Store,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct Waiting {
    /// When it is before the queue, in ticks of the DRAM.
    pub(super) ready: Tick,
    pub(super) burst: Request,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct UnderWay {
    pub(super) id: u64,
    pub(super) accepted_ps: u64,
    /// In ticks of the DRAM; of a library, in picoseconds.
    pub(super) finish: Tick,
    pub(super) bursts: u32,
    pub(super) bytes: u32,
    pub(super) tag: u32,
    pub(super) kind: RequestKind,
}

impl State {
    /// Takes a request as bursts, if its first burst finds room.
    pub(super) fn offer(
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
        let slot = self.next_slot();
        let burst_at = |burst| burst_of(request, slot, burst * burst_bytes);
        if !send(&mut self.channels, &burst_at(first)) {
            return false;
        }
        for burst in first + 1..=last {
            let channel = channel_of(burst);
            let burst = burst_at(burst);
            if !self.waiting[channel].is_empty() || !send(&mut self.channels, &burst) {
                self.waiting[channel].push_back(Waiting { ready: 0, burst });
                self.waiting_bursts += 1;
            }
        }
        self.begin(request, last - first + 1, now_ps);
        true
    }

    /// Takes a request as bursts that cross a link, if not too many wait at its other end.
    pub(super) fn offer_over(
        &mut self,
        link: &Link,
        place: usize,
        tier: &Tier,
        request: &MemoryRequest,
        now_ps: u64,
    ) -> bool {
        let burst_bytes = u64::from(tier.plan.device.burst_bytes);
        let first = request.address / burst_bytes;
        let last = (request.address + u64::from(request.bytes - 1)) / burst_bytes;
        let channel_of = |burst: u64| tier.locate(burst * burst_bytes).0;
        if (first..=last).any(|burst| self.waiting[channel_of(burst)].len() >= tier.most_waiting()) {
            return false;
        }
        let arrival_ps = tier.arrival_ps(link, &mut self.links[place], request, now_ps);
        let ready = tier.clock.next_at(arrival_ps);
        let slot = self.next_slot();
        for burst in first..=last {
            let channel = channel_of(burst);
            let burst = burst_of(request, slot, burst * burst_bytes);
            self.waiting[channel].push_back(Waiting { ready, burst });
            self.waiting_bursts += 1;
        }
        self.begin(request, last - first + 1, now_ps);
        true
    }

    /// The slot of the next request.
    pub(super) fn next_slot(&self) -> u32 {
        self.free.last().copied().unwrap_or(self.under_way.len() as u32)
    }

    /// The request of the next slot is under way.
    pub(super) fn begin(&mut self, request: &MemoryRequest, bursts: u64, now_ps: u64) {
        let slot = self.next_slot();
        let under_way = UnderWay {
            id: request.id,
            accepted_ps: now_ps,
            finish: 0,
            bursts: bursts as u32,
            bytes: request.bytes,
            tag: request.tag,
            kind: request.kind,
        };
        if self.free.pop().is_some() {
            self.under_way[slot as usize] = under_way;
        } else {
            self.under_way.push(under_way);
        }
    }

    /// Sends the bursts that wait, as soon as they are before the queue and there is room for each.
    pub(super) fn fill_all_queues(&mut self, tiers: &[Tier], until_ps: u64) {
        if self.waiting_bursts > 0 {
            for tier in tiers {
                self.fill_queues(tier, tier.clock.begun_at(until_ps));
            }
        }
    }

    pub(super) fn fill_queues(&mut self, tier: &Tier, until: Tick) {
        let (range, plan) = (tier.channels.clone(), &tier.plan);
        for (channel, waiting) in self.channels[range.clone()]
            .iter_mut()
            .zip(&mut self.waiting[range])
        {
            while let Some(Waiting { ready, burst }) = waiting.front() {
                let now = channel.now().max(*ready);
                if now > until {
                    break;
                }
                if channel.try_send(plan, burst, tier.locate(burst.address).1, now) {
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
    pub(super) fn pass_in_library(&mut self, library: &mut Library, until_ps: u64, latency_ps: u64) {
        let mut reached_ps = self.library_ps;
        loop {
            while let Some(Waiting { burst, .. }) = self.waiting[0].front()
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
    pub(super) fn burst_done(
        &mut self,
        slot: u32,
        finish: u64,
        latency_ps: u64,
        end: impl FnOnce(u64) -> u64,
    ) {
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
            ..
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

    pub(super) fn end(&mut self, completion: MemoryCompletion) {
        self.ended += 1;
        self.ends
            .push(Reverse((completion.finished_ps, self.ended, completion)));
    }

    #[inline]
    pub(super) fn tag(&mut self, tag: u32) -> &mut TagCounts {
        let index = tag as usize;
        if index >= self.tags.len() {
            self.tags.resize(index + 1, TagCounts::default());
        }
        &mut self.tags[index]
    }
}

fn burst_of(request: &MemoryRequest, slot: u32, address: u64) -> Request {
    Request {
        tag: slot.into(),
        address,
        write: request.kind.writes(),
        source: request.core as u16,
    }
}
