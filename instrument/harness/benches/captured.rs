//! Rates at which captured streams are simulated: caches with a counter row for each (context, site, object), and the DRAM.
//!
//! `cargo bench -p memloupe --bench captured -- [--machine NAME] [--rounds N] [--only PATH] [NAME=]FILE[@REGION]…`
//!
//! A FILE is what `memloupe run --record FILE` wrote, of which REGION (as for `--region`) is simulated, one thread after
//! the other on one core, batch by batch as the pipeline does it. Decoding and attribution come first and are not timed. Each way of simulating takes its turn in
//! each round, so that what else the computer does hits all alike; a rate is the median's.
//! `scripts/bench simulate` records the streams and runs this.
#![allow(missing_docs)]

use std::error::Error;
use std::hint::black_box;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use memloupe_attribute::{About, AttributedBatch, Attribution, Preset, RegionName};
use memloupe_cachesim::{Caches, Config, ConfigError, OwnerTraits, Run, replacement};
use memloupe_hierarchy::{Machine, MainMemory};
use memloupe_stream::{Answer, Event, Probe, Replay, RunBatch, Sink, SiteTable};

type Build = fn(&Config, usize) -> Result<Caches, ConfigError>;

/// The ways of simulating. The last two are what a machine that is not plain pays.
const PATHS: [(&str, Build); 4] = [
    ("runs", Caches::new),
    ("plain loop", Caches::access_by_access),
    ("general", Caches::on_general_path),
    ("srrip", with_srrip),
];

/// What is simulated of a recording at most: the first so many operands, which take 40 bytes each.
const MOST_OPERANDS: usize = 20 << 20;

fn with_srrip(config: &Config, cores: usize) -> Result<Caches, ConfigError> {
    let mut config = config.clone();
    for level in &mut config.levels {
        level.options.replacement = replacement::builtin("srrip").expect("it is built in");
    }
    Caches::new(&config, cores)
}

/// Keeps what is attributed.
struct Keeper {
    attribution: Attribution,
    batches: Vec<AttributedBatch>,
    operands: usize,
}

impl Sink for Keeper {
    fn takes_scattered(&self) -> bool {
        true
    }

    fn runs(&mut self, thread: u32, sites: &SiteTable, batch: &RunBatch) {
        if !self.attribution.is_inside(thread) || self.operands > MOST_OPERANDS {
            return self.attribution.pass_over(thread, sites, batch);
        }
        let mut out = AttributedBatch::default();
        self.attribution.runs(thread, sites, batch, &mut out);
        self.operands += out.runs().map(|run| run.operands.len()).sum::<usize>();
        self.batches.push(out);
    }

    fn event(&mut self, thread: u32, event: Event) {
        self.attribution.event(thread, &event);
    }

    fn probes(&mut self, first: u32) -> Vec<Probe> {
        self.attribution.resolve_probes(first)
    }

    fn answer(&mut self, thread: u32) -> Answer {
        self.attribution.meaning(thread)
    }
}

/// A part of a captured stream, attributed.
struct Stream {
    name: String,
    batches: Vec<AttributedBatch>,
    rows: Vec<OwnerTraits>,
}

impl Stream {
    fn open(argument: &str) -> Result<Self, Box<dyn Error>> {
        let (name, file) = argument.split_once('=').unwrap_or((argument, argument));
        let (file, region) = match file.split_once('@') {
            Some((file, region)) => (file, Some(region.parse::<RegionName>()?)),
            None => (file, None),
        };
        let mut replay = Replay::open(&PathBuf::from(file))?;
        let about = About::of(&replay)?;
        let mut attribution = Attribution::new(Preset::choose(&about.ops)?);
        if let Some(region) = region {
            attribution = attribution.within(region);
        }
        let mut keeper = Keeper {
            attribution,
            batches: Vec::new(),
            operands: 0,
        };
        while keeper.operands <= MOST_OPERANDS && replay.next(&mut keeper)? {}
        let (ledger, objects) = (keeper.attribution.ledger(), keeper.attribution.objects().table());
        let rows = (0..ledger.len()).map(|row| ledger.key(row as u32));
        let rows = rows.map(|key| OwnerTraits {
            site: key.site,
            object: key.object,
            class: objects[key.object as usize].class as u8,
        });
        Ok(Self {
            name: name.to_owned(),
            rows: rows.collect(),
            batches: keeper.batches,
        })
    }

