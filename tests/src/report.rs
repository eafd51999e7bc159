//! Reports as the tests read them: arrays of flat JSON objects.

use std::path::Path;
use std::process::Command;

use serde_json::{Map, Value};

use crate::program::memloupe;

/// `profile.json`.
#[derive(Clone, Debug)]
pub struct Summary(Value);

impl Summary {
    /// Reads a profile's summary.
    #[must_use]
    pub fn read(profile: &Path) -> Self {
        let text = std::fs::read_to_string(profile.join("profile.json")).expect("profile.json");
        Self(serde_json::from_str(&text).expect("JSON"))
    }

    /// A value of the object.
    #[must_use]
    pub fn get(&self, key: &str) -> &Value {
        self.0
            .get(key)
            .unwrap_or_else(|| panic!("profile.json has no {key}"))
    }

    /// A total.
    #[must_use]
    pub fn total(&self, column: &str) -> u64 {
        let value = &self.get("totals")[column];
        value
            .as_u64()
            .unwrap_or_else(|| panic!("totals.{column} is {value}"))
    }
}

/// Rows of a report.
#[derive(Clone, Debug)]
pub struct Rows(Vec<Map<String, Value>>);

impl Rows {
    /// `memloupe report PROFILE --by KEYS --format json`.
    #[must_use]
    pub fn read(profile: &Path, by: &str) -> Self {
        let output = Command::new(memloupe())
            .arg("report")
            .arg(profile)
            .args(["--by", by, "--format", "json"])
            .output()
            .expect("memloupe report");
        assert!(
            output.status.success(),
            "report --by {by}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        Self(serde_json::from_slice(&output.stdout).expect("JSON"))
    }

    /// The rows for which every key has this value.
    #[must_use]
    pub fn matching(&self, keys: &[(&str, &str)]) -> Self {
        Self(
            self.0
                .iter()
                .filter(|row| keys.iter().all(|(key, value)| text(row, key) == *value))
                .cloned()
                .collect(),
        )
    }

    /// The rows whose key passes a test.
    #[must_use]
    pub fn filtered(&self, key: &str, test: impl Fn(&str) -> bool) -> Self {
        Self(
            self.0
                .iter()
                .filter(|row| test(&text(row, key)))
                .cloned()
                .collect(),
        )
    }

    /// Sum of a column.
    #[must_use]
    pub fn sum(&self, column: &str) -> u64 {
        self.column(column).iter().sum()
    }

    /// A column's values.
    #[must_use]
    pub fn column(&self, column: &str) -> Vec<u64> {
        self.0
            .iter()
            .map(|row| {
                row.get(column)
                    .and_then(Value::as_u64)
                    .unwrap_or_else(|| panic!("no {column} in {row:?}"))
            })
            .collect()
    }

    /// A key's values.
    #[must_use]
    pub fn keys(&self, key: &str) -> Vec<String> {
        self.0.iter().map(|row| text(row, key)).collect()
    }

    /// Number of rows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

fn text(row: &Map<String, Value>, key: &str) -> String {
    match row.get(key) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Null) => String::new(),
        Some(value) => value.to_string(),
        None => panic!("no {key} in {row:?}"),
    }
}
