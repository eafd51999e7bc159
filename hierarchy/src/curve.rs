//! Bandwidth–latency curves of a machine's memory, as Mess draws them (Esmaili-Dokht et al., MICRO 2024): read latency
//! against used bandwidth, at rising load and several shares of reads.
//!
//! Modelled: the timed controller and device of one channel, at its share of the traffic; lines arrive at random (a
//! Poisson process), as from many cores that know nothing of each other, each of which walks a stream of its own for its
//! reads and one for its writes, or picks lines at random. No more lines wait for their data than the cores' miss
//! registers hold: then cores wait instead, and latency settles at registers / bandwidth. A link carries the messages of
//! each direction one after the other; the channel has its share of it. Latencies are from the core and back: the time
//! outside of the device is added.
//!
//! Not modelled: caches (the traffic is what is left of it below them), channels that are not used evenly, the
//! network between the cores and a channel as a bottleneck, other controllers' policies than the default ones.

use std::collections::VecDeque;

use memloupe_cachesim::{Contents, Scope};
use serde::Serialize;

use crate::dram::{
    AddressMapping, Channel, ControllerConfig, Device, DramError, Location, Plan, Request, Tick,
};
use crate::machine::{Machine, MemoryDevice};

/// Which lines are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pattern {
    /// A stream of reads and one of writes from each core.
    Sequential,
    /// Any line.
    Random,
}

/// What to measure.
#[derive(Clone, Debug)]
pub struct CurveOptions {
    /// Which lines are asked for.
    pub pattern: Pattern,
    /// Shares of reads.
    pub read_shares: Vec<f64>,
    /// Loads, as shares of the nominal peak, rising; the first is taken for no load.
    pub loads: Vec<f64>,
    /// Lines through the channel at each point.
    pub lines: u32,
}

impl Default for CurveOptions {
    fn default() -> Self {
        Self {
            pattern: Pattern::Sequential,
            read_shares: vec![1.0, 0.75, 0.5],
            loads: vec![
                0.01, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 1.0, 1.2,
            ],
            lines: 20_000,
        }
    }
}

/// A point of a curve, over all channels.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct CurvePoint {
    /// What the cores would use if they never had to wait.
    pub offered_bytes_per_second: f64,
    /// What they used, reads and writes.
    pub bytes_per_second: f64,
    /// Mean latency of a read, from the core and back.
    pub read_latency_ns: f64,
}

/// The curve of one share of reads.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Curve {
    /// Reads among the lines.
    pub read_share: f64,
    /// By rising load.
    pub points: Vec<CurvePoint>,
}

impl Curve {
    /// Latency without load.
    pub fn unloaded_ns(&self) -> f64 {
        self.points.first().map_or(0.0, |point| point.read_latency_ns)
    }

    /// The most bandwidth that was used.
    pub fn most_bytes_per_second(&self) -> f64 {
        self.points
            .iter()
            .map(|point| point.bytes_per_second)
            .fold(0.0, f64::max)
    }

    /// The knee: the bandwidth at which latency is twice that without load, where Mess lets saturation begin; linear
    /// between points. None if latency stays below.
    pub fn knee_bytes_per_second(&self) -> Option<f64> {
        let limit = 2.0 * self.unloaded_ns();
        let over = self
            .points
            .iter()
            .position(|point| point.read_latency_ns > limit)?;
        let (below, above) = (self.points.get(over.checked_sub(1)?)?, self.points[over]);
        let share = (limit - below.read_latency_ns) / (above.read_latency_ns - below.read_latency_ns);
        Some(below.bytes_per_second + share * (above.bytes_per_second - below.bytes_per_second))
    }
}

/// Misses that a core has in flight where no level of the machine says.
const ASSUMED_MSHRS: f64 = 16.0;

/// Lines that all cores together can wait for.
fn most_in_flight(machine: &Machine) -> f64 {
    let data = machine
        .caches
        .iter()
        .filter(|cache| cache.contents != Contents::Instruction);
    let bound = data.filter_map(|cache| {
        let sharers = match cache.scope {
            Scope::Private => 1,
            Scope::Cluster(cores) => cores,
            Scope::Shared => machine.core.count,
        };
        Some(f64::from(cache.mshrs?) * f64::from(machine.core.count.div_ceil(sharers)))
    });
    let least = bound.fold(f64::INFINITY, f64::min);
    if least.is_finite() {
        least
    } else {
        ASSUMED_MSHRS * f64::from(machine.core.count)
    }
}

