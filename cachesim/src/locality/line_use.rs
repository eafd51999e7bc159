//! Spatial utilisation: how many bytes of a line are used between its fetch and its eviction.
//!
//! The caches are fully associative LRU caches of given capacities: a line was evicted if its reuse distance is at
//! least the capacity, which is known anyway. So no cache has to be simulated beside, and a sample of lines is enough;
//! what conflict misses evict earlier is not seen.
//!
//! Memory: for each slot of a line 16 bytes for each capacity.

use super::histogram::Histogram;
use super::reuse::ReuseMeter;
use super::stretch::Stretch;
use super::sweep::Touch;

/// A line's stay in a cache.
#[derive(Clone, Copy, Debug, Default)]
struct Stay {
    // A bit for each part of the line, see [`Stretch::parts`].
    used: u64,
    // The group that fetched it.
    group: u32,
}

/// Measures, by group that fetched the line and by capacity, the bytes used of each line fetched.
#[derive(Clone, Debug)]
pub(super) struct LineUseMeter {
    line_shift: u32,
    capacities: Vec<u64>,
    // By slot, then capacity.
    stays: Vec<Stay>,
    // By group, then capacity.
    used_bytes: Vec<Vec<Histogram>>,
}

impl LineUseMeter {
    /// For caches of so many lines each.
    pub(super) fn new(capacities: &[u64], line_shift: u32) -> Self {
        Self {
            line_shift,
            capacities: capacities.to_vec(),
            stays: Vec::new(),
            used_bytes: Vec::new(),
        }
    }

    /// Makes room for so many slots and groups.
    pub(super) fn reserve(&mut self, slots: usize, groups: usize) {
        let capacities = self.capacities.len();
        self.stays.resize(slots * capacities, Stay::default());
        self.used_bytes
            .resize(groups, vec![Histogram::default(); capacities]);
    }

    /// Whether so many lines, used in turn, may evict each other: then every iteration is a stretch of its own.
    pub(super) fn may_thrash(&self, lines: u64) -> bool {
        self.capacities.iter().any(|capacity| *capacity <= lines)
    }

    /// Takes in a stretch that `reuse` has just taken in.
    #[inline]
    pub(super) fn stretch(&mut self, stretch: &Stretch<'_>, reuse: &ReuseMeter) {
        for (touch, distance) in stretch.touches.iter().zip(reuse.distances()) {
            let used = self.used(stretch, touch);
            let stays = touch.slot as usize * self.capacities.len();
            for (cache, capacity) in self.capacities.iter().enumerate() {
                let stay = &mut self.stays[stays + cache];
                if distance.is_none_or(|distance| distance >= *capacity) {
                    let group = stretch.group(touch);
                    let ended = std::mem::replace(stay, Stay { used, group });
                    if ended.used != 0 {
                        let bytes = u64::from(ended.used.count_ones()) << self.line_shift >> 6;
                        self.used_bytes[ended.group as usize][cache].add(bytes, stretch.one_in);
                    }
                } else {
                    stay.used |= used;
                }
            }
        }
    }

    /// The parts of the line that the operand uses in the stretch: it stays in the line, so in whatever order.
    #[inline]
    fn used(&self, stretch: &Stretch<'_>, touch: &Touch) -> u64 {
        let different = if stretch.operand(touch).stride == 0 {
            1
        } else {
            stretch.iterations
        };
        (0..different)
            .map(|iteration| stretch.parts(touch, iteration, self.line_shift))
            .fold(0, |used, parts| used | parts)
    }

    /// Keeps the lines of these slots only, numbered anew.
    pub(super) fn retain(&mut self, slots: &[u32]) {
        let caches = self.capacities.len();
        self.stays = slots
            .iter()
            .flat_map(|slot| &self.stays[*slot as usize * caches..][..caches])
            .copied()
            .collect();
    }

    /// Bytes used of each line fetched, by group and capacity. What is still in a cache counts as evicted now.
    pub(super) fn finish(mut self, one_in: u64) -> Vec<Vec<Histogram>> {
        for (index, stay) in self.stays.iter().enumerate().filter(|(_, stay)| stay.used != 0) {
            let bytes = u64::from(stay.used.count_ones()) << self.line_shift >> 6;
            self.used_bytes[stay.group as usize][index % self.capacities.len()].add(bytes, one_in);
        }
        self.used_bytes
    }
}
