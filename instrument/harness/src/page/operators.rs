//! Traffic of each operator kind, and of each class of objects, at every boundary: one column of bars per boundary.

use super::boundary::{Boundary, explain};
use super::markup::section;
use super::svg::{Anchor, Drawing, WIDTH, color};
use super::{grouped, grouped_with_footprints};
use crate::profile::{Measure, Profile, Unit};
use crate::report::{Key, Report, Row, human, percent};

/// Rows of a chart; what follows is one row.
const ROWS: usize = 14;
const ROW_HEIGHT: f64 = 24.0;
const HEAD_HEIGHT: f64 = 44.0;
const NAME_WIDTH: f64 = 170.0;
const NAME_CHARS: usize = 24;
/// Room for a number beside its bar.
const NUMBER_WIDTH: f64 = 62.0;

pub(super) fn draw(profile: &Profile) -> String {
    let kinds = grouped(profile, &[Key::Kind]);
    let classes = grouped_with_footprints(profile, &[Key::Class]);
    let mut html = String::new();
    // One row would only repeat the totals.
    if kinds.rows.len() > 1 {
        let bars = bars(profile, &kinds, false);
        html += &section(
            "Operators",
            &format!("{} Each column has its own scale.", explain(&profile.summary)),
            &bars,
        );
    }
    let bars = bars(profile, &classes, true);
    html + &section(
        "Objects",
        "The same by class of data object, with the distinct bytes touched.",
        &bars,
    )
}

/// A column of the chart: its name, and the bytes of a row and in all.
struct Series<'a> {
    name: String,
    of_row: Box<dyn Fn(&Row) -> u64 + 'a>,
    total: u64,
    /// Whether rows add up to the total, so that a remainder can be formed.
    adds_up: bool,
}

fn bars(profile: &Profile, report: &Report, footprint: bool) -> String {
    let boundaries = Boundary::of(&profile.summary);
    let mut series: Vec<Series<'_>> = Vec::new();
    if footprint {
        series.push(Series {
            name: "footprint".to_owned(),
            of_row: Box::new(|row| report.value(row, Measure::Footprint)),
            total: report.total(Measure::Footprint),
            adds_up: false,
        });
    }
    for boundary in &boundaries {
        series.push(Series {
            name: boundary.name.clone(),
            of_row: Box::new(|row| boundary.of_row(report, row)),
            total: boundary.total(report),
            adds_up: true,
        });
    }
    let shown = report.rows.len().min(ROWS);
    let hidden = &report.rows[shown..];
    let rows = shown + usize::from(!hidden.is_empty());
    let mut drawing = Drawing::new(HEAD_HEIGHT + rows as f64 * ROW_HEIGHT + 4.0);
    let width = (WIDTH - NAME_WIDTH) / series.len() as f64;
    for row in 0..rows {
        let y = HEAD_HEIGHT + row as f64 * ROW_HEIGHT + 16.0;
        let name = match report.rows[..shown].get(row) {
            Some(row) => row.keys[0].clone(),
            None => format!("{} others", hidden.len()),
        };
        drawing.name(NAME_WIDTH - 14.0, y, Anchor::End, NAME_CHARS, &name);
    }
    for (column, series) in series.iter().enumerate() {
        let x = NAME_WIDTH + column as f64 * width;
        drawing.text(x, 14.0, Anchor::Start, "head", &series.name);
        drawing.text(x, 30.0, Anchor::Start, "axis", &human(series.total, Unit::Bytes));
        let mut values: Vec<u64> = report.rows[..shown].iter().map(&series.of_row).collect();
        if !hidden.is_empty() && series.adds_up {
            values.push(hidden.iter().map(&series.of_row).sum());
        }
        let largest = values.iter().copied().max().unwrap_or(0).max(1);
        let room = width - NUMBER_WIDTH - 10.0;
        drawing.line(
            [x, HEAD_HEIGHT - 4.0, x, HEAD_HEIGHT + rows as f64 * ROW_HEIGHT],
            "axis-line",
        );
        for (row, value) in values.into_iter().enumerate() {
            let y = HEAD_HEIGHT + row as f64 * ROW_HEIGHT;
            let length = value as f64 / largest as f64 * room;
            let name = report.rows[..shown].get(row).map_or("others", |row| &row.keys[0]);
            let tip = format!(
                "{name}: {} ({value} bytes), {} of {}",
                human(value, Unit::Bytes),
                percent(value, series.total),
                series.name
            );
            drawing.bar([x, y + 4.0, length, ROW_HEIGHT - 8.0], &color(0), 1.0, &tip);
            let class = if value == 0 { "axis" } else { "value" };
            drawing.text(
                x + length + 5.0,
                y + 16.0,
                Anchor::Start,
                class,
                &human(value, Unit::Bytes),
            );
        }
    }
    drawing.finish("Bytes at every boundary of the memory hierarchy")
}
