//! How many bytes `xsave` and its kin access: those of the state components that are asked for and turned on, as far as the
//! last of them. Components in their initial state are counted though `xsaveopt` and `xsavec` leave them out, and
//! `xrstor` is taken to read the standard form.

use std::arch::asm;
use std::arch::x86_64::__cpuid_count;

const LEAF: u32 = 0xd;
/// x87 and SSE state, and the header.
const LEGACY_BYTES: u32 = 576;
const FIRST_EXTENDED: u32 = 2;

/// What the operating system has turned on.
fn turned_on() -> u64 {
    let (low, high): (u32, u32);
    // SAFETY: every x86-64 CPU with FSGSBASE has XSAVE, and Linux turns it on.
    unsafe { asm!("xgetbv", in("ecx") 0, out("eax") low, out("edx") high, options(nomem, nostack)) };
    u64::from(high) << 32 | u64::from(low)
}

/// The extended components of a set, each with its size, its offset in the standard form and whether it is aligned in the
/// compact one.
fn extended(components: u64) -> impl Iterator<Item = (u32, u32, bool)> {
    let components = components & turned_on();
    let is_chosen = move |component: &u32| components >> component & 1 != 0;
    (FIRST_EXTENDED..63).filter(is_chosen).map(|component| {
        let told = __cpuid_count(LEAF, component);
        (told.eax, told.ebx, told.ecx & 2 != 0)
    })
}

/// Of the standard form.
pub(super) fn standard_bytes(components: u64) -> u16 {
    extended(components)
        .map(|(bytes, offset, _)| offset + bytes)
        .fold(LEGACY_BYTES, u32::max) as u16
}

/// Of the compact form.
pub(super) fn compact_bytes(components: u64) -> u16 {
    const ALIGNMENT: u32 = 64;
    extended(components).fold(LEGACY_BYTES, |end, (bytes, _, is_aligned)| {
        let start = if is_aligned {
            end.next_multiple_of(ALIGNMENT)
        } else {
            end
        };
        start + bytes
    }) as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_grow_with_what_is_asked_for() {
        // x87 and SSE need no more than the legacy area and the header.
        assert_eq!((standard_bytes(3), compact_bytes(3)), (576, 576));
        // CPUID's own figure for all that is turned on.
        let all = __cpuid_count(LEAF, 0).ebx;
        assert_eq!(u32::from(standard_bytes(u64::MAX)), all);
        assert!(compact_bytes(u64::MAX) <= standard_bytes(u64::MAX));
        if turned_on() & 4 != 0 {
            // AVX: 256 bytes, at 576 in every CPU that has it.
            assert_eq!((standard_bytes(7), compact_bytes(7)), (832, 832));
        }
    }
}
