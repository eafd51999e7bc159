//! A tensor's type, size and place in the file.

/// A GGML tensor type: a run of `block_len` elements takes `block_bytes` bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DataType {
    /// 32-bit floating point.
    F32,
    /// 16-bit floating point.
    F16,
    /// 32 signed bytes after one f16 scale.
    Q8_0,
    /// 32 nibbles, offset by 8, after one f16 scale.
    Q4_0,
    /// 8 times 32 nibbles, each with a scale and an offset of six bits, after an f16 scale of either.
    Q4K,
}

impl DataType {
    /// The types that matrices can be written in.
    pub const OF_MATRICES: &[Self] = &[Self::F16, Self::Q8_0, Self::Q4_0, Self::Q4K];

    /// The name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::Q8_0 => "q8_0",
            Self::Q4_0 => "q4_0",
            Self::Q4K => "q4_k",
        }
    }

    /// The matrix type of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::OF_MATRICES
            .iter()
            .copied()
            .find(|data_type| data_type.name() == name)
    }

    /// The type of a matrix with rows of so many elements that is to have this one: rows end in a block. (llama.cpp's own
    /// quantiser falls back to Q5_0 where this does to Q4_0.)
    pub(crate) fn of_rows(self, elements: u64) -> Self {
        if elements.is_multiple_of(self.block_len()) {
            self
        } else {
            Self::Q4_0
        }
    }

    /// Elements that share one scale.
    pub fn block_len(self) -> u64 {
        match self {
            Self::F32 | Self::F16 => 1,
            Self::Q8_0 | Self::Q4_0 => 32,
            Self::Q4K => 256,
        }
    }

    /// Bytes of one such block, scale included.
    pub fn block_bytes(self) -> u64 {
        match self {
            Self::F32 => 4,
            Self::F16 => 2,
            Self::Q8_0 => 2 + 32,
            Self::Q4_0 => 2 + 16,
            Self::Q4K => 2 * 2 + 12 + 128,
        }
    }

    /// `enum ggml_type`.
    pub(crate) fn ggml_type(self) -> u32 {
        match self {
            Self::F32 => 0,
            Self::F16 => 1,
            Self::Q4_0 => 2,
            Self::Q8_0 => 8,
            Self::Q4K => 12,
        }
    }

    /// `enum llama_ftype`: the value of `general.file_type` for a file of mostly this type.
    pub(crate) fn llama_ftype(self) -> u32 {
        match self {
            Self::F32 => 0,
            Self::F16 => 1,
            Self::Q4_0 => 2,
            Self::Q8_0 => 7,
            Self::Q4K => 14, // LLAMA_FTYPE_MOSTLY_Q4_K_S
        }
    }
}

/// How the values of a tensor are drawn.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Values {
    /// Spread about zero with this standard deviation.
    Centred(f32),
    /// Spread about one: the factors of a normalisation.
    NearOne,
}

/// One tensor of a model.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    /// GGUF name, for example `blk.0.attn_q.weight`.
    pub name: String,
    /// Elements per dimension, the contiguous one (a matrix's columns) first.
    pub dims: Vec<u64>,
    /// Element type.
    pub data_type: DataType,
    /// Value distribution.
    pub values: Values,
    /// Distance of its first byte from the start of the file's data section.
    pub offset_bytes: u64,
}

impl Tensor {
    /// Number of elements.
    pub fn n_elements(&self) -> u64 {
        self.dims.iter().product()
    }

    /// Size of its data, padding left out.
    pub fn n_bytes(&self) -> u64 {
        self.n_elements() / self.data_type.block_len() * self.data_type.block_bytes()
    }
}
