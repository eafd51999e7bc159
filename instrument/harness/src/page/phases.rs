//! DRAM traffic of each phase by class of data object: what a token costs, and how that grows.
//!
//! All classes are stacked in one chart; as the largest hides how the others grow, each has a small chart of its own too.

use std::collections::HashMap;

use super::grouped;
use super::markup::section;
use super::svg::{Anchor, COLORS, Drawing, WIDTH, color};
use crate::profile::{Measure, Profile, Unit};
use crate::report::{Key, Query, human, percent};

/// Room for the numbers of an axis.
const AXIS_WIDTH: f64 = 84.0;
const STACK_HEIGHT: f64 = 200.0;
const LEGEND_HEIGHT: f64 = 34.0;
const LABEL_HEIGHT: f64 = 30.0;
const PANEL_HEIGHT: f64 = 84.0;
const PANELS_PER_ROW: usize = 3;
const PANELS: usize = 6;
const COLUMN_WIDTH_MAX: f64 = 72.0;
/// Characters of a phase's name, and the width of one.
const LABEL_CHARS: usize = 14;
const CHAR_WIDTH: f64 = 6.6;
/// More columns than this can't be told apart: phases of one name become one.
const COLUMNS_MAX: usize = 240;

/// One class of objects: its bytes in each phase.
struct Series {
    name: String,
    color: String,
    bytes: Vec<u64>,
}

pub(super) fn draw(profile: &Profile) -> String {
    let (measure, what) = if profile.summary.dram {
        (Measure::DRAM_READ, "Bytes read from DRAM")
    } else {
        (Measure::ACCESS_BYTES, "Bytes accessed")
    };
    let mut key = Key::Phase;
    let mut phases = grouped(profile, &[key]);
    if phases.rows.len() > COLUMNS_MAX {
        key = Key::PhaseKind;
        phases = grouped(profile, &[key]);
    }
    if phases.rows.len() < 2 || phases.total(measure) == 0 {
        return String::new();
    }
    let names: Vec<&str> = phases.rows.iter().map(|row| row.keys[0].as_str()).collect();
    let series = series(profile, key, measure, &names);
    let computing = computing(profile, key, &names);

    let panels = if series.len() > 1 {
        series.len().min(PANELS)
    } else {
        0
    };
    let panel_rows = panels.div_ceil(PANELS_PER_ROW) as f64;
    let stack_end = LEGEND_HEIGHT + STACK_HEIGHT + LABEL_HEIGHT;
    let mut drawing = Drawing::new(stack_end + panel_rows * (LEGEND_HEIGHT + PANEL_HEIGHT + LABEL_HEIGHT));
    drawing.legend(AXIS_WIDTH, 14.0, &legend(&series));
    columns(
        &mut drawing,
        [0.0, LEGEND_HEIGHT, WIDTH, STACK_HEIGHT],
        4,
        &names,
        &series,
    );
    let width = WIDTH / PANELS_PER_ROW as f64;
    for (index, one) in series.iter().take(panels).enumerate() {
        let x = (index % PANELS_PER_ROW) as f64 * width;
        let row = (index / PANELS_PER_ROW) as f64;
        let y = stack_end + row * (LEGEND_HEIGHT + PANEL_HEIGHT + LABEL_HEIGHT) + LEGEND_HEIGHT;
        drawing.text(x + AXIS_WIDTH, y - 10.0, Anchor::Start, "head", &one.name);
        let names: Vec<&str> = computing.iter().map(|phase| names[*phase]).collect();
        let bytes = computing.iter().map(|phase| one.bytes[*phase]).collect();
        let one = Series {
            name: one.name.clone(),
            color: one.color.clone(),
            bytes,
        };
        columns(
            &mut drawing,
            [x, y, width - 16.0, PANEL_HEIGHT],
            2,
            &names,
            &[one],
        );
    }
    let caption = format!(
        "{what} in each phase, by class of data object; below, the largest classes on their own scales, in the phases \
         with the most operators."
    );
    section("Phases", &caption, &drawing.finish(what))
}

