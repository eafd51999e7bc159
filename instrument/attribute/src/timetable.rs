//! Operators by time: what a framework's own profile says was running when. The last resort, where neither functions nor markers
//! tell operators; approximate, as a thread's time is known only where its segments begin: behind system calls, allocations and
//! atomic instructions. What follows the last of these in an operator may be its neighbour's.
//!
//! Not modelled: operators that run at the same time. The one that began last counts, for all threads.

use std::cmp::Reverse;

use crate::probe::{Operator, OperatorId};

/// An operator that ran from `begin` to `end`, by the clock of the stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// When it began.
    pub begin: u64,
    /// When it was over.
    pub end: u64,
    /// What ran.
    pub operator: Operator,
}

/// Which operator runs when.
#[derive(Debug)]
pub(crate) struct Timetable {
    /// Disjoint, in order: beginning, end, operator.
    stretches: Vec<(u64, u64, OperatorId)>,
}

impl Timetable {
    /// Of spans that may lie in one another: the innermost counts.
    pub(crate) fn new(mut spans: Vec<Span>, mut id: impl FnMut(Operator) -> OperatorId) -> Self {
        spans.sort_by_key(|span| (span.begin, Reverse(span.end)));
        let mut stretches = Vec::new();
        // Ends and operators of the spans that go on, outermost first; what lies before `from` is settled.
        let mut open: Vec<(u64, OperatorId)> = Vec::new();
        let mut from = 0;
        let mut settle = |open: &mut Vec<(u64, OperatorId)>, until: u64| {
            while let Some(&(end, operator)) = open.last() {
                let to = end.min(until);
                if from < to {
                    stretches.push((from, to, operator));
                    from = to;
                }
                if end > until {
                    break;
                }
                open.pop();
            }
            from = from.max(until);
        };
        for span in spans {
            settle(&mut open, span.begin);
            open.push((span.end, id(span.operator)));
        }
        settle(&mut open, u64::MAX);
        Self { stretches }
    }

    /// What runs at a time.
    pub(crate) fn at(&self, clock: u64) -> Option<OperatorId> {
        let next = self.stretches.partition_point(|(begin, ..)| *begin <= clock);
        let (_, end, operator) = self.stretches[..next].last()?;
        (clock < *end).then_some(*operator)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// At each time, the span that began last of those that go on (the shorter one of two that began together).
        #[test]
        fn the_innermost_span_counts(lengths in prop::collection::vec((0u64..100, 1u64..40), 0..12)) {
            let span = |(index, (begin, length)): (usize, &(u64, u64))| Span {
                begin: *begin,
                end: begin + length,
                operator: Operator { name: index.to_string(), ..Operator::default() },
            };
            let spans: Vec<Span> = lengths.iter().enumerate().map(span).collect();
            let number = |operator: Operator| operator.name.parse().expect("a number");
            let table = Timetable::new(spans.clone(), number);
            for clock in 0..150 {
                let going_on = spans.iter().filter(|span| (span.begin..span.end).contains(&clock));
                let key = |span: &&Span| (span.begin, Reverse(span.end));
                let expected = going_on.max_by_key(key).map(|span| (span.begin, span.end));
                let found = table.at(clock).map(|id| (spans[id as usize].begin, spans[id as usize].end));
                prop_assert_eq!(found, expected, "at {}", clock);
            }
        }
    }
}
