//! How much of each latency a core really waits for.

use super::work::{Answered, Wait, Work};
use super::{CoreTiming, Cycles};

/// For the work of one core: which share of the latency of each answer stalls it. With it the cycles of a part of that
/// work follow, and the parts add up.
#[derive(Clone, Debug, PartialEq)]
pub struct Exposure {
    /// Of hits of each level, by [`Wait`].
    levels: [Vec<f64>; 3],
    /// Of lines from DRAM, by [`Wait`].
    dram: [f64; 3],
    /// Cycles waited for bandwidth, per byte from or to DRAM.
    bandwidth_per_byte: f64,
}

/// Accesses that one place answers, a level or DRAM.
struct Place {
    /// The level; `None` for DRAM.
    level: Option<usize>,
    accesses: f64,
    latency_cycles: f64,
    /// Of it, what is waited for because others are served before.
    wait_cycles: f64,
    most_in_flight: f64,
}

impl Place {
    /// Exposures are of the latency without others.
    fn loaded_by_unloaded(&self) -> f64 {
        match self.latency_cycles - self.wait_cycles {
            0.0 => 1.0,
            unloaded => self.latency_cycles / unloaded,
        }
    }
}

/// What a group of misses that wait together costs.
struct Stall {
    cycles: f64,
    /// The share of the instructions that issue in the shadow of the groups.
    shadow: f64,
}

/// What cores ask of a memory together.
struct Load {
    /// How long what limits the memory is busy with it.
    busy_cycles: f64,
    /// How long it is with one line, each of it.
    service_cycles: f64,
    read_bytes: f64,
}

impl Load {
    /// What a request waits for others if all this takes so many cycles.
    fn wait(&self, cycles: f64) -> f64 {
        let used = self.busy_cycles / cycles;
        if used >= 1.0 {
            return f64::INFINITY;
        }
        self.service_cycles * used / (2.0 * (1.0 - used))
    }
}

impl CoreTiming {
    /// The stalls of the cores that do these works at the same time, one each, on an otherwise idle machine.
    pub fn exposures(&self, works: &[Work]) -> Vec<Exposure> {
        let mut exposures: Vec<Exposure> = works.iter().map(|work| self.waiting(work, 0.0)).collect();
        let uses =
            |work: &Work, memory: usize| work.moved.get(memory).is_some_and(|moved| moved.total() > 0.0);
        let sharers: Vec<f64> = (0..self.memories.len())
            .map(|memory| works.iter().filter(|work| uses(work, memory)).count() as f64)
            .map(|users| users.min(self.cores))
            .collect();
        for (work, exposure) in works.iter().zip(&mut exposures) {
            let bytes = work.dram_bytes();
            if bytes > 0.0 {
                let unloaded = self.cycles(work, exposure).total();
                let missing = (self.loaded(work, unloaded, &sharers) - unloaded).max(0.0);
                exposure.bandwidth_per_byte = missing / bytes;
            }
        }
        exposures
    }

    /// The cycles of a core that shares each memory with so many, itself included, which all do the same: `unloaded` with
    /// nobody in its way.
    fn loaded(&self, work: &Work, unloaded: f64, sharers: &[f64]) -> f64 {
        let loads: Vec<Load> = { self.memories.iter().zip(sharers).zip(&work.moved) }
            .filter(|(_, moved)| moved.total() > 0.0)
            .map(|((memory, sharers), moved)| {
                let busy = memory.busy(*moved);
                let lines = moved.total() / self.line_bytes as f64;
                Load {
                    busy_cycles: busy.cycles * sharers,
                    service_cycles: busy.cycles / lines * busy.servers,
                    read_bytes: moved.read_bytes,
                }
            })
            .collect();
        let reads: f64 = loads.iter().map(|load| load.read_bytes).sum();
        let least = loads.iter().map(|load| load.busy_cycles).fold(unloaded, f64::max);
        if reads == 0.0 {
            return least;
        }
        // The longer it takes, the less the memories are used, and the less there is to wait for: the two meet once.
        let falls_short = |cycles: f64| {
            let wait = |load: &Load| load.wait(cycles) * load.read_bytes / reads;
            let wait: f64 = loads.iter().map(wait).sum();
            wait.is_infinite() || self.cycles(work, &self.waiting(work, wait)).total() > cycles
        };
        let (mut short, mut enough) = (least, least);
        while falls_short(enough) {
            (short, enough) = (enough, enough * 2.0);
        }
        // As often as a double has bits to settle.
        for _ in 0..f64::MANTISSA_DIGITS {
            let middle = f64::midpoint(short, enough);
            if falls_short(middle) {
                short = middle;
            } else {
                enough = middle;
            }
        }
        enough
    }

