//! Grouping: the one pass over the traffic behind every report.

use std::cmp::Ordering;
use std::collections::HashMap;

use memloupe_attribute::LineUnion;
use rustc_hash::FxHashMap;

use super::filter::Filter;
use super::{Dimension, Key, Order, Report, Row};
use crate::profile::{Measure, Measures, Profile, Sum, Traffic};

/// The distinct values of a key, and which of them each row of its table has.
struct Values {
    dimension: Dimension,
    of_row: Vec<u32>,
    distinct: Vec<String>,
}

impl Values {
    fn of(key: Key, profile: &Profile) -> Self {
        let mut ids = HashMap::new();
        let mut distinct = Vec::new();
        let mut intern = |value: String| {
            *ids.entry(value).or_insert_with_key(|value| {
                distinct.push(value.clone());
                distinct.len() as u32 - 1
            })
        };
        let of_row = key.values(profile).into_iter().map(&mut intern).collect();
        Self {
            dimension: key.dimension(),
            of_row,
            distinct,
        }
    }
}

/// One table as a query sees it: rows that agree in all its keys are of one class. Traffic is grouped by the classes of its
/// context, site and object, however many keys there are.
struct Classes {
    /// None if a filter keeps the row out.
    of_row: Vec<Option<u32>>,
    /// Of each class, one row.
    examples: Vec<usize>,
}

impl Classes {
    fn of(
        dimension: Dimension,
        rows: usize,
        profile: &Profile,
        values: &[Values],
        filters: &[Filter],
    ) -> Self {
        let keys: Vec<&Values> = (values.iter())
            .filter(|values| values.dimension == dimension)
            .collect();
        let filters: Vec<(&Filter, Vec<String>)> = (filters.iter())
            .filter(|filter| filter.key.dimension() == dimension)
            .map(|filter| (filter, filter.key.values(profile)))
            .collect();
        let mut ids: FxHashMap<Vec<u32>, u32> = FxHashMap::default();
        let mut examples = Vec::new();
        let mut class = |row: usize| {
            let passes = (filters.iter()).all(|(filter, values)| filter.matches(&values[row]));
            passes.then(|| {
                let key = keys.iter().map(|values| values.of_row[row]).collect();
                *ids.entry(key).or_insert_with(|| {
                    examples.push(row);
                    examples.len() as u32 - 1
                })
            })
        };
        Self {
            of_row: (0..rows).map(&mut class).collect(),
            examples,
        }
    }
}

/// The classes of a row's context, site and object.
type ClassIds = [u32; 3];

struct Group {
    /// Ids of its keys' values.
    ids: Vec<u32>,
    sum: Sum,
    /// What the sum amounts to, once it is complete.
    measures: Measures,
    lines: LineUnion,
    /// Number of lines, once the union is complete.
    footprint_lines: u64,
    calls: u64,
}

/// Whether calls can be told: an operator is entered in a context, whatever sites and objects it goes on to.
pub(super) fn has_calls(by: &[Key], filters: &[Filter]) -> bool {
    let keys = by.iter().chain(filters.iter().map(|filter| &filter.key));
    keys.into_iter().all(|key| key.dimension() == Dimension::Context)
}

/// Without `footprints`, the report has no such column.
pub(super) fn group(
    profile: &Profile,
    by: &[Key],
    filters: &[Filter],
    order: Order,
    footprints: bool,
) -> Report {
    let levels = profile.summary.levels.len();
    let values: Vec<Values> = by.iter().map(|key| Values::of(*key, profile)).collect();
    let classes = |dimension, rows| Classes::of(dimension, rows, profile, &values, filters);
    let contexts = classes(Dimension::Context, profile.contexts.len());
    let sites = classes(Dimension::Site, profile.sites.len());
    let objects = classes(Dimension::Object, profile.objects.len());
    let classes_of = |row: &Traffic| -> Option<ClassIds> {
        let context = contexts.of_row[row.context as usize]?;
        let site = sites.of_row[row.site as usize]?;
        Some([context, site, objects.of_row[row.object as usize]?])
    };
    let ids_of = |[context, site, object]: ClassIds| {
        let of_key = |values: &Values| {
            let example = match values.dimension {
                Dimension::Context => contexts.examples[context as usize],
                Dimension::Site => sites.examples[site as usize],
                Dimension::Object => objects.examples[object as usize],
            };
            values.of_row[example]
        };
        values.iter().map(of_key).collect()
    };

    let mut of_classes: FxHashMap<ClassIds, usize> = FxHashMap::default();
    let mut groups: Vec<Group> = Vec::new();
    // Neighbouring rows are mostly of one group.
    let mut last: Option<(ClassIds, usize)> = None;
    for row in &profile.traffic {
        let Some(classes) = classes_of(row) else {
            continue;
        };
        let at = match last {
            Some((same, at)) if same == classes => at,
            _ => *of_classes.entry(classes).or_insert_with(|| {
                groups.push(Group {
                    ids: ids_of(classes),
                    sum: Sum::new(levels),
                    measures: Measures::new(levels),
                    lines: LineUnion::default(),
                    footprint_lines: 0,
                    calls: 0,
                });
                groups.len() - 1
            }),
        };
        last = Some((classes, at));
        let group = &mut groups[at];
        group
            .sum
            .add(&profile.contexts[row.context as usize], &row.measures);
        if footprints {
            group.lines.add(&row.lines);
        }
    }

    let has_calls = has_calls(by, filters);
    for (context, class) in profile
        .contexts
        .iter()
        .zip(&contexts.of_row)
        .filter(|_| has_calls)
    {
        // Without other keys all sites and objects are of one class.
        if let Some(class) = class
            && let Some(group) = of_classes.get(&[*class, 0, 0])
        {
            groups[*group].calls += context.calls;
        }
    }

    let mut all_lines = LineUnion::default();
    let mut measures = profile.summary.measures();
    measures.extend(has_calls.then_some(Measure::Calls));
    measures.retain(|measure| footprints || *measure != Measure::Footprint);
    let mut sum = Sum::new(levels);
    for group in &mut groups {
        group.footprint_lines = group.lines.settle();
        all_lines.unite(&group.lines);
        group.measures = Measures {
            calls: group.calls,
            ..group.sum.measures(&measures, &profile.strata)
        };
        sum += &group.sum;
    }
    sort(&mut groups, by, &values, order);
    let is_sampled = profile.summary.sampling.is_some();
    let margins = |sum: &Sum| -> Vec<Option<f64>> {
        let margin = |measure: &Measure| match measure {
            Measure::Footprint => None,
            Measure::Calls => Some(0.0),
            _ => sum.estimate(*measure, &profile.strata).margin,
        };
        if is_sampled {
            measures.iter().map(margin).collect()
        } else {
            vec![Some(0.0); measures.len()]
        }
    };
    let numbers = |sums: &Measures, lines: u64| {
        measures
            .iter()
            .map(|measure| measure.value(sums, lines))
            .collect::<Vec<u64>>()
    };
    let mut total = Measures::new(levels);
    let mut rows = Vec::with_capacity(groups.len());
    for group in &groups {
        total += &group.measures;
        let keys = values
            .iter()
            .zip(&group.ids)
            .map(|(values, id)| values.distinct[*id as usize].clone())
            .collect();
        rows.push(Row {
            keys,
            values: numbers(&group.measures, group.footprint_lines),
            margins: margins(&group.sum),
        });
    }
    Report {
        keys: by.to_vec(),
        names: measures
            .iter()
            .map(|measure| measure.name(&profile.summary))
            .collect(),
        total: numbers(&total, all_lines.settle()),
        total_margins: margins(&sum),
        is_sampled,
        measures,
        order,
        rows,
    }
}

