//! Numbers for people: three significant digits and a unit prefix.

use crate::profile::Unit;

/// "12.3M" for counts and cycles (powers of 1000), "12.3 MiB" for bytes (powers of 1024), "12.3 mJ" for energies.
pub(crate) fn human(value: u64, unit: Unit) -> String {
    let (base, prefixes, separator, suffix) = match unit {
        Unit::Count | Unit::Cycles => (1000.0, ["", "k", "M", "G", "T", "P", "E"], "", ""),
        Unit::Nanoseconds => (1000.0, ["n", "µ", "m", "", "k", "M", "G"], " ", "s"),
        Unit::Nanojoules => (1000.0, ["n", "µ", "m", "", "k", "M", "G"], " ", "J"),
        Unit::Bytes => (1024.0, ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"], " ", "B"),
    };
    let mut scaled = value as f64;
    let mut prefix = 0;
    // 999.5 would print as 1000 of the smaller unit.
    while scaled >= 999.5 && prefix + 1 < prefixes.len() && (prefix > 0 || scaled >= base) {
        scaled /= base;
        prefix += 1;
    }
    let number = match scaled {
        _ if prefix == 0 => value.to_string(),
        scaled if scaled < 9.995 => format!("{scaled:.2}"),
        scaled if scaled < 99.95 => format!("{scaled:.1}"),
        scaled => format!("{scaled:.0}"),
    };
    format!("{number}{separator}{}{suffix}", prefixes[prefix])
}

/// "12.3%", "<0.1%" for what is small but not nothing.
pub(crate) fn percent(part: u64, whole: u64) -> String {
    match (part, whole) {
        (0, _) | (_, 0) => "0%".to_owned(),
        (part, whole) if part == whole => "100%".to_owned(),
        (part, whole) => {
            let percent = part as f64 / whole as f64 * 100.0;
            if percent < 0.05 {
                "<0.1%".to_owned()
            } else {
                format!("{:.1}%", percent.min(99.9))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_significant_digits() {
        for (value, count, bytes) in [
            (0, "0", "0 B"),
            (999, "999", "999 B"),
            (1000, "1.00k", "1000 B"),
            (1023, "1.02k", "1023 B"),
            (1024, "1.02k", "1.00 KiB"),
            (12_345, "12.3k", "12.1 KiB"),
            (999_499, "999k", "976 KiB"),
            (999_500, "1.00M", "976 KiB"),
            (1_048_575, "1.05M", "1.00 MiB"),
            (u64::MAX, "18.4E", "16.0 EiB"),
        ] {
            assert_eq!(human(value, Unit::Count), count);
            assert_eq!(human(value, Unit::Bytes), bytes);
        }
    }

    #[test]
    fn energies_grow_from_nanojoules() {
        for (value, text) in [(5, "5 nJ"), (12_345, "12.3 µJ"), (3_200_000_000, "3.20 J")] {
            assert_eq!(human(value, Unit::Nanojoules), text);
        }
    }

    #[test]
    fn percentages_never_hide_or_complete_anything() {
        assert_eq!(percent(1, 1_000_000), "<0.1%");
        assert_eq!(percent(999_999, 1_000_000), "99.9%");
        assert_eq!(percent(0, 5), "0%");
        assert_eq!(percent(5, 5), "100%");
        assert_eq!(percent(1, 3), "33.3%");
    }
}