/// Positions of the phases that execute at least half as many operators as any: these can be compared with each other,
/// while what comes before or between may be of another size.
fn computing(profile: &Profile, key: Key, names: &[&str]) -> Vec<usize> {
    let cells = grouped(profile, &[key, Key::Operator]);
    let mut operators: HashMap<&str, usize> = HashMap::new();
    for row in &cells.rows {
        *operators.entry(&row.keys[0]).or_default() += 1;
    }
    let most = operators.values().copied().max().unwrap_or(0);
    (0..names.len())
        .filter(|phase| operators[names[*phase]] * 2 >= most)
        .collect()
}

/// The classes that have any bytes, the largest first.
fn series(profile: &Profile, key: Key, measure: Measure, names: &[&str]) -> Vec<Series> {
    let classes = Query::by(&[Key::Class])
        .sorted_by(measure)
        .without_footprints()
        .run(profile)
        .expect("the column exists");
    let cells = grouped(profile, &[key, Key::Class]);
    let bytes: HashMap<(&str, &str), u64> = cells
        .rows
        .iter()
        .map(|row| {
            (
                (row.keys[0].as_str(), row.keys[1].as_str()),
                cells.value(row, measure),
            )
        })
        .collect();
    classes
        .rows
        .iter()
        .filter(|class| classes.value(class, measure) > 0)
        .enumerate()
        .map(|(index, class)| Series {
            name: class.keys[0].clone(),
            color: color(index),
            bytes: names
                .iter()
                .map(|phase| *bytes.get(&(*phase, class.keys[0].as_str())).unwrap_or(&0))
                .collect(),
        })
        .collect()
}

fn legend(series: &[Series]) -> Vec<(String, String)> {
    let mut legend: Vec<(String, String)> = series
        .iter()
        .map(|one| (one.color.clone(), one.name.clone()))
        .take(COLORS)
        .collect();
    if series.len() > COLORS {
        legend[COLORS - 1].1 = "others".to_owned();
    }
    legend
}

/// Stacked columns with their axes, in the area [x, y, width, height] and a line of labels below.
fn columns(
    drawing: &mut Drawing,
    [x, y, width, height]: [f64; 4],
    ticks: u32,
    names: &[&str],
    series: &[Series],
) {
    let (left, base) = (x + AXIS_WIDTH, y + height);
    let whole: Vec<u64> = (0..names.len())
        .map(|column| series.iter().map(|one| one.bytes[column]).sum())
        .collect();
    let largest = whole.iter().copied().max().unwrap_or(0).max(1);
    for tick in 0..=ticks {
        let fraction = f64::from(tick) / f64::from(ticks);
        let y = base - fraction * height;
        drawing.line([left, y, x + width, y], "grid");
        let bytes = (largest as f64 * fraction) as u64;
        drawing.text(
            left - 8.0,
            y + 4.0,
            Anchor::End,
            "axis",
            &human(bytes, Unit::Bytes),
        );
    }
    let step = ((width - AXIS_WIDTH) / names.len() as f64).min(COLUMN_WIDTH_MAX);
    let mut labelled_until = left;
    for (column, name) in names.iter().enumerate() {
        let column_left = left + column as f64 * step;
        let mut top = base;
        for one in series.iter().filter(|one| one.bytes[column] > 0) {
            let bytes = one.bytes[column];
            let height = bytes as f64 / largest as f64 * height;
            top -= height;
            let share = percent(bytes, whole[column]);
            let tip = format!(
                "{name} · {}: {} ({bytes} bytes), {share} of what is shown",
                one.name,
                human(bytes, Unit::Bytes)
            );
            drawing.bar(
                [column_left + step * 0.1, top, step * 0.8, height],
                &one.color,
                1.0,
                &tip,
            );
        }
        let middle = column_left + step / 2.0;
        let half = name.chars().count().min(LABEL_CHARS) as f64 * CHAR_WIDTH / 2.0;
        if middle - half >= labelled_until || column == 0 {
            drawing.name(middle, base + 16.0, Anchor::Middle, LABEL_CHARS, name);
            labelled_until = middle + half + CHAR_WIDTH;
        }
    }
}
