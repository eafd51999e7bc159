//! The ledger: one row for each (context, site, object) that occurs.
//!
//! Every dimension of a report is a function of a row's key, so any grouping adds up exactly to the totals. A row
//! counts executions of its site and keeps the exact set of 64-byte lines that they touched; everything else
//! (loads, stores, bytes, instructions, FLOPs) follows from the site.

use std::ops::RangeInclusive;

use memloupe_stream::SiteId;
use roaring::RoaringTreemap;
use rustc_hash::FxHashMap;

use crate::context::ContextId;
use crate::line_set::LineSet;
use crate::object::ObjectId;

/// Index of a row. The cache models know it as an access's *owner*.
pub type RowId = u32;

/// log2 of the line size in which footprints are counted.
const LINE_SHIFT: u32 = 6;
/// Bytes of a line in [`Row::lines`].
pub const FOOTPRINT_LINE_BYTES: u64 = 1 << LINE_SHIFT;

/// What a row is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RowKey {
    /// Thread, phase and operator.
    pub context: ContextId,
    /// Static operand.
    pub site: SiteId,
    /// Data object.
    pub object: ObjectId,
}

/// Touched on every access: kept small and apart from the sets.
#[derive(Clone, Copy, Debug)]
struct Hot {
    accesses: u64,
    /// Lines [low, high] touched but not in the set yet; empty if low > high.
    low: u64,
    high: u64,
}

/// Accesses that leave out lines: iterations, address, stride, bytes of each.
type Sweep = (u64, u64, i64, u64);
/// Sweeps of late that are kept.
const LAST_SWEEPS: usize = 1024;

/// A finished row.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// What it is about.
    pub key: RowKey,
    /// Times that the site accessed the object in this context.
    pub accesses: u64,
    /// Numbers (address / 64) of the lines touched.
    pub lines: LineSet,
}

/// All rows.
#[derive(Debug, Default)]
pub struct Ledger {
    /// By context: a context goes on for a while, and its own rows stay in the processor's caches.
    index: Vec<FxHashMap<(SiteId, ObjectId), RowId>>,
    keys: Vec<RowKey>,
    hot: Vec<Hot>,
    lines: Vec<LineSet>,
    /// Sweeps of late that left out lines, with their rows. Kernels that go over a tile again and again repeat them.
    last_sweeps: LastSweeps,
}

/// By row, one in so many.
#[derive(Debug)]
struct LastSweeps(Box<[(RowId, Sweep)]>);

impl Default for LastSweeps {
    fn default() -> Self {
        Self(vec![(RowId::MAX, Sweep::default()); LAST_SWEEPS].into_boxed_slice())
    }
}

impl LastSweeps {
    /// Whether it is the row's last one; from now on it is.
    fn repeats(&mut self, row: RowId, sweep: Sweep) -> bool {
        let last = &mut self.0[row as usize % LAST_SWEEPS];
        std::mem::replace(last, (row, sweep)) == (row, sweep)
    }
}

impl Ledger {
    /// Number of rows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether there is no row.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// The row of a key, made if it is new. Not for the hot path: callers remember the answer.
    pub fn row(&mut self, key: RowKey) -> RowId {
        let context = key.context as usize;
        if self.index.len() <= context {
            self.index.resize_with(context + 1, FxHashMap::default);
        }
        *self.index[context]
            .entry((key.site, key.object))
            .or_insert_with(|| {
                let row = self.keys.len() as RowId;
                self.keys.push(key);
                self.hot.push(Hot {
                    accesses: 0,
                    low: 1,
                    high: 0,
                });
                self.lines.push(LineSet::default());
                row
            })
    }

    /// Counts accesses of lines that the row has touched before.
    #[inline]
    pub(crate) fn count(&mut self, row: RowId, accesses: u64) {
        self.hot[row as usize].accesses += accesses;
    }

    /// Counts `accesses` executions that together touch every line of [address, address + bytes). Returns the first and the
    /// last byte of lines around it that the row has touched.
    #[inline]
    pub fn touch(&mut self, row: RowId, accesses: u64, address: u64, bytes: u64) -> RangeInclusive<u64> {
        let hot = &mut self.hot[row as usize];
        hot.accesses += accesses;
        let first = address >> LINE_SHIFT;
        let last = address.saturating_add(bytes.saturating_sub(1)) >> LINE_SHIFT;
        // Kernels sweep: an interval that grows at its ends holds most touches without going to the set.
        let is_known = first >= hot.low && last <= hot.high;
        let is_near =
            first <= hot.high.wrapping_add(1) && last.wrapping_add(1) >= hot.low && hot.low <= hot.high;
        if !is_known && is_near {
            hot.low = hot.low.min(first);
            hot.high = hot.high.max(last);
        } else if !is_known {
            let done = std::mem::replace(
                hot,
                Hot {
                    low: first,
                    high: last,
                    ..*hot
                },
            );
            self.lines[row as usize].insert(done.low, done.high);
        }
        let hot = &self.hot[row as usize];
        hot.low << LINE_SHIFT..=hot.high << LINE_SHIFT | (FOOTPRINT_LINE_BYTES - 1)
    }

