//! `report --table`: what the locality analyses found, by the same keys as everything else.
//!
//! A table is a list of columns, each a function of the summed counts of a group; groups add up, so a total is the same
//! functions of all counts.

use std::collections::HashMap;
use std::fmt::Write;

use memloupe_cachesim::locality::{Histogram, STRIDE_BOUNDS};

use super::filter::Filter;
use super::table::{Column as TextColumn, print, printable, shorten};
use super::technologies::{self, TECHNOLOGIES};
use super::{Dimension, Key, QueryError, human};
use crate::profile::{LocalityCount, LocalitySum, LocalitySummary, Profile, Quantity, Summary, Unit};

/// How a number is shown to people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shown {
    /// As a count.
    Count,
    /// As bytes.
    Bytes,
    /// As a share of one.
    Share,
    /// With two decimals.
    Plain,
    /// As a time in seconds.
    Seconds,
}

/// Units of time: the largest that a time has one of is shown.
const TIMES: [(&str, f64); 8] = [
    ("y", 365.25 * 86400.0),
    ("d", 86400.0),
    ("h", 3600.0),
    ("min", 60.0),
    ("s", 1.0),
    ("ms", 1e-3),
    ("µs", 1e-6),
    ("ns", 1e-9),
];

pub(super) fn show_seconds(seconds: f64) -> String {
    let (unit, length) = { TIMES.into_iter() }
        .find(|(_, length)| seconds >= *length)
        .unwrap_or(TIMES[TIMES.len() - 1]);
    match seconds / length {
        years if years >= 1e6 => ">1M y".to_owned(),
        many if many >= 100.0 => format!("{many:.0} {unit}"),
        few => format!("{few:.1} {unit}"),
    }
}

type Value = Box<dyn Fn(&LocalitySum) -> Option<f64>>;

/// A column of a table.
pub(super) struct Column {
    pub(super) name: String,
    shown: Shown,
    /// Not only for programs.
    pub(super) essential: bool,
    pub(super) value: Value,
}

pub(super) fn column(
    name: impl Into<String>,
    shown: Shown,
    value: impl Fn(&LocalitySum) -> Option<f64> + 'static,
) -> Column {
    Column {
        name: name.into(),
        shown,
        essential: true,
        value: Box::new(value),
    }
}

fn count(name: &str, value: impl Fn(&LocalitySum) -> u64 + 'static) -> Column {
    column(name, Shown::Count, move |sum| Some(value(sum) as f64))
}

/// A table there is.
pub struct Table {
    /// Its word.
    pub name: &'static str,
    /// What it shows.
    pub about: &'static str,
    /// The analysis that measures it.
    pub analysis: &'static str,
    dimensions: &'static [Dimension],
    quantities: fn(Quantity) -> bool,
    columns: fn(&LocalitySummary, &LocalitySum, &Summary) -> Vec<Column>,
}

const LINES: &[Dimension] = &[Dimension::Context, Dimension::Object];

