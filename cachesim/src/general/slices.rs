//! From block to set: plain modulo, or slices chosen by a hash of the address.
//!
//! Models a last level in slices. For 2, 4 and 8 slices each bit of the slice number is the parity of the address bits
//! that Maurice, Le Scouarnec, Neumann, Heen, Francillon found on Intel's Sandy Bridge to Haswell (Reverse engineering
//! Intel last-level cache complex addressing using performance counters, RAID 2015). Hashes for other numbers of slices
//! are not published in closed form: here a mixed address is scaled to the number of slices (assumed). Hardware hashes
//! physical addresses, this model those that it is given.

use crate::set_index::SetIndex;

/// Address bits whose parity is bit 0, 1 and 2 of the slice.
const PARITIES: [u64; 3] = [0x1b_5f57_5440, 0x2e_b5fa_a880, 0x3c_ccc9_3100];

#[derive(Clone, Copy, Debug)]
pub(super) struct Slices {
    slices: u64,
    sets_per_slice: u64,
    within: SetIndex,
    block_shift: u32,
}

impl Slices {
    pub(super) fn new(slices: u32, sets: u64, block_shift: u32) -> Self {
        let slices = u64::from(slices);
        Self {
            slices,
            sets_per_slice: sets / slices,
            within: SetIndex::new(sets / slices),
            block_shift,
        }
    }

    #[inline(always)]
    pub(super) fn set_of(&self, block: u64) -> usize {
        let within = self.within.of(block);
        if self.slices == 1 {
            within
        } else {
            (self.slice(block) * self.sets_per_slice) as usize + within
        }
    }

    fn slice(&self, block: u64) -> u64 {
        match self.slices {
            2 | 4 | 8 => {
                let address = block << self.block_shift;
                let bit = |n: u32| u64::from((address & PARITIES[n as usize]).count_ones() & 1) << n;
                (0..self.slices.trailing_zeros()).map(bit).sum()
            }
            slices => {
                // The finaliser of splitmix64 (Steele, Lea, Flood, OOPSLA 2014).
                let mut mixed = block;
                mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
                mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
                mixed ^= mixed >> 31;
                ((u128::from(mixed) * u128::from(slices)) >> 64) as u64
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Slices;

    #[test]
    fn every_slice_gets_its_share_of_any_stride() {
        for slices in [2u32, 4, 6, 8, 28] {
            for stride in [1u64, 2, 64, 4096, 4097] {
                let index = Slices::new(slices, u64::from(slices) * 1024, 6);
                let mut counts = vec![0u32; slices as usize];
                let blocks = 8192;
                for block in 0..blocks {
                    counts[index.set_of(0x1234_5678 + block * stride) / 1024] += 1;
                }
                let share = blocks as u32 / slices;
                assert!(
                    counts.iter().all(|&n| n > share / 2 && n < share * 2),
                    "{slices} slices, stride {stride}: {counts:?}"
                );
            }
        }
    }
}
