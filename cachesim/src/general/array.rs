//! One cache of the general path: sets × ways of tags, each for one or more lines, and a replacement policy.
//!
//! Models presence, dirtiness and the last writer per line; lines of one tag (sectors) come and go one by one but are
//! replaced together. Does not model the data, nor time.

use super::slices::Slices;
use crate::config::MOST_SECTORS;
use crate::replacement::{Geometry, Policy, Request};

/// What is known of the lines of one tag: a word of bits, a bit per line, for each of these.
type State = [u16; 3];
const VALID: usize = 0;
const DIRTY: usize = 1;
/// Brought in by a prefetch and not used since.
const PREFETCHED: usize = 2;

/// A line in the array: its set and way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    set: usize,
    way: usize,
}

/// A line that left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Copy {
    pub(super) line: u64,
    /// Who last wrote it, if it is dirty.
    pub(super) writer: Option<u32>,
    /// Whether a prefetch brought it and nothing used it.
    pub(super) prefetched: bool,
}

/// The lines of a tag that was replaced.
#[derive(Clone, Copy, Debug)]
pub(super) struct Block {
    first_line: u64,
    state: State,
    writers: [u32; MOST_SECTORS as usize],
}

impl Block {
    /// Its line, if it has only that one.
    pub(super) fn only_line(&self) -> Option<Copy> {
        (self.state[VALID] == 1).then(|| Copy {
            line: self.first_line,
            writer: (self.state[DIRTY] == 1).then_some(self.writers[0]),
            prefetched: self.state[PREFETCHED] == 1,
        })
    }

    pub(super) fn lines(&self) -> impl Iterator<Item = Copy> + use<> {
        let block = *self;
        let valid = (0..MOST_SECTORS as usize).filter(move |sector| block.state[VALID] >> sector & 1 == 1);
        valid.map(move |sector| Copy {
            line: block.first_line + sector as u64,
            writer: (block.state[DIRTY] >> sector & 1 == 1).then(|| block.writers[sector]),
            prefetched: block.state[PREFETCHED] >> sector & 1 == 1,
        })
    }
}

/// How a line came in.
pub(super) enum Insertion {
    /// Into an empty way, or beside other lines of its tag.
    Free { sector_miss: bool },
    /// In place of these lines.
    Replacing(Block),
    /// Not at all.
    Bypassed,
}

/// Where `wanted` is among so many tags: compared all at once, since most searches find nothing.
#[inline(always)]
fn position<const WAYS: usize>(tags: &[u64], wanted: u64) -> Option<usize> {
    let tags: &[u64; WAYS] = tags.try_into().expect("a set has as many tags as ways");
    let mut found = 0u32;
    for (way, &tag) in tags.iter().enumerate() {
        found |= u32::from(tag == wanted) << way;
    }
    (found != 0).then(|| found.trailing_zeros() as usize)
}

#[derive(Debug)]
pub(super) struct Array {
    index: Slices,
    ways: usize,
    sector_bits: u32,
    // By way, set after set: block number + 1, or 0 for an empty way: a large cache costs memory only where it is used.
    tags: Vec<u64>,
    states: Vec<State>,
    // By line: who last wrote it; meaningful while it is dirty.
    writers: Vec<u32>,
    // By set: the way that hit last, where most look-ups end.
    recent: Vec<u8>,
    // By set: how many ways hold something.
    used: Vec<u8>,
    policy: Policy,
}

impl Array {
    pub(super) fn new(index: Slices, sectors: u32, geometry: &Geometry, policy: Policy) -> Self {
        let tags = geometry.sets * geometry.ways;
        Self {
            index,
            ways: geometry.ways,
            sector_bits: sectors.trailing_zeros(),
            tags: vec![0; tags],
            states: vec![[0; 3]; tags],
            writers: vec![0; tags * sectors as usize],
            recent: vec![0; geometry.sets],
            used: vec![0; geometry.sets],
            policy,
        }
    }

    #[inline(always)]
    fn at(&self, place: Place) -> usize {
        place.set * self.ways + place.way
    }

    #[inline(always)]
    fn sector(&self, line: u64) -> usize {
        (line & ((1 << self.sector_bits) - 1)) as usize
    }

    #[inline(always)]
    fn block(&self, line: u64) -> u64 {
        line >> self.sector_bits
    }

