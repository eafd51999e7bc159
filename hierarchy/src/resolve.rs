//! From a name or a path to a machine: presets, files, and what they extend.

use std::fs;
use std::path::{Path, PathBuf};

use memloupe_cachesim::{Contents, Scope};

use crate::cache_options;
use crate::dram::{self, DEFAULT_MAPPING};
use crate::energy;
use crate::error::MachineError;
use crate::host;
use crate::link::Link;
use crate::machine::{Cache, Core, Machine, MemoryDevice};
use crate::machine_file::MachineFile;
use crate::nearest::nearest;
use crate::presets::{HOST, PRESETS, Preset};
use crate::quantity::{
    ACCESSES, BYTES, BYTES_PER_SECOND, HERTZ, PICOJOULES, PICOJOULES_PER_BIT, PICOSECONDS,
};
use crate::tiers::{Migration, Placement, PlacementPolicy};
use crate::translation::{self, TranslationEnergy};

impl Machine {
    /// The machine of a preset's name or of a machine file's path.
    ///
    /// A text with a path separator or the ending `.toml` is a path.
    pub fn load(name_or_path: &str) -> Result<Self, MachineError> {
        Source::find(name_or_path, Path::new(""))?.resolve()
    }

    /// The machine of a machine file's text; `file` is the name that errors give. Where the text extends a file, its
    /// path is relative to the current folder.
    pub fn from_toml(file: &str, text: &str) -> Result<Self, MachineError> {
        let file = MachineFile::parse(file, text)?;
        Source {
            identity: String::new(),
            folder: PathBuf::new(),
            file,
            notes: Vec::new(),
        }
        .resolve()
    }

    /// The machine `host`, its caches read from `cpu_folder`; on Linux `/sys/devices/system/cpu`.
    pub fn host(cpu_folder: &Path) -> Result<Self, MachineError> {
        Source::host(cpu_folder)?.resolve()
    }

    /// All presets, `host` first.
    pub fn presets() -> &'static [Preset] {
        PRESETS
    }
}

/// A machine file with what is needed to follow its `extends`.
struct Source {
    // Preset name or canonical path: what tells a circle.
    identity: String,
    folder: PathBuf,
    file: MachineFile,
    notes: Vec<String>,
}

impl Source {
    fn find(name: &str, folder: &Path) -> Result<Self, MachineError> {
        if name.contains('/') || name.ends_with(".toml") {
            return Self::read(&folder.join(name));
        }
        if name == HOST {
            return Self::host(Path::new(host::CPU_FOLDER));
        }
        match PRESETS.iter().find(|preset| preset.name == name) {
            Some(preset) => Self::preset(preset),
            None => Err(MachineError::UnknownMachine {
                name: name.into(),
                nearest: nearest(name, PRESETS.iter().map(|preset| preset.name)).map(String::from),
                presets: PRESETS.iter().map(|preset| preset.name.into()).collect(),
            }),
        }
    }

    fn preset(preset: &Preset) -> Result<Self, MachineError> {
        let mut file = MachineFile::parse(preset.name, preset.toml)?;
        file.set_default_name(preset.name);
        Ok(Self {
            identity: preset.name.into(),
            folder: PathBuf::new(),
            file,
            notes: Vec::new(),
        })
    }

    fn host(cpu_folder: &Path) -> Result<Self, MachineError> {
        let mut source = Self::preset(&PRESETS[0])?;
        source.notes = host::describe(cpu_folder, &mut source.file);
        Ok(source)
    }

    fn read(path: &Path) -> Result<Self, MachineError> {
        let failed = |error| MachineError::Read {
            path: path.into(),
            error,
        };
        let text = fs::read_to_string(path).map_err(failed)?;
        let identity = fs::canonicalize(path).map_err(failed)?.display().to_string();
        let mut file = MachineFile::parse(&path.display().to_string(), &text)?;
        file.set_default_name(&path.file_stem().unwrap_or_default().to_string_lossy());
        Ok(Self {
            identity,
            folder: path.parent().unwrap_or(Path::new("")).into(),
            file,
            notes: Vec::new(),
        })
    }

    fn resolve(self) -> Result<Machine, MachineError> {
        let Source {
            identity,
            mut folder,
            mut file,
            mut notes,
        } = self;
        let mut seen = vec![identity];
        while let Some((name, place)) = file.take_text("extends")? {
            let base = Self::find(&name, &folder)?;
            if seen.contains(&base.identity) {
                return Err(MachineError::ExtendsItself { place, name });
            }
            seen.push(base.identity);
            folder = base.folder;
            file.overlay_on(base.file);
            notes.extend(base.notes);
        }
        let machine = build(&file, notes)?;
        machine.validate()?;
        Ok(machine)
    }
}

