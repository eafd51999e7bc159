//! A machine: cores, caches and memory, as a machine file describes them.

use std::fmt;

use memloupe_cachesim::{CacheConfig, Config, Contents, LevelOptions, PartitionBy, Scope, TranslationConfig};
use serde::{Serialize, Serializer};

use crate::cache_options;
use crate::dram::{Device, Dram, DramError};
use crate::error::MachineError;
use crate::link::Link;
use crate::quantity::{
    ACCESSES, BYTES, BYTES_PER_SECOND, CYCLES, HERTZ, PICOJOULES, PICOJOULES_PER_BIT, PICOSECONDS,
};
use crate::tiers::Placement;
use crate::translation::{self, TranslationEnergy};

/// A resolved machine: nothing left to look up.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Machine {
    /// Name in reports.
    pub name: String,
    /// One line for `machine list`.
    pub description: String,
    /// Where the values come from.
    pub source: String,
    /// What was assumed or adjusted while the machine was resolved.
    pub notes: Vec<String>,
    /// The cores, all alike.
    pub core: Core,
    /// The caches from the core outwards.
    pub caches: Vec<Cache>,
    /// How addresses are translated; `None` if that is not simulated.
    #[serde(serialize_with = "translation::serialize")]
    pub translation: Option<TranslationConfig>,
    /// What translation costs; zero without it.
    pub translation_energy: TranslationEnergy,
    /// What lies below the last level; of several memories the first, which is the nearest.
    pub memory: MemoryDevice,
    /// Further memories.
    pub tiers: Vec<MemoryDevice>,
    /// Which page lies in which memory, if there are several.
    pub placement: Option<Placement>,
}

/// What all cores have in common.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Core {
    /// How many there are.
    pub count: u32,
    /// Clock.
    pub frequency_hz: u64,
    /// Instructions per cycle at best.
    pub issue_width: u32,
    /// Entries of the reorder buffer: instructions that may be in flight behind an access that waits.
    pub rob: u32,
}

/// One cache level.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Cache {
    /// Name, such as `l1d`.
    pub name: String,
    /// Distance from the core, counted from 1.
    pub level: u32,
    /// Data, instructions or both.
    #[serde(serialize_with = "as_name")]
    pub contents: Contents,
    /// One per core, for a cluster of cores, or for all.
    #[serde(serialize_with = "as_name")]
    pub scope: Scope,
    /// Capacity of one instance.
    pub size_bytes: u64,
    /// Associativity.
    pub ways: u32,
    /// Line size: what one tag stands for.
    pub line_bytes: u32,
    /// Core cycles from the start of a load to its data, if this level has it.
    pub latency_cycles: f64,
    /// Misses that one instance can have in flight; `None` is no limit.
    pub mshrs: Option<u32>,
    /// Energy of a line access that hits.
    pub hit_pj: f64,
    /// Energy of one that misses, the fill included.
    pub miss_pj: f64,
    /// What it does beyond the plain cache.
    #[serde(serialize_with = "as_reasons")]
    pub options: LevelOptions,
}

/// The DRAM below the last level.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct MemoryDevice {
    /// Name in reports.
    pub name: String,
    /// Name of a [`crate::dram::Device`].
    pub device: String,
    /// Channels; one of HBM has two pseudo-channels.
    pub channels: u32,
    /// Ranks per channel.
    pub ranks: u32,
    /// Order of the address fields, most significant first.
    pub mapping: String,
    /// Time of a request outside the device: from the core through the on-chip network and the controller, and
    /// back.
    pub latency_ps: u64,
    /// Energy of moving a bit between the controller and the device; 0 leaves it out.
    pub link_pj_per_bit: f64,
    /// What lies between the host and the controller, if that is not on the host's chip.
    pub link: Option<Link>,
    /// Of several memories: pages that it holds together have so many bytes at most; `None` is no limit.
    pub capacity_bytes: Option<u64>,
    /// Pages in turn, if pages are interleaved over several memories.
    pub weight: u32,
    /// Classes of objects whose pages go here.
    pub classes: Vec<String>,
}

impl MemoryDevice {
    /// Time of a read of a line outside of the device, without load.
    pub fn outside_ps(&self, line_bytes: u32) -> u64 {
        self.latency_ps + self.link.as_ref().map_or(0, |link| link.read_ps(line_bytes))
    }

    /// Nominal peak bandwidth: of the channels, or of the link if that is less.
    pub fn peak_bytes_per_second(&self, line_bytes: u32) -> Result<f64, DramError> {
        let device = Device::find(&self.device)?;
        let of_channels = f64::from(self.channels) * device.peak_bytes_per_second();
        let of_link = self
            .link
            .as_ref()
            .map(|link| link.peak_read_bytes_per_second(line_bytes));
        Ok(of_link.map_or(of_channels, |link| link.min(of_channels)))
    }
}

impl Cache {
    /// The unit that it exchanges with other levels.
    pub fn sector_bytes(&self) -> u32 {
        self.line_bytes / self.options.sectors
    }
}

