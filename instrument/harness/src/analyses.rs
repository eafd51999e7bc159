//! `--analyses`: what to find out about locality while the program runs, beside the caches.

use std::fmt::Write;

use memloupe_attribute::{ContextId, Ledger, ObjectId};
use memloupe_cachesim::Run;
use memloupe_cachesim::locality::{Analysis, Findings, Locality, Options};
use memloupe_hierarchy::Machine;
use rustc_hash::FxHashMap;

/// What is measured unless something else is asked for: all that costs little where one line in a hundred is followed.
pub const DEFAULT: &str = "reuse,line-use,lifetime,sharing";

/// Capacities that line use is about where no machine says which.
const CAPACITIES_BYTES: [u64; 2] = [32 << 10, 1 << 20];

/// A value of `--analyses`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Choice {
    /// Show what there is.
    List,
    /// Measure these.
    Some(Vec<Analysis>),
}

/// Reads a value of `--analyses`.
///
/// # Errors
/// If a word is no analysis.
pub fn parse(choice: &str) -> Result<Choice, String> {
    match choice {
        "list" => return Ok(Choice::List),
        "none" => return Ok(Choice::Some(Vec::new())),
        "all" => return Ok(Choice::Some(Analysis::all().collect())),
        _ => {}
    }
    let words = choice.split(',').map(str::trim).filter(|word| !word.is_empty());
    let analyses = words.map(|word| {
        Analysis::parse(word).ok_or_else(|| {
            let known: Vec<&str> = Analysis::BUILTIN.iter().map(|(_, name, _)| *name).collect();
            format!(
                "there is no analysis \"{word}\": write all, none, list or some of {}",
                known.join(",")
            )
        })
    });
    analyses.collect::<Result<_, _>>().map(Choice::Some)
}

/// The table of `--analyses list`.
#[must_use]
pub fn list() -> String {
    let mut text = String::new();
    for (_, name, about) in Analysis::BUILTIN {
        let usual = DEFAULT.split(',').any(|word| word == name);
        let _ = writeln!(text, "{name:<10} {} {about}", if usual { '*' } else { ' ' });
    }
    text.push_str("* measured unless --analyses says otherwise\n");
    text
}

/// Lines followed at most where a sample is taken: 200 to 400 MiB.
const LINES_MOST: usize = 1 << 20;

/// What to measure on machines of one line size, or on none. All lines are followed whatever memory they need, unless a limit is set.
#[must_use]
pub fn options(
    analyses: Vec<Analysis>,
    one_in: u64,
    most_lines: Option<usize>,
    machines: &[Machine],
) -> Options {
    let line_bytes = machines.first().map_or(64, Machine::line_bytes);
    let levels = machines.iter().flat_map(|machine| machine.cache_config().levels);
    let mut capacities: Vec<u64> = levels
        .filter(|level| level.contents != memloupe_cachesim::Contents::Instruction)
        .map(|level| level.bytes)
        .collect();
    if machines.is_empty() {
        capacities.extend(CAPACITIES_BYTES);
    }
    capacities.sort_unstable();
    capacities.dedup();
    Options {
        analyses,
        line_bytes,
        one_in,
        most_lines: most_lines.unwrap_or(if one_in == 1 { usize::MAX } else { LINES_MOST }),
        capacities_lines: capacities
            .into_iter()
            .map(|bytes| bytes / u64::from(line_bytes))
            .collect(),
    }
}

/// Which context and object a group of rows has.
type Group = (ContextId, ObjectId);

/// The analyses at work: rows of the ledger that have context and object in common are a group.
pub struct Analyses {
    locality: Locality,
    options: Options,
    index: FxHashMap<Group, u32>,
    groups: Vec<Group>,
}

impl Analyses {
    /// Ready to measure; none if nothing is to be.
    #[must_use]
    pub fn new(options: Options) -> Option<Self> {
        (!options.analyses.is_empty()).then(|| Self {
            locality: Locality::new(&options),
            options,
            index: FxHashMap::default(),
            groups: Vec::new(),
        })
    }

    /// Takes in attributed runs of a thread.
    pub fn runs<'a>(&mut self, thread: u32, ledger: &Ledger, runs: impl Iterator<Item = Run<'a>> + Clone) {
        for row in self.locality.owner_count()..ledger.len() {
            let key = ledger.key(row as u32);
            let group = *self.index.entry((key.context, key.object)).or_insert_with(|| {
                self.groups.push((key.context, key.object));
                self.groups.len() as u32 - 1
            });
            self.locality.add_owner(group, key.context);
        }
        self.locality.runs(thread, runs);
    }

    /// What was found out.
    #[must_use]
    pub fn finish(self) -> Found {
        Found {
            options: self.options,
            groups: self.groups,
            findings: self.locality.finish(),
        }
    }
}

/// What the analyses found out.
pub struct Found {
    /// What was asked for.
    pub options: Options,
    /// Context and object of each group.
    pub groups: Vec<Group>,
    /// The results.
    pub findings: Findings,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read_and_mistakes_named() {
        assert_eq!(parse("none"), Ok(Choice::Some(Vec::new())));
        assert_eq!(parse("all"), Ok(Choice::Some(Analysis::all().collect())));
        assert_eq!(
            parse("stride, reuse"),
            Ok(Choice::Some(vec![Analysis::Stride, Analysis::Reuse]))
        );
        assert!(matches!(parse(DEFAULT), Ok(Choice::Some(some)) if !some.is_empty()));
        let error = parse("reuse,rusee").expect_err("no such analysis");
        assert!(error.contains("\"rusee\"") && error.contains("line-use"));
    }
}
