//! What is sampled, and operator-stratified sampling (by bursts: `burst`): which instances of an operator are observed, and which go by.
//!
//! Instances that are alike are a series: same thread, phase name, operator kind, name without the digits that number
//! layers, shape, element type, and bytes of weights (two matrices may give the same shape and differ in what they read).
//! How long a series will be is not known while it runs. So of `ops:K` the first K instances are all observed, and of
//! each stretch after that, seven times as long as all before it (K to 8 K, 8 K to 64 K…), K are, one drawn at random from each
//! Kth of it. A stretch is a stratum of its own: what changes as the run goes on, such as a growing cache of keys, does not bias
//! the estimate.
//!
//! The draw depends on the ordinal alone (fixed seed: every run draws the same), so series that have an instance in each layer
//! are observed in the same layer of the same step, one after the other as they ran. What goes by warms the caches: `warming`.
//!
//! Not modelled: dependence between series that are drawn together (margins of their sums take them as independent).

use std::fmt;
use std::num::NonZero;
use std::str::FromStr;
use std::sync::Arc;

use memloupe_cachesim::AccessKind;
use memloupe_stream::draw;
use rustc_hash::FxHashMap;

use crate::burst::BurstRule;
use crate::ledger::{Ledger, RowId};
use crate::probe::{Argument, Operator};
use crate::warming::Warming;

/// Index of an instance that is simulated.
pub type SampleId = u32;

/// Fewest observations of a stratum that say anything about its spread, unless they are all there is.
pub const FEWEST_OBSERVATIONS: u64 = 2;

/// What is observed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SampleRule {
    /// `ops:K`: so many instances of each stretch of a series.
    Operators(NonZero<u32>),
    /// `BURST/PERIOD`.
    Bursts(BurstRule),
}

/// Units of instructions.
const UNITS: [(&str, u64); 4] = [
    ("inst", 1),
    ("kinst", 1_000),
    ("Minst", 1_000_000),
    ("Ginst", 1_000_000_000),
];

fn instructions(text: &str) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at(digits);
    let (_, scale) = UNITS.iter().find(|(name, _)| *name == unit)?;
    number.parse::<u64>().ok()?.checked_mul(*scale)
}

impl FromStr for SampleRule {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let operators = || {
            let count = text.strip_prefix("ops:")?.parse().ok();
            let count = count.filter(|count: &NonZero<u32>| count.get() <= 1 << 20);
            count.map(Self::Operators)
        };
        let bursts = || {
            let (burst, period) = text.split_once('/')?;
            let (burst, period) = (instructions(burst)?, instructions(period)?);
            let is_sound = burst > 0 && burst <= period && period < 1 << 50;
            is_sound.then_some(Self::Bursts(BurstRule { burst, period }))
        };
        operators().or_else(bursts).ok_or_else(|| {
            format!(
                "`{text}`: write ops:K, K being how many like instances of an operator to observe, as in ops:4, or \
                 BURST/PERIOD in inst, kinst, Minst or Ginst, as in 1Minst/20Minst"
            )
        })
    }
}

impl fmt::Display for SampleRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = |instructions: u64| {
            let units = UNITS.iter().rev();
            let (unit, scale) = units
                .copied()
                .find(|(_, scale)| instructions.is_multiple_of(*scale))
                .unwrap_or(("inst", 1));
            format!("{}{unit}", instructions / scale)
        };
        match self {
            Self::Operators(operators) => write!(f, "ops:{operators}"),
            Self::Bursts(rule) => write!(f, "{}/{}", count(rule.burst), count(rule.period)),
        }
    }
}

impl SampleRule {
    /// Of operators, how many of each stretch of a series are observed.
    #[must_use]
    pub fn operators(self) -> Option<u32> {
        match self {
            Self::Operators(count) => Some(count.get()),
            Self::Bursts(_) => None,
        }
    }
}

/// What instances of a series have in common.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Series {
    /// The thread.
    pub thread: u32,
    /// Name of the phase.
    pub phase: String,
    /// Operator kind.
    pub kind: String,
    /// The operator's name without digits.
    pub name: String,
    /// Elements of the result.
    pub shape: String,
    /// Type of the result's elements.
    pub element_type: String,
    /// Bytes of the weights that it reads.
    pub weight_bytes: u64,
}

impl Series {
    /// Stretches of the run, whatever they hold.
    pub(crate) fn bursts() -> Self {
        Self {
            thread: 0,
            phase: String::new(),
            kind: "burst".to_owned(),
            name: String::new(),
            shape: String::new(),
            element_type: String::new(),
            weight_bytes: 0,
        }
    }

