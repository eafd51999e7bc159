//! What the estimated cycles of each operator kind are spent on: a bar of shares per kind, the most cycles first.

use super::markup::section;
use super::svg::{Anchor, Drawing, WIDTH, color};
use crate::profile::{Measure, Profile, Unit};
use crate::report::{Key, Query, causes, human, percent};

/// Rows of the chart.
const ROWS: usize = 14;
const ROW_HEIGHT: f64 = 26.0;
const NAME_WIDTH: f64 = 170.0;
const COUNT_WIDTH: f64 = 110.0;

pub(super) fn draw(profile: &Profile) -> String {
    let causes = causes(&profile.summary);
    let kinds = Query::by(&[Key::Kind])
        .without_footprints()
        .sorted_by(Measure::ACCESSES)
        .run(profile)
        .expect("the column exists");
    if causes.is_empty() || kinds.total(Measure::EST_CYCLES) == 0 {
        return String::new();
    }
    let mut rows: Vec<_> = kinds.rows.iter().collect();
    rows.sort_by_key(|row| std::cmp::Reverse(kinds.value(row, Measure::EST_CYCLES)));
    rows.truncate(ROWS);
    let top = 34.0;
    let mut drawing = Drawing::new(top + rows.len() as f64 * ROW_HEIGHT + 4.0);
    // A cause without cycles needs no colour.
    let shown: Vec<_> = causes
        .iter()
        .filter(|(_, measure)| kinds.total(*measure) > 0)
        .collect();
    let legend: Vec<(String, String)> = shown
        .iter()
        .enumerate()
        .map(|(series, (name, _))| (color(series), name.replace('_', " ")))
        .collect();
    drawing.legend(NAME_WIDTH, 14.0, &legend);
    let room = WIDTH - NAME_WIDTH - COUNT_WIDTH;
    for (line, row) in rows.into_iter().enumerate() {
        let y = top + line as f64 * ROW_HEIGHT;
        let all = kinds.value(row, Measure::EST_CYCLES);
        drawing.name(NAME_WIDTH - 14.0, y + 16.0, Anchor::End, 24, &row.keys[0]);
        let mut x = NAME_WIDTH;
        for (series, (name, measure)) in shown.iter().enumerate() {
            let cycles = kinds.value(row, *measure);
            let width = cycles as f64 / all.max(1) as f64 * room;
            let share = percent(cycles, all);
            let tip = format!("{} · {name}: {cycles} of {all} cycles, {share}", row.keys[0]);
            drawing.bar([x, y + 3.0, width, ROW_HEIGHT - 6.0], &color(series), 1.0, &tip);
            if width > 44.0 {
                drawing.text(x + 6.0, y + 17.0, Anchor::Start, "inside", &share);
            }
            x += width;
        }
        let cycles = format!("{} cycles", human(all, Unit::Cycles));
        drawing.text(WIDTH, y + 17.0, Anchor::End, "value", &cycles);
    }
    section(
        "Cycles",
        "Estimated core cycles by operator: issuing instructions (base), then waiting for each level and for DRAM. An \
         interval model: see the head of hierarchy/src/interval for what it leaves out.",
        &drawing.finish("What estimated cycles are spent on, by operator kind"),
    )
}
