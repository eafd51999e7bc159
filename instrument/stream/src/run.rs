//! Runs: the unit from decoding onward.
//!
//! A run is k operands (address, stride, bytes, kind, site) × n iterations, in iteration order: iteration i accesses
//! operand 0 at `address + i·stride`, then operand 1, and so on. An ordinary block execution is a run with n = 1. A
//! block's first operand is its instruction fetch (stride 0).
//!
//! For a sink that takes them, a run may have *scattered* operands among others, whose addresses are no progression: a table that
//! a loop looks something up in. The run has their addresses.

use crate::site::Block;
use crate::{AccessKind, BlockId, SiteId};

/// The stride of a scattered operand.
pub const SCATTERED: i64 = i64::MIN;

/// One operand of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunOperand {
    /// Address in the first iteration.
    pub address: u64,
    /// Change of the address from one iteration to the next, or [`SCATTERED`].
    pub stride: i64,
    /// Its static operand.
    pub site: SiteId,
    /// Bytes of one access.
    pub bytes: u32,
    /// What it does.
    pub kind: AccessKind,
}

impl RunOperand {
    /// Its address in iteration `iteration`, if it is not scattered.
    #[must_use]
    pub fn address_in(&self, iteration: u64) -> u64 {
        self.address
            .wrapping_add_signed(self.stride.wrapping_mul(iteration.cast_signed()))
    }
}

/// One run of a batch.
#[derive(Clone, Copy, Debug)]
pub struct Run<'a> {
    /// The block that was executed.
    pub block: BlockId,
    /// How often, in a row.
    pub iterations: u64,
    /// The block's fetch, then its accesses in program order; an access that did not happen is left out. A run without
    /// a fetch goes on with the execution that the run before it began: it counts no instructions.
    pub operands: &'a [RunOperand],
    /// The addresses of the scattered operands: those of the first iteration in the order of the operands, then those of the next.
    pub scattered: &'a [u64],
}

impl Run<'_> {
    /// How many executions of the block begin with it.
    #[must_use]
    pub fn executions(&self) -> u64 {
        match self.operands.first() {
            Some(operand) if operand.kind == AccessKind::Fetch => self.iterations,
            _ => 0,
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Head {
    block: BlockId,
    end: u32,
    scattered_end: u32,
    iterations: u64,
}

/// Operands in a batch before it is handed on: it and what is made of it (32 bytes each as well) stay in a core's second-level
/// cache.
const BATCH_OPERANDS: usize = 8192;

/// Consecutive runs of one thread. Its memory is reused from batch to batch.
#[derive(Debug, Default)]
pub struct RunBatch {
    heads: Vec<Head>,
    operands: Vec<RunOperand>,
    scattered: Vec<u64>,
}

impl RunBatch {
    /// Forgets the runs, keeps the memory.
    pub fn clear(&mut self) {
        self.heads.clear();
        self.operands.clear();
        self.scattered.clear();
    }

    /// Whether it holds no run.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.heads.is_empty()
    }

    /// Whether it is time to hand it on.
    #[inline]
    pub(crate) fn is_full(&self) -> bool {
        self.operands.len() + self.scattered.len() / 4 >= BATCH_OPERANDS
    }

    /// Number of runs.
    #[must_use]
    pub fn len(&self) -> usize {
        self.heads.len()
    }

    /// Adds an operand to the run that [`RunBatch::end_run`] will close.
    #[inline]
    pub fn push_operand(&mut self, operand: RunOperand) {
        self.operands.push(operand);
    }

    /// Adds operands to that run.
    #[inline]
    pub(crate) fn push_operands(&mut self, operands: impl Iterator<Item = RunOperand>) {
        self.operands.extend(operands);
    }

    /// Adds an address of a scattered operand to that run.
    #[inline]
    pub(crate) fn push_scattered(&mut self, address: u64) {
        self.scattered.push(address);
    }

    /// Adds a block's instruction fetch.
    #[inline]
    pub(crate) fn push_fetch(&mut self, block: &Block) {
        self.push_operand(RunOperand {
            address: block.address,
            stride: 0,
            site: block.fetch_site,
            bytes: block.code_bytes,
            kind: AccessKind::Fetch,
        });
    }

    /// Closes a run of the operands pushed since the last one.
    #[inline]
    pub fn end_run(&mut self, block: BlockId, iterations: u64) {
        self.heads.push(Head {
            block,
            end: self.operands.len() as u32,
            scattered_end: self.scattered.len() as u32,
            iterations,
        });
    }

    /// Closes a run of one iteration if operands were pushed since the last one.
    #[inline]
    pub(crate) fn end_run_if_open(&mut self, block: BlockId) {
        if self.heads.last().map_or(0, |head| head.end) as usize != self.operands.len() {
            self.end_run(block, 1);
        }
    }

    /// The runs, in order.
    pub fn runs(&self) -> impl Iterator<Item = Run<'_>> {
        let (mut start, mut scattered_start) = (0, 0);
        self.heads.iter().map(move |head| {
            let (end, scattered_end) = (head.end as usize, head.scattered_end as usize);
            let operands = &self.operands[start..end];
            let scattered = &self.scattered[scattered_start..scattered_end];
            (start, scattered_start) = (end, scattered_end);
            Run {
                scattered,
                block: head.block,
                iterations: head.iterations,
                operands,
            }
        })
    }
}
