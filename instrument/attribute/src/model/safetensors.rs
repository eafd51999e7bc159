//! Safetensors files: a JSON header, then the tensors. Format: <https://huggingface.co/docs/safetensors>.

use std::path::Path;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::reader::Reader;
use super::{Damage, Format, Stored, Tensor};

/// The longest header that the reference implementation takes.
const MAX_HEADER_BYTES: u64 = 100_000_000;
/// The header's length, before the header.
const LENGTH_BYTES: u64 = 8;

pub(super) const FORMAT: Format = Format {
    name: "safetensors",
    recognises,
    read,
};

/// The one key that names no tensor.
const METADATA: &str = "__metadata__";

/// What the header says of a tensor.
#[derive(Deserialize)]
struct Info {
    dtype: String,
    shape: Vec<u64>,
    /// First byte and one past the last, from the start of the data.
    data_offsets: (u64, u64),
}

/// The format has no magic number; by content, for caches keep such files under their hash.
fn recognises(_path: &Path, prefix: &[u8]) -> bool {
    let header_bytes = prefix.first_chunk().map(|length| u64::from_le_bytes(*length));
    let is_plausible = header_bytes.is_some_and(|bytes| (2..=MAX_HEADER_BYTES).contains(&bytes));
    is_plausible
        && prefix
            .get(8..10)
            .is_some_and(|start| matches!(start, b"{\"" | b"{}" | b"{ "))
}

fn read(path: &Path) -> Result<Vec<Stored>, Damage> {
    let mut reader = Reader::open(path)?;
    let damage = |reader: &Reader, what| reader.damage(what);
    let header_bytes = reader.u64().map_err(|what| damage(&reader, what))?;
    if header_bytes > reader.left() {
        let left = reader.left();
        return Err(reader.damage(format!(
            "a header of {header_bytes} bytes should follow, but the file ends after {left}"
        )));
    }
    let mut header = vec![0; header_bytes as usize];
    reader.fill(&mut header).map_err(|what| damage(&reader, what))?;
    let mut header: Map<String, Value> =
        serde_json::from_slice(&header).map_err(|error| Damage::new(LENGTH_BYTES, error))?;
    header.remove(METADATA);
    let (data, left) = (reader.position(), reader.left());
    let mut stored = Vec::new();
    for (name, info) in header {
        let info = Info::deserialize(info)
            .map_err(|error| Damage::new(LENGTH_BYTES, format!("tensor \"{name}\": {error}")))?;
        let (start, end) = info.data_offsets;
        if start > end || end > left {
            return Err(reader.damage(format!(
                "tensor \"{name}\" lies at {start} to {end} of {left} bytes of data: is the file cut short?"
            )));
        }
        stored.push(Stored {
            external: None,
            tensor: Tensor {
                name,
                element_type: info.dtype,
                dimensions: info.shape,
                file_offset: data + start,
                bytes: end - start,
            },
        });
    }
    Ok(stored)
}
