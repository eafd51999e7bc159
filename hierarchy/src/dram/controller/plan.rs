//! What does not change while a channel runs: the device, its timing table, the configuration in ticks.

use super::choose::ROW_COMMAND;
use super::config::{ControllerConfig, Mitigation, RowPolicy, Scheduler};
use crate::dram::command::Command;
use crate::dram::device::{Device, RefreshMode};
use crate::dram::error::DramError;
use crate::dram::timing::{Tick, TimingTable};

/// A device, a configuration and what follows from both.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The device; with fine-granularity refresh, its tREFI and tRFC are those.
    pub device: Device,
    /// The configuration.
    pub config: ControllerConfig,
    /// Chip selects.
    pub ranks: u32,
    pub(super) table: TimingTable,
    pub(super) refresh: RefreshMode,
    pub(super) manage: Command,
    pub(super) scheduler: Scheduler,
    pub(super) row_policy: RowPolicy,
    /// In the orders of row commands.
    pub(super) row_order: u64,
    /// Column commands to a row before a request to another row goes first; without one, age alone decides.
    pub(super) column_cap: Option<u32>,
    /// Of the write queue.
    pub(super) high_watermark: u16,
    pub(super) low_watermark: u16,
    /// Age alone does not decide, even among those that don't starve.
    pub(super) prefers: bool,
    /// More has to be considered for a choice than the lanes of requests.
    pub(super) chooses_specially: bool,
    pub(super) starvation_ticks: Tick,
    pub(super) clear_ticks: Tick,
    pub(super) timeout_ticks: Tick,
    /// Nothing is refreshed.
    pub(super) no_refresh: bool,
    /// Between two refresh commands to a domain.
    pub(super) refresh_ticks: Tick,
    /// Some requests go before older ones whatever their row.
    pub(super) by_source: bool,
    pub(super) banks_per_rank: usize,
    pub(super) banks_per_domain: usize,
}

impl Plan {
    /// Checks and compiles.
    pub fn new(device: &Device, ranks: u32, config: ControllerConfig) -> Result<Self, DramError> {
        let refused = |message: String| Err(DramError::Controller(format!("{}: {message}", device.name)));
        let default = device.refresh_modes.first().copied();
        let refresh = config.refresh.or(default).unwrap_or_default();
        let found = match (default, config.refresh) {
            (None, None) => Some(device.clone()),
            _ => device.with_refresh(refresh),
        };
        let Some(device) = found else {
            return refused(format!("it has no {refresh:?} refresh"));
        };
        let banks = u64::from(ranks * device.stack_ids * device.pseudo_channels)
            * u64::from(device.bank_groups * device.banks);
        if ranks == 0 || banks > 4096 {
            return refused(format!(
                "{ranks} ranks make {banks} banks: from 1 to 4096 can be simulated"
            ));
        }
        if device.standard.starts_with("GDDR") && ranks > 1 {
            return refused(format!(
                "{ranks} ranks: GDDR is point to point, one rank per channel; use more channels"
            ));
        }
        for size in [config.read_queue, config.write_queue] {
            if !(1..=8192).contains(&size) {
                return refused(format!("a queue of {size} entries: use 1 to 8192"));
            }
        }
        let (low, high) = (config.write_low_watermark, config.write_high_watermark);
        if !(0.0..=1.0).contains(&low) || !(0.0..=1.0).contains(&high) || low > high {
            return refused(format!(
                "write watermarks {low} and {high}: use 0 <= low <= high <= 1"
            ));
        }
        if config.refresh_postpone > 8 || config.refresh_pull_in > 8 {
            return refused("at most 8 refreshes can be postponed or pulled in".into());
        }
        let per_second = device.ticks_per_clock;
        let table = TimingTable::new(&device, ranks);
        let has = |command| device.constraints.iter().any(|c| c.preceding.contains(&command));
        let managers = [Command::ManageBank, Command::ManageSame, Command::ManageAll];
        let manage = managers.into_iter().find(|command| has(*command));
        if matches!(config.mitigation, Mitigation::Rfm(_) | Mitigation::Prac(_)) && manage.is_none() {
            return refused("its standard has no refresh management (RFM)".into());
        }
        let domains = match refresh {
            RefreshMode::PerBank => table.banks_per_rank() as u64,
            RefreshMode::SameBank => u64::from(device.banks),
            _ => 1,
        };
        Ok(Self {
            ranks,
            refresh,
            manage: manage.unwrap_or(Command::ManageAll),
            scheduler: config.scheduler,
            row_policy: config.row_policy,
            row_order: match config.scheduler {
                Scheduler::FrFcfs | Scheduler::Fcfs => 0,
                _ => ROW_COMMAND,
            },
            column_cap: match config.scheduler {
                Scheduler::FrFcfsCap(0) | Scheduler::Bliss { .. } => Some(u32::MAX),
                Scheduler::FrFcfsCap(cap) => Some(cap),
                _ => None,
            },
            prefers: config.scheduler != Scheduler::FrFcfs,
            chooses_specially: config.scheduler != Scheduler::FrFcfs
                || matches!(config.row_policy, RowPolicy::Timeout(_)),
            // A queue is above a share of it when it holds more than that many entries, below it when fewer.
            high_watermark: (f64::from(config.write_queue) * high).floor() as u16,
            // Without writes there is nothing to drain, even where that is 0.
            low_watermark: ((f64::from(config.write_queue) * low).ceil() as u16).max(1),
            starvation_ticks: config.starvation_limit * per_second,
            clear_ticks: match config.scheduler {
                Scheduler::Bliss { clear_every, .. } => clear_every.max(1) * per_second,
                _ => Tick::MAX,
            },
            timeout_ticks: match config.row_policy {
                RowPolicy::Timeout(clocks) => clocks * per_second,
                _ => Tick::MAX,
            },
            no_refresh: config.no_refresh || default.is_none(),
            refresh_ticks: (device.refresh_interval_ticks / domains).max(1),
            by_source: config.scheduler != Scheduler::Fcfs
                && (!config.priorities.is_empty() || matches!(config.scheduler, Scheduler::Bliss { .. })),
            banks_per_rank: table.banks_per_rank(),
            banks_per_domain: table.banks_per_domain(),
            table,
            device,
            config,
        })
    }
}
