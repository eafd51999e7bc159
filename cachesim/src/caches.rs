//! All caches of a machine and their counters.

use std::borrow::Cow;

use crate::cache::{Cache, Victim, line_address};
use crate::config::{Config, ConfigError, Scope};
use crate::ledger::Ledger;
use crate::levels::{Core, Paths, State, Step};
use crate::memory::Memory;
use crate::run::Run;
use crate::runs::{self, Runs, Surroundings, TooManyRegions};

/// The caches of all cores.
///
/// A **straddling** access touches each of its lines, lowest first, and counts as one line access for each.
///
/// A **non-temporal store** to a line that a cache on its path holds writes the nearest copy in place. Otherwise
/// it goes past the caches to a write-combining buffer of one line per core, which becomes one memory write when a
/// store to another line takes the buffer, and at [`flush`](Caches::flush).
///
/// A **fetch** is ignored where the machine has no cache for instructions at its first level.
///
/// **Addresses** are canonical ones of 57 bits, the most that x86-64 and AArch64 translate: a cache tells lines
/// apart, and finds their sets, by the lower 57 bits and gives their addresses back with the sign extended.
#[derive(Clone, Debug)]
pub struct Caches {
    // Its caches are behind those of the fast path while there is one.
    state: State,
    fast: Option<Box<Runs>>,
    // Of each instance in `state.caches`, which lie level by level, within a level core by core.
    places: Vec<Place>,
    paths: Vec<Paths>,
}

/// Which level an instance belongs to, and whose it is.
#[derive(Clone, Copy, Debug)]
struct Place {
    level: usize,
    core: usize,
}

/// A line that memory has not seen yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DirtyLine {
    /// Position of the level that holds it.
    pub level: usize,
    /// Core whose cache it is; 0 for a shared level.
    pub core: usize,
    /// Address of its first byte.
    pub address: u64,
    /// Who last wrote it.
    pub owner: u32,
}

impl Caches {
    /// Empty caches for `cores` cores, without any owner yet.
    pub fn new(config: &Config, cores: usize) -> Result<Self, ConfigError> {
        config.validate()?;
        if cores == 0 {
            return Err(ConfigError::NoCores);
        }
        let mut caches = Vec::new();
        let mut places = Vec::new();
        let mut first_instance = Vec::new();
        for (level, cache) in config.levels.iter().enumerate() {
            first_instance.push(caches.len());
            let instances = if cache.scope == Scope::Shared { 1 } else { cores };
            for core in 0..instances {
                caches.push(Cache::new(config.sets(level), cache.ways, config.line_bytes));
                places.push(Place { level, core });
            }
        }
        let steps = |core: usize, levels: Vec<usize>| {
            let of = |level: usize| {
                let shared = config.levels[level].scope == Scope::Shared;
                Step {
                    level,
                    cache: first_instance[level] + if shared { 0 } else { core },
                }
            };
            levels.into_iter().map(of).collect()
        };
        let paths = (0..cores)
            .map(|core| Paths {
                core,
                data: steps(core, config.data_path()),
                fetch: steps(core, config.fetch_path()),
            })
            .collect();
        let fast = runs::obstacle(config)
            .is_none()
            .then(|| Box::new(Runs::new(config, places.iter().map(|place: &Place| place.level))));
        let state = State {
            line_shift: config.line_bytes.trailing_zeros(),
            caches,
            combining: vec![None; cores],
            ledger: Ledger::new(config.levels.len()),
        };
        Ok(Self {
            state,
            fast,
            places,
            paths,
        })
    }

    /// As [`new`](Caches::new), but every access by itself: slower, with the same results.
    pub fn access_by_access(config: &Config, cores: usize) -> Result<Self, ConfigError> {
        let mut caches = Self::new(config, cores)?;
        caches.fast = None;
        Ok(caches)
    }

    /// Whether runs are simulated as such, not access by access.
    pub fn simulates_runs(&self) -> bool {
        self.fast.is_some()
    }

    /// Gives the owners `0..owners` a row in the ledger; rows that exist are kept.
    pub fn reserve_owners(&mut self, owners: usize) {
        self.state.ledger.reserve_owners(owners);
    }

