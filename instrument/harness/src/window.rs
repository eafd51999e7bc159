//! `--after` and `--for`: the stretch of a run that is simulated, in units of the program's own progress.
//!
//! Instances are counted on each thread, which in a thread pool gives all threads of one operator the same number.
//! Instructions count on all threads together, and only where they are captured; the cut is exact to one batch of the
//! decoder (1024 blocks). Tokens are numbered phases: steps of generation.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// An amount of progress.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Extent {
    /// Captured instructions.
    Instructions(u64),
    /// Instances of the region; without one, of operators.
    Instances(u64),
    /// Numbered phases.
    Tokens(u64),
    /// Time since the start of the run.
    Time(Duration),
}

/// Units as they are written, singular and plural alike.
const UNITS: &str = "ops, tokens, s, ms, inst, kinst, Minst, Ginst";

impl FromStr for Extent {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let digits = text
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(text.len());
        let (number, unit) = text.split_at(digits);
        let wrong = || format!("`{text}`: a number and one of {UNITS} is needed, as in 4ops or 2.5s");
        let value: f64 = number.parse().map_err(|_| wrong())?;
        let count = |scale: f64| {
            let count = value * scale;
            if count.fract() == 0.0 && count < 9e15 {
                Ok(count as u64)
            } else {
                Err(format!("`{text}`: a whole number is needed"))
            }
        };
        match unit {
            "op" | "ops" => count(1.0).map(Self::Instances),
            "token" | "tokens" => count(1.0).map(Self::Tokens),
            "inst" => count(1.0).map(Self::Instructions),
            "kinst" => count(1e3).map(Self::Instructions),
            "Minst" => count(1e6).map(Self::Instructions),
            "Ginst" => count(1e9).map(Self::Instructions),
            "s" => Duration::try_from_secs_f64(value)
                .map(Self::Time)
                .map_err(|_| wrong()),
            "ms" => Duration::try_from_secs_f64(value / 1e3)
                .map(Self::Time)
                .map_err(|_| wrong()),
            _ => Err(wrong()),
        }
    }
}

impl fmt::Display for Extent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Instructions(count) => write!(f, "{count}inst"),
            Self::Instances(count) => write!(f, "{count}ops"),
            Self::Tokens(count) => write!(f, "{count}tokens"),
            Self::Time(time) => write!(f, "{}s", time.as_secs_f64()),
        }
    }
}

/// Where the program is.
#[derive(Clone, Copy, Debug, Default)]
pub struct Moment {
    /// Instructions captured so far.
    pub instructions: u64,
    /// Instances that the thread in question has entered.
    pub instances: u64,
    /// Numbered phases that have begun.
    pub tokens: u64,
    /// Whether the last of them is going on.
    pub in_token: bool,
    /// Time since the start.
    pub time: Duration,
}

/// The stretch that is simulated.
#[derive(Clone, Debug, Default)]
pub struct Window {
    after: Option<Extent>,
    length: Option<Extent>,
    /// When it opened; instances by thread are in `opened_instances`.
    opened: Option<Moment>,
    opened_instances: Vec<Option<u64>>,
}

impl Window {
    /// From `after` the start on, `length` long; `None` means no bound.
    #[must_use]
    pub fn new(after: Option<Extent>, length: Option<Extent>) -> Self {
        Self {
            after,
            length,
            ..Self::default()
        }
    }

    /// Whether what `thread` does now lies in it. `now` never goes back.
    pub fn admits(&mut self, thread: u32, now: Moment) -> bool {
        if self.opened.is_none() {
            let begun = match self.after {
                None => true,
                Some(Extent::Instructions(count)) => now.instructions >= count,
                Some(Extent::Instances(count)) => now.instances > count,
                Some(Extent::Tokens(count)) => now.tokens > count,
                Some(Extent::Time(time)) => now.time >= time,
            };
            if !begun {
                return false;
            }
            self.opened = Some(now);
        }
        let opened = self.opened.unwrap_or_default();
        match self.length {
            None => true,
            Some(Extent::Instructions(count)) => now.instructions - opened.instructions < count,
            Some(Extent::Instances(count)) => {
                // The instance that opened the window is the first; so it is on threads that are still to reach it.
                let before = match self.after {
                    Some(Extent::Instances(after)) => after,
                    _ => self.instances_before(thread, now),
                };
                now.instances > before && now.instances - before <= count
            }
            Some(Extent::Tokens(count)) => {
                let before = opened.tokens - u64::from(opened.in_token);
                let begun = now.tokens - before;
                begun < count || begun == count && now.in_token
            }
            Some(Extent::Time(time)) => now.time - opened.time < time,
        }
    }

