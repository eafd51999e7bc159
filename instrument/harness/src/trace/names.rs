//! The names of a trace's references, beside it: stretches of positions that are of the same operator, object and phase.

use std::path::Path;
use std::sync::Arc;

use crate::failure::{Failure, Kind as FailureKind};
use crate::profile::parquet::{Cell, Field, Kind, write};

/// What a name stands for.
#[derive(Clone, Debug)]
pub(super) struct Described {
    pub(super) thread: u32,
    pub(super) kind: String,
    pub(super) operator: String,
    pub(super) layer: String,
    pub(super) object: String,
    pub(super) class: String,
    pub(super) phase: String,
    pub(super) phase_index: Option<u32>,
}

/// Positions one after the other that have the same name.
#[derive(Clone, Copy, Debug)]
struct Stretch {
    first: u64,
    count: u64,
    name: u32,
}

/// The names by position. Memory grows with how often they change: 24 B each time.
#[derive(Debug, Default)]
pub(super) struct Names {
    stretches: Vec<Stretch>,
    positions: u64,
}

impl Names {
    /// The next `count` positions have this name.
    pub(super) fn extend(&mut self, name: u32, count: u64) {
        if count == 0 {
            return;
        }
        match self.stretches.last_mut().filter(|last| last.name == name) {
            Some(last) => last.count += count,
            None => self.stretches.push(Stretch {
                first: self.positions,
                count,
                name,
            }),
        }
        self.positions += count;
    }

    /// References so far.
    pub(super) fn positions(&self) -> u64 {
        self.positions
    }

    /// Writes the table, in place of an older one.
    pub(super) fn write(&self, path: &Path, described: Vec<Described>) -> Result<(), Failure> {
        let unwritable = |error: &dyn std::fmt::Display| {
            Failure::new(FailureKind::Output, format!("{}: {error}", path.display()))
        };
        let described: Vec<Arc<Described>> = described.into_iter().map(Arc::new).collect();
        let rows: Vec<Row> = self
            .stretches
            .iter()
            .map(|stretch| (*stretch, Arc::clone(&described[stretch.name as usize])))
            .collect();
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(unwritable(&error)),
            _ => {}
        }
        write(path, &columns(), &rows).map_err(|error| unwritable(&error))
    }
}

type Row = (Stretch, Arc<Described>);

/// The table's columns, which are written only.
fn columns() -> Vec<Field<Row>> {
    fn column<T>(get: impl Fn(&Row) -> T + 'static) -> Cell<Row, T> {
        Cell::new(get, |_, _| {})
    }
    let columns = [
        ("first", Kind::U64(column(|row| row.0.first))),
        ("count", Kind::U64(column(|row| row.0.count))),
        ("thread", Kind::U32(column(|row| row.1.thread))),
        ("kind", Kind::Text(column(|row| row.1.kind.clone()))),
        ("operator", Kind::Text(column(|row| row.1.operator.clone()))),
        ("layer", Kind::Text(column(|row| row.1.layer.clone()))),
        ("object", Kind::Text(column(|row| row.1.object.clone()))),
        ("class", Kind::Text(column(|row| row.1.class.clone()))),
        ("phase", Kind::Text(column(|row| row.1.phase.clone()))),
        ("phase_index", Kind::OptionalU32(column(|row| row.1.phase_index))),
    ];
    let field = |(name, kind): (&str, _)| Field {
        name: name.to_owned(),
        kind,
    };
    columns.into_iter().map(field).collect()
}
