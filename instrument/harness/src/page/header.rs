//! What was run, how, what is missing, and the figures that sum it up.

use super::markup::{escape, section};
use super::{grouped_with_footprints, title};
use crate::profile::{Measure, Profile, Summary, Unit};
use crate::report::{human, percent};

pub(super) fn draw(profile: &Profile) -> String {
    let summary = &profile.summary;
    let (state, class) = if summary.complete {
        ("complete", "good")
    } else {
        ("incomplete", "bad")
    };
    let mut html = format!(
        "<header>\n<p class=\"brand\">memloupe <span>where do the bytes go?</span></p>\n\
         <h1>{} <span class=\"state {class}\">{state}</span></h1>\n<pre class=\"command\">{}</pre>\n<dl class=\"facts\">\n",
        escape(&title(summary)),
        escape(&summary.command.join(" ")),
    );
    let engine = format!("{}, {:.1} s", summary.engine, summary.wall_seconds);
    for (name, value) in [
        ("Machine", summary.machine_name()),
        ("Captured with", &engine),
        ("Program ended with", &summary.ending()),
        ("Threads", &summary.threads.to_string()),
        ("Started", &summary.started),
        ("On", &summary.host),
    ] {
        if !value.is_empty() {
            html += &format!("<div><dt>{name}</dt><dd>{}</dd></div>\n", escape(value));
        }
    }
    html += "</dl>\n</header>\n";
    let caveats = summary.caveats();
    if !caveats.is_empty() {
        html += &format!(
            "<aside class=\"{}\">\n<ul>\n",
            if summary.complete { "notes" } else { "notes bad" }
        );
        for caveat in caveats {
            html += &format!("<li>{}</li>\n", escape(&caveat));
        }
        html += "</ul>\n</aside>\n";
    }
    html + &figures(profile)
}

fn figures(profile: &Profile) -> String {
    let summary = &profile.summary;
    let all = grouped_with_footprints(profile, &[]);
    let total = |measure| all.total(measure);
    let (instructions, accesses) = (total(Measure::INSTRUCTIONS), total(Measure::ACCESSES));
    let mut figures = vec![
        (
            "instructions",
            human(instructions, Unit::Count),
            format!("{} FLOPs", human(total(Measure::FLOPS), Unit::Count)),
        ),
        (
            "data accesses",
            human(accesses, Unit::Count),
            human(total(Measure::ACCESS_BYTES), Unit::Bytes),
        ),
        (
            "footprint",
            human(total(Measure::Footprint), Unit::Bytes),
            "distinct lines touched".to_owned(),
        ),
    ];
    if let Some(last) = summary.levels.len().checked_sub(1) {
        let misses = total(Measure::Misses(last));
        let per_kilo = misses as f64 * 1000.0 / (instructions.max(1) as f64);
        let name = summary.levels[last].to_uppercase();
        figures.push((
            "last-level misses",
            human(misses, Unit::Count),
            format!("{per_kilo:.2} per 1000 instructions, {name}"),
        ));
    }
    if summary.dram {
        let (read, written) = (total(Measure::DRAM_READ), total(Measure::DRAM_WRITE));
        let rate = |bytes: u64| {
            format!(
                "{:.1} B per 1000 instructions",
                bytes as f64 * 1000.0 / instructions.max(1) as f64
            )
        };
        figures.push(("DRAM read", human(read, Unit::Bytes), rate(read)));
        figures.push(("DRAM written", human(written, Unit::Bytes), rate(written)));
        let hits = total(Measure::ROW_HITS);
        let requests = hits + total(Measure::ROW_MISSES) + total(Measure::ROW_CONFLICTS);
        figures.push((
            "DRAM row hits",
            percent(hits, requests),
            format!("of {} requests", human(requests, Unit::Count)),
        ));
    }
    let attribution = &summary.attribution;
    let named = |part, whole| {
        if whole == 0 {
            "–".to_owned()
        } else {
            percent(part, whole)
        }
    };
    figures.push((
        "in a named operator",
        named(attribution.operator_accesses, attribution.compute_accesses),
        "of compute threads’ accesses".to_owned(),
    ));
    if summary.dram {
        let fraction = named(attribution.object_dram_bytes, attribution.dram_bytes);
        figures.push(("to a named object", fraction, "of DRAM bytes".to_owned()));
    }
    let fraction = named(attribution.line_accesses, attribution.accesses);
    figures.push(("with a source line", fraction, "of data accesses".to_owned()));
    let mut html = String::from("<div class=\"figures\">\n");
    for (name, value, detail) in figures {
        html += &format!(
            "<div><p>{name}</p><strong>{}</strong><small>{}</small></div>\n",
            escape(&value),
            escape(&detail)
        );
    }
    html + "</div>\n"
}

/// The machine, every value resolved, and what the columns mean.
pub(super) fn machine(summary: &Summary) -> String {
    let mut html = String::new();
    if !summary.machine.is_null() {
        let json = serde_json::to_string_pretty(&summary.machine).unwrap_or_default();
        // Newlines matter here, so each line is escaped by itself.
        let lines: Vec<String> = json.lines().map(escape).collect();
        html += &format!(
            "<details><summary>The machine “{}”, every value resolved</summary><pre>{}</pre></details>\n",
            escape(summary.machine_name()),
            lines.join("\n")
        );
    }
    html += "<details><summary>What the columns mean</summary><dl class=\"columns\">\n";
    for measure in summary.measures() {
        html += &format!(
            "<dt>{}</dt><dd>{}</dd>\n",
            escape(&measure.name(summary)),
            escape(&measure.meaning(summary))
        );
    }
    html += "</dl></details>\n";
    let caption = format!(
        "Written by memloupe {}, profile schema {}.",
        escape(&summary.memloupe_version),
        summary.schema_version
    );
    section("Reference", &caption, &html)
}
