//! From what a run left behind to its profile: rows get their names and the models' counts.

mod call_paths;

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::time::{Duration, SystemTime};

use memloupe_attribute::{CodeAddress, Contexts, Location, Objects, Probes, Row, RowKey, Sample, Symbolizer};
use memloupe_cachesim::{LevelDetail, TranslationCounters};
use memloupe_hierarchy::dram::{Device, Dram};
use memloupe_hierarchy::{Counters, Cycles, MemoryDevice, System};
use memloupe_stream::{AccessKind, Captured, Engine, SiteId, SiteTable};

use call_paths::NamedPaths;

use crate::analyses::Found;
use crate::cycles::{self, Estimates, Waits};
use crate::launch::Ending;
use crate::pipeline::Parts;
use crate::profile::{
    Context, LevelCounts, LocalityCount, LocalitySummary, Measures, MemoryWear, Object, Observed, Profile,
    Sampling, Site, Stratum, Summary, TIER_FIELDS, TimelineBin, Traffic, counts_of_group, counts_of_scores,
    counts_of_strides,
};
use crate::simulation::Simulation;
use crate::timeline::Timeline;

/// What a finished run left behind.
pub struct Capture<'a> {
    /// The program and its arguments, as the user gave them.
    pub command: &'a [String],
    /// The file that was executed.
    pub executable: &'a Path,
    /// The stream, which was read to its end.
    pub stream: Captured,
    /// Its sites.
    pub sites: &'a SiteTable,
    /// The pipeline's results.
    pub parts: Parts,
    /// How the target ended.
    pub ending: Ending,
    /// Whether the user stopped it.
    pub interrupted: bool,
    /// What was wrong with the stream, if something was.
    pub stream_error: Option<String>,
    /// Invariants that the stream broke, if it was checked.
    pub violations: Vec<String>,
    /// When it began.
    pub started: SystemTime,
    /// How long it took.
    pub wall: Duration,
    /// Whether the stream was dropped undecoded.
    pub discarded: bool,
    /// The part of the run that was asked for; its instances are the pipeline's.
    pub region: Option<Observed>,
}

/// What can be said of a run whose stream was dropped: no rows, no totals.
#[must_use]
pub fn summary_only(capture: &Capture<'_>) -> Profile {
    Profile {
        summary: summary(capture),
        ..Profile::default()
    }
}

/// The profiles of a run: one for each machine that was simulated, or one of what was counted.
#[must_use]
pub fn profiles(capture: Capture<'_>) -> Vec<Profile> {
    let mut summary = summary(&capture);
    let Capture {
        sites: table, parts, ..
    } = capture;
    let Parts {
        attribution,
        simulations,
        locality,
        notes,
        ..
    } = parts;
    let memloupe_attribute::Parts {
        modules,
        objects,
        probes,
        contexts,
        sample,
        paths,
        ledger,
        code,
    } = attribution;
    let rows = ledger.into_rows();
    let mut sites = Sites::default();
    let keys: Vec<RowKey> = rows.iter().map(|row| row.key).collect();
    // What only warmed the caches is no result.
    let warms: Vec<bool> = contexts
        .iter()
        .map(|(context, _)| {
            let of_instance = sample.as_ref().map(|sample| &sample.of_instance);
            let places = of_instance.zip(context.sample);
            places.is_some_and(|(of_instance, id)| of_instance[id as usize].is_none())
        })
        .collect();
    let mut waits = Waits::new(table, &modules, &code);
    // Grown step by step, tables of this size would be moved several times.
    let (mut traffic, mut timed) = (Vec::with_capacity(rows.len()), Vec::with_capacity(rows.len()));
    for (row, id) in rows.into_iter().zip(0..) {
        if !warms[row.key.context as usize] {
            timed.push(waits.timed(&row, id));
            traffic.push(fact(row, table, |site| sites.index(site)));
        }
    }
    let locality = locality.map_or_else(Vec::new, |found| {
        summary.locality = Some(locality_summary(&found));
        locality_counts(&found, &keys, |site| sites.index(site))
    });
    let mut symbolizer = Symbolizer::default();
    let sites = sites
        .used
        .iter()
        .map(|id| {
            let location =
                code_address(table, *id, &code).map(|at| (at.offset, symbolizer.locate(at, &modules)));
            describe_site(table, *id, location)
        })
        .collect();
    let named_paths = paths.map_or_else(NamedPaths::default, |paths| {
        summary.call_paths = true;
        summary.notes.extend(call_paths::note(&paths));
        NamedPaths::of(&paths, |site| {
            let at = code_address(table, site, &code)?;
            Some(symbolizer.locate(at, &modules).clone())
        })
    });
    summary.notes.extend(notes);
    summary.notes.extend(probes.notes().iter().cloned());
    summary.notes.extend(probes.absences());
    summary.notes.extend(modules.notes().map(str::to_owned));
    summary.notes.extend(objects.notes());
    summary.notes.extend(symbolizer.notes().iter().cloned());
    summary.sampling = sample.as_ref().map(|sample| Sampling {
        rule: sample.rule.to_string(),
        warm_up_instances: sample.warm_ups,
        ..Sampling::default()
    });
    let counted = Profile {
        contexts: describe_contexts(&contexts, &probes, sample.as_ref(), &named_paths),
        paths: named_paths.paths,
        strata: sample.as_ref().map_or_else(Vec::new, describe_strata),
        sites,
        objects: describe_objects(&objects, |ip| modules.function_name(ip).map(str::to_owned)),
        traffic,
        timeline: Vec::new(),
        locality,
        summary,
    };
    let of_machine = |(counted, simulation): (Profile, &Simulation)| {
        let timeline = describe_timeline(simulation.timeline(), &contexts);
        let counted = Profile { timeline, ..counted };
        match simulation.system() {
            Some(system) => simulated(counted, system, &contexts, &timed),
            None => counted,
        }
        .seal()
    };
    std::iter::repeat_n(counted, simulations.len())
        .zip(&simulations)
        .map(of_machine)
        .collect()
}