/// Where a machine file does not say: that of cores like Intel's Nehalem and zsim's (Sanchez and Kozyrakis, ISCA 2013).
const ASSUMED_ROB: u32 = 128;

fn build(file: &MachineFile, mut notes: Vec<String>) -> Result<Machine, MachineError> {
    let text_or = |key: &str, default: &str| {
        if file.has(key) {
            file.text(key).map(String::from)
        } else {
            Ok(default.into())
        }
    };
    let core = Core {
        count: file.count("core.count")?,
        frequency_hz: file.whole("core.frequency", &HERTZ)?,
        issue_width: file.count("core.issue_width")?,
        rob: if file.has("core.rob") {
            file.count("core.rob")?
        } else {
            notes.push(format!("core.rob is not given: {ASSUMED_ROB} entries assumed"));
            ASSUMED_ROB
        },
    };
    let mut caches = Vec::new();
    for name in file.names_in("cache") {
        if file.boolean(&format!("cache.{name}.present"), true)? {
            caches.push(build_cache(file, &name, core.frequency_hz)?);
        }
    }
    let has_no_energy = |cache: &&Cache| !file.has(&format!("cache.{}.hit_energy", cache.name));
    let without: Vec<&str> = caches
        .iter()
        .filter(has_no_energy)
        .map(|cache| cache.name.as_str())
        .collect();
    if !without.is_empty() {
        let names = without.join(", ");
        notes.push(format!(
            "energy of {names} is not given: assumed to grow with the square root of the size"
        ));
    }
    caches.sort_by_key(|cache: &Cache| (cache.level, cache.contents != Contents::Data));
    let first_name = text_or("memory.name", "memory")?;
    let memory = build_memory(file, "memory", first_name)?;
    let tiers = file.names_in("memory.tier").into_iter();
    let tiers: Vec<MemoryDevice> = tiers
        .map(|name| build_memory(file, &format!("memory.tier.{name}"), name))
        .collect::<Result<_, _>>()?;
    let placement = build_placement(file, tiers.is_empty())?;
    let translation = translation::read(file)?;
    let translation_energy = match &translation {
        Some(translation) => TranslationEnergy::read(file, translation, &caches, &mut notes)?,
        None => TranslationEnergy::default(),
    };
    Ok(Machine {
        name: text_or("name", "unnamed")?,
        description: text_or("description", "")?,
        source: text_or("source", "")?,
        notes,
        core,
        caches,
        translation,
        translation_energy,
        memory,
        tiers,
        placement,
    })
}

fn build_memory(file: &MachineFile, table: &str, name: String) -> Result<MemoryDevice, MachineError> {
    let key = |leaf: &str| format!("{table}.{leaf}");
    let optional = |leaf: &str, quantity| {
        let key = key(leaf);
        file.has(&key).then(|| file.whole(&key, quantity)).transpose()
    };
    let bytes = |leaf: &str| {
        file.choice(&key(leaf), "a size from \"1 B\" to \"1 MiB\"", |text| {
            let bytes = u32::try_from(BYTES.parse_whole(text)?).ok()?;
            (bytes <= 1 << 20).then_some(bytes)
        })
    };
    let link = if file.names_in(&key("link")).is_empty() {
        None
    } else {
        Some(Link {
            latency_ps: file.whole(&key("link.latency"), &PICOSECONDS)?,
            bytes_per_second: file.whole(&key("link.bandwidth"), &BYTES_PER_SECOND)?,
            flit_bytes: bytes("link.flit")?,
            flit_payload_bytes: bytes("link.flit_payload")?,
            header_bytes: bytes("link.header")?,
            pj_per_bit: file
                .number(&key("link.energy"), &PICOJOULES_PER_BIT)?
                .unwrap_or(0.0),
        })
    };
    let classes = if file.has(&key("classes")) {
        file.text(&key("classes"))?
    } else {
        ""
    };
    Ok(MemoryDevice {
        name,
        device: file.choice(
            &key("device"),
            "a device, such as DDR4-3200AA, DDR5-4800BN/16Gb_x4 or HBM3-6400 (`memloupe dram --list` has all)",
            |text| dram::Device::find(text).is_ok().then(|| text.into()),
        )?,
        channels: file.count(&key("channels"))?,
        ranks: file.count(&key("ranks"))?,
        mapping: if file.has(&key("mapping")) {
            file.text(&key("mapping"))?.into()
        } else {
            DEFAULT_MAPPING.into()
        },
        latency_ps: file.whole(&key("latency"), &PICOSECONDS)?,
        link_pj_per_bit: file
            .number(&key("link_energy"), &PICOJOULES_PER_BIT)?
            .unwrap_or(0.0),
        link,
        capacity_bytes: optional("capacity", &BYTES)?,
        weight: if file.has(&key("weight")) {
            file.count(&key("weight"))?
        } else {
            1
        },
        classes: classes
            .split(',')
            .map(|class| class.trim().to_owned())
            .filter(|class| !class.is_empty())
            .collect(),
    })
}

