//! A device: a speed bin of a standard in one of its organisations, every parameter resolved.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::command::Command;
use super::constraint::{Constraint, Scope, evaluate};
use super::error::DramError;
use super::standard::{AllBank, BIN_WORDS, CommandBus, Currents, MeasuredFrom, Standard};
use crate::nearest::nearest;
use crate::technology::Technology;

/// How a device is refreshed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RefreshMode {
    /// REFab every tREFI.
    #[default]
    AllBank,
    /// REFab every tREFI/2, each of tRFC2.
    #[serde(rename = "fine-2x")]
    Fine2x,
    /// REFab every tREFI/4, each of tRFC4.
    #[serde(rename = "fine-4x")]
    Fine4x,
    /// REFpb of one bank after the other.
    PerBank,
    /// REFsb of one bank of every bank group after the other.
    SameBank,
}

/// One channel of a kind of DRAM, as its controller sees it.
///
/// Times in *ticks* are command clocks, or halves of them where [`ticks_per_clock`](Device::ticks_per_clock) is 2.
#[derive(Clone, Debug, PartialEq)]
pub struct Device {
    /// Its name: bin, and the organisation if it isn't the default one.
    pub name: String,
    /// The standard.
    pub standard: String,
    /// The JEDEC document that defines the standard.
    pub jedec: String,
    /// The organisation's name.
    pub organisation: String,
    /// Data rate in MT/s.
    pub rate: u32,
    /// Command clock period.
    pub t_ck_ps: u64,
    /// Ticks per command clock.
    pub ticks_per_clock: u64,
    /// Pseudo-channels per channel: they share the command buses.
    pub pseudo_channels: u32,
    /// Stack ids per pseudo-channel; elsewhere 1.
    pub stack_ids: u32,
    /// Bank groups per rank.
    pub bank_groups: u32,
    /// Banks per bank group.
    pub banks: u32,
    /// Rows per bank.
    pub rows: u32,
    /// Bytes of one row over all chips of the rank.
    pub row_bytes: u32,
    /// Bytes that one column command moves.
    pub burst_bytes: u32,
    /// Data bits of a channel; of HBM, of a pseudo-channel.
    pub channel_bits: u32,
    /// Timing parameters in clocks, under their names in the device file.
    pub parameters: BTreeMap<String, i64>,
    /// The constraints; their expressions are of `parameters`.
    pub constraints: Vec<Constraint>,
    /// How long each command occupies its bus.
    pub command_ticks: [u64; Command::COUNT],
    /// Times between commands run from first to first tick instead of from last to last.
    pub from_first_tick: bool,
    /// Row and column commands have a bus each.
    pub dual_bus: bool,
    /// Instances that an all-bank command reaches.
    pub all_bank: Scope,
    /// Whether a command may start between two rising edges of the clock.
    pub either_edge: [bool; Command::COUNT],
    /// From a column read to the end of its data.
    pub read_ticks: u64,
    /// From a column write to the end of its data.
    pub write_ticks: u64,
    /// From the end of a burst until the data clock stops, where the standard stops it.
    pub data_clock_off_ticks: Option<u64>,
    /// Where an activate is two commands with others between them, the longest time from the first to the second.
    pub second_activate_ticks: Option<u64>,
    /// Average time between refreshes of the whole device; [`NEVER_TICKS`](Device::NEVER_TICKS) if it needs none.
    pub refresh_interval_ticks: u64,
    /// How it can be refreshed; the first is the default. None for what needs no refresh.
    pub refresh_modes: Vec<RefreshMode>,
    /// What its cells are made of, if that is not DRAM.
    pub technology: Option<&'static Technology>,
    /// Supply currents, if there are any for it.
    pub currents: Option<Currents>,
}

impl Device {
    /// Longer than any run, and short enough to be multiplied by the rows of a refresh window.
    pub const NEVER_TICKS: u64 = u64::MAX >> 16;

    /// The built-in device of this name: a bin (`DDR4-3200AA`), or a bin and an organisation
    /// (`DDR4-3200AA/16Gb_x8`).
    pub fn find(name: &str) -> Result<Self, DramError> {
        let (bin, organisation) = match name.split_once('/') {
            Some((bin, organisation)) => (bin, Some(organisation)),
            None => (name, None),
        };
        let all = Standard::all();
        match all.iter().find(|standard| standard.bins.contains_key(bin)) {
            Some(standard) => standard.device(bin, organisation),
            None => Err(DramError::Device {
                name: name.into(),
                nearest: nearest(bin, Self::names()).map(String::from),
            }),
        }
    }