/// Adds what a machine counted, and what that costs its cores.
fn simulated(mut profile: Profile, system: &System, contexts: &Contexts, rows: &[cycles::Row]) -> Profile {
    let machine = system.machine();
    let summary = &mut profile.summary;
    summary.machine = serde_json::to_value(machine).expect("a machine is plain data");
    summary.levels = system.level_names().map(str::to_owned).collect();
    if !machine.tiers.is_empty() {
        summary.tiers = machine.memories().map(|memory| memory.name.clone()).collect();
    }
    summary.details = details_of(system);
    summary.dram = true;
    summary.line_bytes = machine.line_bytes();
    summary.dirty_lines_at_end = dirty_lines(system);
    summary.notes.extend(machine.notes.iter().cloned());
    summary.notes.extend(bounds(system));
    let beyond = system.dram().pages_beyond_capacity();
    if beyond > 0 {
        summary.notes.push(format!(
            "{beyond} pages found every memory full and went to {} all the same",
            summary.tiers.last().map_or("the last one", String::as_str)
        ));
    }
    let energy = system.access_energy();
    if let Some(watts) = energy.standby_watts() {
        summary.notes.push(format!(
            "energy is that of accesses; the memory draws {watts:.1} W besides, for standby and refresh"
        ));
    }
    let estimates = Estimates::new(system, contexts, rows.iter().copied());
    let mut cycles_of_threads: HashMap<u32, f64> = HashMap::new();
    for (row, timed) in profile.traffic.iter_mut().zip(rows) {
        let counters = system.counters(timed.owner);
        let measures = &mut row.measures;
        add_counters(measures, &counters);
        let cycles = estimates.cycles(*timed);
        add_cycles(measures, &cycles);
        *cycles_of_threads
            .entry(contexts.get(timed.context).thread)
            .or_default() += cycles.total();
        measures.energy_nj = (energy.picojoules(&counters) / 1000.0).round() as u64;
        measures.details = summary
            .details
            .iter()
            .map(|(level, name)| detail(&counters, *level, name))
            .collect();
    }
    let longest = cycles_of_threads.into_values().fold(0.0, f64::max);
    summary.wear = wear(system, longest / machine.core.frequency_hz as f64);
    profile
}

/// What was written to memories whose cells wear out, in a run of so many seconds.
fn wear(system: &System, seconds: f64) -> Vec<MemoryWear> {
    let machine = system.machine();
    let worn = |(memory, dram): (&MemoryDevice, &Dram)| {
        let written = dram.written()?;
        let device = Device::find(&memory.device).ok()?;
        let technology = device.technology?;
        let units = u64::from(memory.channels) * device.channel_bytes(memory.ranks) / written.unit_bytes;
        let each = written.writes as f64 / units as f64;
        Some(MemoryWear {
            memory: memory.name.clone(),
            technology: technology.name.clone(),
            endurance: technology.endurance?,
            writes: written.writes,
            unit_bytes: written.unit_bytes,
            most_writes: written.most,
            seconds,
            wear_s: technology.wear_seconds(written.most as f64, seconds),
            levelled_wear_s: technology.wear_seconds(each, seconds),
        })
    };
    machine
        .memories()
        .zip(system.dram().memories())
        .filter_map(worn)
        .collect()
}

