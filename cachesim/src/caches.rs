//! All caches of a machine and their counters.

use crate::cache::{Cache, Victim, line_address};
use crate::config::{Config, ConfigError, Scope};
use crate::ledger::Ledger;
use crate::levels::{Core, Paths, State, Step};
use crate::memory::Memory;
use crate::run::Run;

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
    state: State,
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
        let state = State {
            line_shift: config.line_bytes.trailing_zeros(),
            caches,
            combining: vec![None; cores],
            ledger: Ledger::new(config.levels.len()),
        };
        Ok(Self { state, places, paths })
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
        let mut core = self.core(core, memory);
        for run in runs {
            core.run(run);
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
        let instances = self
            .places
            .iter()
            .zip(&self.state.caches)
            .filter(|(place, _)| place.level == level);
        instances.map(|(_, cache)| cache.resident_lines()).sum()
    }

    /// Every dirty line of every cache. A line that is dirty at two levels is listed for each.
    pub fn dirty_lines(&self) -> impl Iterator<Item = DirtyLine> + '_ {
        self.places
            .iter()
            .zip(&self.state.caches)
            .flat_map(move |(&Place { level, core }, cache)| {
                cache.dirty().map(move |Victim { line, owner }| DirtyLine {
                    level,
                    core,
                    address: line_address(line, self.state.line_shift),
                    owner,
                })
            })
    }

    /// Writes everything dirty to memory, level by level outwards; lines stay resident and are clean afterwards.
    /// The write-combining buffers are emptied.
    pub fn flush<M: Memory>(&mut self, memory: &mut M) {
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
    }
}
