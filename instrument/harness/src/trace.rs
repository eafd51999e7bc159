//! `memloupe trace`: from recordings and other tools' traces to other tools' traces.
//!
//! Times of a recording are instructions of all threads together: one a clock, without any stall. What leaves a cache level
//! has the time, instruction and thread of the access that caused it; a line that is written back has no instruction.

mod below;
mod input;
mod memory;
mod names;

use std::fmt::Write;
use std::path::{Path, PathBuf};

use memloupe_trace::{Format, Kind as ReferenceKind, Setting, create};

use self::below::Below;
use self::input::Input;
use self::names::Names;
use crate::args::Trace;
use crate::failure::{Failure, Kind};

/// What `memloupe trace` prints.
///
/// # Errors
/// [`Kind::Stream`] where the input is damaged (what came before is written), [`Kind::Machine`] for a level that there is not,
/// [`Kind::Output`] if the trace can't be written.
pub fn trace(arguments: &Trace) -> Result<String, Failure> {
    let (Some(input), Some(output), Some(to)) = (&arguments.input, &arguments.output, &arguments.to) else {
        return Ok(list());
    };
    let to = format(to)?;
    let from = arguments.from.as_deref().map(format).transpose()?;
    let setting = Setting {
        clock_ps: arguments.clock_ps,
        memory: memory::memory(&arguments.machine)?,
    };
    let mut input = Input::open(input, from, &setting, arguments)?;
    let mut below = match &arguments.below {
        Some(level) => Some(Below::new(&arguments.machine, level)?),
        None => None,
    };
    let unwritable =
        |error: &dyn std::fmt::Display| Failure::new(Kind::Output, format!("{}: {error}", output.display()));
    let mut file = create(output).map_err(|error| unwritable(&error))?;
    let mut writer = to
        .writer(&mut file, &setting)
        .map_err(|error| unwritable(&error))?;
    let mut names = Names::default();
    let (mut references, mut fitting, mut left_out) = (Vec::new(), Vec::new(), 0);
    let failed = loop {
        match input.read(&mut references) {
            Ok(()) if references.is_empty() => break None,
            Ok(()) => {}
            Err(failure) => break Some(failure),
        }
        if let Some(below) = &mut below {
            below.pass(&mut references, input.name_count());
        }
        fitting.clear();
        for named in &references {
            let before = fitting.len();
            to.fit(named.reference, &setting, &mut fitting);
            names.extend(named.name, (fitting.len() - before) as u64);
            left_out += u64::from(fitting.len() == before && named.reference.kind == ReferenceKind::Fetch);
        }
        writer.write(&fitting).map_err(|error| unwritable(&error))?;
    };
    let finished = writer.finish();
    drop(writer);
    finished
        .and_then(|()| file.finish())
        .map_err(|error| unwritable(&error))?;
    let mut text = format!("{} references in {}\n", names.positions(), output.display());
    if left_out > 0 {
        let _ = writeln!(text, "{left_out} instruction fetches left out");
    }
    let lost = to.keeps.lost();
    if !lost.is_empty() {
        let _ = writeln!(text, "{} traces do not keep {}", to.name, lost.join(", "));
    }
    if let Some(described) = input.described().filter(|_| !arguments.no_names) {
        let path = names_path(output);
        names.write(&path, described)?;
        let _ = writeln!(text, "names by position in {}", path.display());
    }
    match failed {
        Some(failure) => {
            eprint!("{text}");
            Err(failure)
        }
        None => Ok(text),
    }
}

/// Where the names of a trace go.
fn names_path(output: &Path) -> PathBuf {
    let mut path = output.as_os_str().to_owned();
    path.push(".names.parquet");
    path.into()
}

fn format(name: &str) -> Result<&'static Format, Failure> {
    Format::named(name).ok_or_else(|| {
        let names: Vec<&str> = Format::ALL.iter().map(|format| format.name).collect();
        let what = format!(
            "there is no trace format '{name}'; there are {}",
            names.join(", ")
        );
        Failure::new(Kind::Stream, what)
    })
}

fn list() -> String {
    let mut text = String::new();
    for format in Format::ALL {
        let _ = writeln!(text, "{:<16} {}", format.name, format.summary);
        let lost = format.keeps.lost();
        if !lost.is_empty() {
            let _ = writeln!(text, "{:<16} does not keep {}", "", lost.join(", "));
        }
    }
    text
}
