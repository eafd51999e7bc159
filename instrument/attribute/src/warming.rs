//! Warming: what instances of operators that go by leave in the caches.
//!
//! An instance that is not observed is taken to touch the lines that the last observed one of its series has touched: where
//! these lie in memory that its arguments describe, at the same place of its own arguments; all others (work buffers, stacks)
//! where they were; of static data and code, those of an observed one at random, since look-ups in tables differ. Before the next observed instance these lines go through all levels, each instance's once, in the order in
//! which the instances began: instruction fetches, loads, then stores. So the observed instance finds the caches as they would be, and
//! what observed instances have written is written back when it would be.
//!
//! Instances that have so much traffic before them, up to the last observed one, and behind them, up to the next, that it fills
//! the largest cache, are left out: their lines are gone again. Where all that goes by fits into half of the largest cache, only what is
//! new to it is brought there, and what fits into the second largest.
//!
//! Not modelled: order and repetition within an instance that goes by; instances before their series' first observed one; code
//! outside operators, such as what loads a model; sets that overflow before the cache is full.

use std::collections::VecDeque;
use std::sync::Arc;

use memloupe_cachesim::AccessKind;
use memloupe_stream::mix;
use roaring::RoaringTreemap;
use rustc_hash::FxHashSet;

use crate::ledger::{FOOTPRINT_LINE_BYTES, Ledger, RowId};
use crate::probe::Argument;
use crate::sample::SampleId;

/// In the order in which they are replayed.
const KINDS: [AccessKind; 3] = [AccessKind::Fetch, AccessKind::Load, AccessKind::Store];

/// Lines one behind the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stretch {
    /// How they are touched.
    pub kind: AccessKind,
    /// Number (address / 64) of the first.
    pub first_line: u64,
    /// How many.
    pub lines: u64,
}

/// Lines by kind.
type Lines = [RoaringTreemap; 3];

/// What an observed instance has touched.
#[derive(Clone, Debug, Default)]
struct Footprint {
    of: SampleId,
    arguments: Arc<[Argument]>,
    lines: Lines,
    /// Static data and code.
    fixed: Lines,
    /// The lines, each stretch with the argument that it belongs to.
    stretches: Vec<(Stretch, Option<usize>)>,
    /// Static data and code: of the observed instances so far, this one last.
    fixed_stretches: Vec<Vec<Stretch>>,
    bytes: u64,
}

impl Footprint {
    /// Of another instance.
    fn next(self, of: SampleId, arguments: Arc<[Argument]>) -> Self {
        let mut fixed_stretches = self.fixed_stretches;
        fixed_stretches.push(Vec::new());
        Self {
            of,
            arguments,
            fixed_stretches,
            ..Self::default()
        }
    }

    fn settle(&mut self) {
        let places: Vec<(u64, u64)> = self.arguments.iter().map(lines_of).collect();
        let place = |line: u64| {
            places
                .iter()
                .position(|(first, end)| (*first..*end).contains(&line))
        };
        self.stretches = stretches(&mut self.lines, place);
        if let Some(last) = self.fixed_stretches.last_mut() {
            let fixed = stretches(&mut self.fixed, |_| None);
            *last = fixed.into_iter().map(|(stretch, _)| stretch).collect();
        }
        let lines = self.lines.iter().chain(&self.fixed).map(RoaringTreemap::len);
        self.bytes = lines.sum::<u64>() * FOOTPRINT_LINE_BYTES;
    }

    /// What an instance with these arguments touches; `chance`: any number.
    fn of_arguments<'f>(
        &'f self,
        arguments: &'f [Argument],
        chance: u64,
    ) -> impl Iterator<Item = Stretch> + 'f {
        let count = self.fixed_stretches.len().max(1);
        let fixed = self.fixed_stretches.get(mix(chance) as usize % count);
        let moved = self.stretches.iter().filter_map(|(stretch, place)| {
            let Some(place) = *place else {
                return Some(*stretch);
            };
            let (own, _) = lines_of(arguments.get(place).filter(|argument| argument.address != 0)?);
            let (observed, _) = lines_of(&self.arguments[place]);
            Some(Stretch {
                first_line: own + (stretch.first_line - observed),
                ..*stretch
            })
        });
        fixed.into_iter().flatten().copied().chain(moved)
    }
}

/// Lines as stretches that each lie in one place. What is stored to need not be loaded before.
fn stretches(lines: &mut Lines, place: impl Fn(u64) -> Option<usize>) -> Vec<(Stretch, Option<usize>)> {
    let [_, loads, stores] = lines;
    *loads -= &*stores;
    let mut all: Vec<(Stretch, Option<usize>)> = Vec::new();
    for (kind, lines) in KINDS.into_iter().zip(lines) {
        let known = all.len();
        for line in &*lines {
            let place = place(line);
            match all[known..].last_mut() {
                Some((last, of)) if *of == place && last.first_line + last.lines == line => last.lines += 1,
                _ => all.push((
                    Stretch {
                        kind,
                        first_line: line,
                        lines: 1,
                    },
                    place,
                )),
            }
        }
    }
    all
}