/// Every table.
pub static TABLES: [Table; 9] = [
    Table {
        name: "reuse",
        about: "reuse distances (in bytes of lines) and times (in accesses) at quantiles",
        analysis: "reuse",
        dimensions: LINES,
        quantities: |quantity| {
            use Quantity::{FirstUse, LastUse, LineAccesses, ReuseDistance, ReuseTime};
            matches!(
                quantity,
                FirstUse | LastUse | LineAccesses | ReuseDistance | ReuseTime
            )
        },
        columns: reuse,
    },
    Table {
        name: "mrc",
        about: "miss ratio by size of a fully associative LRU cache",
        analysis: "reuse",
        dimensions: LINES,
        quantities: |quantity| {
            use Quantity::{FirstUse, LineAccesses, ReuseDistance};
            matches!(quantity, FirstUse | LineAccesses | ReuseDistance)
        },
        columns: miss_ratios,
    },
    Table {
        name: "footprint",
        about: "average bytes of lines used in a window of so many accesses",
        analysis: "reuse",
        dimensions: LINES,
        quantities: |quantity| {
            use Quantity::{FirstUse, LastUse, LineAccesses, ReuseTime};
            matches!(quantity, FirstUse | LastUse | LineAccesses | ReuseTime)
        },
        columns: footprints,
    },
    Table {
        name: "line-use",
        about: "share used of each line fetched, by size of the cache",
        analysis: "line-use",
        dimensions: LINES,
        quantities: |quantity| matches!(quantity, Quantity::LineUse(_)),
        columns: line_use,
    },
    Table {
        name: "lifetime",
        about: "how long written data is read (in accesses), and how often lines are written",
        analysis: "lifetime",
        dimensions: LINES,
        quantities: |quantity| {
            use Quantity::{Dead, Lifetime, LineWrites, Unread};
            matches!(quantity, Lifetime | Dead | Unread | LineWrites)
        },
        columns: lifetimes,
    },
    Table {
        name: TECHNOLOGIES,
        about: "lifetimes of written data and writes of lines against retention and endurance of memory technologies",
        analysis: "lifetime",
        dimensions: LINES,
        quantities: |quantity| matches!(quantity, Quantity::Lifetime | Quantity::LineWrites),
        columns: technologies::columns,
    },
    Table {
        name: "sharing",
        about: "bytes of lines by the threads that use them",
        analysis: "sharing",
        dimensions: LINES,
        quantities: |quantity| {
            use Quantity::{ManyWriters, OneWriter, Private, ReadShared};
            matches!(quantity, Private | ReadShared | OneWriter | ManyWriters)
        },
        columns: sharing,
    },
    Table {
        name: "stride",
        about: "share of a static operand's accesses by distance from its previous one",
        analysis: "stride",
        dimensions: &[Dimension::Context, Dimension::Site, Dimension::Object],
        quantities: |quantity| quantity == Quantity::Stride,
        columns: strides,
    },
    Table {
        name: "score",
        about: "DAMOV's spatial and temporal locality scores, 0 to 1",
        analysis: "score",
        dimensions: &[Dimension::Context],
        quantities: |quantity| matches!(quantity, Quantity::ScoreWindows | Quantity::ScoreReused),
        columns: scores,
    },
];

/// Sizes and windows from `least` to the first that is at least `most`, each `1 << step` times the one before.
fn scale(least: u64, most: u64, step: u32) -> impl Iterator<Item = u64> {
    let mut next = Some(least.next_power_of_two());
    std::iter::from_fn(move || {
        let this = next?;
        next = this.checked_mul(1 << step).filter(|_| this < most);
        Some(this)
    })
}

fn ratio(part: f64, whole: f64) -> Option<f64> {
    (whole > 0.0).then(|| part / whole)
}

fn quantile(
    name: &str,
    shown: Shown,
    fraction: f64,
    unit: u64,
    histogram: impl Fn(&LocalitySum) -> &Histogram + 'static,
) -> Column {
    let name = format!("{name}_p{}", (fraction * 100.0).round());
    column(name, shown, move |sum| {
        histogram(sum)
            .quantile(fraction)
            .map(|value| (value * unit) as f64)
    })
}

fn reuse(summary: &LocalitySummary, _: &LocalitySum, _: &Summary) -> Vec<Column> {
    let line = summary.line_bytes;
    let mut columns = vec![
        count("line_accesses", |sum| sum.group.line_accesses),
        column("first_use_bytes", Shown::Bytes, move |sum| {
            Some((sum.group.reuse.first_uses.count() * line) as f64)
        }),
    ];
    for fraction in [0.5, 0.75, 0.9, 0.99] {
        columns.push(quantile("distance_bytes", Shown::Bytes, fraction, line, |sum| {
            &sum.group.reuse.distances
        }));
    }
    for fraction in [0.5, 0.9, 0.99] {
        columns.push(quantile("time", Shown::Count, fraction, 1, |sum| {
            &sum.group.reuse.times
        }));
    }
    columns
}

