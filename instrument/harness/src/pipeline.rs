//! The pipeline: a stream's runs through attribution and simulation, batch by batch, while the target runs.

use std::time::Instant;

use memloupe_attribute::{Attribution, Fate};
use memloupe_cachesim::OwnerTraits;
use memloupe_hierarchy::System;
use memloupe_stream::{Answer, Event, Probe, RunBatch, Sink, SiteTable};

use crate::analyses::{Analyses, Found};
use crate::progress::Status;
use crate::simulation::Simulation;
use crate::window::{Moment, Window};
use crate::workers::Workers;

/// Everything that happens between the decoder and the profile.
pub struct Pipeline {
    attribution: Attribution,
    workers: Workers,
    analyses: Option<Analyses>,
    /// Rows of the ledger that the workers know.
    rows_told: usize,
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
    /// Every system simulates the whole stream. Without one, accesses are attributed and counted only.
    #[must_use]
    pub fn new(mut attribution: Attribution, systems: Vec<System>, analyses: Option<Analyses>) -> Self {
        let caches = systems.iter().flat_map(|system| &system.machine().caches);
        let mut sizes: Vec<u64> = caches.map(|cache| cache.size_bytes).collect();
        sizes.sort_unstable();
        attribution.warm_for([sizes.pop(), sizes.pop()].map(Option::unwrap_or_default));
        Self {
            attribution,
            workers: Workers::new(systems),
            analyses,
            rows_told: 0,
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
        let now = self.now(thread);
        self.window.admits(thread, now)
    }

    fn now(&self, thread: u32) -> Moment {
        let (tokens, in_token) = self.attribution.tokens();
        Moment {
            instructions: self.instructions,
            instances: self.attribution.instances(thread),
            tokens,
            in_token,
            time: self.started.elapsed(),
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

    /// Brings to the caches what operators that went by have left there.
    fn warm(&mut self, sites: &SiteTable) {
        let (workers, rows_told) = (&mut self.workers, &mut self.rows_told);
        let accesses = self.accesses;
        self.attribution.warm(sites, |thread, attribution, stretches| {
            workers.submit(|step| {
                attribution.warm_up_runs(thread, stretches, &mut step.batch);
                step.thread = thread;
                tell_rows(attribution, rows_told, &mut step.rows);
                step.phase = attribution.phase();
                step.instructions = 0;
                (step.accesses_before, step.accesses) = (accesses, accesses);
            });
        });
    }

    /// The parts, once the stream is over.
    #[must_use]
    pub fn into_parts(mut self, sites: &SiteTable) -> Parts {
        // What observed operators have written is written back by those behind them.
        self.warm(sites);
        Parts {
            simulations: self.workers.finish(self.accesses),
            attribution: self.attribution.into_parts(),
            locality: self.analyses.map(Analyses::finish),
            notes: self.notes,
            instances: self.instances,
        }
    }
}

/// What the models may know of the rows that are new.
fn tell_rows(attribution: &Attribution, told: &mut usize, rows: &mut Vec<OwnerTraits>) {
    rows.clear();
    let (ledger, objects) = (attribution.ledger(), attribution.objects().table());
    let new = (*told..ledger.len()).map(|row| ledger.key(row as u32));
    rows.extend(new.map(|key| OwnerTraits {
        site: key.site,
        object: key.object,
        class: objects[key.object as usize].class as u8,
    }));
    *told = ledger.len();
}

/// What is left of a pipeline when its stream is over.
pub struct Parts {
    /// Names and rows.
    pub attribution: memloupe_attribute::Parts,
    /// One for each machine; without a machine, one that only knows when.
    pub simulations: Vec<Simulation>,
    /// What the analyses found out, if any was asked for.
    pub locality: Option<Found>,
    /// What a reader of the results must know.
    pub notes: Vec<String>,
    /// How much of the region was captured.
    pub instances: Instances,
}

impl Sink for Pipeline {
    fn wants_clock(&self) -> bool {
        self.attribution.is_timed()
    }

    fn clock(&mut self, thread: u32, clock: u64) {
        self.attribution.clock(thread, clock);
    }

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
            self.attribution.advance(instructions);
            return;
        }
        if matches!(self.attribution.fate(thread), Fate::Sampled(_)) {
            self.warm(sites);
        }
        let accesses_before = self.accesses;
        for run in batch.runs() {
            // A fetch is the first operand or none.
            let data = run.operands.len() as u64 - u64::from(run.executions() > 0);
            self.accesses += data * run.iterations;
        }
        self.workers.submit(|step| {
            self.attribution.runs(thread, sites, batch, &mut step.batch);
            let ledger = self.attribution.ledger();
            if let Some(analyses) = &mut self.analyses {
                analyses.runs(thread, ledger, step.batch.runs());
            }
            step.thread = thread;
            tell_rows(&self.attribution, &mut self.rows_told, &mut step.rows);
            step.phase = self.attribution.phase();
            step.instructions = instructions;
            step.accesses_before = accesses_before;
            step.accesses = self.accesses;
        });
        self.attribution.advance(instructions);
    }

    fn takes_scattered(&self) -> bool {
        true
    }

    fn event(&mut self, thread: u32, event: Event) {
        match &event {
            Event::Exec { path } => {
                self.notes.push(format!(
                    "the target called exec of {path}: what follows is that program"
                ));
            }
            Event::Unobserved { instructions, cause } => {
                self.notes.push(if *instructions > 0 {
                    format!("{instructions} instructions were not observed: {cause}")
                } else {
                    format!("not observed: {cause}")
                });
            }
            _ => {}
        }
        let instances = self.attribution.instances(thread);
        let (tokens, _) = self.attribution.tokens();
        self.attribution.event(thread, &event);
        if self.attribution.tokens().0 > tokens {
            // A window of tokens opens with the phase's call, before anything of it is recorded.
            self.is_in_window(thread);
        }
        if self.attribution.instances(thread) > instances {
            self.instances.all += 1;
            self.instances.captured += u64::from(self.is_in_window(thread));
        }
    }

    fn probes(&mut self, first: u32) -> Vec<Probe> {
        self.attribution.resolve_probes(first)
    }

    fn answer(&mut self, thread: u32) -> Answer {
        self.attribution.meaning(thread)
    }

    fn wants(&self) -> bool {
        !self.window.is_closed(self.now(self.last_thread))
    }
}
