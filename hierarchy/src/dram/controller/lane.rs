//! Lanes: the banks of a rank that wait for the same kind of command, and which of them goes first.
//!
//! A lane remembers who goes first. What joins it is compared with that; only when the first one leaves, when it is made
//! to wait for longer, or when another one comes to be ready are all of the lane's banks looked at again. Which of two goes
//! first is anyone's guess, so that is chosen without branches.

use std::hint::select_unpredictable;

use serde::{Deserialize, Serialize};

use super::bank::bits;
use crate::dram::command::Command;
use crate::dram::timing::{AWAITED, LANES, RankTiming, Tick};

/// What a bank waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// An activate: closed, and with a request.
    Closed,
    /// A precharge: open, and with a request to another row.
    Conflict,
    /// A column command, of the request that the row was opened for.
    Active,
    /// A column command, of another request to the open row.
    Hit,
}

/// A lane of a rank.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LaneId(u8);

impl LaneId {
    /// How many a rank has: two for each of the commands that requests wait for, side by side.
    pub(super) const COUNT: usize = 2 * AWAITED.len();

    /// For requests of a direction.
    #[inline(always)]
    pub(super) const fn new(kind: Kind, direction: usize) -> Self {
        Self(match kind {
            Kind::Closed => direction as u8,
            Kind::Conflict => 2 + direction as u8,
            Kind::Active => 4 + 2 * direction as u8,
            Kind::Hit => 5 + 2 * direction as u8,
        })
    }

    /// From 0 on, those of row commands first.
    #[inline(always)]
    pub(super) fn number(self) -> usize {
        usize::from(self.0) % Self::COUNT
    }

    /// What its banks wait for.
    #[inline(always)]
    pub(super) fn kind(self) -> Kind {
        match self.0 {
            0 | 1 => Kind::Closed,
            2 | 3 => Kind::Conflict,
            4 | 6 => Kind::Active,
            _ => Kind::Hit,
        }
    }

    /// Of its requests.
    #[inline(always)]
    pub(super) fn direction(self) -> usize {
        usize::from(if self.is_column() {
            self.0 >> 1 & 1
        } else {
            self.0 & 1
        })
    }

    /// Whether it waits for a column command.
    #[inline(always)]
    pub(super) fn is_column(self) -> bool {
        self.0 >= 4
    }

    /// The command that it waits for.
    #[inline(always)]
    pub(super) fn command(self) -> Command {
        AWAITED[self.number() / 2]
    }
}

/// The bank of a lane that its command can go to first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct First {
    /// When it passes; `Tick::MAX` for no bank.
    pub(super) tick: Tick,
    /// By what it goes before others that pass then, the smaller first, and its number.
    key: u64,
}

const NUMBER_BITS: u32 = LANES.ilog2();

impl First {
    const NONE: Self = Self {
        tick: Tick::MAX,
        key: u64::MAX,
    };

    /// By what it goes before others that pass then: the smaller first.
    #[inline(always)]
    pub(super) fn order(&self) -> u64 {
        self.key >> NUMBER_BITS
    }

    /// Its number in the rank.
    #[inline(always)]
    pub(super) fn number(&self) -> usize {
        self.key as usize % LANES
    }

    #[inline(always)]
    fn min(self, other: Self) -> Self {
        let whole = |first: Self| u128::from(first.tick) << 64 | u128::from(first.key);
        let goes_first = whole(other) < whole(self);
        Self {
            tick: select_unpredictable(goes_first, other.tick, self.tick),
            key: select_unpredictable(goes_first, other.key, self.key),
        }
    }
}

#[inline(always)]
fn key(order: u64, number: usize) -> u64 {
    order << NUMBER_BITS | number as u64
}

/// The bank that goes first of several lanes and ranks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Best {
    pub(super) tick: Tick,
    /// Of those at the same tick, the smaller first.
    pub(super) order: u64,
    /// Its rank, lane and number.
    place: u32,
}

