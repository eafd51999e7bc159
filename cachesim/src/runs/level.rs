//! One cache of the fast path: sets in groups of 16 that are one set for as long as they are alike.
//!
//! Sixteen neighbouring sets form a group. While they hold the same tags in the same order, dirty alike and of the same
//! writers, the group is *uniform*: one set stands for all, and an operation on 16 neighbouring lines is one set
//! operation. An operation on some of the lines is *pending* on top of the uniform set until the rest of them
//! follows; whatever else comes *expands* the group to 16 sets. A group is uniform again when enough operations on
//! all of its sets have made them alike.
//!
//! The tag of a line is its upper bits plus one.

use super::lanes::{Best, Block, DIRTY, LANES, prefetch};
use super::regions::Regions;
use super::set::{ALL, Change, GroupMut, Mask, Operation, Victims, Writers};
use crate::cache::{Outcome, Victim};
use crate::set_index::SetIndex;

/// Most ways of a set: two blocks.
pub(crate) const MOST_WAYS: u32 = 2 * LANES as u32;

const UNIFORM: u8 = 0;
const PENDING: u8 = u8::MAX;
const EXPANDED: u8 = 1; // up to PENDING - 1: operations on all sets since

/// An operation on some of the lines of a group, not yet applied to its uniform set.
#[derive(Clone, Copy, Debug, Default)]
struct Pending {
    tag: u32,
    owner: u32,
    mask: Mask,
    write: bool,
}

/// One instance.
#[derive(Clone, Debug)]
pub(crate) struct Level {
    best: Best,
    ways: usize,
    // Blocks of a set: 1 or 2.
    blocks: usize,
    // Of group numbers.
    index: SetIndex,
    tag_shift: u32,
    states: Vec<u8>,
    pending: Vec<Pending>,
    uniform: Vec<Block>,
    uniform_owners: Vec<Block>,
    tags: Vec<Block>,
    owners: Vec<Block>,
    /// What the last operation on a group replaced.
    pub(crate) victims: Victims,
}

/// A cache as [`super::hits`] sees it: sets of one block, as many as a power of two.
pub(super) struct FirstLevel<'a> {
    /// Position in the configuration.
    pub(super) position: usize,
    pub(super) ways: usize,
    pub(super) set_mask: u64,
    tag_shift: u32,
    states: &'a [u8],
    pending: &'a [Pending],
    uniform: &'a [Block],
    /// By set.
    pub(super) tags: &'a mut [Block],
    /// By set.
    pub(super) owners: &'a mut [Block],
}

impl FirstLevel<'_> {
    #[inline(always)]
    pub(super) fn tag(&self, line: u64) -> u32 {
        (line >> self.tag_shift) as u32 + 1
    }

    /// Whether the set's group is uniform or pending.
    #[inline(always)]
    pub(super) fn is_alike(&self, set: usize) -> bool {
        self.states
            .get(set / LANES)
            .is_some_and(|state| matches!(*state, UNIFORM | PENDING))
    }

    /// Whether a set of a uniform or pending group has `tag` most recently used.
    #[inline(never)]
    pub(super) fn alike_holds(&self, set: usize, tag: u32) -> bool {
        let group = set / LANES;
        let pending = &self.pending[group];
        if self.states[group] == PENDING && pending.mask >> (set % LANES) & 1 != 0 {
            pending.tag == tag
        } else {
            self.uniform[group].0[0] & !DIRTY == tag
        }
    }
}

#[inline(always)]
fn set<const BLOCKS: usize>(blocks: &mut [Block], at: usize) -> &mut [Block; BLOCKS] {
    blocks[at * BLOCKS..]
        .first_chunk_mut()
        .expect("a set has its blocks")
}