    /// Names of all built-in bins.
    pub fn names() -> impl Iterator<Item = &'static str> {
        Standard::all().iter().flat_map(Standard::bins)
    }

    /// With refresh by `mode`: fine granularity changes tREFI and tRFC. `None` if the standard does not have it.
    pub fn with_refresh(&self, mode: RefreshMode) -> Option<Self> {
        let mut device = self.clone();
        let (divisor, parameter) = match mode {
            _ if !self.refresh_modes.contains(&mode) => return None,
            RefreshMode::Fine2x => (2, "nRFC2"),
            RefreshMode::Fine4x => (4, "nRFC4"),
            _ => return Some(device),
        };
        let recovery = *self.parameters.get(parameter)?;
        device.parameters.insert("nRFC".into(), recovery);
        device.refresh_interval_ticks /= divisor;
        Some(device)
    }

    /// The value of `expression` in ticks; 0 if it is negative.
    ///
    /// # Panics
    /// If it names a parameter that the device does not have; those of [`constraints`](Device::constraints) it has.
    pub fn ticks(&self, expression: &str) -> u64 {
        let clocks = evaluate(expression, &self.parameters).unwrap_or_else(|error| panic!("{error}"));
        clocks.max(0) as u64 * self.ticks_per_clock
    }

    /// The first of these parameters that it has, in ticks.
    pub(crate) fn first_of(&self, names: &[&str]) -> Option<u64> {
        let clocks = names.iter().find_map(|name| self.parameters.get(*name))?;
        Some(*clocks as u64 * self.ticks_per_clock)
    }

    /// Ticks as time.
    pub fn picoseconds(&self, ticks: u64) -> f64 {
        ticks as f64 * self.t_ck_ps as f64 / self.ticks_per_clock as f64
    }

    fn rounded_ps(&self, ticks: u64) -> u64 {
        (ticks * self.t_ck_ps).div_ceil(self.ticks_per_clock)
    }

    /// Time from the first column read of a line to its last data; a line larger than a burst takes several from one
    /// row.
    pub fn read_hit_ps(&self, line_bytes: u32) -> u64 {
        let bursts = u64::from(line_bytes.div_ceil(self.burst_bytes));
        let spacing = self.first_of(&["nCCDL", "nCCD", "nCCDSB"]).unwrap_or(0);
        self.rounded_ps(self.read_ticks + (bursts - 1) * spacing)
    }

    /// Time from an activate to the first column read.
    pub fn activate_ps(&self) -> u64 {
        self.rounded_ps(self.first_of(&["nRCD", "nRCDRD"]).unwrap_or(0))
    }

    /// Time from a precharge to the activate.
    pub fn precharge_ps(&self) -> u64 {
        self.rounded_ps(self.first_of(&["nRP"]).unwrap_or(0))
    }

    /// Bytes of one channel of so many chip selects.
    pub fn channel_bytes(&self, ranks: u32) -> u64 {
        let banks = ranks * self.stack_ids * self.pseudo_channels * self.bank_groups * self.banks;
        u64::from(banks) * u64::from(self.rows) * u64::from(self.row_bytes)
    }

    /// Peak of one channel, in bytes per second.
    pub fn peak_bytes_per_second(&self) -> f64 {
        f64::from(self.pseudo_channels * self.channel_bits) / 8.0 * f64::from(self.rate) * 1e6
    }
}