/// Sites that rows name, numbered in order of their first use.
#[derive(Default)]
struct Sites {
    used: Vec<SiteId>,
    index: HashMap<SiteId, u32>,
}

impl Sites {
    fn index(&mut self, site: SiteId) -> u32 {
        *self.index.entry(site).or_insert_with(|| {
            self.used.push(site);
            self.used.len() as u32 - 1
        })
    }
}

fn locality_summary(found: &Found) -> LocalitySummary {
    let Found {
        options, findings, ..
    } = found;
    LocalitySummary {
        analyses: options
            .analyses
            .iter()
            .map(|analysis| analysis.name().to_owned())
            .collect(),
        one_in: findings.one_in,
        lines_followed: findings.lines_followed,
        accesses: findings.accesses,
        line_bytes: options.line_bytes.into(),
        capacities_bytes: options
            .capacities_lines
            .iter()
            .map(|lines| lines * u64::from(options.line_bytes))
            .collect(),
    }
}

fn locality_counts(
    found: &Found,
    keys: &[RowKey],
    mut site: impl FnMut(SiteId) -> u32,
) -> Vec<LocalityCount> {
    let mut counts = Vec::new();
    for ((context, object), locality) in found.groups.iter().zip(&found.findings.groups) {
        counts_of_group(locality, *context, *object, &mut counts);
    }
    for (key, strides) in keys.iter().zip(&found.findings.strides) {
        counts_of_strides(strides, key.context, site(key.site), key.object, &mut counts);
    }
    for (scores, context) in found.findings.scores.iter().zip(0..) {
        counts_of_scores(scores, context, &mut counts);
    }
    counts
}

/// A row's counts follow from its site: what the site does, times how often.
fn fact(row: Row, sites: &SiteTable, site_index: impl FnOnce(SiteId) -> u32) -> Traffic {
    let site = sites.site(row.key.site);
    let executions = row.accesses;
    let mut measures = Measures::default();
    if site.kind == AccessKind::Fetch {
        let block = sites.block(site.block).expect("a site's block");
        measures.fetches = executions;
        measures.instructions = executions * u64::from(block.instructions);
        measures.flops = executions * u64::from(block.flops);
    } else {
        let (loads, stores) = site.kind.loads_and_stores();
        measures.accesses = executions;
        measures.loads = executions * loads;
        measures.stores = executions * stores;
        measures.access_bytes = executions * u64::from(site.bytes);
    }
    Traffic {
        context: row.key.context,
        site: site_index(row.key.site),
        object: row.key.object,
        measures,
        lines: row.lines,
    }
}

fn detail(counters: &Counters, level: usize, name: &str) -> u64 {
    if level == counters.levels.len() {
        let field = TranslationCounters::FIELDS
            .iter()
            .find(|field| field.name == name);
        return field.map_or(0, |field| (field.get)(&counters.translation));
    }
    if let Some(tier) = level.checked_sub(counters.levels.len() + 1) {
        let field = TIER_FIELDS.iter().find(|field| field.name == name);
        return field
            .zip(counters.tiers.get(tier))
            .map_or(0, |(field, dram)| (field.get)(dram));
    }
    let field = LevelDetail::FIELDS.iter().find(|field| field.name == name);
    field
        .zip(counters.details.get(level))
        .map_or(0, |(field, detail)| (field.get)(detail))
}

/// The counters of translation, of several memories and of levels beyond plain caches that are not zero.
fn details_of(system: &System) -> Vec<(usize, String)> {
    let totals = system.totals();
    let names = LevelDetail::FIELDS.iter().map(|field| field.name);
    let translation = TranslationCounters::FIELDS
        .iter()
        .map(|field| (totals.levels.len(), field.name));
    let tiers = (0..totals.tiers.len()).flat_map(|tier| {
        let place = totals.levels.len() + 1 + tier;
        TIER_FIELDS.iter().map(move |field| (place, field.name))
    });
    translation
        .chain(tiers)
        .chain((0..totals.details.len()).flat_map(|level| names.clone().map(move |name| (level, name))))
        .filter(|&(level, name)| detail(&totals, level, name) > 0)
        .map(|(level, name)| (level, name.to_owned()))
        .collect()
}

