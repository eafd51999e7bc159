//! What a machine file may say of address translation: `[tlb]` and the tables in it.

use memloupe_cachesim::{Contents, PageSize, TlbConfig, TranslationConfig, TranslationCounters, Walks};
use serde::{Serialize, Serializer};

use crate::energy::assumed_pj;
use crate::error::MachineError;
use crate::machine::Cache;
use crate::machine_file::MachineFile;
use crate::quantity::{BYTES, PICOJOULES};

const WALK_CACHES: [&str; 3] = [
    "tlb.walker.pde_entries",
    "tlb.walker.pdpte_entries",
    "tlb.walker.pml4e_entries",
];

/// Of a TLB entry: the page's number and the frame's.
const ENTRY_BYTES: u64 = 16;

/// What translation costs, in picojoules.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct TranslationEnergy {
    /// A look-up in the data TLB.
    pub data_pj: f64,
    /// A look-up in the instruction TLB.
    pub instruction_pj: f64,
    /// A look-up in the unified TLB.
    pub unified_pj: f64,
    /// Reading an entry of the page table, where walks are counted and not sent to the caches.
    pub walk_read_pj: f64,
}

impl TranslationEnergy {
    /// What the file says, or what is assumed: a TLB costs what a cache of its entries does, and walks find their entries
    /// in the second level of the caches.
    pub(crate) fn read(
        file: &MachineFile,
        translation: &TranslationConfig,
        caches: &[Cache],
        notes: &mut Vec<String>,
    ) -> Result<Self, MachineError> {
        let mut assumes = false;
        let mut given = |name: &str, assumed: Option<f64>| {
            let Some(assumed) = assumed else { return Ok(0.0) };
            let pj = file.number(&format!("tlb.{name}.energy"), &PICOJOULES)?;
            assumes |= pj.is_none();
            Ok(pj.unwrap_or(assumed))
        };
        let of_entries = |tlb: &TlbConfig| assumed_pj(u64::from(tlb.entries) * ENTRY_BYTES).0;
        let mut data = caches
            .iter()
            .filter(|cache| cache.contents != Contents::Instruction);
        let second = data.next().map(|first| data.next().unwrap_or(first));
        let counted = translation.walks == Walks::Counted;
        let energy = Self {
            data_pj: given("data", Some(of_entries(&translation.data)))?,
            instruction_pj: given("instruction", translation.instruction.as_ref().map(of_entries))?,
            unified_pj: given("unified", translation.unified.as_ref().map(of_entries))?,
            walk_read_pj: given("walker", second.filter(|_| counted).map(|cache| cache.hit_pj))?,
        };
        if assumes {
            notes.push(
                "energy of translation is not given: assumed as of caches of 16 B an entry, walks' as of second-level hits"
                    .into(),
            );
        }
        Ok(energy)
    }

    /// What was counted costs.
    pub(crate) fn picojoules(&self, counters: &TranslationCounters) -> f64 {
        self.data_pj * counters.dtlb_accesses as f64
            + self.instruction_pj * counters.itlb_accesses as f64
            + self.unified_pj * counters.stlb_accesses as f64
            + self.walk_read_pj * counters.walk_reads as f64
    }
}

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
pub(crate) fn write(
    translation: &TranslationConfig,
    energy: Option<&TranslationEnergy>,
) -> Vec<(&'static str, String)> {
    let mut keys = vec![
        (
            "tlb.page",
            format!("\"{}\"", BYTES.format(translation.page.bytes() as f64)),
        ),
        ("tlb.walks", format!("\"{}\"", translation.walks)),
    ];
    let quoted = |pj: f64| format!("\"{}\"", PICOJOULES.format(pj));
    let mut tlb = |names: [&'static str; 3], tlb: Option<TlbConfig>, pj: Option<f64>| {
        if let Some(tlb) = tlb {
            let sizes = [tlb.entries, tlb.ways].map(|size| size.to_string());
            let values = sizes.into_iter().chain(pj.map(quoted));
            keys.extend(names.into_iter().zip(values));
        }
    };
    tlb(
        ["tlb.data.entries", "tlb.data.ways", "tlb.data.energy"],
        Some(translation.data),
        energy.map(|energy| energy.data_pj),
    );
    tlb(
        [
            "tlb.instruction.entries",
            "tlb.instruction.ways",
            "tlb.instruction.energy",
        ],
        translation.instruction,
        energy.map(|energy| energy.instruction_pj),
    );
    tlb(
        ["tlb.unified.entries", "tlb.unified.ways", "tlb.unified.energy"],
        translation.unified,
        energy.map(|energy| energy.unified_pj),
    );
    let caches = WALK_CACHES.into_iter().zip(translation.walk_cache_entries);
    keys.extend(
        caches
            .filter(|cache| cache.1 > 0)
            .map(|(key, entries)| (key, entries.to_string())),
    );
    if let Some(energy) = energy.filter(|_| translation.walks == Walks::Counted) {
        keys.push(("tlb.walker.energy", quoted(energy.walk_read_pj)));
    }
    keys
}

/// As a map from key to value.
pub(crate) fn serialize<S: Serializer>(
    translation: &Option<TranslationConfig>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match translation {
        Some(translation) => serializer.collect_map(write(translation, None)),
        None => serializer.serialize_none(),
    }
}
