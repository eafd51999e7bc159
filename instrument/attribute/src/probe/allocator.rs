//! Allocators of modules: C++'s operators new and delete. The engine hooks those that the program starts with; a library that is
//! loaded later may bring the C++ library with it, whose operators then are nobody's caller of `malloc` but themselves.

use std::path::Path;

use memloupe_stream::Allocator;
use object::{ObjectSymbol, SymbolKind};

use crate::module::{Image, defined};

/// What allocates: plain and arrays, each for one size.
const NEW: [&str; 2] = ["_Znwm", "_Znam"];
/// What frees.
const DELETE: [&str; 2] = ["_ZdlPv", "_ZdaPv"];
/// What may follow of parameters: not those of placement.
const FURTHER: [&str; 6] = [
    "",
    "m",
    "RKSt9nothrow_t",
    "St11align_val_t",
    "mSt11align_val_t",
    "St11align_val_tRKSt9nothrow_t",
];

/// Addresses of a module's allocators, and what each is. None if it can't be read.
pub(super) fn allocators(path: &Path) -> Vec<(u64, Allocator)> {
    let Ok(image) = Image::open(path) else {
        return Vec::new();
    };
    image.with_elf(|elf_file| {
        defined(elf_file, SymbolKind::Text)
            .filter_map(|(symbol, name)| {
                Some((symbol.address(), allocator(std::str::from_utf8(name).ok()?)?))
            })
            .collect()
    })
}

fn allocator(name: &str) -> Option<Allocator> {
    let is_any = |beginnings: [&str; 2]| {
        let mut rest = beginnings
            .iter()
            .filter_map(|beginning| name.strip_prefix(beginning));
        rest.any(|rest| FURTHER.contains(&rest))
    };
    if is_any(NEW) {
        Some(Allocator::New)
    } else {
        is_any(DELETE).then_some(Allocator::Delete)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placement_allocates_nothing() {
        for (name, expected) in [
            ("_Znwm", Some(Allocator::New)),
            ("_ZnamSt11align_val_tRKSt9nothrow_t", Some(Allocator::New)),
            ("_ZdlPvmSt11align_val_t", Some(Allocator::Delete)),
            ("_ZnwmPv", None),
            ("_ZdlPvS_", None),
            ("malloc", None),
        ] {
            assert_eq!(allocator(name), expected, "{name}");
        }
    }
}