/// The lines of an argument, the last excluded.
fn lines_of(argument: &Argument) -> (u64, u64) {
    let first = argument.address / FOOTPRINT_LINE_BYTES;
    let end = argument.address.saturating_add(argument.bytes);
    (first, end.div_ceil(FOOTPRINT_LINE_BYTES))
}

/// An instance that went by.
#[derive(Clone, Debug)]
struct Passed {
    thread: u32,
    series: usize,
    arguments: Arc<[Argument]>,
    bytes: u64,
}

/// What instances have brought into the caches.
#[derive(Debug, Default)]
struct Resident {
    /// Series and where the arguments are: instances that touch the same.
    known: FxHashSet<(usize, usize)>,
    /// Keeps what `known` points to where it is.
    arguments: Vec<Arc<[Argument]>>,
    bytes: u64,
}

impl Resident {
    /// Whether it is new.
    fn add(&mut self, passed: &Passed) -> bool {
        let is_new = self
            .known
            .insert((passed.series, passed.arguments.as_ptr().addr()));
        if is_new {
            self.arguments.push(Arc::clone(&passed.arguments));
            self.bytes += passed.bytes;
        }
        is_new
    }
}

/// Remembers what went by, and what series touch.
#[derive(Debug, Default)]
pub(crate) struct Warming {
    /// Bytes of the largest cache, and of the second largest.
    caches: [u64; 2],
    /// By series.
    footprints: Vec<Option<Footprint>>,
    /// Rows up to here have been looked at.
    rows: RowId,
    /// Right behind the last observed instance, and what bytes these are.
    first: (Vec<Passed>, u64),
    /// Last of all.
    recent: (VecDeque<Passed>, u64),
    /// What was brought into the largest cache, while it fits into half of it.
    resident: Option<Resident>,
    replayed: u64,
}

impl Warming {
    /// For machines whose largest cache has so many bytes, and whose second largest.
    pub(crate) fn fit_to(&mut self, caches: [u64; 2]) {
        self.caches = caches;
        self.resident = Some(Resident::default());
    }

    /// Whether nothing went by since the last replay.
    pub(crate) fn is_idle(&self) -> bool {
        self.first.0.is_empty()
    }

    /// Instances whose lines have warmed the caches.
    pub(crate) fn replayed(&self) -> u64 {
        self.replayed
    }

    /// Takes in the rows that have come since the last call. `whose`: the observed instance that a row belongs to, its series and arguments;
    /// `kind`: what its site does; `is_fixed`: whether it is about static data or code.
    pub(crate) fn learn(
        &mut self,
        ledger: &Ledger,
        whose: impl Fn(RowId) -> Option<(SampleId, usize, Arc<[Argument]>)>,
        kind: impl Fn(RowId) -> AccessKind,
        is_fixed: impl Fn(RowId) -> bool,
    ) {
        let mut changed: FxHashSet<usize> = FxHashSet::default();
        let known = std::mem::replace(&mut self.rows, ledger.len() as RowId);
        for row in known..self.rows {
            let Some((instance, series, arguments)) = whose(row) else {
                continue;
            };
            if self.footprints.len() <= series {
                self.footprints.resize_with(series + 1, || None);
            }
            let footprint = &mut self.footprints[series];
            let footprint = footprint.get_or_insert_default();
            if footprint.of != instance {
                *footprint = std::mem::take(footprint).next(instance, arguments);
            }
            let place = match kind(row) {
                AccessKind::Fetch => 0,
                AccessKind::Load | AccessKind::Prefetch => 1,
                AccessKind::Store | AccessKind::ReadModifyWrite => 2,
                AccessKind::NonTemporalLoad | AccessKind::NonTemporalStore => continue,
            };
            let lines = if is_fixed(row) {
                &mut footprint.fixed
            } else {
                &mut footprint.lines
            };
            ledger.add_lines_to(row, &mut lines[place]);
            changed.insert(series);
        }
        for series in changed {
            if let Some(footprint) = &mut self.footprints[series] {
                footprint.settle();
            }
        }
    }

    /// An instance goes by.
    pub(crate) fn pass(&mut self, thread: u32, series: usize, arguments: Arc<[Argument]>) {
        let footprint = self.footprints.get(series).and_then(Option::as_ref);
        let bytes = footprint.map_or(0, |footprint| footprint.bytes);
        let passed = Passed {
            thread,
            series,
            arguments,
            bytes,
        };
        let [largest, _] = self.caches;
        let (first, first_bytes) = &mut self.first;
        if *first_bytes <= largest {
            *first_bytes += bytes;
            first.push(passed);
            return;
        }
        let (recent, recent_bytes) = &mut self.recent;
        *recent_bytes += bytes;
        recent.push_back(passed);
        while let Some(oldest) = recent.front()
            && *recent_bytes - oldest.bytes > largest
        {
            *recent_bytes -= oldest.bytes;
            recent.pop_front();
        }
    }

