//! Spatial memory streaming. Somogyi, Wenisch, Ailamaki, Falsafi, Moshovos: Spatial memory streaming, ISCA 2006.
//!
//! Models regions of 2 KiB. The first access to a region, the trigger, opens a generation; the lines used until one of
//! them leaves the cache are its pattern, which is kept under the trigger's instruction and offset. The next trigger of
//! the same kind asks for the pattern's lines. 64 generations are open at a time (the paper's accumulation table; its
//! filter table is part of it here), and 16 Ki patterns are kept, direct mapped.

use super::{Access, Geometry, PAGE_BYTES, Prefetcher, Requests, hash};

const REGION_BYTES: u32 = 2048;
const GENERATIONS: usize = 64;
const PATTERN_BITS: u32 = 14;
/// Lines of 8 bytes make 256 to a region.
const WORDS: usize = 4;

type Lines = [u64; WORDS];

#[derive(Debug)]
struct Generation {
    region: u64,
    trigger: u64,
    used: Lines,
}

#[derive(Clone, Copy, Debug, Default)]
struct Pattern {
    trigger: u64,
    used: Lines,
}

#[derive(Debug)]
pub(crate) struct Sms {
    region_lines: u64,
    // Least recently begun first.
    generations: Vec<Generation>,
    patterns: Vec<Pattern>,
}

fn set(lines: &mut Lines, at: u64) {
    lines[at as usize / 64] |= 1 << (at % 64);
}

impl Sms {
    fn close(&mut self, at: usize) {
        let ended = self.generations.remove(at);
        self.patterns[hash(ended.trigger, PATTERN_BITS)] = Pattern {
            trigger: ended.trigger,
            used: ended.used,
        };
    }
}

impl Prefetcher for Sms {
    fn new(geometry: &Geometry) -> Self {
        Self {
            region_lines: (geometry.page_lines / u64::from(PAGE_BYTES / REGION_BYTES)).max(1),
            generations: Vec::with_capacity(GENERATIONS),
            patterns: vec![Pattern::default(); 1 << PATTERN_BITS],
        }
    }

    fn access(&mut self, access: &Access, requests: &mut Requests) {
        let (region, at) = (access.line / self.region_lines, access.line % self.region_lines);
        if let Some(open) = self.generations.iter_mut().rfind(|open| open.region == region) {
            set(&mut open.used, at);
            return;
        }
        if self.generations.len() == GENERATIONS {
            self.close(0);
        }
        // An offset is below 512; an empty pattern has no lines, so that its trigger does not matter.
        let trigger = u64::from(access.site) << 9 | at;
        let mut used = Lines::default();
        set(&mut used, at);
        self.generations.push(Generation {
            region,
            trigger,
            used,
        });
        let pattern = &self.patterns[hash(trigger, PATTERN_BITS)];
        if pattern.trigger == trigger {
            for line in (0..self.region_lines).filter(|&line| line != at) {
                if pattern.used[line as usize / 64] >> (line % 64) & 1 == 1 {
                    requests.push(region * self.region_lines + line);
                }
            }
        }
    }

    fn left(&mut self, line: u64) {
        let (region, at) = (line / self.region_lines, line % self.region_lines);
        let used =
            |open: &Generation| open.region == region && open.used[at as usize / 64] >> (at % 64) & 1 == 1;
        if let Some(open) = self.generations.iter().position(used) {
            self.close(open);
        }
    }
}
