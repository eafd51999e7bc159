//! From channel, bank, row and column back to the address.

use super::{
    AddressMapping, BANK, BANK_GROUP, CHANNEL, COLUMN, Divisor, Location, Method, PSEUDO_CHANNEL, RANK, ROW,
};

impl AddressMapping {
    /// The address of the first byte of the unit that lies there; address bits that the mapping does not look at are 0. None if
    /// no unit does.
    pub fn address(&self, location: &Location) -> Option<u64> {
        let values = self.values(location)?;
        let address = match &self.method {
            Method::Order(fields) => {
                let mut units: u64 = 0;
                for &(field, size) in fields.iter().rev() {
                    let value = values[field];
                    let size = match size {
                        Divisor::Rest => {
                            units = value;
                            continue;
                        }
                        Divisor::Shift(bits) => 1u64.checked_shl(bits)?,
                        Divisor::Number(size) => size,
                    };
                    if value >= size {
                        return None;
                    }
                    units = units.checked_mul(size)?.checked_add(value)?;
                }
                (units <= u64::MAX >> self.unit_shift).then(|| units << self.unit_shift)?
            }
            Method::Bits(fields) => solve(fields, &values)?,
        };
        // A field that the mapping leaves out has one value.
        (self.locate(address) == *location).then_some(address)
    }

    /// The value of each field.
    fn values(&self, location: &Location) -> Option<[u64; 7]> {
        let mut values = [0; 7];
        values[ROW] = location.row;
        values[CHANNEL] = location.channel.into();
        values[COLUMN] = location.column.into();
        let mut rest = location.bank;
        for field in [PSEUDO_CHANNEL, RANK, BANK_GROUP, BANK] {
            let step = self.bank_steps[field];
            values[field] = (rest / step).into();
            rest %= step;
        }
        (location.bank < self.banks_per_channel).then_some(values)
    }
}

/// The address whose bits, put together by XOR, are those of the fields' values: by Gauss and Jordan's elimination.
fn solve(fields: &[(usize, Vec<u64>)], values: &[u64; 7]) -> Option<u64> {
    // Of each equation: the address bits that it puts together, one of them that is in no other, and what they give.
    let mut solved: Vec<(u64, u64, bool)> = Vec::new();
    for (field, masks) in fields {
        let value = values[*field];
        if value.checked_shr(masks.len() as u32).unwrap_or(0) > 0 {
            return None;
        }
        for (place, &mask) in masks.iter().rev().enumerate() {
            let (mut mask, mut gives) = (mask, value >> place & 1 == 1);
            for &(other, pivot, other_gives) in &solved {
                if mask & pivot != 0 {
                    mask ^= other;
                    gives ^= other_gives;
                }
            }
            // Masks are independent, so something is left.
            let pivot = mask & mask.wrapping_neg();
            for (other, _, other_gives) in &mut solved {
                if *other & pivot != 0 {
                    *other ^= mask;
                    *other_gives ^= gives;
                }
            }
            solved.push((mask, pivot, gives));
        }
    }
    Some(
        solved
            .iter()
            .filter(|equation| equation.2)
            .fold(0, |address, equation| address | equation.1),
    )
}
