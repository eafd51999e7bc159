//! Device files: one standard each, with its constraints, organisations, speed bins and currents as data.
//!
//! Adding a speed bin is adding a line to `devices/*.toml`, or to a file of one's own. Parameters are clocks
//! (`nRCD = 22`) or nanoseconds (`tRFC_ns = 350`, rounded up to clocks as `nRFC`). A bin may have an `organisation` of its own, and
//! name the `technology` of its cells ([`crate::Technology`]).

use std::collections::BTreeMap;
use std::sync::OnceLock;

use serde::Deserialize;

use super::command::Command;
use super::constraint::Constraint;
use super::device::RefreshMode;
use super::energy::EventEnergy;
use super::error::DramError;

/// Keys of a bin that are words.
pub(crate) const BIN_WORDS: [&str; 2] = ["organisation", "technology"];

/// The device files that come with memloupe.
const FILES: [(&str, &str); 12] = [
    ("ddr3.toml", include_str!("../../devices/ddr3.toml")),
    ("ddr4.toml", include_str!("../../devices/ddr4.toml")),
    ("ddr5.toml", include_str!("../../devices/ddr5.toml")),
    ("lpddr4.toml", include_str!("../../devices/lpddr4.toml")),
    ("lpddr5.toml", include_str!("../../devices/lpddr5.toml")),
    ("gddr6.toml", include_str!("../../devices/gddr6.toml")),
    ("gddr7.toml", include_str!("../../devices/gddr7.toml")),
    ("hbm2.toml", include_str!("../../devices/hbm2.toml")),
    ("hbm2e.toml", include_str!("../../devices/hbm2e.toml")),
    ("hbm3.toml", include_str!("../../devices/hbm3.toml")),
    ("hbm4.toml", include_str!("../../devices/hbm4.toml")),
    ("emerging.toml", include_str!("../../devices/emerging.toml")),
];

/// One device file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Standard {
    /// Name of the file, for errors.
    #[serde(skip)]
    pub(crate) file: String,
    /// Name of the standard, such as `DDR4`.
    pub standard: String,
    /// The JEDEC document that defines it.
    pub jedec: String,
    /// The organisation of a device whose name and bin give none.
    pub default_organisation: String,
    /// Transfers per column command.
    pub(crate) burst_length: u32,
    pub(crate) read_latency: String,
    pub(crate) write_latency: String,
    /// How it can be refreshed; the first is the default. None for what needs no refresh.
    pub(crate) refresh: Vec<RefreshMode>,
    #[serde(default)]
    pub(crate) command_bus: CommandBus,
    #[serde(default)]
    pub(crate) all_bank: AllBank,
    #[serde(default = "one")]
    pub(crate) ticks_per_clock: u32,
    #[serde(default, deserialize_with = "command_clocks")]
    pub(crate) command_clocks: BTreeMap<Command, f64>,
    #[serde(default, deserialize_with = "commands")]
    pub(crate) either_edge: Vec<Command>,
    #[serde(default)]
    pub(crate) measured_from: MeasuredFrom,
    pub(crate) data_clock_off_after: Option<String>,
    pub(crate) second_activate_within: Option<String>,
    #[serde(deserialize_with = "constraints")]
    pub(crate) constraints: Vec<Constraint>,
    pub(crate) organisations: BTreeMap<String, Organisation>,
    pub(crate) bins: BTreeMap<String, toml::Table>,
    #[serde(default)]
    pub(crate) currents: Vec<Currents>,
}

/// Which commands share a bus.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum CommandBus {
    /// All.
    #[default]
    Shared,
    /// Row commands one, column commands another.
    RowAndColumn,
}

/// How far an all-bank command reaches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum AllBank {
    /// The rank.
    #[default]
    Rank,
    /// All stack ids of the pseudo-channel.
    PseudoChannel,
}

/// Where the time between two commands of several clocks starts and ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum MeasuredFrom {
    /// Last clock to last clock.
    #[default]
    LastClock,
    /// First clock to first clock.
    FirstClock,
}

/// How the bits of a channel are laid out.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Organisation {
    /// Data bits of a channel; of HBM, of a pseudo-channel.
    pub(crate) channel_bits: u32,
    #[serde(default = "one")]
    pub(crate) pseudo_channels: u32,
    #[serde(default = "one")]
    pub(crate) stack_ids: u32,
    /// Data bits of a chip.
    pub(crate) chip_bits: u32,
    pub(crate) bank_groups: u32,
    pub(crate) banks: u32,
    pub(crate) rows: u32,
    /// Columns of `channel_bits` each.
    pub(crate) columns: u32,
    /// Timing parameters that depend on it.
    #[serde(flatten)]
    pub(crate) parameters: BTreeMap<String, toml::Value>,
}

