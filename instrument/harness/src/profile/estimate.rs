//! Estimates of a whole from a stratified sample, with their uncertainty.
//!
//! Model: within a stratum (like instances of an operator in a stretch of the run) the n observed instances are a
//! simple random sample without replacement of the N that ran. Then the expanded sum N/n · Σy is an unbiased estimate of
//! the stratum's total, and N² (1 − n/N) s²/n one of its variance (Cochran, Sampling Techniques, 3rd ed., 2.6 and 5.3).
//! Strata are independent: totals and variances add up. A stratum with a single observation is collapsed with the others of its
//! series that have no more, or with the one before it: how far their observations lie apart is taken for the
//! spread within each, which is too large rather than too small where strata differ (after Cochran, 5A.12). The interval uses Student's t with the degrees of freedom of
//! Satterthwaite (Cochran, 5.4).
//!
//! Not modelled: dependence between instances that are observed in a row (they share the caches' state), bias of the
//! caches' state at the first of them, and the skewness that a few large instances cause in small samples.

use memloupe_attribute::FEWEST_OBSERVATIONS;
use serde::{Deserialize, Serialize};

/// What was observed of one stratum.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Observations {
    /// Instances that ran.
    pub(super) instances: u64,
    /// The figure for each observed instance, zero where it does not take part in what is estimated.
    pub(super) observed: Vec<f64>,
}

impl Observations {
    fn total(&self) -> f64 {
        let sum: f64 = self.observed.iter().sum();
        if self.observed.is_empty() {
            0.0
        } else {
            sum * self.instances as f64 / self.observed.len() as f64
        }
    }

    /// The total's variance, and its degrees of freedom; none if all were observed, or too few.
    fn variance(&self) -> Option<(f64, f64)> {
        let (whole, seen) = (self.instances as f64, self.observed.len() as f64);
        if self.instances == self.observed.len() as u64 || is_open(self.instances, self.observed.len() as u64)
        {
            return None;
        }
        let mean = self.observed.iter().sum::<f64>() / seen;
        let squares: f64 = self.observed.iter().map(|value| (value - mean).powi(2)).sum();
        let spread = squares / (seen - 1.0);
        Some((whole * whole * (1.0 - seen / whole) * spread / seen, seen - 1.0))
    }
}

/// Whether too few of a stratum's instances were observed to tell their spread.
pub(super) fn is_open(instances: u64, observed: u64) -> bool {
    observed < FEWEST_OBSERVATIONS.min(instances)
}

/// Of a series' strata, by number: those that only together tell their spread; a single one can't.
pub(super) fn collapsed<S: Counts>(strata: &[S]) -> impl Iterator<Item = usize> {
    let is_open = |at: usize| is_open(strata[at].instances(), strata[at].observed());
    let open: Vec<usize> = (0..strata.len()).filter(|at| is_open(*at)).collect();
    let before = match open[..] {
        [at] if at > 0 => Some(at - 1),
        _ => None,
    };
    before.into_iter().chain(open)
}

/// How many instances a stratum has, and how many of these were observed.
pub(super) trait Counts {
    fn instances(&self) -> u64;
    fn observed(&self) -> u64;
}

impl Counts for Observations {
    fn instances(&self) -> u64 {
        self.instances
    }

    fn observed(&self) -> u64 {
        self.observed.len() as u64
    }
}

/// An estimated total.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    /// The total.
    pub total: f64,
    /// Half the width of its 95% confidence interval; none (null) if a stratum has too few observations to tell.
    pub margin: Option<f64>,
}