/// The smallest cache whose misses a sample resolves: a few followed lines.
pub(crate) fn resolved_bytes(summary: &LocalitySummary) -> u64 {
    if summary.one_in == 1 {
        summary.line_bytes
    } else {
        4 * summary.one_in * summary.line_bytes
    }
}

fn miss_ratios(summary: &LocalitySummary, total: &LocalitySum, _: &Summary) -> Vec<Column> {
    let line = summary.line_bytes;
    let largest = total.group.reuse.distances.buckets().next_back();
    let most = largest.map_or(0, |(_, next, _)| next.saturating_mul(line));
    let sizes = scale(resolved_bytes(summary).max(4 << 10), most, 1);
    let ratios = sizes.enumerate().map(|(position, bytes)| Column {
        essential: position % 2 == 0,
        ..column(
            format!("miss_ratio_{}", human(bytes, Unit::Bytes).replace(' ', "")),
            Shown::Share,
            move |sum| {
                let misses = sum.group.reuse.misses(bytes / line) as f64;
                ratio(misses, sum.group.line_accesses as f64).map(|ratio| ratio.min(1.0))
            },
        )
    });
    std::iter::once(count("line_accesses", |sum| sum.group.line_accesses))
        .chain(ratios)
        .collect()
}

/// Windows end well before the stream: what its end cuts off can hardly be told apart by group.
fn footprints(summary: &LocalitySummary, _: &LocalitySum, _: &Summary) -> Vec<Column> {
    let (line, accesses) = (summary.line_bytes as f64, summary.accesses);
    let windows = scale(1 << 10, accesses / 16, 1).filter(|window| *window <= accesses / 8);
    let footprints = windows.enumerate().map(|(position, window)| Column {
        essential: position % 2 == 0,
        ..column(
            format!("footprint_{window}"),
            Shown::Bytes,
            move |sum: &LocalitySum| Some(sum.group.reuse.footprint(window, accesses).max(0.0) * line),
        )
    });
    std::iter::once(count("line_accesses", |sum| sum.group.line_accesses))
        .chain(footprints)
        .collect()
}

fn used(sum: &LocalitySum, cache: usize) -> Option<&Histogram> {
    sum.group.used_bytes.get(cache)
}

fn line_use(summary: &LocalitySummary, _: &LocalitySum, _: &Summary) -> Vec<Column> {
    let line = summary.line_bytes;
    let mut columns = Vec::new();
    for (cache, capacity) in summary.capacities_bytes.iter().enumerate() {
        let size = human(*capacity, Unit::Bytes).replace(' ', "");
        columns.push(column(
            format!("fetched_bytes_{size}"),
            Shown::Bytes,
            move |sum| Some((used(sum, cache)?.count() * line) as f64),
        ));
        columns.push(column(format!("used_{size}"), Shown::Share, move |sum| {
            let used = used(sum, cache)?;
            ratio(used.sum(), (used.count() * line) as f64)
        }));
    }
    columns
}

fn lifetimes(_: &LocalitySummary, _: &LocalitySum, _: &Summary) -> Vec<Column> {
    let lifetime = |fraction| {
        quantile("lifetime", Shown::Count, fraction, 1, |sum| {
            &sum.group.lifetimes.read
        })
    };
    vec![
        count("generations", |sum| {
            let lifetimes = &sum.group.lifetimes;
            lifetimes.read.count() + lifetimes.dead + lifetimes.unread
        }),
        lifetime(0.5),
        lifetime(0.9),
        lifetime(0.99),
        lifetime(1.0),
        count("dead", |sum| sum.group.lifetimes.dead),
        count("unread_at_end", |sum| sum.group.lifetimes.unread),
        count("lines_written", |sum| sum.group.lifetimes.writes.count()),
        column("writes_per_line", Shown::Plain, |sum| {
            let writes = &sum.group.lifetimes.writes;
            ratio(writes.sum(), writes.count() as f64)
        }),
        quantile("writes_per_line", Shown::Count, 1.0, 1, |sum| {
            &sum.group.lifetimes.writes
        }),
    ]
}

