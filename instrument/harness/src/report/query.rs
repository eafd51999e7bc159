//! What is asked of a profile.

use std::fmt;

use super::filter::Filter;
use super::{Key, LocalityReport, Order, Report, STALLS, TABLES, group, locality, stalls};
use crate::profile::{Measure, Profile};

/// Why a query can't be answered.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum QueryError {
    /// No such key.
    Key(String),
    /// No such column.
    Column {
        /// What was asked for.
        name: String,
        /// What the profile has.
        known: Vec<String>,
    },
    /// No such table.
    Table(String),
    /// A table without the analysis that measures it.
    NotMeasured {
        /// The table.
        table: &'static str,
        /// The analysis.
        analysis: &'static str,
    },
    /// Paths of calls of a profile without them.
    NoCallPaths,
    /// A key that a table does not know.
    TableKey {
        /// The table.
        table: &'static str,
        /// The key.
        key: &'static str,
        /// What the table can be grouped by.
        known: Vec<&'static str>,
    },
    /// Not of the form KEY=GLOB.
    Filter(String),
}

impl fmt::Display for QueryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key(word) => {
                let known: Vec<&str> = Key::ALL.iter().map(|(_, name, _)| *name).collect();
                write!(f, "cannot group by \"{word}\": the keys are {}", known.join(", "))
            }
            Self::Column { name, known } => {
                write!(
                    f,
                    "cannot sort by \"{name}\": this profile's columns are {}",
                    known.join(", ")
                )
            }
            Self::Table(name) => {
                let known: Vec<&str> = TABLES.iter().map(|table| table.name).chain([STALLS]).collect();
                write!(f, "there is no table \"{name}\": there are {}", known.join(", "))
            }
            Self::NotMeasured { table, analysis } => write!(
                f,
                "the profile has no table \"{table}\": run the program with --analyses {analysis}"
            ),
            Self::NoCallPaths => write!(
                f,
                "the profile has no call paths: run the program with --call-paths"
            ),
            Self::TableKey { table, key, known } => write!(
                f,
                "the table \"{table}\" cannot be grouped or filtered by \"{key}\": its keys are {}",
                known.join(", ")
            ),
            Self::Filter(text) => {
                write!(
                    f,
                    "cannot filter by \"{text}\": write KEY=GLOB, for instance phase=decode*"
                )
            }
        }
    }
}

impl std::error::Error for QueryError {}

/// A query: keys, order and filters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    by: Vec<Key>,
    sort: Option<Sort>,
    filters: Vec<Filter>,
    footprints: bool,
}

/// What was asked to sort by: a profile knows which columns it has, so a name is looked up only then.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Sort {
    Measure(Measure),
    Name(String),
}

impl Query {
    /// A query by keys alone, in the order that suits them.
    #[must_use]
    pub fn by(keys: &[Key]) -> Self {
        let mut by = Vec::new();
        for key in keys {
            if !by.contains(key) {
                by.push(*key);
            }
        }
        Self {
            by,
            sort: None,
            filters: Vec::new(),
            footprints: true,
        }
    }

    /// The same without footprints, which cost more than everything else: sets of lines have to be united.
    #[must_use]
    pub fn without_footprints(self) -> Self {
        Self {
            footprints: false,
            ..self
        }
    }

    /// The same, largest first by a measure.
    #[must_use]
    pub fn sorted_by(self, measure: Measure) -> Self {
        Self {
            sort: Some(Sort::Measure(measure)),
            ..self
        }
    }

    /// A query in the words of the command line: keys, a column or key to sort by, and KEY=GLOB filters.
    ///
    /// # Errors
    ///
    /// If a word is no key or a filter has no `=`.
    pub fn parse(
        by: &[impl AsRef<str>],
        sort: Option<&str>,
        filters: &[impl AsRef<str>],
    ) -> Result<Self, QueryError> {
        let keys: Vec<Key> = by
            .iter()
            .map(|word| Key::parse(word.as_ref()).ok_or_else(|| QueryError::Key(word.as_ref().to_owned())))
            .collect::<Result<_, _>>()?;
        let filters = filters
            .iter()
            .map(|text| Filter::parse(text.as_ref()))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            sort: sort.map(|name| Sort::Name(name.to_owned())),
            filters,
            ..Self::by(&keys)
        })
    }

    /// Answers the query.
    ///
    /// # Errors
    ///
    /// If the profile has no column of the name to sort by.
    pub fn run(&self, profile: &Profile) -> Result<Report, QueryError> {
        self.check_keys(profile)?;
        let order = self.order(profile)?;
        Ok(group::group(
            profile,
            &self.by,
            &self.filters,
            order,
            self.footprints,
        ))
    }

    /// Answers the query from one of the [`TABLES`] of locality, or by what cycles are spent on ([`STALLS`]), largest
    /// first.
    ///
    /// # Errors
    ///
    /// If the table does not exist, was not measured, or lacks a key or column.
    pub fn run_table(&self, profile: &Profile, table: &str) -> Result<LocalityReport, QueryError> {
        self.check_keys(profile)?;
        if table == STALLS && !profile.summary.levels.is_empty() {
            let sorted = match self.sort {
                None => self.clone().sorted_by(Measure::EST_CYCLES),
                Some(_) => self.clone(),
            };
            let report = sorted.without_footprints().run(profile)?;
            return Ok(stalls::table(&report, &self.by, &profile.summary));
        }
        let sort = match &self.sort {
            Some(Sort::Name(name)) => Some(name.clone()),
            Some(Sort::Measure(measure)) => Some(measure.name(&profile.summary)),
            None => None,
        };
        locality::report(profile, table, &self.by, &self.filters, sort.as_deref())
    }

    fn check_keys(&self, profile: &Profile) -> Result<(), QueryError> {
        let filtered = self.filters.iter().map(|filter| &filter.key);
        if !profile.summary.call_paths && self.by.iter().chain(filtered).any(|key| *key == Key::CallPath) {
            return Err(QueryError::NoCallPaths);
        }
        Ok(())
    }

    fn order(&self, profile: &Profile) -> Result<Order, QueryError> {
        let (mut measures, summary) = (profile.summary.measures(), &profile.summary);
        if group::has_calls(&self.by, &self.filters) {
            measures.push(Measure::Calls);
        }
        let name = match (&self.sort, self.by.first()) {
            (Some(Sort::Name(name)), _) => name,
            (Some(Sort::Measure(measure)), _) => return Ok(Order::Descending(*measure)),
            (None, Some(key)) if key.is_ordinal() => return Ok(Order::Key(0)),
            (None, _) => return Ok(Order::Descending(main_measure(&profile.summary))),
        };
        if let Some(position) = self.by.iter().position(|key| key.name() == name) {
            return Ok(Order::Key(position));
        }
        let found = measures.iter().find(|measure| measure.name(summary) == *name);
        found
            .map(|measure| Order::Descending(*measure))
            .ok_or_else(|| QueryError::Column {
                name: name.clone(),
                known: measures.iter().map(|measure| measure.name(summary)).collect(),
            })
    }
}

/// What a profile is mostly about: its DRAM reads, or its accesses if there are none.
pub(super) fn main_measure(summary: &crate::profile::Summary) -> Measure {
    if summary.total(&Measure::DRAM_READ.name(summary)) > 0 {
        Measure::DRAM_READ
    } else {
        Measure::ACCESSES
    }
}
