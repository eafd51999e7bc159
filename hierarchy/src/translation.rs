//! What a machine file may say of address translation: `[tlb]` and the tables in it.

use memloupe_cachesim::{PageSize, TlbConfig, TranslationConfig, Walks};
use serde::Serializer;

use crate::error::MachineError;
use crate::machine_file::MachineFile;
use crate::quantity::BYTES;

const WALK_CACHES: [&str; 3] = [
    "tlb.walker.pde_entries",
    "tlb.walker.pdpte_entries",
    "tlb.walker.pml4e_entries",
];

/// The translation that the file describes, if it has a data TLB.
pub(crate) fn read(file: &MachineFile) -> Result<Option<TranslationConfig>, MachineError> {
    let names = file.names_in("tlb");
    if names.is_empty() {
        return Ok(None);
    }
    let tlb = |name: &str| {
        let key = |leaf: &str| format!("tlb.{name}.{leaf}");
        Ok(TlbConfig {
            entries: file.count(&key("entries"))?,
            ways: file.count(&key("ways"))?,
        })
    };
    let optional = |name: &str| {
        let present = names.iter().any(|present| present == name);
        present.then(|| tlb(name)).transpose()
    };
    let sizes = PageSize::ALL.iter().map(|size| BYTES.format(size.bytes() as f64));
    let sizes = format!("one of: {}", sizes.collect::<Vec<_>>().join(", "));
    let mut walk_cache_entries = [0; WALK_CACHES.len()];
    for (entries, key) in walk_cache_entries.iter_mut().zip(WALK_CACHES) {
        if file.has(key) {
            *entries = file.count(key)?;
        }
    }
    Ok(Some(TranslationConfig {
        page: file.choice("tlb.page", &sizes, |text| {
            let bytes = BYTES.parse_whole(text)?;
            PageSize::ALL.iter().copied().find(|size| size.bytes() == bytes)
        })?,
        data: tlb("data")?,
        instruction: optional("instruction")?,
        unified: optional("unified")?,
        walks: file.choice("tlb.walks", "\"counted\" or \"cached\"", |text| {
            Walks::ALL.iter().copied().find(|walks| walks.to_string() == text)
        })?,
        walk_cache_entries,
    }))
}

/// The full keys and their values as TOML, table by table.
pub(crate) fn write(translation: &TranslationConfig) -> Vec<(&'static str, String)> {
    let mut keys = vec![
        (
            "tlb.page",
            format!("\"{}\"", BYTES.format(translation.page.bytes() as f64)),
        ),
        ("tlb.walks", format!("\"{}\"", translation.walks)),
    ];
    let mut tlb = |entries, ways, tlb: Option<TlbConfig>| {
        if let Some(tlb) = tlb {
            keys.extend([(entries, tlb.entries.to_string()), (ways, tlb.ways.to_string())]);
        }
    };
    tlb("tlb.data.entries", "tlb.data.ways", Some(translation.data));
    tlb(
        "tlb.instruction.entries",
        "tlb.instruction.ways",
        translation.instruction,
    );
    tlb("tlb.unified.entries", "tlb.unified.ways", translation.unified);
    let caches = WALK_CACHES.into_iter().zip(translation.walk_cache_entries);
    keys.extend(
        caches
            .filter(|cache| cache.1 > 0)
            .map(|(key, entries)| (key, entries.to_string())),
    );
    keys
}

/// As a map from key to value.
pub(crate) fn serialize<S: Serializer>(
    translation: &Option<TranslationConfig>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match translation {
        Some(translation) => serializer.collect_map(write(translation)),
        None => serializer.serialize_none(),
    }
}
