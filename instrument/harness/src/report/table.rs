//! Reports for people: an aligned table that fits the terminal.

use std::fmt::Write;

use super::query::main_measure;
use super::{Key, Order, Report, human, percent};
use crate::profile::{Measure, Summary};

/// Columns where there is no terminal to fit.
const DEFAULT_COLUMNS: usize = 120;
/// Narrowest useful column of keys.
const KEY_COLUMNS_MIN: usize = 12;
/// Widest column of keys where there is room.
const KEY_COLUMNS_MAX: usize = 60;
/// Columns of numbers that matter more than whole names.
const ESSENTIAL: usize = 8;
const GAP: &str = "  ";

/// Width of the terminal on standard output, or a width that suits files.
#[must_use]
pub fn terminal_columns() -> usize {
    let size = rustix::termios::tcgetwinsize(std::io::stdout()).ok();
    size.map(|size| usize::from(size.ws_col))
        .filter(|columns| *columns >= 40)
        .unwrap_or(DEFAULT_COLUMNS)
}

/// A column as text, and how it is aligned.
pub(super) struct Column {
    pub(super) head: [String; 2],
    pub(super) cells: Vec<String>,
    pub(super) right: bool,
}

impl Column {
    fn width(&self) -> usize {
        self.head
            .iter()
            .chain(&self.cells)
            .map(|cell| cell.chars().count())
            .max()
            .unwrap_or(0)
    }
}

impl Report {
    /// The first `limit` rows, the total, and what the reader must know about the numbers. It is `columns` wide at most,
    /// as long as the keys and the sorted column fit.
    #[must_use]
    pub fn table(&self, summary: &Summary, limit: usize, columns: usize) -> String {
        let shown = limit.min(self.rows.len());
        let hidden = self.rows.len() - shown;
        let main = match self.order {
            Order::Descending(measure) => measure,
            Order::Key(_) => main_measure(summary),
        };
        let numbers = self.number_columns(summary, main, shown, hidden > 0);
        let mut keys: Vec<Column> = (0..self.keys.len())
            .map(|key| self.key_column(key, shown, hidden, KEY_COLUMNS_MAX))
            .collect();
        // The keys yield until the most important numbers fit, but not below a share of the width of their own; then
        // numbers are left out, the least important first.
        let width = |columns: &[Column]| {
            columns
                .iter()
                .map(|column| column.width() + GAP.len())
                .sum::<usize>()
        };
        let essential: usize = numbers
            .iter()
            .filter(|(rank, _)| *rank < ESSENTIAL)
            .map(|(_, column)| column.width() + GAP.len())
            .sum();
        if width(&keys) + essential > columns {
            let least = (columns / 3 / keys.len().max(1)).clamp(KEY_COLUMNS_MIN, KEY_COLUMNS_MAX);
            let room = columns.saturating_sub(essential) / keys.len().max(1);
            let widest = room.saturating_sub(GAP.len()).max(least);
            keys = (0..self.keys.len())
                .map(|key| self.key_column(key, shown, hidden, widest))
                .collect();
        }
        let mut ranks: Vec<(usize, usize)> = numbers
            .iter()
            .enumerate()
            .map(|(index, (rank, _))| (*rank, index))
            .collect();
        ranks.sort_unstable();
        let mut used = width(&keys);
        let mut fits = vec![false; numbers.len()];
        for (rank, index) in ranks {
            used += numbers[index].1.width() + GAP.len();
            // The sorted column and its share always; nothing after the first that does not fit.
            if rank >= 2 && used > columns + GAP.len() {
                break;
            }
            fits[index] = true;
        }
        let numbers = numbers
            .into_iter()
            .zip(fits)
            .filter(|(_, fits)| *fits)
            .map(|((_, column), _)| column);
        let columns: Vec<Column> = keys.into_iter().chain(numbers).collect();

        let mut text = String::new();
        print(&mut text, &columns, shown);
        for caveat in summary.caveats() {
            let _ = writeln!(text, "! {}", printable(&caveat));
        }
        text
    }

    fn key_column(&self, key: usize, shown: usize, hidden: usize, widest: usize) -> Column {
        let mut cells: Vec<String> = self.rows[..shown]
            .iter()
            .map(|row| shorten(&row.keys[key], widest, self.keys[key]))
            .collect();
        if hidden > 0 {
            cells.push(if key == 0 {
                format!("… {hidden} more")
            } else {
                String::new()
            });
        }
        cells.push(if key == 0 {
            "total".to_owned()
        } else {
            String::new()
        });
        Column {
            head: [String::new(), self.keys[key].name().to_owned()],
            cells,
            right: false,
        }
    }

