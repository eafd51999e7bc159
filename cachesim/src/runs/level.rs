//! One cache of the fast path: sets in groups of 16 that are one set for as long as they are alike.
//!
//! Sixteen neighbouring sets form a group. While they hold the same tags in the same order, dirty alike and of the same
//! writers, the group is *uniform*: one set stands for all, and an operation on 16 neighbouring lines is one set
//! operation. An operation on some of the lines is *pending* on top of the uniform set until the rest of them
//! follows; whatever else comes *expands* the group to 16 sets. A group is uniform again when enough operations on
//! all of its sets have made them alike.
//!
//! A way is a word: the tag plus one, and the bit that says dirty; 0 is an empty way. Ways lie most recently used first.
//! The writers lie beside them and move along, but only dirty ways have one, and most sets have no dirty way.

use super::lanes::{Block, DIRTY, Isa, LANES, Portable};
use super::regions::Regions;
use crate::cache::{Outcome, Victim};
use crate::set_index::SetIndex;

/// Bits for the lines of a group.
pub(crate) type Mask = u16;
pub(crate) const ALL: Mask = Mask::MAX;

/// Most ways of a set: two blocks.
pub(crate) const MOST_WAYS: u32 = 2 * LANES as u32;

const UNIFORM: u8 = 0;
const PENDING: u8 = u8::MAX;
const EXPANDED: u8 = 1; // up to PENDING - 1: operations on all sets since

/// Who writes the lines of an operation on a group.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Writers<'a> {
    One(u32),
    Each(&'a [u32; LANES]),
}

/// An operation on some of the lines of a group, not yet applied to its uniform set.
#[derive(Clone, Copy, Debug, Default)]
struct Pending {
    tag: u32,
    owner: u32,
    mask: Mask,
    write: bool,
}

/// Dirty lines that an operation on a group replaced.
#[derive(Clone, Debug)]
pub(crate) struct Victims {
    pub(crate) dirty: Mask,
    // All lanes have the tag and the owner of lane 0.
    alike: bool,
    tags: [u32; LANES],
    owners: [u32; LANES],
}

impl Victims {
    pub(crate) const NONE: Self = Self {
        dirty: 0,
        alike: true,
        tags: [0; LANES],
        owners: [0; LANES],
    };

    #[inline(always)]
    fn all(&mut self, missed: Mask, tag: u32, owner: u32) {
        self.dirty = if tag & DIRTY != 0 { missed } else { 0 };
        self.alike = true;
        self.tags[0] = tag;
        self.owners[0] = owner;
    }

    /// Takes out neighbours that belong together: their lanes, tag and owner.
    #[inline(always)]
    pub(crate) fn take(&mut self) -> Option<(Mask, u32, u32)> {
        if self.dirty == 0 {
            return None;
        }
        if self.alike {
            let lanes = std::mem::take(&mut self.dirty);
            return Some((lanes, self.tags[0], self.owners[0]));
        }
        let first = self.dirty.trailing_zeros() as usize;
        let (tag, owner) = (self.tags[first], self.owners[first]);
        let mut lanes = 0;
        let mut rest = self.dirty;
        while rest != 0 {
            let lane = rest.trailing_zeros() as usize;
            rest &= rest - 1;
            if (self.tags[lane], self.owners[lane]) == (tag, owner) {
                lanes |= 1 << lane;
            }
        }
        self.dirty &= !lanes;
        Some((lanes, tag, owner))
    }
}

/// One instance.
#[derive(Clone, Debug)]
pub(crate) struct Level {
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
}

/// What became of one way of looking at a set.
struct Change {
    hit: bool,
    /// What stood in the place that was taken, if not `hit`.
    replaced: u32,
    owner: u32,
}

