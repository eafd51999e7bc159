//! Lanes: the banks of a rank that wait for the same kind of command, and which of them goes first.
//!
//! A lane remembers who goes first. What joins it is compared with that; only when the first one leaves, when it is made
//! to wait for longer, or when another one comes to be ready are all of the lane's banks looked at again.

use serde::{Deserialize, Serialize};

use crate::dram::command::Command;
use crate::dram::timing::{AWAITED, LANES, Tick, TimingState, TimingTable};

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

    #[inline(always)]
    pub(super) fn from_number(number: usize) -> Self {
        Self((number % Self::COUNT) as u8)
    }

    /// From 0 on, those of row commands first.
    #[inline(always)]
    pub(super) fn number(self) -> usize {
        usize::from(self.0) % Self::COUNT
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

    // Without a branch, which would go either way.
    #[inline(always)]
    fn min(self, other: Self) -> Self {
        let whole = |first: Self| u128::from(first.tick) << 64 | u128::from(first.key);
        if whole(other) < whole(self) { other } else { self }
    }
}

#[inline(always)]
fn key(order: u64, number: usize) -> u64 {
    order << NUMBER_BITS | number as u64
}

/// What lanes are asked with.
#[derive(Clone, Copy)]
pub(super) struct Question<'a> {
    pub(super) table: &'a TimingTable,
    pub(super) timing: &'a TimingState,
    /// No row command and no column command issues before.
    pub(super) from: [Tick; 2],
}

/// The bank that goes first of several lanes and ranks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Best {
    pub(super) tick: Tick,
    /// Of those at the same tick, the smaller first.
    pub(super) order: u64,
    pub(super) rank: u16,
    pub(super) number: u8,
    pub(super) lane: LaneId,
}

impl Best {
    /// Nothing, for ever.
    pub(super) const NEVER: Self = Self {
        tick: Tick::MAX,
        order: u64::MAX,
        rank: 0,
        number: 0,
        lane: LaneId(0),
    };
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Lane {
    /// A bit each.
    banks: u64,
    /// When it was asked for, or what has joined since.
    first: First,
    /// No bank that had to wait for longer then is ready before this tick.
    late: Tick,
    /// What is remembered holds no more.
    stale: bool,
}

/// The lanes of all ranks of a channel.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Lanes {
    lanes: Vec<Lane>,
    /// By lane and bank; what a bank has that is not in the lane means nothing.
    keys: Vec<u64>,
}

impl Lanes {
    pub(super) fn new(ranks: usize) -> Self {
        let lane = Lane {
            banks: 0,
            first: First::NONE,
            late: Tick::MAX,
            stale: true,
        };
        Self {
            lanes: vec![lane; ranks * LaneId::COUNT],
            keys: vec![u64::MAX; ranks * LaneId::COUNT * LANES],
        }
    }

    /// Those of a rank.
    #[inline(always)]
    fn of_rank(&mut self, rank: usize) -> &mut [Lane; LaneId::COUNT] {
        &mut self.lanes.as_chunks_mut().0[rank]
    }

    /// The banks of a rank that are in a lane, a bit each.
    #[inline(always)]
    pub(super) fn banks(&self, rank: usize, lane: LaneId) -> u64 {
        self.lanes.as_chunks::<{ LaneId::COUNT }>().0[rank][lane.number()].banks
    }

    /// A bank is in the lane, for a request of this order; `ready` is when its own mark lets the command pass.
    #[inline(always)]
    pub(super) fn put(&mut self, rank: usize, lane: LaneId, number: usize, order: u64, ready: Tick) {
        let key = key(order, number);
        self.keys[(rank * LaneId::COUNT + lane.number()) * LANES + number] = key;
        let lane = &mut self.of_rank(rank)[lane.number()];
        lane.banks |= 1 << number;
        if lane.first.number() == number {
            lane.stale = true;
        } else {
            // Taken as late even if it passes: whoever asks looks again then.
            lane.late = lane.late.min(ready);
            lane.first = lane.first.min(First { tick: ready, key });
        }
    }

