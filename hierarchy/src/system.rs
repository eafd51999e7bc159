//! A machine at work: its caches above its DRAM.

use std::ops::AddAssign;

use memloupe_cachesim::{
    Caches, LevelCounters, LevelDetail, Memory, OwnerCounters, OwnerTraits, Run, TranslationCounters,
};

use crate::dram::DramCounters;
use crate::energy::AccessEnergy;
use crate::error::MachineError;
use crate::interval::CoreTiming;
use crate::machine::Machine;
use crate::tiers::MainMemory;

/// Everything that was counted for an owner, or summed over several.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// One entry per level, in the order of [`System::level_names`].
    pub levels: Vec<LevelCounters>,
    /// What else was counted, one entry per level; empty if every level is a plain cache, which has nothing else.
    pub details: Vec<LevelDetail>,
    /// Translation; zero if the machine has none.
    pub translation: TranslationCounters,
    /// What belongs to no level.
    pub accesses: OwnerCounters,
    /// The memory below the last level; of several, all together.
    pub dram: DramCounters,
    /// Of several memories each; empty if there is one.
    pub tiers: Vec<DramCounters>,
}

impl AddAssign<&Counters> for Counters {
    fn add_assign(&mut self, other: &Counters) {
        self.levels.resize(
            self.levels.len().max(other.levels.len()),
            LevelCounters::default(),
        );
        for (mine, theirs) in self.levels.iter_mut().zip(&other.levels) {
            *mine += theirs;
        }
        self.details.resize(
            self.details.len().max(other.details.len()),
            LevelDetail::default(),
        );
        for (mine, theirs) in self.details.iter_mut().zip(&other.details) {
            *mine += theirs;
        }
        self.translation += &other.translation;
        self.accesses += &other.accesses;
        self.dram += &other.dram;
        self.tiers
            .resize(self.tiers.len().max(other.tiers.len()), DramCounters::default());
        for (mine, theirs) in self.tiers.iter_mut().zip(&other.tiers) {
            *mine += theirs;
        }
    }
}

/// The caches and the DRAM of one machine.
///
/// Software threads are placed by the caller: with more threads than cores, thread `t` usually runs on core
/// `t % cores`.
#[derive(Debug)]
pub struct System {
    machine: Machine,
    timing: CoreTiming,
    caches: Caches,
    dram: MainMemory,
    // The same accesses simulated one by one, if the results are to be checked.
    oracle: Option<Caches>,
    // By level, what an owner had missed before the access at hand.
    misses: Vec<u64>,
}

/// What simulating one access takes.
pub(crate) struct Parts<'a> {
    pub(crate) machine: &'a Machine,
    pub(crate) caches: &'a mut Caches,
    pub(crate) dram: &'a mut MainMemory,
    pub(crate) misses: &'a mut Vec<u64>,
}

/// Below the oracle's caches: its requests are those of the caches that it checks.
struct Unheard;

impl Memory for Unheard {
    fn read(&mut self, _line_address: u64, _lines: u64, _owner: u32) {}
    fn write(&mut self, _line_address: u64, _lines: u64, _owner: u32) {}
}

impl System {
    /// Empty caches and closed banks, without any owner yet.
    pub fn new(machine: &Machine) -> Result<Self, MachineError> {
        machine.validate()?;
        let caches = Caches::new(&machine.cache_config(), machine.core.count as usize).map_err(|error| {
            MachineError::Caches {
                machine: machine.name.clone(),
                error,
            }
        })?;
        let of_memory = |error| MachineError::Inconsistent {
            machine: machine.name.clone(),
            message: format!("memory: {error}"),
        };
        let dram = MainMemory::new(machine).map_err(of_memory)?;
        let timing = CoreTiming::new(machine).map_err(of_memory)?;
        Ok(Self {
            machine: machine.clone(),
            timing,
            caches,
            dram,
            oracle: None,
            misses: Vec::new(),
        })
    }

    /// Simulates the caches a second time from here on, access by access, for [`disagreement`](System::disagreement).
    /// Changes nothing where they are simulated so anyway.
    pub fn check_runs(&mut self) -> Result<(), MachineError> {
        if self.caches.simulates_runs() {
            let oracle = Caches::access_by_access(&self.machine.cache_config(), self.cores());
            let mut oracle = oracle.map_err(|error| MachineError::Caches {
                machine: self.machine.name.clone(),
                error,
            })?;
            oracle.reserve_owners(self.owner_count());
            self.oracle = Some(oracle);
        }
        Ok(())
    }

    /// What differs between runs simulated as such and access by access: a counter or the final state of a set.
    pub fn disagreement(&self) -> Option<String> {
        self.caches.difference(self.oracle.as_ref()?)
    }

    /// The machine.
    pub fn machine(&self) -> &Machine {
        &self.machine
    }

    /// Number of cores.
    pub fn cores(&self) -> usize {
        self.caches.cores()
    }