    /// The cycles of `part` of the work that `exposure` is of.
    pub fn cycles(&self, part: &Work, exposure: &Exposure) -> Cycles {
        let mut cycles = Cycles {
            base: part.instructions / self.width,
            levels: vec![0.0; self.levels.len()],
            dram_latency: 0.0,
            dram_bandwidth: part.dram_bytes() * exposure.bandwidth_per_byte,
        };
        for (wait, answered) in part.answered.iter().enumerate() {
            for (level, hits) in answered.hits.iter().enumerate() {
                cycles.levels[level] +=
                    hits * self.levels[level].latency_cycles * exposure.levels[wait][level];
            }
            cycles.dram_latency += answered.dram_cycles * exposure.dram[wait];
        }
        cycles
    }

    /// Where each request to DRAM waits for so many cycles besides its own latency.
    fn waiting(&self, work: &Work, wait_cycles: f64) -> Exposure {
        let mut exposure = Exposure {
            levels: std::array::from_fn(|_| vec![0.0; self.levels.len()]),
            dram: [0.0; 3],
            bandwidth_per_byte: 0.0,
        };
        // First-level fetches are what issue at full width means.
        for (exposed, level) in exposure.levels[Wait::Fetch as usize].iter_mut().zip(&self.levels) {
            *exposed = f64::from(!level.is_first);
        }
        let fetches = &work.answered[Wait::Fetch as usize];
        exposure.dram[Wait::Fetch as usize] = match fetches.dram_cycles {
            0.0 => 1.0,
            cycles => 1.0 + fetches.dram * wait_cycles / cycles,
        };

        let mut uncovered = 1.0;
        let chain = self.places(&work.answered[Wait::Dependent as usize], wait_cycles);
        let links: f64 = chain.iter().map(|place| place.accesses).sum();
        if links > 0.0 {
            let latency_sum: f64 = chain
                .iter()
                .map(|place| place.accesses * place.latency_cycles)
                .sum();
            let stall = self.stall(links, latency_sum / links, 1.0, work.instructions);
            let exposed = stall.cycles / latency_sum;
            exposure.levels[Wait::Dependent as usize].fill(exposed);
            let of_dram = chain.iter().find(|place| place.level.is_none());
            exposure.dram[Wait::Dependent as usize] =
                exposed * of_dram.map_or(1.0, Place::loaded_by_unloaded);
            uncovered -= stall.shadow;
        }
        // From the farthest to the nearest: what lies in the shadow of a farther one is paid for.
        for place in self.places(&work.answered[Wait::Independent as usize], wait_cycles) {
            let accesses = place.accesses * uncovered;
            let is_first = place.level.is_some_and(|level| self.levels[level].is_first);
            if accesses == 0.0 || is_first {
                continue;
            }
            let instructions = work.instructions * uncovered;
            let stall = self.stall(accesses, place.latency_cycles, place.most_in_flight, instructions);
            let exposed = stall.cycles / (place.accesses * place.latency_cycles);
            match place.level {
                Some(level) => exposure.levels[Wait::Independent as usize][level] = exposed,
                None => exposure.dram[Wait::Independent as usize] = exposed * place.loaded_by_unloaded(),
            }
            uncovered *= 1.0 - stall.shadow;
        }
        exposure
    }

    /// Who answered anything, DRAM first, then levels from the slowest to the fastest.
    fn places(&self, answered: &Answered, wait_cycles: f64) -> Vec<Place> {
        let mut places: Vec<Place> = answered
            .hits
            .iter()
            .zip(&self.levels)
            .enumerate()
            .map(|(number, (hits, level))| Place {
                level: Some(number),
                accesses: *hits,
                latency_cycles: level.latency_cycles,
                wait_cycles: 0.0,
                most_in_flight: level.most_in_flight,
            })
            .chain([Place {
                level: None,
                accesses: answered.dram,
                latency_cycles: answered.dram_cycles / answered.dram.max(1.0) + wait_cycles,
                wait_cycles,
                most_in_flight: self.most_in_flight,
            }])
            .filter(|place| place.accesses > 0.0)
            .collect();
        places.sort_by(|a, b| {
            let is_level = a.level.is_some().cmp(&b.level.is_some());
            is_level.then(b.latency_cycles.total_cmp(&a.latency_cycles))
        });
        places
    }

    /// Accesses of one latency, spread evenly over `instructions`, of which at most so many are under way at a time.
    fn stall(&self, accesses: f64, latency_cycles: f64, most_in_flight: f64, instructions: f64) -> Stall {
        let within_rob = accesses * self.rob / instructions.max(1.0);
        let together = within_rob.min(most_in_flight).min(accesses).max(1.0);
        let groups = accesses / together;
        // The next group can't start before the reorder buffer, or the next miss, lets it.
        let window = self.rob.min(instructions / groups);
        Stall {
            cycles: groups * (latency_cycles - window / self.width).max(0.0),
            shadow: if instructions > 0.0 {
                (groups * window / instructions).min(1.0)
            } else {
                1.0
            },
        }
    }
}
