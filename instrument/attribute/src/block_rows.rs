//! By block: which rows its operands' accesses count in, as long as they stay where they were.
//!
//! Code that is executed again mostly does what it did before: the same objects, and lines that are known to have been touched.
//! Such an execution costs a comparison for each operand, and one count for all of them.

use std::ops::Range;

use memloupe_stream::{BlockId, RunOperand, SiteId};

use crate::context::ContextId;
use crate::ledger::{Ledger, RowId};

/// Where an operand's accesses count, and how far that holds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    /// Accesses that lie in `bytes` bytes from `start` on belong to the row, and their lines are in its set.
    start: u64,
    bytes: u64,
    site: SiteId,
    row: RowId,
    /// Executions of the block that are not the row's: those before.
    since: u64,
}

impl Place {
    const NONE: Self = Self {
        start: 0,
        bytes: 0,
        site: SiteId::MAX,
        row: 0,
        since: 0,
    };

    #[inline]
    pub(crate) fn row(&self) -> RowId {
        self.row
    }

    /// Whether it holds for an access.
    #[inline]
    pub(crate) fn holds(&self, operand: &RunOperand) -> bool {
        let bytes = u64::from(operand.bytes.max(1));
        operand.site == self.site
            && operand.address.wrapping_sub(self.start) <= self.bytes.wrapping_sub(bytes)
            && bytes <= self.bytes
    }

    fn settle(&mut self, executions: u64, ledger: &mut Ledger) {
        if self.site != SiteId::MAX {
            ledger.count(self.row, executions - self.since);
        }
        self.since = executions;
    }
}

/// What is known of a block.
#[derive(Clone, Copy, Debug)]
struct Rows {
    context: ContextId,
    generation: u64,
    /// Executions since the rows' accesses were last settled.
    executions: u64,
    /// Its places are so many from this one on.
    first: u32,
    operands: u32,
}

impl Rows {
    const NONE: Self = Self {
        context: ContextId::MAX,
        generation: u64::MAX,
        executions: 0,
        first: 0,
        operands: 0,
    };

    fn range(&self) -> Range<usize> {
        let first = self.first as usize;
        first..first + self.operands as usize
    }

    fn settle(&mut self, places: &mut [Place], ledger: &mut Ledger) {
        if self.executions > 0 {
            for place in &mut places[self.range()] {
                place.settle(self.executions, ledger);
                place.since = 0;
            }
            self.executions = 0;
        }
    }
}

/// All blocks.
#[derive(Debug, Default)]
pub(crate) struct BlockRows {
    blocks: Vec<Rows>,
    places: Vec<Place>,
}

/// One execution of a block.
#[derive(Clone, Debug)]
pub(crate) struct Execution {
    number: u64,
    /// The places of its operands.
    places: Range<usize>,
}

impl BlockRows {
    /// There are so many blocks.
    pub(crate) fn resize(&mut self, blocks: usize) {
        self.blocks.resize(blocks, Rows::NONE);
    }

    /// Begins one more execution. `None` if a block's executions have not all the same number of operands.
    #[inline]
    pub(crate) fn execution(
        &mut self,
        block: BlockId,
        context: ContextId,
        generation: u64,
        operands: usize,
        ledger: &mut Ledger,
    ) -> Option<Execution> {
        let rows = &mut self.blocks[block as usize];
        if (rows.context, rows.generation) != (context, generation) {
            if rows.context == ContextId::MAX {
                (rows.first, rows.operands) = (self.places.len() as u32, operands as u32);
                self.places.resize(self.places.len() + operands, Place::NONE);
            }
            rows.settle(&mut self.places, ledger);
            (rows.context, rows.generation) = (context, generation);
            self.places[rows.range()].fill(Place::NONE);
        }
        if rows.operands as usize != operands {
            return None;
        }
        rows.executions += 1;
        Some(Execution {
            number: rows.executions,
            places: rows.range(),
        })
    }

    /// The places of an execution's operands.
    #[inline]
    pub(crate) fn places(&self, execution: &Execution) -> &[Place] {
        &self.places[execution.places.clone()]
    }

    /// The first operand, from `from` on, whose place does not hold for it.
    #[inline]
    pub(crate) fn first_elsewhere(
        &self,
        execution: &Execution,
        operands: &[RunOperand],
        from: usize,
    ) -> Option<usize> {
        let mut rest = operands.iter().zip(self.places(execution)).skip(from);
        rest.position(|(operand, place)| !place.holds(operand))
            .map(|further| from + further)
    }

    /// An operand of an execution went elsewhere: to `row`, whose object lies from `start` to before `end`.
    pub(crate) fn moves(
        &mut self,
        execution: &Execution,
        place: usize,
        operand: &RunOperand,
        (row, start, end): (RowId, u64, u64),
        ledger: &mut Ledger,
    ) {
        let before = execution.number - 1;
        let place = &mut self.places[execution.places.clone()][place];
        place.settle(before, ledger);
        let touched = ledger.touch(row, 0, operand.address, u64::from(operand.bytes));
        let start = start.max(*touched.start());
        let last = end.saturating_sub(1).min(*touched.end());
        // Nothing if the object does not hold all of the access.
        let bytes = last.checked_sub(start).map_or(0, |more| more.saturating_add(1));
        *place = Place {
            start,
            bytes,
            site: operand.site,
            row,
            since: before,
        };
    }

    /// Counts what is not counted yet.
    pub(crate) fn settle(&mut self, ledger: &mut Ledger) {
        for rows in &mut self.blocks {
            rows.settle(&mut self.places, ledger);
        }
    }

    /// Counts what is not counted yet, and begins anew.
    pub(crate) fn forget(&mut self, ledger: &mut Ledger) {
        self.settle(ledger);
        self.blocks.fill(Rows::NONE);
        self.places.clear();
    }
}
