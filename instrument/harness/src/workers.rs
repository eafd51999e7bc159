//! Simulations on threads of their own, each behind a bounded queue: decoding and attribution run ahead of them, several
//! machines side by side.
//!
//! Every simulation takes every step, in order, so results do not depend on the threads. A step is shared, not copied. Its
//! memory is used again as soon as every simulation is done with it, which for the oldest of the queue's steps always holds.

use std::collections::VecDeque;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{JoinHandle, available_parallelism, spawn};

use memloupe_hierarchy::System;

use crate::simulation::{Simulation, Step};

/// Steps that may wait for a simulation: some hundred thousand accesses, some megabytes at most.
const QUEUE_STEPS: usize = 16;
/// One more is with the simulation, one with the producer.
const STEPS: usize = QUEUE_STEPS + 2;

/// Who simulates.
#[derive(Debug)]
pub enum Workers {
    /// The thread that decodes: the only processor there is, or nothing to simulate.
    Here(Vec<Simulation>, Box<Step>),
    /// A thread each.
    Threads {
        /// One for each simulation.
        workers: Vec<Worker>,
        /// Steps that were handed out, oldest first.
        steps: VecDeque<Arc<Step>>,
    },
}

/// A simulation on its thread.
#[derive(Debug)]
pub struct Worker {
    queue: SyncSender<Arc<Step>>,
    thread: JoinHandle<Simulation>,
}

impl Worker {
    fn start(system: System) -> Self {
        let (queue, steps): (_, Receiver<Arc<Step>>) = sync_channel(QUEUE_STEPS);
        let thread = spawn(move || {
            let mut simulation = Simulation::of(system);
            for step in steps {
                simulation.take(&step);
            }
            simulation
        });
        Self { queue, thread }
    }

    fn finish(self) -> Simulation {
        drop(self.queue);
        self.thread.join().unwrap_or_else(|panic| resume_unwind(panic))
    }
}

impl Workers {
    /// Ready to simulate: on threads where the computer runs several at once.
    #[must_use]
    pub fn new(systems: Vec<System>) -> Self {
        if systems.is_empty() {
            return Self::Here(vec![Simulation::default()], Box::default());
        }
        if available_parallelism().map_or(1, usize::from) == 1 {
            return Self::here(systems);
        }
        Self::on_threads(systems)
    }

    /// Each on a thread of its own.
    #[must_use]
    pub fn on_threads(systems: Vec<System>) -> Self {
        Self::Threads {
            workers: systems.into_iter().map(Worker::start).collect(),
            steps: VecDeque::with_capacity(STEPS),
        }
    }

    /// All on the thread that decodes.
    #[must_use]
    pub fn here(systems: Vec<System>) -> Self {
        Self::Here(systems.into_iter().map(Simulation::of).collect(), Box::default())
    }

    /// Hands on the step that `fill` makes of an old one. Waits while a queue is full.
    pub fn submit(&mut self, fill: impl FnOnce(&mut Step)) {
        match self {
            Self::Here(simulations, step) => {
                fill(step);
                for simulation in simulations {
                    simulation.take(step);
                }
            }
            Self::Threads { workers, steps } => {
                let oldest = (steps.len() == STEPS).then(|| steps.pop_front()).flatten();
                let mut step = oldest
                    .filter(|step| Arc::strong_count(step) == 1)
                    .unwrap_or_default();
                fill(Arc::get_mut(&mut step).expect("nobody else has a handle on it"));
                let mut lost = None;
                for (at, worker) in workers.iter().enumerate() {
                    if worker.queue.send(Arc::clone(&step)).is_err() {
                        lost = Some(at);
                    }
                }
                if let Some(lost) = lost {
                    // It ended before its queue did: only by a panic, which goes on here.
                    workers.remove(lost).finish();
                }
                steps.push_back(step);
            }
        }
    }

    /// The simulations, once they have taken every step; `accesses` is the total.
    #[must_use]
    pub fn finish(self, accesses: u64) -> Vec<Simulation> {
        let mut simulations = match self {
            Self::Here(simulations, _) => simulations,
            Self::Threads { workers, .. } => workers.into_iter().map(Worker::finish).collect(),
        };
        for simulation in &mut simulations {
            simulation.close(accesses);
        }
        simulations
    }
}