/// What Belady's OPT would have missed, of the levels that recorded their accesses.
fn bounds(system: &System) -> Vec<String> {
    let of_level = |(level, name): (usize, &str)| {
        let optimal: u64 = system.caches().opt_misses(level)?.iter().sum();
        let missed = system.caches().ledger().total_misses(level);
        Some(format!(
            "{name}: {missed} misses; Belady's OPT would have had {optimal}"
        ))
    };
    system.level_names().enumerate().filter_map(of_level).collect()
}

fn add_counters(measures: &mut Measures, counters: &Counters) {
    measures.levels = counters
        .levels
        .iter()
        .map(|level| LevelCounts {
            line_accesses: level.line_accesses(),
            misses: level.total_misses(),
            writebacks: level.writebacks,
            stall_cycles: 0,
        })
        .collect();
    let dram = &counters.dram;
    measures.dram_read_bytes = dram.read_bytes;
    measures.dram_write_bytes = dram.write_bytes;
    measures.row_hits = dram.row_hits;
    measures.row_misses = dram.row_misses;
    measures.row_conflicts = dram.row_conflicts;
}

/// The total is that of the rounded parts, so that they add up to it.
fn add_cycles(measures: &mut Measures, cycles: &Cycles) {
    let whole = |cycles: f64| cycles.round() as u64;
    measures.base_cycles = whole(cycles.base);
    measures.dram_latency_cycles = whole(cycles.dram_latency);
    measures.dram_bandwidth_cycles = whole(cycles.dram_bandwidth);
    measures.est_cycles =
        measures.base_cycles + measures.dram_latency_cycles + measures.dram_bandwidth_cycles;
    for (level, cycles) in measures.levels.iter_mut().zip(&cycles.levels) {
        level.stall_cycles = whole(*cycles);
        measures.est_cycles += level.stall_cycles;
    }
}

/// Where the instruction of a site is.
fn code_address(sites: &SiteTable, id: SiteId, code: &[Option<CodeAddress>]) -> Option<CodeAddress> {
    let site = sites.site(id);
    let block = sites.block(site.block).expect("a site's block");
    let mut at = code.get(site.block as usize).copied()??;
    at.offset = at.offset.wrapping_add(site.ip.wrapping_sub(block.address));
    Some(at)
}

fn describe_site(sites: &SiteTable, id: SiteId, location: Option<(u64, &Location)>) -> Site {
    let site = sites.site(id);
    let described = Site {
        ip: site.ip,
        kind: site.kind.name().to_owned(),
        bytes: site.bytes,
        ..Site::default()
    };
    let Some((offset, location)) = location else {
        return described;
    };
    let callers = location.inlined.iter().map(|frame| frame.function.as_ref());
    let inlined = if location.inlined.is_empty() {
        String::new()
    } else {
        std::iter::once(location.function.as_ref())
            .chain(callers)
            .collect::<Vec<_>>()
            .join(" < ")
    };
    Site {
        module: location.module_name.to_string(),
        function: location.function.to_string(),
        file: location.file.as_deref().unwrap_or_default().to_owned(),
        line: location.line.unwrap_or(0),
        inlined,
        ip: offset,
        ..described
    }
}

fn describe_contexts(
    contexts: &Contexts,
    probes: &Probes,
    sample: Option<&Sample>,
    paths: &NamedPaths,
) -> Vec<Context> {
    contexts
        .iter()
        .map(|(context, calls)| {
            let phase = contexts.phase(context.phase);
            let mut described = Context {
                thread: context.thread,
                phase: phase.name.clone(),
                phase_index: phase.index,
                calls,
                path: context.path.and_then(|path| paths.place(path)),
                ..Context::default()
            };
            if let (Some(sample), Some(id)) = (sample, context.sample) {
                let place = sample.of_instance[id as usize];
                described.stratum = place.map(|place| place.stratum);
                described.instance = place.map(|place| place.instance);
            }
            if let Some(id) = context.operator {
                let operator = &probes.operators()[id as usize];
                described.kind.clone_from(&operator.kind);
                described.operator.clone_from(&operator.name);
                described.layer = operator.layer.clone().unwrap_or_default();
                described.shape.clone_from(&operator.shape);
                described.element_type.clone_from(&operator.element_type);
            }
            described
        })
        .collect()
}

