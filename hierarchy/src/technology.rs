//! Memory technologies as data: how long they keep what is written, and how often a cell can be written.
//!
//! Modelled: what `technologies.toml` says of each, with its sources. Not modelled: wear levelling, error correction,
//! refresh of what would be lost, temperature, and the spread between cells. As a memory of a machine each is a device of
//! `devices/emerging.toml`.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde::Deserialize;

use crate::nearest::nearest;

/// One technology: times and energies of the array alone.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Technology {
    /// Its name.
    #[serde(skip)]
    pub name: String,
    /// What it is.
    pub about: String,
    /// Time of a read.
    pub read_ns: f64,
    /// Time of a write.
    pub write_ns: f64,
    /// Energy of reading a bit, where it is known.
    pub read_pj_per_bit: Option<f64>,
    /// Energy of writing a bit, where it is known.
    pub write_pj_per_bit: Option<f64>,
    /// How long data stays without refresh, volatile ones with power; `None` is for as long as there is power.
    pub retention_s: Option<f64>,
    /// Writes that a cell stands; `None` is no limit.
    pub endurance: Option<f64>,
    /// Whether data goes with the power.
    pub volatile: bool,
    /// Whether all that is written to an open row is written to its cells at once, a page, and wears all of them.
    #[serde(default)]
    pub writes_pages: bool,
    /// Where the values come from.
    pub source: String,
}

static ALL: LazyLock<Vec<Technology>> = LazyLock::new(|| {
    let parsed: BTreeMap<String, Technology> =
        toml::from_str(include_str!("../technologies.toml")).expect("a test reads every technology");
    let named = |(name, technology)| Technology { name, ..technology };
    parsed.into_iter().map(named).collect()
});

impl Technology {
    /// The technology of this name.
    ///
    /// # Errors
    /// What there is instead.
    pub fn find(name: &str) -> Result<&'static Self, String> {
        let found = Self::all().iter().find(|technology| technology.name == name);
        found.ok_or_else(|| {
            let meant = nearest(
                name,
                Self::all().iter().map(|technology| technology.name.as_str()),
            );
            let meant = meant.map_or_else(String::new, |name| format!("; did you mean '{name}'?"));
            format!("unknown technology '{name}'{meant}")
        })
    }

    /// Every technology, by name.
    pub fn all() -> &'static [Technology] {
        &ALL
    }

    /// Seconds until a cell that is written so many times in so many seconds, over and over, is worn out.
    pub fn wear_seconds(&self, writes: f64, seconds: f64) -> Option<f64> {
        (writes > 0.0).then_some(self.endurance? / writes * seconds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dram::{Device, EventEnergy};

    #[test]
    fn every_technology_is_read_and_possible() {
        assert!(Technology::all().len() >= 7);
        for technology in Technology::all() {
            assert!(!technology.about.is_empty() && !technology.source.is_empty());
            assert!(technology.read_ns > 0.0 && technology.write_ns > 0.0);
            assert!(technology.retention_s.is_none_or(|seconds| seconds > 0.0));
            assert!(technology.endurance.is_none_or(|writes| writes >= 1e3));
        }
        let numbers = include_str!("../technologies.toml")
            .lines()
            .filter(|line| line.contains("= ") && !line.contains('"'));
        for line in numbers.filter(|line| !line.starts_with("volatile")) {
            assert!(line.contains(" # "), "{line}: no source");
        }
    }

    #[test]
    fn devices_have_the_times_of_their_technology() {
        let of_technology: Vec<Device> = Device::names()
            .filter_map(|name| Device::find(name).ok())
            .filter(|device| device.technology.is_some())
            .collect();
        for device in &of_technology {
            let technology = device.technology.unwrap();
            for (parameter, ns) in [("nRCD", technology.read_ns), ("nWR", technology.write_ns)] {
                let clocks = (ns * 1000.0 / device.t_ck_ps as f64).ceil();
                let found = device.parameters[parameter] as f64;
                assert_eq!(found, clocks, "{} {parameter}", device.name);
            }
            assert!(device.refresh_modes.is_empty(), "{}", device.name);
            // A bit of the row that is read, a bit of the burst that is written.
            let events = EventEnergy::of(device);
            assert_eq!(events.is_some(), technology.write_pj_per_bit.is_some());
            if let (Some(events), Some(pj)) = (events, technology.write_pj_per_bit) {
                assert_eq!(events.write_pj, f64::from(device.burst_bytes) * 8.0 * pj);
            }
        }
        let has_device = |technology: &&Technology| {
            let mut devices = of_technology.iter();
            devices.any(|device| device.technology == Some(*technology)) || technology.name == "dram"
        };
        assert!(Technology::all().iter().all(|technology| has_device(&technology)));
    }

    #[test]
    fn wear_in_closed_form() {
        let find = |name: &str| {
            Technology::all()
                .iter()
                .find(|technology| technology.name == name)
                .unwrap()
        };
        // 1e5 writes, one a second: 1e5 s.
        let wear = find("high-bandwidth-flash").wear_seconds(10.0, 10.0).unwrap();
        assert!((wear - 1e5).abs() < 1e-6);
        assert_eq!(find("stacked-sram").wear_seconds(1.0, 1.0), None);
        assert_eq!(find("dram").wear_seconds(0.0, 1.0), None);
    }
}
