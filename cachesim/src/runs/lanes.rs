//! Sixteen words side by side, for each instruction set that a processor may have.
//!
//! The operations of [`super::set`] and [`super::hits`] are compiled once for each, from the same code. This is the crate's only
//! unsafe code.

#![allow(unsafe_code)]

use super::hits::Hits;
use super::set::{Change, GroupMut, Mask, Operation, Victims};
use crate::run::Operand;

/// Words of a block, and sets of a group.
pub(crate) const LANES: usize = 16;

/// A cache line of words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C, align(64))]
pub(crate) struct Block(pub(crate) [u32; LANES]);

impl Block {
    pub(crate) const ZERO: Self = Self([0; LANES]);
}

/// Asks for a block, which will be needed soon.
#[inline(always)]
pub(super) fn prefetch(block: &Block) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a prefetch of anything does nothing but fetch.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>((&raw const *block).cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = block;
}

/// The bit of a tag that says that its line is dirty. The others are the tag proper.
pub(crate) const DIRTY: u32 = 1 << 31;

/// An instruction set, and what set operations need of it. A set is one block or two, most recently used way first.
pub(super) trait Isa {
    /// The ways whose tag is `tag`, as bits.
    fn find(block: &Block, tag: u32) -> u32;

    /// The dirty ways, as bits.
    fn dirty(block: &Block) -> u32;

    /// Moves the words before `way`, which is one of the block's, one back, and puts `front` first.
    fn rotate(block: &mut Block, way: usize, front: u32);
}

/// What every processor has.
pub(super) enum Portable {}

impl Isa for Portable {
    #[inline(always)]
    fn find(block: &Block, tag: u32) -> u32 {
        bits(block, |word| word & !DIRTY == tag)
    }

    #[inline(always)]
    fn dirty(block: &Block) -> u32 {
        bits(block, |word| word & DIRTY != 0)
    }

    #[inline(always)]
    fn rotate(block: &mut Block, way: usize, front: u32) {
        let before = block.0;
        for lane in 1..LANES {
            block.0[lane] = if lane <= way {
                before[lane - 1]
            } else {
                before[lane]
            };
        }
        block.0[0] = front;
    }
}

#[inline(always)]
fn bits(block: &Block, holds: impl Fn(u32) -> bool) -> u32 {
    let mut bits = 0;
    for (lane, word) in block.0.iter().enumerate() {
        bits |= u32::from(holds(*word)) << lane;
    }
    bits
}

/// The instruction sets that this processor has, the best one first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Best {
    #[cfg(target_arch = "x86_64")]
    Avx512,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    Portable,
}

impl Best {
    pub(crate) fn of_this_processor() -> Self {
        #[cfg(target_arch = "x86_64")]
        {
            if x86::has_avx512() {
                return Self::Avx512;
            }
            if x86::has_avx2() {
                return Self::Avx2;
            }
        }
        Self::Portable
    }
}