/// What a page is where the machine file does not say: the smallest of x86-64.
const DEFAULT_PAGE_BYTES: u64 = 4096;

fn build_placement(file: &MachineFile, has_one_memory: bool) -> Result<Option<Placement>, MachineError> {
    if has_one_memory {
        return Ok(None);
    }
    let key = |leaf: &str| format!("memory.placement.{leaf}");
    let has = |leaf: &str| file.has(&key(leaf));
    let page_bytes = if has("page") {
        file.choice(
            &key("page"),
            "a power of two from \"64 B\" to \"1 GiB\"",
            |text| {
                let bytes = BYTES.parse_whole(text)?;
                (bytes.is_power_of_two() && (64..=1 << 30).contains(&bytes)).then_some(bytes)
            },
        )?
    } else {
        DEFAULT_PAGE_BYTES
    };
    let policy = if has("policy") {
        file.choice(&key("policy"), "\"first touch\" or \"interleave\"", |text| {
            PlacementPolicy::ALL
                .into_iter()
                .find(|policy| policy.to_string() == text)
        })?
    } else {
        PlacementPolicy::FirstTouch
    };
    let migration = if has("promote_after") || has("epoch") {
        Some(Migration {
            promote_after: file.count(&key("promote_after"))?,
            epoch_requests: file.whole(&key("epoch"), &ACCESSES)?,
        })
    } else {
        None
    };
    Ok(Some(Placement {
        page_bytes,
        policy,
        migration,
    }))
}

fn build_cache(file: &MachineFile, name: &str, frequency_hz: u64) -> Result<Cache, MachineError> {
    let key = |leaf: &str| format!("cache.{name}.{leaf}");
    let line_bytes = file.choice(
        &key("line"),
        "a power of two from \"8 B\" to \"64 KiB\"",
        |text| {
            let bytes = u32::try_from(BYTES.parse_whole(text)?).ok()?;
            (bytes.is_power_of_two() && (8..=65536).contains(&bytes)).then_some(bytes)
        },
    )?;
    let mut options = cache_options::read(file, name, line_bytes)?;
    let mshrs = (options.mshrs > 0).then_some(options.mshrs);
    // Without a window the registers bound the core's timing only, and the level stays plain.
    if options.miss_window_accesses == 0 {
        options.mshrs = 0;
    }
    let size_bytes = file.whole(&key("size"), &BYTES)?;
    let (assumed_hit, assumed_miss) = energy::assumed_pj(size_bytes);
    let hit_pj = file
        .number(&key("hit_energy"), &PICOJOULES)?
        .unwrap_or(assumed_hit);
    let miss_pj = file.number(&key("miss_energy"), &PICOJOULES)?;
    let miss_pj = miss_pj.unwrap_or(hit_pj / assumed_hit * assumed_miss);
    let contents = [Contents::Data, Contents::Instruction, Contents::Unified];
    Ok(Cache {
        name: name.into(),
        level: file.count(&key("level"))?,
        contents: file.choice(
            &key("contents"),
            "\"data\", \"instruction\" or \"unified\"",
            |text| contents.into_iter().find(|c| c.to_string() == text),
        )?,
        scope: file.choice(
            &key("scope"),
            "\"private\", \"shared\" or \"cluster of N\" cores",
            scope,
        )?,
        size_bytes,
        ways: file.count(&key("ways"))?,
        line_bytes,
        latency_cycles: file.cycles(&key("latency"), frequency_hz)?,
        mshrs,
        hit_pj,
        miss_pj,
        options,
    })
}

fn scope(text: &str) -> Option<Scope> {
    match text {
        "private" => Some(Scope::Private),
        "shared" => Some(Scope::Shared),
        _ => text.strip_prefix("cluster of ")?.parse().ok().map(Scope::Cluster),
    }
}
