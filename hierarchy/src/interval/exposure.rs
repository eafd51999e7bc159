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
    most_in_flight: f64,
}

/// What a group of misses that wait together costs.
struct Stall {
    cycles: f64,
    /// The share of the instructions that issue in the shadow of the groups.
    shadow: f64,
}

impl CoreTiming {
    /// The stalls of the cores that do these works at the same time, one each, on an otherwise idle machine.
    pub fn exposures(&self, works: &[Work]) -> Vec<Exposure> {
        let mut exposures: Vec<Exposure> = works.iter().map(|work| self.unsaturated(work)).collect();
        // By memory: of the time that it takes for all bytes at its peak, as many cores as there are spend all of it.
        let uses =
            |work: &Work, memory: usize| work.moved.get(memory).is_some_and(|moved| moved.total() > 0.0);
        let sharers: Vec<f64> = (0..self.memories.len())
            .map(|memory| works.iter().filter(|work| uses(work, memory)).count() as f64)
            .map(|users| users.min(self.cores))
            .collect();
        for (work, exposure) in works.iter().zip(&mut exposures) {
            let bytes = work.dram_bytes();
            if bytes > 0.0 {
                let memories = self.memories.iter().zip(&sharers).zip(&work.moved);
                let needed = memories
                    .map(|((memory, sharers), moved)| memory.cycles(*moved) * sharers)
                    .fold(0.0, f64::max);
                let missing = (needed - self.cycles(work, exposure).total()).max(0.0);
                exposure.bandwidth_per_byte = missing / bytes;
            }
        }
        exposures
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

    /// As if bandwidth were unlimited.
    fn unsaturated(&self, work: &Work) -> Exposure {
        let mut exposure = Exposure {
            levels: std::array::from_fn(|_| vec![0.0; self.levels.len()]),
            dram: [0.0; 3],
            bandwidth_per_byte: 0.0,
        };
        // First-level fetches are what issue at full width means.
        for (exposed, level) in exposure.levels[Wait::Fetch as usize].iter_mut().zip(&self.levels) {
            *exposed = f64::from(!level.is_first);
        }
        exposure.dram[Wait::Fetch as usize] = 1.0;

        let mut uncovered = 1.0;
        let chain = self.places(&work.answered[Wait::Dependent as usize]);
        let links: f64 = chain.iter().map(|place| place.accesses).sum();
        if links > 0.0 {
            let latency_sum: f64 = chain
                .iter()
                .map(|place| place.accesses * place.latency_cycles)
                .sum();
            let stall = self.stall(links, latency_sum / links, 1.0, work.instructions);
            let exposed = stall.cycles / latency_sum;
            exposure.levels[Wait::Dependent as usize].fill(exposed);
            exposure.dram[Wait::Dependent as usize] = exposed;
            uncovered -= stall.shadow;
        }
        // From the farthest to the nearest: what lies in the shadow of a farther one is paid for.
        for place in self.places(&work.answered[Wait::Independent as usize]) {
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
                None => exposure.dram[Wait::Independent as usize] = exposed,
            }
            uncovered *= 1.0 - stall.shadow;
        }
        exposure
    }

    /// Who answered anything, DRAM first, then levels from the slowest to the fastest.
    fn places(&self, answered: &Answered) -> Vec<Place> {
        let mut places: Vec<Place> = answered
            .hits
            .iter()
            .zip(&self.levels)
            .enumerate()
            .map(|(number, (hits, level))| Place {
                level: Some(number),
                accesses: *hits,
                latency_cycles: level.latency_cycles,
                most_in_flight: level.most_in_flight,
            })
            .chain([Place {
                level: None,
                accesses: answered.dram,
                latency_cycles: answered.dram_cycles / answered.dram.max(1.0),
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
