//! Clusters: operands that move together over neighbouring bytes, so that they touch the same lines.

use super::lanes::LANES;
use super::set::Mask;
use super::sweep::{Sweep, Window};

/// Most operands of a run that are simulated together: a bit for each.
pub(crate) const MOST_OPERANDS: usize = 64;

/// Operands of one stride whose bytes, in one iteration, leave out no whole line between them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cluster {
    pub(crate) stride: i64,
    /// Bytes [low, high) of the first iteration.
    pub(crate) low: i64,
    pub(crate) high: i64,
    /// Those of the operands that write; empty if equal.
    pub(crate) write_low: i64,
    pub(crate) write_high: i64,
    /// Bits of its operands.
    pub(crate) members: u64,
    pub(crate) writers: u64,
    /// From one iteration to the next it leaves out lines.
    pub(crate) sparse: bool,
}

/// To whom the first accesses to lines of a group go.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Charge {
    pub(crate) lanes: Mask,
    pub(crate) owner: u32,
    pub(crate) cause: usize,
}

/// The operands of a set of bits.
#[inline(always)]
pub(super) fn operands(mut members: u64) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        (members != 0).then(|| {
            let index = members.trailing_zeros() as usize;
            members &= members - 1;
            index
        })
    })
}

impl Cluster {
    #[inline(always)]
    fn of(index: usize, sweep: &Sweep) -> Self {
        let (low, high) = (sweep.base, sweep.base + sweep.bytes);
        let (write_low, write_high) = if sweep.write { (low, high) } else { (0, 0) };
        let bit = 1 << index;
        Self {
            stride: sweep.stride,
            low,
            high,
            write_low,
            write_high,
            members: bit,
            writers: if sweep.write { bit } else { 0 },
            sparse: false,
        }
    }

    /// Takes `other` in, if together they are a cluster of at most `longest` bytes.
    #[inline(always)]
    fn join(&mut self, other: &Self, line_bytes: i64, longest: i64) -> bool {
        // No whole line fits a gap of fewer bytes than a line's.
        let apart = |low: i64, high: i64, low2: i64, high2: i64| {
            low2 - high >= line_bytes || low - high2 >= line_bytes
        };
        if self.stride != other.stride || apart(self.low, self.high, other.low, other.high) {
            return false;
        }
        let (low, high) = (self.low.min(other.low), self.high.max(other.high));
        if high - low > longest {
            return false;
        }
        if other.writers != 0 {
            if self.writers == 0 {
                (self.write_low, self.write_high) = (other.write_low, other.write_high);
            } else if apart(self.write_low, self.write_high, other.write_low, other.write_high) {
                return false;
            } else {
                self.write_low = self.write_low.min(other.write_low);
                self.write_high = self.write_high.max(other.write_high);
            }
        }
        (self.low, self.high) = (low, high);
        self.members |= other.members;
        self.writers |= other.writers;
        true
    }

    /// Bytes [low, high) of iteration `i`.
    #[inline(always)]
    pub(crate) fn span(&self, i: i64) -> (i64, i64) {
        (self.low + self.stride * i, self.high + self.stride * i)
    }

    /// Bytes [low, high) of a window.
    #[inline(always)]
    pub(crate) fn extent(&self, window: Window) -> (i64, i64) {
        let (first, last) = (
            self.span(window.from),
            self.span(window.from + window.iterations - 1),
        );
        (first.0.min(last.0), first.1.max(last.1))
    }

    /// Bytes [low, high) that are written in a window.
    #[inline(always)]
    pub(crate) fn write_extent(&self, window: Window) -> (i64, i64) {
        let (a, b) = (
            self.stride * window.from,
            self.stride * (window.from + window.iterations - 1),
        );
        (self.write_low + a.min(b), self.write_high + a.max(b))
    }

    /// First and last operand in program order.
    #[inline(always)]
    pub(crate) fn first_member(&self) -> u32 {
        self.members.trailing_zeros()
    }

    #[inline(always)]
    pub(crate) fn last_member(&self) -> u32 {
        63 - self.members.leading_zeros()
    }

    #[inline(always)]
    pub(crate) fn is_single(&self) -> bool {
        self.members & (self.members - 1) == 0
    }

    /// The operand that touches a line first in `window`.
    #[inline(always)]
    pub(crate) fn first_toucher(
        &self,
        sweeps: &[Sweep],
        start: i64,
        line_bytes: i64,
        window: Window,
    ) -> usize {
        let mut first = (i64::MAX, self.first_member() as usize);
        if self.is_single() {
            return first.1;
        }
        for index in operands(self.members) {
            if let Some(i) = sweeps[index].first_touch(start, line_bytes, window)
                && i < first.0
            {
                first = (i, index);
            }
        }
        first.1
    }

    /// The operand that writes a line last in `window`.
    #[inline(always)]
    pub(crate) fn last_writer(&self, sweeps: &[Sweep], start: i64, line_bytes: i64, window: Window) -> usize {
        let mut last = (i64::MIN, self.writers.trailing_zeros() as usize);
        if self.writers & (self.writers - 1) == 0 {
            return last.1;
        }
        for index in operands(self.writers) {
            if let Some(i) = sweeps[index].last_touch(start, line_bytes, window)
                && i >= last.0
            {
                last = (i, index);
            }
        }
        last.1
    }

    /// Who touches the lines `lanes` of the group that starts at byte `start` first.
    pub(crate) fn charges<'c>(
        &self,
        sweeps: &[Sweep],
        start: i64,
        lanes: Mask,
        line_bytes: i64,
        window: Window,
        charges: &'c mut [Charge; LANES],
    ) -> &'c [Charge] {
        let mut count = 0;
        let mut rest = lanes;
        while rest != 0 {
            let lane = rest.trailing_zeros();
            rest &= rest - 1;
            let line = start + i64::from(lane) * line_bytes;
            let charge = sweeps[self.first_toucher(sweeps, line, line_bytes, window)].charge(1 << lane);
            let known = charges[..count]
                .iter_mut()
                .find(|known| known.owner == charge.owner && known.cause == charge.cause);
            match known {
                Some(known) => known.lanes |= charge.lanes,
                None => {
                    charges[count] = charge;
                    count += 1;
                }
            }
        }
        &charges[..count]
    }
}

impl Sweep {
    /// For the lines `lanes` of a group.
    #[inline(always)]
    pub(crate) fn charge(&self, lanes: Mask) -> Charge {
        Charge {
            lanes,
            owner: self.owner,
            cause: self.cause as usize,
        }
    }
}

/// Puts operands together to clusters of at most `longest` bytes.
#[inline(always)]
pub(crate) fn gather(sweeps: &[Sweep], line_bytes: i64, longest: i64, clusters: &mut Vec<Cluster>) {
    clusters.clear();
    for (index, sweep) in sweeps.iter().enumerate() {
        let one = Cluster::of(index, sweep);
        if !clusters
            .iter_mut()
            .any(|cluster| cluster.join(&one, line_bytes, longest))
        {
            clusters.push(one);
        }
    }
    // What came between two clusters may have closed the gap.
    let mut at = 1;
    while at < clusters.len() {
        let (before, rest) = clusters.split_at_mut(at);
        if before
            .iter_mut()
            .any(|cluster| cluster.join(&rest[0], line_bytes, longest))
        {
            clusters.remove(at);
            at = 1;
        } else {
            at += 1;
        }
    }
    for cluster in clusters {
        let step = cluster.stride.abs();
        cluster.sparse = step > line_bytes
            && (step > cluster.high - cluster.low
                || cluster.writers != 0 && step > cluster.write_high - cluster.write_low);
    }
}
