//! What a machine file may say of a cache beyond its shape: one line of [`OPTIONS`] per key.

use std::path::{Path, PathBuf};

use memloupe_cachesim::{
    Inclusion, LevelOptions, Partition, PartitionBy, PluginError, Protocol, WritePolicy, prefetch,
    replacement,
};

use crate::error::MachineError;
use crate::machine_file::MachineFile;
use crate::quantity::{ACCESSES, BYTES};

/// A key of `[cache.NAME]`.
pub(crate) struct CacheOption {
    pub(crate) key: &'static str,
    /// Sets the option to what the file says under the full key; the line size is known.
    read: fn(&MachineFile, &str, &mut LevelOptions, u32) -> Result<(), MachineError>,
    /// The value as TOML.
    write: fn(&LevelOptions, u32) -> String,
}

/// Sets in `options` whatever the file says of the cache `name`.
pub(crate) fn read(file: &MachineFile, name: &str, line_bytes: u32) -> Result<LevelOptions, MachineError> {
    let mut options = LevelOptions::default();
    for option in OPTIONS {
        let key = format!("cache.{name}.{}", option.key);
        if file.has(&key) {
            (option.read)(file, &key, &mut options, line_bytes)?;
        }
    }
    Ok(options)
}

/// The keys and values, as TOML, of what `options` has other than the plain cache.
pub(crate) fn write(options: &LevelOptions, line_bytes: u32) -> Vec<(&'static str, String)> {
    let plain = LevelOptions::default();
    OPTIONS
        .iter()
        .map(|option| (option, (option.write)(options, line_bytes)))
        .filter(|(option, value)| *value != (option.write)(&plain, line_bytes))
        .map(|(option, value)| (option.key, value))
        .collect()
}

/// One of several names, as the error message lists them.
fn name_of<T: Copy>(
    file: &MachineFile,
    key: &str,
    values: &[T],
    name: impl Fn(&T) -> String,
) -> Result<T, MachineError> {
    let names = values.iter().map(&name).collect::<Vec<_>>().join(", ");
    file.choice(key, &format!("one of: {names}"), |text| {
        values.iter().find(|value| name(value) == text).copied()
    })
}

fn quoted(text: &(impl ToString + ?Sized)) -> String {
    toml::Value::from(text.to_string()).to_string()
}

fn partition(options: &mut LevelOptions) -> &mut Partition {
    options.partition.get_or_insert(Partition {
        by: PartitionBy::Core,
        masks: Vec::new(),
    })
}

/// `0xff 0xf00`: masks of ways in hexadecimal.
fn masks(text: &str) -> Option<Vec<u64>> {
    let mask = |word: &str| u64::from_str_radix(word.strip_prefix("0x")?, 16).ok();
    text.split_whitespace().map(mask).collect()
}

/// The library that a file names where it could name what is built in: a path, from the folder of the file that says so.
fn library(file: &MachineFile, key: &str) -> Result<Option<PathBuf>, MachineError> {
    let text = file.text(key)?;
    if !text.contains('/') && !text.ends_with(".so") {
        return Ok(None);
    }
    let path = file.folder(key)?.join(text);
    // An absolute path, so that the loader looks nowhere else and the resolved machine stands for itself.
    Ok(Some(path.canonicalize().unwrap_or(path)))
}

/// What `load` makes of the library under `key` with the parameters under `key`_parameters, if it names one.
fn loaded<T>(
    file: &MachineFile,
    key: &str,
    load: fn(&Path, &str) -> Result<T, PluginError>,
) -> Result<Option<T>, MachineError> {
    let parameters_key = format!("{key}_parameters");
    let Some(library) = library(file, key)? else {
        return if file.has(&parameters_key) {
            let expected = format!("for a model that is built in: remove it, or name a library under {key}");
            file.choice(&parameters_key, &expected, |_| None)
        } else {
            Ok(None)
        };
    };
    let parameters = if file.has(&parameters_key) {
        file.text(&parameters_key)?
    } else {
        ""
    };
    match load(&library, parameters) {
        Ok(loaded) => Ok(Some(loaded)),
        Err(error) => file.choice(key, &format!("a library that can be used: {error}"), |_| None),
    }
}

/// Read together with the library that they are for.
const PARAMETERS_READ: fn(&MachineFile, &str, &mut LevelOptions, u32) -> Result<(), MachineError> =
    |file, key, _, _| {
        let library = key.trim_end_matches("_parameters");
        if file.has(library) {
            return Ok(());
        }
        file.choice(key, &format!("of use without a library under {library}"), |_| {
            None
        })
    };

