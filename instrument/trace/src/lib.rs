//! Memory traces of other tools, read and written as streams of [`Reference`]s.
//!
//! A format keeps a part of what a reference is; [`Format::keeps`] says which, so that whoever converts a trace can say what
//! is lost. What a format does not keep has a default when it is read: no instruction, thread 0, [`Format::default_length`], and the reference's
//! place in the trace as its time. What formats leave open, a [`Setting`] says.
//!
//! Not kept by any: the contents of memory, dependences between instructions, and registers.
#![forbid(unsafe_code)]

mod champsim;
mod compression;
mod coordinates;
mod error;
mod format;
mod gem5;
mod prospero;
mod reference;
pub mod text;

pub use compression::{create, open};
pub use coordinates::{Coordinates, expected_coordinates, parse_coordinates};
pub use error::TraceError;
pub use format::{DefaultLength, Format, Keeps, Reader, Setting, Writer};
pub use reference::{Kind, LINE_BYTES, Reference};
