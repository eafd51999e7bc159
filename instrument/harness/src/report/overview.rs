//! What a run prints at its end: the one table that answers most, and where the rest is.

use std::fmt::Write;
use std::path::Path;

use super::locality::show_seconds;
use super::table::printable;
use super::{Key, Query, human, percent, terminal_columns};
use crate::profile::{Measure, MemoryWear, PAGE_FILE, Profile, SUMMARY_FILE, Summary, Unit};

/// Rows of the table: it should fit a screen.
const ROWS: usize = 15;

/// The end of a run, for people.
#[must_use]
pub fn overview(profile: &Profile, folder: &Path) -> String {
    let summary = &profile.summary;
    let operators = profile.contexts.iter().any(|context| !context.kind.is_empty());
    // A program without known operators is best known by its functions.
    let key = if operators { Key::Kind } else { Key::Symbol };
    let report = Query::by(&[key]).run(profile).expect("no column is named");
    let count = |measure, unit| human(report.total(measure), unit);
    let mut text = String::new();
    let _ = writeln!(
        text,
        "{} · {} · {:.1} s under memloupe ({}) · machine {}",
        printable(summary.command.first().map_or("", String::as_str)),
        summary.ending(),
        summary.wall_seconds,
        summary.engine,
        printable(summary.machine_name()),
    );
    let _ = write!(
        text,
        "{} instructions, {} accesses of {}, footprint {}",
        count(Measure::INSTRUCTIONS, Unit::Count),
        count(Measure::ACCESSES, Unit::Count),
        count(Measure::ACCESS_BYTES, Unit::Bytes),
        count(Measure::Footprint, Unit::Bytes),
    );
    if summary.dram {
        let _ = write!(
            text,
            "; DRAM read {}, written {}",
            count(Measure::DRAM_READ, Unit::Bytes),
            count(Measure::DRAM_WRITE, Unit::Bytes)
        );
    }
    for (tier, name) in summary.tiers.iter().enumerate() {
        let bytes = |field| {
            let measures = summary.measures();
            let measure = measures.iter().find(|measure| measure.is_of_tier(tier, field));
            measure.map_or_else(|| human(0, Unit::Bytes), |measure| count(*measure, Unit::Bytes))
        };
        let _ = write!(
            text,
            "{}{} read {}, written {}, moved in {}",
            if tier == 0 { "\nof it " } else { "; " },
            printable(name),
            bytes("read_bytes"),
            bytes("write_bytes"),
            bytes("migrated_in_bytes")
        );
    }
    text.push('\n');
    for wear in &summary.wear {
        let _ = writeln!(text, "{}", wear_of(wear));
    }
    let attribution = &summary.attribution;
    let named: Vec<String> = [
        (
            attribution.operator_accesses,
            attribution.compute_accesses,
            "of the compute threads' accesses by operator",
        ),
        (
            attribution.object_dram_bytes,
            attribution.dram_bytes,
            "of the DRAM bytes by object",
        ),
        (
            attribution.line_accesses,
            attribution.accesses,
            "of all accesses by source line",
        ),
    ]
    .iter()
    .filter(|(_, whole, _)| *whole > 0)
    .map(|(part, whole, of_what)| format!("{} {of_what}", percent(*part, *whole)))
    .collect();
    if !named.is_empty() {
        let _ = writeln!(text, "named: {}\n", named.join(", "));
    }
    text += &report.table(summary, ROWS, terminal_columns());
    let _ = writeln!(text, "\npage:  {}", folder.join(PAGE_FILE).display());
    let _ = writeln!(
        text,
        "more:  memloupe report {} --by layer | phase,class | object | line …",
        folder.display()
    );
    text
}

/// What a memory whose cells wear out was written, and what that means.
fn wear_of(wear: &MemoryWear) -> String {
    let seconds = |value: Option<f64>| value.map_or_else(|| "never".to_owned(), show_seconds);
    format!(
        "{} is {}: {} writes of {} in an estimated {}, {} of one at most; going on like that, it is worn out after {}, with even wear \
         {} ({:e} writes)",
        printable(&wear.memory),
        printable(&wear.technology),
        human(wear.writes, Unit::Count),
        human(wear.unit_bytes, Unit::Bytes),
        show_seconds(wear.seconds),
        human(wear.most_writes, Unit::Count),
        seconds(wear.wear_s),
        seconds(wear.levelled_wear_s),
        wear.endurance
    )
}

/// The end of a run whose stream was dropped.
#[must_use]
pub fn discarded(summary: &Summary, folder: &Path) -> String {
    let mut text = format!(
        "{} · {} · {:.1} s under memloupe ({}) · stream discarded\n{} captured on {} threads, {} system calls; nothing was \
         decoded, so there are no accesses to count\n",
        printable(summary.command.first().map_or("", String::as_str)),
        summary.ending(),
        summary.wall_seconds,
        summary.engine,
        human(summary.stream_bytes, Unit::Bytes),
        summary.threads,
        human(summary.syscalls, Unit::Count),
    );
    for caveat in summary.caveats() {
        let _ = writeln!(text, "! {}", printable(&caveat));
    }
    let _ = writeln!(text, "\nsummary: {}", folder.join(SUMMARY_FILE).display());
    text
}