/// Every option, in the order in which machines are written.
pub(crate) const OPTIONS: &[CacheOption] = &[
    CacheOption {
        key: "replacement",
        read: |file, key, options, _| {
            if let Some(loaded) = loaded(file, key, replacement::load)? {
                options.replacement = loaded;
                return Ok(());
            }
            let builtin: Vec<_> = replacement::BUILTIN.iter().collect();
            options.replacement = name_of(file, key, &builtin, |policy| policy.name.into())?;
            Ok(())
        },
        write: |options, _| quoted(options.replacement.name),
    },
    CacheOption {
        key: "replacement_parameters",
        read: PARAMETERS_READ,
        write: |options, _| quoted(options.replacement.parameters()),
    },
    CacheOption {
        key: "seed",
        read: |file, key, options, _| {
            options.seed = file.count(key)?.into();
            Ok(())
        },
        write: |options, _| options.seed.to_string(),
    },
    CacheOption {
        key: "write",
        read: |file, key, options, _| {
            options.write = name_of(file, key, WritePolicy::ALL, ToString::to_string)?;
            Ok(())
        },
        write: |options, _| quoted(&options.write),
    },
    CacheOption {
        key: "write_allocate",
        read: |file, key, options, _| {
            options.write_allocate = file.boolean(key, true)?;
            Ok(())
        },
        write: |options, _| options.write_allocate.to_string(),
    },
    CacheOption {
        key: "inclusion",
        read: |file, key, options, _| {
            options.inclusion = name_of(file, key, Inclusion::ALL, ToString::to_string)?;
            Ok(())
        },
        write: |options, _| quoted(&options.inclusion),
    },
    CacheOption {
        key: "sector",
        read: |file, key, options, line_bytes| {
            let expected = format!("a power of two of at least 8 B that divides the line of {line_bytes} B");
            let sector_bytes = file.choice(key, &expected, |text| {
                let bytes = u32::try_from(BYTES.parse_whole(text)?).ok()?;
                (bytes.is_power_of_two() && (8..=line_bytes).contains(&bytes)).then_some(bytes)
            })?;
            options.sectors = line_bytes / sector_bytes;
            Ok(())
        },
        write: |options, line_bytes| quoted(&BYTES.format((line_bytes / options.sectors).into())),
    },
    CacheOption {
        key: "slices",
        read: |file, key, options, _| {
            options.slices = file.count(key)?;
            Ok(())
        },
        write: |options, _| options.slices.to_string(),
    },
    CacheOption {
        key: "victim_lines",
        read: |file, key, options, _| {
            options.victim_lines = file.count(key)?;
            Ok(())
        },
        write: |options, _| options.victim_lines.to_string(),
    },
    CacheOption {
        key: "mshrs",
        read: |file, key, options, _| {
            options.mshrs = file.count(key)?;
            Ok(())
        },
        write: |options, _| options.mshrs.to_string(),
    },
    CacheOption {
        key: "miss_window",
        read: |file, key, options, _| {
            let window = file.whole(key, &ACCESSES)?;
            options.miss_window_accesses = u32::try_from(window).unwrap_or(u32::MAX);
            Ok(())
        },
        write: |options, _| quoted(&ACCESSES.format(options.miss_window_accesses.into())),
    },
    CacheOption {
        key: "write_buffer_lines",
        read: |file, key, options, _| {
            options.write_buffer_lines = file.count(key)?;
            Ok(())
        },
        write: |options, _| options.write_buffer_lines.to_string(),
    },
    CacheOption {
        key: "prefetcher",
        read: |file, key, options, _| {
            if let Some(loaded) = loaded(file, key, prefetch::load)? {
                options.prefetcher = Some(loaded);
                return Ok(());
            }
            let names: Vec<_> = std::iter::once("none")
                .chain(prefetch::BUILTIN.iter().map(|builtin| builtin.name))
                .collect();
            let name = name_of(file, key, &names, ToString::to_string)?;
            options.prefetcher = prefetch::BUILTIN.iter().find(|builtin| builtin.name == name);
            Ok(())
        },
        write: |options, _| quoted(options.prefetcher.map_or("none", |builtin| builtin.name)),
    },
    CacheOption {
        key: "prefetcher_parameters",
        read: PARAMETERS_READ,
        write: |options, _| quoted(options.prefetcher.map_or("", |builtin| builtin.parameters())),
    },
    CacheOption {
        key: "partition_by",
        read: |file, key, options, _| {
            partition(options).by = name_of(file, key, PartitionBy::ALL, ToString::to_string)?;
            Ok(())
        },
        write: |options, _| {
            let by = |partition: &Partition| partition.by;
            quoted(&options.partition.as_ref().map_or(PartitionBy::Core, by))
        },
    },
    CacheOption {
        key: "partition_ways",
        read: |file, key, options, _| {
            let expected = "masks of ways in hexadecimal, such as \"0x00ff 0xff00\"";
            partition(options).masks = file.choice(key, expected, masks)?;
            Ok(())
        },
        write: |options, _| {
            let masks = options.partition.iter().flat_map(|partition| &partition.masks);
            let masks: Vec<String> = masks.map(|mask| format!("{mask:#x}")).collect();
            quoted(&masks.join(" "))
        },
    },
    CacheOption {
        key: "coherence",
        read: |file, key, options, _| {
            let values: Vec<_> = std::iter::once(None)
                .chain(Protocol::ALL.iter().copied().map(Some))
                .collect();
            options.coherence = name_of(file, key, &values, |value| {
                value.map_or("none".into(), |protocol| protocol.to_string())
            })?;
            Ok(())
        },
        write: |options, _| {
            quoted(
                &options
                    .coherence
                    .map_or("none".into(), |protocol| protocol.to_string()),
            )
        },
    },
    CacheOption {
        key: "classify",
        read: |file, key, options, _| {
            options.classify = file.boolean(key, false)?;
            Ok(())
        },
        write: |options, _| options.classify.to_string(),
    },
    CacheOption {
        key: "opt_bound",
        read: |file, key, options, _| {
            options.opt_bound = file.boolean(key, false)?;
            Ok(())
        },
        write: |options, _| options.opt_bound.to_string(),
    },
];
