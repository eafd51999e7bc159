//! Drawing: shapes as SVG text. Colors are classes or custom properties of the style sheet, so both schemes work.

use std::fmt::Write;

use super::markup::escape;

/// Width of every drawing in its own units; it scales with the page.
pub(super) const WIDTH: f64 = 1120.0;
/// Colors of series; the style sheet has so many.
pub(super) const COLORS: usize = 8;

/// The fill of a series. The last color stands for all that follow.
pub(super) fn color(series: usize) -> String {
    format!("var(--series-{})", series.min(COLORS - 1))
}

/// A drawing.
pub(super) struct Drawing {
    height: f64,
    body: String,
}

/// Where a text stands relative to its point.
#[derive(Clone, Copy)]
pub(super) enum Anchor {
    Start,
    Middle,
    End,
}

impl Drawing {
    pub(super) fn new(height: f64) -> Self {
        Self {
            height,
            body: String::new(),
        }
    }

    /// A rectangle with a tooltip.
    pub(super) fn bar(&mut self, [x, y, width, height]: [f64; 4], fill: &str, opacity: f64, tip: &str) {
        let _ = write!(
            self.body,
            "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.2}\" height=\"{height:.1}\" style=\"fill:{fill}\"{}>",
            if opacity < 1.0 {
                format!(" fill-opacity=\"{opacity:.3}\"")
            } else {
                String::new()
            },
        );
        if !tip.is_empty() {
            let _ = write!(self.body, "<title>{}</title>", escape(tip));
        }
        self.body += "</rect>\n";
    }

    /// A text. `class` is one of the style sheet's: label, value, head, axis.
    pub(super) fn text(&mut self, x: f64, y: f64, anchor: Anchor, class: &str, text: &str) {
        let anchor = match anchor {
            Anchor::Start => "",
            Anchor::Middle => " text-anchor=\"middle\"",
            Anchor::End => " text-anchor=\"end\"",
        };
        let _ = writeln!(
            self.body,
            "<text x=\"{x:.1}\" y=\"{y:.1}\" class=\"{class}\"{anchor}>{}</text>",
            escape(text)
        );
    }

    /// A text that is cut, its whole in a tooltip.
    pub(super) fn name(&mut self, x: f64, y: f64, anchor: Anchor, widest: usize, name: &str) {
        let short = super::markup::shorten(name, widest);
        if short == name {
            self.text(x, y, anchor, "label", name);
        } else {
            let _ = write!(self.body, "<g><title>{}</title>", escape(name));
            self.text(x, y, anchor, "label", &short);
            self.body += "</g>\n";
        }
    }

    /// A straight line; class `grid` or `axis-line`.
    pub(super) fn line(&mut self, [x1, y1, x2, y2]: [f64; 4], class: &str) {
        let _ = writeln!(
            self.body,
            "<line x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\" class=\"{class}\"/>"
        );
    }

    /// A line through points, with a tooltip.
    pub(super) fn curve(&mut self, points: &[(f64, f64)], stroke: &str, tip: &str) {
        self.body += "<polyline points=\"";
        for (x, y) in points {
            let _ = write!(self.body, "{x:.1},{y:.1} ");
        }
        let _ = writeln!(
            self.body,
            "\" style=\"fill:none;stroke:{stroke};stroke-width:2\"><title>{}</title></polyline>",
            escape(tip)
        );
    }

    /// An area between a base and steps: (from, to, top) each, without gaps.
    pub(super) fn steps(&mut self, base: f64, steps: &[(f64, f64, f64)], fill: &str) {
        let (Some(first), Some(last)) = (steps.first(), steps.last()) else {
            return;
        };
        let _ = write!(self.body, "<path d=\"M{:.1} {base:.1}", first.0);
        for (_, to, top) in steps {
            let _ = write!(self.body, "V{top:.1}H{to:.1}");
        }
        let _ = writeln!(
            self.body,
            "V{base:.1}H{:.1}Z\" style=\"fill:{fill}\"/>",
            last.1.min(first.0)
        );
    }

    /// A legend of series in one row; returns nothing, as its height is that of a text.
    pub(super) fn legend(&mut self, mut x: f64, y: f64, names: &[(String, String)]) {
        for (fill, name) in names {
            self.bar([x, y - 9.0, 10.0, 10.0], fill, 1.0, "");
            self.text(x + 15.0, y, Anchor::Start, "value", name);
            // A glyph is about 6.6 units wide.
            x += 34.0 + 6.6 * name.chars().count() as f64;
        }
    }

    /// The SVG element; `title` says what it shows to those who can't see it.
    pub(super) fn finish(self, title: &str) -> String {
        format!(
            "<svg viewBox=\"0 0 {WIDTH} {:.0}\" role=\"img\" aria-label=\"{}\">\n{}</svg>\n",
            self.height,
            escape(title),
            self.body
        )
    }
}

/// A round number at or above a maximum, for the end of an axis: 1, 2 or 5 times a power of ten.
pub(super) fn round_up(maximum: f64) -> f64 {
    if maximum <= 0.0 {
        return 1.0;
    }
    let power = 10f64.powf(maximum.log10().floor());
    [1.0, 2.0, 5.0, 10.0]
        .into_iter()
        .map(|step| step * power)
        .find(|end| *end >= maximum)
        .unwrap_or(10.0 * power)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_end_on_round_numbers() {
        for (maximum, end) in [
            (0.0, 1.0),
            (0.7, 1.0),
            (1.0, 1.0),
            (1.1, 2.0),
            (4.2, 5.0),
            (51.0, 100.0),
            (999.0, 1000.0),
        ] {
            assert!(
                (round_up(maximum) - end).abs() < 1e-9,
                "{maximum} → {}",
                round_up(maximum)
            );
        }
    }
}