fn as_reasons<S: Serializer>(options: &LevelOptions, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(options.beyond_plain())
}

fn as_name<T: fmt::Display, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

impl Machine {
    /// The caches as `memloupe-cachesim` takes them.
    pub fn cache_config(&self) -> Config {
        let level = |cache: &Cache| CacheConfig {
            name: cache.name.clone(),
            contents: cache.contents,
            scope: cache.scope,
            bytes: cache.size_bytes,
            ways: cache.ways,
            options: cache.options.clone(),
        };
        Config {
            line_bytes: self.line_bytes(),
            levels: self.caches.iter().map(level).collect(),
            translation: self.translation.clone(),
        }
    }

    /// All memories, the nearest first.
    pub fn memories(&self) -> impl Iterator<Item = &MemoryDevice> + Clone {
        std::iter::once(&self.memory).chain(&self.tiers)
    }

    /// The unit that levels exchange, which all share: a line, or a sector where lines have several.
    pub fn line_bytes(&self) -> u32 {
        self.caches[0].sector_bytes()
    }

    /// The machine file of this machine: nothing inherited, every value given.
    pub fn to_toml(&self) -> String {
        self.to_string()
    }

    /// Refuses what cannot be simulated. Each value is known to be valid by itself.
    pub(crate) fn validate(&self) -> Result<(), MachineError> {
        let inconsistent = |message| {
            Err(MachineError::Inconsistent {
                machine: self.name.clone(),
                message,
            })
        };
        let Some(first) = self.caches.first() else {
            return inconsistent("it has no cache: add a [cache.l1d]".into());
        };
        if let Some(other) = self
            .caches
            .iter()
            .find(|cache| cache.sector_bytes() != first.sector_bytes())
        {
            return inconsistent(format!(
                "all caches must have one line size, or one sector size, but {} has {} B and {} has {} B",
                first.name,
                first.sector_bytes(),
                other.name,
                other.sector_bytes()
            ));
        }
        self.cache_config()
            .validate()
            .map_err(|error| MachineError::Caches {
                machine: self.name.clone(),
                error,
            })?;
        let line_bytes = self.line_bytes();
        let called = |memory: &MemoryDevice| {
            if self.tiers.is_empty() {
                "memory".into()
            } else {
                format!("memory {}", memory.name)
            }
        };
        for memory in self.memories() {
            if let Err(error) = Dram::new(memory, line_bytes) {
                return inconsistent(format!("{}: {error}", called(memory)));
            }
            if let Some(link) = &memory.link
                && link.flit_payload_bytes > link.flit_bytes
            {
                return inconsistent(format!(
                    "{}: a flit of {} B can't carry {} B",
                    called(memory),
                    link.flit_bytes,
                    link.flit_payload_bytes
                ));
            }
        }
        let Some(placement) = &self.placement else {
            return Ok(());
        };
        if placement.page_bytes < line_bytes.into() {
            return inconsistent(format!(
                "a page of {} B is smaller than a line of {line_bytes} B",
                placement.page_bytes
            ));
        }
        let too_small = |memory: &&MemoryDevice| {
            memory
                .capacity_bytes
                .is_some_and(|bytes| !(1..=u64::from(u32::MAX)).contains(&(bytes / placement.page_bytes)))
        };
        if let Some(memory) = self.memories().find(too_small) {
            return inconsistent(format!(
                "memory {}: its capacity must be from one page to 4294967295 pages of {} B",
                memory.name, placement.page_bytes
            ));
        }
        let claims: Vec<&String> = self.memories().flat_map(|memory| &memory.classes).collect();
        let twice = claims
            .iter()
            .enumerate()
            .find(|(at, class)| claims[..*at].contains(class));
        match twice {
            Some((_, class)) => inconsistent(format!("class {class} is given to two memories")),
            None => Ok(()),
        }
    }

    /// Refuses what goes by the class of a data object, for who drives the machine with owners that have no class.
    ///
    /// # Errors
    /// If a memory claims classes, or a cache is partitioned by them.
    pub fn without_classes(&self) -> Result<(), MachineError> {
        let memory = self.memories().find(|memory| !memory.classes.is_empty());
        let cache = self.caches.iter().find(|cache| {
            let partition = cache.options.partition.as_ref();
            partition.is_some_and(|partition| partition.by == PartitionBy::Class)
        });
        let (what, key) = match (memory, cache) {
            (Some(memory), _) => (format!("memory {}", memory.name), "classes"),
            (None, Some(cache)) => (format!("cache {}", cache.name), "partition_by = \"class\""),
            (None, None) => return Ok(()),
        };
        Err(MachineError::Inconsistent {
            machine: self.name.clone(),
            message: format!("{what}: {key}: owners have no object class here: leave that key out"),
        })
    }
}

