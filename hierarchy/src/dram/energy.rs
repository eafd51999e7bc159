//! DRAM energy from supply currents, commands and the time that rows are open.
//!
//! The usual IDD arithmetic (Micron TN-40-07; DRAMsim3's `power` section): an activate-precharge pair costs what IDD0
//! draws beyond standby over tRC, a burst what IDD4R or IDD4W draw beyond active standby while it lasts, a refresh what
//! IDD5B draws beyond active standby over tRFC, the background IDD3N with a row open and IDD2N without, and IPP0 all the
//! time at the pump's voltage. Per-bank and same-bank refreshes are taken as the share of their banks in an all-bank
//! refresh.
//!
//! Of a [technology](crate::Technology) that is not DRAM: an activate reads every bit of the row, a write every bit of the
//! burst; nothing is drawn besides (leakage and the bits' way out of the array are unknown).
//!
//! Not modelled: input/output and termination power, power-down, temperature.

use serde::Serialize;

use super::command::Command;
use super::device::Device;
use super::statistics::Statistics;

/// Where the energy of a run went, in picojoules.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Energy {
    /// Activates with their precharges.
    pub activate_pj: f64,
    /// Read bursts.
    pub read_pj: f64,
    /// Write bursts.
    pub write_pj: f64,
    /// Refreshes and refresh management.
    pub refresh_pj: f64,
    /// Standby on VDD.
    pub background_pj: f64,
    /// The pump supply.
    pub pump_pj: f64,
}

impl Energy {
    /// This and another.
    #[must_use]
    pub fn plus(&self, other: &Self) -> Self {
        Self {
            activate_pj: self.activate_pj + other.activate_pj,
            read_pj: self.read_pj + other.read_pj,
            write_pj: self.write_pj + other.write_pj,
            refresh_pj: self.refresh_pj + other.refresh_pj,
            background_pj: self.background_pj + other.background_pj,
            pump_pj: self.pump_pj + other.pump_pj,
        }
    }

    /// All of it.
    pub fn total_pj(&self) -> f64 {
        self.activate_pj + self.read_pj + self.write_pj + self.refresh_pj + self.background_pj + self.pump_pj
    }
}

/// Energy of each event of a device, over all chips that take part.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct EventEnergy {
    /// An activate with its precharge.
    pub activate_pj: f64,
    /// A read burst.
    pub read_pj: f64,
    /// A write burst.
    pub write_pj: f64,
    /// A refresh of all banks.
    pub refresh_pj: f64,
    /// Standby of a rank with a row open, per nanosecond.
    pub active_pj_per_ns: f64,
    /// Standby of a rank with all rows closed, per nanosecond.
    pub idle_pj_per_ns: f64,
    /// The pump supply of a rank, per nanosecond.
    pub pump_pj_per_ns: f64,
}

impl EventEnergy {
    /// Of `device`; `None` without currents, or energies of its technology.
    pub fn of(device: &Device) -> Option<Self> {
        if let Some(technology) = device.technology {
            let of = |bytes: u32, pj_per_bit: f64| f64::from(bytes * 8) * pj_per_bit;
            return Some(Self {
                activate_pj: of(device.row_bytes, technology.read_pj_per_bit?),
                write_pj: of(device.burst_bytes, technology.write_pj_per_bit?),
                ..Self::default()
            });
        }
        let currents = device.currents.as_ref()?;
        // mA x V x ns = pJ. All chips of the channel, or the share of one chip that a pseudo-channel is.
        let chips = f64::from(device.channel_bits) / f64::from(currents.width_bits);
        let power = |current: f64| current * currents.volts * chips;
        let ns = |names: &[&str]| device.picoseconds(device.first_of(names).unwrap_or(0)) / 1000.0;
        let (row_cycle, open) = (ns(&["nRC"]), ns(&["nRAS"]));
        let standby = currents.idd3n * open + currents.idd2n * (row_cycle - open);
        // Bursts last as long as at the rate that the currents are for.
        let transfers = f64::from(device.burst_bytes * 8 / device.channel_bits);
        let burst = transfers / f64::from(currents.rate) * 1000.0;
        let pump_volts = if device.standard == "DDR5" { 1.8 } else { 2.5 };
        Some(Self {
            activate_pj: power(currents.idd0) * row_cycle - power(1.0) * standby,
            read_pj: power(currents.idd4r - currents.idd3n) * burst,
            write_pj: power(currents.idd4w - currents.idd3n) * burst,
            refresh_pj: power(currents.idd5b - currents.idd3n) * ns(&["nRFC"]),
            active_pj_per_ns: power(currents.idd3n),
            idle_pj_per_ns: power(currents.idd2n),
            pump_pj_per_ns: currents.ipp0 * pump_volts * chips,
        })
    }

    pub(crate) fn parts(&self) -> [f64; 7] {
        [
            self.activate_pj,
            self.read_pj,
            self.write_pj,
            self.refresh_pj,
            self.active_pj_per_ns,
            self.idle_pj_per_ns,
            self.pump_pj_per_ns,
        ]
    }

    /// What `statistics` cost.
    pub fn energy(&self, device: &Device, statistics: &Statistics) -> Energy {
        let count = |commands: &[Command]| -> f64 {
            commands
                .iter()
                .map(|command| statistics.commands_of(*command))
                .sum::<u64>() as f64
        };
        let ns = |ticks: u64| device.picoseconds(ticks) / 1000.0;
        let banks = f64::from(device.bank_groups * device.banks);
        let refreshes = count(&[Command::RefreshAll, Command::ManageAll])
            + count(&[Command::RefreshBank, Command::ManageBank]) / banks
            + count(&[Command::RefreshSame, Command::ManageSame]) / f64::from(device.banks);
        let ticks = statistics.active_ticks + statistics.idle_ticks;
        Energy {
            activate_pj: self.activate_pj * count(&[Command::Activate]),
            read_pj: self.read_pj * count(&[Command::Read, Command::ReadAuto]),
            write_pj: self.write_pj * count(&[Command::Write, Command::WriteAuto]),
            refresh_pj: self.refresh_pj * refreshes,
            background_pj: self.active_pj_per_ns * ns(statistics.active_ticks)
                + self.idle_pj_per_ns * ns(statistics.idle_ticks),
            pump_pj: self.pump_pj_per_ns * ns(ticks),
        }
    }
}