    /// The series of an instance.
    #[must_use]
    pub fn new(thread: u32, phase: &str, operator: &Operator, weight_bytes: u64) -> Self {
        Self {
            thread,
            phase: phase.to_owned(),
            kind: operator.kind.clone(),
            name: operator.name.replace(|c: char| c.is_ascii_digit(), ""),
            shape: operator.shape.clone(),
            element_type: operator.element_type.clone(),
            weight_bytes,
        }
    }
}

/// What becomes of what a thread does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fate {
    /// It is observed, and not as part of a sample.
    #[default]
    Whole,
    /// It is simulated: for what it shows, or, of bursts, to warm the caches.
    Sampled(SampleId),
    /// It goes by.
    Skipped,
}

/// An instance that is observed.
#[derive(Clone, Debug)]
struct Instance {
    series: usize,
    ordinal: u64,
    arguments: Arc<[Argument]>,
}

/// Draws the sample while the program runs.
#[derive(Debug)]
pub(crate) struct Sampler {
    count: NonZero<u32>,
    index: FxHashMap<Series, usize>,
    /// By series: instances so far.
    counts: Vec<u64>,
    /// The first stands for what warms the caches.
    instances: Vec<Option<Instance>>,
    pub(crate) warming: Warming,
}

/// What warms the caches, as if it were an instance.
pub(crate) const WARM_UP: SampleId = 0;

impl Sampler {
    pub(crate) fn new(count: NonZero<u32>) -> Self {
        Self {
            count,
            index: FxHashMap::default(),
            counts: Vec::new(),
            instances: vec![None],
            warming: Warming::default(),
        }
    }

    /// The number of a series.
    pub(crate) fn number(&mut self, series: Series) -> usize {
        *self.index.entry(series).or_insert_with(|| {
            self.counts.push(0);
            self.counts.len() - 1
        })
    }

    /// Another instance of a series begins.
    pub(crate) fn enter(&mut self, thread: u32, series: Series, arguments: &Arc<[Argument]>) -> Fate {
        let series = self.number(series);
        self.draw(thread, series, self.counts[series], arguments)
    }

    /// What becomes of an instance of a series by its number.
    pub(crate) fn draw(
        &mut self,
        thread: u32,
        series: usize,
        ordinal: u64,
        arguments: &Arc<[Argument]>,
    ) -> Fate {
        let Some(count) = self.counts.get_mut(series) else {
            return Fate::Skipped;
        };
        *count = ordinal + 1;
        if !draw(self.count.get(), ordinal).1 {
            self.warming.pass(thread, series, Arc::clone(arguments));
            return Fate::Skipped;
        }
        self.instances.push(Some(Instance {
            series,
            ordinal,
            arguments: Arc::clone(arguments),
        }));
        Fate::Sampled(self.instances.len() as SampleId - 1)
    }

    /// What series touch is learnt from the rows that have come since the last call. `whose`: the instance that a row belongs to.
    pub(crate) fn learn(
        &mut self,
        ledger: &Ledger,
        whose: impl Fn(RowId) -> Option<SampleId>,
        kind: impl Fn(RowId) -> AccessKind,
        is_fixed: impl Fn(RowId) -> bool,
    ) {
        let instances = &self.instances;
        let described = |row| {
            let id = whose(row)?;
            let instance = instances[id as usize].as_ref()?;
            Some((id, instance.series, Arc::clone(&instance.arguments)))
        };
        self.warming.learn(ledger, described, kind, is_fixed);
    }

    /// The sample, once the run is over. A last stretch without any observation joins the one before.
    pub(crate) fn finish(self) -> Sample {
        let mut series: Vec<(Series, usize)> = self.index.into_iter().collect();
        series.sort_unstable_by_key(|(_, index)| *index);
        let mut strata: Vec<Stratum> = Vec::new();
        // By series and stretch: its stratum.
        let mut numbers: Vec<Vec<u32>> = Vec::with_capacity(series.len());
        for (series, index) in series {
            let first_of_series = strata.len();
            let mut of_stretch = Vec::new();
            let mut drawn = Vec::new();
            for ordinal in 0..self.counts[index] {
                let (stretch, observed) = draw(self.count.get(), ordinal);
                if stretch as usize == of_stretch.len() {
                    of_stretch.push(strata.len() as u32);
                    strata.push(Stratum {
                        series: series.clone(),
                        first: ordinal,
                        instances: 0,
                        observed: 0,
                        trend: 0.0,
                        centre: 0.0,
                    });
                }
                if let Some(stratum) = strata.last_mut() {
                    stratum.instances += 1;
                    stratum.observed += u64::from(observed);
                }
                if observed {
                    drawn.push((of_stretch.len() - 1, ordinal));
                }
            }
            if strata.len() > first_of_series + 1
                && let Some(last) = strata.pop_if(|last| last.observed == 0)
                && let Some(before) = strata.last_mut()
            {
                before.instances += last.instances;
                of_stretch.pop();
            }
            calibrate(&mut strata[first_of_series..], &drawn);
            numbers.push(of_stretch);
        }
        let of_instance = self.instances.iter().map(|instance| {
            instance.as_ref().map(|instance| {
                let stretch = draw(self.count.get(), instance.ordinal).0 as usize;
                Observation {
                    stratum: numbers[instance.series][stretch],
                    instance: u32::try_from(instance.ordinal).unwrap_or(u32::MAX),
                }
            })
        });
        Sample {
            rule: SampleRule::Operators(self.count),
            warm_ups: self.warming.replayed(),
            of_instance: of_instance.collect(),
            strata,
        }
    }
}