/// Brings `tag` to the front of a set.
#[inline(always)]
fn bring<I: Isa, const BLOCKS: usize>(
    tags: &mut [Block; BLOCKS],
    owners: &mut [Block; BLOCKS],
    ways: usize,
    tag: u32,
    write: bool,
    owner: u32,
) -> Change {
    let mut found = I::find(&tags[0], tag);
    let mut dirty = I::dirty(&tags[0]);
    if BLOCKS == 2 {
        found |= I::find(&tags[1], tag) << LANES;
        dirty |= I::dirty(&tags[1]) << LANES;
    }
    let hit = found != 0;
    let way = (found | 1 << (ways - 1)).trailing_zeros() as usize;
    let old = tags[way / LANES].0[way % LANES];
    let front = tag | if write { DIRTY } else { 0 } | if hit { old & DIRTY } else { 0 };
    rotate::<I, BLOCKS>(tags, way, front);
    let mut replaced_owner = 0;
    if write || dirty & (u32::MAX >> (31 - way)) != 0 {
        replaced_owner = owners[way / LANES].0[way % LANES];
        rotate::<I, BLOCKS>(owners, way, if write { owner } else { replaced_owner });
    }
    Change {
        hit,
        replaced: old,
        owner: replaced_owner,
    }
}

#[inline(always)]
fn rotate<I: Isa, const BLOCKS: usize>(set: &mut [Block; BLOCKS], way: usize, front: u32) {
    if BLOCKS == 2 && way >= LANES {
        let carried = set[0].0[LANES - 1];
        I::rotate(&mut set[1], way - LANES, carried);
    }
    I::rotate(&mut set[0], way.min(LANES - 1), front);
}

#[inline(always)]
fn set<const BLOCKS: usize>(blocks: &mut [Block], at: usize) -> &mut [Block; BLOCKS] {
    blocks[at * BLOCKS..]
        .first_chunk_mut()
        .expect("a set has its blocks")
}

