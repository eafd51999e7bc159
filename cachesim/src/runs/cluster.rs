//! Clusters: operands that move together over neighbouring bytes, so that they touch the same lines.

use super::lanes::LANES;
use super::set::Mask;
use super::sweep::{Sweep, Window, quotient};

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

/// Iterations until a distance is covered by steps of `stride` bytes in either direction.
#[inline(always)]
fn steps_of(distance: i64, stride: i64) -> i64 {
    if distance <= 0 || stride == 0 {
        return 0;
    }
    let step = stride.abs();
    let way = distance + step - 1;
    match u32::try_from(way) {
        Ok(_) => quotient(way, step),
        Err(_) => way / step,
    }
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

    /// The operand that touches a line first in `window`, which one of them does.
    #[inline(always)]
    pub(crate) fn first_toucher(
        &self,
        sweeps: &[Sweep],
        start: i64,
        line_bytes: i64,
        window: Window,
    ) -> usize {
        if self.is_single() {
            return self.first_member() as usize;
        }
        // No operand is there before the cluster's front is.
        let (low, high) = self.span(window.from);
        let distance = if self.stride >= 0 {
            start - (high - 1)
        } else {
            low - (start + line_bytes - 1)
        };
        let soonest = steps_of(distance, self.stride).min(window.iterations - 1);
        for i in window.from + soonest..window.from + window.iterations {
            let mut members = operands(self.members);
            if let Some(index) = members.find(|&index| sweeps[index].touches(i, start, line_bytes)) {
                return index;
            }
        }
        self.first_member() as usize
    }

    /// The operand that writes a line last in `window`, which one of them does.
    #[inline(always)]
    pub(crate) fn last_writer(&self, sweeps: &[Sweep], start: i64, line_bytes: i64, window: Window) -> usize {
        let first = self.writers.trailing_zeros() as usize;
        if self.writers & (self.writers - 1) == 0 {
            return first;
        }
        // The same backwards in time.
        let last = window.from + window.iterations - 1;
        let way = self.stride * last;
        let (low, high) = (self.write_low + way, self.write_high + way);
        let distance = if self.stride >= 0 {
            low - (start + line_bytes - 1)
        } else {
            start - (high - 1)
        };
        let soonest = steps_of(distance, self.stride).min(window.iterations - 1);
        for i in (window.from..=last - soonest).rev() {
            let mut found = None;
            for index in operands(self.writers) {
                if sweeps[index].touches(i, start, line_bytes) {
                    found = Some(index);
                }
            }
            if let Some(index) = found {
                return index;
            }
        }
        first
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

/// Puts operands that are not scattered together to clusters of at most `longest` bytes.
#[inline(always)]
pub(crate) fn gather(sweeps: &[Sweep], line_bytes: i64, longest: i64, clusters: &mut Vec<Cluster>) {
    clusters.clear();
    for (index, sweep) in sweeps
        .iter()
        .enumerate()
        .filter(|(_, sweep)| !sweep.is_scattered())
    {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::Cause;
    use proptest::prelude::*;

    const LINE: i64 = 64;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]
        #[test]
        fn who_comes_first_and_who_writes_last_is_as_by_search(
            operands in prop::collection::vec((0i64..300, 1i64..100, any::<bool>()), 1..7),
            stride in prop_oneof![-200i64..200, Just(64), Just(-64), Just(0), Just(1536), Just(-1024)],
            from in 0i64..20, iterations in 1i64..60, far in any::<bool>(),
        ) {
            // Far away, distances do not fit 32 bits.
            let from = if far { from + (1 << 27) } else { from };
            let sweeps: Vec<Sweep> = operands
                .into_iter()
                .map(|(base, bytes, write)| Sweep {
                    base: base + (1 << 40), stride, bytes, owner: 0, cause: Cause::Read, write,
                })
                .collect();
            let mut clusters = Vec::new();
            gather(&sweeps, LINE, 1 << 11, &mut clusters);
            let window = Window { from, iterations };
            for cluster in &clusters {
                let (low, high) = cluster.extent(window);
                for line in low.div_euclid(LINE)..=(high - 1).div_euclid(LINE) {
                    let start = line * LINE;
                    let touching = |i: i64, member: &usize| sweeps[*member].touches(i, start, LINE);
                    let mut all = (from..from + iterations).flat_map(|i| {
                        super::operands(cluster.members).filter(move |member| touching(i, member))
                    });
                    if let Some(first) = all.next() {
                        prop_assert_eq!(cluster.first_toucher(&sweeps, start, LINE, window), first);
                    }
                    let writes = (from..from + iterations).flat_map(|i| {
                        super::operands(cluster.writers).filter(move |member| touching(i, member))
                    });
                    if let Some(last) = writes.last() {
                        prop_assert_eq!(cluster.last_writer(&sweeps, start, LINE, window), last);
                    }
                }
            }
        }
    }
}