/// Supply currents of a chip, in mA, as data sheets name them.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Currents {
    /// Where they come from.
    pub source: String,
    /// Data bits that draw them.
    pub width_bits: u32,
    /// MT/s they hold for.
    pub rate: u32,
    /// VDD.
    pub volts: f64,
    /// One bank, activate and precharge at tRC.
    #[serde(rename = "IDD0")]
    pub idd0: f64,
    /// The pump supply VPP (2.5 V for DDR4, 1.8 V for DDR5), active or idle.
    #[serde(rename = "IPP0", default)]
    pub ipp0: f64,
    /// All banks closed.
    #[serde(rename = "IDD2N")]
    pub idd2n: f64,
    /// A bank open.
    #[serde(rename = "IDD3N")]
    pub idd3n: f64,
    /// Reading without gaps.
    #[serde(rename = "IDD4R")]
    pub idd4r: f64,
    /// Writing without gaps.
    #[serde(rename = "IDD4W")]
    pub idd4w: f64,
    /// Refreshing all banks without gaps.
    #[serde(rename = "IDD5B")]
    pub idd5b: f64,
}

fn one() -> u32 {
    1
}

fn command_clocks<'de, D: serde::Deserializer<'de>>(from: D) -> Result<BTreeMap<Command, f64>, D::Error> {
    let table: BTreeMap<String, f64> = Deserialize::deserialize(from)?;
    table
        .into_iter()
        .map(|(name, clocks)| Ok((command(&name)?, clocks)))
        .collect()
}

fn commands<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Vec<Command>, D::Error> {
    let names: Vec<String> = Deserialize::deserialize(from)?;
    names.iter().map(|name| command(name)).collect()
}

fn command<E: serde::de::Error>(name: &str) -> Result<Command, E> {
    Command::find(name).ok_or_else(|| E::custom(format!("unknown command {name}")))
}

fn constraints<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Vec<Constraint>, D::Error> {
    let text: String = Deserialize::deserialize(from)?;
    let lines = text.lines().filter(|line| !line.trim().is_empty());
    lines
        .map(|line| Constraint::parse(line).map_err(serde::de::Error::custom))
        .collect()
}

impl Standard {
    /// Reads a device file; `file` is the name that errors give. Every bin and organisation must resolve: a mistake in
    /// the file is found when it is read.
    pub fn from_toml(file: &str, text: &str) -> Result<Self, DramError> {
        let standard = Self::parse(file, text)?;
        let refused = |message: String| {
            Err(DramError::DeviceFile {
                file: file.into(),
                message,
            })
        };
        if standard.bins.is_empty() {
            return refused("it has no [bins]".into());
        }
        for bin in standard.bins.keys() {
            let own = standard.own_organisation(bin).is_some();
            let all = standard
                .organisations
                .keys()
                .filter(|_| !own)
                .map(|name| Some(name.as_str()));
            for organisation in all.chain([None]) {
                let device = standard.device(bin, organisation)?;
                let events = EventEnergy::of(&device);
                if events.is_some_and(|events| events.parts().iter().any(|part| *part < 0.0)) {
                    let message = "an operation draws less than standby: check IDD0, IDD4R, IDD4W, IDD5B";
                    return refused(format!("{}: {message}", device.name));
                }
            }
        }
        Ok(standard)
    }

    fn parse(file: &str, text: &str) -> Result<Self, DramError> {
        let mut standard: Self = toml::from_str(text).map_err(|error| {
            let start = error.span().map_or(0, |span| span.start);
            let line = 1 + text[..start].matches('\n').count();
            DramError::DeviceFile {
                file: file.into(),
                message: format!("line {line}: {}", error.message().replace('\n', ", ")),
            }
        })?;
        standard.file = file.into();
        Ok(standard)
    }

    /// The standards that come with memloupe.
    pub fn all() -> &'static [Self] {
        static ALL: OnceLock<Vec<Standard>> = OnceLock::new();
        ALL.get_or_init(|| {
            FILES
                .iter()
                .map(|(file, text)| {
                    Self::parse(file, text).unwrap_or_else(|error| panic!("built-in device: {error}"))
                })
                .collect()
        })
    }

    /// The organisation that a bin has if its name gives no other, where that is not the standard's.
    pub(crate) fn own_organisation(&self, bin: &str) -> Option<&str> {
        self.bins.get(bin)?.get("organisation")?.as_str()
    }

    /// Names of its speed bins.
    pub fn bins(&self) -> impl Iterator<Item = &str> {
        self.bins.keys().map(String::as_str)
    }

    /// Names of its organisations.
    pub fn organisations(&self) -> impl Iterator<Item = &str> {
        self.organisations.keys().map(String::as_str)
    }
}