/// The total over some series, each of which is strata in the order in which they ran. A stratum without any observation adds
/// nothing and leaves the margin open, as does a single stratum with too few.
#[must_use]
pub(super) fn total<'a>(series: impl IntoIterator<Item = &'a [Observations]>) -> Estimate {
    let (mut total, mut variance, mut satterthwaite) = (0.0, 0.0, 0.0);
    let mut known = true;
    for strata in series {
        let mut add = |part: f64, freedom: f64| {
            variance += part;
            satterthwaite += part * part / freedom;
        };
        total += strata.iter().map(Observations::total).sum::<f64>();
        for stratum in strata {
            if let Some((part, freedom)) = stratum.variance() {
                add(part, freedom);
            }
        }
        let collapsed: Vec<&Observations> = collapsed(strata).map(|at| &strata[at]).collect();
        match collapsed[..] {
            [] => {}
            [_] => known = false,
            _ => {
                known &= collapsed.iter().all(|stratum| !stratum.observed.is_empty());
                let values = || collapsed.iter().flat_map(|stratum| &stratum.observed);
                let freedom = values().count() as f64 - 1.0;
                let mean = values().sum::<f64>() / (freedom + 1.0);
                let spread = values().map(|value| (value - mean).powi(2)).sum::<f64>() / freedom;
                let open = collapsed
                    .iter()
                    .filter(|stratum| is_open(stratum.instances, stratum.observed()));
                add(
                    open.map(|stratum| (stratum.instances as f64).powi(2) * spread)
                        .sum(),
                    freedom,
                );
            }
        }
    }
    let freedom = if satterthwaite > 0.0 {
        variance * variance / satterthwaite
    } else {
        f64::INFINITY
    };
    let margin = known.then(|| {
        if variance > 0.0 {
            student_975(freedom) * variance.sqrt()
        } else {
            0.0
        }
    });
    Estimate { total, margin }
}

