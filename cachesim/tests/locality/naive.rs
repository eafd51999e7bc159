//! The definitions, taken literally: access by access, with lists that are searched and sets of bytes.

use std::collections::{BTreeMap, HashMap, HashSet};

use memloupe_cachesim::locality::{GroupLocality, STRIDE_BOUNDS, Strides};
use memloupe_cachesim::{AccessKind, Operand};

/// A thread's run.
pub(crate) type OwnedRun = (u32, Vec<Operand>, u64);

/// A data access: `first` and `last` are its bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Access {
    pub(crate) time: u64,
    pub(crate) thread: u32,
    pub(crate) operand: Operand,
    pub(crate) first: u64,
    pub(crate) last: u64,
}

impl Access {
    pub(crate) fn lines(&self) -> impl Iterator<Item = u64> + use<> {
        self.first / 64..=self.last / 64
    }

    fn bytes_of(&self, line: u64) -> impl Iterator<Item = u64> + use<> {
        self.first.max(line * 64)..=self.last.min(line * 64 + 63)
    }

    fn reads(&self) -> bool {
        matches!(self.operand.kind, AccessKind::Load | AccessKind::ReadModifyWrite)
    }

    fn writes(&self) -> bool {
        use AccessKind::{NonTemporalStore, ReadModifyWrite, Store};
        matches!(self.operand.kind, Store | ReadModifyWrite | NonTemporalStore)
    }
}

/// Every data access of a stream; the first is at time 1.
pub(crate) fn accesses(stream: &[OwnedRun]) -> Vec<Access> {
    let mut all: Vec<Access> = Vec::new();
    for (thread, operands, iterations) in stream {
        for i in 0..*iterations {
            for operand in operands
                .iter()
                .filter(|operand| operand.kind != AccessKind::Fetch)
            {
                let first = operand
                    .address
                    .wrapping_add((operand.stride as u64).wrapping_mul(i));
                all.push(Access {
                    time: all.len() as u64 + 1,
                    thread: *thread,
                    operand: *operand,
                    first,
                    last: first + u64::from(operand.bytes.max(1)) - 1,
                });
            }
        }
    }
    all
}

/// A line in a list or cache.
struct Line {
    number: u64,
    time: u64,
    group: u32,
    used: HashSet<u64>,
}

/// Moves a line to the end of a list; returns it as it was, and how many lines were behind it.
fn take(list: &mut Vec<Line>, number: u64) -> Option<(Line, u64)> {
    let at = list.iter().position(|line| line.number == number)?;
    let line = list.remove(at);
    Some((line, (list.len() - at) as u64))
}

/// What each group did to the lines that are followed, each of which counts for `one_in`. The group is the owner.
pub(crate) fn measure(
    all: &[Access],
    groups: u32,
    capacities: &[u64],
    one_in: u64,
    followed: impl Fn(u64) -> bool,
) -> Vec<GroupLocality> {
    let mut found = vec![
        GroupLocality {
            used_bytes: vec![Default::default(); capacities.len()],
            ..GroupLocality::default()
        };
        groups as usize
    ];
    for access in all {
        found[access.operand.owner as usize].line_accesses += access.lines().count() as u64;
    }
    reuse(all, one_in, &followed, &mut found);
    for (cache, capacity) in capacities.iter().enumerate() {
        line_use(all, *capacity, one_in, &followed, cache, &mut found);
    }
    lifetimes(all, one_in, &followed, &mut found);
    sharing(all, one_in, &followed, &mut found);
    found
}

fn reuse(all: &[Access], one_in: u64, followed: &impl Fn(u64) -> bool, found: &mut [GroupLocality]) {
    let mut stack: Vec<Line> = Vec::new();
    for access in all {
        let group = access.operand.owner;
        for number in access.lines().filter(|line| followed(*line)) {
            let reuse = &mut found[group as usize].reuse;
            match take(&mut stack, number) {
                Some((before, distance)) => {
                    reuse.distances.add(distance * one_in, one_in);
                    reuse.times.add(access.time - before.time, one_in);
                }
                None => reuse.first_uses.add(access.time, one_in),
            }
            stack.push(Line {
                number,
                time: access.time,
                group,
                used: HashSet::new(),
            });
        }
    }
    for last in stack {
        let uses = &mut found[last.group as usize].reuse.last_uses;
        uses.add(all.len() as u64 + 1 - last.time, one_in);
    }
}

