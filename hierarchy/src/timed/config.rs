//! How the memory of a machine is timed, as a text.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::dram::ControllerConfig;

/// What times the requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Model {
    /// The machine's DRAM: its channels, each with a controller.
    #[default]
    Dram,
    /// Every request takes [`TimedConfig::latency_ps`], however many there are.
    Fixed,
    /// A shared library: [`TimedConfig::library`].
    Library,
}

/// What a machine file does not say. As TOML:
///
/// ```toml
/// model = "dram"          # or "fixed" or "library"
/// library = "./my.so"     # of the model "library"; ffi/include/memloupe_plugin.h is its contract
/// library_parameters = "" # what it is given
/// latency_ps = 10_000     # added to every request
/// max_outstanding = 64    # further requests are refused; 0 is no limit
/// [controller]            # of each channel
/// read_queue = 64
/// scheduler = { fr-fcfs-cap = 4 }
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TimedConfig {
    /// What times the requests.
    pub model: Model,
    /// The library of [`Model::Library`].
    pub library: PathBuf,
    /// The text that it gets.
    pub library_parameters: String,
    /// Added to every request: what lies between the sender and the device, both ways.
    pub latency_ps: u64,
    /// Requests under way at most; 0 for no limit but that of the queues.
    pub max_outstanding: u32,
    /// Of each channel of the DRAM.
    pub controller: ControllerConfig,
}

impl TimedConfig {
    /// Reads TOML; an empty text is the default.
    ///
    /// # Errors
    /// A line that says what is wrong and where.
    pub fn from_toml(text: &str) -> Result<Self, String> {
        toml::from_str(text).map_err(|error| {
            let line = error
                .span()
                .map_or(1, |span| 1 + text[..span.start].matches('\n').count());
            format!("line {line}: {}", error.message().replace('\n', ", "))
        })
    }
}