    /// The set that `line` belongs to.
    pub(super) fn set_of(&self, line: u64) -> usize {
        self.index.set_of(self.block(line))
    }

    /// Where `line` is.
    #[inline(always)]
    pub(super) fn find(&mut self, line: u64) -> Option<Place> {
        let block = self.block(line);
        let set = self.index.set_of(block);
        let recent = Place {
            set,
            way: usize::from(self.recent[set]),
        };
        if self.tags[self.at(recent)] == block + 1 {
            return self.is_valid(recent, line).then_some(recent);
        }
        let way = self.way_of(set, block)?;
        self.recent[set] = way as u8;
        let place = Place { set, way };
        self.is_valid(place, line).then_some(place)
    }

    #[inline(always)]
    fn is_valid(&self, place: Place, line: u64) -> bool {
        self.states[self.at(place)][VALID] >> self.sector(line) & 1 == 1
    }

    #[inline]
    fn way_of(&self, set: usize, block: u64) -> Option<usize> {
        let tags = &self.tags[set * self.ways..][..self.ways];
        // A block number may be 0, its tag not. The usual associativities get code of fixed length.
        match self.ways {
            8 => position::<8>(tags, block + 1),
            12 => position::<12>(tags, block + 1),
            16 => position::<16>(tags, block + 1),
            20 => position::<20>(tags, block + 1),
            _ => tags.iter().position(|&tag| tag == block + 1),
        }
    }

    /// `line` as it is, without a trace; `None` if it is absent.
    pub(super) fn copy(&self, line: u64) -> Option<Copy> {
        let block = self.block(line);
        let set = self.index.set_of(block);
        let way = self.way_of(set, block)?;
        let place = Place { set, way };
        self.is_valid(place, line).then(|| Copy {
            line,
            writer: self.writer(place, line),
            prefetched: self.is_prefetched(place, line),
        })
    }

    fn is_prefetched(&self, place: Place, line: u64) -> bool {
        self.states[self.at(place)][PREFETCHED] >> self.sector(line) & 1 == 1
    }

    /// Whether this is the first use of a prefetched line; it is none from now on.
    pub(super) fn use_prefetched(&mut self, place: Place, line: u64) -> bool {
        let (at, sector) = (self.at(place), self.sector(line));
        let first = self.states[at][PREFETCHED] >> sector & 1 == 1;
        self.states[at][PREFETCHED] &= !(1 << sector);
        first
    }

    /// Marks a line as prefetched, if it is there.
    pub(super) fn mark_prefetched(&mut self, line: u64) -> bool {
        let Some(place) = self.find(line) else {
            return false;
        };
        let (at, sector) = (self.at(place), self.sector(line));
        self.states[at][PREFETCHED] |= 1 << sector;
        true
    }

    fn writer(&self, place: Place, line: u64) -> Option<u32> {
        let (at, sector) = (self.at(place), self.sector(line));
        let dirty = self.states[at][DIRTY] >> sector & 1 == 1;
        dirty.then(|| self.writers[(at << self.sector_bits) + sector])
    }

    /// Tells the policy of a hit.
    #[inline(always)]
    pub(super) fn touch(&mut self, place: Place, request: &Request) {
        self.policy.hit(place.set, place.way, request);
    }

    #[inline(always)]
    pub(super) fn mark_dirty(&mut self, place: Place, line: u64, writer: u32) {
        let (at, sector) = (self.at(place), self.sector(line));
        self.states[at][DIRTY] |= 1 << sector;
        self.writers[(at << self.sector_bits) + sector] = writer;
    }

