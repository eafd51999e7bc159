//! Several machines that one run simulated, side by side: one column, once for each of them.

use std::collections::HashMap;

use super::query::main_measure;
use super::{Order, Query, QueryError, Report, Row};
use crate::profile::Profile;

impl Query {
    /// Answers the query for every machine. The column that it sorts by, or else the main one, is shown for each as
    /// `COLUMN@MACHINE`; rows are in the order of the first.
    ///
    /// # Errors
    ///
    /// As [`Query::run`]; and if a machine lacks the column.
    ///
    /// # Panics
    ///
    /// If there is no profile, or they are not of one run.
    pub fn compare(&self, profiles: &[Profile]) -> Result<Report, QueryError> {
        let reports: Vec<Report> = profiles
            .iter()
            .map(|profile| self.run(profile))
            .collect::<Result<_, _>>()?;
        let (first, summary) = (&reports[0], &profiles[0].summary);
        let measure = match first.order {
            Order::Descending(measure) => measure,
            Order::Key(_) => main_measure(summary),
        };
        let name = measure.name(summary);
        let columns: Vec<usize> = reports
            .iter()
            .map(|report| {
                let found = report.names.iter().position(|other| *other == name);
                found.ok_or_else(|| QueryError::Column {
                    name: name.clone(),
                    known: report.names.clone(),
                })
            })
            .collect::<Result<_, _>>()?;
        let by_keys: Vec<HashMap<&[String], &Row>> = reports
            .iter()
            .map(|report| report.rows.iter().map(|row| (row.keys.as_slice(), row)).collect())
            .collect();
        let rows = first.rows.iter().map(|row| {
            let of_machines = by_keys.iter().map(|rows| rows[row.keys.as_slice()]);
            let cells = of_machines.zip(&columns);
            Row {
                keys: row.keys.clone(),
                values: cells.clone().map(|(row, column)| row.values[*column]).collect(),
                margins: cells.map(|(row, column)| row.margins[*column]).collect(),
            }
        });
        let totals = reports.iter().zip(&columns);
        Ok(Report {
            keys: first.keys.clone(),
            measures: vec![measure; reports.len()],
            names: profiles
                .iter()
                .map(|profile| format!("{name}@{}", profile.summary.machine_name()))
                .collect(),
            order: first.order,
            rows: rows.collect(),
            total: totals
                .clone()
                .map(|(report, column)| report.total[*column])
                .collect(),
            total_margins: totals
                .map(|(report, column)| report.total_margins[*column])
                .collect(),
            is_sampled: first.is_sampled,
        })
    }
}