fn describe_strata(sample: &Sample) -> Vec<Stratum> {
    sample
        .strata
        .iter()
        .map(|stratum| Stratum {
            thread: stratum.series.thread,
            phase: stratum.series.phase.clone(),
            kind: stratum.series.kind.clone(),
            operator: stratum.series.name.clone(),
            shape: stratum.series.shape.clone(),
            element_type: stratum.series.element_type.clone(),
            weight_bytes: stratum.series.weight_bytes,
            first: stratum.first,
            instances: stratum.instances,
            observed: stratum.observed,
            trend: stratum.trend,
            centre: stratum.centre,
        })
        .collect()
}

fn describe_objects(objects: &Objects, mut function: impl FnMut(u64) -> Option<String>) -> Vec<Object> {
    objects
        .table()
        .iter()
        .map(|object| Object {
            name: object.name.clone(),
            class: object.class.name().to_owned(),
            bytes: object.bytes,
            allocations: object.allocations,
            origin: object.stack.as_deref().map_or_else(String::new, |stack| {
                let frames = stack
                    .iter()
                    .map(|ip| function(*ip).unwrap_or_else(|| format!("{ip:#x}")));
                frames.collect::<Vec<_>>().join(" < ")
            }),
        })
        .collect()
}

fn describe_timeline(timeline: &Timeline, contexts: &Contexts) -> Vec<TimelineBin> {
    timeline
        .bins()
        .iter()
        .map(|bin| {
            let phase = contexts.phase(bin.phase);
            TimelineBin {
                phase: phase.name.clone(),
                phase_index: phase.index,
                instructions_from: bin.from,
                instructions: bin.instructions,
                accesses: bin.accesses,
                misses: bin.misses.clone(),
                dram_read_bytes: bin.dram_read_bytes,
                dram_write_bytes: bin.dram_write_bytes,
            }
        })
        .collect()
}

fn summary(capture: &Capture<'_>) -> Summary {
    let counters = capture.stream.counters;
    let (exit_status, exit_signal) = match capture.ending {
        Ending::Exited(code) => (Some(code), None),
        Ending::Killed(signal) => (None, Some(signal)),
    };
    let incomplete_reason = capture
        .stream_error
        .clone()
        .or_else(|| {
            capture
                .ending
                .incompleteness(capture.interrupted, capture.stream.engine)
        })
        .or_else(|| {
            (!capture.stream.finished).then(|| "the capture engine did not end its stream".to_owned())
        });
    let systems = capture.parts.simulations.iter().filter_map(Simulation::system);
    let machines: Vec<String> = systems.map(|system| system.machine().name.clone()).collect();
    let notes: Vec<String> = capture
        .violations
        .iter()
        .map(|what| format!("stream check: {what}"))
        .collect();
    Summary {
        command: capture.command.to_vec(),
        executable: capture.executable.display().to_string(),
        exit_status,
        exit_signal,
        complete: incomplete_reason.is_none(),
        incomplete_reason,
        engine: match capture.stream.engine {
            Engine::None => "none attached",
            Engine::Native => "native",
            Engine::Valgrind => "valgrind",
        }
        .to_owned(),
        machines: if machines.len() > 1 { machines } else { Vec::new() },
        lost_accesses: counters.lost_records,
        unobserved_instructions: counters.unobserved_instructions,
        syscalls: counters.syscalls,
        kernel_read_bytes: counters.kernel_read_bytes,
        kernel_written_bytes: counters.kernel_written_bytes,
        unobserved_processes: counters.unobserved_processes,
        threads: capture.stream.threads,
        wall_seconds: capture.wall.as_secs_f64(),
        started: humantime::format_rfc3339_seconds(capture.started).to_string(),
        host: host(),
        discarded: capture.discarded,
        stream_bytes: capture.stream.bytes,
        translated_bytes: counters.translated_bytes,
        region: capture.region.clone().map(|region| Observed {
            instances: capture.parts.instances.all,
            captured_instances: capture.parts.instances.captured,
            ..region
        }),
        notes,
        ..Summary::default()
    }
}

/// A line that is dirty at two levels is one line.
fn dirty_lines(system: &System) -> u64 {
    system
        .caches()
        .dirty_lines()
        .map(|line| line.address)
        .collect::<HashSet<_>>()
        .len() as u64
}

/// Processor and kernel.
fn host() -> String {
    let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpuinfo
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(':'))
        .map_or("unknown processor", |(_, name)| name.trim());
    let system = rustix::system::uname();
    format!(
        "{model}, {} {}",
        system.sysname().to_string_lossy(),
        system.release().to_string_lossy()
    )
}
