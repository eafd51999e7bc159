//! DRAM: standards as data, the timed controller of a channel, and row outcomes without time.
//!
//! - [`Standard`] reads a device file; a [`Device`] is one of its speed bins in one of its organisations.
//! - [`DramSystem`] is the timed model: queues, schedulers, refresh, every timing constraint, event-driven.
//! - [`check`] holds any command trace against the standard; it shares only the device's parameters with the model.
//! - [`Dram`] says only which requests hit an open row, for runs whose misses are too many to be timed.

mod checker;
mod command;
mod constraint;
mod controller;
mod coordinates;
mod device;
mod energy;
mod error;
mod mapping;
mod replay;
mod rows;
mod sources;
mod standard;
mod statistics;
mod system;
mod timing;
mod wear;

pub use checker::{Checker, Violation, check};
pub use command::{Command, Target};
pub use constraint::{Constraint, Scope};
pub use controller::{
    Channel, Completion, ControllerConfig, Exposure, IssuedCommand, Mitigation, Plan, Request, RowPolicy,
    Scheduler,
};
pub use coordinates::BurstCoordinates;
pub use device::{Device, RefreshMode};
pub use energy::{Energy, EventEnergy};
pub use error::DramError;
pub use mapping::{AddressMapping, DEFAULT_MAPPING, Location, NAMED};
pub use replay::{Pace, Place, Workload};
pub use rows::{Dram, DramCounters};
pub use standard::{Currents, Standard};
pub use statistics::{Histogram, RowOutcome, SourceStatistics, Statistics};
pub use system::{DramSystem, Topology};
pub use timing::{Tick, TimingState, TimingTable};
pub use wear::Written;