impl Level {
    pub(crate) fn new(sets: u64, ways: u32) -> Self {
        let groups = sets as usize / LANES;
        let blocks = (ways as usize).div_ceil(LANES);
        Self {
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

    /// Whether `line` is most recently used already; if so, and `write`, it is `owner`'s and dirty afterwards. May
    /// say no where the answer takes longer.
    #[inline(always)]
    pub(crate) fn is_front(&mut self, line: u64, write: bool, owner: u32, regions: &Regions) -> bool {
        let group = self.group(line, regions);
        let state = self.states[group];
        if state == UNIFORM || state == PENDING {
            return !write
                && state == UNIFORM
                && self.uniform[group * self.blocks].0[0] & !DIRTY == self.tag(line);
        }
        let at = (group * LANES + line as usize % LANES) * self.blocks;
        let word = self.tags[at].0[0];
        if word & !DIRTY != self.tag(line) {
            return false;
        }
        if write {
            self.tags[at].0[0] = word | DIRTY;
            self.owners[at].0[0] = owner;
        }
        true
    }

    /// Looks one line up; on a miss takes it in.
    #[inline(always)]
    pub(crate) fn touch<I: Isa>(&mut self, line: u64, write: bool, owner: u32, regions: &Regions) -> Outcome {
        if self.blocks == 1 {
            self.touch_in::<I, 1>(line, write, owner, regions)
        } else {
            self.touch_in::<I, 2>(line, write, owner, regions)
        }
    }

    #[inline(always)]
    fn touch_in<I: Isa, const BLOCKS: usize>(
        &mut self,
        line: u64,
        write: bool,
        owner: u32,
        regions: &Regions,
    ) -> Outcome {
        let group = self.group(line, regions);
        let lane = line as usize % LANES;
        let state = self.states[group];
        let (hit, replaced, replaced_owner);
        if state == UNIFORM || state == PENDING {
            let mut victims = Victims::NONE;
            let bit = 1 << lane;
            let missed = I::compiled(|| {
                self.alike::<I, BLOCKS>(
                    group,
                    self.tag(line),
                    bit,
                    if write { bit } else { 0 },
                    Writers::One(owner),
                    &mut victims,
                )
            });
            let at = if victims.alike { 0 } else { lane };
            hit = missed == 0;
            replaced = if victims.dirty == 0 { 0 } else { victims.tags[at] };
            replaced_owner = victims.owners[at];
        } else {
            self.states[group] = EXPANDED;
            let tag = self.tag(line);
            let at = group * LANES + lane;
            let (tags, owners) = (set(&mut self.tags, at), set(&mut self.owners, at));
            let change = bring::<I, BLOCKS>(tags, owners, self.ways, tag, write, owner);
            (hit, replaced, replaced_owner) = (change.hit, change.replaced, change.owner);
        }
        if hit {
            Outcome::Hit
        } else if replaced & DIRTY != 0 {
            Outcome::MissDirty(Victim {
                line: self.line(replaced, line),
                owner: replaced_owner,
            })
        } else {
            Outcome::Miss
        }
    }

    /// Looks up the lines `touched` of the group that starts at `line`, of which `written` are written; takes those
    /// in that miss. Returns them, and puts what they replaced into `victims`.
    #[inline(always)]
    pub(crate) fn touch_group<I: Isa>(
        &mut self,
        line: u64,
        touched: Mask,
        written: Mask,
        writers: Writers<'_>,
        victims: &mut Victims,
        regions: &Regions,
    ) -> Mask {
        let group = self.group(line, regions);
        let tag = self.tag(line);
        match (self.states[group], self.blocks) {
            (UNIFORM | PENDING, 1) => self.alike::<I, 1>(group, tag, touched, written, writers, victims),
            (UNIFORM | PENDING, _) => self.alike::<I, 2>(group, tag, touched, written, writers, victims),
            (_, 1) => self.one_by_one::<I, 1>(group, tag, touched, written, writers, victims),
            _ => self.one_by_one::<I, 2>(group, tag, touched, written, writers, victims),
        }
    }

    /// An operation on a group that is uniform, or was but for a pending operation.
    #[inline(always)]
    fn alike<I: Isa, const BLOCKS: usize>(
        &mut self,
        group: usize,
        tag: u32,
        touched: Mask,
        written: Mask,
        writers: Writers<'_>,
        victims: &mut Victims,
    ) -> Mask {
        let Writers::One(owner) = writers else {
            return self.expanded::<I, BLOCKS>(group, tag, touched, written, writers, victims);
        };
        let write = written != 0;
        let homogeneous = !write || written == touched;
        if self.states[group] == UNIFORM {
            if homogeneous && touched == ALL {
                return self.bring_all::<I, BLOCKS>(group, tag, ALL, write, owner, victims);
            }
            if self.uniform[group * BLOCKS].0[0] & !DIRTY == tag && !write {
                victims.dirty = 0;
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
                return self.peek::<I, BLOCKS>(group, tag, touched, victims);
            }
        } else {
            let pending = &mut self.pending[group];
            let again = pending.tag == tag;
            let more = touched & !pending.mask;
            if again && homogeneous && write == pending.write && (!write || owner == pending.owner) {
                pending.mask |= more;
                if pending.mask == ALL {
                    self.states[group] = UNIFORM;
                    return self.bring_all::<I, BLOCKS>(group, tag, more, write, owner, victims);
                }
                return self.peek::<I, BLOCKS>(group, tag, more, victims);
            }
            if again && !write && more == 0 {
                victims.dirty = 0;
                return 0;
            }
        }
        self.expanded::<I, BLOCKS>(group, tag, touched, written, writers, victims)
    }

    #[inline(always)]
    fn bring_all<I: Isa, const BLOCKS: usize>(
        &mut self,
        group: usize,
        tag: u32,
        counted: Mask,
        write: bool,
        owner: u32,
        victims: &mut Victims,
    ) -> Mask {
        let (tags, owners) = (
            set(&mut self.uniform, group),
            set(&mut self.uniform_owners, group),
        );
        let change = bring::<I, BLOCKS>(tags, owners, self.ways, tag, write, owner);
        if change.hit {
            victims.dirty = 0;
            0
        } else {
            victims.all(counted, change.replaced, change.owner);
            counted
        }
    }

    /// What the uniform set would answer.
    #[inline(always)]
    fn peek<I: Isa, const BLOCKS: usize>(
        &mut self,
        group: usize,
        tag: u32,
        lanes: Mask,
        victims: &mut Victims,
    ) -> Mask {
        let tags: &mut [Block; BLOCKS] = set(&mut self.uniform, group);
        let mut found = I::find(&tags[0], tag);
        if BLOCKS == 2 {
            found |= I::find(&tags[1], tag);
        }
        if found != 0 {
            victims.dirty = 0;
            return 0;
        }
        let last = self.ways - 1;
        let replaced = tags[last / LANES].0[last % LANES];
        let owners: &mut [Block; BLOCKS] = set(&mut self.uniform_owners, group);
        victims.all(lanes, replaced, owners[last / LANES].0[last % LANES]);
        lanes
    }

    #[inline(never)]
    fn expanded<I: Isa, const BLOCKS: usize>(
        &mut self,
        group: usize,
        tag: u32,
        touched: Mask,
        written: Mask,
        writers: Writers<'_>,
        victims: &mut Victims,
    ) -> Mask {
        I::compiled(|| {
            self.expand::<I, BLOCKS>(group);
            self.one_by_one::<I, BLOCKS>(group, tag, touched, written, writers, victims)
        })
    }

    #[inline(always)]
    fn expand<I: Isa, const BLOCKS: usize>(&mut self, group: usize) {
        let tags: [Block; BLOCKS] = *set(&mut self.uniform, group);
        let owners: [Block; BLOCKS] = *set(&mut self.uniform_owners, group);
        let dirty = tags.iter().any(|block| I::dirty(block) != 0);
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
                let (tags, owners) = (set(&mut self.tags, at), set(&mut self.owners, at));
                bring::<I, BLOCKS>(tags, owners, self.ways, pending.tag, pending.write, pending.owner);
            }
        }
    }

