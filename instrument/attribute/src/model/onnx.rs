//! ONNX model files: the initializers of the graph, in the file itself (`raw_data`) or in files beside it
//! (`external_data`).
//!
//! The file is one protobuf message, walked field by field so that the offsets of the data are known and nothing is
//! read whole. Field numbers are those of `onnx.proto3`
//! (<https://github.com/onnx/onnx/blob/main/onnx/onnx.proto3>). Initializers of subgraphs have no names here.

use std::path::{Component, Path, PathBuf};

use super::reader::Reader;
use super::{Damage, Format, Stored, Tensor};

pub(super) const FORMAT: Format = Format {
    name: "ONNX",
    recognises,
    read,
};

const MODEL_GRAPH: u64 = 7;
const GRAPH_INITIALIZER: u64 = 5;
const TENSOR_DIMS: u64 = 1;
const TENSOR_DATA_TYPE: u64 = 2;
const TENSOR_NAME: u64 = 8;
const TENSOR_RAW_DATA: u64 = 9;
const TENSOR_EXTERNAL_DATA: u64 = 13;
const ENTRY_KEY: u64 = 1;
const ENTRY_VALUE: u64 = 2;

/// `TensorProto.DataType`, by number.
const DATA_TYPES: [&str; 24] = [
    "UNDEFINED",
    "FLOAT",
    "UINT8",
    "INT8",
    "UINT16",
    "INT16",
    "INT32",
    "INT64",
    "STRING",
    "BOOL",
    "FLOAT16",
    "DOUBLE",
    "UINT32",
    "UINT64",
    "COMPLEX64",
    "COMPLEX128",
    "BFLOAT16",
    "FLOAT8E4M3FN",
    "FLOAT8E4M3FNUZ",
    "FLOAT8E5M2",
    "FLOAT8E5M2FNUZ",
    "UINT4",
    "INT4",
    "FLOAT4E2M1",
];

/// Protobuf has no magic number, so the name decides.
fn recognises(path: &Path, _prefix: &[u8]) -> bool {
    path.extension().is_some_and(|extension| extension == "onnx")
}

fn read(path: &Path) -> Result<Vec<Stored>, Damage> {
    let mut reader = Reader::open(path)?;
    let folder = path.parent().unwrap_or(Path::new(""));
    let mut stored = Vec::new();
    let end = reader.bytes();
    let walked = message(&mut reader, end, |reader, field, value| match (field, value) {
        (MODEL_GRAPH, Value::Bytes(graph)) => {
            message(reader, graph, |reader, field, value| match (field, value) {
                (GRAPH_INITIALIZER, Value::Bytes(tensor)) => {
                    stored.extend(initializer(reader, tensor, folder)?);
                    Ok(())
                }
                (_, value) => value.skip(reader),
            })
        }
        (_, value) => value.skip(reader),
    });
    walked.map_err(|what| reader.damage(what))?;
    Ok(stored)
}

/// A tensor; none if its data are not contiguous bytes.
fn initializer(reader: &mut Reader, end: u64, folder: &Path) -> Result<Option<Stored>, String> {
    let mut name = String::new();
    let mut dimensions = Vec::new();
    let mut data_type = 0;
    let mut raw = None;
    let mut external = External::default();
    message(reader, end, |reader, field, value| match (field, value) {
        (TENSOR_DIMS, Value::Number(elements)) => {
            dimensions.push(elements);
            Ok(())
        }
        // Packed.
        (TENSOR_DIMS, Value::Bytes(end)) => {
            while reader.position() < end {
                dimensions.push(varint(reader)?);
            }
            Ok(())
        }
        (TENSOR_DATA_TYPE, Value::Number(number)) => {
            data_type = number;
            Ok(())
        }
        (TENSOR_NAME, Value::Bytes(end)) => {
            name = reader.name(end - reader.position())?;
            Ok(())
        }
        (TENSOR_RAW_DATA, Value::Bytes(end)) => {
            raw = Some((reader.position(), end - reader.position()));
            value.skip(reader)
        }
        (TENSOR_EXTERNAL_DATA, Value::Bytes(end)) => external.entry(reader, end),
        (_, value) => value.skip(reader),
    })?;
    let (file, (file_offset, bytes)) = match (external.location, raw) {
        (Some(location), _) => {
            let file = external_path(folder, &location)
                .ok_or_else(|| format!("tensor \"{name}\" lies outside the model's folder: {location}"))?;
            let file_bytes = std::fs::metadata(&file)
                .map_err(|error| format!("tensor \"{name}\" lies in {}: {error}", file.display()))?;
            let left = file_bytes.len().saturating_sub(external.offset);
            let bytes = external.length.unwrap_or(left);
            if bytes > left {
                return Err(format!(
                    "tensor \"{name}\" of {bytes} bytes at byte {} of {} has only {left}: is that file cut short?",
                    external.offset,
                    file.display()
                ));
            }
            (Some(file), (external.offset, bytes))
        }
        (None, Some(place)) => (None, place),
        (None, None) => return Ok(None),
    };
    let element_type = DATA_TYPES.get(data_type as usize);
    Ok(Some(Stored {
        external: file,
        tensor: Tensor {
            element_type: element_type.map_or_else(|| format!("type {data_type}"), |&known| known.to_owned()),
            name,
            dimensions,
            file_offset,
            bytes,
        },
    }))
}