    /// The counters.
    pub fn ledger(&self) -> &Ledger {
        &self.state.ledger
    }

    /// How many cores there are.
    pub fn cores(&self) -> usize {
        self.paths.len()
    }

    /// Simulates the accesses of `run` on `core`, in iteration order.
    ///
    /// # Panics
    /// If `core` is not below [`cores`](Caches::cores) or an owner was not reserved.
    #[inline]
    pub fn run<M: Memory>(&mut self, core: usize, run: Run<'_>, memory: &mut M) {
        self.runs(core, [run], memory);
    }

    /// Simulates `runs` on `core`, one after the other.
    ///
    /// # Panics
    /// If `core` is not below [`cores`](Caches::cores) or an owner was not reserved.
    #[inline]
    pub fn runs<'r, M: Memory>(
        &mut self,
        core: usize,
        runs: impl IntoIterator<Item = Run<'r>>,
        memory: &mut M,
    ) {
        let mut runs = runs.into_iter();
        if let Some(fast) = &mut self.fast {
            let mut around = Surroundings {
                paths: &self.paths[core],
                combining: &mut self.state.combining[core],
                ledger: &mut self.state.ledger,
                memory,
            };
            loop {
                let Some(run) = runs.next() else { return };
                if let Err(TooManyRegions) = fast.run(run, &mut around) {
                    self.leave_fast_path();
                    self.core(core, memory).run(run);
                    break;
                }
            }
        }
        let mut core = self.core(core, memory);
        for run in runs {
            core.run(run);
        }
    }

    fn leave_fast_path(&mut self) {
        if let Some(fast) = self.fast.take() {
            fast.to_caches(&mut self.state.caches);
        }
    }

    /// The contents of every instance.
    pub(crate) fn contents(&self) -> Cow<'_, [Cache]> {
        match &self.fast {
            None => Cow::Borrowed(&self.state.caches),
            Some(fast) => {
                let mut caches: Vec<Cache> = self.state.caches.iter().map(Cache::emptied).collect();
                fast.to_caches(&mut caches);
                Cow::Owned(caches)
            }
        }
    }

    #[inline]
    fn core<'a, M: Memory>(&'a mut self, core: usize, memory: &'a mut M) -> Core<'a, M> {
        Core {
            paths: &self.paths[core],
            state: &mut self.state,
            memory,
        }
    }

    /// Lines that a level holds, over all its instances.
    pub fn resident_lines(&self, level: usize) -> u64 {
        let caches = self.contents();
        let instances = self.places.iter().zip(caches.iter());
        instances
            .filter(|(place, _)| place.level == level)
            .map(|(_, cache)| cache.resident_lines())
            .sum()
    }

    /// Every dirty line of every cache. A line that is dirty at two levels is listed for each.
    pub fn dirty_lines(&self) -> impl Iterator<Item = DirtyLine> + '_ {
        let mut lines = Vec::new();
        for (&Place { level, core }, cache) in self.places.iter().zip(self.contents().iter()) {
            lines.extend(cache.dirty().map(|Victim { line, owner }| DirtyLine {
                level,
                core,
                address: line_address(line, self.state.line_shift),
                owner,
            }));
        }
        lines.into_iter()
    }

    /// Writes everything dirty to memory, level by level outwards; lines stay resident and are clean afterwards.
    /// The write-combining buffers are emptied.
    pub fn flush<M: Memory>(&mut self, memory: &mut M) {
        let fast = self.fast.take();
        if let Some(fast) = &fast {
            fast.to_caches(&mut self.state.caches);
        }
        for instance in 0..self.state.caches.len() {
            let Place { level, core } = self.places[instance];
            let dirty: Vec<Victim> = self.state.caches[instance].dirty().collect();
            self.state.caches[instance].clean();
            for victim in dirty {
                self.core(core, memory).write_back(level, victim);
            }
        }
        for core in 0..self.cores() {
            self.core(core, memory).drain();
        }
        if let Some(mut fast) = fast
            && fast.take_over(&self.state.caches).is_ok()
        {
            for cache in &mut self.state.caches {
                *cache = cache.emptied();
            }
            self.fast = Some(fast);
        }
    }
}
