//! One machine's view of the stream: its caches and memory, and its traffic over time.

use memloupe_attribute::{AttributedBatch, PhaseId};
use memloupe_cachesim::OwnerTraits;
use memloupe_hierarchy::System;

use crate::timeline::Timeline;

/// A batch of attributed runs of one thread, and all that a simulation needs to know besides.
#[derive(Debug, Default)]
pub struct Step {
    /// The thread.
    pub thread: u32,
    /// Its runs.
    pub batch: AttributedBatch,
    /// What the models may know of the rows of the ledger that are new with this step, in order of their ids.
    pub rows: Vec<OwnerTraits>,
    /// The phase that the runs belong to.
    pub phase: PhaseId,
    /// Instructions of the runs.
    pub instructions: u64,
    /// Data accesses of all steps before this one.
    pub accesses_before: u64,
    /// Data accesses of all steps up to this one.
    pub accesses: u64,
}

/// A machine at work, or none: then only the time is kept.
#[derive(Debug, Default)]
pub struct Simulation {
    system: Option<System>,
    timeline: Timeline,
}

impl Simulation {
    /// Of one machine.
    #[must_use]
    pub fn of(system: System) -> Self {
        Self {
            system: Some(system),
            timeline: Timeline::default(),
        }
    }

    /// Simulates a step.
    pub fn take(&mut self, step: &Step) {
        self.timeline
            .enter(step.phase, step.accesses_before, self.system.as_ref());
        if let Some(system) = &mut self.system {
            let known = system.owner_count();
            system.reserve_owners(known + step.rows.len());
            for (traits, row) in step.rows.iter().zip(known as u32..) {
                system.describe_owner(row, *traits);
            }
            let core = step.thread as usize % system.cores();
            system.runs(core, step.batch.joined_runs());
        }
        self.timeline
            .advance(step.instructions, step.accesses, self.system.as_ref());
    }

    /// The stream is over; `accesses` is the total.
    pub fn close(&mut self, accesses: u64) {
        self.timeline.close(accesses, self.system.as_ref());
    }

    /// The machine, if there is one.
    #[must_use]
    pub fn system(&self) -> Option<&System> {
        self.system.as_ref()
    }

    /// Traffic over time.
    #[must_use]
    pub fn timeline(&self) -> &Timeline {
        &self.timeline
    }
}
