//! The pipeline: a stream's runs through attribution and simulation, batch by batch, while the target runs.

use memloupe_attribute::{AttributedBatch, Attribution, PhaseId};
use memloupe_hierarchy::System;
use memloupe_stream::{AccessKind, Event, Probe, RunBatch, Sink, SiteTable};

use crate::analyses::{Analyses, Found};
use crate::progress::Status;
use crate::timeline::Timeline;

/// Everything that happens between the decoder and the profile.
pub struct Pipeline {
    attribution: Attribution,
    system: Option<System>,
    analyses: Option<Analyses>,
    timeline: Timeline,
    batch: AttributedBatch,
    accesses: u64,
    last_thread: u32,
    notes: Vec<String>,
}

impl Pipeline {
    /// Without a system, accesses are attributed and counted only.
    #[must_use]
    pub fn new(attribution: Attribution, system: Option<System>, analyses: Option<Analyses>) -> Self {
        Self {
            attribution,
            system,
            analyses,
            timeline: Timeline::default(),
            batch: AttributedBatch::default(),
            accesses: 0,
            last_thread: 0,
            notes: Vec::new(),
        }
    }

    /// Where things stand.
    #[must_use]
    pub fn status(&self) -> Status {
        let phase = self.attribution.contexts().phase(self.attribution.phase());
        let operator = self
            .attribution
            .operator(self.last_thread)
            .map_or_else(String::new, |id| {
                let operator = &self.attribution.probes().operators()[id as usize];
                format!("{} {}", operator.kind, operator.name)
            });
        Status {
            accesses: self.accesses,
            phase: phase
                .index
                .map_or_else(|| phase.name.clone(), |index| format!("{} {index}", phase.name)),
            operator,
        }
    }

    /// The parts, once the stream is over.
    #[must_use]
    pub fn into_parts(self) -> Parts {
        let Self {
            attribution,
            system,
            analyses,
            mut timeline,
            accesses,
            notes,
            ..
        } = self;
        timeline.close(accesses, system.as_ref());
        Parts {
            attribution: attribution.into_parts(),
            system,
            locality: analyses.map(Analyses::finish),
            timeline,
            notes,
        }
    }

    fn simulate(&mut self, thread: u32) {
        if let Some(analyses) = &mut self.analyses {
            analyses.runs(thread, self.attribution.ledger(), self.batch.runs());
        }
        let Some(system) = &mut self.system else { return };
        system.reserve_owners(self.attribution.ledger().len());
        let core = thread as usize % system.cores();
        system.runs(core, self.batch.runs());
    }

    fn phase_changed(&mut self, before: PhaseId) {
        if self.attribution.phase() != before {
            self.timeline.close(self.accesses, self.system.as_ref());
        }
    }
}

/// What is left of a pipeline when its stream is over.
pub struct Parts {
    /// Names and rows.
    pub attribution: memloupe_attribute::Parts,
    /// The simulated machine, if there is one.
    pub system: Option<System>,
    /// What the analyses found out, if any was asked for.
    pub locality: Option<Found>,
    /// Traffic over time.
    pub timeline: Timeline,
    /// What a reader of the results must know.
    pub notes: Vec<String>,
}

impl Sink for Pipeline {
    fn runs(&mut self, thread: u32, sites: &SiteTable, batch: &RunBatch) {
        self.last_thread = thread;
        self.attribution.runs(thread, sites, batch, &mut self.batch);
        self.simulate(thread);
        let mut instructions = 0;
        for run in batch.runs() {
            let data = run
                .operands
                .iter()
                .filter(|operand| operand.kind != AccessKind::Fetch)
                .count() as u64;
            self.accesses += data * run.iterations;
            instructions += sites
                .block(run.block)
                .map_or(0, |block| u64::from(block.instructions))
                * run.executions();
        }
        self.timeline.advance(
            self.attribution.phase(),
            instructions,
            self.accesses,
            self.system.as_ref(),
        );
    }

    fn event(&mut self, thread: u32, event: Event) {
        match &event {
            Event::Exec { path } => {
                self.notes.push(format!(
                    "the target called exec of {path}: what follows is that program"
                ));
            }
            Event::Unobserved { instructions, cause } => {
                self.notes
                    .push(format!("{instructions} instructions were not observed: {cause}"));
            }
            _ => {}
        }
        let phase = self.attribution.phase();
        self.attribution.event(thread, &event);
        self.phase_changed(phase);
    }

    fn probes(&mut self, first: u32) -> Vec<Probe> {
        self.attribution.resolve_probes(first)
    }
}
