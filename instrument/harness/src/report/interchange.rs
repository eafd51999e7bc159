//! Reports for programs: JSON and CSV. Exact numbers, every column. Of a sampled run, a column MEASURE_margin for each.

use super::{Report, Row};

impl Report {
    /// An array of flat objects.
    #[must_use]
    pub fn json(&self) -> String {
        let object = |row: &Row| {
            let keys = self
                .keys
                .iter()
                .map(|key| key.name().to_owned())
                .zip(row.keys.iter().cloned());
            let values = self.names.iter().cloned().zip(row.values.iter().copied());
            let cells = keys
                .map(|(name, value)| (name, value.into()))
                .chain(values.map(|(name, value)| (name, value.into())))
                .chain(self.margins(row).map(|(name, margin)| (name, margin.into())));
            serde_json::Value::Object(cells.collect())
        };
        array(self.rows.iter().map(object))
    }

    /// Comma-separated values (RFC 4180), the names in the first record.
    #[must_use]
    pub fn csv(&self) -> String {
        let mut text = String::new();
        let names = self
            .keys
            .iter()
            .map(|key| key.name().to_owned())
            .chain(self.names.iter().cloned())
            .chain(self.margin_names());
        record(&mut text, names);
        for row in &self.rows {
            record(
                &mut text,
                row.keys
                    .iter()
                    .cloned()
                    .chain(row.values.iter().map(u64::to_string))
                    .chain(
                        self.margins(row)
                            .map(|(_, margin)| margin.map_or_else(String::new, |margin| margin.to_string())),
                    ),
            );
        }
        text
    }

    fn margin_names(&self) -> impl Iterator<Item = String> {
        let names = self.names.iter().filter(|_| self.is_sampled);
        names.map(|name| format!("{name}_margin"))
    }

    /// The margins of a row that are not all zero by nature.
    fn margins(&self, row: &Row) -> impl Iterator<Item = (String, Option<f64>)> {
        self.margin_names().zip(row.margins.iter().copied())
    }
}

/// A JSON array, an object to a line.
pub(super) fn array(objects: impl Iterator<Item = serde_json::Value>) -> String {
    let mut text = String::from("[");
    let mut before = "\n";
    for object in objects {
        text += before;
        text += &object.to_string();
        before = ",\n";
    }
    text += if text.len() == 1 { "]\n" } else { "\n]\n" };
    text
}

pub(super) fn record(text: &mut String, cells: impl Iterator<Item = String>) {
    for (index, cell) in cells.enumerate() {
        if index > 0 {
            text.push(',');
        }
        if cell.contains([',', '"', '\n', '\r']) {
            *text += &format!("\"{}\"", cell.replace('"', "\"\""));
        } else {
            *text += &cell;
        }
    }
    *text += "\r\n";
}
