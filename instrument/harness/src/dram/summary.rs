//! What a DRAM did with a trace, for people and for programs.

use std::fmt::Write;

use memloupe_hierarchy::dram::{Command, Device, DramSystem, RowOutcome, SourceStatistics, Statistics};
use serde::Serialize;

use super::Source;

/// The results of `memloupe dram`; times end with the last data.
#[derive(Debug, Serialize)]
pub struct Summary {
    device: String,
    organisation: String,
    trace_format: &'static str,
    /// By trace, if there are several.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    sources: Vec<SourceSummary>,
    requests: u64,
    bursts: u64,
    reads: u64,
    writes: u64,
    forwarded_reads: u64,
    merged_writes: u64,
    clocks: f64,
    time_ns: f64,
    peak_gb_per_s: f64,
    bandwidth_gb_per_s: f64,
    read_latency_mean_ns: Option<f64>,
    read_latency_p50_ns: Option<f64>,
    read_latency_p90_ns: Option<f64>,
    read_latency_p99_ns: Option<f64>,
    read_latency_max_ns: Option<f64>,
    write_latency_mean_ns: Option<f64>,
    row_hits: u64,
    row_misses: u64,
    row_conflicts: u64,
    turnarounds: u64,
    commands: serde_json::Map<String, serde_json::Value>,
    postponed_refreshes: u64,
    pulled_in_refreshes: u64,
    mitigations: u64,
    max_row_activations_per_refresh_window: u32,
    max_row_activations_channel: usize,
    max_row_activations_bank: u32,
    max_row_activations_row: u32,
    energy_pj_per_bit: Option<f64>,
    energy_total_nj: Option<f64>,
    energy_activate_nj: Option<f64>,
    energy_read_nj: Option<f64>,
    energy_write_nj: Option<f64>,
    energy_refresh_nj: Option<f64>,
    energy_background_nj: Option<f64>,
    energy_pump_nj: Option<f64>,
    average_power_mw: Option<f64>,
    currents_source: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    timing_violations: Option<usize>,
}

/// What became of the requests of one trace.
#[derive(Debug, Serialize)]
struct SourceSummary {
    trace: String,
    trace_format: &'static str,
    requests: u64,
    reads: u64,
    writes: u64,
    read_latency_mean_ns: Option<f64>,
    row_hits: u64,
    row_misses: u64,
    row_conflicts: u64,
}

impl SourceSummary {
    fn new(source: &Source, statistics: &SourceStatistics, device: &Device) -> Self {
        let SourceStatistics { reads, writes, .. } = *statistics;
        let outcome = |outcome: RowOutcome| statistics.outcomes[outcome as usize];
        let latency = statistics.read_latency_ticks as f64 / reads as f64;
        Self {
            trace: source.trace.clone(),
            trace_format: source.format.name(),
            requests: source.workload.requests(),
            reads,
            writes,
            read_latency_mean_ns: (reads > 0).then(|| latency * device.picoseconds(1000) / 1e6),
            row_hits: outcome(RowOutcome::Hit),
            row_misses: outcome(RowOutcome::Miss),
            row_conflicts: outcome(RowOutcome::Conflict),
        }
    }
}

impl Summary {
    /// Of a system that has seen all of `sources` through.
    #[must_use]
    pub fn new(system: &DramSystem, sources: &[Source], violations: Option<usize>) -> Self {
        let device = &system.plan().device;
        let statistics: Statistics = system.statistics();
        let ns = |ticks: u64| device.picoseconds(ticks) / 1000.0;
        let latency = |quantile: f64| statistics.read_latency.quantile(quantile).map(ns);
        let mean_ns = |mean: Option<f64>| mean.map(|ticks| ticks * device.picoseconds(1000) / 1e6);
        // Time starts with tick 1.
        let ticks = statistics.last_tick.saturating_sub(1).max(1);
        let time_ns = ns(ticks);
        let bursts = sources.iter().map(|source| source.workload.bursts()).sum::<u64>();
        let bytes = bursts as f64 * f64::from(device.burst_bytes);
        let energy = system.energy();
        let nj =
            |part: fn(&memloupe_hierarchy::dram::Energy) -> f64| energy.as_ref().map(|e| part(e) / 1000.0);
        let exposures = system
            .channels()
            .iter()
            .map(|channel| channel.exposure())
            .enumerate();
        let (channel, exposure) = exposures
            .max_by_key(|(_, exposure)| exposure.activations)
            .unwrap_or_default();
        let commands = Command::ALL
            .into_iter()
            .map(|command| (command.name().into(), statistics.commands_of(command).into()))
            .collect();
        Self {
            device: device.name.clone(),
            organisation: device.organisation.clone(),
            trace_format: sources[0].format.name(),
            sources: if sources.len() > 1 {
                let of_each = sources.iter().zip(&statistics.sources);
                of_each
                    .map(|(source, counted)| SourceSummary::new(source, counted, device))
                    .collect()
            } else {
                Vec::new()
            },
            requests: sources.iter().map(|source| source.workload.requests()).sum(),
            bursts,
            reads: statistics.requests[0],
            writes: statistics.requests[1],
            forwarded_reads: statistics.forwarded_reads,
            merged_writes: statistics.merged_writes,
            clocks: ticks as f64 / device.ticks_per_clock as f64,
            time_ns,
            peak_gb_per_s: device.peak_bytes_per_second() / 1e9 * system.channels().len() as f64,
            bandwidth_gb_per_s: bytes / time_ns,
            read_latency_mean_ns: mean_ns(statistics.read_latency.mean()),
            read_latency_p50_ns: latency(0.5),
            read_latency_p90_ns: latency(0.9),
            read_latency_p99_ns: latency(0.99),
            read_latency_max_ns: (statistics.read_latency.count() > 0)
                .then(|| ns(statistics.read_latency.max())),
            write_latency_mean_ns: mean_ns(statistics.write_latency.mean()),
            row_hits: statistics.row_outcomes(RowOutcome::Hit),
            row_misses: statistics.row_outcomes(RowOutcome::Miss),
            row_conflicts: statistics.row_outcomes(RowOutcome::Conflict),
            turnarounds: statistics.turnarounds,
            commands,
            postponed_refreshes: statistics.postponed_refreshes,
            pulled_in_refreshes: statistics.pulled_in_refreshes,
            mitigations: statistics.mitigations,
            max_row_activations_per_refresh_window: exposure.activations,
            max_row_activations_channel: channel,
            max_row_activations_bank: exposure.bank,
            max_row_activations_row: exposure.row,
            energy_pj_per_bit: energy.as_ref().map(|energy| energy.total_pj() / (bytes * 8.0)),
            energy_total_nj: nj(|energy| energy.total_pj()),
            energy_activate_nj: nj(|energy| energy.activate_pj),
            energy_read_nj: nj(|energy| energy.read_pj),
            energy_write_nj: nj(|energy| energy.write_pj),
            energy_refresh_nj: nj(|energy| energy.refresh_pj),
            energy_background_nj: nj(|energy| energy.background_pj),
            energy_pump_nj: nj(|energy| energy.pump_pj),
            average_power_mw: energy.as_ref().map(|energy| energy.total_pj() / time_ns),
            currents_source: device.currents.as_ref().map(|currents| currents.source.clone()),
            timing_violations: violations,
        }
    }

