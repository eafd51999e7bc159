//! DRAM traffic of each phase, stacked by class of data object: what a token costs, and how that grows.

use super::grouped;
use super::markup::section;
use super::svg::{Anchor, COLORS, Drawing, WIDTH, color};
use crate::profile::{Measure, Profile, Unit};
use crate::report::{Key, Query, human, percent};

const LEFT: f64 = 84.0;
const HEIGHT: f64 = 210.0;
const TOP: f64 = 36.0;
const COLUMN_WIDTH_MAX: f64 = 72.0;
/// More columns than this can't be told apart: phases of one name become one.
const COLUMNS_MAX: usize = 240;

pub(super) fn draw(profile: &Profile) -> String {
    let measure = if profile.summary.dram {
        Measure::DRAM_READ
    } else {
        Measure::ACCESS_BYTES
    };
    let mut key = Key::Phase;
    let mut phases = grouped(profile, &[key]);
    if phases.rows.len() > COLUMNS_MAX {
        key = Key::PhaseKind;
        phases = grouped(profile, &[key]);
    }
    if phases.rows.len() < 2 {
        return String::new();
    }
    let classes = Query::by(&[Key::Class])
        .sorted_by(measure)
        .run(profile)
        .expect("the column exists");
    let cells = Query::by(&[key, Key::Class])
        .run(profile)
        .expect("no column is named");

    let width = ((WIDTH - LEFT) / phases.rows.len() as f64).min(COLUMN_WIDTH_MAX);
    let base = TOP + HEIGHT;
    let mut drawing = Drawing::new(base + 24.0);
    let largest = phases
        .rows
        .iter()
        .map(|row| phases.value(row, measure))
        .max()
        .unwrap_or(0)
        .max(1);
    for fraction in [0.0, 0.25, 0.5, 0.75, 1.0] {
        let y = base - fraction * HEIGHT;
        drawing.line([LEFT, y, WIDTH, y], "grid");
        drawing.text(
            LEFT - 8.0,
            y + 4.0,
            Anchor::End,
            "axis",
            &human((largest as f64 * fraction) as u64, Unit::Bytes),
        );
    }
    let mut labelled_until = f64::MIN;
    for (column, phase) in phases.rows.iter().enumerate() {
        let x = LEFT + column as f64 * width;
        let whole = phases.value(phase, measure);
        let mut y = base;
        for (series, class) in classes.rows.iter().enumerate() {
            let cell = cells
                .rows
                .iter()
                .find(|cell| cell.keys[0] == phase.keys[0] && cell.keys[1] == class.keys[0]);
            let bytes = cell.map_or(0, |cell| cells.value(cell, measure));
            if bytes == 0 {
                continue;
            }
            let height = bytes as f64 / largest as f64 * HEIGHT;
            y -= height;
            let tip = format!(
                "{} · {}: {} ({bytes} bytes), {} of the phase",
                phase.keys[0],
                class.keys[0],
                human(bytes, Unit::Bytes),
                percent(bytes, whole)
            );
            drawing.bar(
                [x + width * 0.1, y, width * 0.8, height],
                &color(series),
                1.0,
                &tip,
            );
        }
        let half = (phase.keys[0].chars().count().min(14) as f64 * 6.6 + 6.0) / 2.0;
        if x + width / 2.0 - half > labelled_until {
            drawing.name(x + width / 2.0, base + 16.0, Anchor::Middle, 14, &phase.keys[0]);
            labelled_until = x + width / 2.0 + half;
        }
    }
    let mut legend: Vec<(String, String)> = classes
        .rows
        .iter()
        .filter(|class| classes.value(class, measure) > 0)
        .enumerate()
        .map(|(series, class)| (color(series), class.keys[0].clone()))
        .collect();
    if legend.len() > COLORS {
        legend.truncate(COLORS);
        legend[COLORS - 1].1 = "others".to_owned();
    }
    drawing.legend(LEFT, 14.0, &legend);
    let what = if profile.summary.dram {
        "Bytes read from DRAM"
    } else {
        "Bytes accessed"
    };
    section(
        "Phases",
        &format!("{what} in each phase, by class of data object."),
        &drawing.finish(what),
    )
}
