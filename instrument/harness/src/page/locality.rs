//! Locality: miss ratio curves, reuse distances, and the tables of the other analyses.

use super::markup::{escape, section, tabs};
use super::svg::{Anchor, Drawing, WIDTH, color, round_up};
use crate::profile::{LocalityCount, LocalitySum, LocalitySummary, Profile, Quantity, Unit};
use crate::report::{Key, Query, TABLES, human, percent, resolved_bytes, show, sums};

const AXIS_WIDTH: f64 = 56.0;
const HEIGHT: f64 = 240.0;
const LEGEND_HEIGHT: f64 = 34.0;
const LABEL_HEIGHT: f64 = 26.0;
/// Curves of a chart: more can't be told apart.
const CURVES: usize = 7;
/// Rows of a table; the command line has all of them.
const ROWS: usize = 30;

pub(super) fn draw(profile: &Profile) -> String {
    let Some(summary) = &profile.summary.locality else {
        return String::new();
    };
    let estimate = if summary.one_in == 1 {
        "Exact.".to_owned()
    } else {
        format!("Estimated from one cache line in {}.", summary.one_in)
    };
    let reuse = |row: &LocalityCount| {
        use Quantity::{FirstUse, LineAccesses, ReuseDistance};
        matches!(row.quantity, Some(FirstUse | LineAccesses | ReuseDistance))
    };
    let mut html = String::new();
    let total = sums(profile, &[], reuse).pop().unwrap_or_default().1;
    if !total.group.reuse.first_uses.is_empty() {
        let chart = |key: Key| {
            let mut groups = sums(profile, &[key], reuse);
            groups.sort_by_key(|(_, sum)| std::cmp::Reverse(sum.group.line_accesses));
            let named = groups.into_iter().map(|(mut keys, sum)| (keys.remove(0), sum));
            let curves: Vec<_> = std::iter::once(("all".to_owned(), total.clone()))
                .chain(named.take(CURVES))
                .collect();
            (key.name().to_owned(), miss_ratio_curves(summary, &curves))
        };
        html += &section(
            "Miss ratio curves",
            &format!(
                "Misses per line access of a fully associative LRU cache, by its size. {estimate} \
                 <code>memloupe report --table mrc</code> has the numbers."
            ),
            &tabs("mrc", 0, &[chart(Key::Kind), chart(Key::Class)]),
        );
        html += &section(
            "Reuse distances",
            &format!(
                "Line accesses by the bytes of other lines used since the line’s last use; heights are logarithmic. {estimate}"
            ),
            &distances(summary, &total),
        );
    }
    let panels: Vec<(String, String)> = TABLES
        .iter()
        .filter(|table| !matches!(table.name, "mrc" | "stride"))
        .filter_map(|table| {
            let key = if table.name == "score" {
                Key::Kind
            } else {
                Key::Class
            };
            let about = escape(table.about);
            let numbers = numbers(profile, table.name, key)?;
            Some((
                table.name.to_owned(),
                format!("<p class=\"caption\">{about}</p>\n{numbers}"),
            ))
        })
        .collect();
    if !panels.is_empty() {
        html += &section(
            "Locality",
            &format!("{estimate} <code>memloupe report --table …</code> groups by other keys."),
            &tabs("locality", 0, &panels),
        );
    }
    html
}

/// A chart of the curves, each with its name.
fn miss_ratio_curves(summary: &LocalitySummary, curves: &[(String, LocalitySum)]) -> String {
    let line = summary.line_bytes;
    let least = resolved_bytes(summary).max(line).next_power_of_two();
    let largest = |sum: &LocalitySum| {
        let bucket = sum.group.reuse.distances.buckets().next_back();
        bucket.map_or(0, |(_, next, _)| next.saturating_mul(line))
    };
    let most = curves.iter().map(|(_, sum)| largest(sum)).max().unwrap_or(0);
    let octaves = f64::from((most.max(least * 2) / least).next_power_of_two().ilog2());
    let points: Vec<Vec<(u64, f64)>> = curves
        .iter()
        .map(|(_, sum)| {
            let misses = |lines| sum.group.reuse.misses(lines) as f64;
            (0..=(octaves * 4.0) as u64)
                .map(|quarter| {
                    // Classes of the histogram begin at these sizes.
                    let bytes = ((least >> 2) * (4 + quarter % 4)) << (quarter / 4);
                    let ratio = misses(bytes / line) / sum.group.line_accesses.max(1) as f64;
                    (bytes, ratio.min(1.0))
                })
                .collect()
        })
        .collect();
    let highest = points
        .iter()
        .flatten()
        .map(|(_, ratio)| *ratio)
        .fold(0.0, f64::max);
    let top = round_up(highest).min(1.0);
    let mut drawing = Drawing::new(LEGEND_HEIGHT + HEIGHT + LABEL_HEIGHT);
    let base = LEGEND_HEIGHT + HEIGHT;
    let x_of = |bytes: u64| {
        AXIS_WIDTH + (bytes as f64 / least as f64).log2() / octaves * (WIDTH - AXIS_WIDTH - 30.0)
    };
    for tick in 0..=4 {
        let ratio = top * f64::from(tick) / 4.0;
        let y = base - f64::from(tick) / 4.0 * HEIGHT;
        drawing.line([AXIS_WIDTH, y, WIDTH, y], "grid");
        drawing.text(
            AXIS_WIDTH - 8.0,
            y + 4.0,
            Anchor::End,
            "axis",
            &format!("{:.3}%", ratio * 100.0)
                .replace("000%", "%")
                .replace(".%", "%"),
        );
    }
    for octave in (0..=octaves as u32).step_by(2) {
        let bytes = least << octave;
        let label = human(bytes, Unit::Bytes);
        drawing.text(x_of(bytes), base + 17.0, Anchor::Middle, "axis", &label);
    }
    let mut legend = Vec::new();
    for (series, ((name, sum), points)) in curves.iter().zip(&points).enumerate() {
        let path: Vec<(f64, f64)> = points
            .iter()
            .map(|(bytes, ratio)| (x_of(*bytes), base - ratio / top * HEIGHT))
            .collect();
        let tip = format!(
            "{name}: {} line accesses",
            human(sum.group.line_accesses, Unit::Count)
        );
        drawing.curve(&path, &color(series), &tip);
        legend.push((color(series), super::markup::shorten(name, 14)));
    }
    drawing.legend(AXIS_WIDTH, 14.0, &legend);
    drawing.finish("Miss ratio by cache size")
}