fn sharing(summary: &LocalitySummary, _: &LocalitySum, _: &Summary) -> Vec<Column> {
    let line = summary.line_bytes;
    let bytes = move |name: &str, lines: fn(&LocalitySum) -> u64| {
        column(name, Shown::Bytes, move |sum| Some((lines(sum) * line) as f64))
    };
    vec![
        bytes("bytes", |sum| {
            let sharing = &sum.group.sharing;
            sharing.private + sharing.read_shared + sharing.one_writer + sharing.many_writers
        }),
        bytes("private_bytes", |sum| sum.group.sharing.private),
        bytes("read_shared_bytes", |sum| sum.group.sharing.read_shared),
        bytes("one_writer_bytes", |sum| sum.group.sharing.one_writer),
        bytes("many_writers_bytes", |sum| sum.group.sharing.many_writers),
    ]
}

fn strides(_: &LocalitySummary, _: &LocalitySum, _: &Summary) -> Vec<Column> {
    let all = |sum: &LocalitySum| sum.strides.0.iter().sum::<u64>();
    let names = STRIDE_BOUNDS
        .iter()
        .map(|bound| format!("stride_{bound}"))
        .chain(["stride_far".to_owned()]);
    let shares = names.enumerate().map(|(class, name)| {
        column(name, Shown::Share, move |sum| {
            ratio(sum.strides.0[class] as f64, all(sum) as f64)
        })
    });
    std::iter::once(count("strides", all)).chain(shares).collect()
}

fn scores(_: &LocalitySummary, _: &LocalitySum, _: &Summary) -> Vec<Column> {
    vec![
        count("windows", |sum| sum.scores.windows),
        column("spatial", Shown::Plain, |sum| sum.scores.spatial()),
        column("temporal", Shown::Plain, |sum| sum.scores.temporal()),
    ]
}

/// A finished table.
#[derive(Clone, Debug, PartialEq)]
pub struct LocalityReport {
    keys: Vec<Key>,
    columns: Vec<(String, Shown, bool)>,
    /// Values of the keys, then of the columns; none where there is nothing to tell.
    pub rows: Vec<(Vec<String>, Vec<Option<f64>>)>,
    /// The columns over all rows.
    pub total: Vec<Option<f64>>,
    notes: Vec<String>,
}

/// The counts of a profile summed by keys, in the order of their first rows.
pub(crate) fn sums(
    profile: &Profile,
    by: &[Key],
    wanted: impl Fn(&LocalityCount) -> bool,
) -> Vec<(Vec<String>, LocalitySum)> {
    let values: Vec<(Dimension, Vec<String>)> = by
        .iter()
        .map(|key| (key.dimension(), key.values(profile)))
        .collect();
    let mut groups: Vec<(Vec<String>, LocalitySum)> = Vec::new();
    let mut index: HashMap<Vec<String>, usize> = HashMap::new();
    let mut last: Option<([Option<u32>; 3], usize)> = None;
    for row in profile.locality.iter().filter(|row| wanted(row)) {
        let ids = [Some(row.context), row.site, row.object];
        let group = match last {
            Some((same, group)) if same == ids => group,
            _ => {
                let keys: Vec<String> = values
                    .iter()
                    .map(|(dimension, values)| {
                        dimension_id(row, *dimension)
                            .and_then(|id| values.get(id as usize))
                            .cloned()
                            .unwrap_or_default()
                    })
                    .collect();
                let next = groups.len();
                let group = *index.entry(keys).or_insert_with_key(|keys| {
                    groups.push((keys.clone(), LocalitySum::default()));
                    next
                });
                last = Some((ids, group));
                group
            }
        };
        groups[group].1.add(row);
    }
    groups
}

fn dimension_id(row: &LocalityCount, dimension: Dimension) -> Option<u32> {
    match dimension {
        Dimension::Context => Some(row.context),
        Dimension::Site => row.site,
        Dimension::Object => row.object,
    }
}