    /// Counts one access of `bytes` at each of `iterations` addresses, `stride` apart.
    pub fn sweep(&mut self, row: RowId, iterations: u64, address: u64, stride: i64, bytes: u64) {
        let Some(last) = (iterations.checked_sub(1))
            .map(|steps| address.wrapping_add_signed(stride.wrapping_mul(steps.cast_signed())))
        else {
            return;
        };
        if stride.unsigned_abs() <= 1 << LINE_SHIFT {
            // No line between the first and the last is left out.
            self.touch(row, iterations, address.min(last), address.abs_diff(last) + bytes);
            return;
        }
        let sweep = (iterations, address, stride, bytes);
        if self.last_sweeps.repeats(row, sweep) {
            self.hot[row as usize].accesses += iterations;
            return;
        }
        for iteration in 0..iterations.cast_signed() {
            self.touch(
                row,
                1,
                address.wrapping_add_signed(stride.wrapping_mul(iteration)),
                bytes,
            );
        }
    }

    /// What a row is about.
    #[must_use]
    pub fn key(&self, row: RowId) -> RowKey {
        self.keys[row as usize]
    }

    /// Accesses of a row so far.
    #[must_use]
    pub fn accesses(&self, row: RowId) -> u64 {
        self.hot[row as usize].accesses
    }

    /// Adds the lines that a row has touched so far to a set.
    pub fn add_lines_to(&self, row: RowId, set: &mut RoaringTreemap) {
        let Hot { low, high, .. } = self.hot[row as usize];
        if low <= high {
            set.insert_range(low..=high);
        }
        self.lines[row as usize].add_to(set);
    }

    /// The rows, in order of their ids.
    #[must_use]
    pub fn into_rows(self) -> Vec<Row> {
        self.keys
            .into_iter()
            .zip(self.hot)
            .zip(self.lines)
            .map(|((key, hot), mut lines)| {
                lines.insert(hot.low, hot.high);
                Row {
                    key,
                    accesses: hot.accesses,
                    lines,
                }
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn touched_lines_are_exact(touches in prop::collection::vec((0u64..20_000, 1u64..300), 1..200)) {
            let mut ledger = Ledger::default();
            let row = ledger.row(RowKey { context: 0, site: 0, object: 0 });
            let mut expected = BTreeSet::new();
            for (address, bytes) in &touches {
                ledger.touch(row, 1, *address, *bytes);
                expected.extend((*address..*address + *bytes).map(|byte| byte / FOOTPRINT_LINE_BYTES));
            }
            let rows = ledger.into_rows();
            prop_assert_eq!(rows[0].accesses, touches.len() as u64);
            prop_assert_eq!(rows[0].lines.to_vec(), expected.into_iter().collect::<Vec<_>>());
        }
    }

    proptest! {
        #[test]
        fn a_sweep_is_its_accesses_one_by_one(
            iterations in 0u64..60, address in 100_000u64..101_000, stride in -300i64..300, bytes in 1u64..100,
        ) {
            let mut ledger = Ledger::default();
            let row = |object| RowKey { context: 0, site: 0, object };
            let (swept, stepped) = (ledger.row(row(0)), ledger.row(row(1)));
            for _ in 0..2 {
                ledger.sweep(swept, iterations, address, stride, bytes);
                for iteration in 0..iterations.cast_signed() {
                    ledger.touch(stepped, 1, address.wrapping_add_signed(stride * iteration), bytes);
                }
            }
            let rows = ledger.into_rows();
            prop_assert_eq!(rows[0].accesses, rows[1].accesses);
            prop_assert_eq!(rows[0].lines.to_vec(), rows[1].lines.to_vec());
        }
    }

    #[test]
    fn the_last_line_of_the_address_space_is_no_exception() {
        let mut ledger = Ledger::default();
        let row = ledger.row(RowKey {
            context: 0,
            site: 0,
            object: 0,
        });
        ledger.touch(row, 1, u64::MAX - 3, 64);
        ledger.touch(row, 1, 0, 1);
        let lines = &ledger.into_rows()[0].lines;
        assert_eq!(lines.to_vec(), [0, u64::MAX >> LINE_SHIFT]);
    }
}
