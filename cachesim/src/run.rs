//! Runs: the unit of work that the models take.

use crate::ledger::Cause;

/// What an access does to memory. The numeric values are fixed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum AccessKind {
    /// Reads.
    Load = 0,
    /// Writes.
    Store = 1,
    /// Reads, then writes the same bytes: one access, and if it misses a read miss.
    ReadModifyWrite = 2,
    /// A software prefetch: moves lines as a load does, without being demand.
    Prefetch = 3,
    /// A store that does not allocate; see [`crate::Caches`].
    NonTemporalStore = 4,
    /// An instruction fetch.
    Fetch = 5,
    /// A load that does not allocate; see [`crate::Caches`].
    NonTemporalLoad = 6,
}

impl AccessKind {
    /// Every kind, in numeric order.
    pub const ALL: [AccessKind; 7] = [
        AccessKind::Load,
        AccessKind::Store,
        AccessKind::ReadModifyWrite,
        AccessKind::Prefetch,
        AccessKind::NonTemporalStore,
        AccessKind::Fetch,
        AccessKind::NonTemporalLoad,
    ];

    /// The counter that an access of this kind goes to.
    #[inline(always)]
    pub(crate) fn cause(self) -> Cause {
        match self {
            AccessKind::Load
            | AccessKind::ReadModifyWrite
            | AccessKind::Fetch
            | AccessKind::NonTemporalLoad => Cause::Read,
            AccessKind::Store | AccessKind::NonTemporalStore => Cause::Write,
            AccessKind::Prefetch => Cause::Prefetch,
        }
    }

    /// Whether the access goes past caches that do not hold its line.
    #[inline(always)]
    pub(crate) fn is_non_temporal(self) -> bool {
        matches!(self, AccessKind::NonTemporalStore | AccessKind::NonTemporalLoad)
    }

    /// Whether the line is dirty afterwards.
    #[inline(always)]
    pub(crate) fn writes(self) -> bool {
        matches!(
            self,
            AccessKind::Store | AccessKind::ReadModifyWrite | AccessKind::NonTemporalStore
        )
    }
}

impl TryFrom<u8> for AccessKind {
    type Error = u8;

    /// The kind with this numeric value; the value itself if there is none.
    fn try_from(value: u8) -> Result<Self, u8> {
        Self::ALL.get(usize::from(value)).copied().ok_or(value)
    }
}

/// The stride of an operand whose addresses are no progression: its run has them.
pub const SCATTERED: i64 = i64::MIN;

/// One memory operand of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Operand {
    /// Address in the first iteration, also if it is scattered.
    pub address: u64,
    /// Bytes added to the address from one iteration to the next, or [`SCATTERED`].
    pub stride: i64,
    /// Size of the access; 0, as prefetch hints have it, counts as 1.
    pub bytes: u32,
    /// What the access does.
    pub kind: AccessKind,
    /// The ledger row that it is charged to.
    pub owner: u32,
}

impl Operand {
    /// Numbers of the first and last line that iteration `i` touches. An access does not wrap around the end of
    /// the address space: it ends there.
    #[inline(always)]
    pub(crate) fn lines(&self, i: u64, line_shift: u32) -> (u64, u64) {
        let (first, last) = self.span(i);
        (first >> line_shift, last >> line_shift)
    }

    /// Addresses of the first and the last byte that iteration `i` touches.
    #[inline(always)]
    pub(crate) fn span(&self, i: u64) -> (u64, u64) {
        let first = self.address.wrapping_add((self.stride as u64).wrapping_mul(i));
        (first, first.saturating_add(u64::from(self.bytes.max(1)) - 1))
    }

    /// How many iterations from `i` on, `i` included, touch the same lines as `i` does.
    #[inline(always)]
    pub(crate) fn dwell(&self, i: u64, line_shift: u32) -> u64 {
        if self.stride == 0 {
            return u64::MAX;
        }
        let offset_mask = (1u64 << line_shift) - 1;
        let (first, last) = self.span(i);
        // Both ends must stay in their lines: the end that is nearer to its line's border decides.
        let slack = if self.stride > 0 {
            offset_mask - (first & offset_mask).max(last & offset_mask)
        } else {
            (first & offset_mask).min(last & offset_mask)
        };
        slack / self.stride.unsigned_abs() + 1
    }
}

/// `operands` in order, repeated `iterations` times: the accesses of a loop body. One iteration is an ordinary
/// block, one operand and one iteration a single access.
#[derive(Clone, Copy, Debug)]
pub struct Run<'a> {
    /// The memory operands of one iteration, in program order.
    pub operands: &'a [Operand],
    /// How often they are repeated.
    pub iterations: u64,
    /// The addresses of operands that are [`SCATTERED`]: those of the first iteration in the order of the operands, then those
    /// of the next.
    pub scattered: &'a [u64],
}

impl<'a> Run<'a> {
    /// Calls `each` with the run or, if operands are scattered, with each of its iterations, which have none.
    #[inline]
    pub fn gathered(self, mut each: impl FnMut(Run<'_>)) {
        if self.scattered.is_empty() {
            return each(self);
        }
        self.blocks(|operands| {
            each(Run {
                operands,
                iterations: 1,
                scattered: &[],
            });
        });
    }

    /// Calls `each` with the operands of each iteration, none of which is scattered.
    pub(crate) fn blocks(self, mut each: impl FnMut(&[Operand])) {
        let mut operands = self.operands.to_vec();
        let mut scattered = self.scattered.iter();
        for i in 0..self.iterations {
            for (operand, of_run) in operands.iter_mut().zip(self.operands) {
                if of_run.stride == SCATTERED {
                    operand.stride = 0;
                    operand.address = scattered.next().copied().unwrap_or(of_run.address);
                } else {
                    operand.address = of_run
                        .address
                        .wrapping_add((of_run.stride as u64).wrapping_mul(i));
                }
            }
            each(&operands);
        }
    }
}