/// Sorts; what is equal stands in the order of its keys, so that a report is the same every time.
fn sort(groups: &mut [Group], by: &[Key], values: &[Values], order: Order) {
    let compare_key = |a: &Group, b: &Group, key: usize| match by[key] {
        // Phases stand as they occurred: contexts are numbered in that order.
        Key::Phase | Key::PhaseKind => a.ids[key].cmp(&b.ids[key]),
        _ => {
            let text = |group: &Group| values[key].distinct[group.ids[key] as usize].as_str();
            natural(text(a), text(b))
        }
    };
    let compare_keys = |a: &Group, b: &Group| {
        (0..by.len())
            .map(|key| compare_key(a, b, key))
            .find(|ordering| ordering.is_ne())
            .unwrap_or(Ordering::Equal)
    };
    match order {
        Order::Key(key) => groups.sort_by(|a, b| compare_key(a, b, key).then_with(|| compare_keys(a, b))),
        Order::Descending(measure) => {
            let value = |group: &Group| measure.value(&group.measures, group.footprint_lines);
            groups.sort_by(|a, b| value(b).cmp(&value(a)).then_with(|| compare_keys(a, b)));
        }
    }
}

/// Order of names in which numbers count by value: blk.2 before blk.10. What stands in parentheses comes last.
fn natural(a: &str, b: &str) -> Ordering {
    let rank = |text: &str| text.starts_with('(');
    rank(a).cmp(&rank(b)).then_with(|| {
        let (mut a, mut b) = (a, b);
        loop {
            let ordering = match (leading_number(a), leading_number(b)) {
                (Some((x, rest_a)), Some((y, rest_b))) => {
                    (a, b) = (rest_a, rest_b);
                    x.len().cmp(&y.len()).then_with(|| x.cmp(y))
                }
                _ => {
                    let (mut chars_a, mut chars_b) = (a.chars(), b.chars());
                    let (x, y) = (chars_a.next(), chars_b.next());
                    if x.is_none() && y.is_none() {
                        return Ordering::Equal;
                    }
                    (a, b) = (chars_a.as_str(), chars_b.as_str());
                    x.cmp(&y)
                }
            };
            if ordering.is_ne() {
                return ordering;
            }
        }
    })
}

/// The digits at the beginning without leading zeros, and the rest.
fn leading_number(text: &str) -> Option<(&str, &str)> {
    let end = text
        .bytes()
        .position(|byte| !byte.is_ascii_digit())
        .unwrap_or(text.len());
    (end > 0).then(|| (text[..end].trim_start_matches('0'), &text[end..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_in_names_count_by_value() {
        let mut names = [
            "(no layer)",
            "blk.10",
            "blk.2",
            "blk",
            "10",
            "9",
            "é1",
            "blk.2.b",
            "blk.02",
        ];
        names.sort_by(|a, b| natural(a, b).then_with(|| a.cmp(b)));
        assert_eq!(
            names,
            [
                "9",
                "10",
                "blk",
                "blk.02",
                "blk.2",
                "blk.2.b",
                "blk.10",
                "é1",
                "(no layer)"
            ]
        );
        assert_eq!(
            natural("99999999999999999999999", "100000000000000000000000"),
            Ordering::Less
        );
    }
}