    /// A bank is not in the lane any more.
    #[inline(always)]
    pub(super) fn take(&mut self, rank: usize, lane: LaneId, number: usize) {
        let known = &mut self.of_rank(rank)[lane.number()];
        known.banks &= !(1 << number);
        known.stale |= known.first.number() == number;
    }

    /// Some of `banks` of a rank may have to wait for longer until they let a command pass, by its place in [`AWAITED`].
    #[inline(always)]
    pub(super) fn delay(&mut self, rank: usize, awaited: usize, banks: u64) {
        for lane in &mut self.of_rank(rank).as_chunks_mut::<2>().0[awaited] {
            lane.stale |= lane.banks & banks != 0;
        }
    }

    /// Any mark of a rank may have moved.
    pub(super) fn forget(&mut self, rank: usize) {
        self.of_rank(rank).iter_mut().for_each(|lane| lane.stale = true);
    }

    /// Puts which bank of a lane goes first in the place of `best`, if it goes before that. `tier` is what its order begins
    /// with. Ticks to ask from never go back.
    #[inline(always)]
    pub(super) fn ask(
        &mut self,
        Question { table, timing, from }: Question,
        (rank, lane): (usize, LaneId),
        tier: u64,
        best: &mut Best,
    ) {
        let known = &mut self.lanes.as_chunks_mut::<{ LaneId::COUNT }>().0[rank][lane.number()];
        if known.banks == 0 {
            return;
        }
        let from = from[usize::from(lane.is_column())];
        let gate = timing.rank_gate(table, lane.command(), rank, from);
        if gate > best.tick {
            return;
        }
        let keys = &self.keys.as_chunks::<LANES>().0[rank * LaneId::COUNT + lane.number()];
        let marks = timing.bank_marks(table, lane.command(), rank);
        if known.stale || known.late <= gate {
            (known.first, known.late) = look(marks, keys, gate, known.banks);
            known.stale = false;
        }
        let First { tick, key } = known.first;
        let first = First {
            tick: tick.max(gate),
            key,
        };
        debug_assert_eq!(
            first,
            look(marks, keys, gate, known.banks).0,
            "what is remembered of {lane:?} does not hold"
        );
        let order = tier | first.order();
        if first.tick < best.tick || first.tick == best.tick && order < best.order {
            *best = Best {
                tick: first.tick,
                order,
                rank: rank as u16,
                number: first.number() as u8,
                lane,
            };
        }
    }

    /// Which of `banks` of a lane goes first, if its rank lets its command pass at `gate`.
    pub(super) fn first_of(
        &self,
        (table, timing): (&TimingTable, &TimingState),
        (rank, lane): (usize, LaneId),
        gate: Tick,
        banks: u64,
    ) -> First {
        let keys = &self.keys.as_chunks::<LANES>().0[rank * LaneId::COUNT + lane.number()];
        look(timing.bank_marks(table, lane.command(), rank), keys, gate, banks).0
    }

    /// Lets a bank go by another order until it is put again.
    pub(super) fn lend_order(&mut self, rank: usize, lane: LaneId, number: usize, order: u64) {
        self.keys[(rank * LaneId::COUNT + lane.number()) * LANES + number] = key(order, number);
    }
}

/// Which of `banks` goes first, and when the first of those is ready that have to wait for longer than until `gate`.
#[inline(never)]
fn look(
    (marks, edge): (&[Tick; LANES], Tick),
    keys: &[u64; LANES],
    gate: Tick,
    mut banks: u64,
) -> (First, Tick) {
    let (mut first, mut late) = (First::NONE, Tick::MAX);
    while banks != 0 {
        let number = banks.trailing_zeros() as usize % LANES;
        banks &= banks - 1;
        let (ready, key) = (marks[number] | edge, keys[number]);
        late = late.min(if ready > gate { ready } else { Tick::MAX });
        let tick = ready.max(gate);
        first = first.min(First { tick, key });
    }
    (first, late)
}
