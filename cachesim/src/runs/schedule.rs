//! The order in which the lines of a run are touched: each once where that is exact, and as many at once as possible.
//!
//! Lines in different *classes* (line number modulo the least number of sets of any cache) never share a set, so only
//! the order within each class counts. From the cheapest on:
//! - **One cluster** sweeps over its lines in order.
//! - **Clusters of one stride**, of which one reaches each class before the other and leaves it before the other, sweep in
//!   steps of a group of lines, in the order in which they reach them. What overlaps in the first and the last
//!   iteration is simulated access by access there: if no set sees more lines at a time than it has ways, all of
//!   them are resident after the first iteration, and the last touch of each decides the final order.
//! - **Windows**: as many iterations as keep the clusters in different classes; in a window each cluster sweeps.
//! - **Passing**: one cluster moves past others that stand. Its first and its last iteration are simulated access by access,
//!   between them it sweeps alone: if no set sees more lines in all of this than it has ways, what stands is
//!   resident after the first iteration, and its last touches are those of the last one.
//! - **Scattered** operands among others: clusters that stand are touched in the first and the last iteration of a stretch, which are
//!   simulated access by access. Between them what moves is swept, no further at a time than to the iteration before one in which
//!   something else touches a class that it has touched; an iteration in which two touch the same class is simulated access
//!   by access. If no set of what stands sees more lines in a stretch than it has ways, what stands is resident all the time, and
//!   neither what is pushed out nor the final order depends on its touches between.
//! - **Dwelling**: one iteration access by access, then on to the next in which an operand enters another line.

use super::cluster::{Charge, Cluster, operands};
use super::lanes::LANES;
use super::set::{Mask, Operation, Writers};
use super::sweep::{Scattered, Sweep, Window, quotient};
use super::walk::{Access, Walk};
use crate::levels::Step;
use crate::memory::Memory;

/// Most clusters of one stride that are swept in turn.
const MOST_ALIKE: usize = 4;
/// Fewest iterations for which a window is looked for.
const FEW_ITERATIONS: i64 = 4;
/// Fewer iterations than these in a window, and a longer stretch of passing is looked for.
const SHORT_WINDOW: i64 = 8;
/// Fewest iterations for which passing pays.
const SHORTEST_PASSING: i64 = 4;
/// Most classes that [`Limits::classes`] may tell apart.
const MOST_CLASSES: usize = 64;
/// Most clusters beside scattered operands.
const MOST_MIXED: usize = 16;
/// Most iterations for which lines of scattered operands are counted at once.
const LONGEST_STRETCH: i64 = 64;
/// Most iterations of a window with a cluster that leaves out lines: what the others do in it should stay in few lines.
const LONGEST_SPARSE_WINDOW: i64 = 32;

/// What the machine allows.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) line_shift: u32,
    /// Classes that are told apart: a power of two of at most 64, so that a set of classes is a word.
    pub(super) classes: i64,
    /// Ways of the first data level.
    pub(super) ways: usize,
}

impl Limits {
    fn line_bytes(self) -> i64 {
        1 << self.line_shift
    }

    /// Bytes after which the classes repeat.
    fn circle(self) -> i64 {
        self.classes << self.line_shift
    }

    /// The longest cluster whose bytes all lie in different classes, with room for it to move.
    pub(super) fn longest_cluster(self) -> i64 {
        self.circle() / 2
    }

    /// The classes of the lines from `low` to `high`.
    #[inline(always)]
    fn classes_of(self, low: i64, high: i64) -> u64 {
        let all = u64::MAX >> (64 - self.classes);
        let count = high - low + 1;
        if count >= self.classes {
            return all;
        }
        let bits = (1u64 << count) - 1;
        let at = low & (self.classes - 1);
        let wrapped = if at == 0 { 0 } else { bits >> (self.classes - at) };
        (bits << at | wrapped) & all
    }
}

/// A run as [`Walk`] simulates it.
pub(super) struct Looped<'s> {
    pub(super) limits: Limits,
    pub(super) sweeps: &'s [Sweep],
    pub(super) clusters: &'s [Cluster],
    pub(super) scattered: Scattered<'s>,
    pub(super) iterations: i64,
}

impl<'s> Looped<'s> {
    #[inline(always)]
    fn line(&self, address: i64) -> i64 {
        address >> self.limits.line_shift
    }