impl Level {
    pub(crate) fn new(best: Best, sets: u64, ways: u32) -> Self {
        let groups = sets as usize / LANES;
        let blocks = (ways as usize).div_ceil(LANES);
        Self {
            best,
            ways: ways as usize,
            blocks,
            index: SetIndex::new(sets / LANES as u64),
            tag_shift: sets.trailing_zeros(),
            states: vec![UNIFORM; groups],
            pending: vec![Pending::default(); groups],
            uniform: vec![Block::ZERO; groups * blocks],
            uniform_owners: vec![Block::ZERO; groups * blocks],
            tags: vec![Block::ZERO; groups * LANES * blocks],
            owners: vec![Block::ZERO; groups * LANES * blocks],
            victims: Victims::NONE,
        }
    }

    #[inline(always)]
    fn tag(&self, line: u64) -> u32 {
        (line >> self.tag_shift) as u32 + 1
    }

    /// The line of a tag whose group, and place in it, is that of `neighbour`.
    #[inline(always)]
    pub(crate) fn line(&self, tag: u32, neighbour: u64) -> u64 {
        let low = (1u64 << self.tag_shift) - 1;
        u64::from((tag & !DIRTY) - 1) << self.tag_shift | neighbour & low
    }

    #[inline(always)]
    fn group(&self, line: u64, regions: &Regions) -> usize {
        match self.index {
            SetIndex::Mask(mask) => ((line / LANES as u64) & mask) as usize,
            index => index.of(regions.line(line) / LANES as u64),
        }
    }

