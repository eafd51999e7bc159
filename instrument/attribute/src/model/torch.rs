//! PyTorch files (`torch.save` since 1.6, TorchScript): a zip archive of `data.pkl`, which says what the tensors are,
//! and `data/KEY`, the storages, uncompressed. Format: `torch/serialization.py`, `caffe2/serialize/inline_container.h`.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use zip::{CompressionMethod, ZipArchive};

use super::pickle::{Node, NodeId, Pickle};
use super::{Damage, Format, Stored, Tensor};

pub(super) const FORMAT: Format = Format {
    name: "PyTorch",
    recognises,
    read,
};

const PICKLE: &str = "data.pkl";
/// The pickle of a model of a thousand layers has some 200 kB.
const MAX_PICKLE_BYTES: u64 = 1 << 30;
/// Nesting of what is looked through for tensors; module paths have some ten parts.
const MAX_DEPTH: usize = 64;

/// Bytes of an element, by the storage class of the pickle.
const ELEMENT_BYTES: [(&str, u64); 14] = [
    ("FloatStorage", 4),
    ("DoubleStorage", 8),
    ("HalfStorage", 2),
    ("BFloat16Storage", 2),
    ("LongStorage", 8),
    ("IntStorage", 4),
    ("ShortStorage", 2),
    ("CharStorage", 1),
    ("ByteStorage", 1),
    ("BoolStorage", 1),
    ("ComplexFloatStorage", 8),
    ("ComplexDoubleStorage", 16),
    ("QInt8Storage", 1),
    ("UntypedStorage", 1),
];

/// Any zip archive begins so; one without a `data.pkl` has no tensors.
fn recognises(_path: &Path, prefix: &[u8]) -> bool {
    prefix.starts_with(b"PK\x03\x04")
}

fn read(path: &Path) -> Result<Vec<Stored>, Damage> {
    let file = File::open(path).map_err(|error| Damage::new(0, error))?;
    let bytes = file.metadata().map_or(0, |metadata| metadata.len());
    let mut archive = ZipArchive::new(BufReader::new(file)).map_err(|error| {
        // The directory is at the end of the file.
        Damage::new(bytes, format!("{error}: is the file cut short?"))
    })?;
    let is_pickle = |name: &String| name.split_once('/').is_some_and(|(_, rest)| rest == PICKLE);
    let mut names = archive.file_names().flatten().map(|name| name.into_owned());
    let Some(pickle_name) = names.find(is_pickle) else {
        return Ok(Vec::new());
    };
    drop(names);
    let root = pickle_name.trim_end_matches(PICKLE).to_owned();
    let mut pickle = Vec::new();
    let pickle_at = {
        let entry = archive
            .by_name(&pickle_name)
            .map_err(|error| Damage::new(0, format!("{pickle_name}: {error}")))?;
        let at = entry.data_start().unwrap_or(0);
        entry
            .take(MAX_PICKLE_BYTES)
            .read_to_end(&mut pickle)
            .map_err(|error| Damage::new(at, format!("{pickle_name}: {error}")))?;
        at
    };
    let pickle = Pickle::parse(&pickle)
        .map_err(|(at, what)| Damage::new(pickle_at + at as u64, format!("{pickle_name}: {what}")))?;
    let mut found = Search {
        pickle: &pickle,
        seen: HashSet::new(),
        tensors: Vec::new(),
    };
    found.walk(pickle.root(), &mut Vec::new());
    let mut storages: HashMap<&str, Option<(u64, u64)>> = HashMap::new();
    let mut stored = Vec::new();
    for tensor in &found.tensors {
        let storage = storages
            .entry(tensor.storage_key)
            .or_insert_with(|| place(&mut archive, &format!("{root}data/{}", tensor.storage_key)));
        let Some((start, storage_bytes)) = *storage else {
            continue;
        };
        let storage_bytes = storage_bytes.min(bytes.saturating_sub(start));
        let skipped = tensor.first_element.saturating_mul(tensor.element_bytes);
        let span = tensor
            .span_bytes()
            .filter(|span| *span <= storage_bytes.saturating_sub(skipped));
        let Some(span) = span else {
            let what = format!("tensor \"{}\" reaches past the end of its storage", tensor.name);
            return Err(Damage::new(start, what));
        };
        stored.push(Stored {
            external: None,
            tensor: Tensor {
                name: tensor.name.clone(),
                element_type: tensor.storage_class.to_owned(),
                dimensions: tensor.sizes.clone(),
                file_offset: start + skipped,
                bytes: span,
            },
        });
    }
    Ok(stored)
}

