//! How a request comes in: answered by what is queued, or queued itself.

use super::Channel;
use super::bank::CLOSED;
use super::choose::Holds;
use super::lane::{Kind, LaneId};
use super::plan::Plan;
use super::queue::{NONE, Slot};
use super::request::{Completion, Request};
use crate::dram::mapping::Location;
use crate::dram::timing::Tick;

impl Channel {
    /// Offers a request at `tick`, or at the first tick that is not decided yet. False if its queue is full: it was
    /// not taken.
    #[inline]
    pub fn try_send(&mut self, plan: &Plan, request: &Request, location: Location, tick: Tick) -> bool {
        self.decide_until(plan, tick.saturating_sub(1));
        let has_room = self.has_room(plan, request.write);
        if !has_room && !self.has_writes() {
            return false;
        }
        let buffered = self.buffers(plan, location);
        if !buffered && !has_room {
            return false;
        }
        self.accept(plan, request, location, tick, buffered);
        true
    }

    /// Offers a request at `tick` and, if it is not taken then, as soon as there is room; returns when it was offered last.
    #[inline]
    pub(crate) fn send(
        &mut self,
        plan: &Plan,
        request: &Request,
        location: Location,
        mut tick: Tick,
    ) -> Tick {
        self.decide_until(plan, tick.saturating_sub(1));
        let has_room = self.has_room(plan, request.write);
        let buffered = (has_room || self.has_writes()) && self.buffers(plan, location);
        // No queued write answers it or takes it in, nor will one: only room helps.
        if !buffered && !has_room {
            tick = self.make_room(plan, request.write);
        }
        self.accept(plan, request, location, tick, buffered);
        tick
    }

    /// Whether a queued write goes there.
    #[inline(always)]
    fn buffers(&self, plan: &Plan, location: Location) -> bool {
        let row = location.row as u32 & (plan.device.rows - 1);
        let writes = &self.banks[location.bank as usize].lists[1];
        let bank = location.bank as u16;
        self.queue.holds_write(writes, bank, row, location.column)
    }

    /// Takes a request, `buffered` by a queued write or into the room that there is.
    #[inline(always)]
    fn accept(&mut self, plan: &Plan, request: &Request, location: Location, tick: Tick, buffered: bool) {
        let tick = tick.max(self.now);
        let bank = location.bank as usize;
        let (row, column) = (location.row as u32 & (plan.device.rows - 1), location.column);
        let direction = usize::from(request.write);
        let Request {
            tag, source, write, ..
        } = *request;
        self.now = tick;
        self.statistics.requests[direction] += 1;
        if write {
            self.statistics.source(source).writes += 1;
        }
        if buffered {
            // The queued write holds the data, or takes it.
            let count = if write {
                &mut self.statistics.merged_writes
            } else {
                &mut self.statistics.forwarded_reads
            };
            *count += 1;
            let finish = tick + plan.device.ticks_per_clock;
            self.end(
                Completion {
                    tag,
                    source,
                    write,
                    arrival: tick,
                    finish,
                    outcome: None,
                },
                0,
            );
            return;
        }
        let slot = Slot {
            tag,
            arrival: tick,
            row,
            column,
            bank: bank as u16,
            source,
            write,
            order: Self::standing(plan, &self.blacklist, source),
            ..Slot::default()
        };
        let list = &mut self.banks[bank].lists[direction];
        let slot = self.queue.push(list, slot);
        let is_hit = self.banks[bank].open_row == row;
        let list = &self.banks[bank].lists[direction];
        let place = if is_hit { list.hit } else { list.other };
        if place == NONE || plan.by_source && self.queue[slot].order < self.queue[place].order {
            let list = &mut self.banks[bank].lists[direction];
            *(if is_hit { &mut list.hit } else { &mut list.other }) = slot;
            let kind = match self.banks[bank].open_row {
                _ if is_hit => Kind::Hit,
                CLOSED => Kind::Closed,
                _ => Kind::Conflict,
            };
            self.enter(plan, bank, LaneId::new(kind, direction));
            if !self.reconsider(plan, slot) {
                self.holds = Holds::Nothing;
            }
        } else if self.direction_may_change(plan) {
            self.holds = Holds::Nothing;
        }
    }

    pub(super) fn direction_may_change(&self, plan: &Plan) -> bool {
        let [reads, writes] = self.queue.lengths;
        if self.writing != self.next_writing {
            // Chosen for what was queued before.
            return true;
        }
        if self.writing {
            reads != 0 && writes < plan.low_watermark
        } else {
            writes > plan.high_watermark || reads == 0
        }
    }
}
