//! What DRAM requests met in their bank, by class of data object.

use super::markup::section;
use super::svg::{Anchor, Drawing, WIDTH, color};
use crate::profile::{Measure, Profile, Unit};
use crate::report::{Key, Query, human, percent};

const OUTCOMES: [(Measure, &str); 3] = [
    (Measure::ROW_HITS, "row hit (row open)"),
    (Measure::ROW_MISSES, "row miss (bank closed)"),
    (Measure::ROW_CONFLICTS, "row conflict (another row open)"),
];
const ROW_HEIGHT: f64 = 26.0;
const NAME_WIDTH: f64 = 170.0;
const COUNT_WIDTH: f64 = 110.0;

pub(super) fn draw(profile: &Profile) -> String {
    let classes = Query::by(&[Key::Class])
        .sorted_by(Measure::ACCESSES)
        .without_footprints()
        .run(profile)
        .expect("the column exists");
    let requests = |row: &crate::report::Row| {
        OUTCOMES
            .iter()
            .map(|(measure, _)| classes.value(row, *measure))
            .sum::<u64>()
    };
    let mut rows: Vec<_> = classes
        .rows
        .iter()
        .map(|row| (row, requests(row)))
        .filter(|(_, all)| *all > 0)
        .collect();
    if rows.is_empty() {
        return String::new();
    }
    rows.sort_by_key(|(_, all)| std::cmp::Reverse(*all));
    let top = 34.0;
    let mut drawing = Drawing::new(top + rows.len() as f64 * ROW_HEIGHT + 4.0);
    let legend: Vec<(String, String)> = OUTCOMES
        .iter()
        .enumerate()
        .map(|(series, (_, name))| (color(series), (*name).to_owned()))
        .collect();
    drawing.legend(NAME_WIDTH, 14.0, &legend);
    let room = WIDTH - NAME_WIDTH - COUNT_WIDTH;
    for (line, (row, all)) in rows.iter().enumerate() {
        let y = top + line as f64 * ROW_HEIGHT;
        drawing.name(NAME_WIDTH - 14.0, y + 16.0, Anchor::End, 24, &row.keys[0]);
        let mut x = NAME_WIDTH;
        for (series, (measure, name)) in OUTCOMES.iter().enumerate() {
            let count = classes.value(row, *measure);
            let width = count as f64 / *all as f64 * room;
            let share = percent(count, *all);
            let tip = format!("{} · {name}: {count} of {all} requests, {share}", row.keys[0]);
            drawing.bar([x, y + 3.0, width, ROW_HEIGHT - 6.0], &color(series), 1.0, &tip);
            if width > 44.0 {
                drawing.text(x + 6.0, y + 17.0, Anchor::Start, "inside", &share);
            }
            x += width;
        }
        drawing.text(
            WIDTH,
            y + 17.0,
            Anchor::End,
            "value",
            &format!("{} requests", human(*all, Unit::Count)),
        );
    }
    let caption = "What each DRAM request, read or written, met in its bank.";
    section(
        "DRAM rows",
        caption,
        &drawing.finish("DRAM row outcomes by class of data object"),
    )
}
