//! Attributed runs: what the models receive.

use memloupe_cachesim as cachesim;

/// Consecutive runs of one thread whose operands' owners are ledger rows. Its memory is reused from batch to batch.
#[derive(Debug, Default)]
pub struct AttributedBatch {
    heads: Vec<Head>,
    operands: Vec<cachesim::Operand>,
    scattered: Vec<u64>,
}

/// Where a run's operands and scattered addresses end.
#[derive(Clone, Copy, Debug, Default)]
struct Head {
    end: u32,
    scattered_end: u32,
    iterations: u64,
}

impl AttributedBatch {
    pub(crate) fn clear(&mut self) {
        self.heads.clear();
        self.operands.clear();
        self.scattered.clear();
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
        let start = self.heads.last().map_or(0, |head| head.end as usize);
        &self.operands[start..]
    }

    #[inline]
    pub(crate) fn end_run(&mut self, iterations: u64) {
        self.heads.push(Head {
            end: self.operands.len() as u32,
            scattered_end: self.scattered.len() as u32,
            iterations,
        });
    }

    /// Adds addresses of the scattered operands of the run that ends next.
    pub(crate) fn push_scattered(&mut self, addresses: &[u64]) {
        self.scattered.extend_from_slice(addresses);
    }

    /// The run between two heads.
    #[inline]
    fn between(&self, before: Head, head: Head) -> cachesim::Run<'_> {
        cachesim::Run {
            operands: &self.operands[before.end as usize..head.end as usize],
            iterations: head.iterations,
            scattered: &self.scattered[before.scattered_end as usize..head.scattered_end as usize],
        }
    }

    /// A run by its place.
    pub(crate) fn run(&self, index: usize) -> Option<cachesim::Run<'_>> {
        let head = *self.heads.get(index)?;
        let before = index.checked_sub(1).map(|before| self.heads[before]);
        Some(self.between(before.unwrap_or_default(), head))
    }

    /// The runs, in order.
    pub fn runs(&self) -> impl Iterator<Item = cachesim::Run<'_>> + Clone {
        let mut before = Head::default();
        self.heads
            .iter()
            .map(move |head| self.between(std::mem::replace(&mut before, *head), *head))
    }

    /// The runs for whom it makes no difference where a block ends: blocks in a row are one.
    pub fn joined_runs(&self) -> impl Iterator<Item = cachesim::Run<'_>> + Clone {
        let (mut before, mut heads) = (Head::default(), self.heads.iter().peekable());
        std::iter::from_fn(move || {
            let mut head = *heads.next()?;
            if head.iterations == 1 {
                while let Some(later) = heads.next_if(|later| later.iterations == 1) {
                    head = *later;
                }
            }
            Some(self.between(std::mem::replace(&mut before, head), head))
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
