//! Layers × operator kinds, as a heat map for each boundary.

use super::boundary::Boundary;
use super::grouped;
use super::markup::{section, tabs};
use super::svg::{Anchor, Drawing, WIDTH};
use crate::profile::{Profile, Unit};
use crate::report::{Key, Report, human};

/// Kinds of one map: those that move the most bytes there.
const KINDS: usize = 12;
const ROW_HEIGHT: f64 = 22.0;
const NAME_WIDTH: f64 = 170.0;
const TOTAL_WIDTH: f64 = 90.0;
/// Height of the columns above the map that sum it up.
const SUM_HEIGHT: f64 = 64.0;
const CELL_WIDTH_MAX: f64 = 64.0;

pub(super) fn draw(profile: &Profile) -> String {
    if profile.contexts.iter().all(|context| context.layer.is_empty()) {
        return String::new();
    }
    let layers = grouped(profile, &[Key::Layer]);
    let cells = grouped(profile, &[Key::Layer, Key::Kind]);
    let boundaries = Boundary::of(&profile.summary);
    let panels: Vec<(String, String)> = boundaries
        .iter()
        .map(|boundary| (boundary.name.clone(), map(&layers, &cells, boundary)))
        .collect();
    section(
        "Layers",
        "Bytes of each operator kind in each layer; above, the sum of each layer. Choose the boundary.",
        &tabs("heat", Boundary::main(&boundaries), &panels),
    )
}

fn map(layers: &Report, cells: &Report, boundary: &Boundary) -> String {
    let names: Vec<&str> = layers.rows.iter().map(|row| row.keys[0].as_str()).collect();
    let mut kinds: Vec<(&str, u64)> = Vec::new();
    for row in &cells.rows {
        let bytes = boundary.of_row(cells, row);
        match kinds.iter_mut().find(|(kind, _)| *kind == row.keys[1]) {
            Some((_, sum)) => *sum += bytes,
            None => kinds.push((&row.keys[1], bytes)),
        }
    }
    kinds.sort_by_key(|(_, bytes)| std::cmp::Reverse(*bytes));
    kinds.retain(|(_, bytes)| *bytes > 0);
    let left_out = kinds.len().saturating_sub(KINDS);
    kinds.truncate(KINDS);
    if kinds.is_empty() {
        return "<p class=\"caption\">No bytes cross this boundary.</p>".to_owned();
    }
    let width = ((WIDTH - NAME_WIDTH - TOTAL_WIDTH) / names.len() as f64).min(CELL_WIDTH_MAX);
    let top = SUM_HEIGHT + 6.0;
    let bottom = top + kinds.len() as f64 * ROW_HEIGHT;
    let mut drawing = Drawing::new(bottom + 26.0);
    let largest_sum = layers
        .rows
        .iter()
        .map(|row| boundary.of_row(layers, row))
        .max()
        .unwrap_or(0)
        .max(1);
    drawing.text(
        NAME_WIDTH - 14.0,
        12.0,
        Anchor::End,
        "axis",
        &human(largest_sum, Unit::Bytes),
    );
    drawing.line(
        [
            NAME_WIDTH,
            SUM_HEIGHT,
            NAME_WIDTH + width * names.len() as f64,
            SUM_HEIGHT,
        ],
        "axis-line",
    );
    // Labels stand at every so many layers, far enough apart to be read.
    let longest = names
        .iter()
        .map(|name| name.chars().count())
        .max()
        .unwrap_or(1)
        .min(10) as f64;
    let every = ((longest * 6.6 + 8.0) / width).ceil().max(1.0) as usize;
    for (column, row) in layers.rows.iter().enumerate() {
        let x = NAME_WIDTH + column as f64 * width;
        let bytes = boundary.of_row(layers, row);
        let height = bytes as f64 / largest_sum as f64 * (SUM_HEIGHT - 6.0);
        let tip = format!("{}: {} ({bytes} bytes)", row.keys[0], human(bytes, Unit::Bytes));
        drawing.bar(
            [x + 0.5, SUM_HEIGHT - height, width - 1.0, height],
            "var(--series-0)",
            1.0,
            &tip,
        );
        if column % every == 0 {
            drawing.name(x + width / 2.0, bottom + 16.0, Anchor::Middle, 10, &row.keys[0]);
        }
    }
    let value = |cell: &crate::report::Row| boundary.of_row(cells, cell);
    let shown = |kind: &str| kinds.iter().position(|(name, _)| *name == kind);
    let largest = cells
        .rows
        .iter()
        .filter(|cell| shown(&cell.keys[1]).is_some())
        .map(value)
        .max()
        .unwrap_or(0)
        .max(1);
    for (row, (kind, sum)) in kinds.iter().enumerate() {
        let y = top + row as f64 * ROW_HEIGHT;
        drawing.name(NAME_WIDTH - 14.0, y + 15.0, Anchor::End, 24, kind);
        drawing.text(
            NAME_WIDTH + width * names.len() as f64 + 8.0,
            y + 15.0,
            Anchor::Start,
            "value",
            &human(*sum, Unit::Bytes),
        );
        drawing.bar(
            [NAME_WIDTH, y + 1.0, width * names.len() as f64, ROW_HEIGHT - 2.0],
            "var(--cell)",
            1.0,
            "",
        );
    }
    for cell in &cells.rows {
        let (Some(row), Some(column)) = (
            shown(&cell.keys[1]),
            names.iter().position(|name| *name == cell.keys[0]),
        ) else {
            continue;
        };
        let bytes = value(cell);
        if bytes == 0 {
            continue;
        }
        let tip = format!(
            "{} · {}: {} ({bytes} bytes)",
            cell.keys[0],
            cell.keys[1],
            human(bytes, Unit::Bytes)
        );
        let [x, y] = [NAME_WIDTH + column as f64 * width, top + row as f64 * ROW_HEIGHT];
        // The square root keeps small values visible; the tooltip has the number.
        let opacity = (bytes as f64 / largest as f64).sqrt();
        drawing.bar(
            [x + 0.5, y + 1.0, width - 1.0, ROW_HEIGHT - 2.0],
            "var(--series-0)",
            opacity.max(0.03),
            &tip,
        );
    }
    let mut html = drawing.finish("Bytes by layer and operator kind");
    html += "<p class=\"caption\">Shade: square root of the bytes.";
    if left_out > 0 {
        html += &format!(" {left_out} kinds that move less are left out.");
    }
    html + "</p>"
}
