//! The general path: every cache there is, one access at a time.
//!
//! Modelled: any replacement policy, write-back and write-through, allocation on writes or not, inclusion and exclusion,
//! sectors, hashed slices, victim caches, merging write buffers, misses in flight, way partitioning and bypass, and the
//! classes of misses, page walks through the caches, coherence. The files of this folder say each for itself what it models and what not. Not modelled: time, and
//! physical addresses. Where every level is plain, the results equal those of the plain path.
//!
//! # Order of events
//!
//! A miss asks the next level first, then makes room, which may send a victim outwards, and then takes the line in. So an
//! inclusive level has the line before an inner one does, and a victim finds the levels as the miss left them.

mod array;
mod ask;
mod classifier;
mod coherence;
mod directory;
mod eviction;
mod fill;
mod in_flight;
mod instance;
mod non_temporal;
mod prefetching;
mod request;
mod run;
mod slices;
mod store;
mod victim_cache;
mod write_buffer;

pub(crate) use directory::MOST_CORES;

use crate::cache::{ADDRESS_BITS, line_address};
use crate::caches::Holder;
use crate::config::{Config, ConfigError};
use crate::detail::{Details, LevelDetail};
use crate::ledger::Ledger;
use crate::memory::Memory;
use crate::owner::OwnerTraits;
use crate::run::Run;
use crate::translation::Translation;

use directory::Directory;
use instance::Instance;
use request::Hierarchy;

/// Where the accesses of one core go, and its buffers.
#[derive(Debug)]
struct Core {
    data: Option<usize>,
    fetch: Option<usize>,
    // Its instances inside the directory's level, from the core outwards, and the last of these that holds data.
    private: Vec<usize>,
    outermost_private: Option<usize>,
    // Whether a store that misses brings its line into one of them.
    takes_stores_in: bool,
    // The write-combining buffer of non-temporal stores: line and last writer.
    combining: Option<(u64, u32)>,
    // The line that the last non-temporal load brought past the caches.
    streamed: Option<u64>,
}

#[derive(Debug)]
pub(crate) struct General {
    line_shift: u32,
    // The bits of a line number that count: those of an address that translation uses.
    line_mask: u64,
    // Every instance of every level: level by level from the core outwards, within a level core by core.
    instances: Vec<Instance>,
    cores: Vec<Core>,
    owners: Vec<OwnerTraits>,
    // What prefetchers asked for during the access at work: instance, line, owner.
    queue: Vec<(usize, u64, u32)>,
    directory: Option<Directory>,
    // If page walks read in the caches.
    translation: Option<Translation>,
    ledger: Ledger,
    details: Details,
}

impl General {
    /// The configuration must be valid, and there must be a core.
    pub(crate) fn new(config: &Config, cores: usize) -> Result<Self, ConfigError> {
        let mut instances: Vec<Instance> = Vec::new();
        let mut first_instance = Vec::new();
        for (level, cache) in config.levels.iter().enumerate() {
            first_instance.push(instances.len());
            let step = cache.scope.cores_per_instance(cores);
            for core in (0..cores).step_by(step) {
                let instance = Instance::new(config, level, core).map_err(|error| ConfigError::Plugin {
                    level: cache.name.clone(),
                    error,
                })?;
                instances.push(instance);
            }
        }
        let instance_of = |level: usize, core: usize| {
            first_instance[level] + core / config.levels[level].scope.cores_per_instance(cores)
        };
        for path in [config.data_path(), config.fetch_path()] {
            for core in 0..cores {
                for (position, &level) in path.iter().enumerate() {
                    let at = instance_of(level, core);
                    instances[at].outer = path.get(position + 1).map(|&outer| instance_of(outer, core));
                    for &inner in path[..position].iter().rev() {
                        let inner = instance_of(inner, core);
                        if !instances[at].inner.contains(&inner) {
                            instances[at].inner.push(inner);
                        }
                    }
                }
            }
        }
        for instance in &mut instances {
            // Instances are numbered outwards: the outermost first.
            instance.inner.sort_unstable_by(|a, b| b.cmp(a));
        }
        let first = |path: Vec<usize>, core: usize| path.first().map(|&level| instance_of(level, core));
        let coherent = config
            .levels
            .iter()
            .position(|level| level.options.coherence.is_some());
        let inside = |path: Vec<usize>, core: usize| -> Vec<usize> {
            let inner = path
                .into_iter()
                .filter(|&level| coherent.is_some_and(|outer| level < outer));
            inner.map(|level| instance_of(level, core)).collect()
        };
        let directory = coherent.and_then(|level| {
            let protocol = config.levels[level].options.coherence?;
            Some(Directory::new(
                protocol,
                first_instance[level],
                config.line_bytes.trailing_zeros(),
            ))
        });
        Ok(Self {
            line_shift: config.line_bytes.trailing_zeros(),
            line_mask: u64::MAX >> (u64::BITS - ADDRESS_BITS + config.line_bytes.trailing_zeros()),
            cores: (0..cores)
                .map(|core| Core {
                    data: first(config.data_path(), core),
                    fetch: first(config.fetch_path(), core),
                    private: inside((0..config.levels.len()).collect(), core),
                    outermost_private: inside(config.data_path(), core).last().copied(),
                    takes_stores_in: inside(config.data_path(), core)
                        .iter()
                        .any(|&at| instances[at].write_allocate),
                    combining: None,
                    streamed: None,
                })
                .collect(),
            instances,
            owners: Vec::new(),
            queue: Vec::new(),
            directory,
            translation: config
                .translation
                .as_ref()
                .filter(|_| config.walks_are_cached())
                .map(|config| Translation::new(config, cores)),
            ledger: Ledger::new(config.levels.len()),
            details: Details::new(config.levels.len()),
        })
    }