/// A fully associative LRU cache. Of a sample of lines, it holds its share.
fn line_use(
    all: &[Access],
    capacity: u64,
    one_in: u64,
    followed: &impl Fn(u64) -> bool,
    cache: usize,
    found: &mut [GroupLocality],
) {
    let mut lines: Vec<Line> = Vec::new();
    let mut evict =
        |line: Line| found[line.group as usize].used_bytes[cache].add(line.used.len() as u64, one_in);
    for access in all {
        for number in access.lines().filter(|line| followed(*line)) {
            let mut line = take(&mut lines, number).map_or_else(
                || Line {
                    number,
                    time: access.time,
                    group: access.operand.owner,
                    used: HashSet::new(),
                },
                |(line, _)| line,
            );
            line.used.extend(access.bytes_of(number));
            lines.push(line);
            if lines.len() as u64 > capacity.div_ceil(one_in) {
                evict(lines.remove(0));
            }
        }
    }
    lines.into_iter().for_each(evict);
}

struct Generation {
    written: HashSet<u64>,
    group: u32,
    first_write: u64,
    last_read: Option<u64>,
}

fn lifetimes(all: &[Access], one_in: u64, followed: &impl Fn(u64) -> bool, found: &mut [GroupLocality]) {
    let mut present: BTreeMap<u64, Generation> = BTreeMap::new();
    let mut writes: HashMap<u64, (u64, u32)> = HashMap::new();
    let mut end = |generation: Generation, overwritten: bool| {
        let lifetimes = &mut found[generation.group as usize].lifetimes;
        match generation.last_read {
            Some(last) => lifetimes.read.add(last - generation.first_write, one_in),
            None if overwritten => lifetimes.dead += one_in,
            None => lifetimes.unread += one_in,
        }
    };
    for access in all {
        for line in access.lines().filter(|line| followed(*line)) {
            if let Some(generation) = present.get_mut(&line).filter(|_| access.reads()) {
                generation.last_read = Some(access.time);
            }
            if !access.writes() {
                continue;
            }
            let (count, last_writer) = writes.entry(line).or_default();
            *count += 1;
            *last_writer = access.operand.owner;
            let bytes: HashSet<u64> = access.bytes_of(line).collect();
            let overwrites = |generation: &mut Generation| !generation.written.is_disjoint(&bytes);
            if let Some(generation) = present.get_mut(&line)
                && !overwrites(generation)
            {
                generation.written.extend(&bytes);
                continue;
            }
            let new = Generation {
                written: bytes,
                group: access.operand.owner,
                first_write: access.time,
                last_read: None,
            };
            if let Some(old) = present.insert(line, new) {
                end(old, true);
            }
        }
    }
    present
        .into_values()
        .for_each(|generation| end(generation, false));
    for (count, group) in writes.into_values() {
        found[group as usize].lifetimes.writes.add(count, one_in);
    }
}

fn sharing(all: &[Access], one_in: u64, followed: &impl Fn(u64) -> bool, found: &mut [GroupLocality]) {
    let mut lines: HashMap<u64, (HashSet<u32>, HashSet<u32>, u32)> = HashMap::new();
    for access in all {
        for line in access.lines().filter(|line| followed(*line)) {
            let (users, writers, group) = lines.entry(line).or_default();
            users.insert(access.thread);
            if access.writes() {
                writers.insert(access.thread);
            }
            *group = access.operand.owner;
        }
    }
    for (users, writers, group) in lines.into_values() {
        let sharing = &mut found[group as usize].sharing;
        *match (users.len(), writers.len()) {
            (1, _) => &mut sharing.private,
            (_, 0) => &mut sharing.read_shared,
            (_, 1) => &mut sharing.one_writer,
            _ => &mut sharing.many_writers,
        } += one_in;
    }
}

/// Strides by owner.
pub(crate) fn strides(all: &[Access], owners: u32) -> Vec<Strides> {
    let mut found = vec![Strides::default(); owners as usize];
    for owner in 0..owners {
        let own: Vec<u64> = all
            .iter()
            .filter(|access| access.operand.owner == owner)
            .map(|access| access.first)
            .collect();
        for pair in own.windows(2) {
            let distance = pair[0].abs_diff(pair[1]);
            let class = STRIDE_BOUNDS.iter().position(|bound| distance <= *bound);
            found[owner as usize].0[class.unwrap_or(STRIDE_BOUNDS.len())] += 1;
        }
    }
    found
}
