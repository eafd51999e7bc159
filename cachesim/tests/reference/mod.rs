//! The same hierarchy in its plainest form: sets are lists, every access is simulated by itself.

use std::collections::HashMap;

use memloupe_cachesim::{AccessKind, Config, Contents, LevelCounters, OwnerCounters, Run, Scope};

/// What reached memory, in order: `true` for a write, address, owner.
pub(crate) type Trace = Vec<(bool, u64, u32)>;

#[derive(Clone)]
struct Line {
    number: u64,
    dirty: bool,
    writer: u32,
}

struct Cache {
    line_bytes: u64,
    ways: usize,
    // Most recently used first.
    sets: Vec<Vec<Line>>,
    evictions: u64,
}

impl Cache {
    /// Whether `number` hit, and the dirty line that it pushed out.
    fn touch(&mut self, number: u64, write: bool, owner: u32) -> (bool, Option<Line>) {
        let set = self.set_of(number);
        let set = &mut self.sets[set];
        let found = set.iter().position(|line| line.number == number);
        let mut line = match found {
            Some(at) => set.remove(at),
            None => Line {
                number,
                dirty: false,
                writer: 0,
            },
        };
        if write {
            line.dirty = true;
            line.writer = owner;
        }
        set.insert(0, line);
        let mut pushed_out = None;
        if set.len() > self.ways {
            self.evictions += 1;
            pushed_out = set.pop().filter(|line| line.dirty);
        }
        (found.is_some(), pushed_out)
    }

    fn holds(&self, number: u64) -> bool {
        self.sets[self.set_of(number)]
            .iter()
            .any(|line| line.number == number)
    }

    /// Of an address, 57 bits count.
    fn set_of(&self, number: u64) -> usize {
        (number % ((1 << 57) / self.line_bytes) % self.sets.len() as u64) as usize
    }
}

/// The lowest of the cores that use the cache that `core` uses.
fn first_core(scope: Scope, core: usize) -> usize {
    match scope {
        Scope::Private => core,
        Scope::Cluster(size) => core - core % size as usize,
        Scope::Shared => 0,
    }
}

pub(crate) struct Reference {
    config: Config,
    caches: HashMap<(usize, usize), Cache>,
    combining: Vec<Option<(u64, u32)>>,
    streamed: Vec<Option<u64>>,
    /// Lines that non-temporal loads read past the caches.
    pub(crate) streamed_lines: u64,
    pub(crate) levels: HashMap<(u32, usize), LevelCounters>,
    pub(crate) owners: HashMap<u32, OwnerCounters>,
    pub(crate) trace: Trace,
}

impl Reference {
    pub(crate) fn new(config: &Config, cores: usize) -> Self {
        let mut caches = HashMap::new();
        for (position, level) in config.levels.iter().enumerate() {
            let sets = level.bytes / (u64::from(level.ways) * u64::from(config.line_bytes));
            for core in 0..cores {
                let cache = Cache {
                    line_bytes: config.line_bytes.into(),
                    ways: level.ways as usize,
                    sets: vec![Vec::new(); sets as usize],
                    evictions: 0,
                };
                caches.insert((position, first_core(level.scope, core)), cache);
            }
        }
        Self {
            config: config.clone(),
            caches,
            combining: vec![None; cores],
            streamed: vec![None; cores],
            streamed_lines: 0,
            levels: HashMap::new(),
            owners: HashMap::new(),
            trace: Vec::new(),
        }
    }

    pub(crate) fn evictions(&self, level: usize) -> u64 {
        self.caches
            .iter()
            .filter(|((position, _), _)| *position == level)
            .map(|(_, cache)| cache.evictions)
            .sum()
    }

    /// Dirty lines as (level, core, address, owner), set by set, most recently used first.
    pub(crate) fn dirty(&self) -> Vec<(usize, usize, u64, u32)> {
        let mut keys: Vec<_> = self.caches.keys().copied().collect();
        keys.sort_unstable();
        let mut dirty = Vec::new();
        for key in keys {
            for line in self.caches[&key].sets.iter().flatten().filter(|line| line.dirty) {
                dirty.push((
                    key.0,
                    key.1,
                    line.number * u64::from(self.config.line_bytes),
                    line.writer,
                ));
            }
        }
        dirty
    }

    pub(crate) fn resident(&self, level: usize) -> u64 {
        self.caches
            .iter()
            .filter(|((position, _), _)| *position == level)
            .map(|(_, cache)| cache.sets.iter().map(|set| set.len() as u64).sum::<u64>())
            .sum()
    }

    pub(crate) fn run(&mut self, core: usize, run: Run<'_>) {
        for i in 0..run.iterations {
            for operand in run.operands {
                let address = operand
                    .address
                    .wrapping_add((operand.stride as u64).wrapping_mul(i));
                self.access(core, address, operand.bytes, operand.kind, operand.owner);
            }
        }
    }

