//! The `memloupe` program: parses the command line and hands over.
#![forbid(unsafe_code)]

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;
use memloupe::args::{Arguments, Command, Format, MachineAction, Report};
use memloupe::failure::{Failure, Kind};
use memloupe::profile::Profile;
use memloupe::report::{Query, terminal_columns};
use memloupe::{doctor, dram, machine, page, run};

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let done = match &arguments.command {
        Command::Run(arguments) => run::run(arguments),
        Command::Report(arguments) => show(arguments),
        Command::Machine(arguments) => match &arguments.action {
            MachineAction::List => print(&machine::list()),
            MachineAction::Show { machine } => machine::show(machine).and_then(|text| print(&text)),
            MachineAction::Check { machine } => machine::check(machine).and_then(|text| print(&text)),
        },
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
    let profile = Profile::read(&arguments.profile).map_err(Failure::of(Kind::Profile))?;
    let text = match arguments.format {
        Format::Html => page::html(&profile),
        format => {
            let filters: Vec<&str> = arguments.filter.iter().map(String::as_str).collect();
            let by: Vec<&str> = arguments.by.iter().map(String::as_str).collect();
            let query =
                Query::parse(&by, arguments.sort.as_deref(), &filters).map_err(Failure::of(Kind::Profile))?;
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
            match format {
                Format::Json => report.json(),
                Format::Csv => report.csv(),
                Format::Folded => report.folded(),
                Format::Flamegraph => report
                    .flame_graph(&profile.summary.command.join(" "))
                    .map_err(Failure::of(Kind::Profile))?,
                Format::Table | Format::Html => {
                    report.table(&profile.summary, arguments.limit, terminal_columns())
                }
            }
        }
    };
    print(&text)
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
