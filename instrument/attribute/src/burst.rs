//! Sampling by bursts: of each period of the run, one stretch at a random place is observed. For programs whose operators
//! are not known, or that have none.
//!
//! The clock is instructions, of all threads together. As many instructions as a burst has are simulated right before it, to warm
//! the caches, and left out of the results. What the decoder hands on in one piece (1024 blocks, a loop's iterations)
//! belongs to a burst as a whole if it begins in it, so bursts differ in length. Eight neighbouring periods are a stratum,
//! whose total is that of its bursts times its instructions over theirs: the ratio estimate of W. G. Cochran (Sampling
//! Techniques, 3rd ed., 6.2). The margin is that of a random sample of equal bursts, which is wider.
//!
//! Not modelled: caches much larger than what a burst touches are colder than they would be; the margin does not know.

use crate::sample::{FEWEST_OBSERVATIONS, Fate, Observation, Sample, SampleId, SampleRule, Series, Stratum};

/// Periods that one stratum is made of.
const PERIODS_OF_STRATUM: u64 = 8;

/// `BURST/PERIOD`, in instructions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BurstRule {
    pub(crate) burst: u64,
    pub(crate) period: u64,
}

/// A stretch that is simulated.
#[derive(Clone, Copy, Debug)]
struct Stretch {
    period: u64,
    instructions: u64,
    /// Otherwise it warms the caches.
    is_observed: bool,
}

/// Where the run is in its periods.
#[derive(Debug)]
pub(crate) struct Bursts {
    rule: BurstRule,
    /// Instructions so far.
    executed: u64,
    stretches: Vec<Stretch>,
    /// Whether what comes next is part of the last stretch.
    is_simulated: bool,
}

impl Bursts {
    pub(crate) fn new(rule: BurstRule) -> Self {
        let mut bursts = Self {
            rule,
            executed: 0,
            stretches: Vec::new(),
            is_simulated: false,
        };
        bursts.advance(0);
        bursts
    }

    /// What becomes of what comes next.
    pub(crate) fn fate(&self) -> Fate {
        if self.is_simulated {
            Fate::Sampled(self.stretches.len() as SampleId - 1)
        } else {
            Fate::Skipped
        }
    }

    /// So many instructions have been executed.
    pub(crate) fn advance(&mut self, instructions: u64) {
        if self.is_simulated
            && let Some(stretch) = self.stretches.last_mut()
        {
            stretch.instructions += instructions;
        }
        self.executed += instructions;
        let BurstRule { burst, period } = self.rule;
        let number = self.executed / period;
        let place = self.executed % period;
        let start = memloupe_stream::mix(number) % (period - burst + 1);
        let is_observed = (start..start + burst).contains(&place);
        self.is_simulated = is_observed || (start.saturating_sub(burst)..start).contains(&place);
        let goes_on = self
            .stretches
            .last()
            .is_some_and(|last| (last.period, last.is_observed) == (number, is_observed));
        if self.is_simulated && !goes_on {
            self.stretches.push(Stretch {
                period: number,
                instructions: 0,
                is_observed,
            });
        }
    }

