//! The pipeline: a stream's runs through attribution and simulation, batch by batch, while the target runs.

use std::time::Instant;

use memloupe_attribute::{AttributedBatch, Attribution, Fate, PhaseId};
use memloupe_cachesim::OwnerTraits;
use memloupe_hierarchy::System;
use memloupe_stream::{Event, Probe, RunBatch, Sink, SiteTable};

use crate::analyses::{Analyses, Found};
use crate::progress::Status;
use crate::timeline::Timeline;
use crate::window::{Moment, Window};

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
    window: Window,
    started: Instant,
    /// Instructions captured inside the region, in the window or not.
    instructions: u64,
    instances: Instances,
}

/// Instances of the region; without one, of operators.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Instances {
    /// Those that began, on all threads.
    pub all: u64,
    /// Those that began in the window.
    pub captured: u64,
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
            window: Window::default(),
            started: Instant::now(),
            instructions: 0,
            instances: Instances::default(),
        }
    }

    /// Only what lies in a window is attributed and simulated.
    #[must_use]
    pub fn within(self, window: Window) -> Self {
        Self { window, ..self }
    }

    fn is_in_window(&mut self, thread: u32) -> bool {
        let (tokens, in_token) = self.attribution.tokens();
        let now = Moment {
            instructions: self.instructions,
            instances: self.attribution.instances(thread),
            tokens,
            in_token,
            time: self.started.elapsed(),
        };
        self.window.admits(thread, now)
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
            instances,
            ..
        } = self;
        timeline.close(accesses, system.as_ref());
        Parts {
            attribution: attribution.into_parts(),
            system,
            locality: analyses.map(Analyses::finish),
            timeline,
            notes,
            instances,
        }
    }

    fn simulate(&mut self, thread: u32) {
        if let Some(analyses) = &mut self.analyses {
            analyses.runs(thread, self.attribution.ledger(), self.batch.runs());
        }
        let Some(system) = &mut self.system else { return };
        let ledger = self.attribution.ledger();
        let known = system.owner_count();
        system.reserve_owners(ledger.len());
        for row in known as u32..ledger.len() as u32 {
            let key = ledger.key(row);
            system.describe_owner(
                row,
                OwnerTraits {
                    site: key.site,
                    object: key.object,
                    class: 0,
                },
            );
        }
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
    /// How much of the region was captured.
    pub instances: Instances,
}

impl Sink for Pipeline {
    fn runs(&mut self, thread: u32, sites: &SiteTable, batch: &RunBatch) {
        self.last_thread = thread;
        if !self.attribution.is_inside(thread) {
            self.attribution.pass_over(thread, sites, batch);
            return;
        }
        let is_in_window = self.is_in_window(thread);
        let instructions = batch
            .runs()
            .map(|run| {
                let block = sites.block(run.block);
                block.map_or(0, |block| u64::from(block.instructions)) * run.executions()
            })
            .sum();
        self.instructions += instructions;
        if !is_in_window || self.attribution.fate(thread) == Fate::Skipped {
            self.attribution.pass_over(thread, sites, batch);
            return;
        }
        self.attribution.runs(thread, sites, batch, &mut self.batch);
        self.simulate(thread);
        for run in batch.runs() {
            // A fetch is the first operand or none.
            let data = run.operands.len() as u64 - u64::from(run.executions() > 0);
            self.accesses += data * run.iterations;
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
        let instances = self.attribution.instances(thread);
        self.attribution.event(thread, &event);
        if self.attribution.instances(thread) > instances {
            self.instances.all += 1;
            self.instances.captured += u64::from(self.is_in_window(thread));
        }
        self.phase_changed(phase);
    }

    fn probes(&mut self, first: u32) -> Vec<Probe> {
        self.attribution.resolve_probes(first)
    }
}