    fn runs(&self) -> impl Iterator<Item = Run<'_>> {
        self.batches.iter().flat_map(AttributedBatch::runs)
    }

    /// Data accesses: a fetch is the first operand of a run.
    fn accesses(&self) -> u64 {
        let of = |run: Run<'_>| (run.operands.len() as u64).saturating_sub(1) * run.iterations;
        self.runs().map(of).sum()
    }
}

/// One way of simulating at work.
struct Simulator {
    caches: Caches,
    dram: MainMemory,
    times: Vec<Duration>,
}

impl Simulator {
    fn new(machine: &Machine, build: Build, rows: &[OwnerTraits]) -> Result<Self, Box<dyn Error>> {
        let mut caches = build(&machine.cache_config(), 1)?;
        let mut dram = MainMemory::new(machine)?;
        caches.reserve_owners(rows.len());
        dram.reserve_owners(rows.len());
        for (row, traits) in rows.iter().enumerate() {
            caches.describe_owner(row as u32, *traits);
            dram.describe_owner(row as u32, traits.class);
        }
        Ok(Self {
            caches,
            dram,
            times: Vec::new(),
        })
    }

    fn turn(&mut self, batches: &[AttributedBatch]) {
        let mut time = Duration::ZERO;
        for batch in batches {
            // Attribution has just written it: it is in the processor's caches.
            let operands = batch.runs().flat_map(|run| run.operands);
            black_box(operands.fold(0, |sum: u64, operand| sum ^ operand.address));
            let start = Instant::now();
            self.caches.runs(0, batch.joined_runs(), &mut self.dram);
            time += start.elapsed();
        }
        self.times.push(time);
    }

    /// Per second, of the median turn.
    fn rate(&mut self, accesses: u64) -> f64 {
        self.times.sort_unstable();
        accesses as f64 / self.times[self.times.len() / 2].as_secs_f64()
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let (mut machine, mut rounds, mut only) = ("ice-lake-sp".to_owned(), 5, None);
    let mut streams = Vec::new();
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value = || {
            arguments
                .next()
                .ok_or_else(|| format!("{argument}: a value is missing"))
        };
        match argument.as_str() {
            "--machine" => machine = value()?,
            "--rounds" => rounds = value()?.parse()?,
            "--only" => only = Some(value()?),
            // What cargo adds.
            "--bench" => {}
            _ => streams.push(argument),
        }
    }
    let machine = Machine::load(&machine)?;
    let paths = PATHS
        .iter()
        .filter(|(name, _)| only.as_deref().is_none_or(|only| only == *name));
    let paths: Vec<_> = paths.collect();
    print!("{:<16}{:>12}{:>10}{:>9}", "stream", "accesses", "runs", "rows");
    for (name, _) in &paths {
        print!("{name:>12}");
    }
    println!("{:>10}", "DRAM MB");
    for argument in &streams {
        let stream = Stream::open(argument).map_err(|error| format!("{argument}: {error}"))?;
        let accesses = stream.accesses();
        let mut simulators = paths
            .iter()
            .map(|(_, build)| Simulator::new(&machine, *build, &stream.rows))
            .collect::<Result<Vec<_>, _>>()?;
        for _ in 0..rounds {
            for simulator in &mut simulators {
                simulator.turn(&stream.batches);
            }
        }
        print!(
            "{:<16}{accesses:>12}{:>10}{:>9}",
            stream.name,
            stream.runs().count(),
            stream.rows.len()
        );
        for simulator in &mut simulators {
            print!("{:>10.1} M", simulator.rate(accesses) / 1e6);
        }
        let dram = &simulators[0].dram;
        let bytes = dram.total_read_bytes() + dram.total_write_bytes();
        println!("{:>10.1}", bytes as f64 / f64::from(rounds) / 1e6);
    }
    Ok(())
}
