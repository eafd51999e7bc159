//! The sum of some rows. In a sampled run the rows of observed instances stand for those of their stratum, so that their part
//! of the sum is an estimate.

use std::collections::BTreeMap;
use std::ops::AddAssign;

use super::estimate::{self, Estimate, Observations};
use super::{Context, Measure, Measures, Stratum};

/// A sum in the making.
#[derive(Clone, Debug)]
pub(crate) struct Sum {
    /// What was observed whole.
    whole: Measures,
    /// By stratum and instance: what was observed of samples.
    sampled: BTreeMap<u32, BTreeMap<u32, Measures>>,
}

impl Sum {
    /// Nothing yet, for a machine of so many levels.
    pub(crate) fn new(levels: usize) -> Self {
        Self {
            whole: Measures::new(levels),
            sampled: BTreeMap::new(),
        }
    }

    /// Adds what was measured in a context.
    pub(crate) fn add(&mut self, context: &Context, measures: &Measures) {
        let place = match (context.stratum, context.instance) {
            (Some(stratum), Some(instance)) => self.instance(stratum, instance),
            _ => &mut self.whole,
        };
        *place += measures;
    }

    fn instance(&mut self, stratum: u32, instance: u32) -> &mut Measures {
        let levels = self.whole.levels.len();
        let instances = self.sampled.entry(stratum).or_default();
        instances.entry(instance).or_insert_with(|| Measures::new(levels))
    }

    /// A figure for the whole run. A footprint is a union, which nothing is known of beyond what was observed.
    pub(crate) fn estimate(&self, measure: Measure, strata: &[Stratum]) -> Estimate {
        let observations = |at: usize| {
            let instances = self.sampled.get(&(at as u32));
            let measures = instances.into_iter().flat_map(BTreeMap::values);
            let mut observed: Vec<f64> = measures
                .map(|measures| measure.value(measures, 0) as f64)
                .collect();
            // Observed instances that have no row here take no part in the figure.
            observed.resize(strata[at].observed as usize, 0.0);
            Observations {
                instances: strata[at].instances,
                observed,
            }
        };
        // Whole series: a stratum may have its spread told by others of its series.
        let mut sampled: Vec<Vec<Observations>> = Vec::new();
        let mut end = 0;
        for stratum in self.sampled.keys() {
            let at = *stratum as usize;
            if at < end {
                continue;
            }
            let start = (0..=at).rfind(|at| strata[*at].first == 0).unwrap_or(at);
            let length = strata[at + 1..].iter().position(|next| next.first == 0);
            end = length.map_or(strata.len(), |length| at + 1 + length);
            sampled.push((start..end).map(observations).collect());
        }
        let sampled = estimate::total(sampled.iter().map(Vec::as_slice));
        Estimate {
            total: sampled.total + self.trend(measure, strata) + measure.value(&self.whole, 0) as f64,
            ..sampled
        }
    }

    /// What it adds to an estimate that observed instances do not stand for equally many ([`Stratum::trend`]).
    fn trend(&self, measure: Measure, strata: &[Stratum]) -> f64 {
        let of_stratum = |(at, instances): (&u32, &BTreeMap<u32, Measures>)| {
            let stratum = &strata[*at as usize];
            let share = |number: u32| stratum.trend * (f64::from(number) - stratum.centre);
            let weight = stratum.instances as f64 / stratum.observed as f64;
            let values = instances
                .iter()
                .map(|(number, measures)| share(*number) * measure.value(measures, 0) as f64);
            weight * values.sum::<f64>()
        };
        self.sampled.iter().map(of_stratum).sum()
    }

    /// Every measure for the whole run, in whole numbers.
    pub(crate) fn measures(&self, all: &[Measure], strata: &[Stratum]) -> Measures {
        let mut measures = self.whole.clone();
        if self.sampled.is_empty() {
            return measures;
        }
        for measure in all {
            let total = self.estimate(*measure, strata).total;
            if let Some(place) = measure.value_mut(&mut measures) {
                *place = total.round() as u64;
            }
        }
        measures
    }
}

impl AddAssign<&Self> for Sum {
    fn add_assign(&mut self, other: &Self) {
        self.whole += &other.whole;
        for (stratum, instances) in &other.sampled {
            for (instance, measures) in instances {
                *self.instance(*stratum, *instance) += measures;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measures(accesses: u64) -> Measures {
        Measures {
            accesses,
            ..Measures::new(0)
        }
    }

    #[test]
    fn observed_instances_stand_for_their_stratum() {
        let context = |stratum, instance| Context {
            stratum,
            instance,
            ..Context::default()
        };
        let strata = [(2, 2), (40, 4)].map(|(instances, observed)| Stratum {
            instances,
            observed,
            ..Stratum::default()
        });
        let mut sum = Sum::new(0);
        sum.add(&context(None, None), &measures(7));
        let exact = sum.estimate(Measure::ACCESSES, &strata);
        assert_eq!((exact.total, exact.margin), (7.0, Some(0.0)));
        // A census: nothing to estimate.
        sum.add(&context(Some(0), Some(1)), &measures(5));
        assert_eq!(sum.estimate(Measure::ACCESSES, &strata).margin, Some(0.0));
        // Half of the four observed take part, in two rows one of them.
        sum.add(&context(Some(1), Some(3)), &measures(60));
        sum.add(&context(Some(1), Some(3)), &measures(40));
        sum.add(&context(Some(1), Some(9)), &measures(100));
        let estimate = sum.estimate(Measure::ACCESSES, &strata);
        assert_eq!(estimate.total, 7.0 + 5.0 + 40.0 * 50.0);
        // N sqrt((1 - n/N) / n) s t(3), s² = 4 · 50² / 3.
        let expected = 40.0 * (0.9f64 / 4.0).sqrt() * (10_000.0f64 / 3.0).sqrt() * 3.182;
        let margin = estimate.margin.expect("four observations");
        assert!((margin / expected - 1.0).abs() < 0.005, "{margin} {expected}");
        let mut double = sum.clone();
        double += &sum;
        assert_eq!(
            double.estimate(Measure::ACCESSES, &strata).total,
            2.0 * estimate.total
        );
    }
}