impl Best {
    /// Nothing, for ever.
    pub(super) const NEVER: Self = Self {
        tick: Tick::MAX,
        order: u64::MAX,
        place: 0,
    };

    #[inline(always)]
    fn whole(&self) -> u128 {
        u128::from(self.tick) << 64 | u128::from(self.order)
    }

    #[inline(always)]
    pub(super) fn rank(&self) -> usize {
        (self.place >> 16) as usize
    }

    #[inline(always)]
    pub(super) fn lane(&self) -> LaneId {
        LaneId((self.place >> 8) as u8)
    }

    /// The bank's number in its rank.
    #[inline(always)]
    pub(super) fn number(&self) -> usize {
        self.place as usize % LANES
    }
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Lane {
    /// A bit each.
    banks: u64,
    /// As of when it was asked for last, and of what has joined since.
    first: First,
    /// No bank that had to wait for longer then is ready before this tick; 0 when what is remembered holds no more.
    late: Tick,
    /// The tick from which it was asked for last. Those never go back, so all that is ready by then stays so.
    asked: Tick,
}

/// The lanes of one rank.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct RankLanes {
    lanes: [Lane; LaneId::COUNT],
    /// By lane and bank, a half of the banks each; what a bank has that is not in the lane means nothing.
    keys: [[u64; LANES / 2]; 2 * LaneId::COUNT],
}

impl RankLanes {
    /// Nobody waits.
    pub(super) const EMPTY: Self = Self {
        lanes: [Lane {
            banks: 0,
            first: First::NONE,
            late: 0,
            asked: 0,
        }; LaneId::COUNT],
        keys: [[u64::MAX; LANES / 2]; 2 * LaneId::COUNT],
    };

    /// The banks that are in a lane, a bit each.
    #[inline(always)]
    pub(super) fn banks(&self, lane: LaneId) -> u64 {
        self.lanes[lane.number()].banks
    }

    #[inline(always)]
    fn keys(&self, lane: LaneId) -> &[u64; LANES] {
        let keys: &[_; LANES * LaneId::COUNT] = self.keys.as_flattened().try_into().expect("two halves each");
        &keys.as_chunks().0[lane.number()]
    }

    #[inline(always)]
    fn key_mut(&mut self, lane: LaneId, number: usize) -> &mut u64 {
        let keys = self.keys.as_flattened_mut();
        &mut keys[lane.number() * LANES + number % LANES]
    }
}

impl RankLanes {
    /// A bank is in the lane, for a request of this order; `ready` is when its own mark lets the command pass.
    #[inline(always)]
    pub(super) fn put(&mut self, lane: LaneId, number: usize, order: u64, ready: Tick) {
        let key = key(order, number);
        *self.key_mut(lane, number) = key;
        let lane = &mut self.lanes[lane.number()];
        lane.banks |= 1 << number;
        if lane.first.number() == number {
            lane.late = 0;
        } else {
            let waits = ready > lane.asked;
            let tick = select_unpredictable(waits, ready, lane.asked);
            lane.late = lane.late.min(select_unpredictable(waits, ready, Tick::MAX));
            lane.first = lane.first.min(First { tick, key });
        }
    }

    /// A bank is not in the lane, or not any more.
    #[inline(always)]
    pub(super) fn take(&mut self, lane: LaneId, number: usize) {
        let lane = &mut self.lanes[lane.number()];
        lane.banks &= !(1 << number);
        if lane.first.number() == number {
            lane.late = 0;
        }
    }

    /// Some of `banks` may have to wait for longer until they let commands pass: of [`AWAITED`], a bit each.
    #[inline(always)]
    pub(super) fn delay(&mut self, awaited: u8, banks: u64) {
        for (place, lanes) in self.lanes.as_chunks_mut::<2>().0.iter_mut().enumerate() {
            if awaited >> place & 1 == 1 {
                for lane in lanes {
                    // Others go behind the first one all the more.
                    if banks >> lane.first.number() & 1 == 1 {
                        lane.late = 0;
                    }
                }
            }
        }
    }