/// As a machine file.
impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for note in &self.notes {
            writeln!(f, "# {note}")?;
        }
        for (key, text) in [
            ("name", &self.name),
            ("description", &self.description),
            ("source", &self.source),
        ] {
            writeln!(f, "{key} = {}", toml::Value::from(text.as_str()))?;
        }
        let Core {
            count,
            frequency_hz,
            issue_width,
            rob,
        } = &self.core;
        let frequency = HERTZ.format(*frequency_hz as f64);
        writeln!(
            f,
            "\n[core]\ncount = {count}\nfrequency = \"{frequency}\"\nissue_width = {issue_width}\nrob = {rob}"
        )?;
        for cache in &self.caches {
            let (size, line) = (
                BYTES.format(cache.size_bytes as f64),
                BYTES.format(cache.line_bytes.into()),
            );
            writeln!(f, "\n[cache.{}]\nlevel = {}", cache.name, cache.level)?;
            writeln!(
                f,
                "contents = \"{}\"\nscope = \"{}\"",
                cache.contents, cache.scope
            )?;
            writeln!(f, "size = \"{size}\"\nways = {}\nline = \"{line}\"", cache.ways)?;
            writeln!(f, "latency = \"{}\"", CYCLES.format(cache.latency_cycles))?;
            writeln!(f, "hit_energy = \"{}\"", PICOJOULES.format(cache.hit_pj))?;
            writeln!(f, "miss_energy = \"{}\"", PICOJOULES.format(cache.miss_pj))?;
            // With a window of accesses it is an option of the cache model too.
            if let (Some(mshrs), 0) = (cache.mshrs, cache.options.mshrs) {
                writeln!(f, "mshrs = {mshrs}")?;
            }
            for (key, value) in cache_options::write(&cache.options, cache.line_bytes) {
                writeln!(f, "{key} = {value}")?;
            }
        }
        if let Some(translation) = &self.translation {
            let mut table = None;
            for (key, value) in translation::write(translation, Some(&self.translation_energy)) {
                let (within, key) = key.rsplit_once('.').unwrap_or(("", key));
                if table.replace(within) != Some(within) {
                    writeln!(f, "\n[{within}]")?;
                }
                writeln!(f, "{key} = {value}")?;
            }
        }
        for (number, memory) in self.memories().enumerate() {
            let table = if number == 0 {
                "memory".into()
            } else {
                format!("memory.tier.{}", memory.name)
            };
            write_memory(f, &table, memory, number == 0)?;
        }
        if let Some(placement) = &self.placement {
            let page = BYTES.format(placement.page_bytes as f64);
            writeln!(
                f,
                "\n[memory.placement]\npage = \"{page}\"\npolicy = \"{}\"",
                placement.policy
            )?;
            if let Some(migration) = &placement.migration {
                let epoch = ACCESSES.format(migration.epoch_requests as f64);
                writeln!(
                    f,
                    "promote_after = {}\nepoch = \"{epoch}\"",
                    migration.promote_after
                )?;
            }
        }
        Ok(())
    }
}

fn write_memory(
    f: &mut fmt::Formatter<'_>,
    table: &str,
    memory: &MemoryDevice,
    is_first: bool,
) -> fmt::Result {
    let MemoryDevice {
        name,
        device,
        channels,
        ranks,
        mapping,
        latency_ps,
        link_pj_per_bit,
        link,
        capacity_bytes,
        weight,
        classes,
    } = memory;
    writeln!(f, "\n[{table}]")?;
    if is_first {
        writeln!(f, "name = {}", toml::Value::from(name.as_str()))?;
    }
    let latency = PICOSECONDS.format(*latency_ps as f64);
    writeln!(f, "device = \"{device}\"\nchannels = {channels}\nranks = {ranks}")?;
    writeln!(f, "mapping = \"{mapping}\"\nlatency = \"{latency}\"")?;
    if *link_pj_per_bit > 0.0 {
        let energy = PICOJOULES_PER_BIT.format(*link_pj_per_bit);
        writeln!(f, "link_energy = \"{energy}\"")?;
    }
    if let Some(bytes) = capacity_bytes {
        writeln!(f, "capacity = \"{}\"", BYTES.format(*bytes as f64))?;
    }
    if *weight != 1 {
        writeln!(f, "weight = {weight}")?;
    }
    if !classes.is_empty() {
        writeln!(f, "classes = {}", toml::Value::from(classes.join(", ")))?;
    }
    if let Some(link) = link {
        writeln!(
            f,
            "\n[{table}.link]\nlatency = \"{}\"\nbandwidth = \"{}\"\nflit = \"{}\"\nflit_payload = \"{}\"\nheader = \"{}\"",
            PICOSECONDS.format(link.latency_ps as f64),
            BYTES_PER_SECOND.format(link.bytes_per_second as f64),
            BYTES.format(link.flit_bytes.into()),
            BYTES.format(link.flit_payload_bytes.into()),
            BYTES.format(link.header_bytes.into()),
        )?;
        if link.pj_per_bit > 0.0 {
            writeln!(f, "energy = \"{}\"", PICOJOULES_PER_BIT.format(link.pj_per_bit))?;
        }
    }
    Ok(())
}