    /// Address of an operand in iteration `i`.
    #[inline(always)]
    fn at(&self, sweep: &Sweep, i: i64) -> i64 {
        if sweep.is_scattered() {
            self.scattered.at(sweep, i)
        } else {
            sweep.at(i)
        }
    }

    /// The operands that are scattered.
    #[inline(always)]
    fn scattered_sweeps(&self) -> impl Iterator<Item = &'s Sweep> {
        let sweeps = self.sweeps;
        operands(self.scattered.members).map(move |at| &sweeps[at])
    }

    /// First and last line of a cluster in iteration `i`.
    #[inline(always)]
    fn lines(&self, cluster: &Cluster, i: i64) -> (i64, i64) {
        let (low, high) = cluster.span(i);
        (self.line(low), self.line(high - 1))
    }

    #[inline(always)]
    fn classes(&self, cluster: &Cluster, i: i64) -> u64 {
        let (low, high) = self.lines(cluster, i);
        self.limits.classes_of(low, high)
    }

    fn overlap(&self, i: i64) -> bool {
        let mut seen = 0;
        self.clusters.iter().any(|cluster| {
            let classes = self.classes(cluster, i);
            let overlap = seen & classes != 0;
            seen |= classes;
            overlap
        })
    }

    /// Whether clusters may be swept in turn, as the module's description has it.
    #[inline(always)]
    fn is_procession(&self) -> bool {
        let stride = self.clusters[0].stride;
        if self.clusters.len() > MOST_ALIKE
            || self.clusters.len() * 3 > self.limits.ways
            || stride <= 0
            || self.clusters.iter().any(|c| c.sparse || c.stride != stride)
        {
            return false;
        }
        let circle = self.limits.circle();
        let apart = if stride > self.limits.line_bytes() {
            2 * stride
        } else {
            stride
        };
        self.clusters.iter().enumerate().all(|(at, leader)| {
            self.clusters[at + 1..].iter().all(|follower| {
                // By how much the leader is ahead, at its lower and at its upper end.
                let low = (leader.low - follower.low) & (circle - 1);
                let high = low + (leader.high - leader.low) - (follower.high - follower.low);
                // In one iteration the leader's operands come first, so it need not be an iteration ahead.
                let first =
                    stride <= self.limits.line_bytes() && leader.last_member() < follower.first_member();
                let least = if first { 0 } else { apart };
                low >= least && high >= least && circle - low >= apart && circle - high >= apart
            })
        })
    }
}

impl<'a, M: Memory> Walk<'a, M> {
    #[inline(always)]
    pub(super) fn looped(&mut self, run: &Looped<'_>) {
        let all = Window {
            from: 0,
            iterations: run.iterations,
        };
        let room = run.limits.circle() - 2 * run.limits.line_bytes();
        // A cluster must be out of a class before it comes around to it again.
        let fits = |cluster: &Cluster| {
            let step = if cluster.sparse { 0 } else { cluster.stride.abs() };
            cluster.high - cluster.low + step <= room
        };
        if !run.clusters.iter().all(fits) {
            self.dwell(run, all);
        } else if run.scattered.operands > 0 {
            self.mixed(run);
        } else if let [cluster] = run.clusters {
            self.cluster(run, cluster, all);
        } else if run.iterations < FEW_ITERATIONS {
            self.dwell(run, all);
        } else if run.is_procession() {
            self.procession(run);
        } else {
            self.windows(run);
        }
    }

    /// All lines of a cluster in a window, in the order in which it reaches them.
    #[inline(always)]
    fn cluster(&mut self, run: &Looped<'_>, cluster: &Cluster, window: Window) {
        if !cluster.sparse {
            return self.dense(run, cluster, window);
        }
        let path = &self.paths.data;
        for i in window.from..window.from + window.iterations {
            if cluster.is_single() {
                self.sweep_once(run, &run.sweeps[cluster.first_member() as usize], i);
                continue;
            }
            // Its lines lie in different classes: their order in an iteration does not matter, and once is enough.
            let one = Window {
                from: i,
                iterations: 1,
            };
            let (first, last) = run.lines(cluster, i);
            for line in first..=last {
                self.cluster_line(run, path, cluster, one, line);
            }
        }
    }

    /// The lines of an operand in iteration `i`.
    #[inline(always)]
    fn sweep_once(&mut self, run: &Looped<'_>, sweep: &Sweep, i: i64) {
        let low = run.at(sweep, i);
        let high = low + sweep.bytes - 1;
        for line in run.line(low)..=run.line(high) {
            let access = Access {
                line: line.cast_unsigned(),
                owner: sweep.owner,
                cause: sweep.cause as usize,
                write: sweep.write,
                writer: sweep.owner,
            };
            self.line(&self.paths.data, access);
        }
    }

