//! From line number to set number: the line number modulo the number of sets.

/// The number of sets, prepared for a fast remainder.
#[derive(Clone, Copy, Debug)]
pub(crate) enum SetIndex {
    /// A power of two: the low bits.
    Mask(u64),
    /// Any other number, as sliced last-level caches have: remainder by two multiplications with the reciprocal
    /// ⌈2¹²⁸ / sets⌉ (Lemire, Kaser, Kurz: Faster remainder by direct computation, 2019), exact for 64 bits.
    Reciprocal { sets: u64, reciprocal: u128 },
}

impl SetIndex {
    pub(crate) fn new(sets: u64) -> Self {
        if sets.is_power_of_two() {
            SetIndex::Mask(sets - 1)
        } else {
            SetIndex::Reciprocal {
                sets,
                reciprocal: u128::MAX / u128::from(sets) + 1,
            }
        }
    }

    #[inline(always)]
    pub(crate) fn of(&self, line: u64) -> usize {
        match *self {
            SetIndex::Mask(mask) => (line & mask) as usize,
            SetIndex::Reciprocal { sets, reciprocal } => {
                let fraction = reciprocal.wrapping_mul(u128::from(line));
                let high = (fraction >> 64) * u128::from(sets);
                let low = (u128::from(fraction as u64) * u128::from(sets)) >> 64;
                ((high + low) >> 64) as usize
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::SetIndex;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn equals_the_remainder(line: u64, sets in 1u64..1 << 40) {
            prop_assert_eq!(SetIndex::new(sets).of(line) as u64, line % sets);
        }

        #[test]
        fn equals_the_remainder_near_multiples(multiple in 0u64..1 << 36, sets in 1u64..1 << 22, off in 0u64..3) {
            let line = (multiple * sets + off).saturating_sub(1);
            prop_assert_eq!(SetIndex::new(sets).of(line) as u64, line % sets);
        }
    }
}
