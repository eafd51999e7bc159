//! The run over time. Time is instructions executed by all threads: what a simulated machine can vouch for.

use super::markup::section;
use super::svg::{Anchor, Drawing, WIDTH, color, round_up};
use crate::profile::{Profile, TimelineBin, Unit};
use crate::report::{human, phase_name};

const LEFT: f64 = 74.0;
const PANEL_HEIGHT: f64 = 84.0;
const PANEL_GAP: f64 = 30.0;
const TOP: f64 = 30.0;
const TICKS: u64 = 6;
/// Part of the run that a phase must last to be seen.
const BAND_MIN: f64 = 0.005;

/// A number of a bin.
type Rate = Box<dyn Fn(&TimelineBin) -> f64>;

/// One chart: its title, and stacked series of a number per bin.
struct Panel {
    title: String,
    series: Vec<(String, Rate)>,
}

impl Panel {
    /// A panel of one series, the title being its name.
    fn single(title: &str, value: impl Fn(&TimelineBin) -> f64 + 'static) -> Self {
        Self {
            title: title.to_owned(),
            series: vec![(String::new(), Box::new(value))],
        }
    }
}

/// A count per 1000 instructions of its bin.
fn per_kilo(count: u64, bin: &TimelineBin) -> f64 {
    count as f64 * 1000.0 / bin.instructions.max(1) as f64
}

fn panels(profile: &Profile) -> Vec<Panel> {
    let levels = &profile.summary.levels;
    let mut panels = vec![Panel::single("data accesses per 1000 instructions", |bin| {
        per_kilo(bin.accesses, bin)
    })];
    let last = levels.len().saturating_sub(1);
    // The first level and the last say the most; those between are in the table.
    for level in levels
        .iter()
        .enumerate()
        .filter(|(level, _)| *level == 0 || *level == last)
        .map(|(level, _)| level)
    {
        let title = format!("{} misses per 1000 instructions", levels[level].to_uppercase());
        panels.push(Panel::single(&title, move |bin| per_kilo(bin.misses[level], bin)));
    }
    if profile.summary.dram {
        panels.push(Panel {
            title: "DRAM bytes per 1000 instructions".to_owned(),
            series: vec![
                (
                    "read".to_owned(),
                    Box::new(|bin| per_kilo(bin.dram_read_bytes, bin)),
                ),
                (
                    "written".to_owned(),
                    Box::new(|bin| per_kilo(bin.dram_write_bytes, bin)),
                ),
            ],
        });
    }
    panels
}

/// Phases that follow each other under one name, and where each begins.
struct Band {
    name: String,
    starts: Vec<(u64, Option<u32>)>,
    end: u64,
}

impl Band {
    fn label(&self) -> String {
        match self.starts.as_slice() {
            [(_, first), .., (_, last)] => match (first, last) {
                (Some(first), Some(last)) if first != last => format!("{}[{first}…{last}]", self.name),
                _ => self.name.clone(),
            },
            [(_, index)] => phase_name(&self.name, *index),
            [] => self.name.clone(),
        }
    }
}

/// The bands of a run of `end` instructions that are wide enough to be seen; neighbours of one name are one.
fn bands(bins: &[TimelineBin], end: u64) -> Vec<Band> {
    let mut bands: Vec<Band> = Vec::new();
    for bin in bins {
        let end = bin.instructions_from + bin.instructions;
        match bands.last_mut() {
            Some(band) if band.name == bin.phase && band.starts[0].1 == bin.phase_index => band.end = end,
            _ => bands.push(Band {
                name: bin.phase.clone(),
                starts: vec![(bin.instructions_from, bin.phase_index)],
                end,
            }),
        }
    }
    let mut visible: Vec<Band> = Vec::new();
    for band in bands
        .into_iter()
        .filter(|band| (band.end - band.starts[0].0) as f64 >= end as f64 * BAND_MIN)
    {
        match visible.last_mut() {
            Some(last) if last.name == band.name => {
                last.starts.extend(band.starts);
                last.end = band.end;
            }
            _ => visible.push(band),
        }
    }
    visible
}