/// Defines the functions of a module once for each instruction set, and one that chooses.
macro_rules! for_each_instruction_set {
    ($(#[$doc:meta])* $module:ident, $name:ident, $avx512:ident, $avx2:ident, ($($argument:ident: $type:ty),*) -> $result:ty) => {
        #[cfg(target_arch = "x86_64")]
        #[target_feature(enable = "avx512f,avx512dq,avx512vl,avx512bw,avx2,bmi1,bmi2,lzcnt,popcnt")]
        fn $avx512<const BLOCKS: usize>($($argument: $type),*) -> $result {
            super::$module::$name::<x86::Avx512, BLOCKS>($($argument),*)
        }

        #[cfg(target_arch = "x86_64")]
        #[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt")]
        fn $avx2<const BLOCKS: usize>($($argument: $type),*) -> $result {
            super::$module::$name::<x86::Avx2, BLOCKS>($($argument),*)
        }

        impl Best {
            $(#[$doc])*
            #[inline(always)]
            pub(super) fn $name<const BLOCKS: usize>(self, $($argument: $type),*) -> $result {
                match self {
                    // SAFETY: chosen only on a processor that has these instructions.
                    #[cfg(target_arch = "x86_64")]
                    Self::Avx512 => unsafe { $avx512::<BLOCKS>($($argument),*) },
                    // SAFETY: as above.
                    #[cfg(target_arch = "x86_64")]
                    Self::Avx2 => unsafe { $avx2::<BLOCKS>($($argument),*) },
                    Self::Portable => super::$module::$name::<Portable, BLOCKS>($($argument),*),
                }
            }
        }
    };
}

for_each_instruction_set! {
    /// [`super::set::bring`].
    set, bring, bring_avx512, bring_avx2,
    (
        tags: &mut [Block; BLOCKS],
        owners: &mut [Block; BLOCKS],
        ways: usize,
        tag: u32,
        write: bool,
        owner: u32
    ) -> Change
}
for_each_instruction_set! {
    /// [`super::set::bring_each`].
    set, bring_each, bring_each_avx512, bring_each_avx2,
    (group: &mut GroupMut<'_>, tag: u32, operation: Operation<'_>, victims: &mut Victims) -> Mask
}
for_each_instruction_set! {
    /// [`super::set::holds`].
    set, holds, holds_avx512, holds_avx2,
    (tags: &[Block; BLOCKS], tag: u32) -> bool
}
for_each_instruction_set! {
    /// [`super::hits::hits`].
    hits, hits, hits_avx512, hits_avx2,
    (hits: &mut Hits<'_>, operands: &[Operand]) -> usize
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::is_x86_feature_detected;
    use std::arch::x86_64::{
        __m256i, __m512i, _mm256_and_si256, _mm256_blendv_epi8, _mm256_castsi256_ps, _mm256_cmpeq_epi32,
        _mm256_cmpgt_epi32, _mm256_load_si256, _mm256_loadu_si256, _mm256_movemask_ps, _mm256_set1_epi32,
        _mm256_setr_epi32, _mm256_store_si256, _mm512_load_si512, _mm512_mask_alignr_epi32,
        _mm512_movepi32_mask, _mm512_set1_epi32, _mm512_store_si512, _mm512_testn_epi32_mask,
        _mm512_xor_si512,
    };

    use super::{Block, DIRTY, Isa};

    pub(super) fn has_avx512() -> bool {
        is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512vl")
            && is_x86_feature_detected!("avx512bw")
            && has_avx2()
    }

    pub(super) fn has_avx2() -> bool {
        is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("bmi1")
            && is_x86_feature_detected!("bmi2")
            && is_x86_feature_detected!("lzcnt")
            && is_x86_feature_detected!("popcnt")
    }

    /// Used only where [`super::Best::of_this_processor`] found it.
    pub(crate) enum Avx512 {}

    /// Used only where [`super::Best::of_this_processor`] found it.
    pub(crate) enum Avx2 {}

    impl Isa for Avx512 {
        #[inline(always)]
        fn find(block: &Block, tag: u32) -> u32 {
            // SAFETY: the processor has the instructions; a block is 64 bytes, aligned to 64.
            unsafe {
                let words = _mm512_load_si512((&raw const *block).cast::<__m512i>());
                let differs = _mm512_xor_si512(words, _mm512_set1_epi32(tag.cast_signed()));
                _mm512_testn_epi32_mask(differs, _mm512_set1_epi32((!DIRTY).cast_signed())).into()
            }
        }

        #[inline(always)]
        fn dirty(block: &Block) -> u32 {
            // SAFETY: as in `find`.
            unsafe { _mm512_movepi32_mask(_mm512_load_si512((&raw const *block).cast::<__m512i>())).into() }
        }

        #[inline(always)]
        fn rotate(block: &mut Block, way: usize, front: u32) {
            let moved = (2u32 << way).wrapping_sub(1) as u16;
            // SAFETY: as in `find`.
            unsafe {
                let words = _mm512_load_si512((&raw const *block).cast::<__m512i>());
                let front = _mm512_set1_epi32(front.cast_signed());
                let words = _mm512_mask_alignr_epi32::<15>(words, moved, words, front);
                // A store of all words: loads that follow soon are answered from it.
                _mm512_store_si512((&raw mut *block).cast::<__m512i>(), words);
            }
        }
    }

    impl Isa for Avx2 {
        #[inline(always)]
        fn find(block: &Block, tag: u32) -> u32 {
            // SAFETY: the processor has the instructions; a block is two aligned vectors.
            unsafe {
                let at = (&raw const *block).cast::<__m256i>();
                let bits = _mm256_set1_epi32((!DIRTY).cast_signed());
                let tag = _mm256_set1_epi32(tag.cast_signed());
                let equal = |words| {
                    let equal = _mm256_cmpeq_epi32(_mm256_and_si256(words, bits), tag);
                    _mm256_movemask_ps(_mm256_castsi256_ps(equal)).cast_unsigned()
                };
                equal(_mm256_load_si256(at)) | equal(_mm256_load_si256(at.add(1))) << 8
            }
        }

        #[inline(always)]
        fn dirty(block: &Block) -> u32 {
            // SAFETY: as in `find`.
            unsafe {
                let at = (&raw const *block).cast::<__m256i>();
                let signs = |words| _mm256_movemask_ps(_mm256_castsi256_ps(words)).cast_unsigned();
                signs(_mm256_load_si256(at)) | signs(_mm256_load_si256(at.add(1))) << 8
            }
        }

        #[inline(always)]
        fn rotate(block: &mut Block, way: usize, front: u32) {
            // SAFETY: as in `find`; the unaligned load reads words 7 to 14.
            unsafe {
                let at = (&raw mut *block).cast::<__m256i>();
                let way = _mm256_set1_epi32(way as i32);
                let low = _mm256_load_si256(at);
                if _mm256_movemask_ps(_mm256_castsi256_ps(_mm256_cmpgt_epi32(way, _mm256_set1_epi32(7)))) != 0
                {
                    let high = _mm256_load_si256(at.add(1));
                    let before = _mm256_loadu_si256(at.cast::<u32>().add(7).cast::<__m256i>());
                    let kept = _mm256_cmpgt_epi32(_mm256_setr_epi32(8, 9, 10, 11, 12, 13, 14, 15), way);
                    _mm256_store_si256(at.add(1), _mm256_blendv_epi8(before, high, kept));
                }
                let order = _mm256_setr_epi32(0, 0, 1, 2, 3, 4, 5, 6);
                let before = std::arch::x86_64::_mm256_permutevar8x32_epi32(low, order);
                let kept = _mm256_cmpgt_epi32(_mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7), way);
                _mm256_store_si256(at, _mm256_blendv_epi8(before, low, kept));
                block.0[0] = front;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The instruction sets that this processor has.
    fn available() -> Vec<Best> {
        let mut available = vec![Best::Portable];
        #[cfg(target_arch = "x86_64")]
        {
            if x86::has_avx2() {
                available.push(Best::Avx2);
            }
            if x86::has_avx512() {
                available.push(Best::Avx512);
            }
        }
        available
    }

    proptest! {
        /// Against a list.
        #[test]
        fn every_instruction_set_brings_to_the_front(
            ways in 1usize..=32, tags in prop::collection::vec((1u32..20, any::<bool>()), 32),
            accesses in prop::collection::vec((1u32..20, any::<bool>(), 0u32..5), 1..80),
        ) {
            for best in available() {
                let (mut words, mut writers) = ([Block::ZERO; 2], [Block::ZERO; 2]);
                let mut list: Vec<(u32, Option<u32>)> = Vec::new();
                for (tag, dirty) in &tags {
                    if list.len() < ways && list.iter().all(|(other, _)| other != tag) {
                        let at = list.len();
                        words[at / LANES].0[at % LANES] = tag | if *dirty { DIRTY } else { 0 };
                        writers[at / LANES].0[at % LANES] = 9;
                        list.push((*tag, dirty.then_some(9)));
                    }
                }
                for &(tag, write, owner) in &accesses {
                    let change = if ways <= LANES {
                        let (tags, owners) = (words.first_chunk_mut().unwrap(), writers.first_chunk_mut().unwrap());
                        best.bring::<1>(tags, owners, ways, tag, write, owner)
                    } else {
                        best.bring::<2>(&mut words, &mut writers, ways, tag, write, owner)
                    };
                    let found = list.iter().position(|(other, _)| *other == tag);
                    let before = found.map(|at| list.remove(at));
                    list.insert(0, (tag, if write { Some(owner) } else { before.and_then(|(_, writer)| writer) }));
                    let pushed_out = if list.len() > ways { list.pop() } else { None };
                    prop_assert_eq!(change.is_hit(), found.is_some());
                    if !change.is_hit() {
                        let (tag, writer) = pushed_out.unwrap_or((0, None));
                        prop_assert_eq!(change.replaced & !DIRTY, tag);
                        prop_assert_eq!(change.replaced & DIRTY != 0, writer.is_some());
                        prop_assert!(writer.is_none_or(|writer| writer == change.owner));
                    }
                    for (at, (tag, writer)) in list.iter().enumerate() {
                        let word = words[at / LANES].0[at % LANES];
                        prop_assert_eq!((word & !DIRTY, word & DIRTY != 0), (*tag, writer.is_some()));
                        prop_assert!(writer.is_none_or(|writer| writer == writers[at / LANES].0[at % LANES]));
                    }
                    prop_assert!(best.holds::<2>(&words, tag) && !best.holds::<2>(&words, 77));
                }
            }
        }
    }
}