    #[inline(always)]
    fn cluster_line(
        &mut self,
        run: &Looped<'_>,
        path: &'a [Step],
        cluster: &Cluster,
        window: Window,
        line: i64,
    ) {
        let line_bytes = run.limits.line_bytes();
        let start = line << run.limits.line_shift;
        let (low, high) = cluster.write_extent(window);
        let write = cluster.writers != 0 && (run.line(low)..=run.line(high - 1)).contains(&line);
        let toucher = &run.sweeps[cluster.first_toucher(run.sweeps, start, line_bytes, window)];
        let writer = if write {
            run.sweeps[cluster.last_writer(run.sweeps, start, line_bytes, window)].owner
        } else {
            0
        };
        let access = Access {
            line: line.cast_unsigned(),
            owner: toucher.owner,
            cause: toucher.cause as usize,
            write,
            writer,
        };
        self.line(path, access);
    }

    #[inline(always)]
    fn dense(&mut self, run: &Looped<'_>, cluster: &Cluster, window: Window) {
        let (low, high) = cluster.extent(window);
        let (first, last) = (run.line(low), run.line(high - 1));
        if first == last {
            return self.cluster_line(run, &self.paths.data, cluster, window, first);
        }
        let groups = first / LANES as i64..=last / LANES as i64;
        if cluster.stride >= 0 {
            for group in groups {
                self.cluster_group(run, cluster, window, group);
            }
        } else {
            for group in groups.rev() {
                self.cluster_group(run, cluster, window, group);
            }
        }
    }

    /// The lines of a group that a cluster touches in a window.
    #[inline(always)]
    fn cluster_group(&mut self, run: &Looped<'_>, cluster: &Cluster, window: Window, group: i64) {
        let start = group * LANES as i64;
        let lanes = |(low, high): (i64, i64)| -> Mask {
            let first = (run.line(low) - start).max(0);
            let last = (run.line(high - 1) - start).min(LANES as i64 - 1);
            if first > last {
                return 0;
            }
            Mask::MAX >> (LANES as i64 - 1 - last) & Mask::MAX << first
        };
        let touched = lanes(cluster.extent(window));
        let written = if cluster.writers == 0 {
            0
        } else {
            lanes(cluster.write_extent(window))
        };
        let (line_bytes, address) = (run.limits.line_bytes(), start << run.limits.line_shift);
        let mut each = [0; LANES];
        let writers = if written == 0 {
            Writers::One(0)
        } else if cluster.writers & (cluster.writers - 1) == 0 {
            Writers::One(run.sweeps[cluster.writers.trailing_zeros() as usize].owner)
        } else {
            let mut alike = true;
            let first = written.trailing_zeros() as usize;
            let mut rest = written;
            while rest != 0 {
                let lane = rest.trailing_zeros() as usize;
                rest &= rest - 1;
                let line = address + lane as i64 * line_bytes;
                each[lane] = run.sweeps[cluster.last_writer(run.sweeps, line, line_bytes, window)].owner;
                alike &= each[lane] == each[first];
            }
            if alike {
                Writers::One(each[first])
            } else {
                Writers::Each(&each)
            }
        };
        let path = &self.paths.data;
        let operation = Operation {
            touched,
            written,
            writers,
        };
        let line = start.cast_unsigned();
        let missed = self.levels[path[0].cache].touch_group(line, operation, self.regions);
        if missed == 0 {
            return;
        }
        if cluster.is_single() {
            let charge = run.sweeps[cluster.first_member() as usize].charge(missed);
            self.group_missed(path, line, missed, &[charge]);
        } else {
            let mut charges = [Charge::default(); LANES];
            let charges = cluster.charges(run.sweeps, address, missed, line_bytes, window, &mut charges);
            self.group_missed(path, line, missed, charges);
        }
    }