    /// Names of the levels, from the core outwards.
    pub fn level_names(&self) -> impl ExactSizeIterator<Item = &str> {
        self.machine.caches.iter().map(|cache| cache.name.as_str())
    }

    /// Gives the owners `0..owners` a row of counters; rows that exist are kept.
    pub fn reserve_owners(&mut self, owners: usize) {
        self.caches.reserve_owners(owners);
        if let Some(oracle) = &mut self.oracle {
            oracle.reserve_owners(owners);
        }
        self.dram.reserve_owners(owners);
    }

    /// Tells the models about `owner`.
    ///
    /// # Panics
    /// If `owner` was not reserved.
    pub fn describe_owner(&mut self, owner: u32, traits: OwnerTraits) {
        self.caches.describe_owner(owner, traits);
        self.dram.describe_owner(owner, traits.class);
    }

    /// The names of the classes of [`OwnerTraits`], by number, for a machine that places objects by class.
    ///
    /// # Errors
    /// If the machine has a class that is not among them.
    pub fn name_classes(&mut self, names: &[&str]) -> Result<(), MachineError> {
        self.dram.name_classes(&self.machine, names)
    }

    /// How many owners have a row.
    pub fn owner_count(&self) -> usize {
        self.caches.ledger().owner_count()
    }

    /// Simulates the accesses of `run` on `core`.
    ///
    /// # Panics
    /// If `core` is not below [`cores`](System::cores) or an owner was not reserved.
    #[inline]
    pub fn run(&mut self, core: usize, run: Run<'_>) {
        self.runs(core, [run]);
    }

    /// Simulates `runs` on `core`, one after the other.
    ///
    /// # Panics
    /// If `core` is not below [`cores`](System::cores) or an owner was not reserved.
    #[inline]
    pub fn runs<'r>(&mut self, core: usize, runs: impl IntoIterator<Item = Run<'r>> + Clone) {
        if let Some(oracle) = &mut self.oracle {
            oracle.runs(core, runs.clone(), &mut Unheard);
        }
        self.caches.runs(core, runs, &mut self.dram);
    }

    pub(crate) fn parts(&mut self) -> Parts<'_> {
        let Self {
            machine,
            caches,
            dram,
            misses,
            ..
        } = self;
        Parts {
            machine,
            caches,
            dram,
            misses,
        }
    }

    /// Writes everything dirty to DRAM, charged to the owners that wrote it.
    pub fn flush(&mut self) {
        if let Some(oracle) = &mut self.oracle {
            oracle.flush(&mut Unheard);
        }
        self.caches.flush(&mut self.dram);
    }

    /// The caches, for what is still resident or dirty.
    pub fn caches(&self) -> &Caches {
        &self.caches
    }

    /// The memory below the caches.
    pub fn dram(&self) -> &MainMemory {
        &self.dram
    }

    /// The counters of one owner.
    ///
    /// # Panics
    /// If `owner` was not reserved.
    pub fn counters(&self, owner: u32) -> Counters {
        let mut counters = Counters::default();
        self.add_counters(owner, &mut counters);
        counters
    }

    /// Adds the counters of one owner to `sum`.
    ///
    /// # Panics
    /// If `owner` was not reserved.
    pub fn add_counters(&self, owner: u32, sum: &mut Counters) {
        let ledger = self.caches.ledger();
        sum.levels
            .resize(self.machine.caches.len(), LevelCounters::default());
        for (sum, level) in sum.levels.iter_mut().zip(ledger.levels(owner)) {
            *sum += level;
        }
        if let Some(details) = self.caches.details(owner) {
            sum.details
                .resize(self.machine.caches.len(), LevelDetail::default());
            for (sum, detail) in sum.details.iter_mut().zip(details) {
                *sum += detail;
            }
        }
        if let Some(translation) = self.caches.translation(owner) {
            sum.translation += translation;
        }
        sum.accesses += ledger.owner(owner);
        self.dram.add_counters(owner, &mut sum.dram);
        if let memories @ [_, _, ..] = self.dram.memories() {
            sum.tiers.resize(memories.len(), DramCounters::default());
            for (sum, memory) in sum.tiers.iter_mut().zip(memories) {
                *sum += memory.counters(owner);
            }
        }
    }

    /// The counters of all owners together.
    pub fn totals(&self) -> Counters {
        let mut sum = Counters {
            levels: vec![LevelCounters::default(); self.machine.caches.len()],
            ..Counters::default()
        };
        for owner in 0..self.owner_count() as u32 {
            self.add_counters(owner, &mut sum);
        }
        sum
    }

    /// What decides how long a core waits.
    pub fn timing(&self) -> &CoreTiming {
        &self.timing
    }

    /// Energy of each kind of access.
    pub fn access_energy(&self) -> AccessEnergy {
        AccessEnergy::of(&self.machine)
    }
}
