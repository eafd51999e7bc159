//! Plain caches: every level LRU, write-back, write-allocate, neither inclusive nor exclusive. Runs are simulated as such
//! where the machine allows it, else access by access.

use std::borrow::Cow;

use crate::cache::{Cache, Victim, line_address};
use crate::caches::{DirtyLine, Holder};
use crate::config::Config;
use crate::ledger::Ledger;
use crate::levels::{Core, Paths, State, Step};
use crate::memory::Memory;
use crate::run::Run;
use crate::runs::{self, Left, Runs, Surroundings};

#[derive(Debug)]
pub(crate) struct Plain {
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

impl Plain {
    /// The configuration must be valid, and there must be a core.
    pub(crate) fn new(config: &Config, cores: usize) -> Self {
        let mut caches = Vec::new();
        let mut places = Vec::new();
        let mut first_instance = Vec::new();
        for (level, cache) in config.levels.iter().enumerate() {
            first_instance.push(caches.len());
            for core in (0..cores).step_by(cache.scope.cores_per_instance(cores)) {
                caches.push(Cache::new(config.sets(level), cache.ways, config.line_bytes));
                places.push(Place { level, core });
            }
        }
        let steps = |core: usize, levels: Vec<usize>| {
            let of = |level: usize| Step {
                level,
                cache: first_instance[level] + core / config.levels[level].scope.cores_per_instance(cores),
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
            streamed: vec![None; cores],
            ledger: Ledger::new(config.levels.len()),
        };
        Self {
            state,
            fast,
            places,
            paths,
        }
    }

    /// Every access by itself from now on.
    pub(crate) fn leave_fast_path(&mut self) {
        if let Some(fast) = self.fast.take() {
            fast.to_caches(&mut self.state.caches);
        }
    }

    pub(crate) fn simulates_runs(&self) -> bool {
        self.fast.is_some()
    }

    pub(crate) fn reserve_owners(&mut self, owners: usize) {
        self.state.ledger.reserve_owners(owners);
    }

    pub(crate) fn ledger(&self) -> &Ledger {
        &self.state.ledger
    }

    pub(crate) fn cores(&self) -> usize {
        self.paths.len()
    }

    #[inline]
    pub(crate) fn runs<'r, M: Memory>(
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
                streamed: &mut self.state.streamed[core],
                ledger: &mut self.state.ledger,
                memory,
            };
            let Err(Left { run }) = fast.runs(&mut runs, &mut around) else {
                return;
            };
            self.leave_fast_path();
            run.gathered(|run| self.core(core, memory).run(run));
        }
        let mut core = self.core(core, memory);
        for run in runs {
            run.gathered(|run| core.run(run));
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

    pub(crate) fn resident_lines(&self, level: usize) -> u64 {
        let caches = self.contents();
        let instances = self.places.iter().zip(caches.iter());
        instances
            .filter(|(place, _)| place.level == level)
            .map(|(_, cache)| cache.resident_lines())
            .sum()
    }

    /// Every dirty line of every cache. A line that is dirty at two levels is listed for each.
    pub(crate) fn dirty_lines(&self) -> Vec<DirtyLine> {
        let mut lines = Vec::new();
        for (&Place { level, core }, cache) in self.places.iter().zip(self.contents().iter()) {
            lines.extend(cache.dirty().map(|Victim { line, owner }| DirtyLine {
                level,
                core,
                address: line_address(line, self.state.line_shift),
                owner,
            }));
        }
        lines
    }

    pub(crate) fn holders(&self, address: u64) -> Vec<Holder> {
        let line = address >> self.state.line_shift;
        let contents = self.contents();
        let instances = self.places.iter().zip(contents.iter());
        let holds = |(&Place { level, core }, cache): (&Place, &Cache)| {
            let writer = cache.writer(line)?;
            Some(Holder { level, core, writer })
        };
        instances.filter_map(holds).collect()
    }

    /// Writes everything dirty to memory, level by level outwards; lines stay resident and are clean afterwards.
    /// The write-combining buffers are emptied.
    pub(crate) fn flush<M: Memory>(&mut self, memory: &mut M) {
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
            && fast.take_over(&self.state.caches).is_some()
        {
            for cache in &mut self.state.caches {
                *cache = cache.emptied();
            }
            self.fast = Some(fast);
        }
    }
}