/// A table of a profile.
pub(super) fn report(
    profile: &Profile,
    name: &str,
    by: &[Key],
    filters: &[Filter],
    sort: Option<&str>,
) -> Result<LocalityReport, QueryError> {
    let table = TABLES
        .iter()
        .find(|table| table.name == name)
        .ok_or_else(|| QueryError::Table(name.to_owned()))?;
    let summary = (profile.summary.locality.as_ref())
        .filter(|summary| {
            let measured = |name: &str| summary.analyses.iter().any(|analysis| analysis == name);
            // Line use rests on reuse, which is measured with it.
            measured(table.analysis) || (table.analysis == "reuse" && measured("line-use"))
        })
        .ok_or(QueryError::NotMeasured {
            table: table.name,
            analysis: table.analysis,
        })?;
    let keys = by.iter().chain(filters.iter().map(|filter| &filter.key));
    if let Some(key) = keys
        .clone()
        .find(|key| !table.dimensions.contains(&key.dimension()))
    {
        let able = Key::ALL
            .iter()
            .filter(|(key, _, _)| table.dimensions.contains(&key.dimension()));
        return Err(QueryError::TableKey {
            table: table.name,
            key: key.name(),
            known: able.map(|(_, name, _)| *name).collect(),
        });
    }
    let passes: Vec<(Dimension, Vec<bool>)> = filters
        .iter()
        .map(|filter| {
            let values = filter.key.values(profile);
            let pass = values.iter().map(|value| filter.matches(value)).collect();
            (filter.key.dimension(), pass)
        })
        .collect();
    let wanted = |row: &LocalityCount| {
        row.quantity.is_some_and(table.quantities)
            && passes
                .iter()
                .all(|(dimension, pass)| dimension_id(row, *dimension).is_some_and(|id| pass[id as usize]))
    };
    let total = sums(profile, &[], wanted).pop().unwrap_or_default().1;
    let columns = (table.columns)(summary, &total, &profile.summary);
    let position = match sort {
        None => 0,
        Some(name) => columns
            .iter()
            .position(|column| column.name == name)
            .ok_or_else(|| QueryError::Column {
                name: name.to_owned(),
                known: columns.iter().map(|column| column.name.clone()).collect(),
            })?,
    };
    let values = |sum: &LocalitySum| -> Vec<Option<f64>> {
        columns.iter().map(|column| (column.value)(sum)).collect()
    };
    let mut rows: Vec<(Vec<String>, Vec<Option<f64>>)> = sums(profile, by, wanted)
        .iter()
        .map(|(keys, sum)| (keys.clone(), values(sum)))
        .collect();
    rows.sort_by(|(a_keys, a), (b_keys, b)| {
        let value = |values: &[Option<f64>]| values[position].unwrap_or(f64::NEG_INFINITY);
        value(b).total_cmp(&value(a)).then_with(|| a_keys.cmp(b_keys))
    });
    let mut notes = Vec::new();
    if summary.one_in > 1 && table.dimensions == LINES {
        notes.push(format!(
            "estimated from one line in {} ({} lines followed): reuse distances below {} are not resolved",
            summary.one_in,
            summary.lines_followed,
            human(resolved_bytes(summary), Unit::Bytes)
        ));
    }
    if table.name == TECHNOLOGIES {
        notes.extend(technologies::notes());
    }
    Ok(LocalityReport {
        keys: by.to_vec(),
        total: values(&total),
        columns: columns
            .into_iter()
            .map(|column| (column.name, column.shown, column.essential))
            .collect(),
        rows,
        notes,
    })
}

/// A number for programs: counts and bytes are whole.
fn exact(value: Option<f64>, shown: Shown) -> serde_json::Value {
    match (value, shown) {
        (Some(value), Shown::Count | Shown::Bytes) => (value.round() as u64).into(),
        (value, _) => value.into(),
    }
}

/// A number for people.
pub(crate) fn show(value: Option<f64>, shown: Shown) -> String {
    match (value, shown) {
        (None, _) => "–".to_owned(),
        (Some(value), Shown::Count) => human(value.round() as u64, Unit::Count),
        (Some(value), Shown::Bytes) => human(value.round() as u64, Unit::Bytes),
        (Some(value), Shown::Share) if value > 0.0 && value < 0.0005 => "<0.1%".to_owned(),
        (Some(value), Shown::Share) => format!("{:.1}%", value * 100.0),
        (Some(value), Shown::Plain) => format!("{value:.2}"),
        (Some(value), Shown::Seconds) => show_seconds(value),
    }
}