    /// Hands over what is to be replayed before an observed instance, in order: the thread and what it touches.
    pub(crate) fn replay(&mut self, mut touch: impl FnMut(u32, Stretch)) {
        let (first, _) = std::mem::take(&mut self.first);
        let (recent, _) = std::mem::take(&mut self.recent);
        let passed: Vec<Passed> = first.into_iter().chain(recent).collect();
        let mut behind: u64 = passed.iter().map(|passed| passed.bytes).sum();
        for passed in &passed {
            behind -= passed.bytes;
            let is_new = self.resident.as_mut().is_none_or(|resident| resident.add(passed));
            if self
                .resident
                .as_ref()
                .is_some_and(|resident| resident.bytes > self.caches[0] / 2)
            {
                self.resident = None;
            }
            let footprint = self.footprints.get(passed.series).and_then(Option::as_ref);
            let Some(footprint) = footprint.filter(|_| is_new || behind <= self.caches[1]) else {
                continue;
            };
            self.replayed += 1;
            for stretch in footprint.of_arguments(&passed.arguments, self.replayed) {
                touch(passed.thread, stretch);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::RowKey;

    const A: Argument = Argument {
        address: 0x10_000,
        bytes: 0x1000,
    };

    fn moved(address: u64) -> Arc<[Argument]> {
        Arc::from([Argument { address, ..A }])
    }

    /// Knows one series, whose instance has read 32 lines of its argument, written 4 of these, and run one line of code.
    fn warming(caches: [u64; 2]) -> Warming {
        let mut ledger = Ledger::default();
        let touched = [(A.address, 32 * 64), (A.address + 64, 4 * 64), (0x500, 16)];
        for (site, (address, bytes)) in (0..).zip(touched) {
            let row = ledger.row(RowKey {
                context: 0,
                site,
                object: 0,
            });
            ledger.touch(row, 1, address, bytes);
        }
        let kinds = [AccessKind::Load, AccessKind::Store, AccessKind::Fetch];
        let mut warming = Warming::default();
        warming.fit_to(caches);
        warming.learn(
            &ledger,
            |_| Some((1, 0, moved(A.address))),
            |row| kinds[row as usize],
            |row| row == 2,
        );
        warming
    }

    fn replayed(warming: &mut Warming) -> Vec<(AccessKind, u64, u64)> {
        let mut stretches = Vec::new();
        warming.replay(|_, stretch| stretches.push((stretch.kind, stretch.first_line, stretch.lines)));
        stretches
    }

    #[test]
    fn what_lies_in_arguments_moves_with_them() {
        let mut warming = warming([1 << 20, 1 << 10]);
        warming.pass(0, 0, moved(0x80_0000));
        let line = 0x80_0000 / 64;
        let expected = [
            (AccessKind::Fetch, 0x500 / 64, 1),
            (AccessKind::Load, line, 1),
            (AccessKind::Load, line + 5, 27),
            (AccessKind::Store, line + 1, 4),
        ];
        assert_eq!(replayed(&mut warming), expected);
        assert_eq!(replayed(&mut warming), [], "once");
        // An argument that is not there, and a series that nobody has seen.
        warming.pass(0, 0, moved(0));
        warming.pass(0, 7, moved(A.address));
        assert_eq!(replayed(&mut warming), [(AccessKind::Fetch, 0x500 / 64, 1)]);
    }

    /// 33 lines each: of many instances, those remain that lie within a cache's size of an observed one.
    #[test]
    fn what_is_long_gone_is_left_out() {
        const FIT: u64 = 10;
        let mut warming = warming([FIT * 33 * 64, 64]);
        let instances: Vec<_> = (0..100)
            .map(|number| moved(0x100_0000 + number * 0x10_000))
            .collect();
        for arguments in &instances {
            warming.pass(0, 0, Arc::clone(arguments));
        }
        let stores = |warming: &mut Warming| -> Vec<u64> {
            let all = replayed(warming).into_iter();
            let stores = all.filter(|(kind, ..)| *kind == AccessKind::Store);
            stores
                .map(|(_, line, _)| (line * 64 - 0x100_0000) / 0x10_000)
                .collect()
        };
        let expected: Vec<u64> = (0..=FIT).chain(100 - FIT - 1..100).collect();
        assert_eq!(stores(&mut warming), expected);
        // Where all fits in, only what is new to the largest cache is brought there, and what the second may hold.
        let mut warming = self::warming([1 << 30, 2 * 33 * 64]);
        let rounds: [Vec<u64>; 2] = [(0..100).collect(), vec![97, 98, 99]];
        for (round, expected) in rounds.into_iter().enumerate() {
            for arguments in &instances {
                warming.pass(0, 0, Arc::clone(arguments));
            }
            assert_eq!(stores(&mut warming), expected, "{round}");
        }
    }
}
