//! A machine file as flat keys, each with the place where it stands.
//!
//! `[cache.l2] size = "1 MiB"` becomes the key `cache.l2.size`. Flat keys make `extends` a plain overlay: what the
//! extending file says replaces what the extended one says, key by key.

use std::collections::BTreeMap;
use std::path::Path;
use std::rc::Rc;

use toml::de::{DeTable, DeValue};

use crate::cache_options::OPTIONS;
use crate::error::{MachineError, Place};
use crate::nearest::nearest;
use crate::quantity::Quantity;

/// Every key that a machine file may have, but for the [`OPTIONS`] of caches; `*` stands for a name that the file chooses.
const KEYS: &[&str] = &[
    "name",
    "description",
    "source",
    "extends",
    "core.count",
    "core.frequency",
    "core.issue_width",
    "core.rob",
    "cache.*.present",
    "cache.*.level",
    "cache.*.contents",
    "cache.*.scope",
    "cache.*.size",
    "cache.*.ways",
    "cache.*.line",
    "cache.*.latency",
    "cache.*.hit_energy",
    "cache.*.miss_energy",
    "tlb.page",
    "tlb.walks",
    "tlb.data.entries",
    "tlb.data.ways",
    "tlb.data.energy",
    "tlb.instruction.entries",
    "tlb.instruction.ways",
    "tlb.instruction.energy",
    "tlb.unified.entries",
    "tlb.unified.ways",
    "tlb.unified.energy",
    "tlb.walker.pde_entries",
    "tlb.walker.pdpte_entries",
    "tlb.walker.pml4e_entries",
    "tlb.walker.energy",
    "memory.name",
    "memory.placement.page",
    "memory.placement.policy",
    "memory.placement.promote_after",
    "memory.placement.epoch",
];

/// What `[memory]` and each `[memory.tier.NAME]` may have.
const MEMORY_KEYS: &[&str] = &[
    "device",
    "channels",
    "ranks",
    "mapping",
    "latency",
    "link_energy",
    "capacity",
    "weight",
    "classes",
    "link.latency",
    "link.bandwidth",
    "link.flit",
    "link.flit_payload",
    "link.header",
    "link.energy",
];

/// Every pattern of keys.
fn patterns() -> impl Iterator<Item = String> {
    let options = OPTIONS.iter().map(|option| format!("cache.*.{}", option.key));
    let memories = MEMORY_KEYS
        .iter()
        .flat_map(|key| [format!("memory.{key}"), format!("memory.tier.*.{key}")]);
    KEYS.iter()
        .map(ToString::to_string)
        .chain(options)
        .chain(memories)
}

#[derive(Clone, Debug)]
enum Value {
    Text(String),
    Integer(i64),
    Boolean(bool),
}

#[derive(Clone, Debug)]
struct Entry {
    value: Value,
    file: Rc<str>,
    line: usize,
}

impl Entry {
    fn place(&self) -> Place {
        Place {
            file: self.file.to_string(),
            line: self.line,
        }
    }

    fn refuse(&self, key: &str, expected: impl Into<String>) -> MachineError {
        let value = match &self.value {
            Value::Text(text) => format!("\"{text}\""),
            Value::Integer(integer) => integer.to_string(),
            Value::Boolean(boolean) => boolean.to_string(),
        };
        MachineError::BadValue {
            place: self.place(),
            key: key.into(),
            value,
            expected: expected.into(),
        }
    }
}

/// The keys of one machine, those of the machines that it extends included.
#[derive(Clone, Debug)]
pub(crate) struct MachineFile {
    file: Rc<str>,
    entries: BTreeMap<String, Entry>,
}

impl MachineFile {
    /// Reads TOML text; `file` is the name that errors give.
    pub(crate) fn parse(file: &str, text: &str) -> Result<Self, MachineError> {
        let lines = LineNumbers { text };
        let table = DeTable::parse(text).map_err(|error| MachineError::Syntax {
            place: Place {
                file: file.into(),
                line: lines.of(error.span().map_or(0, |span| span.start)),
            },
            message: error.message().replace('\n', ", "),
        })?;
        let mut parsed = Self {
            file: file.into(),
            entries: BTreeMap::new(),
        };
        parsed.flatten("", table.get_ref(), &lines)?;
        Ok(parsed)
    }

