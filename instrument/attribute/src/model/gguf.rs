//! GGUF model files, versions 2 and 3: which tensor is at which offset.
//!
//! Only the header is read; metadata are skipped, save the alignment. Format:
//! <https://github.com/ggml-org/ggml/blob/master/docs/gguf.md>.

use std::path::Path;

use super::reader::Reader;
use super::{Damage, Format, Stored, Tensor};

pub(super) const FORMAT: Format = Format {
    name: "GGUF",
    recognises,
    read,
};

const MAGIC: [u8; 4] = *b"GGUF";
/// Of tensor data, where `general.alignment` does not say otherwise.
const DEFAULT_ALIGNMENT: u64 = 32;
/// More dimensions than ggml has (4), in case it grows; a damaged file has billions.
const MAX_DIMENSIONS: u32 = 16;
/// Arrays of arrays are allowed; a damaged file must not exhaust the stack.
const MAX_NESTING: u32 = 8;

/// More experts than any model has; a damaged file has billions.
const EXPERTS_MAX: u64 = 4096;

/// A tensor's element type: its number in the file, name, elements of a block, bytes of a block. From `ggml.h` and the
/// size assertions in `ggml-common.h`.
const ELEMENT_TYPES: [(u32, &str, u64, u64); 38] = [
    (0, "F32", 1, 4),
    (1, "F16", 1, 2),
    (2, "Q4_0", 32, 18),
    (3, "Q4_1", 32, 20),
    (6, "Q5_0", 32, 22),
    (7, "Q5_1", 32, 24),
    (8, "Q8_0", 32, 34),
    (9, "Q8_1", 32, 36),
    (10, "Q2_K", 256, 84),
    (11, "Q3_K", 256, 110),
    (12, "Q4_K", 256, 144),
    (13, "Q5_K", 256, 176),
    (14, "Q6_K", 256, 210),
    (15, "Q8_K", 256, 292),
    (16, "IQ2_XXS", 256, 66),
    (17, "IQ2_XS", 256, 74),
    (18, "IQ3_XXS", 256, 98),
    (19, "IQ1_S", 256, 50),
    (20, "IQ4_NL", 32, 18),
    (21, "IQ3_S", 256, 110),
    (22, "IQ2_S", 256, 82),
    (23, "IQ4_XS", 256, 136),
    (24, "I8", 1, 1),
    (25, "I16", 1, 2),
    (26, "I32", 1, 4),
    (27, "I64", 1, 8),
    (28, "F64", 1, 8),
    (29, "IQ1_M", 256, 56),
    (30, "BF16", 1, 2),
    (31, "Q4_0_4_4", 32, 18),
    (32, "Q4_0_4_8", 32, 18),
    (33, "Q4_0_8_8", 32, 18),
    (34, "TQ1_0", 256, 54),
    (35, "TQ2_0", 256, 66),
    (39, "MXFP4", 32, 17),
    (40, "NVFP4", 64, 36),
    (41, "Q1_0", 128, 18),
    (42, "Q2_0", 64, 18),
];

fn recognises(_path: &Path, prefix: &[u8]) -> bool {
    prefix.starts_with(&MAGIC)
}

fn read(path: &Path) -> Result<Vec<Stored>, Damage> {
    let mut header = Header {
        reader: Reader::open(path)?,
    };
    match header.parse() {
        Ok(tensors) => Ok(tensors
            .into_iter()
            .map(|tensor| Stored {
                tensor,
                external: None,
            })
            .collect()),
        Err(what) => Err(header.reader.damage(what)),
    }
}

/// A header being read.
struct Header {
    reader: Reader,
}

impl Header {
    fn parse(&mut self) -> Result<Vec<Tensor>, String> {
        if self.reader.array::<4>()? != MAGIC {
            return Err("it does not begin with \"GGUF\"".to_owned());
        }
        match self.reader.u32()? {
            2 | 3 => {}
            1 => {
                return Err(
                    "version 1 is not supported; convert it again with a current llama.cpp".to_owned(),
                );
            }
            version if matches!(version.swap_bytes(), 1..=3) => {
                return Err("it is a big-endian file, which x86-64 programs do not load".to_owned());
            }
            version => return Err(format!("version {version} is not known (2 and 3 are)")),
        }
        let tensor_count = self.reader.u64()?;
        let metadata_count = self.reader.u64()?;
        let mut alignment = DEFAULT_ALIGNMENT;
        for _ in 0..metadata_count {
            let key = self.text()?;
            let value_type = self.reader.u32()?;
            if key == "general.alignment" && value_type == 4 {
                alignment = u64::from(self.reader.u32()?);
                if alignment == 0 {
                    return Err("general.alignment is 0".to_owned());
                }
            } else {
                self.skip_value(value_type, 0)?;
            }
        }
        let mut tensors = Vec::new();
        for _ in 0..tensor_count {
            tensors.push(self.tensor()?);
        }
        let data = self
            .reader
            .position()
            .checked_next_multiple_of(alignment)
            .ok_or_else(|| format!("alignment {alignment} is too large"))?;
        self.place(tensors, data)
    }

