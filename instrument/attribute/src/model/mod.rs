//! Model files: which tensor is at which offset of which file.
//!
//! Only headers are read, and an offset is believed only if the file is long enough for it. A tensor is named by the
//! bytes of the file, so it does not matter whether the target maps the file or reads it.
//!
//! Not recognised: tensors that a file holds compressed, or as anything but contiguous bytes (ONNX `float_data`).

mod gguf;
mod onnx;
mod pickle;
mod reader;
mod safetensors;
mod torch;

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// Bytes at the start of a file that tell formats apart.
const PREFIX_BYTES: usize = 16;

/// A file format.
struct Format {
    name: &'static str,
    /// By the path and the first [`PREFIX_BYTES`] bytes, fewer if the file is shorter.
    recognises: fn(&Path, &[u8]) -> bool,
    /// The tensors in the file itself and in files that it refers to.
    read: fn(&Path) -> Result<Vec<Stored>, Damage>,
}

/// Every format, in the order in which they are tried.
const FORMATS: [Format; 4] = [gguf::FORMAT, safetensors::FORMAT, torch::FORMAT, onnx::FORMAT];

/// A tensor of a model file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tensor {
    /// `blk.0.attn_q.weight`…
    pub name: String,
    /// In the words of the format: `F16`, `Q4_0`, `HalfStorage`…; `type N` if its number is not known.
    pub element_type: String,
    /// Elements along each dimension, in the order of the format.
    pub dimensions: Vec<u64>,
    /// Of its first byte, from the start of the file.
    pub file_offset: u64,
    /// Its size.
    pub bytes: u64,
}

/// A tensor, and the file that holds it if it is not the one that names it.
struct Stored {
    tensor: Tensor,
    external: Option<PathBuf>,
}

/// What is wrong with a file.
struct Damage {
    /// Offset in the file.
    at: u64,
    what: String,
}

impl Damage {
    fn new(at: u64, what: impl fmt::Display) -> Self {
        Self {
            at,
            what: what.to_string(),
        }
    }
}

/// Why the tensors of a model file have no names.
#[derive(Debug)]
pub struct ModelError {
    path: PathBuf,
    format: &'static str,
    at: u64,
    what: String,
}

impl fmt::Display for ModelError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            path,
            format,
            at,
            what,
        } = self;
        let path = path.display();
        write!(f, "{path}: not a readable {format} file: at byte {at}: {what}")
    }
}

impl std::error::Error for ModelError {}

/// The tensors that one file holds, by offset. None overlaps another.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ModelFile {
    tensors: Vec<Tensor>,
}

/// A model: the file that was opened, and the files that it refers to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Model {
    /// The tensors in the file itself.
    pub own: ModelFile,
    /// The tensors in other files.
    pub external: Vec<(PathBuf, ModelFile)>,
}

impl Model {
    /// Reads the headers of a model file. None if it is none: of no known format, or not to be read at all.
    ///
    /// # Errors
    /// If it begins like a model file, but is cut short or does not follow the format.
    #[must_use]
    pub fn open(path: &Path) -> Option<Result<Self, ModelError>> {
        // Opening a FIFO would wait for its writer.
        if !path.is_file() {
            return None;
        }
        let mut prefix = Vec::with_capacity(PREFIX_BYTES);
        let file = File::open(path).ok()?;
        file.take(PREFIX_BYTES as u64).read_to_end(&mut prefix).ok()?;
        let format = FORMATS.iter().find(|format| (format.recognises)(path, &prefix))?;
        let named = |Damage { at, what }| ModelError {
            path: path.to_owned(),
            format: format.name,
            at,
            what,
        };
        Some((format.read)(path).map(Self::new).map_err(named))
    }

    fn new(stored: Vec<Stored>) -> Self {
        let mut own = Vec::new();
        let mut external: Vec<(PathBuf, Vec<Tensor>)> = Vec::new();
        for Stored {
            tensor,
            external: file,
        } in stored
        {
            let Some(file) = file else {
                own.push(tensor);
                continue;
            };
            match external.iter_mut().find(|(known, _)| *known == file) {
                Some((_, tensors)) => tensors.push(tensor),
                None => external.push((file, vec![tensor])),
            }
        }
        let external = external.into_iter();
        Self {
            own: ModelFile::new(own),
            external: external
                .map(|(file, tensors)| (file, ModelFile::new(tensors)))
                .collect(),
        }
    }
}

impl ModelFile {
    /// Tensors may share bytes, as tied weights and views do: the one that starts first keeps them, of several that
    /// start together the largest, of equal ones the first that the file names.
    fn new(mut tensors: Vec<Tensor>) -> Self {
        tensors.sort_by_key(|tensor| (tensor.file_offset, u64::MAX - tensor.bytes));
        let mut end = 0;
        tensors.retain_mut(|tensor| {
            let tensor_end = tensor.file_offset.saturating_add(tensor.bytes);
            tensor.file_offset = tensor.file_offset.max(end);
            tensor.bytes = tensor_end.saturating_sub(tensor.file_offset);
            end = end.max(tensor_end);
            tensor.bytes > 0
        });
        Self { tensors }
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