/// Instances of one series in one stretch of the run.
#[derive(Clone, Debug, PartialEq)]
pub struct Stratum {
    /// What they have in common.
    pub series: Series,
    /// The first of them, by its number in the series.
    pub first: u64,
    /// How many ran.
    pub instances: u64,
    /// How many were observed.
    pub observed: u64,
    /// Number *i* of the series, if observed, stands for 1 + `trend` · (*i* - `centre`) times as many instances as the mean
    /// of the stratum's observed ones.
    pub trend: f64,
    /// See `trend`.
    pub centre: f64,
}

/// Weighs what was observed of a series so that its instances' numbers, which are known of all, add up to what they do in
/// the whole run: what grows with them, as attention's keys do from token to token, is then estimated without error, and what
/// does not is estimated as before (calibration on one variable, the linear regression estimator: Deville and Särndal, J. Am. Stat. Assoc.
/// 87, 1992). `drawn`: the observed ones' strata and numbers. Strata that were observed whole stay as they are, and no instance counts
/// less than nothing or more than twice.
fn calibrate(strata: &mut [Stratum], drawn: &[(usize, u64)]) {
    let is_expanded = |stratum: &Stratum| stratum.observed < stratum.instances;
    let (mut instances, mut numbers) = (0.0, 0.0);
    for stratum in strata.iter().filter(|stratum| is_expanded(stratum)) {
        let count = stratum.instances as f64;
        instances += count;
        numbers += count * (stratum.first as f64 + (count - 1.0) / 2.0);
    }
    let observed: Vec<(f64, f64)> = drawn
        .iter()
        .filter_map(|(at, number)| {
            let stratum = strata.get(*at).filter(|stratum| is_expanded(stratum))?;
            Some((stratum.instances as f64 / stratum.observed as f64, *number as f64))
        })
        .collect();
    let sum: f64 = observed.iter().map(|(weight, number)| weight * number).sum();
    let centre = sum / instances;
    let distances = || observed.iter().map(|(weight, number)| (weight, number - centre));
    let squares: f64 = distances()
        .map(|(weight, distance)| weight * distance * distance)
        .sum();
    let farthest = distances()
        .map(|(_, distance)| distance.abs())
        .fold(0.0, f64::max);
    if observed.is_empty() || squares <= 0.0 {
        return;
    }
    let trend = ((numbers - sum) / squares).clamp(-farthest.recip(), farthest.recip());
    for stratum in strata.iter_mut().filter(|stratum| is_expanded(stratum)) {
        (stratum.trend, stratum.centre) = (trend, centre);
    }
}

/// Where an observed instance belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Observation {
    /// Its stratum.
    pub stratum: u32,
    /// Its number in its series.
    pub instance: u32,
}

/// A sample that was drawn.
#[derive(Clone, Debug)]
pub struct Sample {
    /// How.
    pub rule: SampleRule,
    /// Instances or stretches that only warmed the caches.
    pub warm_ups: u64,
    /// What there was to draw from.
    pub strata: Vec<Stratum>,
    /// By [`SampleId`]: where the instance belongs; none if it warmed the caches.
    pub of_instance: Vec<Option<Observation>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(name: &str) -> Series {
        let operator = Operator {
            kind: "MUL_MAT".to_owned(),
            name: name.to_owned(),
            layer: None,
            shape: "64".to_owned(),
            element_type: "F32".to_owned(),
            sources: String::new(),
        };
        Series::new(0, "decode", &operator, 1024)
    }

