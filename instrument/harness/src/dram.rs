//! `memloupe dram`: drives a device alone with a trace.

mod summary;
mod trace;

use std::fs::File;
use std::io::{BufWriter, Write};
use std::num::NonZero;
use std::path::Path;

use memloupe_hierarchy::dram::{
    ControllerConfig, Device, DramSystem, IssuedCommand, Mitigation, Pace, RefreshMode, Standard, Topology,
    Workload, check,
};

pub use self::summary::Summary;
pub use self::trace::{Format, read};
use crate::args::{Dram, DramFormat};
use crate::failure::{Failure, Kind};

/// What `memloupe dram` prints.
///
/// # Errors
/// [`Kind::Machine`] for a device or configuration that there can't be, [`Kind::Stream`] with the line of a trace that
/// can't be understood, [`Kind::Output`] if the command trace can't be written.
pub fn dram(arguments: &Dram) -> Result<String, Failure> {
    if arguments.list {
        return Ok(list());
    }
    let Some(device) = arguments.device.as_ref().filter(|_| !arguments.traces.is_empty()) else {
        return Err(Failure::new(
            Kind::Machine,
            "give a trace and --device NAME (see memloupe dram --list)",
        ));
    };
    if arguments.priorities.len() > arguments.traces.len() {
        let (given, traces) = (arguments.priorities.len(), arguments.traces.len());
        let message = format!("--priorities: {given} of them for {traces} traces, each of which is a source");
        return Err(Failure::new(Kind::Machine, message));
    }
    let device = load(device)?;
    let machine = Failure::of(Kind::Machine);
    let topology = Topology {
        channels: arguments.channels,
        ranks: arguments.ranks,
        mapping: arguments.mapping.clone(),
    };
    let mut system = DramSystem::new(&device, &topology, config(arguments)?).map_err(&machine)?;

    let mut sources = Vec::new();
    for path in &arguments.traces {
        let corrupt = |error: &dyn std::fmt::Display| {
            Failure::new(Kind::Stream, format!("{}: {error}", path.display()))
        };
        let input = memloupe_trace::open(path).map_err(|error| corrupt(&error))?;
        let read = read(input, &system, arguments.request_bytes);
        let read = read.map_err(|error| corrupt(&error))?;
        let (format, workload) = read.ok_or_else(|| corrupt(&"it has no request"))?;
        let pace = match (arguments.every, arguments.outstanding) {
            (Some(clocks), _) => Pace::Every(clocks),
            (_, Some(bound)) => Pace::Outstanding(bound),
            _ if format.is_timed() && !arguments.open_loop => Pace::AsTimed,
            _ => Pace::OpenLoop,
        };
        sources.push(Source {
            trace: path.display().to_string(),
            format,
            workload,
            pace,
        });
    }
    if arguments.commands.is_some() || arguments.check {
        system.record_commands();
    }
    let cores = std::thread::available_parallelism().unwrap_or(NonZero::<usize>::MIN);
    if let [source] = &sources[..] {
        let threads = arguments.threads.unwrap_or(cores);
        source.workload.run(&mut system, source.pace, threads);
    } else {
        let lists: Vec<_> = { sources.iter() }
            .map(|source| (&source.workload, source.pace))
            .collect();
        system.run_together(&lists);
    }

    let commands = system.take_commands();
    if let Some(path) = &arguments.commands {
        write_commands(path, &system, &commands)
            .map_err(|error| Failure::new(Kind::Output, format!("{}: {error}", path.display())))?;
    }
    let violations = arguments.check.then(|| {
        let violations = |commands: &Vec<_>| check(&system.plan().device, arguments.ranks, commands);
        commands
            .iter()
            .flat_map(violations)
            .inspect(|violation| eprintln!("memloupe: {violation}"))
            .count()
    });
    let summary = Summary::new(&system, &sources, violations);
    Ok(match arguments.format {
        DramFormat::Json => summary.json(),
        DramFormat::Table => summary.table(),
    })
}

/// A trace as it is sent.
#[derive(Debug)]
pub struct Source {
    /// The file.
    pub trace: String,
    /// Its format.
    pub format: Format,
    /// Its requests.
    pub workload: Workload,
    /// When they are sent.
    pub pace: Pace,
}

