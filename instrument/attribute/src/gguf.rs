//! GGUF model files, versions 2 and 3: which tensor is at which offset.
//!
//! Only the header is read; metadata are skipped, save the alignment. Format:
//! <https://github.com/ggml-org/ggml/blob/master/docs/gguf.md>.

use std::fmt;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek};
use std::ops::Range;
use std::path::{Path, PathBuf};

const MAGIC: [u8; 4] = *b"GGUF";
/// Of tensor data, where `general.alignment` does not say otherwise.
const DEFAULT_ALIGNMENT: u64 = 32;
/// More dimensions than ggml has (4), in case it grows; a damaged file has billions.
const MAX_DIMENSIONS: u32 = 16;
/// Arrays of arrays are allowed; a damaged file must not exhaust the stack.
const MAX_NESTING: u32 = 8;

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

/// A tensor of a model file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tensor {
    /// `blk.0.attn_q.weight`…
    pub name: String,
    /// `F16`, `Q4_0`…; `type N` if its number is not known.
    pub element_type: String,
    /// Elements along each dimension, the contiguous one first.
    pub dimensions: Vec<u64>,
    /// Of its first byte, from the start of the file.
    pub file_offset: u64,
    /// Its size. Of an unknown type: up to the next tensor.
    pub bytes: u64,
}

/// The tensors of a model file, by offset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelFile {
    tensors: Vec<Tensor>,
}

/// Why a file is not a readable GGUF file.
#[derive(Debug)]
pub struct GgufError {
    path: PathBuf,
    /// Offset in the file.
    at: u64,
    what: String,
}

impl fmt::Display for GgufError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}: not a readable GGUF file: at byte {}: {}",
            self.path.display(),
            self.at,
            self.what
        )
    }
}

impl std::error::Error for GgufError {}

/// Whether a file begins like a GGUF file. False also if it can't be read.
#[must_use]
pub fn is_gguf(path: &Path) -> bool {
    let mut magic = [0; 4];
    // Opening a FIFO would wait for its writer.
    path.is_file()
        && File::open(path)
            .and_then(|mut file| file.read_exact(&mut magic))
            .is_ok()
        && magic == MAGIC
}

impl ModelFile {
    /// Reads a file's header.
    ///
    /// # Errors
    /// If it can't be read, is cut short or does not follow the format.
    pub fn open(path: &Path) -> Result<Self, GgufError> {
        let failed = |at, what| GgufError {
            path: path.to_owned(),
            at,
            what,
        };
        let file = File::open(path).map_err(|error| failed(0, error.to_string()))?;
        let bytes = file
            .metadata()
            .map_err(|error| failed(0, error.to_string()))?
            .len();
        let mut header = Header {
            source: BufReader::with_capacity(1 << 16, file),
            position: 0,
            bytes,
        };
        header.parse().map_err(|what| failed(header.position, what))
    }

    /// The tensors, by ascending offset.
    #[must_use]
    pub fn tensors(&self) -> &[Tensor] {
        &self.tensors
    }

    /// The tensor that a byte of the file belongs to.
    #[must_use]
    pub fn tensor_at(&self, file_offset: u64) -> Option<&Tensor> {
        let index = self
            .indices_overlapping(file_offset, file_offset.checked_add(1)?)
            .next()?;
        self.tensors.get(index)
    }

    /// Which tensors have bytes in [start, end) of the file.
    pub(crate) fn indices_overlapping(&self, start: u64, end: u64) -> Range<usize> {
        let first = self
            .tensors
            .partition_point(|tensor| tensor.file_offset + tensor.bytes <= start);
        let last = self.tensors.partition_point(|tensor| tensor.file_offset < end);
        first..last
    }
}

/// A header being read. Every length is checked against what is left of the file before it is believed.
struct Header<R> {
    source: BufReader<R>,
    position: u64,
    bytes: u64,
}

