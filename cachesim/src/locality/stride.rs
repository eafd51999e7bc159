//! Strides: how far an owner's access is from its previous one.
//!
//! With one owner for each static operand and data object, as a ledger has them, these are the strides of program
//! loops; accesses of other operands in between do not matter. Operands of one run that have one owner are taken
//! operand by operand.
//!
//! Memory: 80 bytes for each owner.

use crate::run::Operand;

/// The largest distance of each class in bytes, forwards or backwards: the same address, elements of 4, 8, 16 and 32
/// bytes, the length of a line, of a page, of a huge page; the last class is whatever is farther.
pub const STRIDE_BOUNDS: [u64; 8] = [0, 4, 8, 16, 32, 64, 4096, 2 << 20];

/// How many strides there are of each class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Strides(pub [u64; STRIDE_BOUNDS.len() + 1]);

impl std::ops::AddAssign<&Strides> for Strides {
    fn add_assign(&mut self, other: &Strides) {
        for (mine, theirs) in self.0.iter_mut().zip(other.0) {
            *mine += theirs;
        }
    }
}

/// The last access of an owner; none yet if there is no address.
#[derive(Clone, Copy, Debug, Default)]
struct Trail {
    last: Option<u64>,
    strides: Strides,
}

/// Measures [`Strides`].
#[derive(Clone, Debug, Default)]
pub(super) struct StrideMeter {
    // By owner.
    trails: Vec<Trail>,
}

impl StrideMeter {
    pub(super) fn reserve(&mut self, owners: usize) {
        if self.trails.len() < owners {
            self.trails.resize(owners, Trail::default());
        }
    }

    #[inline]
    pub(super) fn operand(&mut self, operand: &Operand, iterations: u64) {
        let trail = &mut self.trails[operand.owner as usize];
        let last = operand
            .address
            .wrapping_add((operand.stride as u64).wrapping_mul(iterations - 1));
        if let Some(before) = trail.last.replace(last) {
            let distance = operand.address.wrapping_sub(before).cast_signed().unsigned_abs();
            trail.strides.0[class(distance)] += 1;
        }
        if iterations > 1 {
            trail.strides.0[class(operand.stride.unsigned_abs())] += iterations - 1;
        }
    }

    /// Strides by owner.
    pub(super) fn finish(self) -> Vec<Strides> {
        self.trails.into_iter().map(|trail| trail.strides).collect()
    }
}

#[inline]
fn class(distance: u64) -> usize {
    STRIDE_BOUNDS
        .iter()
        .map(|bound| usize::from(distance > *bound))
        .sum()
}
