//! Grouping: the one pass over the traffic behind every report.

use std::cmp::Ordering;
use std::collections::HashMap;

use memloupe_attribute::LineSet;
use roaring::RoaringTreemap;
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

    fn id(&self, row: &Traffic) -> u32 {
        self.of_row[index(row, self.dimension)]
    }
}

fn index(row: &Traffic, dimension: Dimension) -> usize {
    (match dimension {
        Dimension::Context => row.context,
        Dimension::Site => row.site,
        Dimension::Object => row.object,
    }) as usize
}

/// A group: ids of its keys' values (unused places are 0), and its sums.
type Ids = [u32; Key::ALL.len()];

struct Group {
    ids: Ids,
    sum: Sum,
    /// What the sum amounts to, once it is complete.
    measures: Measures,
    lines: LineUnion,
    calls: u64,
}

/// A union of line sets in the making: stretches are gathered and merged once.
#[derive(Default)]
struct LineUnion {
    stretches: Vec<(u64, u64)>,
    set: RoaringTreemap,
}

impl LineUnion {
    fn add(&mut self, lines: &LineSet) {
        match lines.as_stretch() {
            Some(stretch) => self.stretches.push(stretch),
            None => lines.add_to(&mut self.set),
        }
    }

    /// The union, once everything is added.
    fn finish(&mut self) -> &RoaringTreemap {
        self.stretches.sort_unstable();
        let mut stretches = std::mem::take(&mut self.stretches).into_iter();
        if let Some(mut open) = stretches.next() {
            for (first, last) in stretches {
                if first <= open.1.saturating_add(1) {
                    open.1 = open.1.max(last);
                } else {
                    self.set.insert_range(open.0..=open.1);
                    open = (first, last);
                }
            }
            self.set.insert_range(open.0..=open.1);
        }
        &self.set
    }

    fn len(&self) -> u64 {
        self.set.len()
    }
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
    let passes: Vec<(Dimension, Vec<bool>)> = filters
        .iter()
        .map(|filter| {
            let pass = filter
                .key
                .values(profile)
                .iter()
                .map(|value| filter.matches(value))
                .collect();
            (filter.key.dimension(), pass)
        })
        .collect();

    let mut of_ids: FxHashMap<Ids, usize> = FxHashMap::default();
    let mut groups: Vec<Group> = Vec::new();
    // Neighbouring rows are mostly of one group.
    let mut last = (Ids::default(), usize::MAX);
    for row in &profile.traffic {
        if !passes
            .iter()
            .all(|(dimension, pass)| pass[index(row, *dimension)])
        {
            continue;
        }
        let mut ids = Ids::default();
        for (place, values) in ids.iter_mut().zip(&values) {
            *place = values.id(row);
        }
        if last.0 != ids || last.1 == usize::MAX {
            let group = *of_ids.entry(ids).or_insert_with(|| {
                groups.push(Group {
                    ids,
                    sum: Sum::new(levels),
                    measures: Measures::new(levels),
                    lines: LineUnion::default(),
                    calls: 0,
                });
                groups.len() - 1
            });
            last = (ids, group);
        }
        let group = &mut groups[last.1];
        group
            .sum
            .add(&profile.contexts[row.context as usize], &row.measures);
        if footprints {
            group.lines.add(&row.lines);
        }
    }

    let has_calls = has_calls(by, filters);
    for (at, context) in profile.contexts.iter().enumerate().filter(|_| has_calls) {
        let mut ids = Ids::default();
        for (place, values) in ids.iter_mut().zip(&values) {
            *place = values.of_row[at];
        }
        if passes.iter().all(|(_, pass)| pass[at])
            && let Some(group) = of_ids.get(&ids)
        {
            groups[*group].calls += context.calls;
        }
    }

    let mut all_lines = RoaringTreemap::new();
    let mut measures = profile.summary.measures();
    measures.extend(has_calls.then_some(Measure::Calls));
    measures.retain(|measure| footprints || *measure != Measure::Footprint);
    let mut sum = Sum::new(levels);
    for group in &mut groups {
        all_lines |= group.lines.finish();
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
            .zip(group.ids)
            .map(|(values, id)| values.distinct[id as usize].clone())
            .collect();
        rows.push(Row {
            keys,
            values: numbers(&group.measures, group.lines.len()),
            margins: margins(&group.sum),
        });
    }
    Report {
        keys: by.to_vec(),
        names: measures
            .iter()
            .map(|measure| measure.name(&profile.summary))
            .collect(),
        total: numbers(&total, all_lines.len()),
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
            let value = |group: &Group| {
                let lines = if measure == Measure::Footprint {
                    group.lines.len()
                } else {
                    0
                };
                measure.value(&group.measures, lines)
            };
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