    #[inline(always)]
    fn procession(&mut self, run: &Looped<'_>) {
        let (mut from, mut to) = (0, run.iterations);
        if run.overlap(0) {
            self.dwell(run, Window { from, iterations: 1 });
            from = 1;
        }
        let overlap_at_end = run.overlap(to - 1);
        if overlap_at_end {
            to -= 1;
        }
        let window = Window {
            from,
            iterations: to - from,
        };
        // Of each cluster: its next group, its last one, and when it gets there, in bytes on its way.
        let mut next = [(0, -1, i64::MAX); MOST_ALIKE];
        let group_bytes = (LANES as i64) << run.limits.line_shift;
        for (next, cluster) in next.iter_mut().zip(run.clusters) {
            let (low, high) = cluster.extent(window);
            let (first, last) = (run.line(low) / LANES as i64, run.line(high - 1) / LANES as i64);
            *next = (first, last, first * group_bytes - cluster.low);
        }
        let next = &mut next[..run.clusters.len()];
        loop {
            let mut soonest = 0;
            for at in 1..next.len() {
                if next[at].2 < next[soonest].2 {
                    soonest = at;
                }
            }
            let (group, last, when) = next[soonest];
            if when == i64::MAX {
                break;
            }
            self.cluster_group(run, &run.clusters[soonest], window, group);
            next[soonest] = if group == last {
                (0, -1, i64::MAX)
            } else {
                (group + 1, last, when + group_bytes)
            };
        }
        if overlap_at_end {
            self.dwell(
                run,
                Window {
                    from: to,
                    iterations: 1,
                },
            );
        }
    }

    /// Windows in which the clusters stay in different classes.
    #[inline(always)]
    fn windows(&mut self, run: &Looped<'_>) {
        let mut from = 0;
        let mut wanted = run.iterations;
        while from < run.iterations {
            let rest = run.iterations - from;
            let found = self.window(run, from, rest.min(wanted));
            if found < SHORT_WINDOW.min(rest)
                && let Some((mover, iterations)) = passing(run, from, rest)
                && iterations > 2 * found
            {
                self.pass(run, mover, Window { from, iterations });
                from += iterations;
                continue;
            }
            if found < 2 {
                let iterations = rest.min(2);
                self.dwell(run, Window { from, iterations });
                from += iterations;
                wanted = wanted.min(16);
                continue;
            }
            let window = Window {
                from,
                iterations: found,
            };
            for cluster in run.clusters {
                self.cluster(run, cluster, window);
            }
            from += found;
            wanted = (2 * found).max(16);
        }
    }

    /// With scattered operands: stretches in which what stands stays resident.
    #[inline(never)]
    fn mixed(&mut self, run: &Looped<'_>) {
        let (mut standing, mut moving) = (0, 0);
        for (at, cluster) in run.clusters.iter().enumerate().take(MOST_MIXED) {
            if cluster.stride == 0 {
                standing |= 1 << at;
            } else {
                moving |= 1 << at;
            }
        }
        let mut from = 0;
        while from < run.iterations {
            let found = if run.clusters.len() > MOST_MIXED {
                1
            } else {
                uncrowded(run, standing, moving, from)
            };
            let to = from + found;
            if standing == 0 && found > 1 {
                self.moving(run, moving, from, to);
            } else {
                self.dwell(run, Window { from, iterations: 1 });
                if found > 1 {
                    self.moving(run, moving, from + 1, to - 1);
                    self.dwell(
                        run,
                        Window {
                            from: to - 1,
                            iterations: 1,
                        },
                    );
                }
            }
            from = to;
        }
    }

    /// Iterations of the clusters `moving` and the scattered operands, as if there were no others.
    #[inline(always)]
    fn moving(&mut self, run: &Looped<'_>, moving: u64, from: i64, to: i64) {
        // By cluster: the first iteration that it has not swept, and the classes that it touches from that one on.
        let mut swept = [(from, 0); MOST_MIXED];
        let mut now = [0; MOST_MIXED];
        for i in from..to {
            let (mut all, mut shared) = (0, 0);
            for sweep in run.scattered_sweeps() {
                let low = run.at(sweep, i);
                all |= run
                    .limits
                    .classes_of(run.line(low), run.line(low + sweep.bytes - 1));
            }
            let scattered = all;
            for at in operands(moving) {
                now[at] = run.classes(&run.clusters[at], i);
                shared |= all & now[at];
                all |= now[at];
            }
            for at in operands(moving) {
                let others = if shared == 0 { all & !now[at] } else { all };
                if swept[at].0 < i && (shared != 0 || swept[at].1 & others != 0) {
                    let window = Window {
                        from: swept[at].0,
                        iterations: i - swept[at].0,
                    };
                    self.cluster(run, &run.clusters[at], window);
                    swept[at] = (i, 0);
                }
                swept[at].1 |= now[at];
            }
            if shared != 0 {
                self.dwell(
                    run,
                    Window {
                        from: i,
                        iterations: 1,
                    },
                );
                swept = [(i + 1, 0); MOST_MIXED];
            } else if scattered != 0 {
                for sweep in run.scattered_sweeps() {
                    self.sweep_once(run, sweep, i);
                }
            }
        }
        for at in operands(moving) {
            if swept[at].0 < to {
                let window = Window {
                    from: swept[at].0,
                    iterations: to - swept[at].0,
                };
                self.cluster(run, &run.clusters[at], window);
            }
        }
    }