    /// Nothing before this moment's end is wanted on any thread, or nothing any more. Instances are not looked at: the engine
    /// counts them itself.
    #[must_use]
    pub fn is_closed(&self, now: Moment) -> bool {
        let Some(opened) = self.opened else {
            return matches!(self.after, Some(Extent::Tokens(count)) if now.tokens <= count);
        };
        match self.length {
            Some(Extent::Instructions(count)) => now.instructions - opened.instructions >= count,
            Some(Extent::Time(time)) => now.time - opened.time >= time,
            Some(Extent::Tokens(count)) => {
                let begun = now.tokens - (opened.tokens - u64::from(opened.in_token));
                begun > count || begun == count && !now.in_token
            }
            None | Some(Extent::Instances(_)) => false,
        }
    }

    /// The instances of each thread that are wanted, as far as they can be told beforehand: the first and the last.
    #[must_use]
    pub fn instances(&self) -> Option<(u64, u64)> {
        match (self.after, self.length) {
            (Some(Extent::Instances(after)), Some(Extent::Instances(count))) => {
                Some((after + 1, after.saturating_add(count)))
            }
            (Some(Extent::Instances(after)), _) => Some((after + 1, u64::MAX)),
            (None, Some(Extent::Instances(count))) => Some((0, count)),
            _ => None,
        }
    }

    /// Whether there is any bound.
    #[must_use]
    pub fn is_bounded(&self) -> bool {
        self.after.is_some() || self.length.is_some()
    }

    /// Instances of a thread that were over when the window opened for it.
    fn instances_before(&mut self, thread: u32, now: Moment) -> u64 {
        let index = thread as usize;
        if self.opened_instances.len() <= index {
            self.opened_instances.resize(index + 1, None);
        }
        *self.opened_instances[index].get_or_insert(now.instances.saturating_sub(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn extent(text: &str) -> Extent {
        text.parse().expect("an extent")
    }

    /// Which of `moments` a window admits on thread 0.
    fn admitted(after: Option<&str>, length: Option<&str>, moments: &[Moment]) -> Vec<usize> {
        let mut window = Window::new(after.map(extent), length.map(extent));
        (0..moments.len())
            .filter(|&index| window.admits(0, moments[index]))
            .collect()
    }

    #[test]
    fn extents_are_numbers_with_units() {
        assert_eq!(extent("4ops"), Extent::Instances(4));
        assert_eq!(extent("1token"), Extent::Tokens(1));
        assert_eq!(extent("1.5Minst"), Extent::Instructions(1_500_000));
        assert_eq!(extent("250ms"), Extent::Time(Duration::from_millis(250)));
        for wrong in [
            "", "4", "ops", "4 ops", "-1s", "1.5ops", "3weeks", "1e3inst", "1..2s",
        ] {
            let error = wrong.parse::<Extent>().expect_err(wrong);
            assert!(error.contains('`'), "{error}");
        }
    }

    #[test]
    fn instances() {
        let moments: Vec<Moment> = [0, 1, 1, 2, 3, 4, 5]
            .map(|instances| Moment {
                instances,
                ..Moment::default()
            })
            .into();
        assert_eq!(admitted(None, None, &moments), [0, 1, 2, 3, 4, 5, 6]);
        assert_eq!(admitted(Some("2ops"), None, &moments), [4, 5, 6]);
        assert_eq!(admitted(Some("2ops"), Some("2ops"), &moments), [4, 5]);
        assert_eq!(admitted(None, Some("1op"), &moments), [1, 2]);
    }

    #[test]
    fn tokens_end_with_their_phase() {
        let moment = |tokens, in_token| Moment {
            tokens,
            in_token,
            ..Moment::default()
        };
        let moments = [
            moment(0, false),
            moment(1, true),
            moment(1, false),
            moment(2, true),
            moment(2, false),
            moment(3, true),
            moment(3, false),
        ];
        assert_eq!(admitted(Some("1token"), Some("1token"), &moments), [3]);
        assert_eq!(admitted(Some("1token"), Some("2tokens"), &moments), [3, 4, 5]);
        assert_eq!(admitted(None, Some("1token"), &moments), [0, 1]);
    }

    #[test]
    fn instructions_and_time() {
        let moments: Vec<Moment> = (0..10)
            .map(|step| Moment {
                instructions: step * 100,
                time: Duration::from_millis(step),
                ..Moment::default()
            })
            .collect();
        assert_eq!(admitted(Some("200inst"), Some("300inst"), &moments), [2, 3, 4]);
        assert_eq!(admitted(Some("7ms"), None, &moments), [7, 8, 9]);
        assert_eq!(admitted(Some("200inst"), Some("2ms"), &moments), [2, 3]);
    }
}
