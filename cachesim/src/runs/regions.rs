//! Line numbers made short enough for a tag of 31 bits.
//!
//! A program uses few of the 2²¹ regions of 2³⁰ lines that its addresses may lie in. Each gets a small number when it
//! is first seen; a short line number is that number and the place in the region. Its low bits are those of the line
//! number, so set numbers come from it as well wherever the number of sets is a power of two.

use super::hits::RegionNumbers;
use crate::cache::ADDRESS_BITS;

/// log2 of the lines in a region.
pub(crate) const REGION_SHIFT: u32 = 30;

/// The regions seen so far.
#[derive(Clone, Debug)]
pub(crate) struct Regions {
    // By the upper bits of a line number: the region's number plus one, shifted to its place; 0 if not seen.
    numbers: Vec<u16>,
    // By number.
    upper: Vec<u32>,
    most: usize,
    line_mask: u64,
}

impl Regions {
    /// Short line numbers stay below `lines`.
    pub(crate) fn new(line_shift: u32, lines: u64) -> Self {
        let line_bits = ADDRESS_BITS - line_shift;
        Self {
            numbers: vec![0; 1 << line_bits.saturating_sub(REGION_SHIFT)],
            upper: Vec::new(),
            most: (lines >> REGION_SHIFT).min(u64::from(u16::MAX) - 1) as usize,
            line_mask: (1 << line_bits) - 1,
        }
    }

    /// The short number of a line; none if its region would be one too many.
    #[inline(always)]
    pub(crate) fn shorten(&mut self, line: u64) -> Option<u64> {
        let line = line & self.line_mask;
        let number = self.numbers[(line >> REGION_SHIFT) as usize];
        let number = if number == 0 { self.add(line)? } else { number };
        Some(u64::from(number - 1) << REGION_SHIFT | line & ((1 << REGION_SHIFT) - 1))
    }

    #[cold]
    #[inline(never)]
    fn add(&mut self, line: u64) -> Option<u16> {
        if self.upper.len() == self.most {
            return None;
        }
        self.upper.push((line >> REGION_SHIFT) as u32);
        let number = self.upper.len() as u16;
        self.numbers[(line >> REGION_SHIFT) as usize] = number;
        Some(number)
    }

    /// To look up known regions in.
    #[inline(always)]
    pub(super) fn numbers(&self) -> RegionNumbers<'_> {
        RegionNumbers {
            numbers: &self.numbers,
            line_mask: self.line_mask,
        }
    }

    /// The line that a short number stands for, without the bits above an address's.
    #[inline(always)]
    pub(crate) fn line(&self, short: u64) -> u64 {
        u64::from(self.upper[(short >> REGION_SHIFT) as usize]) << REGION_SHIFT
            | short & ((1 << REGION_SHIFT) - 1)
    }
}