/// `external_data`: pairs of texts.
#[derive(Default)]
struct External {
    location: Option<String>,
    offset: u64,
    length: Option<u64>,
}

impl External {
    fn entry(&mut self, reader: &mut Reader, end: u64) -> Result<(), String> {
        let (mut key, mut value) = (String::new(), String::new());
        message(reader, end, |reader, field, found| {
            let text = match (field, found) {
                (ENTRY_KEY, Value::Bytes(_)) => &mut key,
                (ENTRY_VALUE, Value::Bytes(_)) => &mut value,
                _ => return found.skip(reader),
            };
            let Value::Bytes(end) = found else { return Ok(()) };
            *text = reader.name(end - reader.position())?;
            Ok(())
        })?;
        let number = |text: &str| {
            text.parse()
                .map_err(|_| format!("external data of {key} \"{text}\", which is no number"))
        };
        match key.as_str() {
            "location" => self.location = Some(value),
            "offset" => self.offset = number(&value)?,
            "length" => self.length = Some(number(&value)?),
            _ => {}
        }
        Ok(())
    }
}

/// The standard wants the path relative to the model and without `..`.
fn external_path(folder: &Path, location: &str) -> Option<PathBuf> {
    let location = Path::new(location);
    let is_inside = location
        .components()
        .all(|component| matches!(component, Component::Normal(_) | Component::CurDir));
    is_inside.then(|| folder.join(location))
}

/// The value of a field: a number as it is, bytes by where they end.
#[derive(Clone, Copy)]
enum Value {
    Number(u64),
    Bytes(u64),
}

impl Value {
    fn skip(self, reader: &mut Reader) -> Result<(), String> {
        match self {
            Self::Number(_) => Ok(()),
            Self::Bytes(end) => reader.skip(end - reader.position()),
        }
    }
}

/// Walks the fields of a message. `field` must leave the reader behind the value.
fn message(
    reader: &mut Reader,
    end: u64,
    mut field: impl FnMut(&mut Reader, u64, Value) -> Result<(), String>,
) -> Result<(), String> {
    while reader.position() < end {
        let tag = varint(reader)?;
        let value = match tag & 7 {
            0 => Value::Number(varint(reader)?),
            1 => Value::Number(reader.u64()?),
            5 => Value::Number(reader.u32()?.into()),
            2 => {
                let bytes = varint(reader)?;
                let left = end.saturating_sub(reader.position());
                if bytes > left {
                    return Err(format!(
                        "a field of {bytes} bytes where its message has {left} left: is the file cut short?"
                    ));
                }
                Value::Bytes(reader.position() + bytes)
            }
            wire => return Err(format!("wire type {wire}, which protobuf 3 does not have")),
        };
        field(reader, tag >> 3, value)?;
    }
    if reader.position() > end {
        return Err("a field reaches past the end of its message".to_owned());
    }
    Ok(())
}

fn varint(reader: &mut Reader) -> Result<u64, String> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let [byte] = reader.array()?;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err("a number of more than ten bytes".to_owned())
}