    /// Any mark may have moved.
    pub(super) fn forget(&mut self) {
        self.lanes.iter_mut().for_each(|lane| lane.late = 0);
    }

    /// Puts which bank of a lane goes first in the place of `best`, if it goes before that. No row command and no column
    /// command issues before the ticks `from`, which never go back; `tier` is what its order begins with.
    #[inline(always)]
    pub(super) fn ask(
        &mut self,
        timing: RankTiming,
        (rank, lane): (usize, LaneId),
        from: [Tick; 2],
        tier: u64,
        best: &mut Best,
    ) {
        let keys: &[_; LANES * LaneId::COUNT] = self.keys.as_flattened().try_into().expect("two halves each");
        let keys = &keys.as_chunks().0[lane.number()];
        let known = &mut self.lanes[lane.number()];
        if known.banks == 0 {
            return;
        }
        let gate = timing.gate(lane.command(), from[usize::from(lane.is_column())]);
        if gate > best.tick {
            return;
        }
        if known.late <= gate {
            known.look(timing.banks(lane.command()), keys, gate);
        }
        known.asked = gate;
        known.first.tick = known.first.tick.max(gate);
        #[cfg(debug_assertions)]
        {
            let mut again = *known;
            again.look(timing.banks(lane.command()), keys, gate);
            assert_eq!(
                known.first, again.first,
                "what is remembered of {lane:?} does not hold"
            );
        }
        let First { tick, key } = known.first;
        let found = Best {
            tick,
            order: tier | key >> NUMBER_BITS,
            place: (rank as u32) << 16 | u32::from(lane.0) << 8 | known.first.number() as u32,
        };
        let goes_first = found.whole() < best.whole();
        best.tick = select_unpredictable(goes_first, found.tick, best.tick);
        best.order = select_unpredictable(goes_first, found.order, best.order);
        best.place = select_unpredictable(goes_first, found.place, best.place);
    }

    /// Which of `banks` of a lane goes first, if its rank lets its command pass at `gate`.
    pub(super) fn first_of(&self, timing: RankTiming, lane: LaneId, gate: Tick, banks: u64) -> First {
        let mut among = self.lanes[lane.number()];
        among.banks = banks;
        among.look(timing.banks(lane.command()), self.keys(lane), gate);
        among.first
    }

    /// Lets a bank go by another order until it is put again.
    pub(super) fn lend_order(&mut self, lane: LaneId, number: usize, order: u64) {
        *self.key_mut(lane, number) = key(order, number);
    }
}

impl Lane {
    /// Which bank goes first, and when the first of those is ready that have to wait for longer than until `gate`.
    #[inline(never)]
    fn look(&mut self, (marks, edge): (&[Tick; LANES], Tick), keys: &[u64; LANES], gate: Tick) {
        // The first of those that are ready, and when the others are.
        let mut key = u64::MAX;
        let mut late = Tick::MAX;
        for number in bits(self.banks) {
            let number = number % LANES;
            let ready = marks[number] | edge;
            let waits = ready > gate;
            let ready_key = select_unpredictable(waits, u64::MAX, keys[number]);
            let ready_late = select_unpredictable(waits, ready, Tick::MAX);
            key = select_unpredictable(ready_key < key, ready_key, key);
            late = select_unpredictable(ready_late < late, ready_late, late);
        }
        let mut tick = gate;
        if key == u64::MAX {
            tick = late;
            for number in bits(self.banks) {
                let number = number % LANES;
                let is_first = marks[number] | edge == late;
                key = key.min(select_unpredictable(is_first, keys[number], u64::MAX));
            }
        }
        self.first = First { tick, key };
        self.late = late;
    }
}
