//! memloupe: runs a program, and says where its bytes go.
//!
//! ```text
//! args ─► run ─► target, launch ─► pipeline (attribution ─► simulation) ─► collect ─► profile ─► report, page
//! ```
#![forbid(unsafe_code)]

pub mod analyses;
pub mod args;
pub mod collect;
mod cycles;
pub mod doctor;
pub mod dram;
pub mod failure;
pub mod join;
pub mod launch;
pub mod machine;
pub mod moved;
pub mod ops;
pub mod page;
pub mod pipeline;
pub mod plan;
pub mod profile;
pub mod progress;
pub mod python;
pub mod replay;
pub mod report;
pub mod run;
pub mod simulation;
pub mod target;
pub mod timeline;
pub mod trace;
pub mod window;
pub mod workers;