pub(super) fn draw(profile: &Profile) -> String {
    let bins = &profile.timeline;
    let end = bins
        .iter()
        .map(|bin| bin.instructions_from + bin.instructions)
        .max()
        .unwrap_or(0);
    if end == 0 {
        return String::new();
    }
    let at = |instructions: u64| LEFT + instructions as f64 / end as f64 * (WIDTH - LEFT - 10.0);
    let panels = panels(profile);
    let bottom = TOP + panels.len() as f64 * (PANEL_HEIGHT + PANEL_GAP);
    let mut drawing = Drawing::new(bottom + 28.0);

    for (index, band) in bands(bins, end).iter().enumerate() {
        let Some((start, _)) = band.starts.first() else {
            continue;
        };
        let (x, width) = (at(*start), at(band.end) - at(*start));
        let label = band.label();
        let tip = format!("{label}: {} instructions", human(band.end - start, Unit::Count));
        let shade = if index % 2 == 0 {
            "var(--band-a)"
        } else {
            "var(--band-b)"
        };
        drawing.bar([x, TOP - 8.0, width, bottom - TOP], shade, 1.0, &tip);
        for (start, _) in &band.starts[1..] {
            drawing.line([at(*start), TOP - 8.0, at(*start), bottom - 8.0], "grid");
        }
        if width > label.chars().count() as f64 * 6.6 + 4.0 {
            drawing.text(x + 4.0, TOP - 14.0, Anchor::Start, "head", &label);
        }
    }
    for (index, panel) in panels.iter().enumerate() {
        let top = TOP + index as f64 * (PANEL_HEIGHT + PANEL_GAP) + 18.0;
        draw_panel(&mut drawing, panel, bins, top, &at);
    }
    for tick in 0..=TICKS {
        let instructions = end / TICKS * tick;
        let anchor = if tick == TICKS {
            Anchor::End
        } else {
            Anchor::Middle
        };
        drawing.text(
            at(instructions),
            bottom + 10.0,
            anchor,
            "axis",
            &human(instructions, Unit::Count),
        );
    }
    drawing.text(
        WIDTH / 2.0,
        bottom + 25.0,
        Anchor::Middle,
        "axis",
        "instructions executed, all threads",
    );
    let caption = format!(
        "Rates over the run, one step per bin ({} bins, none of which spans two phases). Shaded: phases, except those too short to be seen.",
        bins.len()
    );
    section(
        "Timeline",
        &caption,
        &drawing.finish("Memory traffic over the run"),
    )
}

fn draw_panel(drawing: &mut Drawing, panel: &Panel, bins: &[TimelineBin], top: f64, at: &dyn Fn(u64) -> f64) {
    let height = PANEL_HEIGHT - 8.0;
    let base = top + height;
    let value = |bin: &TimelineBin, series: usize| {
        panel.series[..=series]
            .iter()
            .map(|(_, value)| value(bin))
            .sum::<f64>()
    };
    let whole = panel.series.len() - 1;
    let largest = bins.iter().map(|bin| value(bin, whole)).fold(0.0, f64::max);
    let scale = round_up(largest);
    drawing.text(LEFT + 4.0, top - 5.0, Anchor::Start, "value", &panel.title);
    for (fraction, number) in [(0.0, 0.0), (0.5, scale / 2.0), (1.0, scale)] {
        let y = base - fraction * height;
        drawing.line([LEFT, y, WIDTH - 10.0, y], "grid");
        let number = if number < 10.0 {
            format!("{number}")
        } else {
            human(number as u64, Unit::Count)
        };
        drawing.text(LEFT - 8.0, y + 4.0, Anchor::End, "axis", &number);
    }
    // Stacked: the highest first, so that the lower ones cover it.
    for series in (0..panel.series.len()).rev() {
        let steps: Vec<(f64, f64, f64)> = bins
            .iter()
            .map(|bin| {
                let to = at(bin.instructions_from + bin.instructions);
                (
                    at(bin.instructions_from),
                    to,
                    base - value(bin, series) / scale * height,
                )
            })
            .collect();
        drawing.steps(base, &steps, &color(series));
    }
    if panel.series.len() > 1 {
        let names: Vec<(String, String)> = panel
            .series
            .iter()
            .enumerate()
            .map(|(index, (name, _))| (color(index), name.clone()))
            .collect();
        drawing.legend(
            LEFT + 20.0 + 6.6 * panel.title.chars().count() as f64,
            top - 5.0,
            &names,
        );
    }
}