    /// The sample, once the run is over. A last stratum that has too few bursts joins the one before.
    pub(crate) fn finish(self) -> Sample {
        let mut strata: Vec<(Stratum, u64)> = Vec::new();
        let mut of_instance = Vec::with_capacity(self.stretches.len());
        let observed = |stretch: &&Stretch| stretch.is_observed && stretch.instructions > 0;
        let mut left = self.stretches.iter().filter(observed).count() as u64;
        for stretch in &self.stretches {
            if !observed(&stretch) {
                of_instance.push(None);
                continue;
            }
            let first = stretch.period / PERIODS_OF_STRATUM * PERIODS_OF_STRATUM;
            let begins = match strata.last() {
                None => true,
                Some((last, _)) => {
                    last.first != first && last.observed >= FEWEST_OBSERVATIONS && left >= FEWEST_OBSERVATIONS
                }
            };
            if begins {
                let series = Series::bursts();
                let stratum = Stratum {
                    series,
                    first,
                    instances: 0,
                    observed: 0,
                    trend: 0.0,
                    centre: 0.0,
                };
                strata.push((stratum, 0));
            }
            left -= 1;
            let number = strata.len() - 1;
            let (stratum, instructions) = &mut strata[number];
            stratum.observed += 1;
            *instructions += stretch.instructions;
            of_instance.push(Some(Observation {
                stratum: number as u32,
                instance: u32::try_from(stretch.period).unwrap_or(u32::MAX),
            }));
        }
        // A stratum reaches to where the next begins; the first from the start on.
        let ends = strata
            .iter()
            .skip(1)
            .map(|(next, _)| next.first * self.rule.period);
        let ends: Vec<u64> = ends.chain([self.executed]).collect();
        let mut start = 0;
        for ((stratum, instructions), end) in strata.iter_mut().zip(ends) {
            let mean = *instructions as f64 / stratum.observed as f64;
            stratum.instances = ((end - start) as f64 / mean).round().max(stratum.observed as f64) as u64;
            start = end;
        }
        Sample {
            rule: SampleRule::Bursts(self.rule),
            warm_ups: self
                .stretches
                .iter()
                .filter(|stretch| !stretch.is_observed)
                .count() as u64,
            of_instance,
            strata: strata.into_iter().map(|(stratum, _)| stratum).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(rule: &str, steps: impl IntoIterator<Item = u64>) -> (Sample, Vec<(Fate, u64)>) {
        let Ok(SampleRule::Bursts(rule)) = rule.parse() else {
            panic!("{rule} is a rule of bursts");
        };
        let mut bursts = Bursts::new(rule);
        let mut fates = Vec::new();
        for step in steps {
            fates.push((bursts.fate(), step));
            bursts.advance(step);
        }
        (bursts.finish(), fates)
    }

    /// Expanding the observed instructions gives those of the run.
    fn estimated(sample: &Sample, fates: &[(Fate, u64)]) -> f64 {
        let mut observed = vec![0.0; sample.strata.len()];
        for (fate, instructions) in fates {
            if let Fate::Sampled(id) = fate
                && let Some(place) = sample.of_instance[*id as usize]
            {
                observed[place.stratum as usize] += *instructions as f64;
            }
        }
        let weight = |stratum: &Stratum| stratum.instances as f64 / stratum.observed as f64;
        sample
            .strata
            .iter()
            .zip(observed)
            .map(|(stratum, observed)| observed * weight(stratum))
            .sum()
    }

    #[test]
    fn bursts_are_as_long_and_as_often_as_asked_for() {
        let (sample, fates) = run("10kinst/100kinst", std::iter::repeat_n(100, 40_000));
        let bursts: u64 = sample.strata.iter().map(|stratum| stratum.observed).sum();
        assert_eq!(bursts, 40);
        assert_eq!(sample.strata.len(), 5);
        let observed =
            |fate: &Fate| matches!(fate, Fate::Sampled(id) if sample.of_instance[*id as usize].is_some());
        let instructions: u64 = fates
            .iter()
            .filter(|(fate, _)| observed(fate))
            .map(|(_, step)| step)
            .sum();
        assert!(instructions.abs_diff(400_000) <= 40 * 200, "{instructions}");
        assert!((estimated(&sample, &fates) / 4e6 - 1.0).abs() < 0.01);
        // Before each burst but one at a period's start, the caches are warmed.
        let warming = sample.of_instance.iter().filter(|place| place.is_none()).count() as u64;
        assert!((bursts - 10..=bursts).contains(&warming), "{warming}");
    }

    #[test]
    fn pieces_longer_than_a_burst_are_weighed_by_their_instructions() {
        let steps = (0..20_000u64).map(|step| if step % 50 == 0 { 60_000 } else { 100 });
        let total: u64 = steps.clone().sum();
        let (sample, fates) = run("10kinst/100kinst", steps);
        let estimate = estimated(&sample, &fates);
        assert!((estimate / total as f64 - 1.0).abs() < 0.02, "{estimate} {total}");
    }

    #[test]
    fn a_run_shorter_than_a_period_has_a_burst_or_nothing() {
        let (sample, _) = run("1Minst/1Minst", [500, 500]);
        assert_eq!((sample.strata.len(), sample.strata[0].observed), (1, 1));
        let (sample, _) = run("1inst/1Ginst", [1]);
        assert!(sample.strata.len() <= 1);
    }
}