    fn access(&mut self, core: usize, address: u64, bytes: u32, kind: AccessKind, owner: u32) {
        let line_bytes = u64::from(self.config.line_bytes);
        let first = address / line_bytes;
        let last = address.saturating_add(u64::from(bytes.max(1)) - 1) / line_bytes;
        let fetches = self
            .config
            .levels
            .iter()
            .any(|level| level.contents == Contents::Instruction)
            || self.config.levels[0].contents == Contents::Unified;
        if kind == AccessKind::Fetch && !fetches {
            return;
        }
        if first != last {
            self.owners.entry(owner).or_default().straddles += 1;
        }
        let excluded = if kind == AccessKind::Fetch {
            Contents::Data
        } else {
            Contents::Instruction
        };
        let path: Vec<usize> = (0..self.config.levels.len())
            .filter(|&position| self.config.levels[position].contents != excluded)
            .collect();
        for line in first..=last {
            if kind == AccessKind::NonTemporalStore {
                self.owners.entry(owner).or_default().non_temporal_lines += 1;
                if self.streamed[core] == Some(line) {
                    self.streamed[core] = None;
                }
                let holder = path.iter().find(|&&level| self.cache(level, core).holds(line));
                if let Some(&level) = holder {
                    self.cache(level, core).touch(line, true, owner);
                } else {
                    match self.combining[core] {
                        Some((pending, writer)) if pending != line => {
                            self.trace.push((true, pending * line_bytes, writer));
                        }
                        _ => {}
                    }
                    self.combining[core] = Some((line, owner));
                }
            } else if kind == AccessKind::NonTemporalLoad {
                self.owners.entry(owner).or_default().non_temporal_lines += 1;
                if self.streamed[core] == Some(line) {
                    continue;
                }
                match self.combining[core] {
                    Some((pending, writer)) if pending == line => {
                        self.trace.push((true, line * line_bytes, writer));
                        self.combining[core] = None;
                    }
                    _ => {}
                }
                let holder = path.iter().find(|&&level| self.cache(level, core).holds(line));
                if let Some(&level) = holder {
                    self.cache(level, core).touch(line, false, owner);
                } else {
                    self.trace.push((false, line * line_bytes, owner));
                    self.streamed[core] = Some(line);
                    self.streamed_lines += 1;
                }
            } else {
                let cause = match kind {
                    AccessKind::Store => 1,
                    AccessKind::Prefetch => 2,
                    _ => 0,
                };
                let write = matches!(kind, AccessKind::Store | AccessKind::ReadModifyWrite);
                self.request(core, &path, line, cause, write, owner);
            }
        }
    }

    fn cache(&mut self, level: usize, core: usize) -> &mut Cache {
        let core = first_core(self.config.levels[level].scope, core);
        self.caches.get_mut(&(level, core)).unwrap()
    }

    fn request(&mut self, core: usize, path: &[usize], line: u64, cause: usize, write: bool, owner: u32) {
        let Some((&level, outer)) = path.split_first() else {
            self.trace
                .push((false, line * u64::from(self.config.line_bytes), owner));
            return;
        };
        self.levels.entry((owner, level)).or_default().accesses[cause] += 1;
        let (hit, victim) = self.cache(level, core).touch(line, write, owner);
        if !hit {
            self.levels.entry((owner, level)).or_default().misses[cause] += 1;
            self.request(core, outer, line, cause, false, owner);
        }
        if let Some(victim) = victim {
            self.write_back(core, level, &victim);
        }
    }

    fn write_back(&mut self, core: usize, level: usize, victim: &Line) {
        self.levels.entry((victim.writer, level)).or_default().writebacks += 1;
        let below = (level + 1..self.config.levels.len())
            .find(|&position| self.config.levels[position].contents != Contents::Instruction);
        let Some(below) = below else {
            self.trace.push((
                true,
                victim.number * u64::from(self.config.line_bytes),
                victim.writer,
            ));
            return;
        };
        let (hit, next) = self.cache(below, core).touch(victim.number, true, victim.writer);
        if !hit {
            self.levels
                .entry((victim.writer, below))
                .or_default()
                .writeback_misses += 1;
        }
        if let Some(next) = next {
            self.write_back(core, below, &next);
        }
    }

    pub(crate) fn flush(&mut self) {
        let mut keys: Vec<_> = self.caches.keys().copied().collect();
        keys.sort_unstable();
        for key in keys {
            let cache = self.caches.get_mut(&key).unwrap();
            let dirty: Vec<Line> = cache
                .sets
                .iter()
                .flatten()
                .filter(|line| line.dirty)
                .cloned()
                .collect();
            cache
                .sets
                .iter_mut()
                .flatten()
                .for_each(|line| line.dirty = false);
            for line in dirty {
                self.write_back(key.1, key.0, &line);
            }
        }
        for pending in &mut self.combining {
            if let Some((line, owner)) = pending.take() {
                self.trace
                    .push((true, line * u64::from(self.config.line_bytes), owner));
            }
        }
    }
}