/// The 97.5% quantile of Student's t: exact for 1 and 2 degrees of freedom, above that by the expansion of Cornish and Fisher
/// (Abramowitz and Stegun 26.7.5), whose error is below 0.5% from 3 on.
fn student_975(freedom: f64) -> f64 {
    const Z: f64 = 1.959_963_985;
    if freedom < 1.5 {
        return 12.706_205;
    }
    if freedom < 2.5 {
        return 4.302_653;
    }
    let (z, v) = (Z, freedom);
    let g1 = (z.powi(3) + z) / 4.0;
    let g2 = (5.0 * z.powi(5) + 16.0 * z.powi(3) + 3.0 * z) / 96.0;
    let g3 = (3.0 * z.powi(7) + 19.0 * z.powi(5) + 17.0 * z.powi(3) - 15.0 * z) / 384.0;
    let g4 = (79.0 * z.powi(9) + 776.0 * z.powi(7) + 1482.0 * z.powi(5) - 1920.0 * z.powi(3) - 945.0 * z)
        / 92160.0;
    z + g1 / v + g2 / v.powi(2) + g3 / v.powi(3) + g4 / v.powi(4)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// xorshift64*
    struct Random(u64);

    impl Random {
        fn next(&mut self) -> u64 {
            self.0 ^= self.0 >> 12;
            self.0 ^= self.0 << 25;
            self.0 ^= self.0 >> 27;
            self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
        }

        fn uniform(&mut self) -> f64 {
            (self.next() >> 11) as f64 / (1u64 << 53) as f64
        }

        /// `count` of `values`, each set with the same chance.
        fn sample(&mut self, values: &[f64], count: usize) -> Vec<f64> {
            let mut pool = values.to_vec();
            (0..count)
                .map(|_| {
                    let index = (self.next() % pool.len() as u64) as usize;
                    pool.swap_remove(index)
                })
                .collect()
        }
    }

    #[test]
    fn quantiles_are_those_of_the_tables() {
        for (freedom, quantile) in [
            (1.0, 12.706),
            (2.0, 4.303),
            (3.0, 3.182),
            (4.0, 2.776),
            (5.0, 2.571),
            (10.0, 2.228),
            (30.0, 2.042),
            (1e9, 1.960),
        ] {
            let error = (student_975(freedom) / quantile - 1.0).abs();
            assert!(error < 0.005, "{freedom}: {}", student_975(freedom));
        }
    }

    #[test]
    fn a_census_is_exact() {
        let strata = [3u64, 5].map(|instances| Observations {
            instances,
            observed: (0..instances).map(|value| value as f64).collect(),
        });
        assert_eq!(
            total([&strata[..]]),
            Estimate {
                total: 13.0,
                margin: Some(0.0)
            }
        );
    }

    #[test]
    fn too_few_observations_leave_the_margin_open() {
        let one = Observations {
            instances: 10,
            observed: vec![4.0],
        };
        assert_eq!(
            total([&[one][..]]),
            Estimate {
                total: 40.0,
                margin: None
            }
        );
    }

    /// In the mean over all samples the variance is no less than the true one: strata that spread alike, and differ.
    #[test]
    fn strata_with_one_observation_are_collapsed() {
        let one = |instances, value| Observations {
            instances,
            observed: vec![value],
        };
        let alike = total([&[one(1, 5.0), one(7, 5.0), one(56, 5.0)][..]]);
        assert_eq!((alike.total, alike.margin), (320.0, Some(0.0)));
        // With the one before it if it is alone, which has no spread: 7² times that of 4 and 5.
        let alone = total([&[one(1, 4.0), one(7, 5.0)][..]]);
        let expected = 12.706_205 * (49.0f64 * 0.5).sqrt();
        assert_eq!(alone.total, 39.0);
        assert!(
            (alone.margin.expect("two strata") - expected).abs() < 1e-6,
            "{alone:?}"
        );

        let (first, second) = ([3.0, 9.0, 6.0], [11.0, 5.0, 8.0]);
        let variance = |values: &[f64]| {
            let (n, mean) = (
                values.len() as f64,
                values.iter().sum::<f64>() / values.len() as f64,
            );
            n * values.iter().map(|value| (value - mean).powi(2)).sum::<f64>()
        };
        let truth = variance(&first) + variance(&second);
        let mut told = 0.0;
        for a in first {
            for b in second {
                let estimate = total([&[one(3, a), one(3, b)][..]]);
                told += (estimate.margin.expect("two strata") / 12.706_205).powi(2) / 9.0;
            }
        }
        assert!(told >= truth, "{told} {truth}");
    }

    /// Against every possible sample: the estimate is unbiased, and so is its variance.
    #[test]
    fn all_samples_together_give_the_truth() {
        let values = [1.0, 4.0, 4.0, 9.0, 12.0, 30.0];
        let (mut estimates, mut variances) = (Vec::new(), Vec::new());
        for a in 0..6 {
            for b in a + 1..6 {
                for c in b + 1..6 {
                    let stratum = Observations {
                        instances: 6,
                        observed: vec![values[a], values[b], values[c]],
                    };
                    let estimate = total([&[stratum][..]]);
                    let margin = estimate.margin.expect("three observations");
                    estimates.push(estimate.total);
                    variances.push((margin / student_975(2.0)).powi(2));
                }
            }
        }
        let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
        let truth: f64 = values.iter().sum();
        assert!((mean(&estimates) - truth).abs() < 1e-9);
        let squares: Vec<f64> = estimates.iter().map(|value| (value - truth).powi(2)).collect();
        assert!((mean(&squares) / mean(&variances) - 1.0).abs() < 1e-9);
    }

    /// Intervals that claim 95% hold the truth that often, for strata like an operator's: some constant, some spread.
    #[test]
    fn intervals_hold_the_truth_as_often_as_they_claim() {
        const TRIALS: usize = 4000;
        let mut random = Random(7);
        let populations: Vec<(Vec<f64>, usize)> =
            [(960, 0.0, 12), (960, 0.3, 12), (64, 0.8, 6), (300, 0.1, 4)]
                .map(|(instances, spread, observed)| {
                    let values = (0..instances)
                        .map(|_| 1000.0 * (1.0 + spread * (random.uniform() + random.uniform() - 1.0)))
                        .collect();
                    (values, observed)
                })
                .into();
        let truth: f64 = populations.iter().flat_map(|(values, _)| values).sum();
        let held = (0..TRIALS)
            .filter(|_| {
                let strata: Vec<Observations> = populations
                    .iter()
                    .map(|(values, observed)| Observations {
                        instances: values.len() as u64,
                        observed: random.sample(values, *observed),
                    })
                    .collect();
                let estimate = total(strata.chunks(1));
                (estimate.total - truth).abs() <= estimate.margin.expect("enough observations")
            })
            .count();
        let coverage = held as f64 / TRIALS as f64;
        assert!((0.93..=0.975).contains(&coverage), "{coverage}");
    }
}
