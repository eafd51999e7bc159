//! Sixteen words side by side: the set operations, for each instruction set that a processor may have.
//!
//! The same code is compiled three times. [`Isa::compiled`] enters a function for which the compiler may use the
//! instruction set; whatever is inlined into it is compiled for it too. This is the crate's only unsafe code.

#![allow(unsafe_code)]

/// Words of a block, and sets of a group.
pub(crate) const LANES: usize = 16;

/// A cache line of words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C, align(64))]
pub(crate) struct Block(pub(crate) [u32; LANES]);

impl Block {
    pub(crate) const ZERO: Self = Self([0; LANES]);
}

/// The bit of a tag that says that its line is dirty. The others are the tag proper.
pub(crate) const DIRTY: u32 = 1 << 31;

/// An instruction set, and what set operations need of it. A set is one block or two, most recently used way first.
pub(crate) trait Isa: Copy + 'static {
    /// Calls `work`, compiled for this instruction set.
    fn compiled<R>(work: impl FnOnce() -> R) -> R;

    /// The ways whose tag is `tag`, as bits.
    fn find(block: &Block, tag: u32) -> u32;

    /// The dirty ways, as bits.
    fn dirty(block: &Block) -> u32;

    /// Moves the words before `way`, which is one of the block's, one back, and puts `front` first.
    fn rotate(block: &mut Block, way: usize, front: u32);
}

/// What every processor has.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Portable;

impl Isa for Portable {
    #[inline(always)]
    fn compiled<R>(work: impl FnOnce() -> R) -> R {
        work()
    }

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

#[cfg(target_arch = "x86_64")]
pub(crate) use x86::{Avx2, Avx512};

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::is_x86_feature_detected;
    use std::arch::x86_64::{
        __m256i, __m512i, _mm256_and_si256, _mm256_blendv_epi8, _mm256_castsi256_ps, _mm256_cmpeq_epi32,
        _mm256_cmpgt_epi32, _mm256_load_si256, _mm256_loadu_si256, _mm256_movemask_ps, _mm256_set1_epi32,
        _mm256_setr_epi32, _mm256_store_si256, _mm512_alignr_epi32, _mm512_load_si512,
        _mm512_mask_store_epi32, _mm512_movepi32_mask, _mm512_set1_epi32, _mm512_testn_epi32_mask,
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

    /// Made only where [`super::Best::of_this_processor`] found AVX-512.
    #[derive(Clone, Copy, Debug)]
    pub(crate) struct Avx512(());

    /// Made only where [`super::Best::of_this_processor`] found AVX2.
    #[derive(Clone, Copy, Debug)]
    pub(crate) struct Avx2(());

    #[target_feature(enable = "avx512f,avx512dq,avx512vl,avx512bw,avx2,bmi1,bmi2,lzcnt,popcnt")]
    fn with_avx512<R>(work: impl FnOnce() -> R) -> R {
        work()
    }

    #[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt")]
    fn with_avx2<R>(work: impl FnOnce() -> R) -> R {
        work()
    }

    impl Isa for Avx512 {
        #[inline(always)]
        fn compiled<R>(work: impl FnOnce() -> R) -> R {
            // SAFETY: chosen only on a processor that has these instructions.
            unsafe { with_avx512(work) }
        }

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
                let shifted = _mm512_alignr_epi32::<15>(words, _mm512_set1_epi32(front.cast_signed()));
                _mm512_mask_store_epi32((&raw mut *block).cast::<i32>(), moved, shifted);
            }
        }
    }

    impl Isa for Avx2 {
        #[inline(always)]
        fn compiled<R>(work: impl FnOnce() -> R) -> R {
            // SAFETY: chosen only on a processor that has these instructions.
            unsafe { with_avx2(work) }
        }

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

    fn check<I: Isa>(words: [u32; LANES], tag: u32, way: usize) {
        let mut expected = Block(words);
        let mut block = Block(words);
        assert_eq!(I::find(&block, tag), Portable::find(&expected, tag));
        assert_eq!(I::dirty(&block), Portable::dirty(&expected));
        I::rotate(&mut block, way, tag);
        Portable::rotate(&mut expected, way, tag);
        assert_eq!(block, expected);
    }

    proptest! {
        #[test]
        fn every_instruction_set_gives_the_same(
            words: [u32; LANES], few in prop::collection::vec(0u32..4, LANES), way in 0..LANES, at in 0..LANES,
        ) {
            for words in [words, std::array::from_fn(|lane| few[lane] | (words[lane] & DIRTY))] {
                for tag in [words[at] & !DIRTY, words[at] ^ 1] {
                    // A list: take the word at `way` out, put the tag in front.
                    let mut list = words.to_vec();
                    list.remove(way);
                    list.insert(0, tag);
                    let mut block = Block(words);
                    Portable::rotate(&mut block, way, tag);
                    prop_assert_eq!(block.0.to_vec(), list);
                    #[cfg(target_arch = "x86_64")]
                    {
                        if x86::has_avx2() {
                            Avx2::compiled(|| check::<Avx2>(words, tag & !DIRTY, way));
                        }
                        if x86::has_avx512() {
                            Avx512::compiled(|| check::<Avx512>(words, tag & !DIRTY, way));
                        }
                    }
                }
            }
        }
    }
}
