//! What the end-to-end tests share: they drive the built `memloupe` as a user does and read its JSON reports.
#![forbid(unsafe_code)]

mod cases;
mod program;
mod report;

pub use cases::Capture;
pub use program::{Program, candle, generation, library_folder, llama, memloupe, model};
pub use report::{Rows, Summary};