    pub(crate) fn reserve_owners(&mut self, owners: usize) {
        self.ledger.reserve_owners(owners);
        self.details.reserve_owners(owners);
        if let Some(translation) = &mut self.translation {
            translation.reserve_owners(owners);
        }
        let first_new = self.owners.len() as u32;
        self.owners
            .extend((first_new..owners as u32).map(OwnerTraits::of_owner));
    }

    pub(crate) fn describe_owner(&mut self, owner: u32, traits: OwnerTraits) {
        self.owners[owner as usize] = traits;
    }

    pub(crate) fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    pub(crate) fn details(&self, owner: u32) -> &[LevelDetail] {
        self.details.levels(owner)
    }

    pub(crate) fn translation(&self) -> Option<&Translation> {
        self.translation.as_ref()
    }

    pub(crate) fn cores(&self) -> usize {
        self.cores.len()
    }

    pub(crate) fn runs<'r, M: Memory>(
        &mut self,
        core: usize,
        runs: impl IntoIterator<Item = Run<'r>>,
        memory: &mut M,
    ) {
        let mut hierarchy = Hierarchy {
            general: self,
            memory,
            core,
        };
        for run in runs {
            run.gathered(|run| hierarchy.run(run));
        }
    }

    pub(crate) fn flush<M: Memory>(&mut self, memory: &mut M) {
        Hierarchy {
            general: self,
            memory,
            core: 0,
        }
        .flush();
    }

    pub(crate) fn resident_lines(&self, level: usize) -> u64 {
        let instances = self.instances.iter().filter(|instance| instance.level == level);
        instances.map(Instance::resident_lines).sum()
    }

    pub(crate) fn holders(&self, address: u64) -> Vec<Holder> {
        let line = address >> self.line_shift & self.line_mask;
        let holds = |instance: &Instance| {
            let copy = instance.find(line)?;
            Some(Holder {
                level: instance.level,
                core: instance.first_core,
                writer: copy.writer,
            })
        };
        self.instances.iter().filter_map(holds).collect()
    }

    /// Level, lowest core, address and last writer of every line; no writer if it is clean.
    pub(crate) fn lines(&self) -> impl Iterator<Item = (usize, usize, u64, Option<u32>)> + '_ {
        self.instances.iter().flat_map(move |instance| {
            instance.lines().map(move |copy| {
                let address = line_address(copy.line, self.line_shift);
                (instance.level, instance.first_core, address, copy.writer)
            })
        })
    }

    /// Misses that Belady's OPT would have had on what reached `level`, by owner; `None` if that was not recorded.
    pub(crate) fn opt_misses(&self, level: usize) -> Option<Vec<u64>> {
        let owners = self.owners.len();
        let mut sum = None;
        for instance in self.instances.iter().filter(|instance| instance.level == level) {
            let recording = instance.recording.as_ref()?;
            let (sets, ways) = instance.array.sets_and_ways();
            let misses = recording.misses(sets, ways, owners, |line| instance.array.set_of(line));
            let sum = sum.get_or_insert_with(|| vec![0; owners]);
            for (sum, misses) in sum.iter_mut().zip(misses) {
                *sum += misses;
            }
        }
        sum
    }
}