impl<R: Read + Seek> Header<R> {
    fn parse(&mut self) -> Result<ModelFile, String> {
        if self.array::<4>()? != MAGIC {
            return Err("it does not begin with \"GGUF\"".to_owned());
        }
        match self.u32()? {
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
        let tensor_count = self.u64()?;
        let metadata_count = self.u64()?;
        let mut alignment = DEFAULT_ALIGNMENT;
        for _ in 0..metadata_count {
            let key = self.text()?;
            let value_type = self.u32()?;
            if key == "general.alignment" && value_type == 4 {
                alignment = u64::from(self.u32()?);
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
            .position
            .checked_next_multiple_of(alignment)
            .ok_or_else(|| format!("alignment {alignment} is too large"))?;
        self.place(tensors, data)
    }

    /// A tensor's entry; its offset counts from the start of the data and `bytes` is 0 for an unknown type.
    fn tensor(&mut self) -> Result<Tensor, String> {
        let name = self.text()?;
        let dimension_count = self.u32()?;
        if dimension_count > MAX_DIMENSIONS {
            return Err(format!("tensor \"{name}\" has {dimension_count} dimensions"));
        }
        let dimensions: Vec<u64> = (0..dimension_count)
            .map(|_| self.u64())
            .collect::<Result<_, _>>()?;
        let number = self.u32()?;
        let file_offset = self.u64()?;
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
    fn place(&self, mut tensors: Vec<Tensor>, data: u64) -> Result<ModelFile, String> {
        tensors.sort_by_key(|tensor| tensor.file_offset);
        let mut end = self.bytes;
        for tensor in tensors.iter_mut().rev() {
            tensor.file_offset = data
                .checked_add(tensor.file_offset)
                .filter(|start| *start <= end)
                .ok_or_else(|| {
                    format!(
                        "tensor \"{}\" starts past the end of the file ({} bytes)",
                        tensor.name, self.bytes
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
        Ok(ModelFile { tensors })
    }

    fn skip_value(&mut self, value_type: u32, nesting: u32) -> Result<(), String> {
        if let Some(bytes) = fixed_bytes(value_type) {
            return self.skip(bytes);
        }
        match value_type {
            8 => {
                let bytes = self.u64()?;
                self.skip(bytes)
            }
            9 if nesting < MAX_NESTING => {
                let element_type = self.u32()?;
                let count = self.u64()?;
                if let Some(bytes) = fixed_bytes(element_type) {
                    let bytes = bytes
                        .checked_mul(count)
                        .ok_or_else(|| format!("an array of {count} elements"))?;
                    return self.skip(bytes);
                }
                (0..count).try_for_each(|_| self.skip_value(element_type, nesting + 1))
            }
            9 => Err(format!("arrays are nested more than {MAX_NESTING} deep")),
            other => Err(format!("metadata of unknown type {other}")),
        }
    }

    fn left(&self) -> u64 {
        self.bytes - self.position
    }

    fn skip(&mut self, bytes: u64) -> Result<(), String> {
        if bytes > self.left() {
            return Err(format!(
                "{bytes} bytes should follow, but the file ends after {}",
                self.left()
            ));
        }
        let distance = i64::try_from(bytes).map_err(|error| error.to_string())?;
        self.source
            .seek_relative(distance)
            .map_err(|error| error.to_string())?;
        self.position += bytes;
        Ok(())
    }

    fn fill(&mut self, buffer: &mut [u8]) -> Result<(), String> {
        let bytes = buffer.len() as u64;
        if bytes > self.left() {
            return Err(format!(
                "{bytes} bytes should follow, but the file ends after {}",
                self.left()
            ));
        }
        self.source
            .read_exact(buffer)
            .map_err(|error: io::Error| error.to_string())?;
        self.position += bytes;
        Ok(())
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], String> {
        let mut bytes = [0; N];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    fn u32(&mut self) -> Result<u32, String> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, String> {
        self.array().map(u64::from_le_bytes)
    }

    fn text(&mut self) -> Result<String, String> {
        let bytes = self.u64()?;
        // Names have at most 64 bytes by the format, keys 65535.
        if bytes > u64::from(u16::MAX) {
            return Err(format!("a name of {bytes} bytes"));
        }
        let mut text = vec![0; bytes as usize];
        self.fill(&mut text)?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }
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