impl Machine {
    /// The curves of one of its memories.
    pub fn curves(&self, memory: &MemoryDevice, options: &CurveOptions) -> Result<Vec<Curve>, DramError> {
        let device = Device::find(&memory.device)?;
        let plan = Plan::new(&device, memory.ranks, ControllerConfig::default())?;
        let mapping = AddressMapping::new(
            &memory.mapping,
            &device,
            memory.channels,
            memory.ranks,
            device.burst_bytes,
        )?;
        let bench = Bench {
            machine: self,
            memory,
            plan,
            mapping,
            options,
            peak: memory.peak_bytes_per_second(self.line_bytes())?,
        };
        let curve = |&read_share: &f64| Curve {
            read_share,
            points: options
                .loads
                .iter()
                .map(|load| bench.point(read_share, *load))
                .collect(),
        };
        Ok(options.read_shares.iter().map(curve).collect())
    }
}

/// One channel with what feeds it.
struct Bench<'a> {
    machine: &'a Machine,
    memory: &'a MemoryDevice,
    plan: Plan,
    mapping: AddressMapping,
    options: &'a CurveOptions,
    peak: f64,
}

/// Bytes of memory that streams and random lines lie in.
const MEMORY_BYTES: u64 = 1 << 36;

/// Where the lines of one channel come from.
struct Traffic<'a> {
    bench: &'a Bench<'a>,
    random: Random,
    /// Next line of each stream, those of reads before those of writes.
    streams: Vec<u64>,
}

impl Traffic<'_> {
    fn is_here(&self, address: u64) -> bool {
        self.bench.mapping.locate(address).channel == 0
    }

    /// The address of the next line in channel 0.
    fn next(&mut self, is_write: bool) -> u64 {
        let line_bytes = u64::from(self.bench.machine.line_bytes());
        loop {
            let line = match self.bench.options.pattern {
                Pattern::Random => self.random.below(MEMORY_BYTES / line_bytes),
                Pattern::Sequential => {
                    let cores = self.streams.len() as u64 / 2;
                    let stream = self.random.below(cores) + u64::from(is_write) * cores;
                    let line = self.streams[stream as usize];
                    // Its lines in other channels are theirs; one that stays away from this channel begins elsewhere.
                    let few = 4 * u64::from(self.bench.memory.channels);
                    let here = (line..line + few).find(|line| self.is_here(line * line_bytes));
                    self.streams[stream as usize] = match here {
                        Some(line) => line + 1,
                        None => self.random.below(MEMORY_BYTES / line_bytes),
                    };
                    here.unwrap_or(line)
                }
            };
            if self.is_here(line * line_bytes) {
                return line * line_bytes;
            }
        }
    }
}

/// A line on its way.
#[derive(Clone, Copy, Debug, Default)]
struct InFlight {
    arrival: f64,
    bursts_left: u32,
}