    /// One cluster moves past the others, which stand.
    #[inline(always)]
    fn pass(&mut self, run: &Looped<'_>, mover: usize, window: Window) {
        let last = window.from + window.iterations - 1;
        let one = |from| Window { from, iterations: 1 };
        self.dwell(run, one(window.from));
        let between = Window {
            from: window.from + 1,
            iterations: window.iterations - 2,
        };
        self.cluster(run, &run.clusters[mover], between);
        self.dwell(run, one(last));
    }

    /// How many iterations from `from` on, at most `most`, keep the clusters in different classes.
    #[inline(always)]
    fn window(&self, run: &Looped<'_>, from: i64, most: i64) -> i64 {
        let clusters = run.clusters;
        let circle = run.limits.classes;
        let mut seen = 0;
        let mut any_sparse = false;
        for cluster in clusters {
            let classes = run.classes(cluster, from);
            if seen & classes != 0 {
                return 0;
            }
            seen |= classes;
            any_sparse |= cluster.sparse;
        }
        // Until a dense cluster reaches the line where another one starts now.
        let mut iterations = most;
        for (at, cluster) in clusters.iter().enumerate() {
            if cluster.sparse || cluster.stride == 0 {
                continue;
            }
            let (low, high) = cluster.span(from);
            let (first, last) = (run.line(low), run.line(high - 1));
            let line_bytes = run.limits.line_bytes();
            for (other_at, other) in clusters.iter().enumerate() {
                if other_at == at {
                    continue;
                }
                let (other_first, other_last) = run.lines(other, from);
                let (free, slack) = if cluster.stride > 0 {
                    (
                        other_first - last - 1,
                        line_bytes - 1 - ((high - 1) & (line_bytes - 1)),
                    )
                } else {
                    (first - other_last - 1, low & (line_bytes - 1))
                };
                // Two that approach each other share the lines between them.
                let approaching = cluster.stride.signum() == -other.stride.signum();
                let free = (free & (circle - 1)) >> u32::from(approaching);
                let room = (free << run.limits.line_shift) + slack;
                iterations = iterations.min(quotient(room, cluster.stride.abs()) + 1);
            }
        }
        if any_sparse {
            iterations = self.sparse_window(run, from, iterations);
        }
        iterations
    }

    /// The same where clusters leave out lines: these are followed step by step.
    #[inline(always)]
    fn sparse_window(&self, run: &Looped<'_>, from: i64, iterations: i64) -> i64 {
        let window = Window {
            from,
            iterations: iterations.min(LONGEST_SPARSE_WINDOW),
        };
        let mut dense = 0;
        for cluster in run.clusters.iter().filter(|cluster| !cluster.sparse) {
            let (low, high) = cluster.extent(window);
            dense |= run.limits.classes_of(run.line(low), run.line(high - 1));
        }
        let mut kept = window.iterations;
        let mut seen = dense;
        for cluster in run.clusters.iter().filter(|cluster| cluster.sparse) {
            let mut mine = 0;
            for i in from..from + kept {
                let classes = run.classes(cluster, i);
                if seen & classes != 0 {
                    kept = i - from;
                    break;
                }
                mine |= classes;
            }
            seen |= mine;
        }
        kept
    }

    /// Access by access, skipping iterations that touch the same lines again.
    ///
    /// The skip is exact: if an iteration touches no more lines than a set has ways, all of them are in the first
    /// level after it, ordered by their last touch. Repeating it hits each time and ends in the same order.
    #[inline(never)]
    fn dwell(&mut self, run: &Looped<'_>, window: Window) {
        let line_shift = run.limits.line_shift;
        let offset = run.limits.line_bytes() - 1;
        let lines = |sweep: &Sweep| ((sweep.bytes + offset - 1) >> line_shift) + 1;
        let may_skip = run.sweeps.iter().map(lines).sum::<i64>() <= run.limits.ways as i64;
        let end = window.from + window.iterations;
        let mut i = window.from;
        while i < end {
            let mut stay = if may_skip { end - i } else { 1 };
            for sweep in run.sweeps {
                self.sweep_once(run, sweep, i);
                if stay > 1 {
                    stay = match sweep.is_scattered() {
                        true => 1,
                        false => stay.min(sweep.dwell(i, run.limits.line_bytes())),
                    };
                }
            }
            i += stay;
        }
    }
}

