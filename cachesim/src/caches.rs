//! All caches of a machine and their counters.

use std::borrow::Cow;

use crate::cache::Cache;
use crate::config::{Config, ConfigError};
use crate::detail::LevelDetail;
use crate::general::General;
use crate::ledger::Ledger;
use crate::memory::Memory;
use crate::owner::OwnerTraits;
use crate::plain::Plain;
use crate::run::Run;
use crate::translation::{Translation, TranslationCounters};

/// The caches of all cores.
///
/// A **straddling** access touches each of its lines, lowest first, and counts as one line access for each.
///
/// A **non-temporal store** to a line that a cache on its path holds writes the nearest copy in place. Otherwise
/// it goes past the caches to a write-combining buffer of one line per core, which becomes one memory write when a
/// store to another line takes the buffer, and at [`flush`](Caches::flush).
///
/// A **non-temporal load** of a line that a cache on its path holds reads the nearest copy. Otherwise it reads the line
/// past the caches into a buffer of one line per core, which serves further non-temporal loads of that line.
///
/// A **fetch** is ignored where the machine has no cache for instructions at its first level.
///
/// **Addresses** are canonical ones of 57 bits, the most that x86-64 and AArch64 translate: a cache tells lines
/// apart, and finds their sets, by the lower 57 bits and gives their addresses back with the sign extended.
#[derive(Debug)]
pub struct Caches {
    path: Path,
    // Beside the caches, unless page walks read in them: then it is a part of the general path.
    translation: Option<Box<Translation>>,
}

/// How accesses are simulated. Where both can, they give the same results.
#[derive(Debug)]
enum Path {
    /// Plain levels only.
    Plain(Box<Plain>),
    /// Whatever a level may do, access by access.
    General(Box<General>),
}

/// A line that memory has not seen yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DirtyLine {
    /// Position of the level that holds it.
    pub level: usize,
    /// Core whose cache it is; the lowest of those that share it.
    pub core: usize,
    /// Address of its first byte.
    pub address: u64,
    /// Who last wrote it.
    pub owner: u32,
}

/// A cache that holds a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Position of its level.
    pub level: usize,
    /// The lowest core that uses it.
    pub core: usize,
    /// Who last wrote the line, if it is dirty there.
    pub writer: Option<u32>,
}

impl Caches {
    /// Empty caches for `cores` cores, without any owner yet. The configuration decides on the path; see
    /// [`Config::general_path_reasons`].
    pub fn new(config: &Config, cores: usize) -> Result<Self, ConfigError> {
        check(config, cores)?;
        let path = if config.general_path_reasons().is_empty() {
            Path::Plain(Box::new(Plain::new(config, cores)))
        } else {
            Path::General(Box::new(General::new(config, cores)?))
        };
        let translation = translation_beside(config, cores);
        Ok(Self { path, translation })
    }

    /// As [`new`](Caches::new), but every access by itself: slower, with the same results.
    pub fn access_by_access(config: &Config, cores: usize) -> Result<Self, ConfigError> {
        let mut caches = Self::new(config, cores)?;
        if let Path::Plain(plain) = &mut caches.path {
            plain.leave_fast_path();
        }
        Ok(caches)
    }

    /// Whether runs are simulated as such, not access by access.
    pub fn simulates_runs(&self) -> bool {
        matches!(&self.path, Path::Plain(plain) if plain.simulates_runs())
    }

    /// The same on the general path, whatever the configuration: to check one path by the other.
    pub fn on_general_path(config: &Config, cores: usize) -> Result<Self, ConfigError> {
        check(config, cores)?;
        config.validate_for_general_path()?;
        let path = Path::General(Box::new(General::new(config, cores)?));
        let translation = translation_beside(config, cores);
        Ok(Self { path, translation })
    }

    /// Gives the owners `0..owners` a row in the ledger; rows that exist are kept.
    pub fn reserve_owners(&mut self, owners: usize) {
        match &mut self.path {
            Path::Plain(plain) => plain.reserve_owners(owners),
            Path::General(general) => general.reserve_owners(owners),
        }
        if let Some(translation) = &mut self.translation {
            translation.reserve_owners(owners);
        }
    }

    /// Tells the models about `owner`. Plain levels do not ask.
    ///
    /// # Panics
    /// If `owner` was not reserved.
    pub fn describe_owner(&mut self, owner: u32, traits: OwnerTraits) {
        assert!(
            (owner as usize) < self.ledger().owner_count(),
            "owner {owner} is not reserved"
        );
        if let Path::General(general) = &mut self.path {
            general.describe_owner(owner, traits);
        }
    }