impl Standard {
    /// The device of a bin and an organisation; without one, of the default organisation.
    pub fn device(&self, bin: &str, organisation: Option<&str>) -> Result<Device, DramError> {
        let refused = |message: String| DramError::DeviceFile {
            file: self.file.clone(),
            message,
        };
        let table = self.bins.get(bin).ok_or_else(|| DramError::Device {
            name: bin.into(),
            nearest: nearest(bin, self.bins()).map(String::from),
        })?;
        let default = self.own_organisation(bin).unwrap_or(&self.default_organisation);
        let organisation_name = organisation.unwrap_or(default);
        let organisation =
            self.organisations
                .get(organisation_name)
                .ok_or_else(|| DramError::Organisation {
                    name: organisation_name.into(),
                    device: bin.into(),
                    known: self.organisations().map(String::from).collect(),
                })?;
        let context = |message| refused(format!("{bin}/{organisation_name}: {message}"));

        let mut parameters = BTreeMap::new();
        let width = format!("x{}", organisation.chip_bits);
        let for_width = table.get(&width).and_then(|value| value.as_table());
        let whole = |key: &str| {
            table
                .get(key)
                .and_then(toml::Value::as_integer)
                .filter(|value| *value > 0)
        };
        let t_ck_ps = whole("tCK_ps").ok_or_else(|| context("it has no tCK_ps".into()))? as u64;
        let rate = whole("rate").ok_or_else(|| context("it has no rate".into()))?;
        let technology = match table.get("technology").and_then(toml::Value::as_str) {
            None => None,
            Some(name) => Some(Technology::find(name).map_err(context)?),
        };
        let is_number =
            |key: &String, value: &toml::Value| !value.is_table() && !BIN_WORDS.contains(&key.as_str());
        let values = table.iter().filter(|(key, value)| is_number(key, value));
        for (key, value) in values
            .chain(for_width.into_iter().flatten())
            .chain(&organisation.parameters)
        {
            let number = value
                .as_float()
                .or_else(|| value.as_integer().map(|value| value as f64));
            let number = number
                .filter(|number| (0.0..1e9).contains(number))
                .ok_or_else(|| context(format!("{key} is not a number of clocks or nanoseconds")))?;
            if let Some(name) = key.strip_prefix('t').and_then(|key| key.strip_suffix("_ns")) {
                // Tolerates what t_ck_ps lost when it was cut to whole picoseconds.
                let clocks = (number * 1000.0 / t_ck_ps as f64 - 1e-3).ceil().max(1.0);
                parameters.insert(format!("n{name}"), clocks as i64);
            } else if key.starts_with('n') {
                parameters.insert(key.clone(), number as i64);
            } else if !["rate", "tCK_ps"].contains(&key.as_str()) {
                return Err(context(format!("unknown key {key}")));
            }
        }
        let ticks_per_clock = u64::from(self.ticks_per_clock.max(1));
        let ticks = |expression: &str| {
            let clocks = evaluate(expression, &parameters).map_err(context)?;
            Ok::<u64, DramError>(clocks.max(0) as u64 * ticks_per_clock)
        };
        for constraint in &self.constraints {
            ticks(&constraint.expression)?;
        }
        let mut command_ticks = [ticks_per_clock; Command::COUNT];
        for (&command, &clocks) in &self.command_clocks {
            command_ticks[command as usize] = (clocks * ticks_per_clock as f64).round().max(1.0) as u64;
        }
        let mut either_edge = [ticks_per_clock == 1; Command::COUNT];
        for &command in &self.either_edge {
            either_edge[command as usize] = true;
        }
        let (read_ticks, write_ticks) = (ticks(&self.read_latency)?, ticks(&self.write_latency)?);
        let data_clock_off_ticks = self.data_clock_off_after.as_deref().map(ticks).transpose()?;
        let second_activate_ticks = self.second_activate_within.as_deref().map(ticks).transpose()?;
        let refresh_interval_ticks = match self.refresh.is_empty() {
            true => Device::NEVER_TICKS,
            false => ticks("nREFI")?,
        };
        let sizes = [
            organisation.channel_bits,
            organisation.pseudo_channels,
            organisation.stack_ids,
            organisation.bank_groups,
            organisation.banks,
            organisation.rows,
            organisation.columns,
            self.burst_length,
        ];
        if !sizes.iter().all(|size| size.is_power_of_two()) {
            return Err(context("every size must be a power of two".into()));
        }
        if organisation.bank_groups * organisation.banks > 64 {
            return Err(context("a rank can't have more than 64 banks".into()));
        }
        let name = if organisation_name == default {
            bin.into()
        } else {
            format!("{bin}/{organisation_name}")
        };
        let nearest_rate = |currents: &&Currents| (i64::from(currents.rate) - rate).abs();
        let of_width = |currents: &&Currents| currents.width_bits == organisation.chip_bits;
        let currents = self.currents.iter().filter(of_width).min_by_key(nearest_rate);
        let currents = currents
            .or_else(|| self.currents.iter().min_by_key(nearest_rate))
            .cloned();
        Ok(Device {
            name,
            standard: self.standard.clone(),
            jedec: self.jedec.clone(),
            organisation: organisation_name.into(),
            rate: rate as u32,
            t_ck_ps,
            ticks_per_clock,
            pseudo_channels: organisation.pseudo_channels,
            stack_ids: organisation.stack_ids,
            bank_groups: organisation.bank_groups,
            banks: organisation.banks,
            rows: organisation.rows,
            row_bytes: organisation.columns * organisation.channel_bits / 8,
            burst_bytes: self.burst_length * organisation.channel_bits / 8,
            channel_bits: organisation.channel_bits,
            parameters,
            constraints: self.constraints.clone(),
            command_ticks,
            from_first_tick: self.measured_from == MeasuredFrom::FirstClock,
            dual_bus: self.command_bus == CommandBus::RowAndColumn,
            all_bank: match self.all_bank {
                AllBank::Rank => Scope::Rank,
                AllBank::PseudoChannel => Scope::PseudoChannel,
            },
            either_edge,
            read_ticks,
            write_ticks,
            data_clock_off_ticks,
            second_activate_ticks,
            refresh_interval_ticks,
            refresh_modes: self.refresh.clone(),
            technology,
            currents,
        })
    }
}
