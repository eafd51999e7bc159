//! Numbers with units, as machine files write them: `48 KiB`, `2.6 GHz`, `5 cycles`, `14 ns`.

/// A kind of quantity: its units with their factors, and an example for the error message.
pub(crate) struct Quantity {
    pub(crate) noun: &'static str,
    pub(crate) example: &'static str,
    units: &'static [(&'static str, f64)],
}

/// A size in bytes. Decimal prefixes are refused: caches and lines come in powers of two.
pub(crate) const BYTES: Quantity = Quantity {
    noun: "a size",
    example: "48 KiB",
    units: &[
        ("B", 1.0),
        ("KiB", 1024.0),
        ("MiB", 1048576.0),
        ("GiB", 1073741824.0),
    ],
};

/// A frequency in Hz.
pub(crate) const HERTZ: Quantity = Quantity {
    noun: "a frequency",
    example: "2.6 GHz",
    units: &[("Hz", 1.0), ("kHz", 1e3), ("MHz", 1e6), ("GHz", 1e9)],
};

/// A time in ps.
pub(crate) const PICOSECONDS: Quantity = Quantity {
    noun: "a time",
    example: "45 ns",
    units: &[("ps", 1.0), ("ns", 1e3), ("us", 1e6)],
};

/// A bandwidth in B/s.
pub(crate) const BYTES_PER_SECOND: Quantity = Quantity {
    noun: "a bandwidth",
    example: "32 GB/s",
    units: &[("B/s", 1.0), ("MB/s", 1e6), ("GB/s", 1e9)],
};

/// A duration in core clock cycles.
pub(crate) const CYCLES: Quantity = Quantity {
    noun: "a number of cycles",
    example: "5 cycles",
    units: &[("cycle", 1.0), ("cycles", 1.0)],
};

/// An energy in pJ.
pub(crate) const PICOJOULES: Quantity = Quantity {
    noun: "an energy",
    example: "15 pJ",
    units: &[("fJ", 1e-3), ("pJ", 1.0), ("nJ", 1e3)],
};

/// An energy in pJ per bit that is transferred.
pub(crate) const PICOJOULES_PER_BIT: Quantity = Quantity {
    noun: "an energy per bit",
    example: "5 pJ/bit",
    units: &[("fJ/bit", 1e-3), ("pJ/bit", 1.0)],
};

/// A stretch of time in accesses.
pub(crate) const ACCESSES: Quantity = Quantity {
    noun: "a number of accesses",
    example: "200 accesses",
    units: &[("access", 1.0), ("accesses", 1.0)],
};

impl Quantity {
    /// The value in the base unit; `None` if `text` is not a positive number with one of the units.
    pub(crate) fn parse(&self, text: &str) -> Option<f64> {
        let text = text.trim();
        let number_end = text.find(|c: char| !(c.is_ascii_digit() || c == '.'))?;
        let (number, unit) = text.split_at(number_end);
        let factor = self.units.iter().find(|(name, _)| *name == unit.trim_start())?.1;
        let value = number.parse::<f64>().ok()? * factor;
        (value > 0.0 && value.is_finite()).then_some(value)
    }

    /// The value in the base unit, if it is a whole number that an `f64` holds exactly.
    pub(crate) fn parse_whole(&self, text: &str) -> Option<u64> {
        let value = self.parse(text)?;
        (value.fract() == 0.0 && value < 9e15).then_some(value as u64)
    }

    /// The unit names, for the error message.
    pub(crate) fn unit_names(&self) -> String {
        self.units
            .iter()
            .map(|(name, _)| *name)
            .collect::<Vec<_>>()
            .join(", ")
    }

    /// `value` in the largest unit that writes it exactly with at most three decimals.
    pub(crate) fn format(&self, value: f64) -> String {
        let written = |&(unit, factor): &(&str, f64)| {
            let text = format!("{} {unit}", (value / factor * 1e3).round() / 1e3);
            (value >= factor && self.parse(&text) == Some(value)).then_some(text)
        };
        let base_unit = self.units[0].0;
        self.units
            .iter()
            .rev()
            .find_map(written)
            .unwrap_or_else(|| format!("{value} {base_unit}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_required_and_known() {
        for (quantity, text, value) in [
            (&BYTES, "48 KiB", Some(49152)),
            (&BYTES, "1.25MiB", Some(1310720)),
            (&BYTES, "64 B", Some(64)),
            (&BYTES, "48", None),
            (&BYTES, "48 KB", None),
            (&BYTES, "-1 KiB", None),
            (&BYTES, "0 KiB", None),
            (&BYTES, "0.3 B", None),
            (&BYTES, "1.2.3 KiB", None),
            (&BYTES, "KiB", None),
            (&BYTES, "", None),
            (&HERTZ, "2.6 GHz", Some(2_600_000_000)),
            (&HERTZ, "2.6 GiB", None),
            (&PICOSECONDS, "14.5 ns", Some(14_500)),
            (&CYCLES, "1 cycle", Some(1)),
        ] {
            assert_eq!(quantity.parse_whole(text), value, "{text}");
        }
    }

    #[test]
    fn formatting_is_exact() {
        assert_eq!(BYTES.format(1310720.0), "1.25 MiB");
        assert_eq!(BYTES.format(1500.0), "1500 B");
        assert_eq!(HERTZ.format(2.6e9), "2.6 GHz");
        assert_eq!(CYCLES.format(36.4), "36.4 cycles");
    }
}