    fn flatten(
        &mut self,
        prefix: &str,
        table: &DeTable<'_>,
        lines: &LineNumbers<'_>,
    ) -> Result<(), MachineError> {
        for (name, value) in table {
            let key = format!("{prefix}{}", name.get_ref());
            let line = lines.of(name.span().start);
            let place = || Place {
                file: self.file.to_string(),
                line,
            };
            let unreadable = |value: &str, expected: &str| MachineError::BadValue {
                place: place(),
                key: key.clone(),
                value: value.into(),
                expected: expected.into(),
            };
            if let DeValue::Table(inner) = value.get_ref() {
                if !patterns().any(|pattern| matches(&pattern, &key, true)) {
                    return Err(MachineError::UnknownKey {
                        place: place(),
                        nearest: nearest_key(&key),
                        key,
                    });
                }
                self.flatten(&format!("{key}."), inner, lines)?;
                continue;
            }
            if !patterns().any(|pattern| matches(&pattern, &key, false)) {
                return Err(MachineError::UnknownKey {
                    place: place(),
                    nearest: nearest_key(&key),
                    key,
                });
            }
            let value = match value.get_ref() {
                DeValue::String(text) => Value::Text(text.clone().into_owned()),
                DeValue::Boolean(boolean) => Value::Boolean(*boolean),
                DeValue::Integer(integer) => i64::from_str_radix(integer.as_str(), integer.radix())
                    .map(Value::Integer)
                    .map_err(|_| unreadable(integer.as_str(), "a 64-bit integer"))?,
                DeValue::Float(float) => {
                    return Err(unreadable(
                        float.as_str(),
                        "an integer, or a text with a number and a unit",
                    ));
                }
                other => {
                    return Err(unreadable(
                        other.type_str(),
                        "a text, an integer, or true or false",
                    ));
                }
            };
            self.entries.insert(
                key,
                Entry {
                    value,
                    file: self.file.clone(),
                    line,
                },
            );
        }
        Ok(())
    }

    /// Takes every key of `base` that this file does not give itself.
    pub(crate) fn overlay_on(&mut self, base: MachineFile) {
        for (key, entry) in base.entries {
            self.entries.entry(key).or_insert(entry);
        }
    }

    /// Sets `key`, as if the file said so in its first line.
    pub(crate) fn set_text(&mut self, key: &str, value: impl Into<String>) {
        self.set(key, Value::Text(value.into()));
    }

    /// Sets `key`, as if the file said so in its first line.
    pub(crate) fn set_integer(&mut self, key: &str, value: u32) {
        self.set(key, Value::Integer(value.into()));
    }

    /// Names the machine, unless the file does.
    pub(crate) fn set_default_name(&mut self, name: &str) {
        if !self.has("name") {
            self.set_text("name", name);
        }
    }

    /// Removes `[table]` and everything in it.
    pub(crate) fn remove_table(&mut self, table: &str) {
        let inside = |key: &String| key.strip_prefix(table).is_some_and(|rest| rest.starts_with('.'));
        self.entries.retain(|key, _| !inside(key));
    }

    fn set(&mut self, key: &str, value: Value) {
        self.entries.insert(
            key.into(),
            Entry {
                value,
                file: self.file.clone(),
                line: 1,
            },
        );
    }

    /// Removes `key` and returns its text and place.
    pub(crate) fn take_text(&mut self, key: &str) -> Result<Option<(String, Place)>, MachineError> {
        let Some(entry) = self.entries.remove(key) else {
            return Ok(None);
        };
        match entry.value {
            Value::Text(ref text) => Ok(Some((text.clone(), entry.place()))),
            _ => Err(entry.refuse(key, "a text")),
        }
    }

    /// The names in `[table.NAME]`, in alphabetical order.
    pub(crate) fn names_in(&self, table: &str) -> Vec<String> {
        let mut names: Vec<String> = self
            .entries
            .keys()
            .filter_map(|key| key.strip_prefix(table)?.strip_prefix('.')?.split('.').next())
            .map(String::from)
            .collect();
        names.dedup();
        names
    }

    fn entry(&self, key: &str) -> Result<&Entry, MachineError> {
        self.entries.get(key).ok_or_else(|| MachineError::MissingKey {
            file: self.file.to_string(),
            key: key.into(),
        })
    }

    pub(crate) fn has(&self, key: &str) -> bool {
        self.entries.contains_key(key)
    }

    /// The folder of the file that gives `key`.
    pub(crate) fn folder(&self, key: &str) -> Result<&Path, MachineError> {
        let file = Path::new(&*self.entry(key)?.file);
        Ok(file.parent().unwrap_or(Path::new("")))
    }