    /// The counters.
    pub fn ledger(&self) -> &Ledger {
        match &self.path {
            Path::Plain(plain) => plain.ledger(),
            Path::General(general) => general.ledger(),
        }
    }

    /// What else was counted for `owner`, one entry per level; `None` on the plain path, which has nothing else to count.
    ///
    /// # Panics
    /// If `owner` was not reserved.
    pub fn details(&self, owner: u32) -> Option<&[LevelDetail]> {
        match &self.path {
            Path::Plain(_) => None,
            Path::General(general) => Some(general.details(owner)),
        }
    }

    /// What translation counted for `owner`; `None` if addresses are not translated.
    ///
    /// # Panics
    /// If `owner` was not reserved.
    pub fn translation(&self, owner: u32) -> Option<&TranslationCounters> {
        let translation = match &self.path {
            Path::General(general) if self.translation.is_none() => general.translation(),
            _ => self.translation.as_deref(),
        };
        translation.map(|translation| translation.counters(owner))
    }

    /// Misses that Belady's OPT would have had on the accesses that reached `level`, by owner; `None` if the level does
    /// not record them. Takes two passes over the recording.
    pub fn opt_misses(&self, level: usize) -> Option<Vec<u64>> {
        match &self.path {
            Path::Plain(_) => None,
            Path::General(general) => general.opt_misses(level),
        }
    }

    /// How many cores there are.
    pub fn cores(&self) -> usize {
        match &self.path {
            Path::Plain(plain) => plain.cores(),
            Path::General(general) => general.cores(),
        }
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
        runs: impl IntoIterator<Item = Run<'r>> + Clone,
        memory: &mut M,
    ) {
        if let Some(translation) = &mut self.translation {
            for run in runs.clone() {
                run.gathered(|run| translation.run(core, run));
            }
        }
        match &mut self.path {
            Path::Plain(plain) => plain.runs(core, runs, memory),
            Path::General(general) => general.runs(core, runs, memory),
        }
    }

    /// The contents of every plain cache.
    pub(crate) fn plain_contents(&self) -> Option<Cow<'_, [Cache]>> {
        match &self.path {
            Path::Plain(plain) => Some(plain.contents()),
            Path::General(_) => None,
        }
    }

    /// Lines that a level holds, over all its instances, those in victim caches included.
    pub fn resident_lines(&self, level: usize) -> u64 {
        match &self.path {
            Path::Plain(plain) => plain.resident_lines(level),
            Path::General(general) => general.resident_lines(level),
        }
    }

    /// Every dirty line of every cache. A line that is dirty at two levels is listed for each.
    pub fn dirty_lines(&self) -> impl Iterator<Item = DirtyLine> + '_ {
        let lines: Vec<DirtyLine> = match &self.path {
            Path::Plain(plain) => plain.dirty_lines(),
            Path::General(general) => general
                .lines()
                .filter_map(|(level, core, address, writer)| {
                    let owner = writer?;
                    Some(DirtyLine {
                        level,
                        core,
                        address,
                        owner,
                    })
                })
                .collect(),
        };
        lines.into_iter()
    }

    /// Every cache that holds the line of `address`, from the cores outwards; also in its victim cache.
    pub fn holders(&self, address: u64) -> Vec<Holder> {
        match &self.path {
            Path::Plain(plain) => plain.holders(address),
            Path::General(general) => general.holders(address),
        }
    }

    /// Writes everything dirty to memory, level by level outwards; lines stay resident and are clean afterwards.
    /// The buffers for stores are emptied.
    pub fn flush<M: Memory>(&mut self, memory: &mut M) {
        match &mut self.path {
            Path::Plain(plain) => plain.flush(memory),
            Path::General(general) => general.flush(memory),
        }
    }
}

fn translation_beside(config: &Config, cores: usize) -> Option<Box<Translation>> {
    let beside = config.translation.as_ref().filter(|_| !config.walks_are_cached());
    beside.map(|config| Box::new(Translation::new(config, cores)))
}

fn check(config: &Config, cores: usize) -> Result<(), ConfigError> {
    config.validate()?;
    if cores == 0 {
        return Err(ConfigError::NoCores);
    }
    config.validate_cores(cores)
}
