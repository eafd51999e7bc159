//! Estimated cycles of every row, by the core's timing model: the rows of one operator on one thread wait together, and the
//! threads that run one operator in one phase share the memory's bandwidth.

use std::collections::HashMap;

use memloupe_attribute::{ContextId, Contexts, OperatorId, PhaseId};
use memloupe_hierarchy::{Cycles, Exposure, System, Wait, Work};

/// A row as the model takes it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row {
    /// The owner of its counters.
    pub(crate) owner: u32,
    /// Who executed it.
    pub(crate) context: ContextId,
    /// How its accesses wait.
    pub(crate) wait: Wait,
    /// Instructions of the row.
    pub(crate) instructions: u64,
}

/// The estimates of a finished run.
pub(crate) struct Estimates<'a> {
    system: &'a System,
    /// Index in `exposures`, by context.
    places: Vec<usize>,
    exposures: Vec<Exposure>,
}

impl<'a> Estimates<'a> {
    /// From all rows that are results.
    pub(crate) fn new(system: &'a System, contexts: &Contexts, rows: impl Iterator<Item = Row>) -> Self {
        // Several contexts are one stretch of work where a sampled run observes instances by themselves.
        let mut stretches: HashMap<(u32, PhaseId, Option<OperatorId>), usize> = HashMap::new();
        let mut places = Vec::new();
        for (context, _) in contexts.iter() {
            let next = stretches.len();
            let key = (context.thread, context.phase, context.operator);
            places.push(*stretches.entry(key).or_insert(next));
        }
        let mut works = vec![Work::default(); stretches.len()];
        for row in rows {
            works[places[row.context as usize]] += &work(system, row);
        }
        let mut together: HashMap<(PhaseId, Option<OperatorId>), Vec<usize>> = HashMap::new();
        for ((_, phase, operator), place) in &stretches {
            together.entry((*phase, *operator)).or_default().push(*place);
        }
        let mut exposures = vec![None; works.len()];
        for mut group in together.into_values() {
            // Sums of floating-point numbers depend on their order.
            group.sort_unstable();
            let of_group: Vec<Work> = group.iter().map(|place| works[*place].clone()).collect();
            for (place, exposure) in group.iter().zip(system.timing().exposures(&of_group)) {
                exposures[*place] = Some(exposure);
            }
        }
        Self {
            system,
            places,
            exposures: exposures.into_iter().flatten().collect(),
        }
    }

    /// Those of a row.
    pub(crate) fn cycles(&self, row: Row) -> Cycles {
        let exposure = &self.exposures[self.places[row.context as usize]];
        self.system.timing().cycles(&work(self.system, row), exposure)
    }
}

fn work(system: &System, row: Row) -> Work {
    let counters = system.counters(row.owner);
    system.timing().work(row.wait, &counters, row.instructions)
}
