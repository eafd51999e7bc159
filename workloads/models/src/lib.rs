//! Random-weight GGUF models of real published shapes.
//!
//! The shapes, tensor names, types and layout in the file are those of the published models, so that an
//! inference program runs the same kernels over the same number of bytes in the same order. The weights and
//! the vocabulary are made up: what such a model says means nothing. A file depends on shape, type and seed
//! alone, byte for byte.
//!
//! Not modelled: the mixed types of published quantised files (llama.cpp stores the embedding or output
//! matrix of a Q4_0 file as Q6_K or Q8_0): here every matrix has the one type asked for. Vectors (norms,
//! biases) are F32, as always.

#![forbid(unsafe_code)]

pub mod file;
pub mod gguf;
pub mod model;
pub mod shape;
pub mod tensor;
mod vocabulary;
mod weights;

pub use file::{Error, write_file};
pub use model::Model;
pub use shape::{SHAPES, Shape};
pub use tensor::{DataType, Tensor};