/// For how many iterations from `from` on no set of what the clusters `standing` touch sees more lines than it has ways.
#[inline(always)]
fn uncrowded(run: &Looped<'_>, standing: u64, moving: u64, from: i64) -> i64 {
    let rest = run.iterations - from;
    // Lines of each class that stand.
    let mut lines = [0u8; MOST_CLASSES];
    let mut classes = 0;
    for at in operands(standing) {
        let (first, last) = run.lines(&run.clusters[at], from);
        for line in first..=last {
            let class = line & (run.limits.classes - 1);
            lines[class as usize] += 1;
            classes |= 1u64 << class;
        }
    }
    if classes == 0 {
        return rest;
    }
    let most = i64::from(lines.iter().copied().max().unwrap_or(0));
    let ways = run.limits.ways as i64;
    let mut iterations = rest.min(LONGEST_STRETCH);
    let passing = loop {
        let window = Window { from, iterations };
        let of = |at: usize| {
            let (low, high) = run.clusters[at].extent(window);
            (run.line(high - 1) - run.line(low)) / run.limits.classes + 1
        };
        let passing: i64 = operands(moving).map(of).sum();
        if most + passing <= ways {
            break passing;
        }
        if iterations == 1 {
            return 1;
        }
        iterations /= 2;
    };
    for i in from..from + iterations {
        for sweep in run.scattered_sweeps() {
            let low = run.at(sweep, i);
            for line in run.line(low)..=run.line(low + sweep.bytes - 1) {
                let class = line & (run.limits.classes - 1);
                if classes >> class & 1 != 0 {
                    lines[class as usize] += 1;
                    if i64::from(lines[class as usize]) + passing > ways {
                        return (i - from).max(1);
                    }
                }
            }
        }
    }
    iterations
}

/// The one cluster that moves while all others stay in their lines, and for how many iterations from `from` on, of `rest`, it
/// may do so without any set seeing more lines than it has ways. None if it is too few.
#[inline(never)]
fn passing(run: &Looped<'_>, from: i64, rest: i64) -> Option<(usize, i64)> {
    let speed = |at: &usize| run.clusters[*at].stride.abs();
    let mover = (0..run.clusters.len()).max_by_key(speed)?;
    let line_bytes = run.limits.line_bytes();
    let standing = || {
        let others = run.clusters.iter().enumerate();
        others.filter(|(at, _)| *at != mover).map(|(_, cluster)| cluster)
    };
    if standing().any(|cluster| cluster.stride.abs() * (SHORTEST_PASSING - 1) >= line_bytes) {
        return None;
    }
    let mut most = rest;
    // Lines of each class.
    let mut lines = [0u8; MOST_CLASSES];
    let class = |line: i64| (line & (run.limits.classes - 1)) as usize;
    for cluster in standing() {
        if cluster.stride != 0 {
            for index in operands(cluster.members) {
                most = most.min(run.sweeps[index].dwell(from, line_bytes));
            }
        }
        let (first, last) = run.lines(cluster, from);
        for line in first..=last {
            lines[class(line)] += 1;
        }
    }
    let (ways, moving) = (run.limits.ways, &run.clusters[mover]);
    let free = ways.saturating_sub(lines.iter().copied().max().unwrap_or(0).into()) as i64;
    if most < SHORTEST_PASSING || free == 0 {
        return None;
    }
    let iterations = if moving.sparse {
        most = most.min(LONGEST_SPARSE_WINDOW);
        let fits = |i: &i64| {
            let (first, last) = run.lines(moving, *i);
            (first..=last).all(|line| {
                lines[class(line)] += 1;
                usize::from(lines[class(line)]) <= ways
            })
        };
        (from..from + most).take_while(fits).count() as i64
    } else {
        // So many neighbouring lines fill no class with more of them than are free.
        let bytes = free * run.limits.circle() - line_bytes - (moving.high - moving.low);
        most.min(bytes.max(0) / moving.stride.abs().max(1))
    };
    (iterations >= SHORTEST_PASSING).then_some((mover, iterations))
}
