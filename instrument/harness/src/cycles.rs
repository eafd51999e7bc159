//! Estimated cycles of every row, by the core's timing model: the rows of one operator on one thread wait together, and the
//! threads that run one operator in one phase share the memory's bandwidth.

use std::collections::HashMap;

use memloupe_attribute::{
    CodeAddress, ContextId, Contexts, Modules, OperatorId, PhaseId, Row as LedgerRow, chained_loads,
};
use memloupe_hierarchy::{Cycles, Exposure, System, Wait, Work};
use memloupe_stream::{AccessKind, SiteTable};

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

/// How the accesses of each site wait: looked up once per block.
pub(crate) struct Waits<'a> {
    sites: &'a SiteTable,
    modules: &'a Modules,
    code: &'a [Option<CodeAddress>],
    /// Addresses of the chained loads, by block.
    chained: HashMap<u32, Vec<u64>>,
}

impl<'a> Waits<'a> {
    pub(crate) fn new(sites: &'a SiteTable, modules: &'a Modules, code: &'a [Option<CodeAddress>]) -> Self {
        Self {
            sites,
            modules,
            code,
            chained: HashMap::new(),
        }
    }

    /// A ledger row, whose owner in a machine is `id`, as the model takes it.
    pub(crate) fn timed(&mut self, row: &LedgerRow, id: u32) -> Row {
        let site = self.sites.site(row.key.site);
        let block = self.sites.block(site.block).expect("a site's block");
        let is_fetch = site.kind == AccessKind::Fetch;
        let mut is_chained = || {
            let chained = self.chained.entry(site.block).or_insert_with(|| {
                let at = self.code.get(site.block as usize).copied().flatten();
                let code = at.and_then(|at| self.modules.code(at, block.code_bytes));
                code.map_or_else(Vec::new, |code| chained_loads(code, block.address))
            });
            chained.contains(&site.ip)
        };
        Row {
            owner: id,
            context: row.key.context,
            wait: if is_fetch {
                Wait::Fetch
            } else if site.kind == AccessKind::Load && is_chained() {
                Wait::Dependent
            } else {
                Wait::Independent
            },
            instructions: if is_fetch {
                row.accesses * u64::from(block.instructions)
            } else {
                0
            },
        }
    }
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