    /// A text.
    pub(crate) fn text(&self, key: &str) -> Result<&str, MachineError> {
        let entry = self.entry(key)?;
        match &entry.value {
            Value::Text(text) => Ok(text),
            _ => Err(entry.refuse(key, "a text")),
        }
    }

    /// A text that `convert` takes; `expected` says which those are.
    pub(crate) fn choice<T>(
        &self,
        key: &str,
        expected: &str,
        convert: impl Fn(&str) -> Option<T>,
    ) -> Result<T, MachineError> {
        let entry = self.entry(key)?;
        match &entry.value {
            Value::Text(text) => convert(text).ok_or_else(|| entry.refuse(key, expected)),
            _ => Err(entry.refuse(key, expected)),
        }
    }

    /// A number of things: 1 to 65536.
    pub(crate) fn count(&self, key: &str) -> Result<u32, MachineError> {
        let entry = self.entry(key)?;
        match entry.value {
            Value::Integer(integer @ 1..=65536) => Ok(integer as u32),
            _ => Err(entry.refuse(key, "an integer from 1 to 65536")),
        }
    }

    /// True or false; `default` if the key is absent.
    pub(crate) fn boolean(&self, key: &str, default: bool) -> Result<bool, MachineError> {
        match self.entries.get(key) {
            None => Ok(default),
            Some(Entry {
                value: Value::Boolean(boolean),
                ..
            }) => Ok(*boolean),
            Some(entry) => Err(entry.refuse(key, "true or false")),
        }
    }

    /// A whole number of the base unit of one quantity.
    pub(crate) fn whole(&self, key: &str, quantity: &Quantity) -> Result<u64, MachineError> {
        self.choice(key, &expectation(&[quantity]), |text| quantity.parse_whole(text))
    }

    /// A number of the base unit of one quantity, if the key is given.
    pub(crate) fn number(&self, key: &str, quantity: &Quantity) -> Result<Option<f64>, MachineError> {
        if !self.has(key) {
            return Ok(None);
        }
        self.choice(key, &expectation(&[quantity]), |text| quantity.parse(text))
            .map(Some)
    }

    /// A duration in cycles, given in cycles or in time at `frequency_hz`.
    pub(crate) fn cycles(&self, key: &str, frequency_hz: u64) -> Result<f64, MachineError> {
        use crate::quantity::{CYCLES, PICOSECONDS};
        self.choice(key, &expectation(&[&CYCLES, &PICOSECONDS]), |text| {
            CYCLES
                .parse(text)
                .or_else(|| Some(PICOSECONDS.parse(text)? * frequency_hz as f64 / 1e12))
        })
    }
}

fn expectation(quantities: &[&Quantity]) -> String {
    let one = |q: &&Quantity| {
        format!(
            "{} with a unit ({}), such as \"{}\"",
            q.noun,
            q.unit_names(),
            q.example
        )
    };
    quantities.iter().map(one).collect::<Vec<_>>().join(" or ")
}

/// Whether `key` fits `pattern`, or with `as_table` whether it is a table on the way to it.
fn matches(pattern: &str, key: &str, as_table: bool) -> bool {
    let mut parts = pattern.split('.');
    let fits = key
        .split('.')
        .all(|name| parts.next().is_some_and(|part| part == "*" || part == name));
    fits && (parts.next().is_some() == as_table)
}

/// The known key nearest to `key`, with the names that the file chose.
fn nearest_key(key: &str) -> Option<String> {
    let (table, name) = key.rsplit_once('.').unwrap_or(("", key));
    let depth = key.split('.').count();
    let in_same_table: Vec<String> = patterns()
        .filter_map(|pattern| {
            let parts: Vec<&str> = pattern.split('.').collect();
            let table_fits =
                depth == 1 || parts.len() >= depth && matches(&parts[..depth - 1].join("."), table, false);
            (table_fits && parts.len() >= depth).then(|| parts[depth - 1].to_owned())
        })
        .collect();
    let candidates = in_same_table.iter().map(String::as_str);
    let found = nearest(name, candidates.filter(|&part| part != "*"))?;
    Some(if table.is_empty() {
        found.into()
    } else {
        format!("{table}.{found}")
    })
}

struct LineNumbers<'a> {
    text: &'a str,
}

impl LineNumbers<'_> {
    fn of(&self, offset: usize) -> usize {
        self.text.bytes().take(offset).filter(|&b| b == b'\n').count() + 1
    }
}
