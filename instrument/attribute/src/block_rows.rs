//! By block: which rows its operands' accesses count in, as long as they stay where they were.
//!
//! Code that is executed again mostly does what it did before: the same objects, and lines that are known to have been touched.
//! Such an execution costs a comparison for each operand, and one count for all of them.

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

    /// The access of execution `executions` went elsewhere: to `row`, whose object lies from `start` to before `end`.
    pub(crate) fn moves(
        &mut self,
        operand: &RunOperand,
        row: RowId,
        (start, end): (u64, u64),
        executions: u64,
        ledger: &mut Ledger,
    ) {
        self.settle(executions - 1, ledger);
        let touched = ledger.touch(row, 0, operand.address, u64::from(operand.bytes));
        let start = start.max(*touched.start());
        let last = end.saturating_sub(1).min(*touched.end());
        // Nothing if the object does not hold all of the access.
        let bytes = last.checked_sub(start).map_or(0, |more| more.saturating_add(1));
        *self = Self {
            start,
            bytes,
            site: operand.site,
            row,
            since: executions - 1,
        };
    }

    fn settle(&mut self, executions: u64, ledger: &mut Ledger) {
        if self.site != SiteId::MAX {
            ledger.count(self.row, executions - self.since);
        }
        self.since = executions;
    }
}

/// What is known of a block.
#[derive(Debug)]
pub(crate) struct Rows {
    context: ContextId,
    generation: u64,
    /// Executions since the rows' accesses were last settled.
    executions: u64,
    places: Vec<Place>,
}

impl Default for Rows {
    fn default() -> Self {
        Self {
            context: ContextId::MAX,
            generation: u64::MAX,
            executions: 0,
            places: Vec::new(),
        }
    }
}

impl Rows {
    /// The places of one more execution's operands, and its number.
    #[inline]
    pub(crate) fn execution(
        &mut self,
        context: ContextId,
        generation: u64,
        operands: usize,
        ledger: &mut Ledger,
    ) -> (&mut [Place], u64) {
        if (self.context, self.generation) != (context, generation) || self.places.len() != operands {
            self.settle(ledger);
            (self.context, self.generation) = (context, generation);
            self.places.clear();
            self.places.resize(operands, Place::NONE);
        }
        self.executions += 1;
        (&mut self.places, self.executions)
    }

    fn settle(&mut self, ledger: &mut Ledger) {
        for place in &mut self.places {
            place.settle(self.executions, ledger);
            place.since = 0;
        }
        self.executions = 0;
    }
}

/// All blocks.
#[derive(Debug, Default)]
pub(crate) struct BlockRows(Vec<Rows>);

impl BlockRows {
    /// There are so many blocks.
    pub(crate) fn resize(&mut self, blocks: usize) {
        self.0.resize_with(blocks, Rows::default);
    }

    /// What is known of a block, to be given back with [`BlockRows::put`].
    #[inline]
    pub(crate) fn take(&mut self, block: BlockId) -> Rows {
        std::mem::take(&mut self.0[block as usize])
    }

    #[inline]
    pub(crate) fn put(&mut self, block: BlockId, rows: Rows) {
        self.0[block as usize] = rows;
    }

    /// Counts what is not counted yet.
    pub(crate) fn settle(&mut self, ledger: &mut Ledger) {
        self.0.iter_mut().for_each(|rows| rows.settle(ledger));
    }

    /// Counts what is not counted yet, and begins anew.
    pub(crate) fn forget(&mut self, ledger: &mut Ledger) {
        self.settle(ledger);
        self.0.fill_with(Rows::default);
    }
}