    /// Takes in `line`, which must not be present, with `writer` if it is dirty. It may replace lines in `ways`; if those
    /// are none, or the policy wants it where `may_bypass`, it goes past.
    pub(super) fn insert(
        &mut self,
        line: u64,
        writer: Option<u32>,
        request: &Request,
        ways: u64,
        may_bypass: bool,
    ) -> Insertion {
        let block = self.block(line);
        let set = self.index.set_of(block);
        if self.sector_bits > 0
            && let Some(way) = self.way_of(set, block)
        {
            let place = Place { set, way };
            self.policy.hit(set, way, request);
            self.set_valid(place, line, writer);
            return Insertion::Free { sector_miss: true };
        }
        let empty = if usize::from(self.used[set]) < self.ways {
            let tags = &self.tags[set * self.ways..][..self.ways];
            let mut empty = tags.iter().enumerate().filter(|(_, tag)| **tag == 0);
            empty.find(|(way, _)| ways >> way & 1 == 1).map(|(way, _)| way)
        } else {
            None
        };
        let (way, replaced) = match empty {
            Some(way) => (way, None),
            None if ways == 0 => return Insertion::Bypassed,
            None => {
                let chosen = self.policy.victim(set, ways, request);
                let way = match chosen.filter(|&way| way < self.ways && ways >> way & 1 == 1) {
                    Some(way) => way,
                    None if may_bypass => return Insertion::Bypassed,
                    None => ways.trailing_zeros() as usize,
                };
                (way, Some(self.take_block(Place { set, way })))
            }
        };
        let place = Place { set, way };
        let at = self.at(place);
        self.tags[at] = block + 1;
        self.used[set] += 1;
        self.recent[set] = way as u8;
        self.set_valid(place, line, writer);
        self.policy.fill(set, way, request);
        match replaced {
            Some(block) => Insertion::Replacing(block),
            None => Insertion::Free { sector_miss: false },
        }
    }

    fn set_valid(&mut self, place: Place, line: u64, writer: Option<u32>) {
        let (at, sector) = (self.at(place), self.sector(line));
        self.states[at][VALID] |= 1 << sector;
        if let Some(writer) = writer {
            self.mark_dirty(place, line, writer);
        }
    }

    fn take_block(&mut self, place: Place) -> Block {
        let at = self.at(place);
        let sectors = 1 << self.sector_bits;
        let mut writers = [0; MOST_SECTORS as usize];
        writers[..sectors].copy_from_slice(&self.writers[at << self.sector_bits..][..sectors]);
        let block = Block {
            first_line: (self.tags[at] - 1) << self.sector_bits,
            state: self.states[at],
            writers,
        };
        self.tags[at] = 0;
        self.used[place.set] -= 1;
        self.states[at] = State::default();
        self.policy.leave(place.set, place.way);
        block
    }

    /// Takes `line` away, if it is there.
    pub(super) fn remove(&mut self, line: u64) -> Option<Copy> {
        let place = self.find(line)?;
        let (at, sector) = (self.at(place), self.sector(line));
        let (writer, prefetched) = (self.writer(place, line), self.is_prefetched(place, line));
        for bits in &mut self.states[at] {
            *bits &= !(1 << sector);
        }
        if self.states[at][VALID] == 0 {
            self.tags[at] = 0;
            self.used[place.set] -= 1;
            self.policy.leave(place.set, place.way);
        }
        Some(Copy {
            line,
            writer,
            prefetched,
        })
    }

    pub(super) fn resident_lines(&self) -> u64 {
        self.states
            .iter()
            .map(|state| u64::from(state[VALID].count_ones()))
            .sum()
    }

    /// Every line, set by set and way by way.
    pub(super) fn lines(&self) -> impl Iterator<Item = Copy> + '_ {
        let tags = self.tags.iter().zip(&self.states).enumerate();
        tags.filter(|(_, (tag, _))| **tag != 0)
            .flat_map(move |(at, (tag, state))| {
                let sectors = 0..1usize << self.sector_bits;
                let valid = sectors.filter(move |sector| state[VALID] >> sector & 1 == 1);
                valid.map(move |sector| Copy {
                    line: ((tag - 1) << self.sector_bits) + sector as u64,
                    writer: (state[DIRTY] >> sector & 1 == 1)
                        .then(|| self.writers[(at << self.sector_bits) + sector]),
                    prefetched: state[PREFETCHED] >> sector & 1 == 1,
                })
            })
    }

    /// Makes `line` clean, if it is there.
    pub(super) fn clean_line(&mut self, line: u64) {
        let (block, sector) = (self.block(line), self.sector(line));
        let set = self.index.set_of(block);
        if let Some(way) = self.way_of(set, block) {
            let at = self.at(Place { set, way });
            self.states[at][DIRTY] &= !(1 << sector);
        }
    }

    /// Makes every line clean.
    pub(super) fn clean(&mut self) {
        for state in &mut self.states {
            state[DIRTY] = 0;
        }
    }

    pub(super) fn repeated_hits_are_idle(&self) -> bool {
        self.policy.repeated_hits_are_idle()
    }

    pub(super) fn sets_and_ways(&self) -> (usize, usize) {
        (self.recent.len(), self.ways)
    }
}
