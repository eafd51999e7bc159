//! A sorted symbol table: which function or variable is at an address.

use std::cmp::Reverse;
use std::sync::OnceLock;

use object::read::elf::{ElfFile64, ElfSymbol64};
use object::{LittleEndian, Object, ObjectSymbol, SymbolKind, SymbolScope};

use super::image::{Bytes, Image};
use crate::demangle::{Parameters, demangle};

/// A stretch of addresses that belongs to one symbol.
#[derive(Debug)]
struct Stretch {
    start: u64,
    end: u64,
    /// Where the mangled name is in the file.
    name_at: usize,
    name_bytes: usize,
    /// Demangled without parameters, once asked for.
    name: OnceLock<Box<str>>,
}

/// A symbol found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Symbol<'a> {
    /// First link-time address around the sought one that belongs to the symbol.
    pub(crate) start: u64,
    /// One past the last.
    pub(crate) end: u64,
    pub(crate) table: &'a SymbolTable,
    index: usize,
}

impl<'a> Symbol<'a> {
    /// As the linker knows it.
    pub(crate) fn mangled(&self) -> &'a str {
        let stretch = &self.table.stretches[self.index];
        let bytes = &self.table.file[stretch.name_at..stretch.name_at + stretch.name_bytes];
        std::str::from_utf8(bytes).unwrap_or("?")
    }

    /// Demangled, without parameters.
    pub(crate) fn name(&self) -> &'a str {
        self.table.stretches[self.index]
            .name
            .get_or_init(|| demangle(self.mangled(), Parameters::Omitted).into())
    }
}

/// Symbols of one kind, by address. Where symbols nest, the innermost has the address.
#[derive(Debug, Default)]
pub(crate) struct SymbolTable {
    file: Bytes,
    stretches: Vec<Stretch>,
}

impl PartialEq for SymbolTable {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self, other)
    }
}

impl Eq for SymbolTable {}

/// A symbol as the file has it.
#[derive(Clone, Copy, Debug)]
struct Raw {
    start: u64,
    end: u64,
    /// Of several names for the same bytes, the lowest is shown.
    rank: u8,
    name_at: usize,
    name_bytes: usize,
}

impl SymbolTable {
    /// The functions of a file.
    pub(crate) fn functions(image: &Image) -> Self {
        Self::read(image, SymbolKind::Text)
    }

    /// The variables of a file.
    pub(crate) fn variables(image: &Image) -> Self {
        Self::read(image, SymbolKind::Data)
    }

    fn read(image: &Image, kind: SymbolKind) -> Self {
        let file = image.file();
        let raw = image.with_elf(|elf_file| {
            let mut raw: Vec<Raw> = Vec::new();
            for (symbol, name) in defined(elf_file, kind) {
                raw.push(Raw {
                    start: symbol.address(),
                    end: symbol.address().saturating_add(symbol.size()),
                    rank: match symbol.scope() {
                        SymbolScope::Dynamic | SymbolScope::Linkage if !symbol.is_weak() => 0,
                        SymbolScope::Compilation => 2,
                        _ => 1,
                    },
                    name_at: name.as_ptr() as usize - file.as_ptr() as usize,
                    name_bytes: name.len(),
                });
            }
            raw
        });
        let mut raw = raw;
        if kind == SymbolKind::Text {
            close_open_ends(&mut raw, image);
        }
        raw.retain(|symbol| symbol.start < symbol.end);
        Self {
            file: file.clone(),
            stretches: flatten(raw),
        }
    }

    /// The symbol at a link-time address, or else the gap between symbols that the address is in.
    pub(crate) fn at(&self, address: u64) -> Result<Symbol<'_>, (u64, u64)> {
        let next = self.stretches.partition_point(|stretch| stretch.start <= address);
        let below = next.checked_sub(1).map(|index| &self.stretches[index]);
        match below {
            Some(Stretch { start, end, .. }) if address < *end => Ok(Symbol {
                start: *start,
                end: *end,
                table: self,
                index: next - 1,
            }),
            _ => Err((
                below.map_or(0, |stretch| stretch.end),
                self.stretches.get(next).map_or(u64::MAX, |stretch| stretch.start),
            )),
        }
    }
}

