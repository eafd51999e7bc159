//! Contexts: who is executing. A context is a thread, a phase and an operator, and the path of calls if these are followed; each is interned once. In a sampled run,
//! each simulated instance of an operator has a context of its own, so that what it leaves to others (lines that are
//! written back later) is still its own.

use std::ops::RangeInclusive;

use rustc_hash::FxHashMap;

use crate::calls::PathId;
use crate::probe::{OperatorId, Phase};
use crate::sample::SampleId;

/// Index of a context.
pub type ContextId = u32;
/// Index of a phase.
pub type PhaseId = u32;

/// The phase before the first one that a probe announces.
pub const LOAD_PHASE: &str = "load";
/// The phase between and after those that probes announce.
pub const OTHER_PHASE: &str = "other";

/// Numbered phases that are kept apart. A run may decode thousands of tokens; their rows (a fifth of a million for each of a
/// model of 30 layers) must not fill the memory.
const PHASES_APART: u32 = 8;

/// The numbers that share a phase with `index`: itself alone for the first 8, octaves (8 to 15, 16 to 31…) after
/// that. A phase goes by the first of them.
#[must_use]
pub fn phase_span(index: u32) -> RangeInclusive<u32> {
    if index < PHASES_APART {
        return index..=index;
    }
    let first = 1 << index.ilog2();
    first..=first + (first - 1)
}

/// Who executes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Context {
    /// The thread.
    pub thread: u32,
    /// The phase.
    pub phase: PhaseId,
    /// The innermost operator, if any.
    pub operator: Option<OperatorId>,
    /// Which simulated instance of the operator, in a sampled run.
    pub sample: Option<SampleId>,
    /// The calls that led there, if these are followed.
    pub path: Option<PathId>,
}

/// All contexts and phases that occurred.
#[derive(Debug, Default)]
pub struct Contexts {
    index: FxHashMap<Context, ContextId>,
    contexts: Vec<Context>,
    calls: Vec<u64>,
    phases: Vec<Phase>,
    phase_index: FxHashMap<Phase, PhaseId>,
}

impl Contexts {
    /// The id of a context, made if it is new.
    pub fn intern(&mut self, context: Context) -> ContextId {
        *self.index.entry(context).or_insert_with(|| {
            self.contexts.push(context);
            self.calls.push(0);
            self.contexts.len() as ContextId - 1
        })
    }

    /// The id of a phase, made if it is new. Numbered phases share one by [`phase_span`].
    pub fn intern_phase(&mut self, phase: &Phase) -> PhaseId {
        let phase = &Phase {
            name: phase.name.clone(),
            index: phase.index.map(|index| *phase_span(index).start()),
        };
        if let Some(id) = self.phase_index.get(phase) {
            return *id;
        }
        let id = self.phases.len() as PhaseId;
        self.phases.push(phase.clone());
        self.phase_index.insert(phase.clone(), id);
        id
    }

    /// Counts one entry of the context's operator.
    pub fn count_call(&mut self, context: ContextId) {
        self.calls[context as usize] += 1;
    }

    /// A context.
    #[must_use]
    pub fn get(&self, id: ContextId) -> &Context {
        &self.contexts[id as usize]
    }

    /// A phase.
    #[must_use]
    pub fn phase(&self, id: PhaseId) -> &Phase {
        &self.phases[id as usize]
    }

    /// Phases so far, by id.
    #[must_use]
    pub fn phases(&self) -> &[Phase] {
        &self.phases
    }

    /// Every context with the number of times its operator was entered.
    pub fn iter(&self) -> impl Iterator<Item = (&Context, u64)> {
        self.contexts.iter().zip(self.calls.iter().copied())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phases_are_kept_apart_then_share_octaves() {
        let mut contexts = Contexts::default();
        let mut id = |index| {
            contexts.intern_phase(&Phase {
                name: "decode".to_owned(),
                index: Some(index),
            })
        };
        assert_ne!(id(6), id(7));
        assert_eq!(id(8), id(15));
        assert_eq!(id(16), id(31));
        assert_ne!(id(31), id(32));
        assert_eq!((phase_span(7), phase_span(40)), (7..=7, 32..=63));
        assert_eq!(phase_span(u32::MAX), 1 << 31..=u32::MAX);
    }
}
