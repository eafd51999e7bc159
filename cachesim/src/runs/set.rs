//! What is done to one set, and to the sets of a group one after the other.
//!
//! A way is a word: the tag, which is not 0, and the bit that says dirty; 0 is an empty way. Ways lie most recently used
//! first. The writers lie beside them and move along, but only dirty ways have one, and most sets have no dirty way.

use super::lanes::{Block, DIRTY, Isa, LANES};

/// Bits for the lines of a group.
pub(crate) type Mask = u16;
pub(crate) const ALL: Mask = Mask::MAX;

/// Who writes the lines of an operation on a group.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Writers<'a> {
    One(u32),
    Each(&'a [u32; LANES]),
}

/// Accesses to lines of a group.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Operation<'a> {
    pub(crate) touched: Mask,
    pub(crate) written: Mask,
    pub(crate) writers: Writers<'a>,
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
    pub(super) const NONE: Self = Self {
        dirty: 0,
        alike: true,
        tags: [0; LANES],
        owners: [0; LANES],
    };

    #[inline(always)]
    pub(crate) fn all(&mut self, missed: Mask, tag: u32, owner: u32) {
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

/// The sets of a group.
pub(crate) struct GroupMut<'a> {
    pub(crate) tags: &'a mut [Block],
    pub(crate) owners: &'a mut [Block],
    pub(crate) ways: usize,
}

/// What an access did to a set. Small enough for a register.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Change {
    /// The way that was replaced, or [`Change::HIT`].
    pub(crate) replaced: u32,
    /// Who last wrote that, if it is dirty.
    pub(crate) owner: u32,
}

impl Change {
    /// No way: an empty one is never dirty.
    const HIT: u32 = DIRTY;

    #[inline(always)]
    pub(crate) fn is_hit(self) -> bool {
        self.replaced == Self::HIT
    }
}

/// Brings `tag` to the front of a set of `ways` ways; if `write`, it is dirty and `owner`'s then.
#[inline(always)]
pub(super) fn bring<I: Isa, const BLOCKS: usize>(
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
        replaced: if hit { Change::HIT } else { old },
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

/// Whether a set has a tag.
#[inline(always)]
pub(super) fn holds<I: Isa, const BLOCKS: usize>(tags: &[Block; BLOCKS], tag: u32) -> bool {
    let mut found = I::find(&tags[0], tag);
    if BLOCKS == 2 {
        found |= I::find(&tags[1], tag);
    }
    found != 0
}

/// Brings a tag to the front of several sets of a group. Returns those that missed.
#[inline(always)]
pub(super) fn bring_each<I: Isa, const BLOCKS: usize>(
    group: &mut GroupMut<'_>,
    tag: u32,
    operation: Operation<'_>,
    victims: &mut Victims,
) -> Mask {
    let Operation {
        touched,
        written,
        writers,
    } = operation;
    let mut missed = 0;
    victims.dirty = 0;
    victims.alike = false;
    let (tags, _) = group.tags.as_chunks_mut::<BLOCKS>();
    let (owners, _) = group.owners.as_chunks_mut::<BLOCKS>();
    let mut rest = touched;
    while rest != 0 {
        let lane = rest.trailing_zeros() as usize;
        rest &= rest - 1;
        let (tags, owners) = (&mut tags[lane], &mut owners[lane]);
        let write = written >> lane & 1 != 0;
        let owner = match writers {
            Writers::One(owner) => owner,
            Writers::Each(owners) => owners[lane],
        };
        let front = tags[0].0[0];
        if front & !DIRTY == tag {
            if write {
                tags[0].0[0] = front | DIRTY;
                owners[0].0[0] = owner;
            }
            continue;
        }
        let change = bring::<I, BLOCKS>(tags, owners, group.ways, tag, write, owner);
        if !change.is_hit() {
            missed |= 1 << lane;
            victims.tags[lane] = change.replaced;
            victims.owners[lane] = change.owner;
            victims.dirty |= ((change.replaced >> 31) as Mask) << lane;
        }
    }
    missed
}
