//! What a controller is told to do: queues, scheduler, row policy, refresh, RowHammer mitigation.

use serde::{Deserialize, Serialize};

use crate::dram::RefreshMode;
use crate::dram::error::DramError;

/// The policies and sizes of one channel's controller. Times are in command clocks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ControllerConfig {
    /// Entries of the read queue.
    pub read_queue: u16,
    /// Entries of the write queue.
    pub write_queue: u16,
    /// Above this share of the write queue, writes are drained.
    pub write_high_watermark: f64,
    /// Below this share of the write queue, draining ends if there are reads.
    pub write_low_watermark: f64,
    /// Which command goes first.
    pub scheduler: Scheduler,
    /// When rows are closed.
    pub row_policy: RowPolicy,
    /// How it is refreshed; `None` for the standard's default.
    pub refresh: Option<RefreshMode>,
    /// No refresh at all.
    pub no_refresh: bool,
    /// Refreshes that may be put off while there are requests (JEDEC: at most 8).
    pub refresh_postpone: u8,
    /// Refreshes that may be done ahead while there are none (JEDEC: at most 8).
    pub refresh_pull_in: u8,
    /// A request that waited this long goes before all others of its bank, and its direction before the other.
    pub starvation_limit: u64,
    /// Priority of each source, highest first; sources beyond the list have 0.
    pub priorities: Vec<u8>,
    /// What is done against RowHammer.
    pub mitigation: Mitigation,
}

impl Default for ControllerConfig {
    /// Those of Ramulator 2.1, with a bound on starvation.
    fn default() -> Self {
        Self {
            read_queue: 32,
            write_queue: 32,
            write_high_watermark: 0.8,
            write_low_watermark: 0.2,
            scheduler: Scheduler::FrFcfs,
            row_policy: RowPolicy::Open,
            refresh: None,
            no_refresh: false,
            refresh_postpone: 0,
            refresh_pull_in: 0,
            starvation_limit: 20_000,
            priorities: Vec::new(),
            mitigation: Mitigation::None,
        }
    }
}

/// Which of the commands that could issue does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scheduler {
    /// The oldest request's next command, or none.
    Fcfs,
    /// First ready: the oldest request of those whose next command may issue now, be it a column or a row command, as
    /// in Ramulator 2. A row that was opened for a request stays open until it is served.
    FrFcfs,
    /// Row hits first, then first ready (Rixner et al., ISCA 2000); after this many column commands to a row, a bank
    /// with a request to another row serves that one first. 0 is no cap.
    FrFcfsCap(u32),
    /// Requests of sources that were not just served several times in a row, then row hits, then the oldest
    /// (Subramanian et al., ICCD 2014).
    Bliss {
        /// Requests in a row that blacklist a source.
        threshold: u32,
        /// Clocks after which all blacklisted sources are forgiven.
        clear_every: u64,
    },
}

/// When a row is closed that no request waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RowPolicy {
    /// When another row of the bank is needed.
    Open,
    /// With the last column command that is queued for it.
    Closed,
    /// After this many column commands.
    Capped(u32),
    /// After this many clocks without a column command.
    Timeout(u64),
    /// As open or as closed, by a two-bit counter per bank that learns from what the next request would have found.
    Adaptive,
}

/// What is done against RowHammer.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mitigation {
    /// Nothing.
    None,
    /// Refresh management: an RFM after this many activations of a bank (RAAIMT).
    Rfm(u32),
    /// Per-row activation counting in the DRAM: a row that reaches the threshold raises an alert, which the controller
    /// answers with an RFM that refreshes its neighbours.
    Prac(u32),
    /// With this probability, an activation refreshes a neighbour (Kim et al., ISCA 2014).
    Para(f64),
    /// Frequent rows by Misra-Gries; at each multiple of the threshold both neighbours are refreshed (Park et al.,
    /// MICRO 2020).
    Graphene {
        /// Activations.
        threshold: u32,
        /// Rows counted per bank.
        entries: u16,
    },
}

/// Splits `name=a,b` into its name and numbers.
fn words(text: &str) -> (&str, Vec<&str>) {
    match text.split_once('=') {
        Some((name, list)) => (name, list.split(',').collect()),
        None => (text, Vec::new()),
    }
}

fn number<T: std::str::FromStr>(values: &[&str], place: usize, default: T) -> Option<T> {
    values.get(place).map_or(Some(default), |text| text.parse().ok())
}

impl std::str::FromStr for Scheduler {
    type Err = DramError;

    fn from_str(text: &str) -> Result<Self, DramError> {
        let (name, values) = words(text);
        let found = match (name, values.len()) {
            ("fcfs", 0) => Some(Self::Fcfs),
            ("fr-fcfs", 0) => Some(Self::FrFcfs),
            ("fr-fcfs-cap", 0..=1) => number(&values, 0, 4).map(Self::FrFcfsCap),
            ("bliss", 0..=2) => {
                number(&values, 0, 4)
                    .zip(number(&values, 1, 10_000))
                    .map(|(threshold, clear_every)| Self::Bliss {
                        threshold,
                        clear_every,
                    })
            }
            _ => None,
        };
        found.ok_or_else(|| {
            DramError::Controller(format!(
                "scheduler '{text}': use fcfs, fr-fcfs, fr-fcfs-cap[=COLUMNS] or bliss[=REQUESTS[,CLOCKS]]"
            ))
        })
    }
}

impl std::str::FromStr for RowPolicy {
    type Err = DramError;

    fn from_str(text: &str) -> Result<Self, DramError> {
        let (name, values) = words(text);
        let found = match (name, values.len()) {
            ("open", 0) => Some(Self::Open),
            ("closed", 0) => Some(Self::Closed),
            ("capped", 0..=1) => number(&values, 0, 4).filter(|cap| *cap > 0).map(Self::Capped),
            ("timeout", 0..=1) => number(&values, 0, 200).map(Self::Timeout),
            ("adaptive", 0) => Some(Self::Adaptive),
            _ => None,
        };
        found.ok_or_else(|| {
            DramError::Controller(format!(
                "row policy '{text}': use open, closed, capped[=COLUMNS], timeout[=CLOCKS] or adaptive"
            ))
        })
    }
}

impl std::str::FromStr for Mitigation {
    type Err = DramError;

    fn from_str(text: &str) -> Result<Self, DramError> {
        let (name, values) = words(text);
        let positive = |value: &u32| *value > 0;
        let found = match (name, values.len()) {
            ("none", 0) => Some(Self::None),
            ("rfm", 0..=1) => number(&values, 0, 32).filter(positive).map(Self::Rfm),
            ("prac", 0..=1) => number(&values, 0, 512).filter(positive).map(Self::Prac),
            ("para", 0..=1) => number(&values, 0, 0.001)
                .filter(|p| (0.0..=1.0).contains(p))
                .map(Self::Para),
            ("graphene", 0..=2) => number(&values, 0, 2048)
                .filter(positive)
                .zip(number(&values, 1, 64).filter(|entries| *entries > 0))
                .map(|(threshold, entries)| Self::Graphene { threshold, entries }),
            _ => None,
        };
        found.ok_or_else(|| {
            DramError::Controller(format!(
                "mitigation '{text}': use none, rfm[=ACTIVATIONS], prac[=ACTIVATIONS], para[=PROBABILITY] or \
                 graphene[=ACTIVATIONS[,ENTRIES]]"
            ))
        })
    }
}
