//! The numbers themselves: tables by the dimensions that readers ask for, sortable by any column.

use super::grouped_with_footprints;
use super::markup::{escape, section, tabs};
use crate::profile::{Measure, Profile, Summary};
use crate::report::{Dimension, Key, Order, Report, human, percent, relative};

/// Rows of a table; the command line has all of them.
const ROWS: usize = 100;
const KEYS: [&[Key]; 8] = [
    &[Key::Kind],
    &[Key::Operator, Key::Kind],
    &[Key::Layer],
    &[Key::Phase],
    &[Key::Object, Key::Class],
    &[Key::Symbol, Key::Module],
    &[Key::Line, Key::Function],
    &[Key::Thread],
];

pub(super) fn draw(profile: &Profile, without_sites: &Profile) -> String {
    let panel = |keys: &&[Key]| {
        let is_of_sites = keys.iter().any(|key| key.dimension() == Dimension::Site);
        let of = if is_of_sites { profile } else { without_sites };
        let report = grouped_with_footprints(of, keys);
        (keys[0].name().to_owned(), table(&profile.summary, &report))
    };
    let panels: Vec<(String, String)> = KEYS.iter().map(panel).collect();
    section(
        "Tables",
        "Click a column to sort by it. <code>memloupe report --by …</code> groups by any combination of keys.",
        &tabs("table", 4, &panels),
    )
}

/// Measures of a table: the first few of the contract's; programs get all of them.
fn measures(summary: &Summary, report: &Report) -> Vec<Measure> {
    let mut measures = vec![
        Measure::DRAM_READ,
        Measure::DRAM_WRITE,
        Measure::ACCESSES,
        Measure::Footprint,
    ];
    measures.extend((0..summary.levels.len()).map(Measure::Misses));
    measures.extend([
        Measure::ROW_HITS,
        Measure::ROW_CONFLICTS,
        Measure::INSTRUCTIONS,
        Measure::FLOPS,
        Measure::EST_CYCLES,
    ]);
    // What is zero throughout tells nothing.
    measures.retain(|measure| report.total(*measure) > 0);
    measures
}

fn table(summary: &Summary, report: &Report) -> String {
    let measures = measures(summary, report);
    let main = match report.order {
        Order::Descending(measure) => measure,
        Order::Key(_) => measures.first().copied().unwrap_or(Measure::ACCESSES),
    };
    let mut html = String::from("<div class=\"scroll\"><table>\n<thead><tr>");
    for key in &report.keys {
        html += &format!("<th class=\"key\">{}</th>", key.name());
    }
    for measure in &measures {
        let name = escape(&measure.name(summary).replace('_', " "));
        html += &format!("<th title=\"{}\">{name}</th>", escape(&measure.meaning(summary)));
        if *measure == main {
            html += "<th>share</th>";
        }
    }
    html += "</tr></thead>\n<tbody>\n";
    let cells = |value: &dyn Fn(Measure) -> u64, margins: &[Option<f64>]| {
        let mut html = String::new();
        for measure in &measures {
            let number = value(*measure);
            let margin = match report.column(*measure) {
                Some(column) if report.is_sampled => relative(margins[column], number),
                _ => String::new(),
            };
            html += &format!(
                "<td data-value=\"{number}\" title=\"{number}{margin}\">{}{}</td>",
                human(number, measure.unit()),
                if margin.is_empty() {
                    margin.clone()
                } else {
                    format!(" <small>{margin}</small>")
                },
            );
            if *measure == main {
                let whole = report.total(main);
                let width = number as f64 / whole.max(1) as f64 * 100.0;
                html += &format!(
                    "<td class=\"share\" data-value=\"{number}\" style=\"--share:{width:.2}%\">{}</td>",
                    escape(&percent(number, whole))
                );
            }
        }
        html
    };
    for row in report.rows.iter().take(ROWS) {
        html += "<tr>";
        for key in &row.keys {
            html += &format!("<td class=\"key\" title=\"{0}\">{0}</td>", escape(key));
        }
        html += &cells(&|measure| report.value(row, measure), &row.margins);
        html += "</tr>\n";
    }
    html += "</tbody>\n<tfoot><tr>";
    for index in 0..report.keys.len() {
        html += if index == 0 {
            "<td class=\"key\">total</td>"
        } else {
            "<td class=\"key\"></td>"
        };
    }
    html += &cells(&|measure| report.total(measure), &report.total_margins);
    html += "</tr></tfoot>\n</table></div>\n";
    if report.rows.len() > ROWS {
        html += &format!(
            "<p class=\"caption\">The first {ROWS} of {} rows; the total is of all.</p>\n",
            report.rows.len()
        );
    }
    html
}