/// Where an uncompressed entry's bytes are in the file.
fn place(archive: &mut ZipArchive<BufReader<File>>, name: &str) -> Option<(u64, u64)> {
    let entry = archive.by_name(name).ok()?;
    let start = (entry.compression() == CompressionMethod::Stored).then(|| entry.data_start())??;
    Some((start, entry.size()))
}

/// A tensor as the pickle describes it.
struct Described<'a> {
    name: String,
    storage_class: &'a str,
    element_bytes: u64,
    storage_key: &'a str,
    first_element: u64,
    sizes: Vec<u64>,
    strides: Vec<u64>,
}

impl Described<'_> {
    /// From the first byte of the first element to the last byte of the last.
    fn span_bytes(&self) -> Option<u64> {
        if self.sizes.contains(&0) {
            return Some(0);
        }
        let last = self
            .sizes
            .iter()
            .zip(&self.strides)
            .try_fold(0u64, |last, (size, stride)| {
                last.checked_add((size - 1).checked_mul(*stride)?)
            })?;
        last.checked_add(1)?.checked_mul(self.element_bytes)
    }
}

struct Search<'a> {
    pickle: &'a Pickle,
    /// Containers looked through: shared ones are named by their first place, cycles end.
    seen: HashSet<NodeId>,
    tensors: Vec<Described<'a>>,
}

impl<'a> Search<'a> {
    fn walk(&mut self, id: NodeId, path: &mut Vec<String>) {
        if path.len() > MAX_DEPTH || !self.seen.insert(id) {
            return;
        }
        let pickle = self.pickle;
        match pickle.node(id) {
            Node::Dictionary(items) => self.items(items, path),
            Node::Sequence(items) => items.iter().for_each(|item| self.walk(*item, path)),
            Node::Call {
                callable,
                arguments,
                state,
                items,
            } => {
                if let Node::Global(_, function) = pickle.node(*callable) {
                    if function.starts_with("_rebuild_tensor") {
                        self.tensors.extend(self.describe(*arguments, path));
                        return;
                    }
                    // `_rebuild_parameter(tensor, …)` and subclasses' wrappers.
                    if function.starts_with("_rebuild_") {
                        self.walk(*arguments, path);
                    }
                }
                self.items(items, path);
                // A module of a pickled model or of TorchScript: its attributes.
                if let Some(state) = state {
                    self.walk(*state, path);
                }
            }
            _ => {}
        }
    }

    fn items(&mut self, items: &'a [(NodeId, NodeId)], path: &mut Vec<String>) {
        for (key, value) in items {
            // `nn.Module`'s own dictionaries are no part of a parameter's name.
            let part = match self.pickle.node(*key) {
                Node::Text(text) if matches!(text.as_str(), "_modules" | "_parameters" | "_buffers") => None,
                Node::Text(text) => Some(text.clone()),
                Node::Integer(number) => Some(number.to_string()),
                _ => None,
            };
            let depth = path.len();
            path.extend(part);
            self.walk(*value, path);
            path.truncate(depth);
        }
    }

    /// `_rebuild_tensor_v2(storage, first element, sizes, strides, …)`; the storage is the persistent id
    /// `("storage", class, key, device, elements)`.
    fn describe(&self, arguments: NodeId, path: &[String]) -> Option<Described<'a>> {
        let pickle = self.pickle;
        let [storage, first_element, sizes, strides, ..] = pickle.sequence(arguments)? else {
            return None;
        };
        let Node::Persistent(id) = pickle.node(*storage) else {
            return None;
        };
        let [_, class, key, ..] = pickle.sequence(*id)? else {
            return None;
        };
        let storage_class = match pickle.node(*class) {
            Node::Global(_, name) => name,
            _ => return None,
        };
        let (_, element_bytes) = ELEMENT_BYTES.iter().find(|(name, _)| name == storage_class)?;
        let naturals = |id: NodeId| -> Option<Vec<u64>> {
            let items = pickle.sequence(id)?.iter();
            items.map(|item| pickle.natural(*item)).collect()
        };
        Some(Described {
            name: path.join("."),
            storage_class,
            element_bytes: *element_bytes,
            storage_key: pickle.text(*key)?,
            first_element: pickle.natural(*first_element)?,
            sizes: naturals(*sizes)?,
            strides: naturals(*strides)?,
        })
    }
}