    /// The columns of numbers worth showing, in the order of tables, each with the rank of its importance.
    fn number_columns(
        &self,
        summary: &Summary,
        main: Measure,
        shown: usize,
        some_hidden: bool,
    ) -> Vec<(usize, Column)> {
        let importance = importance(summary);
        let mut columns = Vec::new();
        for (index, measure) in self.measures.iter().enumerate() {
            let rank = importance.iter().position(|candidate| candidate == measure);
            let is_main = *measure == main;
            // What is zero throughout tells nothing.
            if !is_main && (rank.is_none() || self.total[index] == 0) {
                continue;
            }
            // A union is no sum: what the hidden rows touch in common is not known from their sizes.
            let rest = self.rows[shown..].iter().map(|row| row.values[index]).sum();
            let rest = (*measure != Measure::Footprint).then_some(rest);
            let column = |print: &dyn Fn(u64) -> String, head: [String; 2]| {
                let mut cells: Vec<String> = self.rows[..shown]
                    .iter()
                    .map(|row| print(row.values[index]))
                    .collect();
                if some_hidden {
                    cells.push(rest.map_or("·".to_owned(), print));
                }
                cells.push(print(self.total[index]));
                Column {
                    head,
                    cells,
                    right: true,
                }
            };
            let name = &self.names[index];
            let head = match name.rsplit_once('_') {
                Some((first, last)) => [format!("{first}_"), last.to_owned()],
                None => [String::new(), name.clone()],
            };
            let rank = if is_main { 0 } else { rank.unwrap_or(0) + 2 };
            columns.push((rank, column(&|value| human(value, measure.unit()), head)));
            if is_main {
                let head = [String::new(), "share".to_owned()];
                columns.push((1, column(&|value| percent(value, self.total[index]), head)));
                if self.is_sampled {
                    columns.push((1, self.margin_column(index, shown, some_hidden)));
                }
            }
        }
        columns
    }
}

impl Report {
    /// Margins of a measure, relative to its value.
    fn margin_column(&self, index: usize, shown: usize, some_hidden: bool) -> Column {
        let mut cells: Vec<String> = self.rows[..shown]
            .iter()
            .map(|row| relative(row.margins[index], row.values[index]))
            .collect();
        if some_hidden {
            cells.push("·".to_owned());
        }
        cells.push(relative(self.total_margins[index], self.total[index]));
        Column {
            head: [String::new(), "±95%".to_owned()],
            cells,
            right: true,
        }
    }
}

/// A margin in percent of what it is the margin of; `±?` if it is not known, nothing if the value was counted.
pub(crate) fn relative(margin: Option<f64>, value: u64) -> String {
    match margin {
        None => "±?".to_owned(),
        Some(0.0) => String::new(),
        Some(margin) => format!("±{:.1}%", 100.0 * margin / value.max(1) as f64),
    }
}

/// Columns by how much they tell; what is not here is in the formats for programs.
fn importance(summary: &Summary) -> Vec<Measure> {
    let named = |name: &str| {
        summary
            .measures()
            .into_iter()
            .find(|measure| measure.name(summary) == name)
    };
    let levels = summary.levels.len();
    let last = levels.checked_sub(1).map(Measure::Misses);
    [
        named("accesses"),
        Some(Measure::DRAM_READ),
        Some(Measure::DRAM_WRITE),
        Some(Measure::Footprint),
        last,
        Some(Measure::Calls),
    ]
    .into_iter()
    .chain((0..levels).map(|level| Some(Measure::Misses(level))))
    .chain(
        [
            "instructions",
            "row_hits",
            "row_conflicts",
            "est_cycles",
            "energy_nj",
            "flops",
            "loads",
            "stores",
        ]
        .map(named),
    )
    .flatten()
    .collect()
}

/// Text from the target, with what would move the cursor replaced.
pub(super) fn printable(text: &str) -> String {
    text.replace(char::is_control, "\u{fffd}")
}

pub(super) fn shorten(name: &str, widest: usize, key: Key) -> String {
    let clean: Vec<char> = printable(name).chars().collect();
    if clean.len() <= widest {
        return clean.into_iter().collect();
    }
    let kept = widest - 1;
    if key.keeps_end() {
        std::iter::once('…')
            .chain(clean[clean.len() - kept..].iter().copied())
            .collect()
    } else {
        clean[..kept].iter().copied().chain(['…']).collect()
    }
}

pub(super) fn print(text: &mut String, columns: &[Column], shown: usize) {
    let widths: Vec<usize> = columns.iter().map(Column::width).collect();
    let mut line = |cell: &dyn Fn(&Column) -> String| {
        let aligned: Vec<String> = columns
            .iter()
            .zip(&widths)
            .map(|(column, &width)| match (cell(column), column.right) {
                (cell, true) => format!("{cell:>width$}"),
                (cell, false) => format!("{cell:<width$}"),
            })
            .collect();
        text.push_str(aligned.join(GAP).trim_end());
        text.push('\n');
    };
    line(&|column| column.head[0].clone());
    line(&|column| column.head[1].clone());
    let rows = columns.first().map_or(0, |column| column.cells.len());
    for row in 0..rows {
        if row == 0 || row == shown {
            line(&|column| "─".repeat(column.width()));
        }
        line(&|column| column.cells[row].clone());
    }
}
