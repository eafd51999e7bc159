//! Attributed runs: what the models receive.

use memloupe_cachesim as cachesim;

/// Consecutive runs of one thread whose operands' owners are ledger rows. Its memory is reused from batch to batch.
#[derive(Debug, Default)]
pub struct AttributedBatch {
    heads: Vec<(u32, u64)>,
    operands: Vec<cachesim::Operand>,
}

impl AttributedBatch {
    pub(crate) fn clear(&mut self) {
        self.heads.clear();
        self.operands.clear();
    }

    #[inline]
    pub(crate) fn push_operand(&mut self, operand: cachesim::Operand) {
        self.operands.push(operand);
    }

    #[inline]
    pub(crate) fn push_operands(&mut self, operands: impl Iterator<Item = cachesim::Operand>) {
        self.operands.extend(operands);
    }

    /// Operands pushed since the last run ended.
    pub(crate) fn open_operands(&self) -> &[cachesim::Operand] {
        let start = self.heads.last().map_or(0, |(end, _)| *end as usize);
        &self.operands[start..]
    }

    #[inline]
    pub(crate) fn end_run(&mut self, iterations: u64) {
        self.heads.push((self.operands.len() as u32, iterations));
    }

    /// A run by its place.
    pub(crate) fn run(&self, index: usize) -> Option<cachesim::Run<'_>> {
        let (end, iterations) = *self.heads.get(index)?;
        let start = index.checked_sub(1).map_or(0, |before| self.heads[before].0);
        Some(cachesim::Run {
            operands: &self.operands[start as usize..end as usize],
            iterations,
        })
    }

    /// The runs, in order.
    pub fn runs(&self) -> impl Iterator<Item = cachesim::Run<'_>> + Clone {
        let mut start = 0;
        self.heads.iter().map(move |(end, iterations)| {
            let operands = &self.operands[start..*end as usize];
            start = *end as usize;
            cachesim::Run {
                operands,
                iterations: *iterations,
            }
        })
    }
}
