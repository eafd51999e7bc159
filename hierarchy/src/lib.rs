//! Machines as data, and the memory system that a machine describes.
//!
//! A [`Machine`] is a TOML file: cores, caches and DRAM, every quantity with its unit. A [`System`] is that machine
//! at work: it takes runs of accesses, simulates them through the caches of `memloupe-cachesim` into an open-row
//! DRAM, and keeps every counter per owner. [`CoreTiming`] says what that costs a core. [`timed::TimedMemory`] is the
//! memory of a machine alone, in time, driven request by request from outside.
//!
//! The crate knows no process and no capture engine. It reads machine files and, for the machine `host`, what the
//! kernel says of this computer's caches; it writes nothing.

#![deny(unsafe_code)] // allowed in timed/library.rs: calls into shared libraries

mod answer;
mod cache_options;
mod curve;
pub mod dram;
mod energy;
mod error;
mod host;
mod interval;
mod link;
mod machine;
mod machine_file;
mod nearest;
mod presets;
mod quantity;
mod resolve;
mod system;
mod technology;
mod tiers;
pub mod timed;
mod translation;

pub use answer::Answer;
pub use curve::{Curve, CurveOptions, CurvePoint, Pattern};
pub use energy::{ASSUMED_HIT_PJ, AccessEnergy};
pub use error::{MachineError, Place};
pub use interval::{CoreTiming, Cycles, Exposure, Wait, Work};
pub use link::{Link, WireBytes};
pub use machine::{Cache, Core, Machine, MemoryDevice};
pub use presets::{PRESETS, Preset};
pub use system::{Counters, System};
pub use technology::Technology;
pub use tiers::{MainMemory, Migration, Placement, PlacementPolicy};