    #[inline(always)]
    fn one_by_one<I: Isa, const BLOCKS: usize>(
        &mut self,
        group: usize,
        tag: u32,
        touched: Mask,
        written: Mask,
        writers: Writers<'_>,
        victims: &mut Victims,
    ) -> Mask {
        let mut missed = 0;
        victims.dirty = 0;
        victims.alike = false;
        let mut rest = touched;
        while rest != 0 {
            let lane = rest.trailing_zeros() as usize;
            rest &= rest - 1;
            let write = written >> lane & 1 != 0;
            let owner = match writers {
                Writers::One(owner) => owner,
                Writers::Each(owners) => owners[lane],
            };
            let at = group * LANES + lane;
            let tags: &mut [Block; BLOCKS] = set(&mut self.tags, at);
            let front = tags[0].0[0];
            if front & !DIRTY == tag {
                if write {
                    tags[0].0[0] = front | DIRTY;
                    self.owners[at * BLOCKS].0[0] = owner;
                }
                continue;
            }
            let change = bring::<I, BLOCKS>(tags, set(&mut self.owners, at), self.ways, tag, write, owner);
            if !change.hit {
                missed |= 1 << lane;
                victims.tags[lane] = change.replaced;
                victims.owners[lane] = change.owner;
                victims.dirty |= ((change.replaced >> 31) as Mask) << lane;
            }
        }
        if touched == ALL && (written == 0 || written == ALL) {
            let operations = &mut self.states[group];
            *operations += 1;
            if usize::from(*operations) > self.ways + 1 {
                self.try_uniform::<I, BLOCKS>(group);
            }
        }
        missed
    }

    #[inline(never)]
    fn try_uniform<I: Isa, const BLOCKS: usize>(&mut self, group: usize) {
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
                1 => self.expand::<Portable, 1>(number / LANES),
                _ => self.expand::<Portable, 2>(number / LANES),
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