    #[test]
    fn rules_are_read_and_mistakes_named() {
        let rule: SampleRule = "ops:4".parse().expect("a rule");
        assert_eq!(rule.to_string(), "ops:4");
        let rule: SampleRule = "500kinst/20Minst".parse().expect("a rule");
        assert_eq!(rule.to_string(), "500kinst/20Minst");
        for wrong in [
            "",
            "4",
            "ops:",
            "ops:0",
            "ops:-1",
            "ops:4.5",
            "1000/10000",
            "2Minst/1Minst",
            "0inst/1Minst",
            "1Minst",
            "1ms/10ms",
            "ops:9999999999",
        ] {
            let error = wrong.parse::<SampleRule>().expect_err(wrong);
            assert!(error.contains("ops:K"), "{error}");
        }
    }

    #[test]
    fn each_stretch_is_drawn_from_alike() {
        let drawn: Vec<u64> = (0..3 << 12).filter(|ordinal| draw(3, *ordinal).1).collect();
        assert_eq!(drawn[..3], [0, 1, 2]);
        for stretch in 0..4 {
            let start = 3u64 << (3 * stretch);
            // One in each third.
            for cell in 0..3u64 {
                let bytes = 7 << (3 * stretch);
                let cell = start + cell * bytes..start + (cell + 1) * bytes;
                assert_eq!(
                    drawn.iter().filter(|ordinal| cell.contains(ordinal)).count(),
                    1,
                    "{cell:?}"
                );
            }
        }
    }

    /// Instances whose figure grows by the same amount from one to the next: their sum is estimated exactly if the last ones are near an
    /// observed one, and better than without the trend if not; the number of instances always.
    #[test]
    fn what_grows_with_the_instances_is_not_biased() {
        let lengths = [
            (20, true),
            (30, false),
            (100, true),
            (160, true),
            (320, false),
            (600, true),
            (1000, true),
            (1500, false),
        ];
        for (length, is_exact) in lengths {
            let mut sampler = Sampler::new(NonZero::new(2).expect("two"));
            for _ in 0..length {
                sampler.enter(0, series("attention"), &Arc::default());
            }
            let sample = sampler.finish();
            let estimate = |has_trend: bool, value: &dyn Fn(f64) -> f64| -> f64 {
                let observed = sample.of_instance.iter().flatten();
                let expanded = observed.map(|observation| {
                    let stratum = &sample.strata[observation.stratum as usize];
                    let number = f64::from(observation.instance);
                    let share = 1.0 + stratum.trend * (number - stratum.centre);
                    assert!((-1e-9..=2.0 + 1e-9).contains(&share), "{share}");
                    let share = if has_trend { share } else { 1.0 };
                    share * stratum.instances as f64 / stratum.observed as f64 * value(number)
                });
                expanded.sum()
            };
            let length = f64::from(length);
            assert!((estimate(true, &|_| 1.0) / length - 1.0).abs() < 1e-9, "{length}");
            let grows = |number| 5.0 + number;
            let truth = 5.0 * length + length * (length - 1.0) / 2.0;
            let error = |has_trend| (estimate(has_trend, &grows) / truth - 1.0).abs();
            assert!(
                error(true) < if is_exact { 1e-9 } else { error(false) },
                "{length}"
            );
        }
    }

    #[test]
    fn layers_share_a_series_and_every_instance_is_accounted_for() {
        let mut sampler = Sampler::new(NonZero::new(2).expect("two"));
        let mut simulated = Vec::new();
        let none: Arc<[Argument]> = Arc::default();
        for layer in 0..1000u64 {
            if let Fate::Sampled(id) = sampler.enter(0, series(&format!("ffn_up-{layer}")), &none) {
                simulated.push((id as usize, layer));
            }
        }
        sampler.enter(0, series("other"), &none);
        let sample = sampler.finish();
        assert_eq!(
            sample.strata.iter().map(|stratum| stratum.instances).sum::<u64>(),
            1001
        );
        for (number, stratum) in (0..).zip(&sample.strata) {
            let observed: Vec<u64> = sample
                .of_instance
                .iter()
                .flatten()
                .filter(|observation| observation.stratum == number)
                .map(|observation| observation.instance.into())
                .collect();
            assert_eq!(observed.len() as u64, stratum.observed);
            assert!(stratum.observed >= 1, "{stratum:?}");
            let range = stratum.first..stratum.first + stratum.instances;
            assert!(
                observed.iter().all(|ordinal| range.contains(ordinal)),
                "{stratum:?}"
            );
        }
        for (id, layer) in &simulated {
            let observation = sample.of_instance[*id].expect("an instance");
            assert_eq!(u64::from(observation.instance), *layer);
        }
        assert!(simulated.len() < 12, "{}", simulated.len());
    }
}