    /// For blocks whose accesses mostly hit here; none if sets are larger than a block or no power of two.
    #[inline(always)]
    pub(super) fn first_level(&mut self, position: usize) -> Option<FirstLevel<'_>> {
        let SetIndex::Mask(group_mask) = self.index else {
            return None;
        };
        (self.blocks == 1).then(|| FirstLevel {
            position,
            ways: self.ways,
            set_mask: group_mask * LANES as u64 + LANES as u64 - 1,
            tag_shift: self.tag_shift,
            states: &self.states,
            pending: &self.pending,
            uniform: &self.uniform,
            tags: &mut self.tags,
            owners: &mut self.owners,
        })
    }

    /// Asks for the set of a line, which will be looked up soon.
    #[inline(always)]
    pub(crate) fn prefetch(&self, line: u64, regions: &Regions) {
        let group = self.group(line, regions);
        if !matches!(self.states[group], UNIFORM | PENDING) {
            let at = (group * LANES + line as usize % LANES) * self.blocks;
            prefetch(&self.tags[at]);
            prefetch(&self.tags[at + self.blocks - 1]);
        }
    }

    /// Looks one line up; on a miss takes it in.
    #[inline(always)]
    pub(crate) fn touch(&mut self, line: u64, write: bool, owner: u32, regions: &Regions) -> Outcome {
        if self.blocks == 1 {
            self.touch_in::<1>(line, write, owner, regions)
        } else {
            self.touch_in::<2>(line, write, owner, regions)
        }
    }

    #[inline(always)]
    fn touch_in<const BLOCKS: usize>(
        &mut self,
        line: u64,
        write: bool,
        owner: u32,
        regions: &Regions,
    ) -> Outcome {
        let group = self.group(line, regions);
        let lane = line as usize % LANES;
        let state = self.states[group];
        if state == UNIFORM || state == PENDING {
            return self.touch_alike::<BLOCKS>(line, write, owner, regions);
        }
        let tag = self.tag(line);
        let at = group * LANES + lane;
        let front = self.tags[at * BLOCKS].0[0];
        if front & !DIRTY == tag {
            if write {
                self.tags[at * BLOCKS].0[0] = front | DIRTY;
                self.owners[at * BLOCKS].0[0] = owner;
            }
            return Outcome::Hit;
        }
        let change = self.bring::<BLOCKS>(at, tag, write, owner);
        if change.is_hit() {
            Outcome::Hit
        } else if change.replaced & DIRTY != 0 {
            Outcome::MissDirty(Victim {
                line: self.line(change.replaced, line),
                owner: change.owner,
            })
        } else {
            Outcome::Miss
        }
    }

    #[inline(never)]
    fn touch_alike<const BLOCKS: usize>(
        &mut self,
        line: u64,
        write: bool,
        owner: u32,
        regions: &Regions,
    ) -> Outcome {
        let group = self.group(line, regions);
        let touched = 1 << (line as usize % LANES);
        let tag = self.tag(line);
        let operation = Operation {
            touched,
            written: if write { touched } else { 0 },
            writers: Writers::One(owner),
        };
        let missed = self.alike::<BLOCKS>(group, tag, operation);
        match self.victims.take() {
            _ if missed == 0 => Outcome::Hit,
            None => Outcome::Miss,
            Some((_, tag, owner)) => Outcome::MissDirty(Victim {
                line: self.line(tag, line),
                owner,
            }),
        }
    }

    #[inline(always)]
    fn bring<const BLOCKS: usize>(&mut self, at: usize, tag: u32, write: bool, owner: u32) -> Change {
        let (tags, owners) = (set(&mut self.tags, at), set(&mut self.owners, at));
        self.best
            .bring::<BLOCKS>(tags, owners, self.ways, tag, write, owner)
    }

    /// Looks up lines of the group that starts at `line`; takes those in that miss. Returns them; `victims` are what they
    /// replaced.
    #[inline(always)]
    pub(crate) fn touch_group(&mut self, line: u64, operation: Operation<'_>, regions: &Regions) -> Mask {
        let group = self.group(line, regions);
        let tag = self.tag(line);
        match (self.states[group], self.blocks) {
            (UNIFORM | PENDING, 1) => self.alike::<1>(group, tag, operation),
            (UNIFORM | PENDING, _) => self.alike::<2>(group, tag, operation),
            (_, 1) => self.one_by_one::<1>(group, tag, operation),
            _ => self.one_by_one::<2>(group, tag, operation),
        }
    }

    /// An operation on a group that is uniform, or was but for a pending operation.
    #[inline(always)]
    fn alike<const BLOCKS: usize>(&mut self, group: usize, tag: u32, operation: Operation<'_>) -> Mask {
        let Operation {
            touched,
            written,
            writers,
        } = operation;
        let Writers::One(owner) = writers else {
            return self.expanded::<BLOCKS>(group, tag, operation);
        };
        let write = written != 0;
        let homogeneous = !write || written == touched;
        if self.states[group] == UNIFORM {
            if homogeneous && touched == ALL {
                return self.bring_all::<BLOCKS>(group, tag, ALL, write, owner);
            }
            if self.uniform[group * BLOCKS].0[0] & !DIRTY == tag && !write {
                self.victims.dirty = 0;
                return 0;
            }
            if homogeneous {
                self.pending[group] = Pending {
                    tag,
                    owner,
                    mask: touched,
                    write,
                };
                self.states[group] = PENDING;
                return self.peek::<BLOCKS>(group, tag, touched);
            }
        } else {
            let pending = &mut self.pending[group];
            let again = pending.tag == tag;
            let more = touched & !pending.mask;
            if again && homogeneous && write == pending.write && (!write || owner == pending.owner) {
                pending.mask |= more;
                if pending.mask == ALL {
                    self.states[group] = UNIFORM;
                    return self.bring_all::<BLOCKS>(group, tag, more, write, owner);
                }
                return self.peek::<BLOCKS>(group, tag, more);
            }
            if again && !write && more == 0 {
                self.victims.dirty = 0;
                return 0;
            }
        }
        self.expanded::<BLOCKS>(group, tag, operation)
    }

    #[inline(always)]
    fn bring_all<const BLOCKS: usize>(
        &mut self,
        group: usize,
        tag: u32,
        counted: Mask,
        write: bool,
        owner: u32,
    ) -> Mask {
        let (tags, owners) = (
            set(&mut self.uniform, group),
            set(&mut self.uniform_owners, group),
        );
        let change = self
            .best
            .bring::<BLOCKS>(tags, owners, self.ways, tag, write, owner);
        if change.is_hit() {
            self.victims.dirty = 0;
            0
        } else {
            self.victims.all(counted, change.replaced, change.owner);
            counted
        }
    }

    /// What the uniform set would answer.
    #[inline(always)]
    fn peek<const BLOCKS: usize>(&mut self, group: usize, tag: u32, lanes: Mask) -> Mask {
        let tags: &mut [Block; BLOCKS] = set(&mut self.uniform, group);
        if self.best.holds::<BLOCKS>(tags, tag) {
            self.victims.dirty = 0;
            return 0;
        }
        let last = self.ways - 1;
        let replaced = tags[last / LANES].0[last % LANES];
        let owners: &mut [Block; BLOCKS] = set(&mut self.uniform_owners, group);
        self.victims
            .all(lanes, replaced, owners[last / LANES].0[last % LANES]);
        lanes
    }

    #[inline(never)]
    fn expanded<const BLOCKS: usize>(&mut self, group: usize, tag: u32, operation: Operation<'_>) -> Mask {
        self.expand::<BLOCKS>(group);
        self.one_by_one::<BLOCKS>(group, tag, operation)
    }

    #[inline(always)]
    fn expand<const BLOCKS: usize>(&mut self, group: usize) {
        let tags: [Block; BLOCKS] = *set(&mut self.uniform, group);
        let owners: [Block; BLOCKS] = *set(&mut self.uniform_owners, group);
        let dirty = tags
            .iter()
            .any(|block| block.0.iter().any(|word| word & DIRTY != 0));
        for lane in 0..LANES {
            *set(&mut self.tags, group * LANES + lane) = tags;
            if dirty {
                *set(&mut self.owners, group * LANES + lane) = owners;
            }
        }
        let state = std::mem::replace(&mut self.states[group], EXPANDED);
        if state == PENDING {
            let pending = self.pending[group];
            let mut rest = pending.mask;
            while rest != 0 {
                let at = group * LANES + rest.trailing_zeros() as usize;
                rest &= rest - 1;
                self.bring::<BLOCKS>(at, pending.tag, pending.write, pending.owner);
            }
        }
    }

    #[inline(always)]
    fn one_by_one<const BLOCKS: usize>(&mut self, group: usize, tag: u32, operation: Operation<'_>) -> Mask {
        let range = group * LANES * BLOCKS..(group + 1) * LANES * BLOCKS;
        let mut sets = GroupMut {
            tags: &mut self.tags[range.clone()],
            owners: &mut self.owners[range],
            ways: self.ways,
        };
        let missed = self
            .best
            .bring_each::<BLOCKS>(&mut sets, tag, operation, &mut self.victims);
        if operation.touched == ALL && (operation.written == 0 || operation.written == ALL) {
            let operations = &mut self.states[group];
            *operations += 1;
            if usize::from(*operations) > self.ways + 1 {
                self.try_uniform::<BLOCKS>(group);
            }
        }
        missed
    }

    #[inline(never)]
    fn try_uniform<const BLOCKS: usize>(&mut self, group: usize) {
        self.states[group] = EXPANDED;
        let at = group * LANES;
        let first: [Block; BLOCKS] = *set(&mut self.tags, at);
        for lane in 1..LANES {
            if *set::<BLOCKS>(&mut self.tags, at + lane) != first {
                return;
            }
        }
        let owners: [Block; BLOCKS] = *set(&mut self.owners, at);
        for way in 0..self.ways {
            let (block, word) = (way / LANES, way % LANES);
            if first[block].0[word] & DIRTY != 0 {
                let owner = owners[block].0[word];
                if (1..LANES).any(|lane| self.owners[(at + lane) * BLOCKS + block].0[word] != owner) {
                    return;
                }
            }
        }
        *set(&mut self.uniform, group) = first;
        *set(&mut self.uniform_owners, group) = owners;
        self.states[group] = UNIFORM;
    }

    /// The instruction set that it uses.
    #[inline(always)]
    pub(crate) fn best(&self) -> Best {
        self.best
    }

    /// Whether `line` is present, or may be: only a set's first block is looked at.
    #[inline(always)]
    pub(crate) fn may_hold(&self, line: u64, regions: &Regions) -> bool {
        let group = self.group(line, regions);
        if matches!(self.states[group], UNIFORM | PENDING) {
            return false;
        }
        let at = (group * LANES + line as usize % LANES) * self.blocks;
        self.best
            .holds::<1>(std::array::from_ref(&self.tags[at]), self.tag(line))
    }

    /// Whether `line` is present, without touching it.
    pub(crate) fn contains(&self, line: u64, regions: &Regions) -> bool {
        let set = self.set(self.group(line, regions) * LANES + line as usize % LANES);
        set.iter().any(|way| way.tag & !DIRTY == self.tag(line))
    }

    pub(crate) fn sets(&self) -> usize {
        self.states.len() * LANES
    }

    /// The ways in use of a set, most recently used first.
    pub(crate) fn set(&self, number: usize) -> Vec<Way> {
        let group = number / LANES;
        let read = |tags: &[Block], owners: &[Block], at: usize| {
            let words = |blocks: &[Block]| -> Vec<u32> {
                let set = &blocks[at * self.blocks..][..self.blocks];
                set.iter().flat_map(|block| block.0).collect()
            };
            let ways = words(tags).into_iter().zip(words(owners));
            ways.filter(|&(tag, _)| tag != 0)
                .map(|(tag, owner)| Way { tag, owner })
                .collect::<Vec<_>>()
        };
        let state = self.states[group];
        if state != UNIFORM && state != PENDING {
            return read(&self.tags, &self.owners, number);
        }
        let mut ways = read(&self.uniform, &self.uniform_owners, group);
        let pending = &self.pending[group];
        if state == PENDING && pending.mask >> (number % LANES) & 1 != 0 {
            let found = ways.iter().position(|way| way.tag & !DIRTY == pending.tag);
            let mut way = found.map_or(
                Way {
                    tag: pending.tag,
                    owner: 0,
                },
                |at| ways.remove(at),
            );
            if pending.write {
                way = Way {
                    tag: way.tag | DIRTY,
                    owner: pending.owner,
                };
            }
            ways.insert(0, way);
            ways.truncate(self.ways);
        }
        ways
    }

    /// Forgets all lines.
    pub(crate) fn clear(&mut self) {
        self.states.fill(UNIFORM);
        self.uniform.fill(Block::ZERO);
    }

    /// Fills an empty set: its ways, most recently used first.
    pub(crate) fn fill(&mut self, number: usize, ways: impl Iterator<Item = Way>) {
        if self.states[number / LANES] == UNIFORM {
            match self.blocks {
                1 => self.expand::<1>(number / LANES),
                _ => self.expand::<2>(number / LANES),
            }
        }
        for (at, way) in ways.enumerate() {
            let block = number * self.blocks + at / LANES;
            self.tags[block].0[at % LANES] = way.tag;
            self.owners[block].0[at % LANES] = way.owner;
        }
    }

    /// The way of a line.
    pub(crate) fn way(&self, line: u64, dirty: bool, owner: u32) -> Way {
        let tag = self.tag(line) | if dirty { DIRTY } else { 0 };
        Way { tag, owner }
    }
}

/// A way in use.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Way {
    pub(crate) tag: u32,
    /// Who last wrote it; meaningless if it is clean.
    pub(crate) owner: u32,
}

impl Way {
    pub(crate) fn dirty(self) -> bool {
        self.tag & DIRTY != 0
    }
}