    /// A flat object, but for the commands.
    #[must_use]
    pub fn json(&self) -> String {
        let mut text = serde_json::to_string_pretty(self).expect("a summary is plain data");
        text.push('\n');
        text
    }

    /// Some twenty lines.
    #[must_use]
    pub fn table(&self) -> String {
        let mut text = String::new();
        let mut row = |name: &str, value: String| {
            let _ = writeln!(text, "{name:<22} {value}");
        };
        let ns = |value: Option<f64>| value.map_or("-".into(), |value| format!("{value:.2} ns"));
        let share = |part: u64| {
            let all = self.row_hits + self.row_misses + self.row_conflicts;
            format!("{part} ({:.1}%)", 100.0 * part as f64 / all.max(1) as f64)
        };
        row("device", format!("{}, {}", self.device, self.organisation));
        row(
            "trace",
            format!(
                "{} requests, {} bursts ({})",
                self.requests, self.bursts, self.trace_format
            ),
        );
        row(
            "reads",
            format!("{} ({} from queued writes)", self.reads, self.forwarded_reads),
        );
        row(
            "writes",
            format!("{} ({} merged)", self.writes, self.merged_writes),
        );
        row(
            "time",
            format!("{:.3} us, {} clocks", self.time_ns / 1000.0, self.clocks),
        );
        let fraction = 100.0 * self.bandwidth_gb_per_s / self.peak_gb_per_s;
        row(
            "bandwidth",
            format!(
                "{:.3} GB/s ({fraction:.1}% of {:.1})",
                self.bandwidth_gb_per_s, self.peak_gb_per_s
            ),
        );
        row("read latency, mean", ns(self.read_latency_mean_ns));
        for (name, value) in [
            ("  50%", self.read_latency_p50_ns),
            ("  90%", self.read_latency_p90_ns),
            ("  99%", self.read_latency_p99_ns),
            ("  max", self.read_latency_max_ns),
        ] {
            row(name, ns(value));
        }
        for source in &self.sources {
            let latency = ns(source.read_latency_mean_ns);
            let name = std::path::Path::new(&source.trace).file_name();
            let name = name.map_or_else(|| source.trace.clone(), |name| name.to_string_lossy().into());
            row(
                &format!("  of {name}"),
                format!("{latency} ({} requests)", source.requests),
            );
        }
        row("row hits", share(self.row_hits));
        row("row misses", share(self.row_misses));
        row("row conflicts", share(self.row_conflicts));
        let issued = |(name, count): (&String, &serde_json::Value)| {
            (count.as_u64() != Some(0)).then(|| format!("{name} {count}"))
        };
        row(
            "commands",
            self.commands
                .iter()
                .filter_map(issued)
                .collect::<Vec<_>>()
                .join(", "),
        );
        row(
            "most activated row",
            format!(
                "{} times in a refresh window (channel {}, bank {}, row {})",
                self.max_row_activations_per_refresh_window,
                self.max_row_activations_channel,
                self.max_row_activations_bank,
                self.max_row_activations_row
            ),
        );
        if self.mitigations > 0 {
            row("mitigations", self.mitigations.to_string());
        }
        if let (Some(per_bit), Some(power), Some(source)) = (
            self.energy_pj_per_bit,
            self.average_power_mw,
            &self.currents_source,
        ) {
            row(
                "energy",
                format!("{per_bit:.2} pJ/bit, {power:.0} mW (currents: {source})"),
            );
            for (name, value) in [
                ("  activate", self.energy_activate_nj),
                ("  read", self.energy_read_nj),
                ("  write", self.energy_write_nj),
                ("  refresh", self.energy_refresh_nj),
                ("  background", self.energy_background_nj),
                ("  pump", self.energy_pump_nj),
            ] {
                row(name, format!("{:.1} nJ", value.unwrap_or(0.0)));
            }
        }
        if let Some(violations) = self.timing_violations {
            row("timing violations", violations.to_string());
        }
        text
    }
}
