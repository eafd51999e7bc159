//! From address to channel, bank and row.
//!
//! A mapping is the order of the fields from the most to the least significant. Below the last field lie the bytes of
//! a line, so a line is never split over channels or rows. Fields are peeled off from the low end: by bits where a
//! field's size is a power of two, by division otherwise (three or six channels). The row takes what is left.

use super::{Device, DramError};

/// Consecutive lines go to consecutive channels, then along a row, then to the next bank group.
pub const DEFAULT_MAPPING: &str = "row-rank-bank-bankgroup-column-channel";

/// Where a line lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Location {
    /// Number of the bank over all channels, ranks and bank groups.
    pub bank: usize,
    /// Row in the bank.
    pub row: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Divisor {
    Shift(u32),
    Number(u64),
}

/// One field, and what a step of it adds to the bank number: 0 for columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Field {
    size: Divisor,
    bank_step: u64,
}

/// The mapping of one memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddressMapping {
    line_shift: u32,
    // All fields but the row, least significant first.
    fields: [Field; 5],
    banks: usize,
}

impl AddressMapping {
    /// Reads `order`, such as [`DEFAULT_MAPPING`]; `line_bytes` is a power of two.
    pub fn new(
        order: &str,
        device: &Device,
        channels: u32,
        ranks: u32,
        line_bytes: u32,
    ) -> Result<Self, DramError> {
        if line_bytes > device.row_bytes {
            return Err(DramError::LineSize {
                line_bytes,
                row_bytes: device.row_bytes,
            });
        }
        let [channels, ranks, groups, banks] =
            [channels, ranks, device.bank_groups, device.banks].map(u64::from);
        // Name, size, and how many banks lie between neighbours.
        let known = [
            ("column", u64::from(device.row_bytes / line_bytes), 0),
            ("bank", banks, 1),
            ("bankgroup", groups, banks),
            ("rank", ranks, banks * groups),
            ("channel", channels, banks * groups * ranks),
        ];
        let refused = || DramError::Mapping(order.into());
        let names: Vec<&str> = order
            .strip_prefix("row-")
            .ok_or_else(refused)?
            .rsplit('-')
            .collect();
        let names: [&str; 5] = names.try_into().map_err(|_| refused())?;
        if known.iter().any(|(name, ..)| !names.contains(name)) {
            return Err(refused());
        }
        let fields = names.map(|name| {
            let found = known.iter().find(|(known, ..)| *known == name);
            let &(_, size, bank_step) = found.expect("five names hold all of five fields");
            let size = if size.is_power_of_two() {
                Divisor::Shift(size.trailing_zeros())
            } else {
                Divisor::Number(size)
            };
            Field { size, bank_step }
        });
        let banks = (channels * ranks * groups * banks) as usize;
        Ok(Self {
            line_shift: line_bytes.trailing_zeros(),
            fields,
            banks,
        })
    }

    /// Number of banks over all channels.
    pub fn banks(&self) -> usize {
        self.banks
    }

    /// Where the line at `address` lies.
    #[inline]
    pub fn locate(&self, address: u64) -> Location {
        let mut rest = address >> self.line_shift;
        let mut bank = 0;
        for field in &self.fields {
            let value;
            (rest, value) = match field.size {
                Divisor::Shift(bits) => (rest >> bits, rest & ((1 << bits) - 1)),
                Divisor::Number(size) => (rest / size, rest % size),
            };
            bank += value * field.bank_step;
        }
        Location {
            bank: bank as usize,
            row: rest,
        }
    }
}