/// The symbols of a kind that a file defines, with their mangled names.
pub(crate) fn defined<'data, 'file>(
    elf_file: &'file ElfFile64<'data, LittleEndian>,
    kind: SymbolKind,
) -> impl Iterator<Item = (ElfSymbol64<'data, 'file, LittleEndian>, &'data [u8])> {
    // The table for dynamic linking repeats a part of the full one, where there is a full one.
    let dynamic = elf_file
        .symbol_table()
        .is_none()
        .then(|| elf_file.dynamic_symbols());
    elf_file
        .symbols()
        .chain(dynamic.into_iter().flatten())
        .filter(move |symbol| symbol.kind() == kind && symbol.is_definition())
        .filter_map(|symbol| Some((symbol, symbol.name_bytes().ok()?)))
        .filter(|(_, name)| !name.is_empty())
}

/// Hand-written assembly often states no size: such a function reaches to the next one or its section's end.
fn close_open_ends(raw: &mut [Raw], image: &Image) {
    raw.sort_unstable_by_key(|symbol| symbol.start);
    let mut next = u64::MAX;
    for index in (0..raw.len()).rev() {
        if raw
            .get(index + 1)
            .is_some_and(|above| above.start > raw[index].start)
        {
            next = raw[index + 1].start;
        }
        let symbol = &mut raw[index];
        if symbol.start == symbol.end
            && let Ok(section) = image.section_at(symbol.start)
        {
            symbol.end = next.min(section.address.saturating_add(section.bytes));
        }
    }
}

/// Cuts nested and overlapping symbols into disjoint stretches.
fn flatten(mut raw: Vec<Raw>) -> Vec<Stretch> {
    raw.sort_unstable_by_key(|symbol| {
        (
            symbol.start,
            Reverse(symbol.end),
            symbol.rank,
            symbol.name_bytes,
            symbol.name_at,
        )
    });
    raw.dedup_by_key(|symbol| (symbol.start, symbol.end));
    let mut stretches = Vec::with_capacity(raw.len());
    let mut emit = |symbol: &Raw, start: u64, end: u64| {
        if start < end {
            let Raw {
                name_at, name_bytes, ..
            } = *symbol;
            stretches.push(Stretch {
                start,
                end,
                name_at,
                name_bytes,
                name: OnceLock::new(),
            });
        }
    };
    // Symbols that the sweep is inside of, outermost first, and how far it has come.
    let mut open: Vec<Raw> = Vec::new();
    let mut position = 0;
    for symbol in &raw {
        while let Some(inner) = open.pop_if(|inner| inner.end <= symbol.start) {
            emit(&inner, position.max(inner.start), inner.end);
            position = position.max(inner.end);
        }
        if let Some(inner) = open.last() {
            emit(inner, position.max(inner.start), symbol.start);
        }
        position = symbol.start;
        open.push(*symbol);
    }
    while let Some(inner) = open.pop() {
        emit(&inner, position.max(inner.start), inner.end);
        position = position.max(inner.end);
    }
    stretches
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_innermost_symbol_has_the_address(ranges in prop::collection::vec((0u64..60, 1u64..30), 1..12)) {
            let raw: Vec<Raw> = ranges
                .iter()
                .enumerate()
                .map(|(name_at, (start, bytes))| Raw { start: *start, end: start + bytes, rank: 0, name_at, name_bytes: 1 })
                .collect();
            let table = SymbolTable { file: Bytes::default(), stretches: flatten(raw.clone()) };
            for pair in table.stretches.windows(2) {
                prop_assert!(pair[0].end <= pair[1].start);
            }
            for address in 0..100u64 {
                // Innermost: the latest start, and of those the earliest end.
                let expected = raw
                    .iter()
                    .filter(|symbol| (symbol.start..symbol.end).contains(&address))
                    .max_by_key(|symbol| (symbol.start, Reverse(symbol.end), Reverse(symbol.name_at)));
                match (table.at(address), expected) {
                    (Ok(found), Some(expected)) => {
                        prop_assert_eq!(table.stretches[found.index].name_at, expected.name_at);
                        prop_assert!(found.start <= address && address < found.end);
                    }
                    (Err((start, end)), None) => prop_assert!(start <= address && address < end),
                    (found, expected) => prop_assert!(false, "{address}: {found:?}, expected {expected:?}"),
                }
            }
        }
    }
}
