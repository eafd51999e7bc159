//! The stream checker: a [`Sink`] that holds a stream against the protocol's invariants on its way to another sink.
//!
//! It finds what decoding alone accepts: accesses of threads that have not started, blocks whose code is mapped
//! nowhere, probe frames left but never entered, frees of memory never handed out, overlapping allocations.

use std::collections::{BTreeMap, HashMap, HashSet};

use crate::{Answer, Event, PROTECTION_EXECUTE, Probe, RunBatch, Sink, SiteTable};

/// One broken invariant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Thread in whose records it was seen.
    pub thread: u32,
    /// What is wrong.
    pub what: String,
}

/// Checks a stream while passing it on. It reports the first 100 violations and counts the others.
#[derive(Debug, Default)]
pub struct Checker<S> {
    inner: S,
    violations: Vec<Violation>,
    violation_count: u64,
    running: HashSet<u32>,
    executable: BTreeMap<u64, u64>,
    allocated: BTreeMap<u64, u64>,
    stacks: HashSet<u64>,
    frames: HashMap<u32, Vec<u64>>,
    /// By block id.
    checked_blocks: Vec<bool>,
    exited: bool,
}

const KEPT_VIOLATIONS: usize = 100;

impl<S: Sink> Checker<S> {
    /// Wraps a sink.
    pub fn new(inner: S) -> Self {
        Self {
            inner,
            violations: Vec::new(),
            violation_count: 0,
            running: HashSet::new(),
            executable: BTreeMap::new(),
            allocated: BTreeMap::new(),
            stacks: HashSet::new(),
            frames: HashMap::new(),
            checked_blocks: Vec::new(),
            exited: false,
        }
    }

    /// The sink behind it.
    pub fn inner(&self) -> &S {
        &self.inner
    }

    /// The sink behind it, once the stream is over.
    pub fn into_inner(self) -> S {
        self.inner
    }

    /// What was found, the first 100.
    pub fn violations(&self) -> &[Violation] {
        &self.violations
    }

    /// How many there were.
    pub fn violation_count(&self) -> u64 {
        self.violation_count
    }

    fn report(&mut self, thread: u32, what: String) {
        self.violation_count += 1;
        if self.violations.len() < KEPT_VIOLATIONS {
            self.violations.push(Violation { thread, what });
        }
    }

    fn check_event(&mut self, thread: u32, event: &Event) {
        if self.exited {
            self.report(thread, format!("an event after EXIT: {event:?}"));
        }
        match event {
            Event::ThreadStart { thread: started, .. } => {
                if !self.running.insert(*started) {
                    self.report(thread, format!("thread {started} starts twice"));
                }
            }
            Event::ThreadEnd { thread: ended } => {
                if !self.running.remove(ended) {
                    self.report(thread, format!("thread {ended} ends but has not started"));
                }
            }
            Event::Map {
                address,
                bytes,
                protection,
                ..
            } => {
                if protection & PROTECTION_EXECUTE != 0 {
                    self.executable.insert(*address, address + bytes);
                }
            }
            Event::Alloc {
                address,
                bytes,
                stack,
            } => self.check_alloc(thread, *address, *bytes, *stack),
            Event::Free { address } => {
                // Memory handed out before the hooks were in place may be freed: only ranges that are known count.
                self.allocated.remove(address);
            }
            Event::Stack { stack, .. } => {
                self.stacks.insert(*stack);
            }
            Event::ProbeEnter { stack_pointer, .. } => {
                self.frames.entry(thread).or_default().push(*stack_pointer);
            }
            Event::ProbeLeave { stack_pointer } => {
                let frames = self.frames.entry(thread).or_default();
                let before = frames.len();
                frames.retain(|frame| frame > stack_pointer);
                if frames.len() == before {
                    self.report(
                        thread,
                        format!("probe frame {stack_pointer:#x} is left but was not entered"),
                    );
                }
            }
            Event::Exec { .. } => {
                self.running.clear();
                self.executable.clear();
                self.allocated.clear();
                self.frames.clear();
                self.checked_blocks.clear();
            }
            Event::Exit { .. } => self.exited = true,
            _ => {}
        }
    }

    fn check_alloc(&mut self, thread: u32, address: u64, bytes: u64, stack: u64) {
        if !self.stacks.contains(&stack) {
            self.report(
                thread,
                format!("allocation at {address:#x} names the undefined call stack {stack}"),
            );
        }
        let end = address.saturating_add(bytes);
        if let Some((other, other_end)) = self.allocated.range(..end).next_back()
            && *other_end > address
            && bytes > 0
        {
            let what = format!("allocation [{address:#x}, {end:#x}) overlaps [{other:#x}, {other_end:#x})");
            self.report(thread, what);
        }
        self.allocated.insert(address, end);
    }

    fn check_code(&mut self, thread: u32, sites: &SiteTable, block_id: u32) {
        let index = block_id as usize;
        if self.checked_blocks.get(index) == Some(&true) {
            return;
        }
        if index >= self.checked_blocks.len() {
            self.checked_blocks.resize(index + 1, false);
        }
        self.checked_blocks[index] = true;
        let Some(block) = sites.block(block_id) else {
            return;
        };
        let mapped = self
            .executable
            .range(..=block.address)
            .next_back()
            .is_some_and(|(_, end)| *end > block.address);
        if !mapped {
            self.report(
                thread,
                format!(
                    "block {block_id} at {:#x} lies in no executable mapping",
                    block.address
                ),
            );
        }
    }
}

impl<S: Sink> Sink for Checker<S> {
    fn wants_clock(&self) -> bool {
        self.inner.wants_clock()
    }

    fn clock(&mut self, thread: u32, clock: u64) {
        self.inner.clock(thread, clock);
    }

    fn runs(&mut self, thread: u32, sites: &SiteTable, batch: &RunBatch) {
        if !self.running.contains(&thread) {
            self.report(thread, "accesses of a thread that is not running".to_owned());
        }
        for run in batch.runs() {
            self.check_code(thread, sites, run.block);
        }
        self.inner.runs(thread, sites, batch);
    }

    fn event(&mut self, thread: u32, event: Event) {
        self.check_event(thread, &event);
        self.inner.event(thread, event);
    }

    fn probes(&mut self, first: u32) -> Vec<Probe> {
        self.inner.probes(first)
    }

    fn answer(&mut self, thread: u32) -> Answer {
        self.inner.answer(thread)
    }

    fn wants(&self) -> bool {
        self.inner.wants()
    }
}