    /// A tensor's entry; its offset counts from the start of the data and `bytes` is 0 for an unknown type.
    fn tensor(&mut self) -> Result<Tensor, String> {
        let name = self.text()?;
        let dimension_count = self.reader.u32()?;
        if dimension_count > MAX_DIMENSIONS {
            return Err(format!("tensor \"{name}\" has {dimension_count} dimensions"));
        }
        let dimensions: Vec<u64> = (0..dimension_count)
            .map(|_| self.reader.u64())
            .collect::<Result<_, _>>()?;
        let number = self.reader.u32()?;
        let file_offset = self.reader.u64()?;
        let too_large = || format!("tensor \"{name}\" is too large: {dimensions:?} elements");
        let elements = dimensions
            .iter()
            .try_fold(1u64, |product, count| product.checked_mul(*count));
        let elements = elements.ok_or_else(too_large)?;
        let known = ELEMENT_TYPES.iter().find(|(code, ..)| *code == number);
        let (element_type, bytes) = match known {
            Some((_, type_name, block_elements, block_bytes)) => {
                if elements % block_elements != 0 {
                    return Err(format!(
                        "tensor \"{name}\" has {elements} elements, which is no multiple of {type_name}'s block of \
                         {block_elements}"
                    ));
                }
                let bytes = (elements / block_elements)
                    .checked_mul(*block_bytes)
                    .ok_or_else(too_large)?;
                ((*type_name).to_owned(), bytes)
            }
            None => (format!("type {number}"), 0),
        };
        Ok(Tensor {
            name,
            element_type,
            dimensions,
            file_offset,
            bytes,
        })
    }

    /// Turns offsets within the data into offsets within the file and checks that tensors neither overlap nor overrun it.
    fn place(&self, mut tensors: Vec<Tensor>, data: u64) -> Result<Vec<Tensor>, String> {
        tensors.sort_by_key(|tensor| tensor.file_offset);
        let mut end = self.reader.bytes();
        for tensor in tensors.iter_mut().rev() {
            tensor.file_offset = data
                .checked_add(tensor.file_offset)
                .filter(|start| *start <= end)
                .ok_or_else(|| {
                    format!(
                        "tensor \"{}\" starts past the end of the file ({} bytes)",
                        tensor.name,
                        self.reader.bytes()
                    )
                })?;
            let room = end - tensor.file_offset;
            if tensor.element_type.starts_with("type ") {
                tensor.bytes = room;
            }
            if tensor.bytes > room {
                return Err(format!(
                    "tensor \"{}\" of {} bytes has only {room} bytes before the next tensor or the end of the file: is \
                     the file cut short?",
                    tensor.name, tensor.bytes
                ));
            }
            end = tensor.file_offset;
        }
        tensors.retain(|tensor| tensor.bytes > 0);
        Ok(tensors.into_iter().flat_map(experts).collect())
    }

    fn skip_value(&mut self, value_type: u32, nesting: u32) -> Result<(), String> {
        if let Some(bytes) = fixed_bytes(value_type) {
            return self.reader.skip(bytes);
        }
        match value_type {
            8 => {
                let bytes = self.reader.u64()?;
                self.reader.skip(bytes)
            }
            9 if nesting < MAX_NESTING => {
                let element_type = self.reader.u32()?;
                let count = self.reader.u64()?;
                if let Some(bytes) = fixed_bytes(element_type) {
                    let bytes = bytes
                        .checked_mul(count)
                        .ok_or_else(|| format!("an array of {count} elements"))?;
                    return self.reader.skip(bytes);
                }
                (0..count).try_for_each(|_| self.skip_value(element_type, nesting + 1))
            }
            9 => Err(format!("arrays are nested more than {MAX_NESTING} deep")),
            other => Err(format!("metadata of unknown type {other}")),
        }
    }

    fn text(&mut self) -> Result<String, String> {
        let bytes = self.reader.u64()?;
        self.reader.name(bytes)
    }
}

/// The matrices of a layer's experts lie one behind the other in a tensor: each is an object, `blk.0.ffn_up_exps.weight[3]`.
fn experts(tensor: Tensor) -> Vec<Tensor> {
    let count = match tensor.dimensions[..] {
        [_, _, count @ 1..=EXPERTS_MAX]
            if tensor.name.ends_with("_exps.weight") && tensor.bytes.is_multiple_of(count) =>
        {
            count
        }
        _ => return vec![tensor],
    };
    let bytes = tensor.bytes / count;
    let expert = |index| Tensor {
        name: format!("{}[{index}]", tensor.name),
        element_type: tensor.element_type.clone(),
        dimensions: tensor.dimensions[..2].to_vec(),
        file_offset: tensor.file_offset + index * bytes,
        bytes,
    };
    (0..count).map(expert).collect()
}

/// Bytes of a metadata value whose type has a fixed size.
fn fixed_bytes(value_type: u32) -> Option<u64> {
    Some(match value_type {
        0 | 1 | 7 => 1,
        2 | 3 => 2,
        4..=6 => 4,
        10..=12 => 8,
        _ => return None,
    })
}
