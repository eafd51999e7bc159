//! One cache of the general path with what stands beside it.

use super::array::{Array, Copy};
use super::classifier::Classifier;
use super::in_flight::InFlight;
use super::prefetching::Prefetching;
use super::slices::Slices;
use super::victim_cache::VictimCache;
use super::write_buffer::WriteBuffer;
use crate::config::{Config, Contents, Inclusion, Partition, PartitionBy, WritePolicy};
use crate::plugin::PluginError;
use crate::prefetch::PAGE_BYTES;
use crate::replacement::{Geometry, opt::Recording};

#[derive(Debug)]
pub(super) struct Instance {
    pub(super) level: usize,
    /// The lowest of the cores that use it.
    pub(super) first_core: usize,
    /// The instance one level further out.
    pub(super) outer: Option<usize>,
    /// Instances nearer to the cores that use this one, outermost first.
    pub(super) inner: Vec<usize>,
    pub(super) array: Array,
    pub(super) victims: Option<VictimCache>,
    /// Lines of a replaced tag that are still to leave one by one; until then they are here.
    pub(super) leaving: Vec<Copy>,
    pub(super) write_buffer: Option<WriteBuffer>,
    pub(super) write_through: bool,
    pub(super) write_allocate: bool,
    pub(super) inclusion: Inclusion,
    /// Whether a line that moves here from an exclusive level may stay dirty.
    pub(super) takes_dirty: bool,
    /// Whether anything must be shown each access.
    pub(super) observed: bool,
    pub(super) in_flight: Option<InFlight>,
    pub(super) classifier: Option<Classifier>,
    pub(super) recording: Option<Recording>,
    pub(super) prefetching: Option<Prefetching>,
    partition: Option<Partition>,
    all_ways: u64,
}

impl Instance {
    pub(super) fn new(config: &Config, level: usize, first_core: usize) -> Result<Self, PluginError> {
        let cache = &config.levels[level];
        let options = &cache.options;
        let sets = config.sets(level);
        let block_shift = (config.line_bytes * options.sectors).trailing_zeros();
        let geometry = Geometry {
            sets: sets as usize,
            ways: cache.ways as usize,
            seed: options.seed,
        };
        let some = |present: u32| (present > 0).then_some(present);
        let in_flight = some(options.mshrs).map(|n| InFlight::new(n, options.miss_window_accesses));
        let lines = sets * u64::from(cache.ways) * u64::from(options.sectors);
        let classifier = options.classify.then(|| Classifier::new(lines));
        let page_lines = u64::from(PAGE_BYTES / config.line_bytes).max(1);
        let prefetching = options
            .prefetcher
            .map(|builtin| Prefetching::new(builtin, page_lines, options.miss_window_accesses))
            .transpose()?;
        let recording = options.opt_bound.then(Recording::default);
        Ok(Self {
            level,
            first_core,
            outer: None,
            inner: Vec::new(),
            array: Array::new(
                Slices::new(options.slices, sets, block_shift),
                options.sectors,
                &geometry,
                options.replacement.build(&geometry)?,
            ),
            victims: some(options.victim_lines).map(VictimCache::new),
            leaving: Vec::new(),
            write_buffer: some(options.write_buffer_lines).map(WriteBuffer::new),
            write_through: options.write == WritePolicy::Through,
            write_allocate: options.write_allocate,
            inclusion: options.inclusion,
            takes_dirty: options.write == WritePolicy::Back && cache.contents != Contents::Instruction,
            observed: in_flight.is_some()
                || classifier.is_some()
                || recording.is_some()
                || prefetching.is_some(),
            in_flight,
            classifier,
            recording,
            prefetching,
            partition: options.partition.clone(),
            all_ways: u64::MAX >> (u64::BITS - cache.ways),
        })
    }

    /// The ways in which lines of a core and an owner class may replace others.
    #[inline]
    pub(super) fn ways_for(&self, core: usize, class: u8) -> u64 {
        let Some(partition) = &self.partition else {
            return self.all_ways;
        };
        let share = match partition.by {
            PartitionBy::Core => core,
            PartitionBy::Class => usize::from(class),
        };
        partition.masks[share.min(partition.masks.len() - 1)]
    }

    /// `line` as it is here or in the victim cache.
    pub(super) fn find(&self, line: u64) -> Option<Copy> {
        let victims = self.victims.iter().flat_map(VictimCache::lines);
        self.array.copy(line).or_else(|| {
            victims
                .chain(&self.leaving)
                .find(|copy| copy.line == line)
                .copied()
        })
    }

    /// Takes `line` away from here or from the victim cache.
    pub(super) fn remove(&mut self, line: u64) -> Option<Copy> {
        if let Some(copy) = self.array.remove(line) {
            return Some(copy);
        }
        if let Some(copy) = self.victims.as_mut().and_then(|victims| victims.take(line)) {
            return Some(copy);
        }
        let at = self.leaving.iter().position(|copy| copy.line == line)?;
        Some(self.leaving.swap_remove(at))
    }

    pub(super) fn resident_lines(&self) -> u64 {
        let victims = self.victims.as_ref().map_or(0, |victims| victims.lines().count());
        self.array.resident_lines() + victims as u64
    }

    /// Every line with its last writer, if it is dirty.
    pub(super) fn lines(&self) -> impl Iterator<Item = Copy> + '_ {
        let victims = self.victims.iter().flat_map(|victims| victims.lines().copied());
        self.array.lines().chain(victims)
    }

    pub(super) fn clean_line(&mut self, line: u64) {
        self.array.clean_line(line);
        if let Some(copy) = self.victims.as_mut().and_then(|victims| victims.find(line)) {
            copy.writer = None;
        }
    }

    pub(super) fn clean(&mut self) {
        self.array.clean();
        if let Some(victims) = &mut self.victims {
            victims.clean();
        }
    }
}
