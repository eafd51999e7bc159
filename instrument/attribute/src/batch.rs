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

    /// The runs for whom it makes no difference where a block ends: blocks in a row are one.
    pub fn joined_runs(&self) -> impl Iterator<Item = cachesim::Run<'_>> + Clone {
        let (mut start, mut heads) = (0, self.heads.iter().peekable());
        std::iter::from_fn(move || {
            let (mut end, iterations) = *heads.next()?;
            if iterations == 1 {
                while let Some((later, _)) = heads.next_if(|(_, iterations)| *iterations == 1) {
                    end = *later;
                }
            }
            let operands = &self.operands[start..end as usize];
            start = end as usize;
            Some(cachesim::Run { operands, iterations })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::AttributedBatch;
    use memloupe_cachesim::{AccessKind, Operand};

    #[test]
    fn blocks_in_a_row_are_joined_and_loops_are_not() {
        let mut batch = AttributedBatch::default();
        for (operands, iterations) in [(2, 1), (0, 1), (1, 1), (3, 5), (1, 7), (1, 1)] {
            for _ in 0..operands {
                let address = batch.operands.len() as u64;
                batch.push_operand(Operand {
                    address,
                    stride: 8,
                    bytes: 4,
                    kind: AccessKind::Load,
                    owner: 0,
                });
            }
            batch.end_run(iterations);
        }
        let joined: Vec<_> = batch
            .joined_runs()
            .map(|run| (run.operands.len(), run.iterations))
            .collect();
        assert_eq!(joined, [(3, 1), (3, 5), (1, 7), (1, 1)]);
        let operands = batch.joined_runs().flat_map(|run| run.operands);
        assert!(operands.eq(&batch.operands));
    }
}