impl Bench<'_> {
    fn point(&self, read_share: f64, load: f64) -> CurvePoint {
        let device = &self.plan.device;
        let line_bytes = self.machine.line_bytes();
        let bursts = line_bytes.div_ceil(device.burst_bytes);
        let channels = f64::from(self.memory.channels);
        let ticks_per_second = 1e12 / device.picoseconds(1);
        let mean_ticks = f64::from(line_bytes) / (self.peak * load / channels) * ticks_per_second;
        let bound = (most_in_flight(self.machine) / channels).max(1.0) as usize;
        let cores = u64::from(self.machine.core.count);
        let mut random = Random(0x9e37_79b9_7f4a_7c15);
        let lines = MEMORY_BYTES / u64::from(line_bytes);
        let streams = (0..2 * cores).map(|_| random.below(lines)).collect();
        let mut traffic = Traffic {
            bench: self,
            random: Random(random.next()),
            streams,
        };

        let mut channel = Channel::new(&self.plan);
        let mut waiting: [VecDeque<(u64, Location)>; 2] = Default::default();
        // When the data of reads that the device is done with reaches the core, which is when it can miss again.
        let fixed_ps = self.memory.latency_ps + self.memory.link.as_ref().map_or(0, |link| link.latency_ps);
        let outside_ticks = fixed_ps as f64 / 1e12 * ticks_per_second;
        let mut returns: VecDeque<f64> = VecDeque::new();
        let mut wires = Wires::of(self.memory, line_bytes, ticks_per_second * channels);
        // Lines that the link brings to the controller, by when.
        let mut on_the_way: VecDeque<(f64, bool, u64, u64)> = VecDeque::new();
        let mut in_flight = vec![InFlight::default(); self.options.lines as usize];
        let (mut reads_in_flight, mut arrived) = (0, 0);
        let (mut latency_ticks, mut reads) = (0.0, 0u32);
        // The first tenth fills the queues.
        let warm = self.options.lines / 10;
        let (mut measured_from, mut last_arrival) = (0.0, 0.0);
        let mut due = 1.0 + random.exponential(mean_ticks);
        // Whether the next line had to wait for one to return before it could be asked for.
        let mut was_blocked = false;
        loop {
            let may_arrive = reads_in_flight < bound && waiting[1].len() < bound * bursts as usize;
            let is_over = arrived == self.options.lines;
            was_blocked |= !may_arrive;
            let arrival = if may_arrive && !is_over {
                (due as Tick).max(channel.now())
            } else {
                Tick::MAX
            };
            let returned = returns.front().map_or(Tick::MAX, |tick| tick.ceil() as Tick);
            let delivered = on_the_way.front().map_or(Tick::MAX, |(tick, ..)| *tick as Tick);
            let event = channel
                .next_event(&self.plan)
                .min(returned)
                .min(delivered.max(channel.now()));
            if is_over && reads_in_flight == 0 || arrival == Tick::MAX && event == Tick::MAX {
                break;
            }
            if event <= arrival {
                channel.advance(&self.plan, event, |done| {
                    let line = &mut in_flight[done.tag as usize];
                    line.bursts_left -= 1;
                    if line.bursts_left > 0 {
                        return;
                    }
                    let finish = wires.up(done.finish as f64, done.write);
                    if !done.write {
                        returns.push_back(finish + outside_ticks);
                        if done.tag >= u64::from(warm) {
                            latency_ticks += finish - line.arrival;
                            reads += 1;
                        }
                    }
                });
                while returns.front().is_some_and(|tick| *tick <= event as f64) {
                    returns.pop_front();
                    reads_in_flight -= 1;
                }
            } else {
                let is_write = random.uniform() >= read_share;
                let address = traffic.next(is_write);
                last_arrival = if was_blocked { due.max(arrival as f64) } else { due };
                was_blocked = false;
                if arrived == warm {
                    measured_from = last_arrival;
                }
                in_flight[arrived as usize] = InFlight {
                    arrival: last_arrival,
                    bursts_left: bursts,
                };
                reads_in_flight += usize::from(!is_write);
                let delivery = wires.down(last_arrival, is_write);
                on_the_way.push_back((delivery, is_write, u64::from(arrived), address));
                arrived += 1;
                due = last_arrival + random.exponential(mean_ticks);
            }
            let now = arrival.min(event);
            while let Some(&(tick, is_write, tag, address)) = on_the_way.front() {
                if tick as Tick > now {
                    break;
                }
                on_the_way.pop_front();
                for burst in 0..u64::from(bursts) {
                    let location = self
                        .mapping
                        .locate(address + burst * u64::from(device.burst_bytes));
                    waiting[usize::from(is_write)].push_back((tag, location));
                }
            }
            for (direction, waiting) in waiting.iter_mut().enumerate() {
                let write = direction == 1;
                while let Some((tag, location)) = waiting.front().copied() {
                    let request = Request {
                        tag,
                        address: 0,
                        write,
                        source: 0,
                    };
                    if !channel.try_send(&self.plan, &request, location, now) {
                        break;
                    }
                    waiting.pop_front();
                }
            }
        }
        let measured_lines = f64::from(self.options.lines - warm);
        let seconds = (last_arrival - measured_from) / ticks_per_second;
        let outside_ns = fixed_ps as f64 / 1e3;
        let mean_latency = latency_ticks / f64::from(reads.max(1)) / ticks_per_second * 1e9;
        CurvePoint {
            offered_bytes_per_second: self.peak * load,
            bytes_per_second: measured_lines * f64::from(line_bytes) / seconds * channels,
            read_latency_ns: mean_latency + outside_ns,
        }
    }
}

/// The link at work, or none: messages of one direction go one after the other.
struct Wires {
    /// Ticks of a read's and of a write's messages, from the host.
    down: [f64; 2],
    /// To the host.
    up: [f64; 2],
    down_free: f64,
    up_free: f64,
}

impl Wires {
    fn of(memory: &MemoryDevice, line_bytes: u32, ticks_per_second: f64) -> Self {
        let messages = memory.link.as_ref().map(|link| {
            [link.read(line_bytes), link.write(line_bytes)].map(|bytes| {
                [bytes.down, bytes.up].map(|bytes| link.picoseconds(bytes) / 1e12 * ticks_per_second)
            })
        });
        let [read, write] = messages.unwrap_or_default();
        Self {
            down: [read[0], write[0]],
            up: [read[1], write[1]],
            down_free: 0.0,
            up_free: 0.0,
        }
    }

    /// When a request that comes at `tick` is at the controller.
    fn down(&mut self, tick: f64, is_write: bool) -> f64 {
        self.down_free = self.down_free.max(tick) + self.down[usize::from(is_write)];
        self.down_free
    }

    /// When the answer that the controller has at `tick` is at the host.
    fn up(&mut self, tick: f64, is_write: bool) -> f64 {
        if self.up == [0.0; 2] {
            return tick;
        }
        self.up_free = self.up_free.max(tick) + self.up[usize::from(is_write)];
        self.up_free
    }
}

/// Marsaglia's xorshift64*: the same numbers every time.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, end: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(end)) >> 64) as u64
    }

    /// From 0 up to 1.
    fn uniform(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    fn exponential(&mut self, mean: f64) -> f64 {
        -(1.0 - self.uniform()).ln() * mean
    }
}