impl LocalityReport {
    /// A table of which every column is shown to everybody.
    pub(super) fn new(
        keys: &[Key],
        columns: Vec<(String, Shown)>,
        rows: Vec<(Vec<String>, Vec<Option<f64>>)>,
        total: Vec<Option<f64>>,
    ) -> Self {
        Self {
            keys: keys.to_vec(),
            columns: columns
                .into_iter()
                .map(|(name, shown)| (name, shown, true))
                .collect(),
            rows,
            total,
            notes: Vec::new(),
        }
    }

    /// Columns with their names, and how they are shown.
    pub fn columns(&self) -> impl Iterator<Item = (&str, Shown)> {
        self.columns
            .iter()
            .map(|(name, shown, _)| (name.as_str(), *shown))
    }

    /// The first `limit` rows and the total, for people.
    #[must_use]
    pub fn table(&self, summary: &Summary, limit: usize) -> String {
        let shown = limit.min(self.rows.len());
        let hidden = self.rows.len() - shown;
        let mut columns = Vec::new();
        for (position, key) in self.keys.iter().enumerate() {
            let rows = self.rows[..shown].iter();
            let mut cells: Vec<String> = rows.map(|(keys, _)| shorten(&keys[position], 40, *key)).collect();
            let first = |text: String| if position == 0 { text } else { String::new() };
            if hidden > 0 {
                cells.push(first(format!("… {hidden} more")));
            }
            cells.push(first("total".to_owned()));
            columns.push(TextColumn {
                head: [String::new(), key.name().to_owned()],
                cells,
                right: false,
            });
        }
        let essential = self.columns.iter().enumerate();
        for (position, (name, how, _)) in essential.filter(|(_, (_, _, essential))| *essential) {
            let rows = self.rows[..shown].iter();
            let mut cells: Vec<String> = rows.map(|(_, values)| show(values[position], *how)).collect();
            if hidden > 0 {
                cells.push(String::new());
            }
            cells.push(show(self.total[position], *how));
            let head = match name.rsplit_once('_') {
                Some((first, last)) => [format!("{first}_"), last.to_owned()],
                None => [String::new(), name.clone()],
            };
            columns.push(TextColumn {
                head,
                cells,
                right: true,
            });
        }
        let mut text = String::new();
        print(&mut text, &columns, shown);
        for note in self.notes.iter().chain(&summary.caveats()) {
            let _ = writeln!(text, "! {}", printable(note));
        }
        text
    }

    /// An array of flat objects, as of other reports; what there is nothing to tell of is null.
    #[must_use]
    pub fn json(&self) -> String {
        let rows = self.rows.iter().map(|(keys, values)| {
            let keys = self.keys.iter().zip(keys);
            let keys = keys.map(|(key, value)| (key.name().to_owned(), value.clone().into()));
            let values = self.columns.iter().zip(values);
            let values = values.map(|((name, shown, _), value)| (name.clone(), exact(*value, *shown)));
            serde_json::Value::Object(keys.chain(values).collect())
        });
        super::interchange::array(rows)
    }

    /// Comma-separated values, the names in the first record.
    #[must_use]
    pub fn csv(&self) -> String {
        let names = self.keys.iter().map(|key| key.name().to_owned());
        let mut text = String::new();
        super::interchange::record(
            &mut text,
            names.chain(self.columns.iter().map(|(name, _, _)| name.clone())),
        );
        for (keys, values) in &self.rows {
            let values = self.columns.iter().zip(values);
            let values = values.map(|((_, shown, _), value)| match exact(*value, *shown) {
                serde_json::Value::Null => String::new(),
                number => number.to_string(),
            });
            super::interchange::record(&mut text, keys.iter().cloned().chain(values));
        }
        text
    }
}
