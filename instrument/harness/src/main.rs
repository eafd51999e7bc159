//! The `memloupe` program: parses the command line and hands over.
#![forbid(unsafe_code)]

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;
use memloupe::args::{Arguments, Command, Format, MachineAction, Report};
use memloupe::failure::{Failure, Kind};
use memloupe::profile::{Profile, Summary};
use memloupe::report::{Query, terminal_columns};
use memloupe::{doctor, dram, machine, page, replay, run, trace};

/// The value of `report --machine` that stands for every machine of the run.
const ALL_MACHINES: &str = "all";

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let done = match &arguments.command {
        Command::Run(arguments) => run::run(arguments),
        Command::Replay(arguments) => replay::replay(arguments),
        Command::Report(arguments) => show(arguments),
        Command::Machine(arguments) => match &arguments.action {
            MachineAction::List => print(&machine::list()),
            MachineAction::Show { machine } => machine::show(machine).and_then(|text| print(&text)),
            MachineAction::Curve {
                machine,
                pattern,
                format,
            } => machine::curve(machine, *pattern, *format).and_then(|text| print(&text)),
            MachineAction::Check { machine } => machine::check(machine).and_then(|text| print(&text)),
        },
        Command::Trace(arguments) => trace::trace(arguments).and_then(|text| print(&text)),
        Command::Dram(arguments) => dram::dram(arguments).and_then(|text| print(&text)),
        Command::Doctor => {
            let (text, able) = doctor::examine();
            print(&text).map(|code| if able { code } else { ExitCode::FAILURE })
        }
    };
    done.unwrap_or_else(|failure| {
        eprintln!("memloupe: {failure}");
        failure.exit_code()
    })
}

fn show(arguments: &Report) -> Result<ExitCode, Failure> {
    if arguments.machine.as_deref() == Some(ALL_MACHINES) {
        return compare(arguments);
    }
    let profile = match &arguments.machine {
        None => Profile::read(&arguments.profile),
        Some(name) => Profile::read_machine(&arguments.profile, name),
    }
    .map_err(Failure::of(Kind::Profile))?;
    let text = match arguments.format {
        Format::Html => page::html(&profile),
        format => {
            let query = query(arguments)?;
            if let Some(table) = &arguments.table {
                let report = query
                    .run_table(&profile, table)
                    .map_err(Failure::of(Kind::Profile))?;
                return print(&match format {
                    Format::Json => report.json(),
                    Format::Csv => report.csv(),
                    Format::Flamegraph | Format::Folded => {
                        return Err(Failure::new(
                            Kind::Profile,
                            format!("the table \"{table}\" is no flame graph: leave out --table"),
                        ));
                    }
                    Format::Table | Format::Html => report.table(&profile.summary, arguments.limit),
                });
            }
            let report = query.run(&profile).map_err(Failure::of(Kind::Profile))?;
            written(&report, &profile.summary, arguments)?
        }
    };
    print(&text)
}

/// The machines of a run side by side.
fn compare(arguments: &Report) -> Result<ExitCode, Failure> {
    let comparable = matches!(arguments.format, Format::Table | Format::Json | Format::Csv);
    if arguments.table.is_some() || !comparable {
        return Err(Failure::new(
            Kind::Profile,
            "--machine all compares a column of the machines, as table, json or csv: name one of them for anything else",
        ));
    }
    let profiles = Profile::read_machines(&arguments.profile).map_err(Failure::of(Kind::Profile))?;
    let report = query(arguments)?
        .compare(&profiles)
        .map_err(Failure::of(Kind::Profile))?;
    let mut summary = profiles[0].summary.clone();
    for profile in &profiles[1..] {
        let notes = profile.summary.notes.iter();
        let new: Vec<String> = notes
            .filter(|note| !summary.notes.contains(note))
            .cloned()
            .collect();
        summary.notes.extend(new);
    }
    print(&written(&report, &summary, arguments)?)
}

fn query(arguments: &Report) -> Result<Query, Failure> {
    Query::parse(&arguments.by, arguments.sort.as_deref(), &arguments.filter)
        .map_err(Failure::of(Kind::Profile))
}

fn written(
    report: &memloupe::report::Report,
    summary: &Summary,
    arguments: &Report,
) -> Result<String, Failure> {
    Ok(match arguments.format {
        Format::Json => report.json(),
        Format::Csv => report.csv(),
        Format::Folded => report.folded(),
        Format::Flamegraph => report
            .flame_graph(&summary.command.join(" "))
            .map_err(Failure::of(Kind::Profile))?,
        Format::Table | Format::Html => report.table(summary, arguments.limit, terminal_columns()),
    })
}

/// A reader that has seen enough (`memloupe report | head`) is no failure.
fn print(text: &str) -> Result<ExitCode, Failure> {
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(Failure::new(
            Kind::Output,
            format!("cannot write to standard output: {error}"),
        )),
        _ => Ok(ExitCode::SUCCESS),
    }
}