/// A built-in device, or one of a device file: `FILE.toml`, `FILE.toml:BIN` or `FILE.toml:BIN/ORGANISATION`.
fn load(name: &str) -> Result<Device, Failure> {
    let machine = Failure::of(Kind::Machine);
    let Some(end) = name.find(".toml") else {
        return Device::find(name).map_err(machine);
    };
    let (file, device) = name.split_at(end + ".toml".len());
    let text = std::fs::read_to_string(file)
        .map_err(|error| Failure::new(Kind::Machine, format!("{file}: {error}")))?;
    let standard = Standard::from_toml(file, &text).map_err(Failure::of(Kind::Machine))?;
    let device = device.trim_start_matches(':');
    let (bin, organisation) = match device.split_once('/') {
        Some((bin, organisation)) => (bin, Some(organisation)),
        None => (device, None),
    };
    let first = standard.bins().next().unwrap_or_default();
    let bin = if bin.is_empty() { first } else { bin };
    standard.device(bin, organisation).map_err(machine)
}

fn config(arguments: &Dram) -> Result<ControllerConfig, Failure> {
    let machine = Failure::of(Kind::Machine);
    let (refresh, no_refresh) = match arguments.refresh.as_deref() {
        None => (None, false),
        Some("none") => (None, true),
        Some(text) => {
            let modes = [
                ("all-bank", RefreshMode::AllBank),
                ("fine-2x", RefreshMode::Fine2x),
                ("fine-4x", RefreshMode::Fine4x),
                ("per-bank", RefreshMode::PerBank),
                ("same-bank", RefreshMode::SameBank),
            ];
            let found = modes.iter().find(|(name, _)| *name == text).ok_or_else(|| {
                let names = modes.map(|(name, _)| name).join(", ");
                Failure::new(Kind::Machine, format!("--refresh {text}: use none, {names}"))
            })?;
            (Some(found.1), false)
        }
    };
    let mitigation: Mitigation = arguments.mitigation.parse().map_err(&machine)?;
    Ok(ControllerConfig {
        read_queue: arguments.read_queue,
        write_queue: arguments.write_queue,
        write_low_watermark: arguments.watermarks[0],
        write_high_watermark: arguments.watermarks[1],
        scheduler: arguments.scheduler.parse().map_err(&machine)?,
        row_policy: arguments.row_policy.parse().map_err(&machine)?,
        refresh,
        no_refresh,
        refresh_postpone: arguments.postpone,
        refresh_pull_in: arguments.pull_in,
        mitigation,
        priorities: arguments.priorities.clone(),
        starvation_limit: arguments.starvation,
    })
}

/// All devices: bins and organisations by standard.
fn list() -> String {
    let mut text = String::new();
    for standard in Standard::all() {
        text.push_str(&format!("{} ({})\n", standard.standard, standard.jedec));
        text.push_str(&format!(
            "  bins: {}\n",
            standard.bins().collect::<Vec<_>>().join(", ")
        ));
        let organisations: Vec<String> = standard
            .organisations()
            .map(|name| {
                let default = if name == standard.default_organisation {
                    " (default)"
                } else {
                    ""
                };
                format!("{name}{default}")
            })
            .collect();
        text.push_str(&format!("  organisations: {}\n", organisations.join(", ")));
    }
    text
}

/// Comma-separated: clock, command, channel, pseudo-channel, rank, bank group, bank, row, column.
fn write_commands(path: &Path, system: &DramSystem, commands: &[Vec<IssuedCommand>]) -> std::io::Result<()> {
    let device = &system.plan().device;
    let mut output = BufWriter::new(File::create(path)?);
    writeln!(output, "clk,cmd,channel,pc,rank,bg,bank,row,col")?;
    let ranks = system.plan().ranks * device.stack_ids;
    for (channel, commands) in commands.iter().enumerate() {
        for command in commands {
            let bank = command.bank;
            let rank = bank / device.banks / device.bank_groups;
            // Half clocks where the device has them.
            let clock = command.tick as f64 / device.ticks_per_clock as f64;
            write!(
                output,
                "{clock},{},{channel},{},{}",
                command.command,
                rank / ranks,
                rank % ranks
            )?;
            let (group, bank) = (bank / device.banks % device.bank_groups, bank % device.banks);
            match command.row {
                u32::MAX => writeln!(output, ",{group},{bank},,")?,
                row => writeln!(output, ",{group},{bank},{row},{}", command.column)?,
            }
        }
    }
    output.flush()
}
