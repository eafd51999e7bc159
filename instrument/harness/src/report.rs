//! A profile grouped by any combination of its dimensions.
//!
//! Rows of a report add up exactly to the profile's totals, whatever it groups by: traffic outside of operators, layers
//! or named objects has rows of its own. The exception is `footprint_bytes`, which is the size of a union in each row
//! and in the total. Instruction fetches are traffic too: they have rows (access kind `fetch`), they miss and they read
//! DRAM, but they are no data accesses.
//!
//! Of a sampled run, figures are estimates and each has a margin: half the width of its 95% confidence interval.

mod compare;
mod filter;
mod flame;
mod group;
mod interchange;
mod key;
mod locality;
mod overview;
mod query;
mod stalls;
mod table;
mod technologies;
mod units;

pub(crate) use key::phase_name;
pub use key::{Dimension, Key};
pub use locality::{LocalityReport, Shown, TABLES, Table};
pub(crate) use locality::{resolved_bytes, show, sums};
pub use overview::{discarded, overview};
pub use query::{Query, QueryError};
pub use stalls::STALLS;
pub(crate) use stalls::causes;
pub(crate) use table::relative;
pub use table::terminal_columns;
pub(crate) use units::{human, percent};

use crate::profile::Measure;

/// What a report is ordered by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// A column of numbers, largest first.
    Descending(Measure),
    /// The key at this position: phases as they occurred, else by name, numbers in names by value.
    Key(usize),
}

/// A row: one value for each key and each measure.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// Values of the keys.
    pub keys: Vec<String>,
    /// Values of the measures.
    pub values: Vec<u64>,
    /// By measure: half the width of the value's 95% confidence interval; 0 where it was counted, none where that can't
    /// be told.
    pub margins: Vec<Option<f64>>,
}

/// A finished report. [`Report::table`], [`Report::json`] and [`Report::csv`] print it.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// What it is grouped by.
    pub keys: Vec<Key>,
    /// Its columns of numbers.
    pub measures: Vec<Measure>,
    /// Their names.
    pub names: Vec<String>,
    /// What it is ordered by.
    pub order: Order,
    /// Every row, in order.
    pub rows: Vec<Row>,
    /// Sums over all rows, one for each measure; unions where a measure is one.
    pub total: Vec<u64>,
    /// As [`Row::margins`].
    pub total_margins: Vec<Option<f64>>,
    /// Whether only some instances of operators were observed.
    pub is_sampled: bool,
}

impl Report {
    /// A measure of a row; 0 if the profile lacks it.
    #[must_use]
    pub fn value(&self, row: &Row, measure: Measure) -> u64 {
        self.column(measure).map_or(0, |column| row.values[column])
    }

    /// The total of a measure; 0 if the profile lacks it.
    #[must_use]
    pub fn total(&self, measure: Measure) -> u64 {
        self.column(measure).map_or(0, |column| self.total[column])
    }

    /// Position of a measure among the columns.
    #[must_use]
    pub fn column(&self, measure: Measure) -> Option<usize> {
        self.measures.iter().position(|candidate| *candidate == measure)
    }
}
