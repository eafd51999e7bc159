//! Flame graphs: a report's keys, one above the other, as wide as a measure. Paths of calls are as many frames as they
//! have calls.

use super::{Key, Order, Report, Row};
use crate::profile::Measure;

impl Report {
    /// Folded stacks, a line each: frames from the bottom, separated by semicolons, and the measure. What every flame
    /// graph program reads.
    #[must_use]
    pub fn folded(&self) -> String {
        let measure = self.width();
        let line = |row: &Row| {
            let width = self.value(row, measure);
            (width > 0).then(|| format!("{} {width}\n", self.frames(row)))
        };
        self.rows.iter().filter_map(line).collect()
    }

    /// A flame graph: one self-contained, interactive SVG file.
    ///
    /// # Errors
    /// If nothing is to be drawn: no row has any of the measure.
    pub fn flame_graph(&self, title: &str) -> Result<String, String> {
        let measure = self.width();
        let unit = self.column(measure).map_or("", |column| &self.names[column]);
        let folded = self.folded();
        if folded.is_empty() {
            return Err(format!(
                "a flame graph needs rows with some {unit}: there are none"
            ));
        }
        let mut options = inferno::flamegraph::Options::default();
        options.title = title.to_owned();
        options.subtitle = Some(format!(
            "width: {unit}{}",
            if self.is_sampled {
                ", estimated from a sample"
            } else {
                ""
            }
        ));
        options.count_name = unit.to_owned();
        options.deterministic = true;
        let mut svg = Vec::new();
        inferno::flamegraph::from_lines(&mut options, folded.lines(), &mut svg)
            .map_err(|error| format!("cannot draw the flame graph: {error}"))?;
        String::from_utf8(svg).map_err(|error| format!("cannot draw the flame graph: {error}"))
    }

    /// What it is sorted by; bytes read from DRAM, or accesses where there are none, if that is a key.
    fn width(&self) -> Measure {
        match self.order {
            Order::Descending(measure) => measure,
            Order::Key(_) if self.total(Measure::DRAM_READ) > 0 => Measure::DRAM_READ,
            Order::Key(_) => Measure::ACCESSES,
        }
    }

    fn frames(&self, row: &Row) -> String {
        let frames: Vec<String> = (self.keys.iter().zip(&row.keys))
            .map(|(key, value)| match key {
                Key::CallPath => value.clone(),
                _ => value.replace(';', ":"),
            })
            .collect();
        frames.join(";")
    }
}
