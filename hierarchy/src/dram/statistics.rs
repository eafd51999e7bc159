//! What a channel counts.

use serde::{Deserialize, Serialize};

use super::command::Command;
use super::timing::Tick;

/// Counts of values in buckets that are exact up to 1024 and within 1/64 of the value above.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Histogram {
    buckets: Vec<u64>,
    count: u64,
    sum: u64,
    max: u64,
}

const EXACT_BITS: u32 = 10;
const FINE_BITS: u32 = 6;

impl Histogram {
    /// Counts `value`.
    #[inline]
    pub fn add(&mut self, value: u64) {
        let bucket = if value < 1 << EXACT_BITS {
            value as usize
        } else {
            let shift = value.ilog2() - FINE_BITS;
            let octave = (value.ilog2() - EXACT_BITS) as usize;
            (1 << EXACT_BITS) + (octave << FINE_BITS) + (value >> shift) as usize - (1 << FINE_BITS)
        };
        if bucket >= self.buckets.len() {
            self.buckets.resize(bucket + 1, 0);
        }
        self.buckets[bucket] += 1;
        self.count += 1;
        self.sum += value;
        self.max = self.max.max(value);
    }

    /// Adds the counts of another.
    pub fn merge(&mut self, other: &Self) {
        if self.buckets.len() < other.buckets.len() {
            self.buckets.resize(other.buckets.len(), 0);
        }
        for (mine, theirs) in self.buckets.iter_mut().zip(&other.buckets) {
            *mine += theirs;
        }
        self.count += other.count;
        self.sum += other.sum;
        self.max = self.max.max(other.max);
    }

    /// How many values there are.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Their mean; exact.
    pub fn mean(&self) -> Option<f64> {
        (self.count > 0).then(|| self.sum as f64 / self.count as f64)
    }

    /// The largest.
    pub fn max(&self) -> u64 {
        self.max
    }

    /// The smallest value that at least `fraction` of the values do not exceed, as the upper end of its bucket.
    pub fn quantile(&self, fraction: f64) -> Option<u64> {
        let rank = ((self.count as f64 * fraction).ceil() as u64).clamp(1, self.count.max(1));
        let mut seen = 0;
        let bucket = self.buckets.iter().position(|count| {
            seen += count;
            seen >= rank
        })?;
        Some(upper_end(bucket).min(self.max))
    }

    /// The upper end of every bucket that is not empty, with its count.
    pub fn iter(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        let filled = self.buckets.iter().enumerate().filter(|(_, count)| **count > 0);
        filled.map(|(bucket, count)| (upper_end(bucket), *count))
    }
}

fn upper_end(bucket: usize) -> u64 {
    let Some(above) = bucket.checked_sub(1 << EXACT_BITS) else {
        return bucket as u64;
    };
    let octave = (above >> FINE_BITS) as u32;
    let step = (above & ((1 << FINE_BITS) - 1)) as u64 + (1 << FINE_BITS);
    ((step + 1) << (octave + EXACT_BITS - FINE_BITS)) - 1
}

/// What a request found when its first command issued.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RowOutcome {
    /// Its row open.
    Hit,
    /// The bank closed.
    Miss,
    /// Another row open.
    Conflict,
}

/// Counts of one source of requests.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceStatistics {
    /// Reads that completed, and the sum of their latencies in ticks.
    pub reads: u64,
    /// See `reads`.
    pub read_latency_ticks: u64,
    /// Writes that were accepted.
    pub writes: u64,
    /// Row outcomes by [`RowOutcome`].
    pub outcomes: [u64; 3],
}

/// Everything that a channel counts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Statistics {
    /// Reads and writes that were accepted.
    pub requests: [u64; 2],
    /// Of them, reads answered by a queued write.
    pub forwarded_reads: u64,
    /// Of them, writes merged into a queued write.
    pub merged_writes: u64,
    /// Row outcomes by [`RowOutcome`], of reads and of writes.
    pub outcomes: [[u64; 3]; 2],
    /// Commands by [`Command`].
    pub commands: Vec<u64>,
    /// Read latency in ticks, from acceptance to the end of the data.
    pub read_latency: Histogram,
    /// Write latency in ticks, from acceptance to the end of the data.
    pub write_latency: Histogram,
    /// By source.
    pub sources: Vec<SourceStatistics>,
    /// Ticks that ranks spent with a row open, summed over ranks.
    pub active_ticks: u64,
    /// Ticks that ranks spent with all rows closed, summed over ranks.
    pub idle_ticks: u64,
    /// Changes between reading and writing.
    pub turnarounds: u64,
    /// Refreshes put off, and refreshes done ahead.
    pub postponed_refreshes: u64,
    /// See `postponed_refreshes`.
    pub pulled_in_refreshes: u64,
    /// RFM commands, alerts of PRAC and neighbour refreshes of PARA and Graphene.
    pub mitigations: u64,
    /// The end of the last data or command.
    pub last_tick: Tick,
}

impl Statistics {
    /// Nothing yet.
    pub(crate) fn new() -> Self {
        Self {
            commands: vec![0; Command::COUNT],
            ..Self::default()
        }
    }

    /// How often `command` issued.
    pub fn commands_of(&self, command: Command) -> u64 {
        self.commands[command as usize]
    }

    /// Row outcomes of reads and writes together.
    pub fn row_outcomes(&self, outcome: RowOutcome) -> u64 {
        self.outcomes.iter().map(|of| of[outcome as usize]).sum()
    }

    #[inline]
    pub(crate) fn source(&mut self, source: u16) -> &mut SourceStatistics {
        let index = usize::from(source);
        if index >= self.sources.len() {
            self.sources.resize(index + 1, SourceStatistics::default());
        }
        &mut self.sources[index]
    }

    /// Adds those of another channel.
    pub fn merge(&mut self, other: &Self) {
        for direction in 0..2 {
            self.requests[direction] += other.requests[direction];
            for outcome in 0..3 {
                self.outcomes[direction][outcome] += other.outcomes[direction][outcome];
            }
        }
        self.forwarded_reads += other.forwarded_reads;
        self.merged_writes += other.merged_writes;
        self.commands.resize(Command::COUNT, 0);
        for (mine, theirs) in self.commands.iter_mut().zip(&other.commands) {
            *mine += theirs;
        }
        self.read_latency.merge(&other.read_latency);
        self.write_latency.merge(&other.write_latency);
        for (source, theirs) in other.sources.iter().enumerate() {
            let mine = self.source(source as u16);
            mine.reads += theirs.reads;
            mine.read_latency_ticks += theirs.read_latency_ticks;
            mine.writes += theirs.writes;
            for outcome in 0..3 {
                mine.outcomes[outcome] += theirs.outcomes[outcome];
            }
        }
        self.active_ticks += other.active_ticks;
        self.idle_ticks += other.idle_ticks;
        self.turnarounds += other.turnarounds;
        self.postponed_refreshes += other.postponed_refreshes;
        self.pulled_in_refreshes += other.pulled_in_refreshes;
        self.mitigations += other.mitigations;
        self.last_tick = self.last_tick.max(other.last_tick);
    }
}
