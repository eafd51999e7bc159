//! Accesses of blocks that hit the first level, which most do: one after the other, with everything that they need at hand.
//!
//! What is modelled is what [`super::walk`] does with such an access. Whatever is not simply a hit is left to it.

use super::lanes::{Block, Isa};
use super::level::FirstLevel;
use super::set::bring;
use crate::ledger::{LevelCounters, OwnerCounters};
use crate::run::{AccessKind, Operand};

/// Where accesses of a core go first, and where they are counted.
pub(super) struct Hits<'a> {
    pub(super) line_shift: u32,
    pub(super) data: FirstLevel<'a>,
    pub(super) fetch: Fetches<'a>,
    /// Address and bytes of the core's last fetch, if fetching the same again changes nothing: its lines hit, each in a set
    /// of its own, in a cache that only fetches touch.
    pub(super) fetched: &'a mut Option<(u64, u32)>,
    /// Of all owners and levels, and how many levels there are.
    pub(super) rows: &'a mut [LevelCounters],
    pub(super) levels: usize,
    pub(super) owners: &'a mut [OwnerCounters],
    pub(super) regions: RegionNumbers<'a>,
}

/// Where instruction fetches go.
pub(super) enum Fetches<'a> {
    /// Nowhere: they are not simulated.
    Nowhere,
    /// Where data goes.
    WithData,
    /// To a cache of their own.
    Apart(FirstLevel<'a>),
}

/// [`super::regions::Regions`] to look up known regions in.
#[derive(Clone, Copy)]
pub(super) struct RegionNumbers<'a> {
    pub(super) numbers: &'a [u16],
    pub(super) line_mask: u64,
}

impl RegionNumbers<'_> {
    #[inline(always)]
    fn shorten(self, line: u64) -> Option<u64> {
        use super::regions::REGION_SHIFT;
        let line = line & self.line_mask;
        match self.numbers.get((line >> REGION_SHIFT) as usize) {
            None | Some(0) => None,
            Some(&number) => Some(u64::from(number - 1) << REGION_SHIFT | line & ((1 << REGION_SHIFT) - 1)),
        }
    }
}

impl FirstLevel<'_> {
    /// The level's position if all lines from `first` to `last` hit.
    #[inline(always)]
    fn hits<I: Isa>(
        &mut self,
        regions: RegionNumbers<'_>,
        (first, last): (u64, u64),
        write: bool,
        owner: u32,
    ) -> Option<usize> {
        if !self.hit::<I>(regions.shorten(first)?, write, owner) {
            return None;
        }
        // What hit before one that does not is touched again with it: that changes nothing.
        for line in first + 1..=last {
            if !self.hit::<I>(regions.shorten(line)?, write, owner) {
                return None;
            }
        }
        Some(self.position)
    }

    /// Whether `line` is there; then it is most recently used, and if `write` dirty and `owner`'s. Not if its group would
    /// have to be expanded.
    #[inline(always)]
    fn hit<I: Isa>(&mut self, line: u64, write: bool, owner: u32) -> bool {
        let tag = self.tag(line);
        let at = (line & self.set_mask) as usize;
        if self.is_alike(at) {
            return !write && self.alike_holds(at, tag);
        }
        let (Some(tags), Some(owners)) = (self.tags.get_mut(at), self.owners.get_mut(at)) else {
            return false;
        };
        let front = tags.0[0];
        if front & !super::lanes::DIRTY == tag {
            if write {
                tags.0[0] = front | super::lanes::DIRTY;
                owners.0[0] = owner;
            }
            return true;
        }
        if I::find(tags, tag) == 0 {
            return false;
        }
        let (tags, owners): (&mut [Block; 1], &mut [Block; 1]) =
            (std::array::from_mut(tags), std::array::from_mut(owners));
        bring::<I, 1>(tags, owners, self.ways, tag, write, owner);
        true
    }
}

/// Simulates operands up to one that does not simply hit; returns how many.
#[inline(always)]
pub(super) fn hits<I: Isa, const BLOCKS: usize>(hits: &mut Hits<'_>, operands: &[Operand]) -> usize {
    const { assert!(BLOCKS == 1) };
    let Hits {
        line_shift,
        ref mut data,
        ref mut fetch,
        ref mut fetched,
        ref mut rows,
        levels,
        ref mut owners,
        regions,
    } = *hits;
    for (done, operand) in operands.iter().enumerate() {
        let lines = operand.lines(0, line_shift);
        let (write, owner) = (operand.kind.writes(), operand.owner);
        let position = match operand.kind {
            AccessKind::NonTemporalLoad | AccessKind::NonTemporalStore => return done,
            AccessKind::Fetch => match fetch {
                Fetches::Nowhere => continue,
                Fetches::WithData => data.hits::<I>(regions, lines, false, owner),
                Fetches::Apart(fetch) => {
                    let again = Some((operand.address, operand.bytes));
                    if **fetched == again {
                        Some(fetch.position)
                    } else {
                        let position = fetch.hits::<I>(regions, lines, false, owner);
                        let repeats = position.is_some() && lines.1 - lines.0 <= fetch.set_mask;
                        **fetched = again.filter(|_| repeats);
                        position
                    }
                }
            },
            _ => data.hits::<I>(regions, lines, write, owner),
        };
        let Some(position) = position else {
            return done;
        };
        let (first, last) = lines;
        if first != last {
            owners[owner as usize].straddles += 1;
        }
        rows[owner as usize * levels + position].accesses[operand.kind.cause() as usize] += last - first + 1;
    }
    operands.len()
}