/// Line accesses by reuse distance, an octave to a bar.
fn distances(summary: &LocalitySummary, total: &LocalitySum) -> String {
    let line = summary.line_bytes;
    let mut bars: Vec<(String, u64)> = Vec::new();
    for (from, _, bucket) in total.group.reuse.distances.buckets() {
        let octave = if from == 0 { 0 } else { 1 << from.ilog2() };
        let name = human(octave * line, Unit::Bytes);
        match bars.last_mut().filter(|(last, _)| *last == name) {
            Some((_, count)) => *count += bucket.count,
            None => bars.push((name, bucket.count)),
        }
    }
    bars.push(("first use".to_owned(), total.group.reuse.first_uses.count()));
    let all: u64 = bars.iter().map(|(_, count)| count).sum();
    let most = bars.iter().map(|(_, count)| *count).max().unwrap_or(0).max(1);
    let width = (WIDTH - AXIS_WIDTH) / bars.len() as f64;
    let mut drawing = Drawing::new(HEIGHT + 16.0 + LABEL_HEIGHT);
    let base = HEIGHT + 16.0;
    drawing.line([AXIS_WIDTH, base, WIDTH, base], "axis-line");
    for (position, (name, count)) in bars.iter().enumerate() {
        let x = AXIS_WIDTH + position as f64 * width;
        // Shares span many orders of magnitude: heights are logarithmic, a decade to a sixth.
        let share = *count as f64 / most as f64;
        let height = HEIGHT * (1.0 + share.log10() / 6.0).clamp(0.0, 1.0);
        let tip = format!("{name}: {count} line accesses, {} of all", percent(*count, all));
        drawing.bar(
            [x + 1.0, base - height, width - 2.0, height],
            &color(0),
            1.0,
            &tip,
        );
        if width > 40.0 || position % 3 == 0 {
            let middle = x + width / 2.0;
            drawing.text(middle, base + 17.0, Anchor::Middle, "axis", name);
            drawing.text(
                middle,
                base - height - 4.0,
                Anchor::Middle,
                "axis",
                &percent(*count, all),
            );
        }
    }
    drawing.finish("Line accesses by reuse distance, on a logarithmic scale")
}

/// A table of the command line's, if it was measured.
fn numbers(profile: &Profile, table: &str, key: Key) -> Option<String> {
    let report = Query::by(&[key]).run_table(profile, table).ok()?;
    let mut html = format!(
        "<div class=\"scroll\"><table>\n<thead><tr><th class=\"key\">{}</th>",
        key.name()
    );
    for (name, _) in report.columns() {
        html += &format!("<th>{}</th>", escape(&name.replace('_', " ")));
    }
    html += "</tr></thead>\n<tbody>\n";
    let cells = |values: &[Option<f64>]| -> String {
        let cells = values.iter().zip(report.columns());
        cells
            .map(|(value, (_, shown))| {
                let number = value.unwrap_or(-1.0);
                format!(
                    "<td data-value=\"{number}\">{}</td>",
                    escape(&show(*value, shown))
                )
            })
            .collect()
    };
    for (keys, values) in report.rows.iter().take(ROWS) {
        html += &format!(
            "<tr><td class=\"key\" title=\"{0}\">{0}</td>{1}</tr>\n",
            escape(&keys[0]),
            cells(values)
        );
    }
    html += &format!(
        "</tbody>\n<tfoot><tr><td class=\"key\">total</td>{}</tr></tfoot>\n</table></div>\n",
        cells(&report.total)
    );
    Some(html)
}
