//! C++ classes and their virtual functions, by the run-time type information that even a stripped module keeps (Itanium C++
//! ABI, 2.5 and 2.9.5).
//!
//! Read is what the dynamic linker relocates: position-independent modules. Not read: packed relative relocations (`.relr.dyn`),
//! tables that a program makes while it runs, a class's further tables for bases that its objects do not begin with. A table of a class within an object under construction counts as its own.

use std::collections::{BTreeMap, HashMap, HashSet};

use object::{Object, ObjectSymbol, ObjectSymbolTable, RelocationFlags, RelocationTarget, elf};

use super::image::Image;
use crate::demangle::{Parameters, demangle};

/// Bytes of an address.
const WORD_BYTES: u64 = 8;
/// Behind a type's name: the one base of `__si_class_type_info`, or flags and count of `__vmi_class_type_info`.
const BASES_AT: u64 = 2 * WORD_BYTES;
/// What `type_info` of classes begin with, in the C++ library.
const TYPE_INFO: [(&str, Inheritance); 3] = [
    ("_ZTVN10__cxxabiv117__class_type_infoE", Inheritance::None),
    ("_ZTVN10__cxxabiv120__si_class_type_infoE", Inheritance::Single),
    ("_ZTVN10__cxxabiv121__vmi_class_type_infoE", Inheritance::Several),
];
/// More bases than this are taken for damage.
const BASES_MAX: u64 = 64;

#[derive(Clone, Copy, Debug)]
enum Inheritance {
    None,
    Single,
    Several,
}

/// Stands for a function of another module: the C++ library's for functions that a class leaves to those derived from it.
pub(crate) const FOREIGN: u64 = 0;

/// A class with virtual functions. Addresses are link-time addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Class {
    /// As in the source, with its template arguments.
    pub(crate) name: String,
    /// Its name and those of the classes whose objects its own begin with: their tables begin its table.
    pub(crate) ancestry: Vec<String>,
    /// What the first word of its objects holds.
    pub(crate) table: u64,
    /// Its virtual functions in the order of the table; destructors take two places. [`FOREIGN`] if another module has it.
    pub(crate) functions: Vec<u64>,
}

/// The words that the dynamic linker fills in.
#[derive(Default)]
struct Relocated {
    /// By place: an address in the module.
    own: BTreeMap<u64, u64>,
    /// By place of a `type_info`: how its bases are told.
    type_infos: HashMap<u64, Inheritance>,
    /// Places of addresses in other modules: of functions that a class leaves to others, for one.
    foreign: HashSet<u64>,
}

impl Relocated {
    fn read(image: &Image) -> Self {
        image.with_elf(|elf_file| {
            let mut relocated = Self::default();
            let Some(symbols) = elf_file.dynamic_symbol_table() else {
                return relocated;
            };
            for (place, relocation) in elf_file.dynamic_relocations().into_iter().flatten() {
                let addend = relocation.addend().cast_unsigned();
                match (relocation.flags(), relocation.target()) {
                    (
                        RelocationFlags::Elf {
                            r_type: elf::R_X86_64_RELATIVE,
                        },
                        _,
                    ) => {
                        relocated.own.insert(place, addend);
                    }
                    (
                        RelocationFlags::Elf {
                            r_type: elf::R_X86_64_64,
                        },
                        RelocationTarget::Symbol(index),
                    ) => {
                        let Ok(symbol) = symbols.symbol_by_index(index) else {
                            continue;
                        };
                        let name = symbol.name().unwrap_or_default();
                        if let Some((_, how)) = TYPE_INFO.iter().find(|(known, _)| *known == name) {
                            relocated.type_infos.insert(place, *how);
                        } else if symbol.is_definition() {
                            relocated.own.insert(place, symbol.address().wrapping_add(addend));
                        } else {
                            relocated.foreign.insert(place);
                        }
                    }
                    _ => {}
                }
            }
            relocated
        })
    }

    /// The bases that objects begin with.
    fn bases(&self, image: &Image, type_info: u64) -> Vec<u64> {
        let base = |place| self.own.get(&place).copied();
        match self.type_infos.get(&type_info) {
            None | Some(Inheritance::None) => Vec::new(),
            Some(Inheritance::Single) => base(type_info + BASES_AT).into_iter().collect(),
            Some(Inheritance::Several) => {
                // Two 32-bit numbers, flags and count; then of each base its type, and offset and flags in one word. Bit 0
                // stands for a virtual base.
                let count = image.word_at(type_info + BASES_AT).map_or(0, |word| word >> 32);
                let first = type_info + BASES_AT + WORD_BYTES;
                let places = (0..count.min(BASES_MAX)).map(|index| first + index * 2 * WORD_BYTES);
                let begins = |place: &u64| {
                    let word = image.word_at(place + WORD_BYTES);
                    word.is_some_and(|word| word >> 8 == 0 && word & 1 == 0)
                };
                places.filter(begins).filter_map(base).collect()
            }
        }
    }

    fn name(&self, image: &Image, type_info: u64) -> Option<String> {
        let mangled = image.text_at(*self.own.get(&(type_info + WORD_BYTES))?)?;
        // An asterisk says that names are not to be compared.
        let mangled = mangled.strip_prefix('*').unwrap_or(mangled);
        Some(demangle(&format!("_Z{mangled}"), Parameters::Omitted))
    }
}

/// The classes of a module that have virtual functions.
pub(crate) fn classes(image: &Image) -> Vec<Class> {
    let relocated = Relocated::read(image);
    let names: HashMap<u64, String> = relocated
        .type_infos
        .keys()
        .filter_map(|type_info| Some((*type_info, relocated.name(image, *type_info)?)))
        .collect();
    let ancestry = |type_info: u64| {
        let mut known = vec![type_info];
        let mut next = 0;
        while let Some(class) = known.get(next) {
            for base in relocated.bases(image, *class) {
                if !known.contains(&base) {
                    known.push(base);
                }
            }
            next += 1;
        }
        known
            .iter()
            .filter_map(|class| names.get(class).cloned())
            .collect()
    };
    let is_code = |address: &u64| {
        image
            .segment_at(*address)
            .is_ok_and(|segment| segment.is_executable)
    };
    let tables = relocated.own.iter().filter_map(|(place, type_info)| {
        let name = names.get(type_info)?;
        // Before the type comes how far into the object the table's part lies: 0 in a class's own table.
        let above = place.checked_sub(WORD_BYTES)?;
        if relocated.own.contains_key(&above) || image.word_at(above) != Some(0) {
            return None;
        }
        let table = place + WORD_BYTES;
        let slots = (0..).map(|index| table + index * WORD_BYTES);
        let functions: Vec<u64> = slots
            .map_while(|slot| match relocated.own.get(&slot) {
                Some(function) => Some(*function).filter(is_code),
                None => relocated.foreign.contains(&slot).then_some(FOREIGN),
            })
            .collect();
        (!functions.is_empty()).then(|| Class {
            name: name.clone(),
            ancestry: ancestry(*type_info),
            table,
            functions,
        })
    });
    tables.collect()
}
